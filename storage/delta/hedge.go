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
	// hedgeMin how many it takes before it says anything: those of a new topic's first
	// two or three seconds at Amazon's pace.
	hedgeSamples = 128
	hedgeMin     = 16
	// hedgeFloor keeps a quick store from being asked twice over the noise of
	// the scheduler.
	hedgeFloor = 20 * time.Millisecond
	// hedgeRank is the part of puts that answer before a second one is sent: Amazon
	// advises to repeat the slowest 5 % (S3 performance design patterns).
	hedgeRank = 0.95
)

// putLatencies is the profile of recent puts of one kind: entries, or data files.
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

// put makes one attempt to put an object. If it takes longer than usual and hedging
// is allowed, the same bytes are put to the same key once more (and hedged is
// called); the first definite answer of the two counts. ctx bounds the attempt.
func (p *putLatencies) put(ctx context.Context, allowed bool, hedged func(), send func(context.Context) (time.Time, error)) (time.Time, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the slower of two
	start := time.Now()
	after, known := p.hedgeAfter()
	if !known || !allowed {
		now, err := send(ctx)
		if (putAnswer{now, err}).definite() {
			p.add(time.Since(start))
		}
		return now, err
	}
	answers := make(chan putAnswer, 2)
	ask := func() {
		now, err := send(ctx)
		answers <- putAnswer{now, err}
	}
	go ask()
	timer := time.NewTimer(after)
	defer timer.Stop()
	var worst putAnswer // of those that answered without deciding
	for outstanding := 1; outstanding > 0; {
		select {
		case <-timer.C:
			hedged()
			outstanding++
			go ask()
		case a := <-answers:
			outstanding--
			if a.definite() {
				// The time that the put took as a whole, not that of the quicker one: a
				// store that has become slow must raise the profile.
				p.add(time.Since(start))
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

// putEntry is one attempt to create an entry. Only one of two hedged puts can win;
// "exists" may mean that the other one won.
func (l *Log) putEntry(ctx context.Context, key string, body []byte, after []string) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, l.opts.Attempt)
	defer cancel()
	return l.puts.put(ctx, true, func() { l.stats.Hedges.Add(1) }, func(ctx context.Context) (time.Time, error) {
		return l.store.Create(ctx, key, body, after...)
	})
}
