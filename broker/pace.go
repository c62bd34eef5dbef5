package broker

import (
	"sync"
	"time"
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

// pace watches one connection's Produce requests for a producer in a closed loop,
// which sends the next batch when it is told of the one before: it gains nothing by
// a commit that waits for company. An open load that happens to be as slow as that
// is committed more often than it needs, within the budget of puts.
// Safe for concurrent use.
type pace struct {
	mu         sync.Mutex
	begun      bool
	unanswered int
	answered   time.Time // when the last answer was written; zero before
	all        time.Time // the same, of the last after which none was left to answer
}

// arrived takes note of a request and reports whether it is eager: its producer
// seems to send nothing more until it is answered. So does the first of all.
func (p *pace) arrived(now time.Time) (eager bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.unanswered++
	if !p.begun {
		p.begun = true
		return true
	}
	return now.Sub(p.answered) <= eagerWithin || now.Sub(p.all) <= eagerAfterAll
}

// done takes note that a request is answered, or finished without an answer (acks=0).
func (p *pace) done(now time.Time, answered bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.unanswered--
	if !answered {
		return
	}
	p.answered = now
	if p.unanswered == 0 {
		p.all = now
	}
}
