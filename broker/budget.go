package broker

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
)

// budget bounds the bytes that the requests of all connections, or their answers, hold
// at a time. Safe for concurrent use.
type budget struct {
	limit int64
	used  atomic.Int64
	// waiting is how many wait in acquire: who holds a share and makes no use of it
	// gives it up for them.
	waiting atomic.Int64

	mu    sync.Mutex // guards what follows, and changes of the two above
	lines map[string]*line
	order []*line // all of them, the one whose turn is next first
}

// line is those of one host who wait, first come first served.
type line struct {
	host    string
	waiters []*waiter
}

type waiter struct {
	bytes int64
	ready chan struct{} // closed when it has them
}

func newBudget(limit int64) *budget {
	return &budget{limit: limit, lines: map[string]*line{}}
}

// acquire waits until n bytes are free. Hosts take turns, so that thousands of connections
// from one make nobody else wait for more than one of them; within a host it is first come
// first served. Nobody is overtaken for being large. A request larger than the
// whole budget takes all of it: it is served, alone. The error is ctx's.
func (b *budget) acquire(ctx context.Context, host string, n int64) (held, error) {
	n = min(n, b.limit)
	b.mu.Lock()
	if b.take(n) {
		b.mu.Unlock()
		return held{budget: b, bytes: n}, nil
	}
	w := b.enter(host, n)
	b.mu.Unlock()
	select {
	case <-w.ready:
		return held{budget: b, bytes: n}, nil
	case <-ctx.Done():
		b.leave(host, w)
		return held{}, ctx.Err()
	}
}

// some takes up to n bytes without waiting: all, or a half, a quarter and so on
// down to least. It may come back with nothing but the name of the budget.
func (b *budget) some(n, least int64) held {
	b.mu.Lock()
	defer b.mu.Unlock()
	for n = min(n, b.limit); n >= least; n /= 2 {
		if b.take(n) {
			return held{budget: b, bytes: n}
		}
	}
	return held{budget: b}
}

// take takes n bytes if they are free and nobody waits. mu is held.
func (b *budget) take(n int64) bool {
	if len(b.order) > 0 || b.used.Load()+n > b.limit {
		return false
	}
	b.used.Add(n)
	return true
}

// enter puts a waiter at the end of its host's line. mu is held.
func (b *budget) enter(host string, n int64) *waiter {
	l := b.lines[host]
	if l == nil {
		l = &line{host: host}
		b.lines[host] = l
		b.order = append(b.order, l)
	}
	w := &waiter{bytes: n, ready: make(chan struct{})}
	l.waiters = append(l.waiters, w)
	b.waiting.Add(1)
	return w
}

// leave takes a waiter off its line, or gives back what it has got meanwhile.
func (b *budget) leave(host string, w *waiter) {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-w.ready:
		b.used.Add(-w.bytes)
	default:
		l := b.lines[host]
		l.waiters = slices.DeleteFunc(l.waiters, func(other *waiter) bool { return other == w })
		b.waiting.Add(-1)
		if len(l.waiters) == 0 {
			delete(b.lines, host)
			b.order = slices.DeleteFunc(b.order, func(other *line) bool { return other == l })
		}
	}
	b.serve() // it may have been what others waited behind
}

// giveBack frees n bytes for those who wait.
func (b *budget) giveBack(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used.Add(-n)
	b.serve()
}

// serve gives what is free to the hosts in turn, one waiter of each at a time. mu is held.
func (b *budget) serve() {
	for len(b.order) > 0 {
		l := b.order[0]
		w := l.waiters[0]
		if b.used.Load()+w.bytes > b.limit {
			return
		}
		b.used.Add(w.bytes)
		b.waiting.Add(-1)
		close(w.ready)
		l.waiters = slices.Delete(l.waiters, 0, 1)
		b.order = slices.Delete(b.order, 0, 1)
		if len(l.waiters) > 0 {
			b.order = append(b.order, l)
		} else {
			delete(b.lines, l.host)
		}
	}
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
	h.budget.giveBack(h.bytes - n)
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
