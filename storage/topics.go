package storage

import (
	"context"

	"sluice/storage/object"
)

// Topics are all topics under one root. Safe for concurrent use.
type Topics struct{}

// Open reads the catalogue (not the tables: those open on first use).
func Open(ctx context.Context, store object.Store, options Options) (*Topics, error) {
	return nil, nil
}

// Options are the broker-wide settings of storage.
type Options struct{}

// All lists the topics, sorted by name, from memory.
func (ts *Topics) All() []TopicInfo { return nil }

// Lookup finds a topic by name, LookupID by id, from memory.
func (ts *Topics) Lookup(name string) (TopicInfo, bool)   { return TopicInfo{}, false }
func (ts *Topics) LookupID(id [16]byte) (TopicInfo, bool) { return TopicInfo{}, false }

// Topic answers the open topic, opening it on first use. ErrUnknownTopic,
// ErrUnavailable, ErrStopped.
func (ts *Topics) Topic(ctx context.Context, name string) (*Topic, error) { return nil, nil }

// Create makes a topic: version 0 of its table. The loser of a race adopts the
// winner's and gets ErrTopicExists with the winner's info. config holds Kafka
// topic keys; validateOnly checks and makes nothing.
func (ts *Topics) Create(ctx context.Context, name string, partitions int32, config map[string]string, validateOnly bool) (TopicInfo, error) {
	return TopicInfo{}, nil
}

// Delete deletes a topic as a commit of its table. id may be zero; otherwise
// only that incarnation is deleted (ErrUnknownTopic).
func (ts *Topics) Delete(ctx context.Context, name string, id [16]byte) error { return nil }

// Close commits what is pending, within ctx, and stops.
func (ts *Topics) Close(ctx context.Context) error { return nil }

// ValidName says why name cannot be a topic's name, or nil.
func ValidName(name string) error { return nil }
