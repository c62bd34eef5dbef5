package mem

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"time"

	"sluice/storage/object"
)

// What Weather counts.
const (
	CountRefused = "errors, not applied"          // also in an outage
	CountLost    = "lost answers"                 // applied, now or later, and answered with an error or not at all
	CountHung    = "hangs"                        // neither applied nor answered
	CountSlow    = "slow answers"                 // of seconds
	CountTwice   = `"exists" for one's own write` // a Create applied twice, the second answer
)

// Weather is what a simulation's processes go through at their store, and what of it
// there was. All methods are safe for concurrent use.
type Weather struct {
	mu     sync.Mutex
	outage time.Time      // until when the store answers nobody; guarded by mu
	counts map[string]int // guarded by mu
}

// NewWeather is fair weather: whatever comes is each Line's own.
func NewWeather() *Weather { return &Weather{counts: map[string]int{}} }

// Outage lets the store answer nobody until then; the zero time ends it.
func (w *Weather) Outage(until time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.outage = until
}

// Counts is how often each thing has happened so far.
func (w *Weather) Counts() map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.counts)
}

func (w *Weather) count(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts[what]++
}

func (w *Weather) out() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Before(w.outage)
}

// Line is what lies between one process and its store. Its Fault is the process's
// Faults: requests take some milliseconds, and a share of them fails in every way that the
// contract of object.Store allows. What happens is drawn from a seed, in the order of the
// requests. All methods are safe for concurrent use.
type Line struct {
	weather *Weather
	cut     chan struct{} // closed by Cut
	once    sync.Once

	mu      sync.Mutex
	random  *rand.Rand    // guarded by mu
	share   float64       // guarded by mu
	resumed chan struct{} // nil unless the line is paused; guarded by mu
}

// Line makes the line of a process.
func (w *Weather) Line(seed, number uint64) *Line {
	return &Line{weather: w, cut: make(chan struct{}), random: rand.New(rand.NewPCG(seed, number))}
}

// Trouble sets the share (0 to 1) of the creations that fail; of other requests it is a
// tenth, as stores retry these by themselves.
func (l *Line) Trouble(share float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.share = share
}

// Pause holds back all requests until Resume. It reports whether the line was not paused.
func (l *Line) Pause() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.resumed != nil {
		return false
	}
	l.resumed = make(chan struct{})
	return true
}

// Resume lets go what Pause held back.
func (l *Line) Resume() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.resumed != nil {
		close(l.resumed)
		l.resumed = nil
	}
}

// Cut cuts the line for good, as the end of the process does: no request is applied or
// answered from now on. What was under way may still land.
func (l *Line) Cut() { l.once.Do(func() { close(l.cut) }) }

// Fault decides what becomes of a request.
func (l *Line) Fault(r Request) Fault {
	l.mu.Lock()
	resumed, share := l.resumed, l.share
	x, y, kind := l.random.Float64(), l.random.Float64(), l.random.IntN(100)
	l.mu.Unlock()
	if resumed != nil {
		select {
		case <-resumed:
		case <-l.cut:
		}
	}
	select {
	case <-l.cut:
		return Fault{Outcome: Hang}
	default:
	}
	f := Fault{Delay: time.Duration(y * y * y * float64(20*time.Millisecond)), Err: fmt.Errorf("%w: %s %s", ErrInjected, r.Kind, r.Key)}
	if l.weather.out() {
		f.Delay, f.Outcome = time.Duration(y*float64(time.Second)), Refuse
		l.weather.count(CountRefused)
		return f
	}
	if r.Kind != object.KindCreate {
		share /= 10
	}
	if x >= share {
		return f
	}
	l.weather.count(f.befall(r, kind, y))
	return f
}

// befall chooses one of the ways to fail, by a number below 100, and names it.
func (f *Fault) befall(r Request, kind int, y float64) string {
	read := r.Kind == object.KindGet || r.Kind == object.KindList
	create := r.Kind == object.KindCreate
	switch {
	case kind < 10:
		f.Delay = time.Duration(y * float64(10*time.Second))
		return CountSlow
	case kind < 35 || read:
		f.Outcome = Refuse
		return CountRefused
	case kind < 65 || kind < 95 && !create || r.Kind == object.KindDelete:
		f.Outcome = Lose
	case kind < 85:
		f.Outcome, f.Lag = Late, time.Duration(y*float64(40*time.Second))
	case kind < 95:
		f.Outcome = Twice
		return CountTwice
	case kind < 97:
		f.Outcome = Hang
		return CountHung
	default:
		f.Outcome = HangApplied
	}
	return CountLost
}
