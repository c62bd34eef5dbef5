package delta

import (
	"sync"
	"time"
)

// Budget is a broker's allowance of puts per second, shared by all its tables:
// on a cloud store puts are the bill, on a small one they are the throughput.
// A table may burst after idleness; under pressure its sustained versions follow
// its share of the bytes, and who may have one waits for its turn: first come, first
// served. (Who asked again when it might be granted would wait twice as long at the
// median, and some several times.) A nil *Budget allows everything. Safe for
// concurrent use.
type Budget struct {
	mu   sync.Mutex
	rate float64 // puts per second
	// next is the turn of who asks next: before now by what was saved up, savedMost at
	// most, or behind it by those who wait.
	next  time.Time
	bytes average // bytes per second of all tables
}

const (
	// putsPerVersion is what a version costs at least: a data file and a log entry.
	putsPerVersion = 2
	// savedMost is for how long unused puts are saved up. While more than half of that
	// is saved nobody has to share.
	savedMost = time.Second
)

// NewBudget allows rate puts per second; a rate of 0 or less gives the nil Budget.
func NewBudget(rate float64) *Budget {
	if rate <= 0 {
		return nil
	}
	return &Budget{rate: rate, next: time.Now().Add(-savedMost)}
}

// share is one table's part of a Budget. Owned by its committer.
type share struct {
	last  time.Time // when it was last granted a version
	turn  time.Time // when it will be granted one, if it waits for that
	bytes average
}

// take asks for the puts of one version that carries size bytes in so many data files. It
// answers 0 if they are granted, or how long to wait before asking again. Files beyond the
// first are uploaded by then: whoever asks next waits for them.
func (b *Budget) take(s *share, now time.Time, size, files int) time.Duration {
	if b == nil {
		return 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if s.turn.IsZero() {
		if saved := now.Add(-savedMost); b.next.Before(saved) {
			b.next = saved
		}
		if now.Sub(b.next) < savedMost/2 {
			if next := s.last.Add(b.spacing(s, now, size)); now.Before(next) {
				return next.Sub(now)
			}
		}
		s.turn = b.next
		b.next = b.next.Add(b.lasting(1))
	}
	if wait := s.turn.Sub(now); wait > 0 {
		return wait
	}
	if files > 1 {
		b.next = b.next.Add(time.Duration(float64(files-1) / b.rate * float64(time.Second)))
	}
	s.last, s.turn = now, time.Time{}
	s.bytes.add(now, size)
	b.bytes.add(now, size)
	return 0
}

// spacing is the time between a table's versions that corresponds to its share of the bytes.
func (b *Budget) spacing(s *share, now time.Time, size int) time.Duration {
	part := 1.0
	if total := b.bytes.at(now); total > 0 {
		part = min(1, (s.bytes.at(now)+float64(size))/(total+float64(size)))
	}
	return min(b.lasting(part), maxSpacing)
}

// lasting is the time in which a part of the puts makes up a version.
func (b *Budget) lasting(part float64) time.Duration {
	return time.Duration(min(putsPerVersion/(b.rate*part), 1e6) * float64(time.Second))
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
