package admin

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/google/uuid"

	"sluice/protocol/record"
	"sluice/storage/delta"
	"sluice/storage/object"
	"sluice/storage/rows"
	"sluice/storage/upkeep"
)

// maxOutput bounds the file that a rewriting has in memory.
const maxOutput = 128 << 20

// without makes the files that hold the rows of a but for the selected ones: one, unless a is
// beyond what memory should hold, or none. What was uploaded before an error is deleted.
func (d *deletion) without(ctx context.Context, a *delta.Add, ranges []rows.Range) (made, error) {
	// Tags that say more than where the rows are stay right with fewer rows.
	tags := maps.Clone(a.Tags)
	delete(tags, rows.RangesTag)
	return d.make(ctx, []*delta.Add{a}, [][]rows.Range{ranges}, upkeep.Rewriting{
		Target: min(a.Size+a.Size/4+1<<20, maxOutput), Tags: func([]rows.Range) map[string]string { return tags },
		Keep: func(partition int32, offset int64, r *record.Record) bool { return !d.selects(partition, offset, r) },
	})
}

// make uploads the files that rw makes of others, and answers their adds, as changes of data
// if rows are left out. Those of an engine's files do not say either which records they hold:
// their rows may be no records, and whoever opens the topic believes the tag. What was uploaded
// before an error is deleted.
func (t *Table) make(ctx context.Context, files []*delta.Add, ranges [][]rows.Range, rw upkeep.Rewriting) (m made, err error) {
	rw.Topic, rw.Codec = t.topic, codec(t.state.Settings.ParquetCompression)
	var newest int64
	told := true
	for i, a := range files {
		_, ok := rows.ParseRanges(a.Tags)
		told = told && ok
		source, err := t.source(a)
		if err != nil {
			return m, err
		}
		rw.Files = append(rw.Files, upkeep.File{Size: a.Size, Ranges: ranges[i], Source: source})
		newest = max(newest, a.ModificationTime)
	}
	rw.Put = func(ctx context.Context, f rows.File) error {
		if !told {
			delete(f.Tags, rows.RangesTag)
		}
		a := delta.Add{
			Path:            "data/" + time.Now().UTC().Format(time.DateOnly) + "/" + uuid.NewString() + ".parquet",
			PartitionValues: map[string]string{}, Size: int64(len(f.Body)), ModificationTime: newest,
			DataChange: rw.Keep != nil, Stats: f.Stats, Tags: f.Tags,
		}
		m.adds = append(m.adds, a)
		m.rows += f.Rows
		key, err := t.log.DataKey(a.Path)
		if err != nil {
			return err
		}
		now, err := t.store.Put(ctx, key, f.Body)
		if m.since.IsZero() {
			m.since = now
		}
		return err
	}
	if _, err = upkeep.Rewrite(ctx, rw); err == nil {
		return m, nil
	}
	t.discard(ctx, m.adds)
	if e, ok := errors.AsType[*upkeep.FileError](err); ok && e.Index < len(files) {
		err = fmt.Errorf("data file %s: %w", files[e.Index].Path, e.Err)
	}
	return made{}, err
}

// discard deletes files that were uploaded and are not part of the table. It is
// best effort: what stays is an orphan.
func (t *Table) discard(ctx context.Context, adds []delta.Add) {
	var keys []string
	for i := range adds {
		if key, err := t.log.DataKey(adds[i].Path); err == nil {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return
	}
	// Also after the command was interrupted.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if _, err := t.store.Delete(ctx, keys...); err != nil {
		t.options.Log.Warn("files that were not used stay behind", "table", t.topic, "files", len(keys), "err", err)
	}
}

// source reads a data file.
func (t *Table) source(a *delta.Add) (rows.Source, error) {
	key, err := t.log.DataKey(a.Path)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, off, n int64, into []byte) ([]byte, error) {
		o, err := t.store.Get(ctx, key, object.Range{Offset: off, Length: n, Into: into})
		if err == nil && int64(len(o.Body)) != n {
			err = fmt.Errorf("%w: %d bytes from %d on, want %d", rows.ErrCorrupt, len(o.Body), off, n)
		}
		return o.Body, err
	}, nil
}

func codec(name string) rows.Codec {
	switch name {
	case "zstd":
		return rows.Zstd
	case "none":
		return rows.None
	}
	return rows.Snappy
}
