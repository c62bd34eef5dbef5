package storage

import "errors"

// Errors that a caller decides by. The Kafka error that each becomes is the
// broker's business; see broker/errors.go.
var (
	ErrUnknownTopic     = errors.New("unknown topic")
	ErrUnknownPartition = errors.New("unknown partition")
	ErrTopicExists      = errors.New("topic exists")
	ErrInvalidTopic     = errors.New("illegal topic name")
	ErrInvalidPartition = errors.New("illegal number of partitions")
	ErrInvalidConfig    = errors.New("illegal topic config")
	ErrOffsetOutOfRange = errors.New("offset out of range")

	// ErrNotLeader: another broker has taken the topic over, or takes it over
	// now. What was pending here is not in the table and never will be, unless it
	// wraps delta.ErrMoved: after a long pause that cannot be told any more.
	ErrNotLeader = errors.New("not the leader of the topic")
	// ErrUnavailable: the store does not answer, or answers with errors. Retriable.
	ErrUnavailable = errors.New("store unavailable")
	// ErrNoRoom: the tables that are in use leave no memory for this one. Retriable.
	ErrNoRoom = errors.New("no memory for another topic")
	// ErrStopped: the topic cannot be served because of what its table holds
	// (a newer protocol, a foreign change). The text says what to do.
	ErrStopped = errors.New("topic stopped")
	// ErrClosed: the broker is shutting down. Retriable at another one.
	ErrClosed = errors.New("closed")

	ErrOutOfOrderSequence   = errors.New("out of order sequence number")
	ErrInvalidProducerEpoch = errors.New("producer epoch is older than the current one")
	ErrVersionGone          = errors.New("table version is not in the log (any more)")
)
