// Package offsets keeps the committed offsets and the memberships of consumer
// groups in a Delta table, <root>/_sluice/consumer_offsets, tied to the versions
// of the topics' tables.
package offsets

import (
	"context"
	"time"

	"sluice/storage/object"
)

// Offset is one committed offset.
type Offset struct {
	Topic       string
	TopicID     [16]byte // keeps a re-created topic from inheriting it
	Partition   int32
	Offset      int64
	LeaderEpoch int32 // -1: not given
	Metadata    string
	// TableVersion is the newest version of the topic's table when the offset
	// was committed, -1 if the topic was not open.
	TableVersion int64
	Committed    time.Time
	// Expires is set by the retention_time of old clients; zero means that the
	// broker's retention counts.
	Expires time.Time
}

// Offsets are the groups' committed offsets and memberships. Safe for concurrent use.
type Offsets struct{}

// Options are the settings of the offsets table.
type Options struct {
	// Retention is how long the offsets of an empty group are kept
	// (offsets.retention.minutes, default 7 days).
	Retention time.Duration
}

// Open loads the table, or makes it, and takes it over.
func Open(ctx context.Context, store object.Store, options Options) (*Offsets, error) {
	return nil, nil
}

// Wait is the coming end of a commit.
type Wait struct {
	done chan struct{}
	err  error
}

// Done is closed when the commit is a version of the table, or has failed.
func (w *Wait) Done() <-chan struct{} { return w.done }

// Err tells which; call it after Done is closed.
func (w *Wait) Err() error { return w.err }

// Commit commits offsets of a group. It never blocks; concurrent commits of all
// groups share one version. Offsets that have not changed are not written again
// unless their expiry is near.
func (o *Offsets) Commit(group string, commits []Offset) *Wait { return nil }

// Fetch answers a group's committed offset of a partition. The topic's id must
// be the one that it was committed for.
func (o *Offsets) Fetch(group, topic string, topicID [16]byte, partition int32) (Offset, bool) {
	return Offset{}, false
}

// Group lists all committed offsets of a group, sorted by topic and partition.
func (o *Offsets) Group(group string) []Offset { return nil }

// Groups lists the names of all groups that have offsets, sorted.
func (o *Offsets) Groups() []string { return nil }

// KeepGroup keeps the membership record of a group (an encoded group.Record);
// nil forgets it.
func (o *Offsets) KeepGroup(group string, record []byte) *Wait { return nil }

// Memberships are the membership records that were loaded at Open, by group.
func (o *Offsets) Memberships() map[string][]byte { return nil }

// DeleteGroup forgets a group's offsets and membership.
func (o *Offsets) DeleteGroup(group string) *Wait { return nil }

// DeleteOffsets forgets single partitions of a group; Delete of a topic does so
// for all groups.
func (o *Offsets) DeleteOffsets(group, topic string, partitions []int32) *Wait { return nil }
func (o *Offsets) DeleteTopic(topic string) *Wait                              { return nil }

// Version is the table's newest version.
func (o *Offsets) Version() int64 { return 0 }

// Close commits what is pending, within ctx, and stops.
func (o *Offsets) Close(ctx context.Context) error { return nil }
