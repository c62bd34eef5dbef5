package delta

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"sluice/storage/object/mem"
)

// manyFiles makes a table whose entry 1 adds so many files.
func manyFiles(t *testing.T, store *mem.Store, table string, memory *Memory, files int) *Log {
	t.Helper()
	log := NewLog(store, table, Options{Memory: memory})
	if _, err := log.Create(t.Context(), &Entry{
		Info:     &CommitInfo{TxnID: "one"},
		Protocol: &Protocol{MinReaderVersion: 1, MinWriterVersion: 2},
		Metadata: &Metadata{ID: "5f0b8d20-0000-4000-8000-000000000000", SchemaString: `{"type":"struct","fields":[]}`},
	}); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for i := range files {
		fmt.Fprintf(&b, `{"add":{"path":"%d.parquet","partitionValues":{},"size":1,"modificationTime":1,"dataChange":true}}`+"\n", i)
	}
	if _, err := store.Put(t.Context(), EntryKey(table, 1), []byte(b.String())); err != nil {
		t.Fatal(err)
	}
	return log
}

func TestTablesShareWhatAllMayTake(t *testing.T) {
	const files = 9000 // 5 MiB as a state
	store, memory := mem.New(), NewMemory(minMemory, minMemory)
	var open []*Snapshot
	for i := range 5 {
		snap, err := manyFiles(t, store, fmt.Sprint("table-", i), memory, files).Open(t.Context(), nil)
		switch {
		case i < 3 && err != nil:
			t.Fatal(err)
		case i >= 3 && (!errors.Is(err, ErrFull) || errors.Is(err, ErrCorrupt)):
			t.Fatalf("table %d: %v, of %d bytes in use", i, err, memory.Used())
		case err == nil:
			open = append(open, snap)
		}
	}
	// One of the process's own is always served.
	own := NewLog(store, "table-4", Options{Memory: memory, Own: true})
	snap, err := own.Open(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	snap.Release()
	open[0].Release()
	open[0].Release() // once is enough
	again := NewLog(store, "table-3", Options{Memory: memory})
	if snap, err = again.Open(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	for _, s := range append(open, snap) {
		s.Release()
	}
	if n := memory.Used(); n != 0 {
		t.Errorf("%d bytes are never given back", n)
	}
}

func TestACheckpointThatDoesNotFitBesideOthersIsNotPassedOver(t *testing.T) {
	store, memory := mem.New(), NewMemory(minMemory, minMemory)
	log := manyFiles(t, store, "table", memory, 9000)
	snap, err := log.Open(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := log.WriteCheckpoint(t.Context(), snap, time.Now()); err != nil {
		t.Fatal(err)
	}
	taken := &room{memory: memory}
	taken.force(memory.all - snap.memory()/2)
	snap.Release()
	if _, err := log.Open(t.Context(), nil); !errors.Is(err, ErrFull) {
		t.Fatal(err)
	}
	taken.force(0)
	if snap, err = log.Open(t.Context(), nil); err != nil || snap.Checkpoint != 1 {
		t.Fatal(err)
	}
	snap.Release()
	if n := memory.Used(); n != 0 {
		t.Errorf("%d bytes are never given back", n)
	}
}
