package broker_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"sluice/storage/object/mem"
)

// countVersions counts the entries that are put from now on, to the end of the test.
func (w *world) countVersions() *atomic.Int64 {
	var versions atomic.Int64
	count := mem.Faults(func(r mem.Request) mem.Fault {
		if r.Size > 0 && strings.Contains(r.Key, "_delta_log/") && strings.HasSuffix(r.Key, ".json") {
			versions.Add(1)
		}
		return mem.Fault{}
	})
	w.fault.Store(&count)
	return &versions
}

func TestAProducerWithRoomForMoreRequestsGetsTheIntervalHoweverMuchItSends(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.create("t", 1)
		// Its requests come each 5 ms: ten in an interval, for which it has room.
		producer := w.client(kgo.ProducerLinger(5*time.Millisecond), kgo.DisableIdempotentWrite(), kgo.MaxProduceRequestsInflightPerBroker(100))
		defer producer.Close()
		if err := producer.ProduceSync(t.Context(), record("t", "first")).FirstErr(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		versions := w.countVersions()
		value := strings.Repeat("x", 8<<10)
		const seconds = 7
		for range seconds * 1000 {
			producer.Produce(t.Context(), record("t", value), func(_ *kgo.Record, err error) {
				if err != nil {
					t.Error(err)
				}
			})
			time.Sleep(time.Millisecond)
		}
		if err := producer.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		// Some more are upkeep's, and of the first moments.
		if n, most := versions.Load(), int64(seconds*time.Second/interval); n > most*11/10 {
			t.Errorf("%d versions in %d s, want %d", n, seconds, most)
		}
	})
}

func TestAProducerAtFullSpeedGetsItsWindowThroughWithEachCommit(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.create("t", 1)
		// As Java's, by default: five requests of a batch of 16 KiB.
		producer := w.client(kgo.ProducerBatchMaxBytes(16<<10), kgo.ProducerLinger(5*time.Millisecond))
		defer producer.Close()
		if err := producer.ProduceSync(t.Context(), record("t", "first")).FirstErr(); err != nil {
			t.Fatal(err)
		}
		value := strings.Repeat("x", 1000)
		acked := 0
		const seconds = 5
		for began := time.Now(); time.Since(began) < seconds*time.Second; time.Sleep(100 * time.Microsecond) {
			for producer.BufferedProduceRecords() < 1000 {
				producer.Produce(t.Context(), record("t", value), func(_ *kgo.Record, err error) {
					if err != nil {
						t.Error(err)
					}
					acked++ // promises are called one at a time
				})
			}
		}
		if err := producer.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		// 16 records in a batch, two puts for a commit.
		rounds := float64(acked) / (5 * 16) / seconds
		if best := float64(time.Second / (2 * putLatency)); rounds < best*0.8 {
			t.Errorf("%.0f windows of five requests a second, want nearly %.0f", rounds, best)
		}
	})
}
