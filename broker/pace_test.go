package broker

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestAProducerInAClosedLoopIsEager(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var produce slow
		h := newHouse(t, nil, api{key: kmsg.Produce, start: produce.start()})
		defer h.close()
		p := h.dial()
		for i, test := range []struct {
			pause time.Duration // since the answer before
			eager bool
		}{{time.Hour / 10, true}, {time.Millisecond, true}, {eagerAfterAll, true}, {eagerAfterAll + 1, false}, {0, true}} {
			time.Sleep(test.pause)
			p.send(int32(i), produceRequest())
			produce.expectBegun(t, i+1)
			if got := produce.begun[i].sender.Eager; got != test.eager {
				t.Errorf("after %v: eager %v", test.pause, got)
			}
			time.Sleep(time.Second)
			produce.finish[i] <- nil
			p.expect(int32(i))
		}
	})
}

func TestAProducerWithRequestsUnderWayIsEagerRightAfterAnAnswer(t *testing.T) {
	var p pace
	now := time.Now()
	arrives := func(after time.Duration, eager bool) {
		t.Helper()
		now = now.Add(after)
		if got := p.arrived(now).Eager; got != eager {
			t.Errorf("eager %v", got)
		}
	}
	answer := func(after time.Duration) {
		now = now.Add(after)
		p.done(now, true)
	}
	arrives(0, true)
	arrives(time.Millisecond, false) // an open load: it was told nothing
	answer(20 * time.Millisecond)
	arrives(eagerWithin, true)
	arrives(1, false)
	answer(time.Second)
	answer(0)
	arrives(eagerWithin+1, false) // one is under way still
	answer(time.Second)
	answer(0) // all that it sent
	arrives(0, true)
	arrives(eagerAfterAll-1, true) // it lingered
	arrives(2, false)
}

func TestAProducerThatWantsNoAnswersIsNotEager(t *testing.T) {
	var p pace
	now := time.Now()
	p.arrived(now)
	for range 3 {
		p.done(now, false)
		if p.arrived(now).Eager {
			t.Error("acks=0 waits for nothing")
		}
	}
}

// connection is one whose producer sends and is answered at chosen times.
type connection struct {
	pace
	now time.Time
}

// send sends n requests, gap apart, and tells whether it is taken for stalled after the last.
func (c *connection) send(n int, gap time.Duration) (stalled bool) {
	for range n {
		c.now = c.now.Add(gap)
		stalled = c.arrived(c.now).Stalled
	}
	return stalled
}

func (c *connection) answer(n int, after time.Duration) {
	c.now = c.now.Add(after)
	for range n {
		c.done(c.now, true)
	}
}

func TestAProducerIsStalledWhenAsMuchIsUnansweredAsEver(t *testing.T) {
	c := &connection{now: time.Now()}
	if c.send(5, time.Microsecond) {
		t.Error("its window is not known yet")
	}
	c.answer(5, trialFor)
	if c.send(4, time.Microsecond) {
		t.Error("stalled with room for one")
	}
	if !c.send(1, time.Microsecond) {
		t.Error("not stalled with a full window")
	}
	c.answer(2, time.Millisecond)
	if c.send(1, 0) || !c.send(1, 0) {
		t.Error("it is stalled when the window is full again, not before")
	}
}

func TestAWindowThatWasExceededIsMeasuredAnew(t *testing.T) {
	c := &connection{now: time.Now()}
	c.send(2, time.Millisecond)
	c.answer(2, trialFor)
	if c.send(3, time.Millisecond) {
		t.Error("stalled beyond its window")
	}
	c.answer(3, time.Millisecond)
	if c.send(3, time.Millisecond) {
		t.Error("stalled within the trial")
	}
	c.answer(3, trialFor)
	if !c.send(3, time.Millisecond) {
		t.Error("not stalled after the trial")
	}
}

func TestAnOpenLoadIsNotTakenForStalledForLong(t *testing.T) {
	c := &connection{now: time.Now()}
	stalled := 0
	const gap, interval, seconds = 5 * time.Millisecond, 50 * time.Millisecond, 60
	var waiting int
	var last time.Time // of the commits
	for began := c.now; c.now.Sub(began) < seconds*time.Second; {
		early := c.send(1, gap)
		if waiting++; early || c.now.Sub(last) >= interval {
			if early && c.now.Sub(last) < interval-gap {
				stalled++
			}
			c.answer(waiting, time.Millisecond)
			waiting, last = 0, c.now
		}
	}
	if stalled > seconds {
		t.Errorf("%d early commits in %d s", stalled, seconds)
	}
}

func TestAProducerThatWantsNoAnswersIsNeverStalled(t *testing.T) {
	var p pace
	now := time.Now()
	for range 10 {
		if p.arrived(now).Stalled {
			t.Error("it goes on sending")
		}
		now = now.Add(time.Second)
		p.done(now, false)
	}
}
