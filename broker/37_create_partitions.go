package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// CreatePartitions, versions 0 to 3: raises the number of partitions of topics,
// each by itself; it never shrinks one (INVALID_PARTITIONS). A manual assignment is
// checked and otherwise of no consequence, as in CreateTopics.
func (b *Broker) createPartitions(ctx context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.CreatePartitionsRequest)
	resp := req.ResponseKind().(*kmsg.CreatePartitionsResponse)
	ctx, cancel := within(ctx, req.TimeoutMillis)
	defer cancel()

	times := map[string]int{}
	for i := range req.Topics {
		times[req.Topics[i].Topic]++
	}
	room := b.partitionRoom()
	var (
		wanted   []*kmsg.CreatePartitionsRequestTopic
		errs     []error
		answered = map[string]bool{}
	)
	for i := range req.Topics {
		t := &req.Topics[i]
		if answered[t.Topic] {
			continue
		}
		answered[t.Topic] = true
		var err error
		if times[t.Topic] > 1 {
			err = refuse(kerr.InvalidRequest, "Duplicate topic name.")
		} else {
			err = b.checkPartitions(t, room)
		}
		wanted, errs = append(wanted, t), append(errs, err)
	}
	each(len(wanted), func(i int) {
		if errs[i] == nil && !req.ValidateOnly {
			errs[i] = inTime(ctx, b.topics.AddPartitions(ctx, wanted[i].Topic, wanted[i].Count))
		}
	})

	resp.Topics = make([]kmsg.CreatePartitionsResponseTopic, len(wanted))
	for i, t := range wanted {
		answer := kmsg.NewCreatePartitionsResponseTopic()
		answer.Topic = t.Topic
		answer.ErrorCode, answer.ErrorMessage = errorCode(errs[i]), errorMessage(errs[i])
		resp.Topics[i] = answer
	}
	return resp, nil
}

// checkPartitions follows ReplicationControlManager.createPartitions.
func (b *Broker) checkPartitions(t *kmsg.CreatePartitionsRequestTopic, room *partitionRoom) error {
	info, ok := b.topics.Lookup(t.Topic)
	if !ok {
		return unknownTopic(t.Topic)
	}
	switch {
	case t.Count == info.Partitions:
		return refuse(kerr.InvalidPartitions, "Topic already has %d partition(s).", info.Partitions)
	case t.Count < info.Partitions:
		return refuse(kerr.InvalidPartitions, "The topic %s currently has %d partition(s); %d would not be an increase.", t.Topic, info.Partitions, t.Count)
	}
	if most := b.maxPartitionsPerTopic(); t.Count > most {
		return refuse(kerr.InvalidPartitions, "A topic can have at most %d partitions.", most)
	}
	additional := t.Count - info.Partitions
	if t.Assignment != nil {
		if len(t.Assignment) != int(additional) {
			return refuse(kerr.InvalidReplicaAssignment, "Attempted to add %d additional partition(s), but only %d assignment(s) were specified.", additional, len(t.Assignment))
		}
		for _, a := range t.Assignment {
			if err := checkReplicas(a.Replicas, len(t.Assignment[0].Replicas)); err != nil {
				return err
			}
		}
	}
	return room.take(additional)
}
