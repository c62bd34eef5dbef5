//go:build integration

package integration

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"sluice/integration/history"
)

var (
	faultShare = flag.Float64("faults.share", 0, "the share of requests that meet a fault of their own; 0 is each test's own")
	flakyFor   = flag.Duration("faults.for", 5*time.Second, "how long the store of TestAStoreThatFailsOftenIsLatencyAndNotLoss fails")
	flakyKills = flag.Int("faults.restarts", 2, "how often the broker is killed meanwhile")
)

const (
	// quickTopics and longTopics are how many topics are written at the same time: what a
	// broker asks of its store grows with them.
	quickTopics, longTopics = 3, 12
	// flakyShare makes nearly every commit meet a fault.
	flakyShare = 0.3
)

// often are the faults that take no time, so that there are many. Most are answers of the
// server, as in life.
var often = []string{faultSlowDown, faultSlowDown, faultSlowDown, faultSlowDown, faultReset, faultReset, faultLost, faultLost, faultLost, faultTwice}

// A large share of all requests to the store fail, with answers lost among them, for as
// long as one likes; topics are committed as often as it goes, and their upkeep never
// ends. All that is acked is there once.
//
//	go test -tags integration ./integration -run TestAStoreThatFailsOften -v -timeout 1h -faults.for 20m -faults.restarts 20
func TestAStoreThatFailsOftenIsLatencyAndNotLoss(t *testing.T) {
	m := startMinIO(t)
	p := startProxy(t, m.address, *faultSeed)
	p.kinds = often
	f := &faults{
		b:      failing(t, p.before(m.store("lake/kafka")), "--config", "sluice.store.puts.per.second=0"),
		proxy:  p,
		random: rand.New(rand.NewPCG(*faultSeed, 0)), killed: map[string]int{},
	}
	f.b.restart(t)
	resting := f.b.goroutines(t)
	topics, share := quickTopics, *faultShare
	if *flakyFor > time.Minute {
		topics = longTopics
	}
	if share == 0 {
		share = flakyShare
	}
	var loads []*load
	for i := range topics {
		topic := fmt.Sprint("flaky", i)
		interval := map[string]string{"sluice.commit.interval.ms": []string{"0", "10"}[i%2]}
		createWith(t, f.b, topic, hasty, interval)
		loads = append(loads, startLoadOf(t, f.b, topic, pace{every: 40 * time.Millisecond, records: 1, away: true}))
	}
	began := time.Now()
	p.disturb(share)
	ctx, cancel := context.WithTimeout(t.Context(), *flakyFor)
	defer cancel()
	var background sync.WaitGroup
	if *flakyFor > time.Minute {
		background.Go(func() { p.weather(ctx, *faultStorm) })
	}
	for range *flakyKills {
		select {
		case <-time.After(*flakyFor / time.Duration(*flakyKills+1)):
		case <-ctx.Done():
		}
		f.b.kill()
		for {
			if f.start(t) {
				f.killed["any time"]++
				break
			}
			if !f.refused() {
				t.Fatalf("it ended by itself: %v", f.b.cmd.ProcessState)
			}
			f.killed["the start, refused as the store was in trouble"]++
		}
	}
	<-ctx.Done()
	background.Wait()
	p.disturb(0)
	p.calm()
	t.Logf("%d topics on a store of which %.0f %% of the requests fail, for %v", topics, 100*share, time.Since(began).Round(time.Second))
	f.b.alive(t)
	acked, found := int64(0), map[history.Kind]int{}
	for _, l := range loads {
		l.progress(20)
	}
	for _, l := range loads {
		l.finish(t)
	}
	f.b.requireRested(t, resting)
	for _, l := range loads {
		for _, a := range l.anomalies(t) {
			t.Error(a)
			found[a.Kind]++
		}
		acked += l.acks.Load()
	}
	f.report(t, acked, found)
}

// alive fails the test if the broker has ended by itself.
func (b *sluice) alive(t *testing.T) {
	t.Helper()
	select {
	case <-b.ended:
		t.Fatalf("sluice has ended: %v", b.cmd.ProcessState)
	default:
	}
}
