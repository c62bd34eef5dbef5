package delta

import (
	"sync"
	"time"
)

// Budget is a broker's allowance of puts per second, shared by all its tables:
// on a cloud store puts are the bill, on a small one they are the throughput.
// A table may burst after idleness; under pressure its sustained versions follow
// its share of the bytes. A nil *Budget allows everything. Safe for concurrent use.
type Budget struct {
	mu     sync.Mutex
	rate   float64 // puts per second
	tokens float64 // puts that may be made now, at most one second's worth
	last   time.Time
	bytes  average // bytes per second of all tables
}

// putsPerVersion is what a version costs: a data file and a log entry.
const putsPerVersion = 2

// NewBudget allows rate puts per second; a rate of 0 or less gives the nil Budget.
func NewBudget(rate float64) *Budget {
	if rate <= 0 {
		return nil
	}
	return &Budget{rate: rate, tokens: rate, last: time.Now()}
}

// share is one table's part of a Budget. Owned by its committer.
type share struct {
	last  time.Time // when it was last granted a version
	bytes average
}

// take asks for the puts of one version that carries size bytes. It answers 0 if
// they are granted, or how long to wait before asking again.
func (b *Budget) take(s *share, now time.Time, size int) time.Duration {
	if b == nil {
		return 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if d := now.Sub(b.last).Seconds(); d > 0 {
		b.tokens = min(b.rate, b.tokens+d*b.rate)
		b.last = now
	}
	// More than half of a second's puts unspent means no pressure: no need to share.
	if b.tokens < b.rate/2 {
		part := 1.0
		if total := b.bytes.at(now); total > 0 {
			part = min(1, (s.bytes.at(now)+float64(size))/(total+float64(size)))
		}
		spacing := time.Duration(putsPerVersion / (b.rate * part) * float64(time.Second))
		if next := s.last.Add(min(spacing, maxSpacing)); now.Before(next) {
			return next.Sub(now)
		}
	}
	if b.tokens < min(putsPerVersion, b.rate) {
		return time.Duration((putsPerVersion - b.tokens) / b.rate * float64(time.Second))
	}
	b.tokens -= putsPerVersion
	s.last = now
	s.bytes.add(now, size)
	b.bytes.add(now, size)
	return 0
}

// maxSpacing keeps a table that carries next to nothing from starving behind
// busy ones: its records wait no longer than this for their share.
const maxSpacing = 5 * time.Second

// average is a rate in units per second, decaying over averageWindow.
type average struct {
	value float64
	last  time.Time
}

const averageWindow = 10 * time.Second

func (a *average) at(now time.Time) float64 {
	d := now.Sub(a.last)
	if d >= averageWindow {
		return 0
	}
	return a.value * (1 - float64(d)/float64(averageWindow))
}

func (a *average) add(now time.Time, n int) {
	a.value = a.at(now) + float64(n)/averageWindow.Seconds()
	a.last = now
}
