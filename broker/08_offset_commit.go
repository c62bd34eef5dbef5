package broker

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"sluice/broker/group"
	"sluice/offsets"
	"sluice/storage"
)

const (
	// maxOffsetMetadata bounds the text that comes with an offset, in bytes
	// [offset.metadata.max.bytes].
	maxOffsetMetadata = 4096
	// offsetCommitTimeout is how long the answer waits for the commit; then the
	// client is told to try again, which is harmless: the same offset is not
	// written twice. Kafka's offsets.commit.timeout.ms is 5 s; clients wait 30 s.
	offsetCommitTimeout = 10 * time.Second
)

// OffsetCommit, versions 2 to 10; from 10 on topics are given by id. Pipelined:
// what a connection commits joins the next version of the offsets' table in the
// order of its requests. Partitions fail by themselves (unknown, too much
// metadata); if the group does not allow the commit all fail with its error.
// retention_time of versions 2 to 4 becomes an expiry.
func (b *Broker) offsetCommit(_ context.Context, r *request) (answer, error) {
	req := r.body.(*kmsg.OffsetCommitRequest)
	resp := req.ResponseKind().(*kmsg.OffsetCommitResponse)

	commits, pending := b.planOffsetCommit(req, resp)
	if len(commits) == 0 {
		return func(context.Context) (kmsg.Response, error) { return resp, nil }, nil
	}
	now := b.groups.current()
	err := now.manager.CheckCommit(group.Commit{
		Group: req.Group, MemberID: req.MemberID, InstanceID: req.InstanceID, Generation: req.Generation, Version: r.version,
	})
	if err != nil {
		pending.fail(errorCode(err))
		return func(context.Context) (kmsg.Response, error) { return resp, nil }, nil
	}
	wait := now.term.Commit(req.Group, commits)
	return func(ctx context.Context) (kmsg.Response, error) {
		ctx, cancel := context.WithTimeout(ctx, offsetCommitTimeout)
		defer cancel()
		if err := offsetsCommitted(ctx, wait); err != nil {
			pending.fail(coordinatorErrorCode(err))
		}
		return resp, nil
	}, nil
}

// committing are the partitions of a response whose offsets are on their way.
type committing []*kmsg.OffsetCommitResponseTopicPartition

func (c committing) fail(code int16) {
	for _, p := range c {
		p.ErrorCode = code
	}
}

// planOffsetCommit fills in the response as if all went well, and answers what is
// to be committed for that.
func (b *Broker) planOffsetCommit(req *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse) ([]offsets.Offset, committing) {
	now := time.Now()
	var commits []offsets.Offset
	var pending committing
	resp.Topics = make([]kmsg.OffsetCommitResponseTopic, len(req.Topics))
	for i := range req.Topics {
		t, answer := &req.Topics[i], &resp.Topics[i]
		*answer = kmsg.NewOffsetCommitResponseTopic()
		answer.Topic, answer.TopicID = t.Topic, t.TopicID
		answer.Partitions = make([]kmsg.OffsetCommitResponseTopicPartition, len(t.Partitions))

		info, err := b.requestedTopic(req.Version >= 10, t.Topic, t.TopicID)
		version := b.tableVersion(info.Name)
		for j := range t.Partitions {
			in, out := &t.Partitions[j], &answer.Partitions[j]
			*out = kmsg.NewOffsetCommitResponseTopicPartition()
			out.Partition = in.Partition
			metadata := ""
			if in.Metadata != nil {
				metadata = *in.Metadata
			}
			switch {
			case err != nil:
				out.ErrorCode = errorCode(err)
			case in.Partition < 0 || in.Partition >= info.Partitions:
				out.ErrorCode = kerr.UnknownTopicOrPartition.Code
			case len(metadata) > maxOffsetMetadata:
				out.ErrorCode = kerr.OffsetMetadataTooLarge.Code
			default:
				pending = append(pending, out)
				commits = append(commits, offsets.Offset{
					Topic: info.Name, TopicID: info.ID, Partition: in.Partition,
					Offset: in.Offset, LeaderEpoch: in.LeaderEpoch, Metadata: metadata,
					TableVersion: version, Committed: now, Expires: expiry(now, req.RetentionTimeMillis),
				})
			}
		}
	}
	return commits, pending
}

// requestedTopic finds the topic that a request means, by id or by name.
func (b *Broker) requestedTopic(byID bool, name string, id [16]byte) (storage.TopicInfo, error) {
	if byID {
		return b.findTopic(nil, id)
	}
	return b.findTopic(&name, id)
}

// tableVersion is the newest version of a topic's table; -1 if the topic is not
// open, as a commit of offsets is no reason to open one.
func (b *Broker) tableVersion(name string) int64 {
	topic, ok := b.topics.OpenTopic(name)
	if !ok {
		return -1
	}
	return topic.Version()
}

// expiry is when an offset ends that is to be kept for a retention time in ms;
// -1, which newer versions cannot but say, leaves that to the broker: zero.
func expiry(now time.Time, retention int64) time.Time {
	if retention < 0 {
		return time.Time{}
	}
	return now.Add(time.Duration(min(retention, math.MaxInt64/int64(time.Millisecond))) * time.Millisecond)
}

// offsetsCommitted waits until offsets are committed, or ctx ends.
func offsetsCommitted(ctx context.Context, wait *offsets.Wait) error {
	select {
	case <-wait.Done():
		return wait.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// coordinatorErrorCode is what a failed commit of offsets is to a group's clients:
// they look for the coordinator again and retry, as they do when Kafka cannot
// write its offsets topic (GroupCoordinatorService).
func coordinatorErrorCode(err error) int16 {
	if known, ok := errors.AsType[*kerr.Error](err); ok {
		return known.Code
	}
	if errors.Is(err, offsets.ErrFenced) || errors.Is(err, offsets.ErrClosed) {
		return kerr.NotCoordinator.Code
	}
	return kerr.CoordinatorNotAvailable.Code
}
