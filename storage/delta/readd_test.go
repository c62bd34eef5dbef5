package delta

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"sluice/storage/object"
	"sluice/storage/object/mem"
)

// testEntriesOnly reads a table as a reader does that knows no checkpoints: the
// entries from 0 to the newest, those that are missing passed over.
func testEntriesOnly(t *testing.T, l *Log, tip int64) map[string]*Add {
	t.Helper()
	files := map[string]*Add{}
	for version := range tip + 1 {
		e, _, err := l.ReadEntry(t.Context(), version)
		if errors.Is(err, object.ErrNotFound) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		changes, rearranges := false, false
		for i := range e.Removes {
			delete(files, e.Removes[i].Path)
			changes, rearranges = changes || e.Removes[i].DataChange, rearranges || !e.Removes[i].DataChange
		}
		for i := range e.Adds {
			files[e.Adds[i].Path] = &e.Adds[i]
			changes, rearranges = changes || e.Adds[i].DataChange, rearranges || !e.Adds[i].DataChange
		}
		if changes && rearranges {
			t.Errorf("version %d both changes and rearranges data", version)
		}
	}
	return files
}

func TestAReaderWithoutCheckpointsMissesNothingAfterACleanup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		want := map[string]Add{} // as first added
		again := 0               // entries that add files again
		for restart := range 3 {
			l := startLedger(t, store, CommitterOptions{})
			l.apply = func(e *Entry) error {
				for i, a := range e.Adds {
					if first, known := want[a.Path]; !known {
						want[a.Path] = a
					} else if a.DataChange || a.ModificationTime != first.ModificationTime || a.Size != first.Size || a.Stats != first.Stats {
						t.Errorf("added again: %+v, first %+v", a, first)
					} else if i == 0 {
						again++
					}
				}
				return nil
			}
			for i := range 250 {
				l.append(restart*250+i, true)
				time.Sleep(time.Minute)
			}
			l.Close(t.Context())
		}
		log := NewLog(store, testTable, Options{})
		s, err := log.Open(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := log.ReadEntry(t.Context(), 400); !errors.Is(err, object.ErrNotFound) {
			t.Error("the log was not cleaned up:", err)
		}
		got := testEntriesOnly(t, log, s.Version)
		if len(got) != 750 || len(s.Files) != 750 || len(want) != 750 {
			t.Errorf("%d files by entries, %d in the table, %d written", len(got), len(s.Files), len(want))
		}
		if again == 0 || again > 8 {
			t.Error(again, "entries add files again") // at most one for a checkpoint
		}
		testAudit(t, store, testTable)
	})
}

func TestNothingIsCleanedUpThatIsNotAddedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		l := startLedger(t, store, CommitterOptions{})
		for i := range 99 {
			l.append(i, true)
			time.Sleep(time.Second)
		}
		time.Sleep(2 * time.Hour)
		// From here on another leader's entries refuse ours.
		other := NewLog(store.Handle(), testTable, Options{})
		s, err := other.Open(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		e := testAppend(s.Version+1, "other")
		e.Txns = append(e.Txns, Txn{AppID: EpochApp, Version: 1})
		testCommit(t, other, s, e)
		if err := other.WriteCheckpoint(t.Context(), s, s.Proved); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Hour)
		readd := func(ctx context.Context, base int64, _ int) error { return l.readd(ctx, base) }
		if n, err := l.log.Cleanup(t.Context(), s, s.Version, readd); n != 0 || !errors.Is(err, ErrFenced) && !errors.Is(err, ErrMoved) {
			t.Errorf("a leader that was overtaken removed %d objects: %v", n, err)
		}
	})
}

func TestFilesThatAreAddedAgainComeInEntriesOfBoundedSize(t *testing.T) {
	s := NewSnapshot()
	for i := range 25_000 {
		name := fmt.Sprintf("data/%05d.parquet", i)
		s.Files[name] = &Add{Path: name, ModificationTime: int64(i), version: int64(i)}
	}
	s.Version = 25_000
	var sizes []int
	next := 0
	for {
		e := readdEntry(s, 24_000)
		if e == nil {
			break
		}
		e.Version = s.Version + 1
		for i := range e.Adds { // in the order of their time
			if e.Adds[i].ModificationTime != int64(next) {
				t.Fatalf("file %d comes at place %d", e.Adds[i].ModificationTime, next)
			}
			next++
		}
		sizes = append(sizes, len(e.Adds))
		if err := s.Apply(e); err != nil {
			t.Fatal(err)
		}
	}
	if fmt.Sprint(sizes) != "[10000 10000 4000]" {
		t.Error(sizes)
	}
}
