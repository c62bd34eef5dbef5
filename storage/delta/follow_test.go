package delta

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/storage/object"
	"sluice/storage/object/mem"
)

// inBubble runs a test on fake time, with a table of versions 0 to 10, the log of
// a first broker and that of a second one on the same root.
func inBubble(t *testing.T, test func(t *testing.T, store *mem.Store, l, other *Log, s *Snapshot)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		store, l := newMemLog(Options{})
		s := testTableAt(t, l, 10)
		test(t, store, l, NewLog(store.Handle(), testTable, Options{}), s)
	})
}

// testSuccessor opens the table on l and commits up to last, one second apart.
func testSuccessor(t *testing.T, l *Log, last int64) *Snapshot {
	t.Helper()
	s, err := l.Open(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for s.Version < last {
		testCommit(t, l, s, testAppend(s.Version+1, fmt.Sprintf("b%d", s.Version+1)))
		time.Sleep(time.Second)
	}
	return s
}

// testClean writes a checkpoint of s, and two hours later cleans up before it.
func testClean(t *testing.T, l *Log, s *Snapshot) {
	t.Helper()
	if err := l.WriteCheckpoint(t.Context(), s, s.Proved); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * time.Hour)
	if n, err := l.Cleanup(t.Context(), s, s.Version, nil); n == 0 || err != nil {
		t.Fatalf("cleaned %d, %v", n, err)
	}
}

func TestALeaderPausedPastACleanupDoesNotCommit(t *testing.T) {
	inBubble(t, func(t *testing.T, store *mem.Store, l, other *Log, s *Snapshot) {
		successor := testSuccessor(t, other, 50)
		testClean(t, other, successor)
		_, foreign, err := l.Commit(t.Context(), testAppend(11, "paused"), s.Proved)
		if !errors.Is(err, ErrMoved) || foreign != nil {
			t.Fatalf("%v, %v", foreign, err)
		}
		ids := testAudit(t, store, testTable)
		if len(ids) != 1 || ids[50] != "b50" {
			t.Fatalf("the stray entry stays: %v", ids)
		}
		testReopen(t, store, successor)
		s, err = l.Open(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		testCommit(t, l, s, testAppend(51, "back"))
		testReopen(t, store, s)
	})
}

func TestALeaderPausedWhileTheTableIsMadeAnewDoesNotCommit(t *testing.T) {
	for _, cleaned := range []bool{false, true} {
		t.Run(fmt.Sprintf("cleaned=%v", cleaned), func(t *testing.T) {
			inBubble(t, func(t *testing.T, store *mem.Store, l, other *Log, s *Snapshot) {
				b := testSuccessor(t, other, 10)
				gone := &Entry{Version: 11, Info: &CommitInfo{Timestamp: 2000, Operation: "DELETE", TxnID: "gone"}}
				for _, add := range b.Files {
					gone.Removes = append(gone.Removes, Remove{Path: add.Path, DeletionTimestamp: time.Now().UnixMilli(), DataChange: true})
				}
				testCommit(t, other, b, gone)
				if cleaned {
					testClean(t, other, b)
				}
				anew := testFirst("anew")
				anew.Version, anew.Metadata.ID, anew.Info.Timestamp = 12, "another", 3000
				testCommit(t, other, b, anew)
				_, foreign, err := l.Commit(t.Context(), testAppend(11, "paused"), s.Proved)
				switch {
				case cleaned && !errors.Is(err, ErrMoved):
					t.Fatalf("%v, %v", foreign, err)
				case !cleaned && (err != nil || foreign.TxnID() != "gone"):
					t.Fatalf("%v, %v", foreign, err)
				}
				for _, id := range testAudit(t, store, testTable) {
					if id == "paused" {
						t.Fatal("the stray entry stays")
					}
				}
				testReopen(t, store, b)
			})
		})
	}
}

func TestALeaderThatWasIdleForHoursCommits(t *testing.T) {
	inBubble(t, func(t *testing.T, store *mem.Store, l, _ *Log, s *Snapshot) {
		time.Sleep(5 * time.Hour)
		testCommit(t, l, s, testAppend(11, "idle"))
		if got := l.Stats().Proofs.Load(); got != 1 {
			t.Errorf("%d proofs", got)
		}
		testCommit(t, l, s, testAppend(12, "busy"))
		if got := l.Stats().Proofs.Load(); got != 1 {
			t.Errorf("%d proofs", got)
		}
		testReopen(t, store, s)
	})
}

func TestAStoreWithoutAClockIsAskedEachTime(t *testing.T) {
	inBubble(t, func(t *testing.T, store *mem.Store, l, _ *Log, s *Snapshot) {
		store.SetClock(func() time.Time { return time.Time{} })
		before := l.Stats().Proofs.Load()
		testCommit(t, l, s, testAppend(11, "x"))
		testCommit(t, l, s, testAppend(12, "y"))
		if err := l.Follow(t.Context(), s, nil); err != nil {
			t.Fatal(err)
		}
		if got := l.Stats().Proofs.Load() - before; got != 3 {
			t.Errorf("%d proofs", got)
		}
		if err := l.WriteCheckpoint(t.Context(), s, time.Now()); err != nil {
			t.Fatal(err)
		}
		if n, err := l.Cleanup(t.Context(), s, s.Version, nil); n != 0 || err != nil {
			t.Errorf("cleaned %d, %v", n, err)
		}
		testReopen(t, store, s)
	})
}

// The put was applied in time; its answer got lost, and the next request found a
// process that had slept. Others went on from the entry meanwhile: it must stay.
func TestAnEntryThatOthersWentOnFromIsNotRemoved(t *testing.T) {
	for _, clean := range []bool{false, true} {
		t.Run(fmt.Sprintf("cleaned=%v", clean), func(t *testing.T) {
			inBubble(t, func(t *testing.T, store *mem.Store, _, other *Log, s *Snapshot) {
				handle := store.Handle()
				l := NewLog(handle, testTable, Options{Attempt: 24 * time.Hour})
				var b *Snapshot
				handle.SetFaults(onCreate(11, func(attempt int) mem.Fault {
					if attempt == 1 {
						return mem.Fault{Outcome: mem.Lose}
					}
					b = testSuccessor(t, other, 20)
					if clean {
						testClean(t, other, b)
					}
					return mem.Fault{Delay: time.Hour}
				}))
				_, foreign, err := l.Commit(t.Context(), testAppend(11, "ours"), s.Proved)
				if !errors.Is(err, ErrMoved) || foreign != nil {
					t.Fatalf("%v, %v", foreign, err)
				}
				ids := testAudit(t, store, testTable)
				if clean && ids[11] != "" || !clean && ids[11] != "ours" {
					t.Fatal(ids)
				}
				testReopen(t, store, b)
				if again, err := l.Open(t.Context(), nil); err != nil || again.Txns["next/0"].Version != 20 || again.Files["data/000011-ours.parquet"] == nil {
					t.Fatalf("%+v, %v", again, err)
				}
			})
		})
	}
}

// A stray entry that a second paused leader left in the hole is no news.
func TestAForeignEntryInAHoleIsNotTaken(t *testing.T) {
	inBubble(t, func(t *testing.T, store *mem.Store, l, other *Log, s *Snapshot) {
		b := testSuccessor(t, other, 50)
		testClean(t, other, b)
		stray, err := testAppend(11, "stray").Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := store.Create(t.Context(), EntryKey(testTable, 11), stray); err != nil {
			t.Fatal(err)
		}
		if _, foreign, err := l.Commit(t.Context(), testAppend(11, "paused"), s.Proved); !errors.Is(err, ErrMoved) {
			t.Fatalf("%v, %v", foreign, err)
		}
		if err := l.Follow(t.Context(), s.Clone(), nil); !errors.Is(err, ErrMoved) {
			t.Fatal(err)
		}
		testReopen(t, store, b)
	})
}

func TestFollowing(t *testing.T) {
	inBubble(t, func(t *testing.T, store *mem.Store, l, other *Log, s *Snapshot) {
		var seen []int64
		each := func(e *Entry) error { seen = append(seen, e.Version); return nil }
		var mu sync.Mutex // entries are read in parallel
		requests := map[object.Kind]int{}
		store.SetFaults(func(r mem.Request) mem.Fault {
			mu.Lock()
			defer mu.Unlock()
			requests[r.Kind]++
			return mem.Fault{}
		})
		follow := func(want error) {
			t.Helper()
			if err := l.Follow(t.Context(), s, each); !errors.Is(err, want) {
				t.Fatalf("%v, want %v", err, want)
			}
		}
		// Polling keeps the proof fresh: one GET each time, never a LIST.
		for range 100 {
			time.Sleep(5 * time.Minute)
			follow(nil)
		}
		if requests[object.KindList] != 0 || requests[object.KindGet] != 100 {
			t.Fatal(requests)
		}
		b := testSuccessor(t, other, 13)
		follow(nil)
		if fmt.Sprint(seen) != "[11 12 13]" || requests[object.KindList] != 0 {
			t.Fatal(seen, requests)
		}
		testSame(t, s, b)

		// An error of the caller stops before the entry.
		b = testSuccessor(t, other, 15)
		stop := errors.New("stop")
		err := l.Follow(t.Context(), s, func(e *Entry) error {
			if e.Version == 15 {
				return stop
			}
			return nil
		})
		if err != stop || s.Version != 14 {
			t.Fatal(err, s.Version)
		}
		seen = nil
		follow(nil)
		if fmt.Sprint(seen) != "[15]" {
			t.Fatal(seen)
		}

		// Far behind, with idle hours between: one LIST finds the way.
		for range 5 {
			time.Sleep(3 * time.Hour)
			b = testSuccessor(t, other, b.Version+60)
		}
		clear(requests)
		follow(nil)
		testSame(t, s, b)
		if requests[object.KindList] != 1 || s.Version != 315 {
			t.Fatal(requests, s.Version)
		}

		// Idle for hours: a 404 proves nothing, a LIST does.
		time.Sleep(3 * time.Hour)
		clear(requests)
		follow(nil)
		if requests[object.KindList] != 1 || requests[object.KindGet] != 1 || !s.Proved.Equal(time.Now()) {
			t.Fatal(requests, s.Proved)
		}

		// Cleaned past us: reload.
		b = testSuccessor(t, other, 330)
		testClean(t, other, b)
		follow(ErrMoved)
		if s.Version != 315 {
			t.Fatal(s.Version)
		}
		testReopen(t, store, b)
	})
}

func TestFollowingATableThatIsGoneIsMoved(t *testing.T) {
	inBubble(t, func(t *testing.T, store *mem.Store, l, _ *Log, s *Snapshot) {
		_, err := object.All(t.Context(), store, object.ListRequest{}, func(info object.Info) error {
			_, err := store.Delete(t.Context(), info.Key)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if err := l.Follow(t.Context(), s, nil); !errors.Is(err, ErrMoved) {
			t.Fatal(err)
		}
		if _, err := l.Open(t.Context(), nil); !errors.Is(err, ErrNoTable) {
			t.Fatal(err)
		}
		if err := l.Follow(t.Context(), NewSnapshot(), nil); !errors.Is(err, ErrNoTable) {
			t.Fatal(err)
		}
	})
}

func TestFollowingStopsAtWhatCannotBeRead(t *testing.T) {
	inBubble(t, func(t *testing.T, store *mem.Store, l, _ *Log, s *Snapshot) {
		if _, err := store.Put(t.Context(), EntryKey(testTable, 11), []byte("torn")); err != nil {
			t.Fatal(err)
		}
		if err := l.Follow(t.Context(), s, nil); !errors.Is(err, ErrCorrupt) || s.Version != 10 {
			t.Fatal(err, s.Version)
		}
		if _, foreign, err := l.Commit(t.Context(), testAppend(11, "x"), s.Proved); !errors.Is(err, ErrCorrupt) || foreign != nil {
			t.Fatal(foreign, err)
		}
		upgrade := `{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["deletionVectors"],"writerFeatures":["deletionVectors"]}}`
		if _, err := store.Put(t.Context(), EntryKey(testTable, 11), []byte(upgrade)); err != nil {
			t.Fatal(err)
		}
		if err := l.Follow(t.Context(), s, nil); !errors.Is(err, ErrUnsupported) || s.Version != 10 {
			t.Fatal(err, s.Version)
		}
	})
}

func TestReadingEndsWithItsContext(t *testing.T) {
	inBubble(t, func(t *testing.T, store *mem.Store, l, _ *Log, s *Snapshot) {
		store.SetFaults(func(mem.Request) mem.Fault { return mem.Fault{Outcome: mem.Hang} })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := l.Open(ctx, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if err := l.Follow(ctx, s, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}
