package delta

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice/storage/object"
	"sluice/storage/object/mem"
)

// newHold makes a hold that a test sets, and the option that asks for it.
func newHold() (set func(time.Duration), option func() time.Time) {
	var until atomic.Int64
	return func(d time.Duration) { until.Store(time.Now().Add(d).UnixMilli()) },
		func() time.Time { return time.UnixMilli(until.Load()) }
}

func nothing(*Snapshot) (*Entry, error) {
	return &Entry{Info: &CommitInfo{Operation: "TEST"}}, nil
}

func TestAHoldKeepsPoolsAndProposalsWaitingAndLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold, option := newHold()
		l := startLedger(t, mem.New(), CommitterOptions{Interval: every(50 * time.Millisecond), PoolBytes: 300, Hold: option})
		l.append(0, true)
		time.Sleep(time.Second)
		l.inOrder(1)

		hold(time.Minute)
		proposed := make(chan error, 1)
		go func() { proposed <- l.Propose(t.Context(), nothing) }()
		for i := 1; i < 1000; i++ { // full pools, and more than there are uploads
			l.append(i, true)
			time.Sleep(50 * time.Millisecond)
		}
		if n, versions := l.count(); n != 1 || versions != 1 {
			t.Fatalf("%d items in %d versions were committed during the hold", n, versions)
		}
		// What ends the hold gets through, and then all goes on at once.
		if err := l.ProposeNow(t.Context(), func(s *Snapshot) (*Entry, error) {
			hold(0)
			return nothing(s)
		}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		l.inOrder(1000)
		if err := <-proposed; err != nil {
			t.Fatal(err)
		}
	})
}

func TestAHoldEndsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold, option := newHold()
		l := startLedger(t, mem.New(), CommitterOptions{Hold: option})
		hold(time.Minute)
		l.append(0, true)
		time.Sleep(59 * time.Second)
		l.inOrder(0)
		time.Sleep(time.Second + 100*time.Millisecond)
		synctest.Wait()
		l.inOrder(1)
	})
}

// The other writer's entry itself may come with a hold: then what lost to it waits.
func TestWhatLosesToAnotherEntryDuringAHoldWaitsForItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		hold, option := newHold()
		l := startLedger(t, store, CommitterOptions{Hold: option})
		foreign := func(version int64) {
			t.Helper()
			e := &Entry{Version: version, Info: &CommitInfo{TxnID: "other" + time.Now().String(), Operation: "OTHER"}}
			if _, other, err := NewLog(store, testTable, Options{}).Commit(t.Context(), e, time.Time{}); err != nil || other != nil {
				t.Fatal(other, err)
			}
		}
		l.apply = func(e *Entry) error {
			if e.Info.Operation == "OTHER" {
				hold(time.Minute)
			}
			return nil
		}
		foreign(1)
		l.append(0, true) // meets version 1
		time.Sleep(time.Second)
		l.inOrder(0)
		time.Sleep(time.Minute)
		l.inOrder(1)

		foreign(3)
		began, proposed := time.Now(), make(chan error, 1)
		go func() { proposed <- l.Propose(t.Context(), nothing) }()
		if err := <-proposed; err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took < 59*time.Second {
			t.Errorf("the proposal was committed %v after the hold began", took)
		}
	})
}

func TestClosingDuringAHoldFailsWhatIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold, option := newHold()
		l := startLedger(t, mem.New(), CommitterOptions{Hold: option})
		hold(10 * time.Minute)
		l.append(0, true)
		began := time.Now()
		if err := l.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("closing took %v", took)
		}
		l.inOrder(0)
		if len(l.failed) != 1 {
			t.Errorf("%d items failed", len(l.failed))
		}
		if err := l.Append(1, 10, Sender{Eager: true}); !errors.Is(err, ErrStopping) {
			t.Error(err)
		}
	})
}

// An attempt to put an entry may last through an outage of hours. If another
// writer's entry has taken its place meanwhile, its files may have been taken for orphans.
func TestFilesOfAPoolThatLosesAfterAnOutageAreUploadedAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		l := startLedger(t, store, CommitterOptions{})
		var outage atomic.Bool
		outage.Store(true)
		store.SetFaults(func(r mem.Request) mem.Fault {
			if outage.Load() && r.Kind == object.KindCreate {
				return mem.Fault{Outcome: mem.Refuse}
			}
			return mem.Fault{}
		})
		l.append(0, true)
		time.Sleep(time.Hour)
		outage.Store(false)
		e := &Entry{Version: 1, Info: &CommitInfo{TxnID: "other", Operation: "VACUUM START"}}
		if _, other, err := NewLog(store, testTable, Options{}).Commit(t.Context(), e, time.Time{}); err != nil || other != nil {
			t.Fatal(other, err)
		}
		time.Sleep(time.Minute)
		l.inOrder(1)
		if n := l.encodings.Load(); n != 2 {
			t.Errorf("the data file was made %d times, want 2", n)
		}
	})
}

func TestAFileIsTooLateForTheLogByTheStoresClock(t *testing.T) {
	uploaded := time.Unix(1_700_000_000, 0)
	for d, want := range map[time.Duration]bool{0: false, 9 * time.Minute: false, 11 * time.Minute: true} {
		if got := (&Snapshot{Proved: uploaded.Add(d)}).TooLate(uploaded); got != want {
			t.Errorf("after %v: %t", d, got)
		}
	}
	if (&Snapshot{Proved: uploaded}).TooLate(time.Time{}) {
		t.Error("a store that tells no time")
	}
}
