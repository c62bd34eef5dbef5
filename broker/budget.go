package broker

import (
	"context"
	"sync/atomic"

	"golang.org/x/sync/semaphore"
)

// budget bounds the bytes that the requests of all connections hold at a time.
// Safe for concurrent use.
type budget struct {
	limit int64
	free  *semaphore.Weighted
	used  atomic.Int64 // for the metrics
}

func newBudget(limit int64) *budget {
	return &budget{limit: limit, free: semaphore.NewWeighted(limit)}
}

// acquire waits until n bytes are free, first come first served. A request larger
// than the whole budget takes all of it: it is served, alone.
func (b *budget) acquire(ctx context.Context, n int64) (held, error) {
	n = min(n, b.limit)
	if err := b.free.Acquire(ctx, n); err != nil {
		return held{}, err
	}
	b.used.Add(n)
	return held{budget: b, bytes: n}, nil
}

// held is a share of a budget. The zero value holds nothing.
type held struct {
	budget *budget
	bytes  int64
}

// release gives the share back; a second call does nothing.
func (h *held) release() {
	if h.budget == nil {
		return
	}
	h.budget.used.Add(-h.bytes)
	h.budget.free.Release(h.bytes)
	*h = held{}
}
