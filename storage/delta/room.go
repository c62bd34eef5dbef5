package delta

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
)

// The tables that are open, or being read, share what the process has for their states:
// twenty large ones must not take what one may take each. What does not fit is refused
// until there is room again.

// ErrFull says that the states of other tables take the memory that this one needs: it
// may fit later. Their owner may close some that he does not need.
var ErrFull = errors.New("no room in memory beside the tables that are open")

const (
	// loadBytes is what a load takes for a moment besides the state that it makes: the
	// entries of a tail that are read ahead, parsed. It bounds how many loads run at a time
	// by the memory that there is; loadsMin and loadsMax bound them too.
	loadBytes          = 8 << 20
	loadsMin, loadsMax = 4, 64
	// unfoldAlone is how much the pages of a checkpoint may unfold to without waiting for
	// those of others.
	unfoldAlone = 1 << 20
)

// room is what the state of one table takes of Memory. One goroutine owns it at a
// time, with the snapshot that it is of; anybody may ask for its size. nil takes nothing.
type room struct {
	memory *Memory
	own    bool // always gets what it needs: Options.Own
	bytes  atomic.Int64
}

// set makes the room n bytes large. ErrFull leaves it as it is.
func (r *room) set(n int64) error {
	if r == nil {
		return nil
	}
	more := n - r.bytes.Load()
	if used := r.memory.used.Add(more); more > 0 && used > r.memory.all && !r.own {
		r.memory.used.Add(-more)
		return fmt.Errorf("%w: %d bytes, of %d", ErrFull, n, r.memory.all)
	}
	r.bytes.Store(n)
	return nil
}

// force makes the room n bytes large, whether or not there is as much: what a table
// takes that is written to here is there already.
func (r *room) force(n int64) {
	if r != nil {
		r.memory.used.Add(n - r.bytes.Load())
		r.bytes.Store(n)
	}
}

// grow makes the room n bytes larger.
func (r *room) grow(n int64) error {
	if r == nil {
		return nil
	}
	return r.set(r.bytes.Load() + n)
}

// Release gives back what the snapshot takes of the log's Memory. Whoever opened it calls
// it once he needs it no more, but for one that a Committer has taken over; a second call
// does nothing.
func (s *Snapshot) Release() { s.room.force(0) }

// Used is about how many bytes the states of all tables take now.
func (m *Memory) Used() int64 { return m.used.Load() }

// load waits until a table may be loaded, and answers how to let the next one go on.
func (m *Memory) load(ctx context.Context) (done func(), err error) { return hold(ctx, m.loads) }

// unfold waits until a large checkpoint may be unfolded; see load.
func (m *Memory) unfold(ctx context.Context) (done func(), err error) { return hold(ctx, m.unfolding) }

// hold takes a slot, and answers how to give it back.
func hold(ctx context.Context, slots chan struct{}) (done func(), err error) {
	select {
	case slots <- struct{}{}:
		return func() { <-slots }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
