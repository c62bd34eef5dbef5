// The client confluent-kafka-go: librdkafka, which its module brings along. See
// ../../README.md.
package main

import (
	"context"
	"os"
	"strings"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"

	"sluice/integration/clients/go/wire"
)

var ctx = context.Background()

const timeoutMs = 30_000

func main() {
	a := os.Args[2:]
	switch os.Args[1] {
	case "create":
		answers, err := adminClient(a[0]).CreateTopics(ctx, []kafka.TopicSpecification{
			{Topic: a[1], NumPartitions: int(wire.Number(a[2])), ReplicationFactor: 1}})
		wire.Must(err)
		wire.Must(ok(answers[0].Error))
	case "produce":
		produce(a[0], a[1], a[2])
	case "read":
		read(a[0], a[1], int(wire.Number(a[2])), a[3])
	case "consume":
		consume(a[0], a[1], a[2])
	case "admin":
		admin(adminClient(a[0]), a[1], a[2])
	}
}

// ok is nil for librdkafka's "no error".
func ok(e kafka.Error) error {
	if e.Code() == kafka.ErrNoError {
		return nil
	}
	return e
}

func adminClient(brokers string) *kafka.AdminClient {
	adm, err := kafka.NewAdminClient(&kafka.ConfigMap{"bootstrap.servers": brokers})
	wire.Must(err)
	return adm
}

func consumer(brokers, group string) *kafka.Consumer {
	c, err := kafka.NewConsumer(&kafka.ConfigMap{"bootstrap.servers": brokers, "group.id": group, "auto.offset.reset": "earliest",
		"session.timeout.ms": 10000, "heartbeat.interval.ms": 1000})
	wire.Must(err)
	return c
}

func produce(brokers, topic, codec string) {
	p, err := kafka.NewProducer(&kafka.ConfigMap{"bootstrap.servers": brokers, "enable.idempotence": true, "compression.type": codec, "linger.ms": 20})
	wire.Must(err)
	records := wire.Records()
	go func() {
		for i, r := range records {
			m := &kafka.Message{TopicPartition: kafka.TopicPartition{Topic: &topic, Partition: r.Partition}, // -1 is PartitionAny
				Key: r.Key, Value: r.Value, Timestamp: time.UnixMilli(r.Timestamp), Opaque: i}
			for _, h := range r.Headers {
				m.Headers = append(m.Headers, kafka.Header{Key: h.Name, Value: h.Value})
			}
			wire.Must(p.Produce(m, nil))
		}
	}()
	for acked := 0; acked < len(records); {
		switch e := (<-p.Events()).(type) {
		case *kafka.Message:
			wire.Must(e.TopicPartition.Error)
			wire.Acked(e.Opaque.(int), e.TopicPartition.Partition, int64(e.TopicPartition.Offset))
			acked++
		case kafka.Error:
			wire.Must(e)
		}
	}
	p.Close()
}

func print(m *kafka.Message) {
	r := wire.Record{Partition: m.TopicPartition.Partition, Offset: int64(m.TopicPartition.Offset), Timestamp: m.Timestamp.UnixMilli(), Key: m.Key, Value: m.Value}
	for _, h := range m.Headers {
		r.Headers = append(r.Headers, wire.Header{Name: h.Key, Value: h.Value})
	}
	wire.Print(r)
}

// poll prints the next record, if there is one soon.
func poll(c *kafka.Consumer) int {
	switch e := c.Poll(100).(type) {
	case *kafka.Message:
		wire.Must(e.TopicPartition.Error)
		print(e)
		return 1
	case kafka.Error:
		if e.IsFatal() {
			wire.Must(e)
		}
	}
	return 0
}

func read(brokers, topic string, count int, from string) {
	c := consumer(brokers, "unused")
	meta, err := c.GetMetadata(&topic, false, timeoutMs)
	wire.Must(err)
	var places []kafka.TopicPartition
	for _, p := range meta.Topics[topic].Partitions {
		at := kafka.OffsetBeginning
		if _, n := wire.From(from); n > 0 {
			at = kafka.Offset(n)
		}
		places = append(places, kafka.TopicPartition{Topic: &topic, Partition: p.ID, Offset: at})
	}
	if strings.HasPrefix(from, "timestamp=") {
		places, err = c.OffsetsForTimes(places, timeoutMs)
		wire.Must(err)
	}
	wire.Must(c.Assign(places))
	for count > 0 {
		count -= poll(c)
	}
}

func consume(brokers, topic, group string) {
	c := consumer(brokers, group)
	wire.Must(c.Subscribe(topic, func(_ *kafka.Consumer, e kafka.Event) error {
		if e, ok := e.(kafka.AssignedPartitions); ok {
			assigned := []int32{}
			for _, p := range e.Partitions {
				assigned = append(assigned, p.Partition)
			}
			wire.Assigned(assigned)
		}
		return nil
	}))
	leave := wire.Leave()
	for {
		select {
		case <-leave:
			wire.Must(c.Close())
			return
		default:
			poll(c)
		}
	}
}

func admin(adm *kafka.AdminClient, topic, group string) {
	first := kafka.TopicPartition{Topic: &topic, Partition: 0}
	partitions := func() (int, error) {
		meta, err := adm.GetMetadata(&topic, false, timeoutMs)
		if err != nil {
			return 0, err
		}
		return len(meta.Topics[topic].Partitions), nil
	}
	offsets := func() (map[int32]int64, error) {
		answer, err := adm.ListConsumerGroupOffsets(ctx, []kafka.ConsumerGroupTopicPartitions{{Group: group}})
		if err != nil {
			return nil, err
		}
		at := map[int32]int64{}
		for _, p := range answer.ConsumerGroupsTopicPartitions[0].Partitions {
			at[p.Partition] = int64(p.Offset)
		}
		return at, nil
	}
	wire.Tell("brokers", func() (int, error) {
		answer, err := adm.DescribeCluster(ctx)
		return len(answer.Nodes), err
	})
	wire.Tell("topics", func() (string, error) {
		meta, err := adm.GetMetadata(nil, true, timeoutMs)
		if err != nil {
			return "", err
		}
		_, found := meta.Topics[topic]
		return wire.YesNo(found), nil
	})
	wire.Tell("partitions", partitions)
	wire.Tell("config", func() (string, error) {
		resource := kafka.ConfigResource{Type: kafka.ResourceTopic, Name: topic, Config: []kafka.ConfigEntry{
			{Name: "retention.ms", Value: "3600000", IncrementalOperation: kafka.AlterConfigOpTypeSet}}}
		if _, err := adm.IncrementalAlterConfigs(ctx, []kafka.ConfigResource{resource}); err != nil {
			return "", err
		}
		answers, err := adm.DescribeConfigs(ctx, []kafka.ConfigResource{{Type: kafka.ResourceTopic, Name: topic}})
		if err != nil {
			return "", err
		}
		return answers[0].Config["retention.ms"].Value, ok(answers[0].Error)
	})
	wire.Tell("ends", func() (int64, error) {
		asked := map[kafka.TopicPartition]kafka.OffsetSpec{}
		n, err := partitions()
		if err != nil {
			return 0, err
		}
		for p := range n {
			asked[kafka.TopicPartition{Topic: &topic, Partition: int32(p)}] = kafka.LatestOffsetSpec
		}
		answer, err := adm.ListOffsets(ctx, asked)
		var sum int64
		for _, info := range answer.ResultInfos {
			sum += int64(info.Offset)
		}
		return sum, err
	})
	wire.Tell("delete-records", func() (int64, error) {
		to := first
		to.Offset = 5
		answer, err := adm.DeleteRecords(ctx, []kafka.TopicPartition{to})
		if err != nil {
			return 0, err
		}
		return int64(answer.DeleteRecordsResults[0].DeletedRecords.LowWatermark), nil
	})
	wire.Tell("groups", func() (string, error) {
		answer, err := adm.ListConsumerGroups(ctx)
		found := false
		for _, g := range answer.Valid {
			found = found || g.GroupID == group
		}
		return wire.YesNo(found), err
	})
	wire.Tell("group", func() (string, error) {
		answer, err := adm.DescribeConsumerGroups(ctx, []string{group})
		if err != nil {
			return "", err
		}
		return answer.ConsumerGroupDescriptions[0].State.String(), nil
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
		to := first
		to.Offset = 3
		if _, err := adm.AlterConsumerGroupOffsets(ctx, []kafka.ConsumerGroupTopicPartitions{{Group: group, Partitions: []kafka.TopicPartition{to}}}); err != nil {
			return 0, err
		}
		all, err := offsets()
		return all[0], err
	})
	wire.Tell("delete-group", func() (string, error) {
		answer, err := adm.DeleteConsumerGroups(ctx, []string{group})
		if err == nil {
			err = ok(answer.ConsumerGroupResults[0].Error)
		}
		return "done", err
	})
	wire.Tell("add-partitions", func() (int, error) {
		answers, err := adm.CreatePartitions(ctx, []kafka.PartitionsSpecification{{Topic: topic, IncreaseTo: 6}})
		if err == nil {
			err = ok(answers[0].Error)
		}
		if err != nil {
			return 0, err
		}
		return partitions()
	})
	wire.Tell("delete-topic", func() (string, error) {
		answers, err := adm.DeleteTopics(ctx, []string{topic})
		if err == nil {
			err = ok(answers[0].Error)
		}
		return "done", err
	})
}
