package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"sluice/offsets"
)

// OffsetDelete, version 0 (KIP-496): forgets offsets that a group has committed,
// of topics that none of its members is subscribed to. What was never committed
// is deleted without an error.
func (b *Broker) offsetDelete(ctx context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.OffsetDeleteRequest)
	resp := req.ResponseKind().(*kmsg.OffsetDeleteResponse)
	ctx, cancel := within(ctx, 0)
	defer cancel()

	names := make([]string, len(req.Topics))
	for i, t := range req.Topics {
		names[i] = t.Topic
	}
	subscribed, err := b.groups.Manager().CheckOffsetDelete(req.Group, names)
	if err != nil {
		resp.ErrorCode = errorCode(err)
		return resp, nil
	}

	var waits []*offsets.Wait
	for _, t := range req.Topics {
		_, known := b.topics.Lookup(t.Topic)
		code := int16(0)
		switch {
		case !known:
			code = kerr.UnknownTopicOrPartition.Code
		case subscribed[t.Topic]:
			code = kerr.GroupSubscribedToTopic.Code
		}
		topic := kmsg.NewOffsetDeleteResponseTopic()
		topic.Topic = t.Topic
		var partitions []int32
		for _, p := range t.Partitions {
			partition := kmsg.NewOffsetDeleteResponseTopicPartition()
			partition.Partition, partition.ErrorCode = p.Partition, code
			topic.Partitions = append(topic.Partitions, partition)
			partitions = append(partitions, p.Partition)
		}
		if code == 0 && len(partitions) > 0 {
			waits = append(waits, b.offsets.DeleteOffsets(req.Group, t.Topic, partitions))
		}
		resp.Topics = append(resp.Topics, topic)
	}
	for _, w := range waits { // of one commit
		if err := offsetsCommitted(ctx, w); err != nil {
			resp.ErrorCode, resp.Topics = coordinatorErrorCode(err), nil
			return resp, nil
		}
	}
	return resp, nil
}
