package admin

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"sluice/storage/delta"
	"sluice/storage/object"
	"sluice/storage/rows"
)

// SmallFile is the size in bytes below which a file is called small: reading it costs its
// reader about as much as a round trip, whatever is in it.
const SmallFile = 4 << 20

// footers is how many files are read at a time where only their footers tell.
const footers = 16

// Description is the state of a table at a version.
type Description struct {
	Topic   string `json:"topic"`
	URL     string `json:"url"`
	ID      string `json:"id"` // metaData.id: the topic id
	Version int64  `json:"version"`
	// Time is that of the newest entry, by the clock of its writer.
	Time             time.Time `json:"time"`
	Writers          string    `json:"writers"` // sluice or any
	MinReaderVersion int       `json:"min_reader_version"`
	MinWriterVersion int       `json:"min_writer_version"`
	WriterFeatures   []string  `json:"writer_features"`
	LeaderEpoch      int64     `json:"leader_epoch"`

	Files      int   `json:"files"`
	SmallFiles int   `json:"small_files"` // below SmallFile
	Bytes      int64 `json:"bytes"`
	Rows       int64 `json:"rows"`

	Tombstones     int   `json:"tombstones"` // files that left the table and may still be read
	TombstoneBytes int64 `json:"tombstone_bytes"`

	Log LogDescription `json:"log"`

	Partitions []PartitionDescription `json:"partitions"`
	Config     map[string]string      `json:"config"` // the topic's own
	// YieldUntil is until when the broker commits nothing; nil if it does.
	YieldUntil *time.Time `json:"yield_until,omitempty"`
}

// LogDescription is the state of a table's log.
type LogDescription struct {
	Entries         int   `json:"entries"`
	Bytes           int64 `json:"bytes"`
	Checkpoint      int64 `json:"checkpoint"`       // version of the newest one, -1: none
	SinceCheckpoint int64 `json:"since_checkpoint"` // versions that a reader applies on top
	// OldestVersion can still be rebuilt from the log; OldestTime is when it was written.
	OldestVersion int64     `json:"oldest_version"`
	OldestTime    time.Time `json:"oldest_time"`
	// ReadableSince is how far time travel reaches for certain: the data files of older
	// versions may be deleted.
	ReadableSince  time.Time `json:"readable_since"`
	HistoryMs      int64     `json:"history_ms"`
	DeletedFilesMs int64     `json:"deleted_files_ms"`
}

// PartitionDescription is the state of a partition.
type PartitionDescription struct {
	Partition int32 `json:"partition"`
	LogStart  int64 `json:"log_start_offset"`
	Next      int64 `json:"next_offset"`
	Rows      int64 `json:"rows"`  // in the table, those below the log start offset too
	Files     int   `json:"files"` // with rows of it
}

// Describe looks at the newest version. It reads the log, and the footers of those files
// that an engine has rewritten.
func (t *Table) Describe(ctx context.Context) (Description, error) {
	if err := t.sync(ctx); err != nil {
		return Description{}, err
	}
	history, err := t.log.History(ctx)
	if err != nil {
		return Description{}, err
	}
	all, err := t.allRanges(ctx)
	if err != nil {
		return Description{}, err
	}
	m, p := &t.snap.Metadata, t.snap.Protocol
	d := Description{
		Topic: t.topic, URL: strings.TrimSuffix(t.store.URL(), "/") + "/" + t.topic, ID: t.state.ID,
		Version: t.snap.Version, Time: time.UnixMilli(t.snap.Timestamp).UTC(), Writers: "any",
		MinReaderVersion: p.MinReaderVersion, MinWriterVersion: p.MinWriterVersion, WriterFeatures: p.WriterFeatures,
		LeaderEpoch: delta.Epoch(t.snap),
		Files:       len(t.snap.Files), Tombstones: len(t.snap.Tombstones), Config: t.state.Config,
		Log: LogDescription{
			Entries: history.Entries, Bytes: history.Bytes, Checkpoint: history.Checkpoint,
			SinceCheckpoint: t.snap.Version - history.Checkpoint,
			OldestVersion:   history.Oldest, OldestTime: history.OldestTime.UTC(),
			HistoryMs: m.LogRetention().Milliseconds(), DeletedFilesMs: m.DeletedFileRetention().Milliseconds(),
		},
	}
	if slices.Contains(p.WriterFeatures, delta.FeatureSluice) {
		d.Writers = "sluice"
	}
	d.Log.ReadableSince = time.Now().Add(-m.DeletedFileRetention()).UTC()
	if d.Log.ReadableSince.Before(d.Log.OldestTime) {
		d.Log.ReadableSince = d.Log.OldestTime
	}
	if until := time.UnixMilli(t.state.Settings.YieldUntilMs); until.After(time.Now()) {
		until = until.UTC()
		d.YieldUntil = &until
	}
	for _, r := range t.snap.Tombstones {
		d.TombstoneBytes += r.Size
	}
	for i, s := range t.state.Partitions {
		d.Partitions = append(d.Partitions, PartitionDescription{Partition: int32(i), LogStart: s.LogStart, Next: s.Next})
	}
	for name, a := range t.snap.Files {
		d.Bytes += a.Size
		if a.Size < SmallFile {
			d.SmallFiles++
		}
		for _, r := range all[name] {
			d.Rows += r.Rows
			if r.Partition >= 0 && int(r.Partition) < len(d.Partitions) {
				d.Partitions[r.Partition].Rows += r.Rows
				d.Partitions[r.Partition].Files++
			}
		}
	}
	return d, nil
}

// allRanges is where each live file holds rows, by its name. Files that left the table
// while they were read make it look again.
func (t *Table) allRanges(ctx context.Context) (map[string][]rows.Range, error) {
	const attempts = 5
	for attempt := 1; ; attempt++ {
		all, err := t.readRanges(ctx)
		if !errors.Is(err, object.ErrNotFound) || attempt == attempts {
			return all, err
		}
		if err := t.sync(ctx); err != nil {
			return nil, err
		}
	}
}

func (t *Table) readRanges(ctx context.Context) (map[string][]rows.Range, error) {
	names := slices.Collect(maps.Keys(t.snap.Files))
	found := make([][]rows.Range, len(names))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(footers)
	for i, name := range names {
		a := t.snap.Files[name]
		if ranges, ok := rows.ParseRanges(a.Tags); ok {
			found[i] = ranges
			continue
		}
		group.Go(func() (err error) {
			found[i], err = t.ranges(ctx, a)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	all := make(map[string][]rows.Range, len(names))
	for i, name := range names {
		all[name] = found[i]
	}
	return all, nil
}
