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
			if got := produce.begun[i].eager; got != test.eager {
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
		if got := p.arrived(now); got != eager {
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
		if p.arrived(now) {
			t.Error("acks=0 waits for nothing")
		}
	}
}
