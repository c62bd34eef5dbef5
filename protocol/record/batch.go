// Package record reads, checks and writes Kafka record batches of message
// format v2 (magic 2), the only one that Kafka 4 accepts.
//
// A Batch is the wire bytes themselves: accessors read the header in place and
// setters write it in place. Nothing here allocates per record. No function
// panics or allocates beyond its stated bounds on any input, provided that a
// Batch was made by Next, Check or Builder.
package record

import (
	"encoding/binary"
	"hash/crc32"
	"math"
)

// Layout of a batch (Kafka protocol, "Record Batch"). Lengths in bytes.
const (
	// HeaderSize is the length of a batch without its records.
	HeaderSize = 61
	// LogOverhead is the part of it that the batch's length field leaves out:
	// base offset and the length field itself.
	LogOverhead = 12

	offBaseOffset    = 0
	offLength        = 8
	offLeaderEpoch   = 12
	offMagic         = 16
	offCRC           = 17
	offAttributes    = 21 // the CRC covers all from here on
	offLastDelta     = 23
	offBaseTimestamp = 27
	offMaxTimestamp  = 35
	offProducerID    = 43
	offProducerEpoch = 51
	offBaseSequence  = 53
	offNumRecords    = 57
)

const (
	magicV2 = 2
	// minRecordSize is the shortest record with its length: the length,
	// attributes, timestamp and offset delta, key, value and header count.
	minRecordSize = 7
	// NoTimestamp is the timestamp of a record that has none.
	NoTimestamp = -1
	// NoProducer is the producer id of a batch without idempotence.
	NoProducer = -1
)

// castagnoli is CRC-32C, in hardware where the CPU has it.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A Batch is one whole record batch: its header and its records, compressed or
// not. It is at least HeaderSize long and as long as its length field says.
// Like any slice it is not safe to modify concurrently with other use.
type Batch []byte

// Empty makes a batch without records that covers the offsets from first to last, or as
// many of them as a batch can. Kafka's log cleaner leaves such a batch where all
// records are gone (DefaultRecordBatch.writeEmptyHeader); a consumer that reads it
// goes on behind last.
func Empty(first, last int64) Batch {
	b := make(Batch, HeaderSize)
	b.SetBaseOffset(first)
	binary.BigEndian.PutUint32(b[offLength:], HeaderSize-LogOverhead)
	b.SetLeaderEpoch(-1)
	b[offMagic] = magicV2
	binary.BigEndian.PutUint32(b[offLastDelta:], uint32(min(last-first, math.MaxInt32)))
	none := int64(NoTimestamp)
	binary.BigEndian.PutUint64(b[offBaseTimestamp:], uint64(none))
	binary.BigEndian.PutUint64(b[offMaxTimestamp:], uint64(none))
	none = NoProducer
	binary.BigEndian.PutUint64(b[offProducerID:], uint64(none))
	binary.BigEndian.PutUint16(b[offProducerEpoch:], math.MaxUint16) // -1
	binary.BigEndian.PutUint32(b[offBaseSequence:], math.MaxUint32)  // -1
	b.setCRC()
	return b
}

// BaseOffset returns the offset of the first record.
func (b Batch) BaseOffset() int64 { return int64(binary.BigEndian.Uint64(b[offBaseOffset:])) }

// LeaderEpoch returns the epoch of the leader that appended the batch.
func (b Batch) LeaderEpoch() int32 { return int32(binary.BigEndian.Uint32(b[offLeaderEpoch:])) }

// CRC returns the checksum in the header.
func (b Batch) CRC() uint32 { return binary.BigEndian.Uint32(b[offCRC:]) }

// Attributes returns the batch's flags.
func (b Batch) Attributes() Attributes { return Attributes(binary.BigEndian.Uint16(b[offAttributes:])) }

// LastOffsetDelta returns the distance from the base offset to the last one
// that the batch covers, which may be past its last record.
func (b Batch) LastOffsetDelta() int32 { return int32(binary.BigEndian.Uint32(b[offLastDelta:])) }

// LastOffset returns the last offset that the batch covers.
func (b Batch) LastOffset() int64 { return b.BaseOffset() + int64(b.LastOffsetDelta()) }

// BaseTimestamp returns what the records' timestamps are relative to, in ms.
func (b Batch) BaseTimestamp() int64 { return int64(binary.BigEndian.Uint64(b[offBaseTimestamp:])) }

// MaxTimestamp returns the largest timestamp of the records in ms, or with
// LogAppendTime the timestamp of all of them.
func (b Batch) MaxTimestamp() int64 { return int64(binary.BigEndian.Uint64(b[offMaxTimestamp:])) }

// ProducerID returns the idempotent producer's id, or NoProducer.
func (b Batch) ProducerID() int64 { return int64(binary.BigEndian.Uint64(b[offProducerID:])) }

// ProducerEpoch returns the idempotent producer's epoch, or -1.
func (b Batch) ProducerEpoch() int16 { return int16(binary.BigEndian.Uint16(b[offProducerEpoch:])) }

// BaseSequence returns the sequence number of the first record, or -1.
func (b Batch) BaseSequence() int32 { return int32(binary.BigEndian.Uint32(b[offBaseSequence:])) }

// LastSequence returns the sequence number of the last record, or -1 if the
// batch has none.
func (b Batch) LastSequence() int32 {
	if b.BaseSequence() < 0 {
		return -1
	}
	return AddSequence(b.BaseSequence(), b.LastOffsetDelta())
}

// NumRecords returns the number of records that the header claims.
func (b Batch) NumRecords() int32 { return int32(binary.BigEndian.Uint32(b[offNumRecords:])) }

// Payload returns the records as they are on the wire: compressed by
// Attributes().Codec(). The slice aliases the batch.
func (b Batch) Payload() []byte { return b[HeaderSize:] }

// SetBaseOffset writes the offset of the first record. The checksum does not
// cover it, so compressed batches too get their offsets this way.
func (b Batch) SetBaseOffset(offset int64) {
	binary.BigEndian.PutUint64(b[offBaseOffset:], uint64(offset))
}

// SetLeaderEpoch writes the leader epoch, which the checksum does not cover.
func (b Batch) SetLeaderEpoch(epoch int32) {
	binary.BigEndian.PutUint32(b[offLeaderEpoch:], uint32(epoch))
}

// SetLogAppendTime gives all records the broker's timestamp t (ms) and renews
// the checksum.
func (b Batch) SetLogAppendTime(t int64) { b.setTime(LogAppendTime, t) }

// SetCreateTime lets the records keep their own timestamps, of which maxTime (ms) is
// the largest. It changes nothing, and costs no checksum, if the header says
// so already: true of every batch of a well-behaved producer.
func (b Batch) SetCreateTime(maxTime int64) { b.setTime(CreateTime, maxTime) }

func (b Batch) setTime(typ TimestampType, maxTime int64) {
	if b.Attributes().TimestampType() == typ && b.MaxTimestamp() == maxTime {
		return
	}
	a := b.Attributes() &^ logAppendTimeBit
	if typ == LogAppendTime {
		a |= logAppendTimeBit
	}
	binary.BigEndian.PutUint16(b[offAttributes:], uint16(a))
	binary.BigEndian.PutUint64(b[offMaxTimestamp:], uint64(maxTime))
	b.setCRC()
}

func (b Batch) checksum() uint32 { return crc32.Checksum(b[offAttributes:], castagnoli) }

func (b Batch) setCRC() { binary.BigEndian.PutUint32(b[offCRC:], b.checksum()) }

// Intact reports whether the checksum fits the bytes that it covers.
func (b Batch) Intact() bool { return b.CRC() == b.checksum() }

// AddSequence returns the sequence number n after seq. Sequence numbers wrap
// from 2^31-1 to 0 (Kafka's DefaultRecordBatch.incrementSequence).
func AddSequence(seq, n int32) int32 {
	return int32((int64(seq) + int64(n)) & math.MaxInt32)
}

// Next returns the first batch of b, which may hold several one after another
// as a records field does, and the bytes after it. The batch aliases b. Only
// its frame is checked: magic and length.
//
// Errors: ErrTruncated if b ends inside the batch (tolerable at the end of a
// fetch response, which brokers cut at a byte limit), ErrOldMagic, ErrCorrupt.
func Next(b []byte) (batch Batch, rest []byte, err error) {
	if len(b) <= offMagic {
		return nil, b, ErrTruncated
	}
	switch magic := int8(b[offMagic]); {
	case magic == 0 || magic == 1: // the byte has the same place in all formats
		return nil, b, ErrOldMagic
	case magic != magicV2:
		return nil, b, corrupt("magic %d", magic)
	}
	length := int64(int32(binary.BigEndian.Uint32(b[offLength:])))
	size := length + LogOverhead
	if size < HeaderSize {
		return nil, b, corrupt("length %d", length)
	}
	if size > int64(len(b)) {
		return nil, b, ErrTruncated
	}
	return Batch(b[:size:size]), b[size:], nil
}
