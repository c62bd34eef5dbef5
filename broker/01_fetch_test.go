package broker_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"sluice/storage/object/mem"
)

// A client that reads a topic which cannot be served just now, beside one that can, asks
// again at once: there must be a pause in the answer, or both are busy with nothing else.
func TestATopicThatCanNotBeReadMakesNoClientRunHot(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.create("sound", 1)
		w.create("broken", 1)
		faults := mem.Faults(func(r mem.Request) mem.Fault {
			if strings.HasPrefix(r.Key, "broken/") {
				return mem.Fault{Outcome: mem.Refuse}
			}
			return mem.Fault{}
		})
		w.restart()
		w.fault.Store(&faults)
		var fetches fetchRequests
		consumer := w.client(kgo.WithHooks(&fetches), kgo.FetchMaxWait(5*time.Second),
			kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"sound": {0: kgo.NewOffset().At(0)}, "broken": {0: kgo.NewOffset().At(0)}}))
		defer consumer.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		consumer.PollFetches(ctx)
		cancel()
		if n := fetches.Load(); n < 2 || n > 120 {
			t.Errorf("%d fetches in 10 s", n)
		}
		w.fault.Store(nil)
		time.Sleep(2 * time.Second)
		for _, topic := range []string{"sound", "broken"} {
			producer := w.client()
			if err := producer.ProduceSync(t.Context(), record(topic, "sent")).FirstErr(); err != nil {
				t.Error(topic, err)
			}
			producer.Close()
			if got := consumer.PollFetches(t.Context()).Records(); len(got) != 1 || got[0].Topic != topic {
				t.Error(topic, "is consumed as", got)
			}
		}
	})
}
