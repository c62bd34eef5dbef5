package broker

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"sluice/storage"
)

// ListOffsets, versions 0 to 11. A timestamp of 0 or more asks for the first
// record that is not older; a negative one has a meaning of its own, see the
// constants. Version 0, which old librdkafka sends, asks for a list of offsets,
// newest first, of which there are two: the end and the start.
//
// An extension of Sluice: a timestamp of -1000 or less asks for the next offset at
// version -1000 - timestamp of the topic's Delta table, so that plain Kafka clients
// can seek to what a query has seen. OFFSET_OUT_OF_RANGE if the log no longer has
// (or not yet has) that version.
const (
	latestOffset    = -1 // high watermark, or last stable offset for read_committed
	earliestOffset  = -2
	maxTimestamp    = -3 // the record with the greatest timestamp, v7 (KIP-734)
	earliestLocal   = -4 // v8 (KIP-405): all is local here
	lastTiered      = -5 // v9 (KIP-1005): nothing is tiered
	earliestPending = -6 // v11 (KIP-1023): nothing waits to be tiered
	tableVersion    = -1000
)

// sinceVersion is the API version from which on a negative timestamp is allowed.
var sinceVersion = map[int64]int16{maxTimestamp: 7, earliestLocal: 8, lastTiered: 9, earliestPending: 11}

func (b *Broker) listOffsets(ctx context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.ListOffsetsRequest)
	resp := req.ResponseKind().(*kmsg.ListOffsetsResponse)
	ctx, cancel := within(ctx, req.TimeoutMillis)
	defer cancel()

	resp.Topics = make([]kmsg.ListOffsetsResponseTopic, len(req.Topics))
	twice := duplicates(req.Topics)
	each(len(req.Topics), func(i int) {
		t := kmsg.NewListOffsetsResponseTopic()
		t.Topic = req.Topics[i].Topic
		t.Partitions = make([]kmsg.ListOffsetsResponseTopicPartition, len(req.Topics[i].Partitions))
		topic, err := b.known(ctx, t.Topic)
		for j, p := range req.Topics[i].Partitions {
			answer := kmsg.NewListOffsetsResponseTopicPartition()
			answer.Partition = p.Partition
			answer.Timestamp, answer.Offset, answer.LeaderEpoch = -1, -1, -1
			failed := err
			if failed == nil && twice[topicPartition{t.Topic, p.Partition}] {
				failed = kerr.InvalidRequest
			}
			if failed == nil {
				failed = findOffset(ctx, topic, req, &p, &answer)
			}
			answer.ErrorCode = errorCode(failed)
			t.Partitions[j] = answer
		}
		resp.Topics[i] = t
	})
	return resp, nil
}

type topicPartition struct {
	topic     string
	partition int32
}

// duplicates are the partitions that a request names twice, which Kafka refuses.
func duplicates(topics []kmsg.ListOffsetsRequestTopic) map[topicPartition]bool {
	seen, twice := map[topicPartition]bool{}, map[topicPartition]bool{}
	for i := range topics {
		for _, p := range topics[i].Partitions {
			tp := topicPartition{topics[i].Topic, p.Partition}
			if seen[tp] {
				twice[tp] = true
			}
			seen[tp] = true
		}
	}
	return twice
}

// known opens a topic whose offsets a client asks for: whatever is wrong with the
// name, the topic is unknown. That this broker leads it was so a moment ago: the offsets
// of one that was overtaken are too low, and a consumer that begins at its end, or takes
// it for all there is, would miss records or read them again.
func (b *Broker) known(ctx context.Context, name string) (*storage.Topic, error) {
	if _, ok := b.topics.Lookup(name); !ok {
		return nil, storage.ErrUnknownTopic
	}
	topic, err := b.topics.Topic(ctx, name)
	if err != nil {
		return nil, err
	}
	return topic, topic.Confirm(ctx)
}

// findOffset fills in the answer for one partition, of which it returns the error.
func findOffset(ctx context.Context, topic *storage.Topic, req *kmsg.ListOffsetsRequest, p *kmsg.ListOffsetsRequestTopicPartition, a *kmsg.ListOffsetsResponseTopicPartition) error {
	if err := checkEpoch(topic, p.CurrentLeaderEpoch); err != nil {
		return err
	}
	offsets, err := topic.Offsets(p.Partition)
	if err != nil {
		return err
	}
	end := offsets.HighWatermark
	if req.IsolationLevel == 1 {
		end = offsets.LastStable
	}
	offset, timestamp, err := offsetAt(ctx, topic, req.Version, p, offsets.LogStart, end)
	if err != nil {
		return err
	}
	if req.Version == 0 {
		a.OldStyleOffsets = oldStyle(p, offset, offsets.LogStart, end)
		return nil
	}
	a.Offset, a.Timestamp = offset, timestamp
	if p.Timestamp == latestOffset {
		_, a.LeaderEpoch = topic.EpochRange()
	}
	return nil
}

// offsetAt answers what a timestamp asks for; -1, -1 if there is none.
func offsetAt(ctx context.Context, topic *storage.Topic, version int16, p *kmsg.ListOffsetsRequestTopicPartition, start, end int64) (offset, timestamp int64, err error) {
	if since, ok := sinceVersion[p.Timestamp]; ok && version < since {
		return -1, -1, kerr.UnsupportedVersion
	}
	switch {
	case p.Timestamp == latestOffset:
		return end, -1, nil
	case p.Timestamp == earliestOffset, p.Timestamp == earliestLocal:
		return start, -1, nil
	case p.Timestamp == lastTiered, p.Timestamp == earliestPending:
		return -1, -1, nil
	case p.Timestamp == maxTimestamp:
		offset, timestamp, err = topic.MaxTimestamp(ctx, p.Partition)
	case p.Timestamp <= tableVersion:
		offset, err = topic.OffsetAtVersion(ctx, p.Partition, tableVersion-p.Timestamp)
		return max(offset, start), -1, err
	case p.Timestamp < 0:
		return -1, -1, kerr.UnsupportedVersion
	default:
		offset, timestamp, err = topic.OffsetForTime(ctx, p.Partition, p.Timestamp)
	}
	switch {
	case errors.Is(err, storage.ErrOffsetOutOfRange), err == nil && offset >= end:
		return -1, -1, nil // not (yet) to be seen by this reader
	case err != nil:
		return -1, -1, err
	}
	return offset, timestamp, nil
}

// oldStyle is the answer of version 0: at most max_num_offsets offsets up to the
// one found, newest first.
func oldStyle(p *kmsg.ListOffsetsRequestTopicPartition, found, start, end int64) []int64 {
	if found < 0 {
		found = end // no record is as new as that: all are older
	}
	list := []int64{found}
	if start < found {
		list = append(list, start)
	}
	return list[:min(len(list), int(max(p.MaxNumOffsets, 0)))]
}
