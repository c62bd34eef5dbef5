package rows

import (
	"context"
	"fmt"
	"sync"

	"sluice/protocol/record"
)

// emitter writes rows as record batches.
type emitter struct {
	limits  Limits
	tables  map[int32]*table
	builder record.Builder
	headers record.Headers
	header  [record.HeaderSize]byte // for an idle builder
	out     []byte
	done    []Encoded
	open    bool                 // there is a batch at hand
	typ     record.TimestampType // its
}

// keepHeaders is the most bytes of headers that an idle emitter keeps room for.
const keepHeaders = 64 << 10

// emitters keep what a record.Builder holds beside the batch.
var emitters = sync.Pool{New: func() any { return new(emitter) }}

func newEmitter(limits Limits, tables map[int32]*table) *emitter {
	e := emitters.Get().(*emitter)
	e.limits, e.tables = limits, tables
	size := 0
	for _, t := range tables {
		size += t.rows*(rowOverhead+8) + 256
		if t.values != nil {
			size += max(0, t.values.full-4*t.rows) // without their lengths
		}
		for _, s := range []slot{slotKey, slotValue, slotHeaderKey, slotHeaderValue} {
			if v := t.columns[s]; v != nil {
				for _, span := range v.spans {
					size += int(max(span.n, 0))
				}
			}
		}
	}
	size = min(size, limits.MaxBytes+4<<10) + record.HeaderSize
	if e.out = limits.Buffer; cap(e.out)-len(e.out) < size {
		if limits.Make != nil {
			e.out = limits.Make(size)
		} else {
			e.out = make([]byte, 0, size)
		}
	}
	return e
}

// emit writes the rows of segments, in their order, until limits are reached: then more
// are left. The emitter is gone then.
func (e *emitter) emit(ctx context.Context, segments []segment) (out []Encoded, more bool, err error) {
	defer func() {
		if e.headers.Size() > keepHeaders {
			e.headers = record.Headers{}
		}
		e.builder.Reset(e.header[:0], record.Params{}) // lets go of out
		e.limits, e.tables, e.out, e.done, e.open = Limits{}, nil, nil, nil, false
		emitters.Put(e)
	}()
	begin := len(e.out)
	for _, s := range segments {
		t := e.tables[s.group]
		starts, err := t.headerStarts()
		if err != nil {
			return nil, false, err
		}
		room, err := e.rows(ctx, t, starts, s, begin)
		if err != nil {
			return nil, false, err
		}
		if !room {
			more = true
			break
		}
	}
	e.finish()
	return e.done, more, nil
}

// rows writes the rows of one segment and says whether there is room for more.
func (e *emitter) rows(ctx context.Context, t *table, starts []int32, s segment, begin int) (room bool, err error) {
	times, types := t.columns[slotTimestamp], t.columns[slotTimestampType]
	keys, values := t.columns[slotKey], t.columns[slotValue]
	headerKeys, headerValues := t.columns[slotHeaderKey], t.columns[slotHeaderValue]
	first, end := 0, t.rows // of the rows whose values are at hand
	for i := range int(s.n) {
		at := s.at + i
		if t.values != nil && (at >= end || i == 0) {
			if err := t.values.reach(ctx, at); err != nil {
				return false, err
			}
			first, end = t.values.first, t.values.end
		}
		ms := int64(record.NoTimestamp)
		if times != nil {
			ms = toMillis(times.ints[at], times.col.unit)
		}
		typ := record.CreateTime
		if types != nil && types.ints[at] == int64(record.LogAppendTime) {
			typ = record.LogAppendTime
		}
		var key, value []byte
		if keys != nil {
			key = keys.bytes(at)
		}
		if values != nil {
			value = values.bytes(at - first)
		}
		var headers record.Headers
		if starts != nil && starts[at+1] > starts[at] {
			e.headers = newRecordHeaders(e.headers.Reset(), headerKeys, headerValues, starts[at], starts[at+1]-starts[at])
			headers = e.headers
		}
		size := record.MaxRecordSize(key, value, headers)
		written := len(e.out) - begin
		if e.open {
			written += e.builder.Size()
		}
		if written > 0 && written+size > e.limits.MaxBytes {
			return false, nil
		}
		offset := s.first + int64(i)
		if e.open && typ == e.typ && e.builder.Append(offset, ms, key, value, headers) {
			continue
		}
		e.finish()
		e.start(typ)
		if !e.builder.Append(offset, ms, key, value, headers) {
			return false, fmt.Errorf("%w: offset %d is too large for a record batch", ErrUnsupported, offset)
		}
	}
	return true, nil
}

func (e *emitter) start(typ record.TimestampType) {
	e.open, e.typ = true, typ
	e.builder.Reset(e.out, record.Params{TimestampType: typ, LeaderEpoch: -1, MaxBytes: e.limits.BatchBytes})
}

// finish ends the batch at hand, if there is one.
func (e *emitter) finish() {
	if !e.open {
		return
	}
	e.open = false
	at := len(e.out)
	records := e.builder.Len()
	e.out = e.builder.Finish()
	b := record.Batch(e.out[at:len(e.out):len(e.out)])
	e.done = append(e.done, Encoded{First: b.BaseOffset(), Last: b.LastOffset(), Records: records, MaxTimestamp: b.MaxTimestamp(), Data: b})
}

// headerStarts tells where each row's headers begin; nil if no row has any.
func (t *table) headerStarts() ([]int32, error) {
	keys, values := t.columns[slotHeaderKey], t.columns[slotHeaderValue]
	if keys == nil {
		keys = values
	}
	if keys == nil || len(keys.spans) == 0 && (values == nil || len(values.spans) == 0) {
		return nil, nil
	}
	if t.starts != nil {
		return t.starts, nil
	}
	t.starts = make([]int32, len(keys.counts)+1)
	at := int32(0)
	for i, n := range keys.counts {
		if values != nil && values.counts[i] != n {
			return nil, fmt.Errorf("%w: %d header keys and %d values", ErrCorrupt, n, values.counts[i])
		}
		at += n
		t.starts[i+1] = at
	}
	return t.starts, nil
}

// toMillis converts a timestamp of a column, downwards. Divisions are by constants:
// the CPU is slow at others.
func toMillis(v int64, unit timeUnit) int64 {
	ms := v
	switch {
	case v == nullInt:
		return record.NoTimestamp
	case unit == micros:
		if ms = v / 1000; ms*1000 > v {
			ms--
		}
	case unit == nanos:
		if ms = v / 1_000_000; ms*1_000_000 > v {
			ms--
		}
	}
	return ms
}
