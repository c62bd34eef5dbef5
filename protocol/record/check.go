package record

import (
	"fmt"
	"math"
	"unicode/utf8"
)

// The timestamps that a table can hold, in ms: years 1900 to 9999 UTC. Beyond
// them some Delta engines fail on the whole table. NoTimestamp is allowed too.
const (
	MinTimestamp = -2208988800000
	MaxTimestamp = 253402300799999
)

// DefaultMaxBody is the most that the records of one batch may decompress to
// when Rules say nothing.
const DefaultMaxBody = 64 << 20

// Rules are what a topic and a request add to the rules of the format. The
// zero Rules adds none.
type Rules struct {
	// MaxBytes is the largest batch in bytes as on the wire, header included
	// (max.message.bytes); 0 means no limit.
	MaxBytes int
	// MaxBody is the most bytes the records may decompress to; 0 means
	// DefaultMaxBody.
	MaxBody int
	// RequireKeys refuses records with a null key (cleanup.policy=compact).
	RequireKeys bool
	// RefuseZstd is for Produce before v7, which must not carry zstd (KIP-110).
	RefuseZstd bool
	// LogAppendTime says that the broker's time will replace the records'
	// timestamps, which are therefore not judged.
	LogAppendTime bool
	// Earliest and Latest bound the timestamps, in ms, inclusive
	// (message.timestamp.before.max.ms and .after.max.ms applied to the clock); 0 means
	// no bound but MinTimestamp and MaxTimestamp. NoTimestamp passes.
	Earliest, Latest int64
}

// Checked is a batch that passed Check.
type Checked struct {
	// Batch aliases the bytes given to Check, unless Renumbered.
	Batch Batch
	// Body is the decompressed records. It aliases the batch if that is not
	// compressed, else the Decompressor, whose next use overwrites it.
	Body []byte
	// MaxTimestamp is the largest of the records' own timestamps, in ms, or
	// NoTimestamp. The header may say otherwise: hand it to
	// Batch.SetCreateTime (or call SetLogAppendTime) before storing the batch.
	MaxTimestamp int64
	// Renumbered says that the offsets inside the batch were not consecutive and
	// that Batch is a corrected copy.
	Renumbered bool
}

// Check validates the records field of one partition of a Produce request, by
// the rules of Kafka (ProduceRequest.validateRecords, LogValidator,
// UnifiedLog.analyzeAndValidateRecords), stricter where the table needs it:
// timestamps within MinTimestamp and MaxTimestamp, header keys in UTF-8, and
// no byte that is not part of the one batch. It reads every record, changes
// nothing, and allocates only through d, which must not be shared meanwhile.
//
// Offsets in the batch must be 0, 1, 2, ... Kafka rewrites or keeps others;
// here an uncompressed batch is renumbered in a copy and a compressed one refused.
//
// Errors wrap one of this package's sentinels. A record that is malformed ends
// the check with a RecordError; those that only break a rule are all gathered
// in RecordErrors.
func Check(records []byte, rules Rules, d *Decompressor) (Checked, error) {
	b, err := one(records)
	if err != nil {
		return Checked{}, err
	}
	if rules.MaxBytes > 0 && len(b) > rules.MaxBytes {
		return Checked{}, fmt.Errorf("%w: %d bytes, limit %d", ErrTooLarge, len(b), rules.MaxBytes)
	}
	if !b.Intact() {
		return Checked{}, corrupt("checksum %08x, expected %08x", b.CRC(), b.checksum())
	}
	if err := checkHeader(b, rules); err != nil {
		return Checked{}, err
	}
	limit := rules.MaxBody
	if limit <= 0 {
		limit = DefaultMaxBody
	}
	body, err := d.Body(b, limit)
	if err != nil {
		return Checked{}, err
	}
	return checkRecords(b, body, rules)
}

// one returns the only batch of records.
func one(records []byte) (Batch, error) {
	b, rest, err := Next(records)
	switch {
	case err == ErrTruncated:
		return nil, invalid("no whole batch in %d bytes", len(records))
	case err != nil:
		return nil, err
	case len(rest) > 0:
		return nil, invalid("a partition of a produce request holds one batch, %d bytes follow it", len(rest))
	}
	return b, nil
}

// checkHeader judges what the header says of itself.
func checkHeader(b Batch, rules Rules) error {
	a, n := b.Attributes(), b.NumRecords()
	switch codec := a.Codec(); {
	case a.Control():
		return invalid("clients may not write control records")
	case n <= 0:
		return invalid("%d records", n)
	case int64(b.LastOffsetDelta())+1 != int64(n):
		return invalid("last offset delta %d of %d records", b.LastOffsetDelta(), n)
	case b.BaseOffset() != 0:
		return invalid("base offset %d of a produced batch, must be 0", b.BaseOffset())
	case b.ProducerID() > NoProducer && b.BaseSequence() < 0:
		return invalid("sequence %d of producer id %d", b.BaseSequence(), b.ProducerID())
	case b.ProducerID() > NoProducer && b.ProducerEpoch() < 0:
		return invalid("epoch %d of producer id %d", b.ProducerEpoch(), b.ProducerID())
	case b.ProducerID() <= NoProducer && a.Transactional():
		return invalid("transactional batch without a producer id")
	case !codec.Known():
		return fmt.Errorf("%w: %d", ErrCodec, codec)
	case codec == Zstd && rules.RefuseZstd:
		return fmt.Errorf("%w: zstd needs Produce v7", ErrCodec)
	}
	return nil
}

// checkRecords walks all records of b.
func checkRecords(b Batch, body []byte, rules Rules) (Checked, error) {
	n := b.NumRecords()
	if int64(n)*minRecordSize > int64(len(body)) {
		return Checked{}, invalid("%d records in %d bytes", n, len(body))
	}
	earliest, latest := bounds(rules)
	c := Checked{Batch: b, Body: body, MaxTimestamp: NoTimestamp}
	it := b.Records(body)
	it.hasFixedTime = false // a producer's LogAppendTime flag is not kept
	var refused *RecordErrors
	next := int32(0)
	for ; it.Next(); next++ {
		r := &it.rec
		if r.OffsetDelta != next {
			c.Renumbered = true
		}
		if t := r.Timestamp; (t < earliest || t > latest) && t != NoTimestamp {
			refused = refused.add(next, fmt.Errorf("%w: %d, must lie in [%d, %d]", ErrTimestamp, t, earliest, latest))
			continue
		}
		c.MaxTimestamp = max(c.MaxTimestamp, r.Timestamp)
		if rules.RequireKeys && r.Key == nil {
			refused = refused.add(next, ErrNoKey)
			continue
		}
		if r.Headers.n > 0 {
			if err := checkHeaders(r.Headers); err != nil {
				refused = refused.add(next, err)
			}
		}
	}
	switch {
	case it.Err() != nil:
		return Checked{}, it.Err()
	case refused != nil:
		return Checked{}, refused
	case c.Renumbered && b.Attributes().Codec() != None:
		return Checked{}, invalid("offsets inside a compressed batch are not consecutive")
	case c.Renumbered:
		c.Batch = renumber(b, body)
		c.Body = c.Batch.Payload()
	}
	return c, nil
}

// bounds returns the timestamps that rules allow.
func bounds(rules Rules) (earliest, latest int64) {
	if rules.LogAppendTime {
		return math.MinInt64, math.MaxInt64
	}
	earliest, latest = MinTimestamp, MaxTimestamp
	if rules.Earliest != 0 {
		earliest = max(earliest, rules.Earliest)
	}
	if rules.Latest != 0 {
		latest = min(latest, rules.Latest)
	}
	return earliest, latest
}

// checkHeaders walks a record's headers. Their keys become strings of a table,
// on whose bytes some engines insist, so they must be UTF-8 as the format says.
func checkHeaders(h Headers) error {
	it := h.All()
	for it.Next() {
		if !utf8.Valid(it.head.Key) {
			return invalid("header key %.32q is not UTF-8", it.head.Key)
		}
	}
	return it.Err()
}

// renumber returns a copy of an uncompressed batch whose records have the
// offset deltas 0, 1, 2, ...
func renumber(b Batch, body []byte) Batch {
	a := b.Attributes()
	p := Params{LeaderEpoch: b.LeaderEpoch(), Transactional: a.Transactional()}
	if b.ProducerID() > NoProducer {
		p.Producer = &Producer{b.ProducerID(), b.ProducerEpoch(), b.BaseSequence()}
	}
	var out Builder
	out.Reset(make([]byte, 0, len(b)+len(b)/8), p)
	it := b.Records(body)
	it.hasFixedTime = false
	for i := int64(0); it.Next(); i++ {
		out.Append(i, it.rec.Timestamp, it.rec.Key, it.rec.Value, it.rec.Headers)
	}
	return Batch(out.Finish())
}
