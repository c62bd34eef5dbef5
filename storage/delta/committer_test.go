package delta

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice/storage/object"
	"sluice/storage/object/mem"
)

// ledger is a table's owner for tests: items are numbers, and what the committer
// says of them is kept.
type ledger struct {
	*Committer[int]
	t *testing.T

	mu        sync.Mutex
	committed []int // in the order of the log
	versions  []int // how many items each version carried
	failed    []int
	reason    error
	encoding  atomic.Int32 // data files under way
	encodings atomic.Int32
	apply     func(e *Entry) error // what Applied answers, if not nil
}

func startLedger(t *testing.T, store object.Store, options CommitterOptions) *ledger {
	t.Helper()
	log := NewLog(store, testTable, Options{})
	snap, err := log.Open(t.Context(), nil)
	if errors.Is(err, ErrNoTable) {
		snap, err = log.Create(t.Context(), testFirst("first"))
	}
	if err != nil {
		t.Fatal(err)
	}
	l := &ledger{t: t}
	l.Committer = Start(log, snap, Hooks[int]{
		Encode: func(_ context.Context, items []int) (*File, error) {
			l.encoding.Add(1)
			defer l.encoding.Add(-1)
			n := l.encodings.Add(1)
			return &File{Path: fmt.Sprintf("data/%d-%d.parquet", items[0], n), Body: []byte(fmt.Sprint(items)), Stats: `{"numRecords":1}`}, nil
		},
		Entry: func(*Entry, *Snapshot, [][]int) {},
		Check: func(e *Entry, _ *Snapshot) error {
			if Fenced(e, 0) {
				return ErrFenced
			}
			return nil
		},
		Applied: func(e *Entry, _ *Snapshot, pools [][]int) error {
			l.mu.Lock()
			defer l.mu.Unlock()
			n := 0
			for _, p := range pools {
				l.committed = append(l.committed, p...)
				n += len(p)
			}
			l.versions = append(l.versions, n)
			if l.apply != nil {
				return l.apply(e)
			}
			return nil
		},
		Failed: func(items []int, _ error) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.failed = append(l.failed, items...)
		},
		Stopped: func(err error) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.reason = err
		},
	}, options)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		l.Close(ctx)
	})
	return l
}

func (l *ledger) append(item int, eager bool) {
	l.t.Helper()
	if err := l.Append(item, 10, Sender{Eager: eager, Stalled: eager}); err != nil {
		l.t.Fatal(err)
	}
}

func (l *ledger) count() (committed, versions int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.committed), len(l.versions)
}

// inOrder checks that the items 0 to n-1 are committed, once and in order.
func (l *ledger) inOrder(n int) {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.committed) != n {
		l.t.Fatalf("%d items committed, want %d", len(l.committed), n)
	}
	for i, item := range l.committed {
		if item != i {
			l.t.Fatalf("item %d stands at place %d", item, i)
		}
	}
}

// slow delays puts: data files and log entries.
func slow(data, log time.Duration) mem.Faults {
	return func(r mem.Request) mem.Fault {
		switch {
		case r.Size == 0:
			return mem.Fault{}
		case strings.Contains(r.Key, "_delta_log/"):
			return mem.Fault{Delay: log}
		}
		return mem.Fault{Delay: data}
	}
}

func every(d time.Duration) func() time.Duration { return func() time.Duration { return d } }

func TestALoneItemIsCommittedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		l := startLedger(t, store, CommitterOptions{Interval: every(100 * time.Millisecond)})
		store.SetFaults(slow(2*time.Millisecond, time.Millisecond))
		time.Sleep(time.Second)
		l.append(0, false)
		time.Sleep(3 * time.Millisecond)
		synctest.Wait()
		l.inOrder(1)
	})
}

func TestUnderOpenLoadTheIntervalIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		l := startLedger(t, store, CommitterOptions{Interval: every(50 * time.Millisecond)})
		store.SetFaults(slow(2*time.Millisecond, time.Millisecond))
		for i := range 2000 {
			l.append(i, false)
			time.Sleep(time.Millisecond)
		}
		l.Close(t.Context())
		l.inOrder(2000)
		if _, versions := l.count(); versions < 38 || versions > 42 {
			t.Errorf("%d versions in 2 s, want about 40", versions)
		}
	})
}

func TestStalledProducersAreCommittedEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		l := startLedger(t, store, CommitterOptions{Interval: every(50 * time.Millisecond)})
		store.SetFaults(slow(2*time.Millisecond, time.Millisecond))
		began := time.Now()
		for i := range 100 { // a producer that waits for each answer
			l.append(i, true)
			for n, _ := l.count(); n <= i; n, _ = l.count() {
				time.Sleep(100 * time.Microsecond)
			}
		}
		if took := time.Since(began); took > 1200*time.Millisecond || took < 900*time.Millisecond {
			t.Errorf("100 round trips took %v, want about a fifth of the interval each", took)
		}
		l.inOrder(100)
	})
}

// producer has a window of items that it leaves unanswered.
type producer struct {
	*ledger
	id, window, size int
}

// run sends items as soon as the window has room, for d.
func (p producer) run(d time.Duration) (sent int) {
	for began := time.Now(); time.Since(began) < d; time.Sleep(100 * time.Microsecond) {
		n, _ := p.count()
		for ; sent < n+p.window; sent++ {
			if err := p.Append(sent, p.size, Sender{ID: uint64(p.id), Stalled: sent == n+p.window-1}); err != nil {
				p.t.Fatal(err)
			}
		}
	}
	return sent
}

func TestAProducerWhoseWindowIsFullIsCommittedAsFastAsTheStoreTakesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		l := startLedger(t, store, CommitterOptions{Interval: every(50 * time.Millisecond)})
		store.SetFaults(slow(time.Millisecond, time.Millisecond))
		sent := producer{l, 1, 5, 16 << 10}.run(time.Second)
		l.Close(t.Context())
		l.inOrder(sent)
		if _, versions := l.count(); versions < 450 || versions > 510 {
			t.Errorf("%d versions of %d items in 1 s of commits that take 2 ms: want one after the other, each with a window of 5", versions, sent)
		}
	})
}

func TestAWindowOfSeveralFullPoolsIsOneVersionAsSoonAsItIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		l := startLedger(t, store, CommitterOptions{Interval: every(50 * time.Millisecond), PoolBytes: 1 << 20})
		store.SetFaults(slow(time.Millisecond, time.Millisecond))
		const window = 12 // six pools, nothing left to fill another
		sent := 0
		for began := time.Now(); time.Since(began) < time.Second; time.Sleep(200 * time.Microsecond) {
			if committed, _ := l.count(); sent < committed+window {
				if err := l.Append(sent, 512<<10, Sender{ID: 1, Stalled: sent+1 == committed+window}); err != nil {
					t.Fatal(err)
				}
				sent++
			}
		}
		l.Close(t.Context())
		l.inOrder(sent)
		if _, versions := l.count(); versions < 200 || sent < 2400 {
			t.Errorf("%d versions of %d items in 1 s: a window is sent in 2.4 ms and committed in 2", versions, sent)
		}
	})
}

func TestAWindowOfLargeBatchesHasSeveralUploadsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		l := startLedger(t, store, CommitterOptions{Interval: every(150 * time.Millisecond)})
		store.SetFaults(slow(100*time.Millisecond, 50*time.Millisecond))
		const window, pause = 5, 30 * time.Millisecond
		sent := 0
		for began, next := time.Now(), time.Now(); time.Since(began) < 5*time.Second; time.Sleep(time.Millisecond) {
			committed, _ := l.count()
			if time.Now().Before(next) || sent == committed+window {
				continue
			}
			if err := l.Append(sent, worthAnUpload, Sender{ID: 1, Stalled: sent+1 == committed+window}); err != nil {
				t.Fatal(err)
			}
			sent++
			next = next.Add(pause)
		}
		l.Close(t.Context())
		l.inOrder(sent)
		if sent < 130 { // 100 with one upload at a time
			t.Errorf("%d items in 5 s, want nearly as many as come: 166", sent)
		}
	})
}

func TestAProducerWhoseWindowIsFullOfLittleWaitsForHalfTheInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		l := startLedger(t, store, CommitterOptions{Interval: every(50 * time.Millisecond)})
		store.SetFaults(slow(time.Millisecond, time.Millisecond))
		sent := producer{l, 1, 5, 100}.run(time.Second)
		l.Close(t.Context())
		l.inOrder(sent)
		if _, versions := l.count(); versions < 38 || versions > 42 {
			t.Errorf("%d versions in 1 s, want one each 25 ms", versions)
		}
	})
}

func TestASenderStalledByACommitUnderWayMaySendMoreWhenThatIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		l := startLedger(t, store, CommitterOptions{Interval: every(50 * time.Millisecond)})
		store.SetFaults(slow(4*time.Millisecond, 4*time.Millisecond))
		send := func(item int, stalled bool) {
			if err := l.Append(item, worthAVersion, Sender{ID: 1, Stalled: stalled}); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 500 { // an open load that never has more than eleven items unanswered
			committed, _ := l.count()
			send(i, i-committed == 11)
			time.Sleep(5 * time.Millisecond)
		}
		l.Close(t.Context())
		l.inOrder(500)
		if _, versions := l.count(); versions > 52 {
			t.Errorf("%d versions in 2.5 s, want one each 50 ms", versions)
		}
	})
}

func TestProducersThatSeemToWaitButMaySendMoreAreGivenTheTimeOfALinger(t *testing.T) {
	for _, test := range []struct{ interval, want time.Duration }{
		{100 * time.Millisecond, 20 * time.Millisecond}, // a fifth of it
		{50 * time.Millisecond, quietFree},
		{10 * time.Millisecond, 2500 * time.Microsecond}, // a quarter of it
	} {
		synctest.Test(t, func(t *testing.T) {
			store := mem.New()
			l := startLedger(t, store, CommitterOptions{Interval: every(test.interval)})
			send := func(item int) {
				if err := l.Append(item, 10, Sender{ID: 1, Eager: true}); err != nil {
					t.Fatal(err)
				}
			}
			send(0)
			synctest.Wait()
			began := time.Now()
			send(1)
			for n, _ := l.count(); n < 2; n, _ = l.count() {
				time.Sleep(100 * time.Microsecond)
			}
			if took := time.Since(began); took < test.want || took > test.want+500*time.Microsecond {
				t.Errorf("with an interval of %v it took %v, want %v", test.interval, took, test.want)
			}
		})
	}
}

func TestATableThatNamesTooManyRemovedFilesGetsFewerVersions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		l := startLedger(t, store, CommitterOptions{Interval: every(50 * time.Millisecond)})
		err := l.Propose(t.Context(), func(*Snapshot) (*Entry, error) {
			e := &Entry{}
			for i := range burstTombstones {
				e.Removes = append(e.Removes, Remove{Path: fmt.Sprintf("data/%d.parquet", i)})
			}
			return e, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		sent := producer{l, 1, 5, 16 << 10}.run(time.Second)
		l.Close(t.Context())
		l.inOrder(sent)
		if _, versions := l.count(); versions > 105 {
			t.Errorf("%d versions in 1 s, want one each 10 ms", versions)
		}
	})
}

func TestAPoolWaitsForTheSenderThatMaySendMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		l := startLedger(t, store, CommitterOptions{Interval: every(50 * time.Millisecond)})
		send := func(item int, from Sender) {
			if err := l.Append(item, worthAVersion, from); err != nil {
				t.Fatal(err)
			}
		}
		committed := func(want int) {
			t.Helper()
			time.Sleep(time.Millisecond)
			synctest.Wait()
			if n, _ := l.count(); n != want {
				t.Errorf("%d items are committed, want %d", n, want)
			}
		}
		l.append(0, false)
		committed(1)
		send(1, Sender{ID: 1})
		send(2, Sender{ID: 2, Stalled: true})
		committed(1)
		send(3, Sender{ID: 1, Stalled: true})
		committed(4)
		send(4, Sender{ID: 1, Stalled: true})
		send(5, Sender{ID: 1}) // an answer has made room
		committed(4)
		time.Sleep(50 * time.Millisecond)
		committed(6)
	})
}

func TestWithoutAnIntervalCommitsFollowEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		l := startLedger(t, store, CommitterOptions{})
		store.SetFaults(slow(4*time.Millisecond, 2*time.Millisecond))
		for i := range 1000 {
			l.append(i, false)
			time.Sleep(time.Millisecond)
		}
		l.Close(t.Context())
		l.inOrder(1000)
		if _, versions := l.count(); versions < 230 || versions > 260 {
			t.Errorf("%d versions in 1 s of 4 ms uploads, want about 250", versions)
		}
	})
}

func TestWithoutAnIntervalAWindowIsInTwoCommitsAtATime(t *testing.T) {
	for _, puts := range [][2]time.Duration{{2200, 2200}, {2300, 2100}, {2100, 2300}} { // upload, entry
		synctest.Test(t, func(t *testing.T) {
			store := mem.New()
			l := startLedger(t, store, CommitterOptions{})
			upload, entry := puts[0]*time.Microsecond, puts[1]*time.Microsecond
			store.SetFaults(slow(upload, entry))
			// A client with a window of requests, each of which takes up all records that
			// wait, of which ten come each millisecond; an answer and the next request take
			// a fifth of that.
			const window, step, away = 5, 50 * time.Microsecond, 4
			var waiting []time.Time
			var sent [][]time.Time // the records of each request
			var answered []int     // the requests answered, at each of the last steps
			var latencies []time.Duration
			for i, acked := 0, 0; i < 40_000; i++ {
				for k := 0; i%20 == 0 && k < 10; k++ {
					waiting = append(waiting, time.Now().Add(-time.Duration(k)*100*time.Microsecond))
				}
				n, _ := l.count()
				if answered = append(answered, n); len(answered) > away {
					for ; acked < answered[len(answered)-1-away]; acked++ {
						for _, at := range sent[acked] {
							latencies = append(latencies, time.Since(at))
						}
					}
				}
				if len(sent) < acked+window && len(waiting) > 0 {
					sent, waiting = append(sent, waiting), nil
					if err := l.Append(len(sent)-1, 100, Sender{ID: 1, Eager: true, Stalled: len(sent) == acked+window}); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(step)
			}
			l.Close(t.Context())
			l.inOrder(len(sent))
			slices.Sort(latencies)
			if p50 := latencies[len(latencies)/2]; p50 > (upload+entry)*3/2 {
				t.Errorf("a record is acknowledged after %v at the median, %.2f times what its two puts take (%v, %v)", p50, float64(p50)/float64(upload+entry), upload, entry)
			}
		})
	}
}

func TestWithoutAnIntervalAWindowOfSeveralFullPoolsIsCommitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		l := startLedger(t, store, CommitterOptions{PoolBytes: 1 << 20})
		store.SetFaults(slow(time.Millisecond, 2*time.Millisecond))
		sent := producer{l, 1, 12, 512 << 10}.run(time.Second) // six pools, nothing left to fill another
		l.Close(t.Context())
		l.inOrder(sent)
		if sent < 3000 {
			t.Errorf("%d items in 1 s of windows of 12 that take 3 ms each", sent)
		}
	})
}

func TestFullPoolsAreUploadedWhileTheIntervalRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		l := startLedger(t, store, CommitterOptions{Interval: every(100 * time.Millisecond), PoolBytes: 100})
		store.SetFaults(slow(20*time.Millisecond, time.Millisecond))
		l.append(0, false)
		time.Sleep(50 * time.Millisecond)
		for i := 1; i < 36; i++ { // three full pools and a half
			l.append(i, false)
			time.Sleep(time.Millisecond)
		}
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		l.inOrder(36)
		l.mu.Lock()
		defer l.mu.Unlock()
		if fmt.Sprint(l.versions) != "[1 35]" || l.encodings.Load() != 5 {
			t.Errorf("versions of %v items in %d files", l.versions, l.encodings.Load())
		}
	})
}

func TestASlowLogIsSharedByThePoolsThatWaitForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		l := startLedger(t, store, CommitterOptions{Interval: every(10 * time.Millisecond), Uploads: 4})
		store.SetFaults(slow(10*time.Millisecond, 100*time.Millisecond))
		for i := range 500 {
			l.append(i, false)
			time.Sleep(time.Millisecond)
		}
		l.Close(t.Context())
		l.inOrder(500)
		if _, versions := l.count(); versions > 12 {
			t.Errorf("%d versions", versions)
		}
	})
}

func TestFailingUploadsDelayAndLoseNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		l := startLedger(t, store, CommitterOptions{Interval: every(10 * time.Millisecond)})
		began := time.Now()
		store.SetFaults(func(r mem.Request) mem.Fault {
			if time.Since(began) < 5*time.Second && r.Size > 0 {
				return mem.Fault{Outcome: []mem.Outcome{mem.Refuse, mem.Lose, mem.Twice}[r.Attempt%3]}
			}
			return mem.Fault{}
		})
		for i := range 200 {
			l.append(i, false)
			time.Sleep(5 * time.Millisecond)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		l.inOrder(200)
	})
}

func TestARefusedEntryIsTriedUntilTheStoreTakesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		l := startLedger(t, store, CommitterOptions{})
		began := time.Now()
		store.SetFaults(func(r mem.Request) mem.Fault {
			if time.Since(began) < 3*time.Second && r.Kind == object.KindCreate {
				return mem.Fault{Outcome: mem.Refuse, Err: object.ErrDenied}
			}
			return mem.Fault{}
		})
		l.append(0, true)
		time.Sleep(2 * time.Second)
		if n, _ := l.count(); n != 0 {
			t.Error("committed against the store's will")
		}
		time.Sleep(5 * time.Second)
		l.inOrder(1)
	})
}

func TestAnotherWritersEntryIsAdoptedAndAHigherEpochStopsTheCommitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		l := startLedger(t, store, CommitterOptions{})
		l.append(0, true)
		time.Sleep(time.Second)
		other := NewLog(store.Handle(), testTable, Options{})
		foreign := func(txns ...Txn) {
			s, err := other.Open(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			e := &Entry{Version: s.Version + 1, Info: &CommitInfo{Timestamp: 5000, Operation: "OTHER", TxnID: fmt.Sprint("other", s.Version)}, Txns: txns}
			if _, f, err := other.Commit(t.Context(), e, s.Proved); err != nil || f != nil {
				t.Fatal(f, err)
			}
		}
		foreign()
		l.append(1, true)
		time.Sleep(time.Second)
		l.inOrder(2)
		foreign(Txn{AppID: EpochApp, Version: 1})
		l.append(2, true)
		time.Sleep(time.Second)
		l.inOrder(2)
		if fmt.Sprint(l.failed) != "[2]" || !errors.Is(l.reason, ErrFenced) {
			t.Error("failed:", l.failed, l.reason)
		}
		if err := l.Append(3, 10, Sender{Eager: true}); !errors.Is(err, ErrFenced) {
			t.Error("an item is taken by a stopped committer:", err)
		}
	})
}

func TestProposalsAreCommittedBetweenPools(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		l := startLedger(t, store, CommitterOptions{Interval: every(10 * time.Millisecond)})
		store.SetFaults(slow(5*time.Millisecond, 5*time.Millisecond))
		var group sync.WaitGroup
		for i := range 20 {
			group.Go(func() {
				err := l.Propose(t.Context(), func(s *Snapshot) (*Entry, error) {
					return &Entry{Txns: []Txn{{AppID: "counter", Version: s.Txns["counter"].Version + 1}}}, nil
				})
				if err != nil {
					t.Error(i, err)
				}
			})
		}
		for i := range 300 {
			l.append(i, false)
			time.Sleep(time.Millisecond)
		}
		group.Wait()
		if err := l.Propose(t.Context(), func(*Snapshot) (*Entry, error) { return nil, errors.ErrUnsupported }); !errors.Is(err, errors.ErrUnsupported) {
			t.Error(err)
		}
		l.Close(t.Context())
		l.inOrder(300)
		s, err := NewLog(store, testTable, Options{}).Open(t.Context(), nil)
		if err != nil || s.Txns["counter"].Version != 20 {
			t.Error(s.Txns["counter"], err)
		}
		if err := l.Propose(t.Context(), func(*Snapshot) (*Entry, error) { return nil, nil }); !errors.Is(err, ErrStopping) {
			t.Error("a closed committer takes a proposal:", err)
		}
	})
}

func TestClosingCommitsWhatIsPendingUnlessTheStoreHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		l := startLedger(t, store, CommitterOptions{Interval: every(time.Minute)})
		l.append(0, false)
		time.Sleep(time.Second)
		l.append(1, false)
		l.append(2, false)
		if err := l.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		l.inOrder(3)

		l = startLedger(t, store, CommitterOptions{})
		store.SetFaults(func(mem.Request) mem.Fault { return mem.Fault{Outcome: mem.Hang} })
		l.append(9, false)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		l.Close(ctx)
		if fmt.Sprint(l.failed) != "[9]" {
			t.Error("failed:", l.failed)
		}
	})
}

func TestCheckpointsAndCleanupComeByThemselves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		l := startLedger(t, store, CommitterOptions{})
		for i := range 350 {
			l.append(i, true)
			time.Sleep(time.Minute)
		}
		l.Close(t.Context())
		l.inOrder(350)
		s, err := NewLog(store, testTable, Options{}).Open(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		// Two of the cleanups were each preceded by an entry of files added again.
		if s.Version != 352 || s.Checkpoint < 300 || len(s.Files) != 350 {
			t.Errorf("version %d, checkpoint %d, %d files", s.Version, s.Checkpoint, len(s.Files))
		}
		if _, _, err := NewLog(store, testTable, Options{}).ReadEntry(t.Context(), 50); !errors.Is(err, object.ErrNotFound) {
			t.Error("entry 50 is still there five hours later:", err)
		}
	})
}

func TestABudgetFollowsTheBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget := NewBudget(20) // ten versions a second
		busy := startLedger(t, mem.New(), CommitterOptions{Budget: budget})
		idle := startLedger(t, mem.New(), CommitterOptions{Budget: budget})
		for i := range 10_000 {
			if err := busy.Append(i, 1000, Sender{}); err != nil {
				t.Fatal(err)
			}
			if i%10 == 0 {
				idle.append(i/10, false)
			}
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Minute)
		busy.inOrder(10_000)
		idle.inOrder(1000)
		_, many := busy.count()
		_, few := idle.count()
		if many+few > 10*10+15 || many < 60 || few < 2 || few > many/3 {
			t.Errorf("%d and %d versions in 10 s", many, few)
		}
	})
}

func TestMoreFullPoolsThanUploadsAreCommittedWhenTheIntervalEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := startLedger(t, mem.New(), CommitterOptions{Interval: every(100 * time.Millisecond), PoolBytes: 10, Uploads: 2})
		l.append(0, false)
		time.Sleep(50 * time.Millisecond)
		for i := 1; i < 10; i++ { // every item fills a pool
			l.append(i, false)
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		l.inOrder(10)
	})
}

func TestNothingFollowsAnEntryThatItsOwnerEndsTheTableWith(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		l := startLedger(t, store, CommitterOptions{})
		ended := errors.New("ended")
		l.apply = func(e *Entry) error {
			if e.Metadata != nil {
				return ended
			}
			return nil
		}
		store.SetFaults(slow(time.Millisecond, 20*time.Millisecond))
		l.append(0, true)
		time.Sleep(10 * time.Millisecond) // it is being put; what comes now is behind it
		done := make(chan error)
		go func() {
			done <- l.Propose(t.Context(), func(s *Snapshot) (*Entry, error) {
				m := s.Metadata
				return &Entry{Metadata: &m}, nil
			})
		}()
		time.Sleep(time.Millisecond)
		l.append(1, true)
		if err := <-done; err != nil {
			t.Error("the last entry:", err)
		}
		time.Sleep(time.Second)
		l.mu.Lock()
		defer l.mu.Unlock()
		if fmt.Sprint(l.committed, l.failed) != "[0] [1]" || !errors.Is(l.reason, ended) {
			t.Error("committed, failed:", l.committed, l.failed, l.reason)
		}
	})
}

func TestProposalsWithoutEndLeavePoolsTheirTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		l := startLedger(t, store, CommitterOptions{})
		store.SetFaults(slow(5*time.Millisecond, 5*time.Millisecond))
		ctx, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		for range 3 {
			group.Go(func() {
				for ctx.Err() == nil {
					l.Propose(ctx, func(*Snapshot) (*Entry, error) { return &Entry{}, nil })
				}
			})
		}
		time.Sleep(20 * time.Millisecond)
		l.append(0, true)
		time.Sleep(50 * time.Millisecond)
		l.inOrder(1)
		cancel()
		group.Wait()
	})
}

func TestASlowUploadIsSentOnceMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		l := startLedger(t, store, CommitterOptions{})
		slowOnes := 0
		store.SetFaults(func(r mem.Request) mem.Fault {
			switch {
			case r.Kind != object.KindPut:
				return mem.Fault{}
			case r.Attempt == 1 && l.encodings.Load()%50 == 49: // fewer than one in the profile's last 3 %
				slowOnes++
				return mem.Fault{Delay: 10 * time.Second}
			}
			return mem.Fault{Delay: 5 * time.Millisecond}
		})
		for i := range 200 {
			began := time.Now()
			l.append(i, true)
			for n, _ := l.count(); n <= i; n, _ = l.count() {
				time.Sleep(time.Millisecond)
			}
			if took := time.Since(began); took > 100*time.Millisecond {
				t.Fatalf("item %d took %v", i, took)
			}
		}
		if slowOnes == 0 {
			t.Error("no upload was slow")
		}
		l.inOrder(200)
	})
}
