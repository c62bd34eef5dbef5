//go:build integration

package integration

import (
	"syscall"
	"testing"
	"time"
)

// SIGTERM in the middle of a load: the broker commits and answers what was begun
// and ends with exit code 0, well within what an orchestrator allows, three times.
func TestATerminatedBrokerDrainsAndEndsWithSuccess(t *testing.T) {
	eachStore(t, func(t *testing.T, s store) {
		b := startSluice(t, s)
		l := startLoad(t, b, "terminated")
		for range 3 {
			l.progress(1500)
			start := time.Now()
			b.stop(t)
			t.Logf("drained in %s", time.Since(start).Round(time.Millisecond))
			b.restart(t)
		}
		l.progress(1500)
		l.finish(t)
		l.requireUnmoved(t)
		l.check(t)
	})
}

// A store that hangs, and one that is killed, is latency: nobody sees an error,
// nothing is lost, and the same broker goes on when the store is back.
func TestAStoreOutageIsLatencyAndNotLoss(t *testing.T) {
	m := startMinIO(t)
	b := startSluice(t, m.store("lake/kafka"))
	l := startLoad(t, b, "outage")
	l.progress(1500)

	m.signal(syscall.SIGSTOP)
	time.Sleep(4 * time.Second)
	m.signal(syscall.SIGCONT)
	start := time.Now()
	l.progress(1500)
	t.Logf("after 4 s of silence: 1500 acks in %s", time.Since(start).Round(time.Millisecond))

	m.kill()
	time.Sleep(2 * time.Second)
	m.restart(t)
	start = time.Now()
	l.progress(1500)
	t.Logf("after the store was killed: 1500 acks in %s", time.Since(start).Round(time.Millisecond))

	select {
	case <-b.ended:
		t.Fatal("the broker has ended")
	default:
	}
	l.finish(t)
	l.requireUnmoved(t)
	l.check(t)
}
