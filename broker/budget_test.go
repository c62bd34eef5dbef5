package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
)

// takers acquire shares of a budget, each in a goroutine of its own that begins when
// the one before waits, and note who has got one.
type takers struct {
	t      *testing.T
	budget *budget

	mu     sync.Mutex
	served []string
	shares []held
}

func (k *takers) take(ctx context.Context, host string, n int64) {
	go func() {
		h, err := k.budget.acquire(ctx, host, n)
		if err != nil {
			host = err.Error()
		}
		k.mu.Lock()
		defer k.mu.Unlock()
		k.served, k.shares = append(k.served, host), append(k.shares, h)
	}()
	synctest.Wait()
}

// next gives back the oldest share.
func (k *takers) next() {
	first := k.shares[0]
	k.shares = k.shares[1:]
	first.release()
	synctest.Wait()
}

// idle checks that all was given back.
func (k *takers) idle() {
	if used, waiting := k.budget.used.Load(), k.budget.waiting.Load(); used != 0 || waiting != 0 || len(k.budget.lines)+len(k.budget.order) != 0 {
		k.t.Errorf("%d bytes are in use, %d wait, %d hosts", used, waiting, len(k.budget.lines))
	}
}

func withTakers(t *testing.T, limit int64, f func(k *takers)) {
	synctest.Test(t, func(t *testing.T) {
		k := &takers{t: t, budget: newBudget(limit)}
		f(k)
		k.idle()
	})
}

// A crowd of one host that waits for memory, thousands strong, makes another host wait
// for one of them.
func TestHostsTakeTurnsAtABudget(t *testing.T) {
	withTakers(t, 10, func(k *takers) {
		for range 1000 {
			k.take(k.t.Context(), "crowd", 10)
		}
		k.take(k.t.Context(), "a", 10)
		k.take(k.t.Context(), "a", 10)
		k.take(k.t.Context(), "b", 10)
		for len(k.shares) > 0 {
			k.next()
		}
		if got, want := k.served[:6], []string{"crowd", "crowd", "a", "b", "crowd", "a"}; !slices.Equal(got, want) {
			t.Errorf("served are %s, not %s", got, want)
		}
		if len(k.served) != 1003 {
			t.Errorf("%d were served", len(k.served))
		}
	})
}

// Many who want little must not keep one who wants much waiting for ever.
func TestNobodyIsOvertakenForBeingLarge(t *testing.T) {
	withTakers(t, 10, func(k *takers) {
		k.take(k.t.Context(), "a", 4)
		k.take(k.t.Context(), "a", 4)
		k.take(k.t.Context(), "b", 10)
		k.take(k.t.Context(), "a", 1)
		if h := k.budget.some(1, 1); h.bytes != 0 {
			t.Error("who does not wait was served before those who do")
		}
		for _, want := range []string{"[a a]", "[a a]", "[a a b]", "[a a b a]"} {
			if got := fmt.Sprint(k.served); got != want {
				t.Errorf("served are %s, not %s", got, want)
			}
			k.next()
		}
	})
}

// Who goes away while it waits takes nothing along, and nobody waits behind it.
func TestWhoLeavesABudgetsLineHoldsNothing(t *testing.T) {
	withTakers(t, 10, func(k *takers) {
		gone, leave := context.WithCancel(k.t.Context())
		k.take(k.t.Context(), "a", 5)
		k.take(gone, "b", 10)
		k.take(k.t.Context(), "b", 5)
		k.take(k.t.Context(), "c", 5)
		leave()
		synctest.Wait()
		k.next()
		if got, want := k.served, []string{"a", context.Canceled.Error(), "b", "c"}; !slices.Equal(got, want) {
			t.Errorf("served are %s, not %s", got, want)
		}
		for len(k.shares) > 0 {
			k.next()
		}
	})
}

// A share that comes at the moment at which its waiter goes away is given back.
func TestAShareThatNobodyTakesAnyMoreIsGivenBack(t *testing.T) {
	withTakers(t, 10, func(k *takers) {
		for range 100 { // which of the two the waiter sees first is chance
			all, err := k.budget.acquire(k.t.Context(), "a", 10)
			if err != nil {
				t.Fatal(err)
			}
			gone, leave := context.WithCancel(k.t.Context())
			done := make(chan error)
			go func() {
				h, err := k.budget.acquire(gone, "b", 10)
				h.release()
				done <- err
			}()
			synctest.Wait()
			leave()
			all.release()
			if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
		}
	})
}
