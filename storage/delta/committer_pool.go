package delta

import (
	"context"
	"maps"
	"time"
)

// How items become a pool, and a closed pool a data file in the store.

// Sender is what is known of who sends an item. The zero Sender may send more at any
// time.
type Sender struct {
	// ID tells senders apart. It is theirs for as long as they live.
	ID uint64
	// Eager: it seems to send nothing more until it is answered, so that waiting for
	// company only delays it.
	Eager bool
	// Stalled: it has as many items unanswered as it ever has, and so sends nothing more
	// until one is answered.
	Stalled bool
}

// pool is what becomes one data file.
type pool[T any] struct {
	items []T
	bytes int
	eager bool // every item's sender waits for the answer
	first time.Time
	last  time.Time
	// senders are those of its items, and of the pools closed before it that wait for the
	// same version, and whether they are stalled; free is how many are not.
	senders map[uint64]bool
	free    int
}

func (p *pool[T]) add(item T, bytes int, from Sender, now time.Time) {
	if len(p.items) == 0 {
		p.first, p.eager = now, true
	}
	if p.senders == nil {
		p.senders = map[uint64]bool{}
	}
	p.items = append(p.items, item)
	p.bytes += bytes
	p.eager = p.eager && from.Eager
	p.last = now
	p.see(from.ID, from.Stalled)
}

// see takes up whether a sender is stalled.
func (p *pool[T]) see(id uint64, stalled bool) {
	if was, known := p.senders[id]; known && !was {
		p.free--
	}
	if p.senders[id] = stalled; !stalled {
		p.free++
	}
}

// answered takes up that items of another pool's senders are committed: those of them
// that are senders of this one, too, may send more.
func (p *pool[T]) answered(senders map[uint64]bool) {
	for id := range senders {
		if p.senders[id] {
			p.see(id, false)
		}
	}
}

// seal closes the filling pool (c.mu is held) and starts its encoding and upload.
func (c *Committer[T]) seal(now time.Time, due bool) {
	s := &sealed[T]{pool: c.filling, due: due}
	c.filling = pool[T]{}
	if !due {
		c.filling.senders, c.filling.free = maps.Clone(s.senders), s.free
	}
	c.sealed = append(c.sealed, s)
	c.options.Observe(PhasePool, now.Sub(s.first))
	go c.upload(s)
}

// upload encodes a pool and stages its file, for as long as it takes. Between its
// start and its answer on c.uploaded it alone touches s.add and s.err.
func (c *Committer[T]) upload(s *sealed[T]) {
	began := time.Now()
	file, err := c.hooks.Encode(c.ctx, s.items)
	if err != nil {
		c.answer(s, nil, false, err)
		return
	}
	encoded := time.Now()
	c.options.Observe(PhaseEncode, encoded.Sub(began))
	if file == nil { // nothing but actions
		c.answer(s, &Add{}, true, nil)
		return
	}
	key, err := c.log.DataKey(file.Path)
	if err != nil {
		c.answer(s, nil, false, err)
		return
	}
	var stored staged
	for delay := retryMin; ; delay = min(2*delay, retryMax) {
		s.sent = time.Now()
		if stored, err = c.putFile(key, file.Body); err == nil {
			break
		}
		if c.ctx.Err() != nil {
			c.answer(s, nil, false, ErrStopping)
			return
		}
		c.options.Log.Warn("upload of a data file is retried", "table", c.log.Table(), "file", file.Path, "in", delay, "err", err)
		sleep(c.ctx, delay)
	}
	c.options.Observe(PhaseUpload, time.Since(encoded))
	s.stored = stored.at
	c.answer(s, &Add{
		Path: file.Path, PartitionValues: map[string]string{}, Size: int64(len(file.Body)),
		DataChange: true, Stats: file.Stats, Tags: file.Tags,
	}, stored.settled == nil, nil)
	if stored.settled != nil {
		select {
		case <-stored.settled:
			c.settled(s)
		case <-c.done:
		}
	}
}

// staged is a file in the store that may not be durable before settled is closed; nil:
// it is.
type staged struct {
	at      time.Time // by the store's clock
	settled <-chan struct{}
}

// settled takes up that a pool's file is durable: another pool may follow it.
func (c *Committer[T]) settled(s *sealed[T]) {
	c.mu.Lock()
	s.settled = true
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// putFile makes one attempt to put a data file, which is hedged like that of an
// entry if it is small. A store that hangs must not hang the table: the attempt is
// bounded, and the same bytes are put again.
func (c *Committer[T]) putFile(key string, body []byte) (staged, error) {
	ctx, cancel := context.WithTimeout(c.ctx, putDeadline+time.Duration(len(body))*time.Second/minPutRate)
	defer cancel()
	settled := make(chan (<-chan struct{}), 2) // of the attempts that were answered
	at, err := c.uploads.put(ctx, len(body) <= maxHedged, func() { c.log.Stats().Hedges.Add(1) }, func(ctx context.Context) (time.Time, error) {
		at, end, err := c.log.Store().Stage(ctx, key, body)
		if err == nil {
			settled <- end
		}
		return at, err
	})
	if err != nil {
		return staged{}, err
	}
	return staged{at, <-settled}, nil
}

func (c *Committer[T]) answer(s *sealed[T], add *Add, settled bool, err error) {
	c.mu.Lock()
	s.add, s.settled, s.err, s.ready = add, settled, err, time.Now()
	c.mu.Unlock()
	select {
	case c.uploaded <- s:
	case <-c.done:
	}
}

// age is how long ago t was, by the clock that says more: the monotonic one stands
// still while a machine sleeps, the other one can be set back.
func age(t time.Time) time.Duration {
	return max(time.Since(t), time.Now().Round(0).Sub(t.Round(0)))
}

// sleep waits for d or the end of ctx.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
