package broker

import (
	"context"
	"sync/atomic"

	"golang.org/x/sync/semaphore"
)

// budget bounds the bytes that the requests of all connections, or their answers, hold
// at a time. Safe for concurrent use.
type budget struct {
	limit int64
	free  *semaphore.Weighted
	used  atomic.Int64 // for the metrics
	// waiting is how many wait in acquire: who holds a share and makes no use of it
	// gives it up for them.
	waiting atomic.Int64
}

func newBudget(limit int64) *budget {
	return &budget{limit: limit, free: semaphore.NewWeighted(limit)}
}

// acquire waits until n bytes are free, first come first served. A request larger
// than the whole budget takes all of it: it is served, alone.
func (b *budget) acquire(ctx context.Context, n int64) (held, error) {
	n = min(n, b.limit)
	if !b.free.TryAcquire(n) {
		b.waiting.Add(1)
		err := b.free.Acquire(ctx, n)
		b.waiting.Add(-1)
		if err != nil {
			return held{}, err
		}
	}
	b.used.Add(n)
	return held{budget: b, bytes: n}, nil
}

// some takes up to n bytes without waiting: all, or a half, a quarter and so on
// down to least. It may come back with nothing but the name of the budget.
func (b *budget) some(n, least int64) held {
	for n = min(n, b.limit); n >= least; n /= 2 {
		if b.free.TryAcquire(n) {
			b.used.Add(n)
			return held{budget: b, bytes: n}
		}
	}
	return held{budget: b}
}

// held is a share of a budget. The zero value holds nothing.
type held struct {
	budget *budget
	bytes  int64
}

// wanted reports whether others wait for the budget that this is a share of.
func (h *held) wanted() bool { return h.budget != nil && h.budget.waiting.Load() > 0 }

// pressed reports whether the budget that this is a share of is short: others wait for
// it, or less than a quarter is left.
func (h *held) pressed() bool {
	return h.wanted() || h.budget != nil && h.budget.used.Load() > h.budget.limit/4*3
}

// release gives the share back; a second call does nothing.
func (h *held) release() { h.shrink(0) }

// shrink gives back all but n bytes of the share.
func (h *held) shrink(n int64) {
	if h.budget == nil || n >= h.bytes {
		return
	}
	h.budget.used.Add(n - h.bytes)
	h.budget.free.Release(h.bytes - n)
	if h.bytes = n; n == 0 {
		*h = held{}
	}
}

// add takes over the share of another request on the same budget.
func (h *held) add(other held) {
	if other.budget != nil {
		h.budget = other.budget
		h.bytes += other.bytes
	}
}
