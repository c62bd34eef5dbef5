package broker

import (
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// awaitOffsetsTopic is __consumer_offsets once it is there.
func awaitOffsetsTopic(s *site) kadm.TopicDetail {
	s.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		topics, err := s.admin.ListTopicsWithInternal(s.t.Context())
		if err != nil {
			s.t.Fatal(err)
		}
		if topic, ok := topics[offsetsTopic]; ok {
			return topic
		}
	}
	s.t.Fatal("__consumer_offsets was not made")
	return kadm.TopicDetail{}
}

func TestTheOffsetsTopicComesWithTheFirstGroup(t *testing.T) {
	s := newSite(t, nil)
	before, err := s.admin.ListTopicsWithInternal(t.Context())
	if err != nil || len(before) != 0 {
		t.Fatalf("before any group: %v %v", before.Names(), err)
	}
	coordinators := s.admin.FindGroupCoordinators(t.Context(), "g")
	if err := coordinators.Error(); err != nil {
		t.Fatal(err)
	}
	topic := awaitOffsetsTopic(s)
	if topic.Err != nil || !topic.IsInternal || len(topic.Partitions) != 1 || topic.ID == (kadm.TopicID{}) {
		t.Errorf("%+v", topic)
	}
	if leader := topic.Partitions[0].Leader; leader != coordinators["g"].NodeID {
		t.Errorf("node %d leads the partition, node %d coordinates the group", leader, coordinators["g"].NodeID)
	}
	configs, err := s.admin.DescribeTopicConfigs(t.Context(), offsetsTopic)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range configs[0].Configs {
		if c.Key == "cleanup.policy" && c.MaybeValue() != "compact" {
			t.Errorf("cleanup.policy is %s", c.MaybeValue())
		}
	}
	ends, err := s.admin.ListEndOffsets(t.Context(), offsetsTopic)
	if end, ok := ends.Lookup(offsetsTopic, 0); err != nil || !ok || end.Err != nil || end.Offset != 0 {
		t.Errorf("it ends at %+v, %v", end, err)
	}
}

func TestNoClientWritesToTheOffsetsTopic(t *testing.T) {
	s := newSite(t, nil)
	s.admin.FindGroupCoordinators(t.Context(), "g")
	awaitOffsetsTopic(s)
	for name, latest := range map[string]int16{"by name": 12, "by id": 13} {
		versions := kversion.Stable()
		versions.SetMaxKeyVersion(kmsg.Produce.Int16(), latest)
		client := s.client(kgo.MaxVersions(versions), kgo.DefaultProduceTopic(offsetsTopic))
		err := client.ProduceSync(t.Context(), kgo.StringRecord("v")).FirstErr()
		if !errors.Is(err, kerr.InvalidTopicException) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAnInternalTopicIsNotMadeByProducing(t *testing.T) {
	s := newSite(t, func(c *Config) { c.AutoCreateTopics = true })
	client := s.client(kgo.AllowAutoTopicCreation(), kgo.UnknownTopicRetries(1), kgo.DefaultProduceTopic(transactionsTopic))
	if err := client.ProduceSync(t.Context(), kgo.StringRecord("v")).FirstErr(); err == nil {
		t.Error("a record went into __transaction_state")
	}
	if topics, err := s.admin.ListTopicsWithInternal(t.Context()); err != nil || len(topics) != 0 {
		t.Errorf("%v %v", topics.Names(), err)
	}
}
