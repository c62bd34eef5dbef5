// The client franz-go, with its admin package kadm. See ../../README.md.
package main

import (
	"context"
	"os"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"sluice/integration/clients/go/wire"
)

var ctx = context.Background()

func main() {
	a := os.Args[2:]
	switch os.Args[1] {
	case "create":
		_, err := kadm.NewClient(client(a[0])).CreateTopic(ctx, int32(wire.Number(a[2])), 1, nil, a[1])
		wire.Must(err)
	case "produce":
		produce(a[0], a[1], a[2])
	case "read":
		read(a[0], a[1], int(wire.Number(a[2])), a[3])
	case "consume":
		consume(a[0], a[1], a[2])
	case "admin":
		admin(kadm.NewClient(client(a[0])), a[1], a[2])
	}
}

func client(brokers string, opts ...kgo.Opt) *kgo.Client {
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(brokers)}, opts...)...)
	wire.Must(err)
	return cl
}

// chooser sends a record to its partition, if it has one.
type chooser struct{ kgo.Partitioner }

func (c chooser) ForTopic(topic string) kgo.TopicPartitioner {
	return chooserOf{c.Partitioner.ForTopic(topic)}
}

type chooserOf struct{ kgo.TopicPartitioner }

func (c chooserOf) RequiresConsistency(*kgo.Record) bool { return true }

func (c chooserOf) Partition(r *kgo.Record, n int) int {
	if r.Partition >= 0 {
		return int(r.Partition)
	}
	return c.TopicPartitioner.Partition(r, n)
}

func produce(brokers, topic, codec string) {
	cl := client(brokers, kgo.RecordPartitioner(chooser{kgo.StickyKeyPartitioner(nil)}),
		kgo.ProducerLinger(20*time.Millisecond), kgo.ProducerBatchCompression(map[string]kgo.CompressionCodec{
			"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
			"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
		}[codec]))
	for i, r := range wire.Records() {
		record := &kgo.Record{Topic: topic, Partition: r.Partition, Key: r.Key, Value: r.Value, Timestamp: time.UnixMilli(r.Timestamp)}
		for _, h := range r.Headers {
			record.Headers = append(record.Headers, kgo.RecordHeader{Key: h.Name, Value: h.Value})
		}
		cl.Produce(ctx, record, func(r *kgo.Record, err error) {
			wire.Must(err)
			wire.Acked(i, r.Partition, r.Offset)
		})
	}
	wire.Must(cl.Flush(ctx))
}

func print(r *kgo.Record) {
	record := wire.Record{Partition: r.Partition, Offset: r.Offset, Timestamp: r.Timestamp.UnixMilli(), Key: r.Key, Value: r.Value}
	for _, h := range r.Headers {
		record.Headers = append(record.Headers, wire.Header{Name: h.Key, Value: h.Value})
	}
	wire.Print(record)
}

func read(brokers, topic string, count int, from string) {
	at := kgo.NewOffset().AtStart()
	switch kind, n := wire.From(from); kind {
	case "offset":
		at = kgo.NewOffset().At(n)
	case "timestamp":
		at = kgo.NewOffset().AfterMilli(n)
	}
	// Without a group: all partitions, each from that place.
	cl := client(brokers, kgo.ConsumeTopics(topic), kgo.ConsumeStartOffset(at), kgo.ConsumeResetOffset(at))
	for count > 0 {
		fetches := cl.PollFetches(ctx)
		wire.Must(fetches.Err())
		fetches.EachRecord(print)
		count -= fetches.NumRecords()
	}
}

func consume(brokers, topic, group string) {
	var mu sync.Mutex
	has := map[int32]bool{} // guarded by mu
	tell := func(partitions []int32, now bool) {
		mu.Lock()
		defer mu.Unlock()
		for _, p := range partitions {
			if now {
				has[p] = true
			} else {
				delete(has, p)
			}
		}
		all := []int32{}
		for p := range has {
			all = append(all, p)
		}
		wire.Assigned(all)
	}
	lost := func(_ context.Context, _ *kgo.Client, m map[string][]int32) { tell(m[topic], false) }
	cl := client(brokers, kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.SessionTimeout(10*time.Second), kgo.HeartbeatInterval(time.Second),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, m map[string][]int32) { tell(m[topic], true) }),
		kgo.OnPartitionsRevoked(func(ctx context.Context, cl *kgo.Client, m map[string][]int32) {
			wire.Must(cl.CommitUncommittedOffsets(ctx))
			lost(ctx, cl, m)
		}),
		kgo.OnPartitionsLost(lost))
	leave := wire.Leave()
	for {
		poll, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		cl.PollFetches(poll).EachRecord(print)
		cancel()
		select {
		case <-leave:
			wire.Must(cl.CommitUncommittedOffsets(ctx))
			cl.Close()
			return
		default:
		}
	}
}

func admin(adm *kadm.Client, topic, group string) {
	partitions := func() (int, error) {
		details, err := adm.ListTopics(ctx, topic)
		return len(details[topic].Partitions), err
	}
	offsets := func() (kadm.OffsetResponses, error) { return adm.FetchOffsets(ctx, group) }
	wire.Tell("brokers", func() (int, error) {
		brokers, err := adm.ListBrokers(ctx)
		return len(brokers), err
	})
	wire.Tell("topics", func() (string, error) {
		all, err := adm.ListTopics(ctx)
		return wire.YesNo(all.Has(topic)), err
	})
	wire.Tell("partitions", partitions)
	wire.Tell("config", func() (string, error) {
		hour := "3600000"
		if _, err := adm.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: &hour}}, topic); err != nil {
			return "", err
		}
		configs, err := adm.DescribeTopicConfigs(ctx, topic)
		if err != nil {
			return "", err
		}
		for _, c := range configs[0].Configs {
			if c.Key == "retention.ms" {
				return c.MaybeValue(), nil
			}
		}
		return "", configs[0].Err
	})
	wire.Tell("ends", func() (int64, error) {
		var sum int64
		ends, err := adm.ListEndOffsets(ctx, topic)
		ends.Each(func(o kadm.ListedOffset) { sum += o.Offset })
		return sum, err
	})
	wire.Tell("delete-records", func() (int64, error) {
		to := kadm.Offsets{}
		to.Add(kadm.Offset{Topic: topic, Partition: 0, At: 5})
		answers, err := adm.DeleteRecords(ctx, to)
		low, _ := answers.Lookup(topic, 0)
		return low.LowWatermark, err
	})
	wire.Tell("groups", func() (string, error) {
		groups, err := adm.ListGroups(ctx)
		_, ok := groups[group]
		return wire.YesNo(ok), err
	})
	wire.Tell("group", func() (string, error) {
		groups, err := adm.DescribeGroups(ctx, group)
		return groups[group].State, err
	})
	wire.Tell("group-offsets", func() (int64, error) {
		var sum int64
		all, err := offsets()
		all.Each(func(o kadm.OffsetResponse) { sum += o.At })
		return sum, err
	})
	wire.Tell("alter-offsets", func() (int64, error) {
		to := kadm.Offsets{}
		to.Add(kadm.Offset{Topic: topic, Partition: 0, At: 3, LeaderEpoch: -1})
		if err := adm.CommitAllOffsets(ctx, group, to); err != nil {
			return 0, err
		}
		all, err := offsets()
		at, _ := all.Lookup(topic, 0)
		return at.At, err
	})
	wire.Tell("delete-offsets", func() (int, error) {
		from := kadm.TopicsSet{}
		from.Add(topic, 0)
		if _, err := adm.DeleteOffsets(ctx, group, from); err != nil {
			return 0, err
		}
		all, err := offsets()
		return len(all[topic]), err
	})
	wire.Tell("delete-group", func() (string, error) {
		answer, err := adm.DeleteGroup(ctx, group)
		if err == nil {
			err = answer.Err
		}
		return "done", err
	})
	wire.Tell("add-partitions", func() (int, error) {
		if _, err := adm.UpdatePartitions(ctx, 6, topic); err != nil {
			return 0, err
		}
		return partitions()
	})
	wire.Tell("delete-topic", func() (string, error) {
		answer, err := adm.DeleteTopic(ctx, topic)
		if err == nil {
			err = answer.Err
		}
		return "done", err
	})
}
