package storage

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"sluice/protocol/record"
	"sluice/storage/delta"
	"sluice/storage/object"
	"sluice/storage/object/dir"
	"sluice/storage/rows"
)

var (
	largeEntries = flag.Int64("large.entries", 0, "entries in the log of TestALargeTableIsServedAtOnce; 0 is the quick form")
	largeFiles   = flag.Int("large.files", 2000, "its live files")
	largeDir     = flag.String("large.dir", "", "where to keep the table from run to run; making a million files takes a while")
)

// largeTable says what a table looks like that has been written to for long.
type largeTable struct {
	version    int64 // the newest
	entries    int64 // how many entries are there, the newest ones
	tail       int64 // of which so many stand behind the checkpoint
	files      int   // live data files, those of the tail included
	partitions int32
	perFile    int // records of each partition in each file
}

// write makes the table under a root: real data files with tags, a checkpoint, the
// entries behind it, and in front of it as many as were never cleaned up: those are
// hard links to one, which nobody may need to read.
func (l largeTable) write(t testing.TB, root, name string) {
	t.Helper()
	store, err := dir.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	settings, err := ParseSettings(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	snap := delta.NewSnapshot()
	snap.Version = l.version - l.tail
	snap.Protocol = *protocol(false)
	snap.Metadata = delta.Metadata{
		ID: uuid.NewString(), Name: name, SchemaString: rows.SchemaString, CreatedTime: 1,
		Configuration: configuration(nil, l.partitions, nil, settings),
	}
	encoder := rows.NewEncoder(rows.Options{})
	began := time.Now().Add(-time.Hour).UnixMilli()
	// add makes the n-th data file and answers its action and the next offsets.
	add := func(n int) (delta.Add, []delta.Txn) {
		var batches []rows.Batch
		var txns []delta.Txn
		for p := range l.partitions {
			base := int64(n * l.perFile)
			values := make([]string, l.perFile)
			for i := range values {
				values[i] = fmt.Sprintf("%d-%d", p, base+int64(i))
			}
			batches = append(batches, rows.Batch{Partition: p, BaseOffset: base, Data: record.Batch(produced(nil, values...))})
			txns = append(txns, delta.Txn{AppID: nextOffsetApp(snap.Metadata.ID, p), Version: base + int64(l.perFile)})
		}
		file, err := encoder.Encode(name, batches)
		if err != nil {
			t.Fatal(err)
		}
		path := fmt.Sprintf("data/2026-01-01/%06d.parquet", n)
		writeFile(t, filepath.Join(root, name, path), file.Body)
		return delta.Add{
			Path: path, PartitionValues: map[string]string{}, Size: int64(len(file.Body)),
			ModificationTime: began + int64(n), DataChange: true, Stats: file.Stats, Tags: file.Tags,
		}, txns
	}
	checkpointed := l.files - int(l.tail)
	for n := range checkpointed {
		a, txns := add(n)
		snap.Files[a.Path] = &a
		for _, txn := range txns {
			snap.Txns[txn.AppID] = txn
		}
	}
	log := delta.NewLog(store, name, delta.Options{})
	if err := log.WriteCheckpoint(t.Context(), snap, time.Now()); err != nil {
		t.Fatal(err)
	}
	state := stateSnapshot{Version: snap.Version, note: note{Table: snap.Metadata.ID}}
	if err := writeState(t.Context(), store, name, state); err != nil {
		t.Fatal(err)
	}
	for i := range l.tail {
		e := &delta.Entry{Version: snap.Version + 1 + i, Info: &delta.CommitInfo{Timestamp: began + int64(checkpointed) + i, Operation: "WRITE"}}
		a, txns := add(checkpointed + int(i))
		e.Adds, e.Txns = []delta.Add{a}, txns
		body, err := e.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(root, delta.EntryKey(name, e.Version)), body)
	}
	l.writeOldEntries(t, root, name)
}

// linksPerFile is below what file systems allow (65,000 at ext4).
const linksPerFile = 50_000

func (l largeTable) writeOldEntries(t testing.TB, root, name string) {
	t.Helper()
	e := &delta.Entry{Version: 1, Info: &delta.CommitInfo{Timestamp: 1, Operation: "WRITE"}}
	body, err := e.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	original := ""
	for i, version := 0, l.version-l.entries+1; version <= l.version-l.tail; i, version = i+1, version+1 {
		path := filepath.Join(root, delta.EntryKey(name, version))
		if i%linksPerFile == 0 {
			writeFile(t, path, body)
			old := time.Now().Add(-time.Hour)
			if err := os.Chtimes(path, old, old); err != nil {
				t.Fatal(err)
			}
			original = path
		} else if err := os.Link(original, path); err != nil {
			t.Fatal(err)
		}
	}
}

func writeFile(t testing.TB, path string, body []byte) {
	t.Helper()
	err := os.WriteFile(path, body, 0o644)
	if os.IsNotExist(err) {
		if err = os.MkdirAll(filepath.Dir(path), 0o755); err == nil {
			err = os.WriteFile(path, body, 0o644)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A topic that has been written to for long opens in time of what is live, not of
// what has been: few requests, and nothing of the log before its checkpoint.
//
//	go test ./storage -run TestALargeTableIsServedAtOnce -v -large.entries 1000000 -large.dir /tmp/large
func TestALargeTableIsServedAtOnce(t *testing.T) {
	l := largeTable{version: 1_000_000, entries: 2000, tail: 99, files: 300, partitions: 4, perFile: 5}
	if *largeEntries > 0 {
		l.entries, l.files = *largeEntries, *largeFiles
	}
	root := *largeDir
	if root == "" {
		root = t.TempDir()
	}
	if _, err := os.Stat(filepath.Join(root, "events")); os.IsNotExist(err) {
		began := time.Now()
		l.write(t, root, "events")
		t.Logf("made in %v", time.Since(began).Round(time.Millisecond))
	}
	began := time.Now()
	store, err := dir.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	reg := prometheus.NewRegistry()
	r := start(t, object.NewMeter(store, reg), Options{})
	ready := time.Since(began)
	topic := r.topic("events")
	opened := time.Since(began)
	mustAppend(t, topic, 0, "first")
	produced := time.Since(began)
	end, err := topic.Offsets(0)
	if err != nil {
		t.Fatal(err)
	}
	if want := int64(l.files*l.perFile) + 1; *largeDir == "" && end.HighWatermark != want {
		t.Errorf("high watermark %d, want %d", end.HighWatermark, want)
	}
	read, err := topic.Read(t.Context(), 1, int64(l.files*l.perFile)/2, 1, true)
	if err != nil || len(read.Batches) == 0 {
		t.Fatalf("%d batches, %v", len(read.Batches), err)
	}
	fetched := time.Since(began)
	gets, lists := requests(t, reg, "get"), requests(t, reg, "list")
	t.Logf("%d entries, %d files: ready %v, opened %v, produced %v, fetched %v with %v gets and %v lists",
		l.entries, l.files, ready, opened, produced, fetched, gets, lists)
	// The catalogue does not know the table the first time and reads it, too. A reader
	// prefetches the next few files.
	if gets > float64(3*l.tail+50) || lists > 12 {
		t.Errorf("%v gets and %v lists for a tail of %d entries", gets, lists, l.tail)
	}
	if limit := 2 * time.Second; *largeEntries > 0 && fetched > limit {
		t.Errorf("served after %v, more than %v", fetched, limit)
	}
}

// requests counts the calls of a kind.
func requests(t testing.TB, reg *prometheus.Registry, kind string) (n float64) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "sluice_store_requests_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			for _, label := range m.GetLabel() {
				if label.GetName() == "kind" && label.GetValue() == kind {
					n += m.GetCounter().GetValue()
				}
			}
		}
	}
	return n
}
