package delta

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice/storage/object"
	"sluice/storage/object/mem"
)

// onCreate makes faults that see only the puts of one version, and their number.
func onCreate(version int64, f func(attempt int) mem.Fault) mem.Faults {
	key := EntryKey(testTable, version)
	return func(r mem.Request) mem.Fault {
		if r.Kind == object.KindCreate && r.Key == key {
			return f(r.Attempt)
		}
		return mem.Fault{}
	}
}

// first applies faults to the first attempts, one each.
func first(faults ...mem.Fault) func(int) mem.Fault {
	return func(attempt int) mem.Fault {
		if attempt <= len(faults) {
			return faults[attempt-1]
		}
		return mem.Fault{}
	}
}

func repeat(f mem.Fault, n int) []mem.Fault {
	faults := make([]mem.Fault, n)
	for i := range faults {
		faults[i] = f
	}
	return faults
}

func TestAnUnclearAnswerIsDecided(t *testing.T) {
	conflict := errors.New("409 ConditionalRequestConflict")
	denied := fmt.Errorf("403: %w", object.ErrDenied)
	for _, test := range []struct {
		name   string
		faults []mem.Fault // of our puts, in order
		// foreign is the attempt of ours before which somebody else takes the version.
		foreign int
		// unreadable is how many reads of the entry fail.
		unreadable int
		want       string // whose entry stands there
		err        error  // of Commit
	}{
		{name: "the answer comes", want: "ours"},
		{name: "the answer is lost", faults: []mem.Fault{{Outcome: mem.Lose}}, want: "ours"},
		{name: "the answer is lost three times", faults: repeat(mem.Fault{Outcome: mem.Lose}, 3), want: "ours"},
		{name: "the put is dropped twice", faults: repeat(mem.Fault{Outcome: mem.Refuse}, 2), want: "ours"},
		{name: "the store reports conflicts", faults: repeat(mem.Fault{Outcome: mem.Refuse, Err: conflict}, 5), want: "ours"},
		{name: "a library repeats the put", faults: []mem.Fault{{Outcome: mem.Twice}}, want: "ours"},
		{name: "the put lands when the next has won", faults: []mem.Fault{{Outcome: mem.Late, Lag: time.Minute}}, want: "ours"},
		{name: "the put lands before the next", faults: []mem.Fault{{Outcome: mem.Late, Lag: time.Millisecond}}, want: "ours"},
		{name: "the put hangs", faults: []mem.Fault{{Outcome: mem.Hang}}, want: "ours"},
		{name: "the put is applied and hangs", faults: []mem.Fault{{Outcome: mem.HangApplied}}, want: "ours"},
		{name: "a storm of errors", faults: repeat(mem.Fault{Outcome: mem.Refuse}, 40), want: "ours"},
		{name: "exists, and cannot be read at first", faults: []mem.Fault{{Outcome: mem.Lose}}, unreadable: 3, want: "ours"},
		{name: "another was there", foreign: 1, want: "theirs"},
		{name: "another was there, and cannot be read at first", foreign: 1, unreadable: 3, want: "theirs"},
		{name: "another gets in after a dropped put", faults: []mem.Fault{{Outcome: mem.Refuse}}, foreign: 2, want: "theirs"},
		{name: "another gets in before a late put", faults: []mem.Fault{{Outcome: mem.Late, Lag: time.Minute}}, foreign: 2, want: "theirs"},
		{name: "another gets in during conflicts", faults: repeat(mem.Fault{Outcome: mem.Refuse, Err: conflict}, 3), foreign: 4, want: "theirs"},
		{name: "another comes after a lost answer", faults: []mem.Fault{{Outcome: mem.Lose}}, foreign: 2, want: "ours"},
		{name: "the store refuses", faults: repeat(mem.Fault{Outcome: mem.Refuse, Err: denied}, 9), err: object.ErrDenied},
		{name: "the store refuses after a put that lands late", faults: append([]mem.Fault{{Outcome: mem.Late, Lag: 5 * time.Second}}, repeat(mem.Fault{Outcome: mem.Refuse, Err: denied}, 99)...), want: "ours"},
		{name: "every put hangs until the context ends", faults: repeat(mem.Fault{Outcome: mem.Hang}, 99), err: context.DeadlineExceeded},
		{name: "every answer is lost and nothing is readable", faults: repeat(mem.Fault{Outcome: mem.Lose}, 999), unreadable: 999, err: context.DeadlineExceeded, want: "ours"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, l := newMemLog(Options{})
				s := testTableAt(t, l, 3)
				ours, theirs := testAppend(4, "ours"), testAppend(4, "theirs")
				other := NewLog(store.Handle(), testTable, Options{})
				puts := first(test.faults...)
				unreadable := test.unreadable
				store.SetFaults(func(r mem.Request) mem.Fault {
					if r.Key != EntryKey(testTable, 4) {
						return mem.Fault{}
					}
					if r.Kind == object.KindGet && unreadable > 0 {
						unreadable--
						return mem.Fault{Outcome: mem.Refuse}
					}
					if r.Kind != object.KindCreate {
						return mem.Fault{}
					}
					if r.Attempt == test.foreign {
						_, _, _ = other.Commit(context.Background(), theirs, s.Proved)
					}
					return puts(r.Attempt)
				})
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
				defer cancel()
				now, foreign, err := l.Commit(ctx, ours, s.Proved)
				if !errors.Is(err, test.err) {
					t.Fatalf("error %v, want %v", err, test.err)
				}
				if err == nil && (foreign == nil) != (test.want == "ours") {
					t.Fatalf("foreign %+v, want %s", foreign, test.want)
				}
				if foreign != nil && foreign.TxnID() != "theirs" {
					t.Fatalf("foreign %+v", foreign)
				}
				time.Sleep(2 * time.Minute) // what is late lands
				if got := testAudit(t, store.Handle(), testTable)[4]; got != test.want {
					t.Fatalf("in the log stands %q, want %q", got, test.want)
				}
				if err != nil {
					// Undecided or refused: the same call decides once the store is well.
					store.SetFaults(nil)
					if now, foreign, err = l.Commit(t.Context(), ours, s.Proved); err != nil || foreign != nil {
						t.Fatalf("again: %v, %v", foreign, err)
					}
				}
				e := ours
				if foreign != nil {
					e = foreign
				}
				if err := s.Apply(e); err != nil {
					t.Fatal(err)
				}
				s.Proved = now
				store.SetFaults(nil)
				testCommit(t, l, s, testAppend(5, "next"))
				testReopen(t, store, s)
				if ids := testAudit(t, store, testTable); len(ids) != 6 {
					t.Fatal(ids)
				}
			})
		})
	}
}

func TestAnEntryWithoutAnIDIsNotPut(t *testing.T) {
	store, l := newMemLog(Options{})
	s := testTableAt(t, l, 0)
	if _, _, err := l.Commit(t.Context(), testAppend(1, ""), s.Proved); !errors.Is(err, ErrIllegal) {
		t.Fatal(err)
	}
	if ids := testAudit(t, store, testTable); len(ids) != 1 {
		t.Fatal(ids)
	}
}

// Eight writers with a snapshot each, over a store that drops puts and answers.
func TestRacingWritersMakeOneLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const writers, commits = 8, 25
		store, l := newMemLog(Options{})
		testTableAt(t, l, 0)
		var group sync.WaitGroup
		for w := range writers {
			group.Go(func() {
				handle := store.Handle()
				random, mu := rand.New(rand.NewPCG(uint64(w), 7)), sync.Mutex{}
				handle.SetFaults(func(r mem.Request) mem.Fault {
					mu.Lock()
					defer mu.Unlock()
					delay := time.Duration(random.IntN(30)) * time.Millisecond
					if r.Kind != object.KindCreate {
						return mem.Fault{Delay: delay}
					}
					switch random.IntN(10) {
					case 0:
						return mem.Fault{Delay: delay, Outcome: mem.Lose}
					case 1:
						return mem.Fault{Delay: delay, Outcome: mem.Refuse}
					case 2:
						return mem.Fault{Delay: delay, Outcome: mem.Late, Lag: 40 * time.Millisecond}
					case 3:
						return mem.Fault{Delay: delay, Outcome: mem.Twice}
					}
					return mem.Fault{Delay: delay}
				})
				l := NewLog(handle, testTable, Options{})
				s, err := l.Open(context.Background(), nil)
				if err != nil {
					t.Error(err)
					return
				}
				app := fmt.Sprintf("writer/%d", w)
				for done := int64(0); done < commits; {
					e := testAppend(s.Version+1, fmt.Sprintf("%s/%d", app, done))
					e.Txns = []Txn{{AppID: app, Version: s.Txns[app].Version + 1}}
					now, foreign, err := l.Commit(context.Background(), e, s.Proved)
					if err != nil {
						t.Error(err)
						return
					}
					if foreign == nil {
						done++
					} else {
						e = foreign
					}
					if err := s.Apply(e); err != nil {
						t.Error(err)
						return
					}
					s.Proved = now
				}
				// What a writer has seen is what is there.
				if err := l.Follow(context.Background(), s, nil); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		time.Sleep(time.Second)
		s, err := l.Open(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if s.Version != writers*commits || len(s.Files) != writers*commits {
			t.Fatalf("version %d, %d files", s.Version, len(s.Files))
		}
		for w := range writers {
			if got := s.Txns[fmt.Sprintf("writer/%d", w)].Version; got != commits {
				t.Errorf("writer %d: txn %d", w, got)
			}
		}
		if ids := testAudit(t, store, testTable); len(ids) != writers*commits+1 {
			t.Fatal(len(ids))
		}
	})
}

func TestASlowPutIsSentOnceMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const latency = 10 * time.Millisecond
		store, l := newMemLog(Options{})
		slow := atomic.Int64{} // the version whose first put is slow
		var outcome mem.Fault
		store.SetFaults(func(r mem.Request) mem.Fault {
			if r.Kind == object.KindCreate && r.Key == EntryKey(testTable, slow.Load()) && r.Attempt == 1 {
				return outcome
			}
			return mem.Fault{Delay: latency}
		})
		s := testTableAt(t, l, 40)
		for i, test := range []struct {
			outcome mem.Fault
			within  time.Duration
		}{
			{mem.Fault{Outcome: mem.Hang}, hedgeFloor + latency},
			{mem.Fault{Outcome: mem.HangApplied}, hedgeFloor + 2*latency}, // exists: read back
			{mem.Fault{Delay: hedgeFloor + latency/2}, hedgeFloor + latency/2},
		} {
			slow.Store(s.Version + 1)
			outcome = test.outcome
			start := time.Now()
			testCommit(t, l, s, testAppend(s.Version+1, fmt.Sprintf("slow%d", i)))
			if took := time.Since(start); took != test.within {
				t.Errorf("%+v: took %v, want %v", test.outcome, took, test.within)
			}
			if got := l.Stats().Hedges.Load(); got != int64(i+1) {
				t.Errorf("%+v: %d hedges", test.outcome, got)
			}
		}
		// A store that is slow throughout raises the profile: no more hedges.
		store.SetFaults(func(mem.Request) mem.Fault { return mem.Fault{Delay: 200 * time.Millisecond} })
		testExtend(t, l, s, s.Version+40)
		before := l.Stats().Hedges.Load()
		testExtend(t, l, s, s.Version+40)
		if after := l.Stats().Hedges.Load(); after != before {
			t.Errorf("%d hedges at a store that is slow but steady", after-before)
		}
		store.SetFaults(nil)
		testAudit(t, store, testTable)
		testReopen(t, store, s)
	})
}

func TestCreatingATable(t *testing.T) {
	t.Run("that exists is refused", func(t *testing.T) {
		store, l := newMemLog(Options{})
		s := testTableAt(t, l, 2)
		if _, err := l.Create(t.Context(), testFirst("again")); !errors.Is(err, ErrTableExists) {
			t.Fatal(err)
		}
		testReopen(t, store, s)
	})
	t.Run("whose log was cleaned is refused", func(t *testing.T) {
		store, l := newMemLog(Options{})
		s := testTableAt(t, l, 2)
		if err := l.WriteCheckpoint(t.Context(), s, time.Now()); err != nil {
			t.Fatal(err)
		}
		if _, err := store.Delete(t.Context(), EntryKey(testTable, 0), EntryKey(testTable, 1)); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Create(t.Context(), testFirst("again")); !errors.Is(err, ErrTableExists) {
			t.Fatal(err)
		}
		testReopen(t, store, s)
	})
	t.Run("that appears and is cleaned between list and put is refused", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			store, l := newMemLog(Options{Attempt: 3 * time.Hour})
			other := NewLog(store.Handle(), testTable, Options{})
			store.SetFaults(onCreate(0, func(int) mem.Fault {
				s := testTableAt(t, other, 5)
				time.Sleep(2 * time.Hour)
				if err := other.WriteCheckpoint(t.Context(), s, time.Now()); err != nil {
					t.Error(err)
				}
				if n, err := other.Cleanup(t.Context(), s, s.Version, nil); n != 5 || err != nil {
					t.Errorf("%d, %v", n, err)
				}
				return mem.Fault{Delay: time.Hour}
			}))
			if _, err := l.Create(t.Context(), testFirst("late")); !errors.Is(err, ErrTableExists) {
				t.Fatal(err)
			}
			ids := testAudit(t, store.Handle(), testTable)
			if len(ids) != 1 || ids[5] != "t5" {
				t.Fatalf("the late entry stays: %v", ids)
			}
		})
	})
	t.Run("by eight at once makes one", func(t *testing.T) {
		store := mem.New()
		var group sync.WaitGroup
		var won atomic.Int64
		for i := range 8 {
			group.Go(func() {
				l := NewLog(store.Handle(), testTable, Options{})
				_, err := l.Create(context.Background(), testFirst(fmt.Sprint(i)))
				switch {
				case err == nil:
					won.Add(1)
				case !errors.Is(err, ErrTableExists):
					t.Error(err)
				}
				if s, err := l.Open(context.Background(), nil); err != nil || s.Version != 0 {
					t.Errorf("%+v, %v", s, err)
				}
			})
		}
		group.Wait()
		if won.Load() != 1 {
			t.Fatalf("%d winners", won.Load())
		}
		testAudit(t, store, testTable)
	})
	t.Run("without metadata is refused", func(t *testing.T) {
		store, l := newMemLog(Options{})
		if _, err := l.Create(t.Context(), testAppend(0, "x")); !errors.Is(err, ErrIllegal) {
			t.Fatal(err)
		}
		if page, err := store.List(t.Context(), object.ListRequest{}); err != nil || len(page.Objects) != 0 {
			t.Fatal(page, err)
		}
	})
}

func TestErrorsSayWhereAndWhat(t *testing.T) {
	_, l := newMemLog(Options{})
	_, err := l.Open(t.Context(), nil)
	if !errors.Is(err, ErrNoTable) || !strings.Contains(err.Error(), testTable) {
		t.Error(err)
	}
}
