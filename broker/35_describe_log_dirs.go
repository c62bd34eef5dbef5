package broker

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"sluice/storage"
)

// DescribeLogDirs, versions 1 to 5 (KIP-113, KIP-827): one directory, the URL of
// the root, with the size of each partition in the store. A topic that a request
// names is opened for it; among all topics (null) those that are idle count as 0,
// since a tool that shows a list must not open every table. The size of an object
// store is unknown (-1). Unknown topics and partitions are left out, as in Kafka.
func (b *Broker) describeLogDirs(ctx context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.DescribeLogDirsRequest)
	resp := req.ResponseKind().(*kmsg.DescribeLogDirsResponse)
	ctx, cancel := within(ctx, 0)
	defer cancel()

	dir := kmsg.NewDescribeLogDirsResponseDir()
	dir.Dir = b.logDir()
	dir.TotalBytes, dir.UsableBytes = -1, -1
	if req.Topics == nil {
		if err := b.expect(ctx, r, metadataBytes(b.topics.Totals())/2); err != nil {
			return nil, err
		}
		defer b.turn(r)()
		for _, info := range b.topics.All() {
			topic, _ := b.topics.OpenTopic(info.Name)
			dir.Topics = append(dir.Topics, describeLogDirsTopic(info, topic, nil))
		}
	} else {
		n := 0
		for i := range req.Topics {
			info, _ := b.topics.Lookup(req.Topics[i].Topic)
			n += topicAnswer + partitionAnswer/2*int(info.Partitions)
		}
		if err := b.expect(ctx, r, n); err != nil {
			return nil, err
		}
		topics := make([]*kmsg.DescribeLogDirsResponseDirTopic, len(req.Topics))
		each(len(req.Topics), func(i int) {
			info, ok := b.topics.Lookup(req.Topics[i].Topic)
			if !ok {
				return
			}
			topic, err := b.topics.Topic(ctx, info.Name)
			if err != nil {
				return // its size is not known now; the others' are
			}
			t := describeLogDirsTopic(info, topic, req.Topics[i].Partitions)
			topics[i] = &t
		})
		for _, t := range topics {
			if t != nil && len(t.Partitions) > 0 {
				dir.Topics = append(dir.Topics, *t)
			}
		}
	}
	resp.Dirs = append(resp.Dirs, dir)
	return resp, nil
}

// describeLogDirsTopic describes the partitions of a topic, all if none are named.
// topic is nil if it is not open.
func describeLogDirsTopic(info storage.TopicInfo, topic *storage.Topic, partitions []int32) kmsg.DescribeLogDirsResponseDirTopic {
	t := kmsg.NewDescribeLogDirsResponseDirTopic()
	t.Topic = info.Name
	for partition := range info.Partitions {
		if partitions != nil && !slices.Contains(partitions, partition) {
			continue
		}
		p := kmsg.NewDescribeLogDirsResponseDirTopicPartition()
		p.Partition = partition
		if topic != nil {
			p.Size = topic.Size(partition)
		}
		t.Partitions = append(t.Partitions, p)
	}
	return t
}
