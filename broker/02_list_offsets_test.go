package broker_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// overtaken has another broker take the topic t over and write to it, beside one that does
// not know yet and whose client asks.
func overtaken(t *testing.T, ask func(t *testing.T, atNew, atOld *kgo.Client)) {
	inWorld(t, func(t *testing.T, w *world) {
		w.create("t", 1)
		versions := kversion.Stable()
		versions.SetMaxKeyVersion(1, 12) // topics by name
		old, stopOld := w.listen, w.stop
		atOld := w.client(kgo.MaxVersions(versions), kgo.Dialer(func(ctx context.Context, _, _ string) (net.Conn, error) { return old.dial(ctx) }))
		defer atOld.Close()
		if err := atOld.ProduceSync(t.Context(), record("t", "0")).FirstErr(); err != nil {
			t.Fatal(err)
		}
		w.start() // the old one is not stopped, and its clients stay
		defer stopOld()
		atNew := w.client()
		defer atNew.Close()
		for _, value := range []string{"1", "2"} {
			if err := atNew.ProduceSync(t.Context(), record("t", value)).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		ask(t, atNew, atOld)
	})
}

func TestABrokerThatWasOvertakenTellsNoOldEnd(t *testing.T) {
	overtaken(t, func(t *testing.T, _, atOld *kgo.Client) {
		ends, err := kadm.NewClient(atOld).ListEndOffsets(t.Context(), "t")
		if err != nil {
			t.Fatal(err)
		}
		if end, ok := ends.Lookup("t", 0); !ok || end.Err == nil && end.Offset != 3 {
			t.Errorf("the end is %+v", end)
		}
	})
}

// Else it would send a client that has met the new leader away for ever.
func TestABrokerThatWasOvertakenLearnsItFromTheEpochsOfItsClients(t *testing.T) {
	overtaken(t, func(t *testing.T, _, atOld *kgo.Client) {
		fetch := func(epoch int32) int16 {
			req := kmsg.NewPtrFetchRequest()
			topic, partition := kmsg.NewFetchRequestTopic(), kmsg.NewFetchRequestTopicPartition()
			partition.CurrentLeaderEpoch, partition.FetchOffset, partition.PartitionMaxBytes = epoch, 1, 1000
			topic.Topic, topic.Partitions = "t", []kmsg.FetchRequestTopicPartition{partition}
			req.Topics = []kmsg.FetchRequestTopic{topic}
			resp, err := req.RequestWith(t.Context(), atOld)
			if err != nil {
				t.Fatal(err)
			}
			return resp.Topics[0].Partitions[0].ErrorCode
		}
		if code := fetch(1); code != 0 {
			t.Fatal(kerr.ErrorForCode(code))
		}
		if code := fetch(2); code != kerr.UnknownLeaderEpoch.Code {
			t.Error("at the newer epoch:", kerr.ErrorForCode(code))
		}
		time.Sleep(time.Second)
		if code := fetch(1); code != kerr.NotLeaderForPartition.Code {
			t.Error("after that:", kerr.ErrorForCode(code))
		}
	})
}

// What is asked all the time, as by monitors of lag, costs what commits do not tell anyway.
func TestAskingForTheEndOfABusyTopicMakesNoRequests(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.create("t", 1)
		client := w.client()
		defer client.Close()
		admin := kadm.NewClient(client)
		list := func() {
			t.Helper()
			ends, err := admin.ListEndOffsets(t.Context(), "t")
			if err != nil || ends.Error() != nil {
				t.Fatal(err, ends.Error())
			}
		}
		for range 20 {
			if err := client.ProduceSync(t.Context(), record("t", "x")).FirstErr(); err != nil {
				t.Fatal(err)
			}
			before := w.requests.Load()
			for range 10 {
				list()
			}
			if n := w.requests.Load() - before; n > 0 {
				t.Fatal(n, "requests")
			}
			time.Sleep(500 * time.Millisecond)
		}
		time.Sleep(time.Minute)
		before := w.requests.Load()
		for range 10 {
			list()
		}
		if n := w.requests.Load() - before; n > 1 {
			t.Error(n, "requests in a second for an idle topic")
		}
	})
}
