package broker

import (
	"errors"
	"testing"
	"time"
)

// come has an IP open n connections in d, evenly; it answers how many were refused and
// how long the listener paused in all.
func come(a *arrivals, host string, n int, from time.Time, d time.Duration) (refused int, paused time.Duration) {
	for i := range n {
		pause, err := a.add(host, from.Add(d*time.Duration(i)/time.Duration(n)))
		if errors.Is(err, errTooFast) {
			refused++
		}
		paused += pause
	}
	return refused, paused
}

func TestAnIPMayOpenAsManyConnectionsAtOnceAsMayBeOpen(t *testing.T) {
	now := time.Now()
	a := newArrivals(10_000)
	if refused, paused := come(a, "10.0.0.1", 10_000, now, 0); refused != 0 || paused < 2*time.Second || paused > 3*time.Second {
		t.Errorf("%d refused, paused for %s", refused, paused)
	}
	if refused, paused := come(a, "10.0.0.2", 500, now, 0); refused != 0 || paused != 0 {
		t.Errorf("of another one %d are refused, paused for %s", refused, paused)
	}
	if refused, _ := come(a, "10.0.0.1", 100, now, 0); refused != 100 {
		t.Errorf("above that %d of 100 are refused", refused)
	}
}

func TestWhoOpensConnectionsInALoopGetsThemAtARate(t *testing.T) {
	now := time.Now()
	a := newArrivals(2000)
	come(a, "10.0.0.1", 2000, now, 0)
	refused, _ := come(a, "10.0.0.1", 100_000, now.Add(time.Second), 10*time.Second)
	if served := 100_000 - refused; served < 10*arrivalRate || served > 12*arrivalRate {
		t.Errorf("%d were served in 10 s", served)
	}
}

func TestAnIPWithinTheRateIsNeverPausedAndIsForgotten(t *testing.T) {
	now := time.Now()
	a := newArrivals(2000)
	if refused, paused := come(a, "10.0.0.1", 100*arrivalRate, now, 100*time.Second); refused != 0 || paused != 0 {
		t.Errorf("%d refused, paused for %s", refused, paused)
	}
	_, _ = a.add("10.0.0.2", now.Add(200*time.Second))
	if len(a.late) != 1 {
		t.Errorf("%d IPs are remembered", len(a.late))
	}
}
