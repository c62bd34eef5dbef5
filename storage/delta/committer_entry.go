package delta

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sluice/storage/object"
	"time"

	"github.com/google/uuid"
)

// How closed pools and proposals become entries of the log, and what comes of them.

// commitReady starts the log put of the uploaded pools at the head, once the
// interval of one of them has passed.
func (c *Committer[T]) commitReady() {
	c.mu.Lock()
	ready, due := 0, false
	for _, s := range c.sealed {
		if s.add == nil {
			break
		}
		if c.late(s) {
			s.add, s.settled = nil, false // it waited out an outage: upload it anew
			go c.upload(s)
			break
		}
		ready++
		due = due || s.due
	}
	c.mu.Unlock()
	if !due {
		return
	}
	pools := c.sealed[:ready:ready]
	c.proposed = false
	c.start(&put[T]{entry: c.poolsEntry(pools), pools: pools})
}

// late reports whether a pool's file was uploaded so long ago that it may have been taken
// for an orphan. Its age in the store counts from some moment of the request: S3 dates an object by
// when its upload began, and an answer can be seconds late where there is no time for it. The
// store's clock tells what ours do not where the machine stood still.
func (c *Committer[T]) late(s *sealed[T]) bool {
	return s.add.Path != "" && (age(s.sent) > MaxUploadAge || c.snap.TooLate(s.stored))
}

// poolsEntry makes the entry that commits pools on top of the snapshot.
func (c *Committer[T]) poolsEntry(pools []*sealed[T]) *Entry {
	e := &Entry{Info: &CommitInfo{
		Operation: "WRITE", OperationParameters: map[string]string{"mode": "Append", "partitionBy": "[]"}, IsBlindAppend: true,
	}}
	c.stamp(e)
	for _, s := range pools {
		if s.add.Path == "" {
			continue
		}
		add := *s.add
		add.ModificationTime = e.Info.Timestamp
		e.Adds = append(e.Adds, add)
	}
	c.hooks.Entry(e, c.snap, items(pools))
	return e
}

// stamp gives an entry its version and identity.
func (c *Committer[T]) stamp(e *Entry) {
	e.Version = c.snap.Version + 1
	if e.Info == nil {
		e.Info = &CommitInfo{Operation: "UPDATE", OperationParameters: map[string]string{}}
	}
	// Readers order versions by time (notes of Spark and Pathway): it must rise.
	e.Info.Timestamp = c.snap.NextTimestamp(time.Now())
	e.Info.EngineInfo = c.options.Engine
	e.Info.TxnID = uuid.NewString()
	// Readers of older versions are promised the files for a time from now on. A
	// clock that is behind must not shorten that.
	deleted := max(e.Info.Timestamp, c.snap.Proved.UnixMilli())
	for i := range e.Removes {
		e.Removes[i].DeletionTimestamp = deleted
	}
}

// begin starts the log put of a proposal, unless that comes too late: nobody waits
// for it any more, or what it names was uploaded so long ago that it may be
// taken for an orphan. Behind a put that lasts through an outage it may wait for hours.
func (c *Committer[T]) begin(p *proposal) {
	if p.ctx.Err() != nil {
		p.done <- p.ctx.Err()
		return
	}
	if age(p.since) > MaxUploadAge {
		p.done <- context.DeadlineExceeded
		return
	}
	e, err := p.make(c.snap)
	if err != nil || e == nil {
		p.done <- err
		return
	}
	c.stamp(e)
	c.proposed = true
	c.start(&put[T]{entry: e, proposal: p})
}

// start puts an entry on a goroutine of its own.
func (c *Committer[T]) start(p *put[T]) {
	p.started = time.Now()
	for _, s := range p.pools {
		c.options.Observe(PhaseTurn, p.started.Sub(s.ready))
	}
	c.put = p
	c.looking.puts++
	proved := c.snap.Proved
	go func() {
		for delay := retryMin; ; delay = min(2*delay, retryMax) {
			p.now, p.foreign, p.err = c.log.Commit(c.ctx, p.entry, proved)
			if !errors.Is(p.err, object.ErrDenied) || c.ctx.Err() != nil {
				break
			}
			// A policy, a full or a read-only disk: it may be put right while we live.
			c.options.Log.Error("the store refuses a log entry; trying on", "table", c.log.Table(), "version", p.entry.Version, "in", delay, "err", p.err)
			sleep(c.ctx, delay)
		}
		c.putDone <- p
	}()
}

// settle takes up the outcome of a log put.
func (c *Committer[T]) settle(p *put[T]) error {
	c.settledAt = time.Now()
	switch {
	case p.err != nil:
		if c.ctx.Err() != nil {
			p.err = ErrStopping
		}
		if p.proposal != nil {
			p.proposal.done <- p.err
		}
		return p.err
	case p.foreign != nil:
		if err := c.adopt(p.foreign, p.now); err != nil {
			if p.proposal != nil {
				p.proposal.done <- err
			}
			return err
		}
		switch {
		case p.proposal != nil && (p.proposal.urgent || c.held() == 0):
			c.begin(p.proposal)
		case p.proposal != nil:
			c.pending = append([]*proposal{p.proposal}, c.pending...)
		case c.held() == 0 && !slices.ContainsFunc(p.pools, c.late):
			c.start(&put[T]{entry: c.poolsEntry(p.pools), pools: p.pools})
		} // else commitReady takes the pools up again
		return nil
	}
	c.options.Observe(PhaseLog, time.Since(p.started))
	if err := c.snap.Apply(p.entry); err != nil {
		return err
	}
	if c.outgrown(p.entry) {
		c.snap.room.force(c.snap.memory())
	}
	c.snap.Proved = p.now
	c.show()
	c.mu.Lock()
	c.confirmed = p.started
	c.sealed = c.sealed[len(p.pools):]
	for _, s := range p.pools {
		c.filling.answered(s.senders)
	}
	c.mu.Unlock()
	err := c.hooks.Applied(p.entry, c.snap, items(p.pools))
	if p.proposal != nil {
		p.proposal.done <- nil
	}
	if err != nil {
		return err
	}
	c.looking.answer(nil, c.looking.beforePut)
	c.maintain()
	return nil
}

// adopt applies an entry of another writer.
func (c *Committer[T]) adopt(e *Entry, now time.Time) error {
	if err := c.hooks.Check(e, c.snap); err != nil {
		return err
	}
	if err := c.snap.Apply(e); err != nil {
		return err
	}
	if err := c.measure(e); err != nil {
		return err
	}
	c.snap.Proved = now
	c.foreignAt = time.Now()
	return c.hooks.Applied(e, c.snap, nil)
}

// measure makes sure that the snapshot has room, now and then: an entry of somebody else
// may be of any size.
func (c *Committer[T]) measure(e *Entry) error {
	if !c.outgrown(e) {
		return nil
	}
	n := c.snap.memory()
	if n > c.log.opts.Memory.table {
		return fmt.Errorf("version %d of %s: %w: %d bytes, of %d", e.Version, c.log.table, ErrTooLarge, n, c.log.opts.Memory.table)
	}
	if err := c.snap.room.set(n); err != nil {
		return fmt.Errorf("version %d of %s: %w", e.Version, c.log.table, err)
	}
	return nil
}

// outgrown reports whether the snapshot is to be measured again after an entry: the work
// for it is in proportion to its size.
func (c *Committer[T]) outgrown(e *Entry) bool {
	c.unmeasured += e.memory()
	if c.unmeasured < max(smallBytes, c.Memory()/measurePart) {
		return false
	}
	c.unmeasured = 0
	return true
}

// Memory is about how many bytes the table's state takes.
func (c *Committer[T]) Memory() int64 { return c.room.bytes.Load() }
