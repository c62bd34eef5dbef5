package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"sluice/protocol/record"
	"sluice/storage"
)

// Produce, versions 3 to 13 (13 names topics by id). It is pipelined: batches
// join their topics in the order of arrival and each is answered when the version
// that holds it is committed, for acks=1 as for acks=-1. With acks=0 there is no
// answer; an error closes the connection, so that the client asks for metadata.
//
// Each partition succeeds or fails by itself. timeout.ms bounds the wait: after
// REQUEST_TIMED_OUT the batch may still be committed, and an idempotent producer's
// retry joins it. Transactions are not served: their batches are INVALID_TXN_STATE,
// as Kafka answers a batch outside of a transaction.

const (
	// openTimeout bounds how long a request waits for a topic's table to be opened;
	// clients give up after 30 s (request.timeout.ms).
	openTimeout = 10 * time.Second
	// produceTimeout stands for a request's timeout of 0 or less.
	produceTimeout = 30 * time.Second
)

var errAcks0 = errors.New("a batch with acks=0 was refused")

// produced is a partition of a Produce request.
type produced struct {
	topic     string // its name, whatever the request calls it by
	partition int32
	wait      *storage.Wait // nil if err is set
	err       error
}

func (b *Broker) produce(ctx context.Context, r *request) (answer, error) {
	req := r.body.(*kmsg.ProduceRequest)
	topics := make([][]produced, len(req.Topics))
	for i := range req.Topics {
		topics[i] = b.produceTopic(ctx, r, req, &req.Topics[i])
	}
	return func(ctx context.Context) (kmsg.Response, error) {
		resp := req.ResponseKind().(*kmsg.ProduceResponse)
		awaitProduced(ctx, r.received.Add(timeoutOf(req)), topics)
		resp.Topics = make([]kmsg.ProduceResponseTopic, len(req.Topics))
		var refused error
		for i := range req.Topics {
			t := kmsg.NewProduceResponseTopic()
			t.Topic, t.TopicID = req.Topics[i].Topic, req.Topics[i].TopicID
			t.Partitions = make([]kmsg.ProduceResponseTopicPartition, len(topics[i]))
			for j := range topics[i] {
				p := &topics[i][j]
				t.Partitions[j] = p.response()
				if t.Partitions[j].ErrorCode != 0 && refused == nil {
					refused = fmt.Errorf("%w: %s partition %d: %w", errAcks0, t.Topic, p.partition, kerr.ErrorForCode(t.Partitions[j].ErrorCode))
				}
			}
			resp.Topics[i] = t
		}
		if req.Acks == 0 {
			return nil, refused
		}
		return resp, nil
	}, nil
}

// produceTopic appends the batches for one topic.
func (b *Broker) produceTopic(ctx context.Context, r *request, req *kmsg.ProduceRequest, t *kmsg.ProduceRequestTopic) []produced {
	results := make([]produced, len(t.Partitions))
	topic, err := b.produceTarget(ctx, req, t)
	name := t.Topic
	if err == nil {
		name = topic.Info().Name
	}
	for i := range t.Partitions {
		p := &results[i]
		p.topic = name
		p.partition = t.Partitions[i].Partition
		if p.err = err; err != nil {
			continue
		}
		if p.err = checkProduced(t.Partitions[i].Records, req.Version); p.err == nil {
			p.wait = topic.Append(p.partition, t.Partitions[i].Records, r.sender)
		}
	}
	return results
}

// produceTarget finds the topic, if the request may write to it at all.
func (b *Broker) produceTarget(ctx context.Context, req *kmsg.ProduceRequest, t *kmsg.ProduceRequestTopic) (*storage.Topic, error) {
	if req.Acks < -1 || req.Acks > 1 {
		return nil, kerr.InvalidRequiredAcks
	}
	if req.TransactionID != nil {
		b.warnings.warn("transactions are not supported: batch refused", "transactional_id", *req.TransactionID)
		return nil, errTransactions
	}
	name := t.Topic
	if req.Version >= 13 {
		info, ok := b.topics.LookupID(t.TopicID)
		if !ok {
			return nil, kerr.UnknownTopicID
		}
		name = info.Name
	}
	if internalTopic(name) {
		return nil, kerr.InvalidTopicException
	}
	if _, ok := b.topics.Lookup(name); !ok {
		return nil, storage.ErrUnknownTopic
	}
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	topic, err := b.topics.Topic(ctx, name)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return nil, storage.ErrUnavailable
	case err != nil:
		return nil, err
	case req.Version >= 13 && topic.Info().ID != t.TopicID: // deleted and made again meanwhile
		return nil, kerr.UnknownTopicID
	}
	return topic, nil
}

// checkProduced refuses what depends on the request and not on the topic. The rest is
// Append's, bytes that are no batch included.
func checkProduced(records []byte, version int16) error {
	batch, _, err := record.Next(records)
	switch {
	case err != nil:
		return nil
	case batch.Attributes().Transactional():
		return errTransactions
	case batch.Attributes().Codec() == record.Zstd && version < 7: // KIP-110
		return fmt.Errorf("%w: zstd needs Produce version 7", record.ErrCodec)
	}
	return nil
}

// errTransactions is what a batch of a transaction is answered.
var errTransactions = refuse(kerr.InvalidTxnState, "Transactions are not supported by this broker.")

func timeoutOf(req *kmsg.ProduceRequest) time.Duration {
	if req.TimeoutMillis <= 0 {
		return produceTimeout
	}
	return time.Duration(req.TimeoutMillis) * time.Millisecond
}

// awaitProduced waits for all batches of a request, at most until the deadline.
// What is pending after it is storage's, within storage's own bound of memory.
func awaitProduced(ctx context.Context, deadline time.Time, topics [][]produced) {
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	var late error
	for i := range topics {
		for j := range topics[i] {
			p := &topics[i][j]
			if p.wait == nil {
				continue
			}
			if late == nil {
				select {
				case <-p.wait.Done():
					continue
				case <-timer.C:
					late = kerr.RequestTimedOut
				case <-ctx.Done():
					late = storage.ErrClosed
				}
			}
			select {
			case <-p.wait.Done():
			default:
				p.err = late
			}
		}
	}
}

// response is the answer for one partition.
func (p *produced) response() kmsg.ProduceResponseTopicPartition {
	resp := kmsg.NewProduceResponseTopicPartition()
	resp.Partition = p.partition
	resp.BaseOffset, resp.LogAppendTime, resp.LogStartOffset = -1, -1, -1
	if p.err != nil {
		resp.ErrorCode, resp.ErrorMessage = errorCode(p.err), errorMessage(p.err)
		return resp
	}
	result := p.wait.Result()
	if result.Err != nil {
		resp.ErrorCode, resp.ErrorMessage = errorCode(result.Err), errorMessage(result.Err)
		if named, whole := recordErrors(result.Err, p.topic, p.partition); named != nil {
			resp.ErrorRecords, resp.ErrorMessage = named, whole
		}
		return resp
	}
	resp.BaseOffset, resp.LogAppendTime, resp.LogStartOffset = result.BaseOffset, result.LogAppendTime, result.LogStart
	return resp
}
