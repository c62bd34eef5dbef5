package broker

import (
	"sync"
	"sync/atomic"
	"time"

	"sluice/storage"
)

// How soon after an answer the next Produce must arrive to be taken for its
// consequence.
const (
	// eagerWithin is for a producer that has other requests under way: it sent this one
	// because the answer made room among them (max.in.flight.requests.per.connection).
	eagerWithin = 5 * time.Millisecond
	// eagerAfterAll is for one that has been told of all that it sent. It may linger
	// before it sends more: by default 10 ms (franz-go) or 5 ms (Java 4, librdkafka).
	eagerAfterAll = 15 * time.Millisecond
)

// How a connection's window is found, see pace.
const (
	// trialEvery is how often it is measured: the longest time for which a wrong one
	// counts.
	trialEvery = 3 * time.Second
	// trialFor is how long a measurement takes at least: longer than an interval of the
	// default 50 ms and its commit.
	trialFor = 60 * time.Millisecond
)

// pace watches one connection's Produce requests for a producer that is held up by
// the time that commits take: it gains nothing by one that waits for company. There
// are two signs.
//
// Eager: it sends the next batch when it is told of the one before. An open load that
// happens to be as slow as that is committed more often than it needs, within the
// budget of puts.
//
// Stalled: its window is full, which is the number of requests that it leaves unanswered
// (max.in.flight.requests.per.connection). Nobody tells us a client's window: it is
// the most that were unanswered at a time. Under commits that come early an open load
// never has many, so that its window would be found too small and commits come early
// for ever. Therefore it is measured anew every few seconds, and whenever it was
// exceeded, in a trial in which nobody is taken for stalled.
// Safe for concurrent use.
type pace struct {
	mu         sync.Mutex
	id         uint64 // of the connection, given with its first Produce
	unanswered int
	answered   time.Time // when the last answer was written; zero before
	all        time.Time // the same, of the last after which none was left to answer
	window     int       // the most unanswered since the last trial began
	tried      time.Time // when that was
	trial      bool      // it is not over
}

// connectionIDs are those that have been given.
var connectionIDs atomic.Uint64

// arrived takes note of a request and answers what is known of its producer. The first
// of all is eager.
func (p *pace) arrived(now time.Time) storage.Sender {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.unanswered++
	first := p.id == 0
	if first {
		p.id = connectionIDs.Add(1)
	}
	switch overdue := now.Sub(p.tried) >= trialEvery; {
	case first, overdue && !p.trial:
		p.trial, p.tried, p.window = true, now, p.unanswered
	case p.unanswered > p.window:
		p.window = p.unanswered
		if !p.trial {
			p.trial, p.tried = true, now
		}
	}
	return storage.Sender{
		ID:    p.id,
		Eager: first || now.Sub(p.answered) <= eagerWithin || now.Sub(p.all) <= eagerAfterAll,
		// Who wants no answers (acks=0) waits for none.
		Stalled: !p.trial && p.unanswered == p.window && !p.answered.IsZero(),
	}
}

// done takes note that a request is answered, or finished without an answer (acks=0).
func (p *pace) done(now time.Time, answered bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.unanswered--
	if now.Sub(p.tried) >= trialFor {
		p.trial = false
	}
	if !answered {
		return
	}
	p.answered = now
	if p.unanswered == 0 {
		p.all = now
	}
}
