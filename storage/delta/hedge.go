package delta

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"sluice/storage/object"
)

const (
	// hedgeSamples is how many recent puts make up the latency profile, and
	// hedgeMin how many it takes before it says anything.
	hedgeSamples = 128
	hedgeMin     = 32
	// hedgeFloor keeps a quick store from being asked twice over the noise of
	// the scheduler.
	hedgeFloor = 20 * time.Millisecond
	// hedgeRank is the part of puts that answer before a second one is sent.
	hedgeRank = 0.97
)

// putLatencies is the profile of recent puts of entries.
type putLatencies struct {
	mu     sync.Mutex
	recent [hedgeSamples]time.Duration // a ring
	count  int                         // puts seen
}

func (p *putLatencies) add(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.recent[p.count%hedgeSamples] = d
	p.count++
}

// hedgeAfter is how long a put may take before it is sent once more; false while
// too little is known.
func (p *putLatencies) hedgeAfter() (time.Duration, bool) {
	p.mu.Lock()
	n := min(p.count, hedgeSamples)
	sorted := p.recent
	p.mu.Unlock()
	if n < hedgeMin {
		return 0, false
	}
	slices.Sort(sorted[:n])
	usual := sorted[int(float64(n-1)*hedgeRank)]
	return max(usual+usual/8, hedgeFloor), true // a steady store is not asked twice over its jitter
}

// putAnswer is the outcome of one put.
type putAnswer struct {
	now time.Time
	err error
}

func (a putAnswer) definite() bool { return a.err == nil || errors.Is(a.err, object.ErrExists) }

// putEntry is one attempt to create an entry. A slow put is hedged: the same
// bytes to the same key once more. Only one of the two can win, so that the
// first definite answer counts; "exists" may mean that the other one won.
func (l *Log) putEntry(ctx context.Context, key string, body []byte) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, l.opts.Attempt)
	defer cancel() // ends the slower of two
	start := time.Now()
	after, hedging := l.puts.hedgeAfter()
	if !hedging {
		now, err := l.store.Create(ctx, key, body)
		if (putAnswer{now, err}).definite() {
			l.puts.add(time.Since(start))
		}
		return now, err
	}
	answers := make(chan putAnswer, 2)
	send := func() {
		now, err := l.store.Create(ctx, key, body)
		answers <- putAnswer{now, err}
	}
	go send()
	timer := time.NewTimer(after)
	defer timer.Stop()
	var worst putAnswer // of those that answered without deciding
	for outstanding := 1; outstanding > 0; {
		select {
		case <-timer.C:
			l.stats.Hedges.Add(1)
			outstanding++
			go send()
		case a := <-answers:
			outstanding--
			if a.definite() {
				// The time that the commit took, not that of the quicker put: a store
				// that has become slow must raise the profile.
				l.puts.add(time.Since(start))
				return a.now, a.err
			}
			// An unclear answer outweighs a refusal: its put may yet land.
			if worst.err == nil || errors.Is(worst.err, object.ErrDenied) {
				worst = a
			}
		}
	}
	return worst.now, worst.err
}
