// The client Sarama, with its ClusterAdmin. See ../../README.md.
package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/IBM/sarama"

	"sluice/integration/clients/go/wire"
)

func main() {
	a := os.Args[2:]
	switch os.Args[1] {
	case "create":
		wire.Must(clusterAdmin(a[0]).CreateTopic(a[1], &sarama.TopicDetail{NumPartitions: int32(wire.Number(a[2])), ReplicationFactor: 1}, false))
	case "produce":
		produce(a[0], a[1], a[2])
	case "read":
		read(a[0], a[1], int(wire.Number(a[2])), a[3])
	case "consume":
		consume(a[0], a[1], a[2])
	case "admin":
		admin(clusterAdmin(a[0]), client(a[0], config()), a[1], a[2])
	}
}

// config speaks as the newest Kafka that this Sarama knows, not its default of 2.8.
func config() *sarama.Config {
	c := sarama.NewConfig()
	c.Version = sarama.MaxVersion
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Consumer.Group.Session.Timeout = 10 * time.Second
	c.Consumer.Group.Heartbeat.Interval = time.Second
	c.Producer.Return.Successes = true
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Producer.Idempotent = true
	c.Producer.Flush.Frequency = 20 * time.Millisecond
	c.Net.MaxOpenRequests = 1 // which its idempotent producer wants
	return c
}

func client(brokers string, c *sarama.Config) sarama.Client {
	cl, err := sarama.NewClient([]string{brokers}, c)
	wire.Must(err)
	return cl
}

func clusterAdmin(brokers string) sarama.ClusterAdmin {
	adm, err := sarama.NewClusterAdmin([]string{brokers}, config())
	wire.Must(err)
	return adm
}

// chooser sends a record to its partition, if it has one.
type chooser struct{ sarama.Partitioner }

func (c chooser) Partition(m *sarama.ProducerMessage, n int32) (int32, error) {
	if p := m.Metadata.(meta).partition; p >= 0 {
		return p, nil
	}
	return c.Partitioner.Partition(m, n)
}

// MessageRequiresConsistency lets no other partition be chosen.
func (chooser) MessageRequiresConsistency(*sarama.ProducerMessage) bool { return true }

type meta struct {
	index     int
	partition int32
}

func produce(brokers, topic, codec string) {
	c := config()
	c.Producer.Partitioner = func(topic string) sarama.Partitioner { return chooser{sarama.NewHashPartitioner(topic)} }
	c.Producer.Compression = map[string]sarama.CompressionCodec{"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP,
		"snappy": sarama.CompressionSnappy, "lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD}[codec]
	producer, err := sarama.NewAsyncProducerFromClient(client(brokers, c))
	wire.Must(err)
	records := wire.Records()
	go func() {
		for i, r := range records {
			m := &sarama.ProducerMessage{Topic: topic, Timestamp: time.UnixMilli(r.Timestamp), Metadata: meta{i, r.Partition}}
			if r.Key != nil {
				m.Key = sarama.ByteEncoder(r.Key)
			}
			if r.Value != nil {
				m.Value = sarama.ByteEncoder(r.Value)
			}
			for _, h := range r.Headers {
				m.Headers = append(m.Headers, sarama.RecordHeader{Key: []byte(h.Name), Value: h.Value})
			}
			producer.Input() <- m
		}
	}()
	for range records {
		select {
		case m := <-producer.Successes():
			wire.Acked(m.Metadata.(meta).index, m.Partition, m.Offset)
		case e := <-producer.Errors():
			wire.Must(e)
		}
	}
	wire.Must(producer.Close())
}

func print(m *sarama.ConsumerMessage) {
	r := wire.Record{Partition: m.Partition, Offset: m.Offset, Timestamp: m.Timestamp.UnixMilli(), Key: m.Key, Value: m.Value}
	for _, h := range m.Headers {
		r.Headers = append(r.Headers, wire.Header{Name: string(h.Key), Value: h.Value})
	}
	wire.Print(r)
}

func read(brokers, topic string, count int, from string) {
	cl := client(brokers, config())
	consumer, err := sarama.NewConsumerFromClient(cl)
	wire.Must(err)
	partitions, err := cl.Partitions(topic)
	wire.Must(err)
	all := make(chan *sarama.ConsumerMessage)
	for _, p := range partitions {
		at := sarama.OffsetOldest
		switch kind, n := wire.From(from); kind {
		case "offset":
			at = n
		case "timestamp":
			at, err = cl.GetOffset(topic, p, n) // -1, the newest, where no record is as new
			wire.Must(err)
		}
		records, err := consumer.ConsumePartition(topic, p, at)
		wire.Must(err)
		go func() {
			for m := range records.Messages() {
				all <- m
			}
		}()
	}
	for range count {
		print(<-all)
	}
}

// member takes the records of the partitions that it is given.
type member struct{}

func (member) Setup(s sarama.ConsumerGroupSession) error {
	for _, partitions := range s.Claims() {
		wire.Assigned(slices.Clone(partitions))
	}
	return nil
}

func (member) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (member) ConsumeClaim(s sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for m := range claim.Messages() {
		print(m)
		s.MarkMessage(m, "")
	}
	return nil
}

func consume(brokers, topic, group string) {
	members, err := sarama.NewConsumerGroup([]string{brokers}, group, config())
	wire.Must(err)
	ctx, cancel := context.WithCancel(context.Background())
	leave := wire.Leave()
	go func() {
		<-leave
		cancel()
	}()
	for ctx.Err() == nil { // each generation is one call
		if err := members.Consume(ctx, []string{topic}, member{}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			time.Sleep(100 * time.Millisecond)
		}
	}
	wire.Must(members.Close())
}

func admin(adm sarama.ClusterAdmin, cl sarama.Client, topic, group string) {
	partitions := func() (int, error) {
		details, err := adm.DescribeTopics([]string{topic})
		if err != nil {
			return 0, err
		}
		return len(details[0].Partitions), nil
	}
	offsets := func() (map[int32]int64, error) {
		at := map[int32]int64{}
		answer, err := adm.ListConsumerGroupOffsets(group, nil)
		if err != nil {
			return nil, err
		}
		for p, block := range answer.Blocks[topic] {
			at[p] = block.Offset
		}
		return at, nil
	}
	wire.Tell("brokers", func() (int, error) {
		brokers, _, err := adm.DescribeCluster()
		return len(brokers), err
	})
	wire.Tell("topics", func() (string, error) {
		all, err := adm.ListTopics()
		_, ok := all[topic]
		return wire.YesNo(ok), err
	})
	wire.Tell("partitions", partitions)
	wire.Tell("config", func() (string, error) {
		hour := "3600000"
		if err := adm.IncrementalAlterConfig(sarama.TopicResource, topic, map[string]sarama.IncrementalAlterConfigsEntry{
			"retention.ms": {Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &hour}}, false); err != nil {
			return "", err
		}
		entries, err := adm.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: topic, ConfigNames: []string{"retention.ms"}})
		if err != nil {
			return "", err
		}
		return entries[0].Value, nil
	})
	wire.Tell("ends", func() (int64, error) {
		var sum int64
		n, err := partitions()
		for p := range n {
			at, e := cl.GetOffset(topic, int32(p), sarama.OffsetNewest)
			if e != nil {
				err = e
			}
			sum += at
		}
		return sum, err
	})
	wire.Tell("delete-records", func() (int64, error) {
		if err := adm.DeleteRecords(topic, map[int32]int64{0: 5}); err != nil {
			return 0, err
		}
		return cl.GetOffset(topic, 0, sarama.OffsetOldest)
	})
	wire.Tell("groups", func() (string, error) {
		groups, err := adm.ListConsumerGroups()
		_, ok := groups[group]
		return wire.YesNo(ok), err
	})
	wire.Tell("group", func() (string, error) {
		groups, err := adm.DescribeConsumerGroups([]string{group})
		if err != nil {
			return "", err
		}
		return groups[0].State, nil
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
		if _, err := adm.AlterConsumerGroupOffsets(group, map[string]map[int32]sarama.OffsetAndMetadata{topic: {0: {Offset: 3, LeaderEpoch: -1}}}, nil); err != nil {
			return 0, err
		}
		all, err := offsets()
		return all[0], err
	})
	wire.Tell("delete-offsets", func() (int, error) {
		if err := adm.DeleteConsumerGroupOffset(group, topic, 0); err != nil {
			return 0, err
		}
		all, err := offsets()
		return len(all), err
	})
	wire.Tell("delete-group", func() (string, error) { return "done", adm.DeleteConsumerGroup(group) })
	wire.Tell("add-partitions", func() (int, error) {
		if err := adm.CreatePartitions(topic, 6, nil, false); err != nil {
			return 0, err
		}
		return partitions()
	})
	wire.Tell("delete-topic", func() (string, error) { return "done", adm.DeleteTopic(topic) })
}
