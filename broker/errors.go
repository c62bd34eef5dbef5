package broker

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"

	"sluice/protocol/record"
	"sluice/storage"
)

// sentinels are the errors of storage and of a request's context with the
// Kafka error that each is to a client. A retriable one makes clients come back
// by themselves: only what can pass may be one.
var sentinels = []struct {
	err   error
	kafka *kerr.Error
}{
	{storage.ErrUnknownTopic, kerr.UnknownTopicOrPartition},
	{storage.ErrUnknownPartition, kerr.UnknownTopicOrPartition},
	{storage.ErrTopicExists, kerr.TopicAlreadyExists},
	{storage.ErrInvalidTopic, kerr.InvalidTopicException},
	{storage.ErrInvalidPartition, kerr.InvalidPartitions},
	{storage.ErrInvalidConfig, kerr.InvalidConfig},
	{storage.ErrOffsetOutOfRange, kerr.OffsetOutOfRange},
	{storage.ErrVersionGone, kerr.OffsetOutOfRange},
	{storage.ErrNotLeader, kerr.NotLeaderForPartition},
	{storage.ErrClosed, kerr.NotLeaderForPartition}, // clients look for another broker, or for this one's successor
	{storage.ErrUnavailable, kerr.KafkaStorageError},
	{storage.ErrNoRoom, kerr.KafkaStorageError},
	{storage.ErrStopped, kerr.KafkaStorageError},
	{storage.ErrOutOfOrderSequence, kerr.OutOfOrderSequenceNumber},
	{storage.ErrInvalidProducerEpoch, kerr.InvalidProducerEpoch},
	{context.DeadlineExceeded, kerr.RequestTimedOut},
	{context.Canceled, kerr.RequestTimedOut}, // nobody reads the answer: the connection is gone
}

// errorCode is the one place where an error becomes a Kafka error code: 0 for
// nil, UNKNOWN_SERVER_ERROR for one that nobody has thought of.
func errorCode(err error) int16 {
	if err == nil {
		return 0
	}
	if known, ok := errors.AsType[*kerr.Error](err); ok { // broker/group speaks Kafka
		return known.Code
	}
	if refused, ok := errors.AsType[*record.Error](err); ok {
		return refused.Code
	}
	for _, s := range sentinels {
		if errors.Is(err, s.err) {
			return s.kafka.Code
		}
	}
	return kerr.UnknownServerError.Code
}

// fetchErrorCode is errorCode for the partitions of a Fetch response. A Java
// consumer dies of an IllegalStateException if it finds a code there that it does
// not expect (FetchCollector.handleInitializeErrors), so all others become one
// that it retries.
func fetchErrorCode(err error) int16 {
	switch code := errorCode(err); code {
	case 0,
		kerr.UnknownServerError.Code,
		kerr.OffsetOutOfRange.Code,
		kerr.CorruptMessage.Code,
		kerr.UnknownTopicOrPartition.Code,
		kerr.NotLeaderForPartition.Code,
		kerr.ReplicaNotAvailable.Code,
		kerr.TopicAuthorizationFailed.Code,
		kerr.KafkaStorageError.Code,
		kerr.FencedLeaderEpoch.Code,
		kerr.UnknownLeaderEpoch.Code,
		kerr.OffsetNotAvailable.Code,
		kerr.UnknownTopicID.Code,
		kerr.InconsistentTopicID.Code:
		return code
	default:
		return kerr.KafkaStorageError.Code
	}
}

// errorMessage is what a response tells a person about an error, nil for none.
func errorMessage(err error) *string {
	if err == nil {
		return nil
	}
	text := err.Error()
	return &text
}
