package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"sluice/offsets"
	"sluice/storage"
)

// DeleteTopics, versions 1 to 6; from 6 on a topic is named or given by its id,
// not both. Deleting is a commit of the topic's table, after which the offsets
// that groups have committed for it are forgotten too. If delete.topic.enable is
// false each topic is refused, before version 3 as INVALID_REQUEST.
func (b *Broker) deleteTopics(ctx context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.DeleteTopicsRequest)
	resp := req.ResponseKind().(*kmsg.DeleteTopicsResponse)
	ctx, cancel := within(ctx, req.TimeoutMillis)
	defer cancel()

	wanted := req.Topics
	if r.version < 6 {
		wanted = nil
		for _, name := range req.TopicNames {
			t := kmsg.NewDeleteTopicsRequestTopic()
			t.Topic = kmsg.StringPtr(name)
			wanted = append(wanted, t)
		}
	}
	deletions := b.planDeletions(wanted, r.version)
	each(len(deletions), func(i int) {
		if d := &deletions[i]; d.err == nil {
			d.err = inTime(ctx, b.topics.Delete(ctx, d.info.Name, d.info.ID))
		}
	})
	b.forgetOffsets(ctx, deletions)

	resp.Topics = make([]kmsg.DeleteTopicsResponseTopic, len(deletions))
	for i, d := range deletions {
		t := kmsg.NewDeleteTopicsResponseTopic()
		t.Topic, t.TopicID = d.name, d.id
		if d.info.Name != "" {
			t.Topic, t.TopicID = &d.info.Name, d.info.ID
		}
		t.ErrorCode, t.ErrorMessage = errorCode(d.err), errorMessage(d.err)
		resp.Topics[i] = t
	}
	return resp, nil
}

// deletion is one topic of a request: as the client gave it, and what that is.
type deletion struct {
	name *string
	id   [16]byte
	info storage.TopicInfo // zero unless err is nil
	err  error
}

// planDeletions finds the topics. One that is given twice, also once by name and
// once by id, is not deleted.
func (b *Broker) planDeletions(topics []kmsg.DeleteTopicsRequestTopic, version int16) []deletion {
	names, ids := map[string]int{}, map[[16]byte]int{}
	for _, t := range topics {
		if t.Topic != nil {
			names[*t.Topic]++
		} else {
			ids[t.TopicID]++
		}
	}
	var deletions []deletion
	answered := map[string]bool{}
	for _, t := range topics {
		d := deletion{name: t.Topic, id: t.TopicID}
		key := string(t.TopicID[:])
		if t.Topic != nil {
			key = "name " + *t.Topic
		}
		switch {
		case answered[key]:
			continue
		case t.Topic != nil && t.TopicID != [16]byte{}:
			d.err = refuse(kerr.InvalidRequest, "You may not specify both topic name and topic id.")
		case t.Topic == nil && t.TopicID == [16]byte{}:
			d.err = refuse(kerr.InvalidRequest, "Neither topic name nor id were specified.")
		case t.Topic != nil && names[*t.Topic] > 1:
			d.err = refuse(kerr.InvalidRequest, "Duplicate topic name.")
		case t.Topic == nil && ids[t.TopicID] > 1:
			d.err = refuse(kerr.InvalidRequest, "Duplicate topic id.")
		case !b.config.DeleteTopics && version < 3:
			d.err = refuse(kerr.InvalidRequest, "Topic deletion is disabled.")
		case !b.config.DeleteTopics:
			d.err = refuse(kerr.TopicDeletionDisabled, "Topic deletion is disabled.")
		default:
			d.info, d.err = b.findTopic(t.Topic, t.TopicID)
		}
		if d.err == nil && t.Topic == nil && names[d.info.Name] > 0 {
			d.info, d.err = storage.TopicInfo{}, refuse(kerr.InvalidRequest, "The provided topic name maps to an ID that was already supplied.")
		}
		answered[key] = true
		deletions = append(deletions, d)
	}
	return deletions
}

// findTopic finds a topic by its name if there is one, otherwise by its id.
func (b *Broker) findTopic(name *string, id [16]byte) (storage.TopicInfo, error) {
	if name == nil {
		info, ok := b.topics.LookupID(id)
		if !ok {
			return info, refuse(kerr.UnknownTopicID, "This server does not host this topic ID.")
		}
		return info, nil
	}
	info, ok := b.topics.Lookup(*name)
	if !ok {
		return info, unknownTopic(*name)
	}
	return info, nil
}

// forgetOffsets drops what groups have committed for the topics that were
// deleted, in one commit. Should it not come to that, nothing inherits the
// offsets: they carry the id of the topic that is gone.
func (b *Broker) forgetOffsets(ctx context.Context, deletions []deletion) {
	var waits []*offsets.Wait
	for _, d := range deletions {
		if d.err == nil {
			waits = append(waits, b.offsets.DeleteTopic(d.info.Name))
		}
	}
	for _, w := range waits {
		select {
		case <-w.Done():
		case <-ctx.Done():
			return
		}
	}
}
