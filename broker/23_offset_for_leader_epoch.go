package broker

import (
	"context"
	"math"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// OffsetForLeaderEpoch, versions 2 to 4 (librdkafka asks for exactly 2): where a
// leader epoch ended, by which a consumer notices that the log it has read was cut
// off (KIP-320). -1, -1 if nothing is known of the epoch.
func (b *Broker) offsetForLeaderEpoch(ctx context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.OffsetForLeaderEpochRequest)
	resp := req.ResponseKind().(*kmsg.OffsetForLeaderEpochResponse)
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()

	resp.Topics = make([]kmsg.OffsetForLeaderEpochResponseTopic, len(req.Topics))
	each(len(req.Topics), func(i int) {
		t := kmsg.NewOffsetForLeaderEpochResponseTopic()
		t.Topic = req.Topics[i].Topic
		t.Partitions = make([]kmsg.OffsetForLeaderEpochResponseTopicPartition, len(req.Topics[i].Partitions))
		topic, unknown := b.known(ctx, t.Topic)
		for j, p := range req.Topics[i].Partitions {
			answer := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
			answer.Partition = p.Partition
			answer.LeaderEpoch, answer.EndOffset = -1, -1
			err := unknown
			if err == nil {
				err = checkEpoch(topic, p.CurrentLeaderEpoch)
			}
			if err == nil {
				answer.LeaderEpoch, answer.EndOffset, err = topic.EpochEnd(ctx, p.Partition, p.LeaderEpoch, math.MaxInt64)
			}
			if err != nil {
				answer.LeaderEpoch, answer.EndOffset = -1, -1
			}
			answer.ErrorCode = errorCode(err)
			t.Partitions[j] = answer
		}
		resp.Topics[i] = t
	})
	return resp, nil
}
