package broker

import (
	"errors"
	"time"
)

// A connection costs as much as some requests, and one that is closed at once costs its
// client nothing. How many an IP address opens is bounded as KIP-612 does it, by a rate and
// a burst: clients of one host, or behind one gateway, that all come back to a broker that was
// restarted are delayed and not refused, for they are no more than may be open at a
// time; who opens and closes connections in a loop has used that up soon.
const (
	// arrivalRate is how many connections a second an IP may open for ever.
	arrivalRate = 1000
	// arrivalPause is slept for each pausedArrivals connections of IPs that are faster: a
	// listener takes some 4,000 a second then, so that what is new leaves processors to what
	// is there, and who else comes waits a second at most, as long as the kernel's queue is (4,096).
	arrivalPause   = 8 * time.Millisecond
	pausedArrivals = 32
)

// errTooFast is the reason why a connection is closed at once.
var errTooFast = errors.New("too many new connections from one IP address")

// arrivals are the connections that came in at a listener of late. Owned by accept.
type arrivals struct {
	burst float64            // how many an IP may open at once
	late  map[string]float64 // by IP: how many are above the rate
	swept time.Time          // when late was reduced by what the rate allows
	paced int                // those above the rate since the last pause
}

// newArrivals takes how many connections of an IP may be open at a time.
func newArrivals(open int) *arrivals {
	return &arrivals{burst: float64(max(open, arrivalRate)), late: map[string]float64{}}
}

// add counts a connection from an IP. The error is errTooFast if it must be closed; then and for
// others that are above the rate pause is how long no other one is to be taken.
func (a *arrivals) add(host string, now time.Time) (pause time.Duration, err error) {
	a.sweep(now)
	n := a.late[host] + 1
	if n > a.burst {
		err = errTooFast // it does not count: who goes on trying gets in at the rate
	} else {
		a.late[host] = n
	}
	if n > arrivalRate {
		if a.paced++; a.paced == pausedArrivals {
			a.paced, pause = 0, arrivalPause
		}
	}
	return pause, err
}

// sweepArrivals is how often the rate's share is taken off: what is left of an IP
// that is within it is forgotten by then, which bounds the map.
const sweepArrivals = 100 * time.Millisecond

func (a *arrivals) sweep(now time.Time) {
	past := now.Sub(a.swept)
	if past < sweepArrivals {
		return
	}
	a.swept = now
	share := arrivalRate * past.Seconds()
	for host, n := range a.late {
		if n <= share {
			delete(a.late, host)
		} else {
			a.late[host] = n - share
		}
	}
}
