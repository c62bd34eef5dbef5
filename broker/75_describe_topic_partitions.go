package broker

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"sluice/storage"
)

// maxDescribedPartitions bounds one response, as max.request.partition.size.limit
// does in Kafka.
const maxDescribedPartitions = 2000

// DescribeTopicPartitions, version 0 (KIP-966): the partitions of topics in the
// order of their names, in pages: a response that is full names the partition
// that the next request's cursor should be. No topics means all.
func (b *Broker) describeTopicPartitions(ctx context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.DescribeTopicPartitionsRequest)
	resp := req.ResponseKind().(*kmsg.DescribeTopicPartitionsResponse)
	resp.Topics = []kmsg.DescribeTopicPartitionsResponseTopic{}

	room := max(min(req.ResponsePartitionLimit, maxDescribedPartitions), 1)
	topics, partitions := len(req.Topics), 0
	for _, t := range req.Topics {
		partitions += int(b.partitionsOf(t.Topic))
	}
	if topics == 0 {
		topics, partitions = b.topics.Totals()
	}
	if err := b.expect(ctx, r, metadataBytes(topics, min(partitions, int(room)))); err != nil {
		return nil, err
	}
	defer b.turn(r)()
	names, err := b.describedNames(req)
	if err != nil {
		// There is no error of the whole response: each topic gets it.
		for _, t := range req.Topics {
			topic := kmsg.NewDescribeTopicPartitionsResponseTopic()
			topic.Topic, topic.ErrorCode = kmsg.StringPtr(t.Topic), errorCode(err)
			topic.Partitions = []kmsg.DescribeTopicPartitionsResponseTopicPartition{}
			resp.Topics = append(resp.Topics, topic)
		}
		return resp, nil
	}

	for _, name := range names {
		first := int32(0)
		if req.Cursor != nil && req.Cursor.Topic == name {
			first = req.Cursor.Partition
		}
		if room == 0 {
			resp.NextCursor = nextCursor(name, first)
			break
		}
		topic, described := b.describeTopic(name, first, room)
		resp.Topics = append(resp.Topics, topic)
		room -= described
		if next := first + described; topic.ErrorCode == 0 && next < b.partitionsOf(name) {
			resp.NextCursor = nextCursor(name, next)
			break
		}
	}
	return resp, nil
}

// describedNames are the topics of the request from the cursor on, each once.
func (b *Broker) describedNames(req *kmsg.DescribeTopicPartitionsRequest) ([]string, error) {
	var names []string
	for _, t := range req.Topics {
		names = append(names, t.Topic)
	}
	all := len(names) == 0
	if all {
		for _, info := range b.topics.All() {
			names = append(names, info.Name)
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if req.Cursor == nil {
		return names, nil
	}
	from, found := slices.BinarySearch(names, req.Cursor.Topic)
	switch {
	case !found && !all:
		return nil, refuse(kerr.InvalidRequest, "DescribeTopicPartitionsRequest topic list should contain the cursor topic: %s", req.Cursor.Topic)
	case req.Cursor.Partition < 0:
		return nil, refuse(kerr.InvalidRequest, "DescribeTopicPartitionsRequest cursor partition must be valid: %d", req.Cursor.Partition)
	}
	return names[from:], nil
}

// describeTopic describes at most room partitions of a topic, from first on, and
// says how many.
func (b *Broker) describeTopic(name string, first, room int32) (topic kmsg.DescribeTopicPartitionsResponseTopic, described int32) {
	topic = kmsg.NewDescribeTopicPartitionsResponseTopic()
	topic.Topic = &name
	topic.Partitions = []kmsg.DescribeTopicPartitionsResponseTopicPartition{}
	info, ok := b.topics.Lookup(name)
	if !ok {
		err := storage.ValidName(name)
		if err == nil {
			err = unknownTopic(name)
		}
		topic.ErrorCode = errorCode(err)
		return topic, 0
	}
	topic.TopicID, topic.IsInternal = info.ID, internalTopic(name)
	topic.AuthorizedOperations = topicOperations
	self := []int32{b.config.NodeID}
	for partition := first; partition < info.Partitions && described < room; partition++ {
		p := kmsg.NewDescribeTopicPartitionsResponseTopicPartition()
		p.Partition, p.LeaderID, p.LeaderEpoch = partition, b.config.NodeID, info.LeaderEpoch
		p.Replicas, p.ISR = self, self
		p.EligibleLeaderReplicas, p.LastKnownELR, p.OfflineReplicas = []int32{}, []int32{}, []int32{}
		topic.Partitions = append(topic.Partitions, p)
		described++
	}
	return topic, described
}

func (b *Broker) partitionsOf(name string) int32 {
	info, _ := b.topics.Lookup(name)
	return info.Partitions
}

func nextCursor(topic string, partition int32) *kmsg.DescribeTopicPartitionsResponseNextCursor {
	c := kmsg.NewDescribeTopicPartitionsResponseNextCursor()
	c.Topic, c.Partition = topic, partition
	return &c
}
