package broker

import (
	"context"
	"encoding/binary"
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"sluice/offsets"
	"sluice/storage"
)

// tableVersionTag is the tag of an extension of ours: a group in a request (version
// 8+) that has it, with any value, gets with each committed offset the version that
// the topic's table had then, 8 bytes big endian, under the same tag. Kafka's own
// tags count up from 0. By KIP-482 clients skip tags that they do not know, but
// librdkafka 2.0 loses its place in the answer, and it is not the only one: nobody
// gets a tag unasked.
const tableVersionTag = 10_000

// asksTableVersions tells whether a request has the tag.
func asksTableVersions(tags *kmsg.Tags) (asks bool) {
	tags.Each(func(tag uint32, _ []byte) { asks = asks || tag == tableVersionTag })
	return asks
}

// OffsetFetch, versions 1 to 10: committed offsets of a group, from 8 on of several
// groups, from 10 on of topics by id. No topics (null) means all. What was never
// committed, also of groups and topics that do not exist, is offset -1 without an
// error. All of that is as of a moment ago at most (offsets.Confirm). RequireStable is
// accepted: no transaction can hold an offset back.
func (b *Broker) offsetFetch(ctx context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.OffsetFetchRequest)
	resp := req.ResponseKind().(*kmsg.OffsetFetchResponse)

	if err := b.expect(ctx, r, b.committedBytes(req)); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	behind := b.offsets.Confirm(ctx)
	if r.version >= 8 {
		resp.Groups = make([]kmsg.OffsetFetchResponseGroup, 0, len(req.Groups))
		for i := range req.Groups {
			resp.Groups = append(resp.Groups, b.fetchOffsets(ctx, &req.Groups[i], r.version, behind))
		}
		return resp, nil
	}

	// Older versions ask for one group, with types of their own.
	one := kmsg.NewOffsetFetchRequestGroup()
	one.Group = req.Group
	for _, t := range req.Topics {
		topic := kmsg.NewOffsetFetchRequestGroupTopic()
		topic.Topic, topic.Partitions = t.Topic, t.Partitions
		one.Topics = append(one.Topics, topic)
	}
	if req.Topics != nil && one.Topics == nil {
		one.Topics = []kmsg.OffsetFetchRequestGroupTopic{} // none, not all
	}
	group := b.fetchOffsets(ctx, &one, r.version, behind)
	resp.ErrorCode = group.ErrorCode
	resp.Topics = make([]kmsg.OffsetFetchResponseTopic, 0, len(group.Topics))
	for _, t := range group.Topics {
		topic := kmsg.NewOffsetFetchResponseTopic()
		topic.Topic = t.Topic
		for _, p := range t.Partitions {
			topic.Partitions = append(topic.Partitions, kmsg.OffsetFetchResponseTopicPartition(p))
		}
		resp.Topics = append(resp.Topics, topic)
	}
	return resp, nil
}

// fetchOffsets answers for one group; behind says why what is known here may be too little.
func (b *Broker) fetchOffsets(ctx context.Context, req *kmsg.OffsetFetchRequestGroup, version int16, behind error) kmsg.OffsetFetchResponseGroup {
	answer := kmsg.NewOffsetFetchResponseGroup()
	answer.Group = req.Group
	tell := committedOffset
	if asksTableVersions(&req.UnknownTags) {
		tell = committedAtVersion
	}
	if behind != nil {
		// Another broker may have the groups: a member that begins at an old offset reads
		// again what was processed, and takes the group back with its next commit.
		answer.ErrorCode = coordinatorErrorCode(behind)
		return answer
	}
	answer.Topics = []kmsg.OffsetFetchResponseGroupTopic{}
	if req.Topics == nil && version >= 2 { // version 1 cannot ask for all
		answer.Topics = b.allOffsets(req.Group, tell)
		return answer
	}
	for i := range req.Topics {
		t := &req.Topics[i]
		topic := kmsg.NewOffsetFetchResponseGroupTopic()
		topic.Topic, topic.TopicID = t.Topic, t.TopicID
		topic.Partitions = make([]kmsg.OffsetFetchResponseGroupTopicPartition, 0, len(t.Partitions))
		info, err := b.requestedTopic(version >= 10, t.Topic, t.TopicID)
		if version < 10 && b.offsets.OfAnother(req.Group, t.Topic, info.ID) {
			// Either the topic was deleted, or another broker has made it: "none" would send the
			// group back to the start, or to the end.
			if info, err = b.topics.Refresh(ctx, t.Topic); err != nil && !errors.Is(err, storage.ErrUnknownTopic) {
				answer.Topics, answer.ErrorCode = nil, kerr.CoordinatorNotAvailable.Code
				return answer
			}
		}
		for _, partition := range t.Partitions {
			p := noOffset(partition)
			if err == nil {
				if o, ok := b.offsets.Fetch(req.Group, info.Name, info.ID, partition); ok {
					p = tell(o)
				}
			} else if version >= 10 { // UNKNOWN_TOPIC_ID; an unknown name has no offsets
				p.ErrorCode = errorCode(err)
			}
			topic.Partitions = append(topic.Partitions, p)
		}
		answer.Topics = append(answer.Topics, topic)
	}
	return answer
}

// committedBytes is about what the answer takes. It is known before the answer is made: one
// that had to wait for the memory of its metadata only then would hold all the rest meanwhile.
func (b *Broker) committedBytes(req *kmsg.OffsetFetchRequest) (n int) {
	if req.Version < 8 {
		n = b.groupBytes(req.Group, req.Topics == nil)
		for i := range req.Topics {
			t := &req.Topics[i]
			n += topicAnswer + partitionAnswer*len(t.Partitions) + b.offsets.SizeOf(req.Group, t.Topic, t.Partitions)
		}
	}
	for i := range req.Groups {
		g := &req.Groups[i]
		n += b.groupBytes(g.Group, g.Topics == nil)
		for j := range g.Topics {
			t := &g.Topics[j]
			name := t.Topic
			if info, err := b.requestedTopic(req.Version >= 10, t.Topic, t.TopicID); err == nil {
				name = info.Name
			}
			n += topicAnswer + partitionAnswer*len(t.Partitions) + b.offsets.SizeOf(g.Group, name, t.Partitions)
		}
	}
	return n
}

// groupBytes is what a group takes in the answer: all of its offsets and the list of them, or
// nothing but its name.
func (b *Broker) groupBytes(group string, all bool) int {
	if !all {
		return topicAnswer / 4
	}
	count, metadata := b.offsets.Size(group)
	return 2*partitionAnswer*count + metadata
}

// allOffsets are all offsets that a group has committed for topics that still are,
// each told by tell.
func (b *Broker) allOffsets(group string, tell func(offsets.Offset) kmsg.OffsetFetchResponseGroupTopicPartition) []kmsg.OffsetFetchResponseGroupTopic {
	topics := []kmsg.OffsetFetchResponseGroupTopic{}
	for _, o := range b.offsets.Group(group) { // sorted by topic
		if info, ok := b.topics.Lookup(o.Topic); !ok || info.ID != o.TopicID {
			continue // of a topic that was deleted, whose name another may have now
		}
		if n := len(topics); n == 0 || topics[n-1].Topic != o.Topic {
			topic := kmsg.NewOffsetFetchResponseGroupTopic()
			topic.Topic, topic.TopicID = o.Topic, o.TopicID
			topics = append(topics, topic)
		}
		last := &topics[len(topics)-1]
		last.Partitions = append(last.Partitions, tell(o))
	}
	return topics
}

// noOffset is the answer where nothing was committed. Its metadata is empty, not
// null, as Kafka's is.
func noOffset(partition int32) kmsg.OffsetFetchResponseGroupTopicPartition {
	p := kmsg.NewOffsetFetchResponseGroupTopicPartition()
	p.Partition, p.Offset, p.LeaderEpoch, p.Metadata = partition, -1, -1, kmsg.StringPtr("")
	return p
}

func committedOffset(o offsets.Offset) kmsg.OffsetFetchResponseGroupTopicPartition {
	p := kmsg.NewOffsetFetchResponseGroupTopicPartition()
	p.Partition, p.Offset, p.LeaderEpoch, p.Metadata = o.Partition, o.Offset, o.LeaderEpoch, kmsg.StringPtr(o.Metadata)
	return p
}

// committedAtVersion is for those who ask for table versions.
func committedAtVersion(o offsets.Offset) kmsg.OffsetFetchResponseGroupTopicPartition {
	p := committedOffset(o)
	if o.TableVersion >= 0 {
		p.UnknownTags.Set(tableVersionTag, binary.BigEndian.AppendUint64(nil, uint64(o.TableVersion)))
	}
	return p
}
