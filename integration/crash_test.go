//go:build integration

package integration

import (
	"testing"
	"time"
)

// kills is how often a broker is killed in a test.
const kills = 5

// A broker is killed while records are written and read. What was acked is there
// once, at the offset that was acked; the group goes on without an error; a table's
// reader and a consumer agree on every record.
func TestAKilledBrokerLosesAndDoublesNothing(t *testing.T) {
	eachStore(t, func(t *testing.T, s store) {
		b := startSluice(t, s)
		resting := b.goroutines(t)
		l := startLoad(t, b, "killed")
		for i := range kills {
			l.progress(1500)
			// In the middle of whatever it does, at another moment each time.
			time.Sleep(time.Duration(i*7) * time.Millisecond)
			b.kill()
			start := time.Now()
			b.restart(t)
			ready := time.Since(start)
			l.progress(1)
			t.Logf("killed after %d acks: ready in %s, first ack in %s", l.acks.Load(),
				ready.Round(time.Millisecond), time.Since(start).Round(time.Millisecond))
		}
		l.progress(1500)
		l.finish(t)
		l.requireUnmoved(t)
		b.requireRested(t, resting)
		l.check(t)
	})
}
