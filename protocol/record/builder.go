package record

import (
	"encoding/binary"
	"math"
)

const (
	maxVarintLen  = 5
	maxVarlongLen = 10
	// maxRecordOverhead is the most that a record takes beyond its key, value
	// and headers: length, attributes, timestamp and offset delta, lengths of
	// key and value, header count.
	maxRecordOverhead = maxVarintLen + 1 + maxVarlongLen + 4*maxVarintLen
	// maxBatch keeps a batch's int32 length from overflowing, whatever MaxBytes says.
	maxBatch = math.MaxInt32 - maxRecordOverhead
)

// A Producer is the identity and position of an idempotent producer's batch.
type Producer struct {
	ID       int64
	Epoch    int16
	Sequence int32 // of the first record
}

// Params are what a batch says beside its records. The zero Params make an
// uncompressed batch of CreateTime timestamps without a producer.
type Params struct {
	Codec         Codec // an unknown one is taken as None
	TimestampType TimestampType
	LeaderEpoch   int32
	Producer      *Producer // nil: none
	Transactional bool
	Control       bool
	// MaxBytes is the size, uncompressed and with the header, that makes Append
	// refuse a further record; 0 means no limit of the caller's.
	MaxBytes int
}

// A Builder writes a batch record by record. Reset starts a batch, Append adds
// to it, Finish completes it. The zero Builder is ready for Reset; it keeps its
// buffers, and allocates nothing per record or (once grown) per batch. One goroutine owns it.
type Builder struct {
	params Params
	dst    []byte // what the caller gave, and if not compressing the batch
	start  int    // of the batch in dst
	body   []byte // the records, if they are to be compressed
	comp   Compressor

	n          int32
	baseOffset int64
	lastOffset int64
	baseTime   int64
	maxTime    int64
}

// Reset starts a batch that Finish will append to dst. What was not finished
// is dropped. The Builder owns dst until Finish.
func (b *Builder) Reset(dst []byte, p Params) {
	if !p.Codec.Known() {
		p.Codec = None
	}
	b.params, b.n, b.start = p, 0, len(dst)
	b.dst = grow(dst, HeaderSize)[:len(dst)+HeaderSize] // putHeader writes all of it
	b.body = b.body[:0]
}

// Len returns the number of records in the batch.
func (b *Builder) Len() int { return int(b.n) }

// Size returns the size of the batch in bytes, header included, if it were
// finished now and not compressed.
func (b *Builder) Size() int { return len(b.dst) - b.start + len(b.body) }

// MaxRecordSize bounds what Append adds to Size for such a record; it is at
// most some 30 bytes too much.
func MaxRecordSize(key, value []byte, headers Headers) int {
	return maxRecordOverhead + len(key) + len(value) + len(headers.raw)
}

// Append adds a record: its offset, which must be greater than the one before
// but may leave a gap; its timestamp in ms (or NoTimestamp); key and value, of
// which nil is null; its headers. All are copied.
//
// It reports false, and adds nothing, if the record belongs into another
// batch: this one is not empty and would exceed MaxBytes, the offset is not
// greater than the last or 2^31 or more from the first, or, with
// LogAppendTime, the timestamp is another. An empty batch takes any record
// that the format can hold (below 2 GiB).
func (b *Builder) Append(offset, timestamp int64, key, value []byte, headers Headers) bool {
	if b.n == 0 {
		b.baseOffset, b.lastOffset = offset, offset-1
		b.baseTime, b.maxTime = timestamp, timestamp
	}
	delta, age := offset-b.baseOffset, timestamp-b.baseTime
	if offset <= b.lastOffset || delta > math.MaxInt32 ||
		age != 0 && b.params.TimestampType == LogAppendTime {
		return false
	}
	if len(key)+len(value)+len(headers.raw) > maxBatch-b.Size() {
		return false
	}
	size := 1 + varlongLen(age) + varintLen(int32(delta)) +
		fieldLen(key) + fieldLen(value) + varintLen(headers.n) + len(headers.raw)
	total := varintLen(int32(size)) + size
	if b.n > 0 && b.params.MaxBytes > 0 && total > b.params.MaxBytes-b.Size() {
		return false
	}

	out := &b.dst
	if b.params.Codec != None {
		out = &b.body
	}
	at := len(*out)
	*out = grow(*out, total)[:at+total]
	r := (*out)[at:]
	p := putVarint(r, 0, int32(size))
	r[p] = 0 // attributes: unused
	p = putVarlong(r, p+1, age)
	p = putVarint(r, p, int32(delta))
	p = putField(r, p, key)
	p = putField(r, p, value)
	p = putVarint(r, p, headers.n)
	copy(r[p:], headers.raw)

	b.n++
	b.lastOffset = offset
	b.maxTime = max(b.maxTime, timestamp)
	return true
}

// CoverTo makes the batch cover offsets up to and including last, which no
// record has: consumers that read the batch go on behind it. Kafka's log
// cleaner leaves such batches too. It has no effect on an empty batch, nor if last is
// not beyond the last record's offset or 2^31 or more from the first's.
func (b *Builder) CoverTo(last int64) {
	if b.n > 0 && last > b.lastOffset && last-b.baseOffset <= math.MaxInt32 {
		b.lastOffset = last
	}
}

// Finish returns the slice given to Reset with the batch appended, or as it
// was if the batch is empty. The Builder must be Reset before its next use.
// Records that compression does not shrink are left uncompressed.
func (b *Builder) Finish() []byte {
	dst := b.dst
	b.dst = nil
	if b.n == 0 {
		return dst[:b.start]
	}
	attributes := Attributes(0)
	if b.params.Codec != None {
		at := len(dst)
		// The codec is known since Reset: no error.
		packed, err := b.comp.Compress(dst, b.params.Codec, b.body)
		if dst = packed; err == nil && len(dst)-at < len(b.body) {
			attributes = Attributes(b.params.Codec)
		} else {
			dst = append(dst[:at], b.body...)
		}
		b.body = keep(b.body)
	}
	if b.params.TimestampType == LogAppendTime {
		attributes |= logAppendTimeBit
	}
	if b.params.Transactional {
		attributes |= transactionalBit
	}
	if b.params.Control {
		attributes |= controlBit
	}
	b.putHeader(dst[b.start:], attributes)
	return dst
}

// putHeader writes the header of the finished batch h.
func (b *Builder) putHeader(h Batch, attributes Attributes) {
	producer := Producer{NoProducer, -1, -1}
	if b.params.Producer != nil {
		producer = *b.params.Producer
	}
	h.SetBaseOffset(b.baseOffset)
	binary.BigEndian.PutUint32(h[offLength:], uint32(len(h)-LogOverhead))
	h.SetLeaderEpoch(b.params.LeaderEpoch)
	h[offMagic] = magicV2
	binary.BigEndian.PutUint16(h[offAttributes:], uint16(attributes))
	binary.BigEndian.PutUint32(h[offLastDelta:], uint32(b.lastOffset-b.baseOffset))
	binary.BigEndian.PutUint64(h[offBaseTimestamp:], uint64(b.baseTime))
	binary.BigEndian.PutUint64(h[offMaxTimestamp:], uint64(b.maxTime))
	binary.BigEndian.PutUint64(h[offProducerID:], uint64(producer.ID))
	binary.BigEndian.PutUint16(h[offProducerEpoch:], uint16(producer.Epoch))
	binary.BigEndian.PutUint32(h[offBaseSequence:], uint32(producer.Sequence))
	binary.BigEndian.PutUint32(h[offNumRecords:], uint32(b.n))
	h.setCRC()
}

// fieldLen returns the encoded length of a key or value.
func fieldLen(f []byte) int {
	return varintLen(int32(len(f))) + len(f) // null, -1, takes one byte as 0 does
}

// putField writes a key or value at b[p:] and returns its end.
func putField(b []byte, p int, f []byte) int {
	if f == nil {
		b[p] = 1 // zigzag of -1
		return p + 1
	}
	p = putVarint(b, p, int32(len(f)))
	return p + copy(b[p:], f)
}

// keep empties a scratch buffer, dropping it if it has grown beyond what is worth holding.
func keep(b []byte) []byte {
	if cap(b) > keepBuffer {
		return nil
	}
	return b[:0]
}
