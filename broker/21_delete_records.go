package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"sluice/storage"
)

// DeleteRecords, versions 0 to 2 (KIP-107): moves the log start offset of
// partitions up, -1 to the high watermark. An offset above that is
// OFFSET_OUT_OF_RANGE, one below the log start offset changes nothing. Topics that
// are only compacted keep their records (POLICY_VIOLATION).
func (b *Broker) deleteRecords(ctx context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.DeleteRecordsRequest)
	resp := req.ResponseKind().(*kmsg.DeleteRecordsResponse)
	ctx, cancel := within(ctx, req.TimeoutMillis)
	defer cancel()

	resp.Topics = make([]kmsg.DeleteRecordsResponseTopic, len(req.Topics))
	each(len(req.Topics), func(i int) {
		resp.Topics[i] = b.deleteTopicRecords(ctx, &req.Topics[i])
	})
	return resp, nil
}

func (b *Broker) deleteTopicRecords(ctx context.Context, t *kmsg.DeleteRecordsRequestTopic) kmsg.DeleteRecordsResponseTopic {
	answer := kmsg.NewDeleteRecordsResponseTopic()
	answer.Topic = t.Topic
	answer.Partitions = make([]kmsg.DeleteRecordsResponseTopicPartition, len(t.Partitions))

	topic, err := b.deletableTopic(ctx, t.Topic)
	// Several at once, so that they can share versions of the topic's table.
	each(len(t.Partitions), func(i int) {
		p := kmsg.NewDeleteRecordsResponseTopicPartition()
		p.Partition, p.LowWatermark = t.Partitions[i].Partition, -1
		partitionErr := err
		if partitionErr == nil {
			p.LowWatermark, partitionErr = deletePartitionRecords(ctx, topic, p.Partition, t.Partitions[i].Offset)
		}
		p.ErrorCode = errorCode(inTime(ctx, partitionErr))
		answer.Partitions[i] = p
	})
	return answer
}

// deletableTopic opens a topic whose cleanup.policy lets records be deleted.
func (b *Broker) deletableTopic(ctx context.Context, name string) (*storage.Topic, error) {
	if _, ok := b.topics.Lookup(name); !ok {
		return nil, unknownTopic(name)
	}
	topic, err := b.topics.Topic(ctx, name)
	if err != nil {
		return nil, err
	}
	if settings := topic.Settings(); settings.Compact && !settings.Delete {
		return nil, refuse(kerr.PolicyViolation, "Records of %s can not be deleted due to the configured policy", name)
	}
	return topic, nil
}

func deletePartitionRecords(ctx context.Context, topic *storage.Topic, partition int32, before int64) (int64, error) {
	if before < -1 {
		return -1, storage.ErrOffsetOutOfRange
	}
	lowWatermark, err := topic.DeleteRecords(ctx, partition, before)
	if err != nil {
		return -1, err
	}
	return lowWatermark, nil
}
