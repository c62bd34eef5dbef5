package delta

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice/storage/object"
	"sluice/storage/object/mem"
)

// foreignEntry commits the next entry of a table as another writer.
func foreignEntry(t *testing.T, store object.Store, e *Entry) {
	t.Helper()
	log := NewLog(store, testTable, Options{})
	snap, err := log.Open(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	e.Version = snap.Version + 1
	if e.Info == nil {
		e.Info = &CommitInfo{Operation: "WRITE", TxnID: fmt.Sprint("foreign ", e.Version)}
	}
	if _, foreign, err := log.Commit(t.Context(), e, snap.Proved); err != nil || foreign != nil {
		t.Fatal(foreign, err)
	}
}

func TestALookAppliesWhatOtherWritersHaveAdded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		l := startLedger(t, store, CommitterOptions{})
		for range 3 {
			foreignEntry(t, store.Handle(), &Entry{})
		}
		for range 2 {
			if err := l.Look(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, versions := l.count(); versions != 3 {
				t.Fatal("versions applied:", versions)
			}
		}
		l.append(0, true)
		time.Sleep(time.Second)
		l.inOrder(1)
	})
}

func TestALookThatFindsNothingIsOneGet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		l := startLedger(t, store, CommitterOptions{})
		var requests []mem.Request
		store.SetFaults(func(r mem.Request) mem.Fault {
			requests = append(requests, r)
			return mem.Fault{}
		})
		if err := l.Look(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(requests) != 1 {
			t.Error("requests:", requests)
		}
	})
}

func TestConfirmingLooksOnlyWhereNothingElseHasShownTheEndOfTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		l := startLedger(t, store, CommitterOptions{})
		var requests atomic.Int64
		store.SetFaults(func(mem.Request) mem.Fault { requests.Add(1); return mem.Fault{} })
		confirm := func(want int64) {
			t.Helper()
			requests.Store(0)
			if err := l.Confirm(t.Context(), time.Second); err != nil || requests.Load() != want {
				t.Errorf("%d requests, want %d; %v", requests.Load(), want, err)
			}
		}
		confirm(1) // nothing is known of a committer that was just started
		confirm(0)
		time.Sleep(time.Second)
		l.append(0, true)
		synctest.Wait()
		confirm(0)
		time.Sleep(999 * time.Millisecond)
		confirm(0)
		time.Sleep(time.Millisecond)
		confirm(1)
		foreignEntry(t, store.Handle(), &Entry{Txns: []Txn{{AppID: EpochApp, Version: 9}}})
		time.Sleep(time.Second)
		for range 2 {
			if err := l.Confirm(t.Context(), time.Second); !errors.Is(err, ErrFenced) {
				t.Error(err)
			}
		}
	})
}

// slowAnswers tells what was there a second ago.
type slowAnswers struct{ object.Store }

func (s slowAnswers) Get(ctx context.Context, key string, r object.Range) (object.Object, error) {
	o, err := s.Store.Get(ctx, key, r)
	time.Sleep(time.Second)
	return o, err
}

func TestAReadingThatBeganBeforeALookDoesNotAnswerIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		l := startLedger(t, slowAnswers{store}, CommitterOptions{})
		go func() { _ = l.Look(t.Context()) }()
		time.Sleep(time.Millisecond)
		foreignEntry(t, store.Handle(), &Entry{})
		if err := l.Look(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, versions := l.count(); versions != 1 {
			t.Error("versions applied:", versions)
		}
	})
}

func TestLooksAreAnsweredUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		l := startLedger(t, store, CommitterOptions{})
		store.SetFaults(slow(time.Millisecond, 7*time.Millisecond))
		const items = 300
		go func() {
			for i := range items {
				l.append(i, false)
				time.Sleep(time.Millisecond)
			}
		}()
		for range 20 {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			if err := l.Look(ctx); err != nil {
				t.Error(err)
			}
			cancel()
		}
		time.Sleep(5 * time.Second)
		l.inOrder(items)
	})
}

func TestALookMeetsATakeOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		l := startLedger(t, store, CommitterOptions{})
		foreignEntry(t, store.Handle(), &Entry{Txns: []Txn{{AppID: EpochApp, Version: 9}}})
		if err := l.Look(t.Context()); !errors.Is(err, ErrFenced) {
			t.Error(err)
		}
		<-l.Done()
	})
}

func TestALookSaysThatTheStoreDoesNotAnswerAndTheTableGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		l := startLedger(t, store, CommitterOptions{})
		store.SetFaults(func(mem.Request) mem.Fault { return mem.Fault{Outcome: mem.Refuse} })
		if err := l.Look(t.Context()); err == nil {
			t.Error("no error")
		}
		store.SetFaults(nil)
		l.append(0, true)
		time.Sleep(time.Second)
		l.inOrder(1)
	})
}

func TestAfterAnotherWritersEntryThereIsRoomBetweenOurs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		l := startLedger(t, store, CommitterOptions{Courteous: true, Interval: every(10 * time.Millisecond)})
		store.SetFaults(slow(time.Millisecond, time.Millisecond))
		stop := make(chan struct{})
		appended := 0
		go func() {
			for ; ; appended++ {
				select {
				case <-stop:
					return
				case <-time.After(5 * time.Millisecond):
					l.append(appended, true)
				}
			}
		}()
		versionsIn := func(d time.Duration) int {
			_, before := l.count()
			time.Sleep(d)
			_, after := l.count()
			return after - before
		}
		if n := versionsIn(time.Second); n < 50 {
			t.Error("versions in a second of peace:", n)
		}
		foreignEntry(t, store.Handle(), &Entry{})
		if n := versionsIn(2 * time.Second); n < 3 || n > 7 {
			t.Error("versions in two seconds after another writer's:", n)
		}
		time.Sleep(2 * time.Second)
		if n := versionsIn(time.Second); n < 50 {
			t.Error("versions in a second of peace:", n)
		}
		close(stop)
		time.Sleep(time.Second)
		synctest.Wait()
		l.inOrder(appended)
	})
}
