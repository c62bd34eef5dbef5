package delta

import (
	"context"
	"errors"
	"time"
)

// What other writers add to the log is met at the next commit. Who cannot wait for
// that asks for a Look. A commit tells as much as a look does, so that a look reads
// only when no log put is under way, and one that began after the look was asked
// for answers it.

const (
	// lookDeadline bounds the reading of one look.
	lookDeadline = 10 * time.Second
	// maxLook bounds the entries that one reading keeps in memory, lookPart what they
	// take, as a part of what a table may; more are read in further ones.
	maxLook, lookPart = 1000, 4
)

// looking are the looks that wait. Owned by run.
type looking struct {
	waiting []*look
	reading bool  // a reading is under way
	puts    int64 // log puts begun so far
	reads   int64 // readings begun so far
	read    chan lookRead
}

type look struct {
	puts, reads int64 // those of looking when it was asked for
	done        chan error
}

// lookRead is what a reading found.
type lookRead struct {
	from    int64 // the version it began after
	began   time.Time
	entries []*Entry
	proved  time.Time
	more    bool
	err     error
}

// errMoreEntries ends a reading that has enough.
var errMoreEntries = errors.New("more entries")

// Look reads what the log holds after the newest version known here, with one GET if
// that is nothing, and applies it as Check and Applied do. It returns once everything
// that stood in the log when it was called is applied. An error that the table cannot
// go on after (ErrMoved, ErrUnsupported, what Check answers) stops the committer.
func (c *Committer[T]) Look(ctx context.Context) error {
	l := &look{done: make(chan error, 1)}
	select {
	case c.looks <- l:
	case <-c.done:
		return c.reason()
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-l.done:
		return err
	case <-c.done:
		return c.reason()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Confirm makes sure that what is known here was all there is, at most as long ago as
// within says: at once, without a request, if a commit or a look that began since then
// has shown it, with a Look otherwise, and with its errors.
func (c *Committer[T]) Confirm(ctx context.Context, within time.Duration) error {
	c.mu.Lock()
	confirmed, stopped := c.confirmed, c.stopped
	c.mu.Unlock()
	if stopped != nil {
		return stopped
	}
	if age(confirmed) < within {
		return nil
	}
	return c.Look(ctx)
}

// confirm notes that a put or reading that began at a time has shown that nothing was missing here.
func (c *Committer[T]) confirm(began time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.confirmed = began
}

// Current is a copy of the newest snapshot: with everything that stood in the log when
// it was called, and at a moment when no entry of ours was being put. While it answers,
// this committer leads the table: another leader's entries end it, with ErrFenced.
func (c *Committer[T]) Current(ctx context.Context) (*Snapshot, error) {
	if err := c.Look(ctx); err != nil {
		return nil, err
	}
	var current *Snapshot
	err := c.ProposeNow(ctx, func(s *Snapshot) (*Entry, error) {
		current = s.Clone()
		return nil, nil
	})
	return current, err
}

// wait takes up a look.
func (l *looking) wait(k *look) {
	k.puts, k.reads = l.puts, l.reads
	l.waiting = append(l.waiting, k)
}

// answer ends the looks that were asked for before the newest put or reading, whichever
// has ended, began.
func (l *looking) answer(err error, before func(*look) bool) {
	rest := l.waiting[:0]
	for _, k := range l.waiting {
		if before(k) {
			k.done <- err
		} else {
			rest = append(rest, k)
		}
	}
	clear(l.waiting[len(rest):])
	l.waiting = rest
}

func (l *looking) beforePut(k *look) bool     { return k.puts < l.puts }
func (l *looking) beforeReading(k *look) bool { return k.reads < l.reads }

// look starts a reading if somebody waits for one and no put is under way.
func (c *Committer[T]) look() {
	if len(c.looking.waiting) == 0 || c.looking.reading || c.put != nil {
		return
	}
	c.looking.reading = true
	c.looking.reads++
	// It follows the log in place of c.snap, which stays with run. An entry that it
	// cannot apply is among those it has shown: adopt will say why.
	s := NewSnapshot()
	s.Version, s.Proved = c.snap.Version, c.snap.Proved
	go func() {
		ctx, cancel := context.WithTimeout(c.ctx, lookDeadline)
		defer cancel()
		r := lookRead{from: s.Version, began: time.Now()}
		room := c.log.opts.Memory.table / lookPart
		r.err = c.log.Follow(ctx, s, func(e *Entry) error {
			if len(r.entries) == maxLook || room < 0 {
				return errMoreEntries
			}
			room -= e.memory()
			r.entries = append(r.entries, e)
			return nil
		})
		if errors.Is(r.err, errMoreEntries) {
			r.more, r.err = true, nil
		}
		r.proved = s.Proved
		c.looking.read <- r
	}()
}

// looked takes up what a reading found. Its error stops the committer.
func (c *Committer[T]) looked(r lookRead) error {
	c.looking.reading = false
	if c.put != nil || c.snap.Version != r.from {
		return nil // a put that began meanwhile meets, or has met, what is there
	}
	for _, e := range r.entries {
		if err := c.adopt(e, r.proved); err != nil {
			return err
		}
	}
	c.snap.Proved = r.proved
	switch {
	case errors.Is(r.err, ErrMoved), errors.Is(r.err, ErrUnsupported):
		return r.err
	case !r.more:
		if r.err == nil {
			c.confirm(r.began)
		}
		c.looking.answer(r.err, c.looking.beforeReading)
	}
	if len(r.entries) > 0 {
		c.maintain()
	}
	return nil
}

// Courtesy: engines read a table's newest version, work, and commit behind it; a
// table that gains a version every few milliseconds meanwhile leaves those that
// retry a few times no chance. So for a while after an entry of another writer there
// is room between our own.
const (
	// courtesyFor is how long an entry of another writer is remembered.
	courtesyFor = 3 * time.Second
	// courtesyGap is the least time between the end of a log put and the next one
	// meanwhile.
	courtesyGap = 500 * time.Millisecond
)

// courtesy is how long the next log put has to wait for other writers' sake.
func (c *Committer[T]) courtesy(now time.Time) time.Duration {
	if !c.options.Courteous || c.foreignAt.IsZero() || now.Sub(c.foreignAt) > courtesyFor {
		return 0
	}
	return max(0, courtesyGap-now.Sub(c.settledAt))
}
