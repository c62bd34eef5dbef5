// The client segmentio/kafka-go: Writer, Reader and Client. It has no idempotent
// producer. See ../../README.md.
package main

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/segmentio/kafka-go"

	"sluice/integration/clients/go/wire"
)

var ctx = context.Background()

func main() {
	a := os.Args[2:]
	cl := &kafka.Client{Addr: kafka.TCP(a[0])}
	switch os.Args[1] {
	case "create":
		answer, err := cl.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{
			{Topic: a[1], NumPartitions: int(wire.Number(a[2])), ReplicationFactor: 1}}})
		wire.Must(err)
		wire.Must(answer.Errors[a[1]])
	case "produce":
		produce(a[0], a[1], a[2])
	case "read":
		read(cl, a[0], a[1], int(wire.Number(a[2])), a[3])
	case "consume":
		consume(a[0], a[1], a[2])
	case "admin":
		admin(cl, a[1], a[2])
	}
}

// chooser sends a record to its partition, if it has one.
type chooser struct{ kafka.Hash }

func (c *chooser) Balance(m kafka.Message, partitions ...int) int {
	if p := m.WriterData.(meta).partition; p >= 0 {
		return int(p)
	}
	return c.Hash.Balance(m, partitions...)
}

type meta struct {
	index     int
	partition int32
}

func produce(brokers, topic, codec string) {
	w := &kafka.Writer{
		Addr: kafka.TCP(brokers), Topic: topic, RequiredAcks: kafka.RequireAll, Balancer: &chooser{}, BatchTimeout: 20 * time.Millisecond,
		Compression: map[string]kafka.Compression{"gzip": kafka.Gzip, "snappy": kafka.Snappy, "lz4": kafka.Lz4, "zstd": kafka.Zstd}[codec],
		Completion: func(messages []kafka.Message, err error) {
			wire.Must(err)
			for _, m := range messages {
				wire.Acked(m.WriterData.(meta).index, int32(m.Partition), m.Offset)
			}
		},
	}
	var messages []kafka.Message
	for i, r := range wire.Records() {
		m := kafka.Message{Key: r.Key, Value: r.Value, Time: time.UnixMilli(r.Timestamp), WriterData: meta{i, r.Partition}}
		for _, h := range r.Headers {
			m.Headers = append(m.Headers, kafka.Header{Key: h.Name, Value: h.Value})
		}
		messages = append(messages, m)
	}
	wire.Must(w.WriteMessages(ctx, messages...))
	wire.Must(w.Close())
}

func print(m kafka.Message) {
	r := wire.Record{Partition: int32(m.Partition), Offset: m.Offset, Timestamp: m.Time.UnixMilli(), Key: m.Key, Value: m.Value}
	for _, h := range m.Headers {
		r.Headers = append(r.Headers, wire.Header{Name: h.Key, Value: h.Value})
	}
	wire.Print(r)
}

// partitionsOf are the partitions of a topic, by number.
func partitionsOf(cl *kafka.Client, topic string) ([]kafka.Partition, error) {
	// A transport of its own: one keeps what it knows of a topic for some seconds.
	fresh := &kafka.Client{Addr: cl.Addr, Transport: &kafka.Transport{}}
	answer, err := fresh.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{topic}})
	if err != nil {
		return nil, err
	}
	return answer.Topics[0].Partitions, answer.Topics[0].Error
}

func read(cl *kafka.Client, brokers, topic string, count int, from string) {
	partitions, err := partitionsOf(cl, topic)
	wire.Must(err)
	all := make(chan kafka.Message)
	for p := range partitions {
		r := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{brokers}, Topic: topic, Partition: p, MaxWait: 500 * time.Millisecond})
		switch kind, n := wire.From(from); kind {
		case "offset":
			wire.Must(r.SetOffset(n))
		case "timestamp":
			wire.Must(r.SetOffsetAt(ctx, time.UnixMilli(n)))
		}
		go func() {
			for {
				m, err := r.ReadMessage(ctx)
				wire.Must(err)
				all <- m
			}
		}()
	}
	for range count {
		print(<-all)
	}
}

// consume is a member by hand: its Reader tells nobody which partitions it has.
func consume(brokers, topic, group string) {
	members, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{ID: group, Brokers: []string{brokers}, Topics: []string{topic},
		StartOffset: kafka.FirstOffset, SessionTimeout: 10 * time.Second, HeartbeatInterval: time.Second, JoinGroupBackoff: 100 * time.Millisecond})
	wire.Must(err)
	run, cancel := context.WithCancel(ctx)
	leave := wire.Leave()
	go func() {
		<-leave
		cancel()
	}()
	for {
		generation, err := members.Next(run)
		if run.Err() != nil {
			break
		}
		if errors.Is(err, kafka.ErrGroupClosed) {
			return
		}
		if err != nil {
			time.Sleep(100 * time.Millisecond)
			continue
		}
		assigned := []int{}
		for _, p := range generation.Assignments[topic] {
			assigned = append(assigned, p.ID)
			generation.Start(func(while context.Context) {
				r := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{brokers}, Topic: topic, Partition: p.ID, MaxWait: 500 * time.Millisecond})
				defer r.Close()
				wire.Must(r.SetOffset(p.Offset))
				for {
					m, err := r.ReadMessage(while)
					if err != nil {
						return
					}
					// What a generation that is over can not commit is the next one's to
					// read: so nothing is printed that is not committed.
					if generation.CommitOffsets(map[string]map[int]int64{topic: {p.ID: m.Offset + 1}}) != nil {
						return
					}
					print(m)
				}
			})
		}
		wire.Assigned(assigned)
	}
	wire.Must(members.Close())
}

func admin(cl *kafka.Client, topic, group string) {
	partitions := func() (int, error) {
		all, err := partitionsOf(cl, topic)
		return len(all), err
	}
	offsets := func() (map[int]int64, error) {
		answer, err := cl.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: group, Topics: map[string][]int{topic: {0, 1, 2, 3}}})
		if err != nil {
			return nil, err
		}
		at := map[int]int64{}
		for _, p := range answer.Topics[topic] {
			if p.CommittedOffset >= 0 {
				at[p.Partition] = p.CommittedOffset
			}
		}
		return at, answer.Error
	}
	wire.Tell("brokers", func() (int, error) {
		answer, err := cl.Metadata(ctx, &kafka.MetadataRequest{})
		if err != nil {
			return 0, err
		}
		return len(answer.Brokers), nil
	})
	wire.Tell("topics", func() (string, error) {
		answer, err := cl.Metadata(ctx, &kafka.MetadataRequest{})
		if err != nil {
			return "", err
		}
		found := false
		for _, t := range answer.Topics {
			found = found || t.Name == topic
		}
		return wire.YesNo(found), nil
	})
	wire.Tell("partitions", partitions)
	wire.Tell("config", func() (string, error) {
		if _, err := cl.IncrementalAlterConfigs(ctx, &kafka.IncrementalAlterConfigsRequest{Resources: []kafka.IncrementalAlterConfigsRequestResource{{
			ResourceType: kafka.ResourceTypeTopic, ResourceName: topic, Configs: []kafka.IncrementalAlterConfigsRequestConfig{
				{Name: "retention.ms", Value: "3600000", ConfigOperation: kafka.ConfigOperationSet}}}}}); err != nil {
			return "", err
		}
		answer, err := cl.DescribeConfigs(ctx, &kafka.DescribeConfigsRequest{Resources: []kafka.DescribeConfigRequestResource{
			{ResourceType: kafka.ResourceTypeTopic, ResourceName: topic, ConfigNames: []string{"retention.ms"}}}})
		if err != nil {
			return "", err
		}
		return answer.Resources[0].ConfigEntries[0].ConfigValue, answer.Resources[0].Error
	})
	wire.Tell("ends", func() (int64, error) {
		n, err := partitions()
		if err != nil {
			return 0, err
		}
		var asked []kafka.OffsetRequest
		for p := range n {
			asked = append(asked, kafka.LastOffsetOf(p))
		}
		answer, err := cl.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{topic: asked}})
		if err != nil {
			return 0, err
		}
		var sum int64
		for _, p := range answer.Topics[topic] {
			sum += p.LastOffset
		}
		return sum, nil
	})
	wire.Tell("groups", func() (string, error) {
		answer, err := cl.ListGroups(ctx, &kafka.ListGroupsRequest{})
		if err != nil {
			return "", err
		}
		found := false
		for _, g := range answer.Groups {
			found = found || g.GroupID == group
		}
		return wire.YesNo(found), answer.Error
	})
	wire.Tell("group", func() (string, error) {
		answer, err := cl.DescribeGroups(ctx, &kafka.DescribeGroupsRequest{GroupIDs: []string{group}})
		if err != nil {
			return "", err
		}
		return answer.Groups[0].GroupState, answer.Groups[0].Error
	})
	wire.Tell("group-offsets", func() (int64, error) {
		var sum int64
		all, err := offsets()
		for _, at := range all {
			sum += at
		}
		return sum, err
	})
	wire.Tell("alter-offsets", func() (int64, error) {
		if _, err := cl.OffsetCommit(ctx, &kafka.OffsetCommitRequest{GroupID: group, GenerationID: -1,
			Topics: map[string][]kafka.OffsetCommit{topic: {{Partition: 0, Offset: 3}}}}); err != nil {
			return 0, err
		}
		all, err := offsets()
		return all[0], err
	})
	wire.Tell("delete-offsets", func() (int, error) {
		if _, err := cl.OffsetDelete(ctx, &kafka.OffsetDeleteRequest{GroupID: group, Topics: map[string][]int{topic: {0}}}); err != nil {
			return 0, err
		}
		all, err := offsets()
		return len(all), err
	})
	wire.Tell("delete-group", func() (string, error) {
		answer, err := cl.DeleteGroups(ctx, &kafka.DeleteGroupsRequest{GroupIDs: []string{group}})
		if err == nil {
			err = answer.Errors[group]
		}
		return "done", err
	})
	wire.Tell("add-partitions", func() (int, error) {
		answer, err := cl.CreatePartitions(ctx, &kafka.CreatePartitionsRequest{Topics: []kafka.TopicPartitionsConfig{{Name: topic, Count: 6}}})
		if err == nil {
			err = answer.Errors[topic]
		}
		if err != nil {
			return 0, err
		}
		return partitions()
	})
	wire.Tell("delete-topic", func() (string, error) {
		answer, err := cl.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{topic}})
		if err == nil {
			err = answer.Errors[topic]
		}
		return "done", err
	})
}
