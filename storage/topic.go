// Package storage keeps topics in Delta tables: partitions, offsets, append,
// read, watermarks. Kafka meets Delta here (and in package offsets), nowhere else.
package storage

import (
	"context"

	"sluice/protocol/record"
)

// TopicInfo is what the catalogue knows of a topic without opening its table.
type TopicInfo struct {
	Name       string
	ID         [16]byte // the table's metaData.id
	Partitions int32
	// LeaderEpoch is -1 as long as the topic has not been opened here.
	LeaderEpoch int32
}

// Topic is one open topic. Safe for concurrent use.
type Topic struct{}

// Info is the topic as it is now.
func (t *Topic) Info() TopicInfo { return TopicInfo{} }

// TableURL is where engines find the topic's table.
func (t *Topic) TableURL() string { return "" }

// Version is the newest version of the topic's table that is known here.
func (t *Topic) Version() int64 { return 0 }

// Config is the topic's own configuration: the keys that differ from the defaults.
func (t *Topic) Config() map[string]string { return nil }

// Alter replaces keys of the topic's configuration as one commit; a nil value
// restores the default. ErrInvalidConfig names the key.
func (t *Topic) Alter(ctx context.Context, changes map[string]*string) error { return nil }

// AddPartitions raises the number of partitions to total.
func (t *Topic) AddPartitions(ctx context.Context, total int32) error { return nil }

// Append adds a produced batch to a partition. It never blocks: the batch joins
// the filling pool and the Wait resolves when its Delta version is committed
// (or it is refused). It takes ownership of the batch's memory, which is
// patched in place, kept in the tail cache and served to consumers.
//
// eager says that the producer sends nothing more until it is answered, so that
// waiting for company only delays it.
func (t *Topic) Append(partition int32, batch record.Batch, eager bool) *Wait { return nil }

// Wait is the coming result of an Append.
type Wait struct {
	done   chan struct{}
	result Appended
}

// Appended is where a batch went.
type Appended struct {
	BaseOffset int64
	// LogAppendTime in ms if the topic stamps records itself, otherwise -1.
	LogAppendTime int64
	LogStart      int64
	Version       int64 // the version that committed the batch
	// Err is nil once the batch is committed, a record error or one of this
	// package's if it was refused.
	Err error
	// Records lists the records that were the reason of a refusal, if known (KIP-467).
	Records []BadRecord
}

// BadRecord is one record that a batch was refused for.
type BadRecord struct {
	Index  int32
	Reason string
}

// Done is closed when the result is known.
func (w *Wait) Done() <-chan struct{} { return w.done }

// Result is the result; call it after Done is closed.
func (w *Wait) Result() Appended { return w.result }

// Offsets are a partition's watermarks.
type Offsets struct {
	LogStart      int64
	LastStable    int64 // below it nothing changes any more; read_committed ends here
	HighWatermark int64 // the next offset of what is committed
}

// Offsets answers the watermarks of a partition.
func (t *Topic) Offsets(partition int32) (Offsets, error) { return Offsets{}, nil }

// Read is the result of a Read: whole record batches as on the wire, the first
// of which contains the offset asked for (or the next one behind a gap).
type Read struct {
	Offsets
	Batches [][]byte
	Bytes   int
}

// Read reads from offset on up to about maxBytes, at least one whole batch if
// there is one and atLeastOne is set, otherwise only what fits. It answers with no
// batches at the high watermark. The batches are shared: read only.
func (t *Topic) Read(ctx context.Context, partition int32, offset int64, maxBytes int, atLeastOne bool) (Read, error) {
	return Read{}, nil
}

// Notify sends on ch, without blocking, whenever the topic has a new version,
// until cancel is called.
func (t *Topic) Notify(ch chan<- struct{}) (cancel func()) { return nil }

// OffsetForTime finds the first record with a timestamp of at least ms.
// offset is -1 if there is none.
func (t *Topic) OffsetForTime(ctx context.Context, partition int32, ms int64) (offset, timestamp int64, err error) {
	return -1, -1, nil
}

// MaxTimestamp finds the record with the greatest timestamp; -1, -1 in an empty partition.
func (t *Topic) MaxTimestamp(ctx context.Context, partition int32) (offset, timestamp int64, err error) {
	return -1, -1, nil
}

// OffsetAtVersion is the next offset that the partition had at a version of the
// table: what had been committed by then. ErrVersionGone if the log does not hold it.
func (t *Topic) OffsetAtVersion(ctx context.Context, partition int32, version int64) (int64, error) {
	return 0, nil
}

// EpochEnd answers OffsetForLeaderEpoch (KIP-320): the largest epoch not above
// the one asked for and where it ends; -1, -1 if unknown.
func (t *Topic) EpochEnd(partition int32, epoch int32) (int32, int64, error) { return -1, -1, nil }

// EpochRange is the span of leader epochs that a request may name: older than
// min is fenced, newer than max is unknown here.
func (t *Topic) EpochRange() (min, max int32) { return 0, 0 }

// DeleteRecords moves the log start offset up (KIP-107). before -1 means the
// high watermark. It returns the new log start offset.
func (t *Topic) DeleteRecords(ctx context.Context, partition int32, before int64) (int64, error) {
	return 0, nil
}

// Size is the number of bytes that a partition's records take up in the table, estimated.
func (t *Topic) Size(partition int32) int64 { return 0 }
