package rows

import (
	"encoding/binary"
	"fmt"
	"math"

	"sluice/protocol/record"
)

// nullInt is a null in a column of integers. As a timestamp in micros it is
// beyond what a record can have.
const nullInt = math.MinInt64

// headroom is kept free before a column's first value, so that the levels of a
// page can be written in place, right before its values; see pageWriter.flat.
const headroom = 2 << 10

// byteColumn holds values as the body of PLAIN pages: each value that is not
// null is its length (4 bytes, little endian) and its bytes [F Plain].
type byteColumn struct {
	plain []byte
	lens  []int32 // of each value, -1 for null
}

func (c *byteColumn) reset() {
	if cap(c.plain) < headroom {
		c.plain = make([]byte, headroom, 64<<10)
	}
	c.plain = c.plain[:headroom]
	c.lens = c.lens[:0]
}

func (c *byteColumn) add(v []byte) {
	if v == nil {
		c.lens = append(c.lens, -1)
		return
	}
	c.lens = append(c.lens, int32(len(v)))
	at := len(c.plain)
	c.plain = reserve(c.plain, 4+len(v))[:at+4+len(v)]
	binary.LittleEndian.PutUint32(c.plain[at:], uint32(len(v)))
	copy(c.plain[at+4:], v)
}

// shrink drops memory beyond what is worth keeping for the next file.
func (c *byteColumn) shrink() {
	if cap(c.plain) > keepBytes {
		c.plain = nil
	}
	if cap(c.lens) > keepRows {
		c.lens = nil
	}
}

// valueRun is n rows, one after another, of the same value.
type valueRun struct {
	value int32
	n     int
}

func addRun(runs []valueRun, value int32, n int) []valueRun {
	if n == 0 {
		return runs
	}
	if last := len(runs) - 1; last >= 0 && runs[last].value == value {
		runs[last].n += n
		return runs
	}
	return append(runs, valueRun{value, n})
}

// columns are the rows of one row group.
type columns struct {
	n          int
	partitions []valueRun
	types      []valueRun // timestamp types
	offsets    []int64
	micros     []int64 // timestamps, nullInt for none
	noTime     int     // how many are nullInt
	key, value byteColumn
	headers    []int32 // how many headers each row has
	headerKey  byteColumn
	headerVal  byteColumn
	// copied is payload that is packed already, of the rows before those that key, value
	// and headers hold: copiedFull bytes before compression, copiedPacked as it is.
	copied                   []*payload
	copiedFull, copiedPacked int
}

// What an Encoder keeps from one file to the next, per column.
const (
	keepBytes = 32 << 20
	keepRows  = 1 << 20
)

func (c *columns) reset() {
	c.n, c.noTime = 0, 0
	clear(c.copied)
	c.copied, c.copiedFull, c.copiedPacked = c.copied[:0], 0, 0
	c.partitions, c.types = c.partitions[:0], c.types[:0]
	c.offsets, c.micros = c.offsets[:0], c.micros[:0]
	c.resetPayload()
}

// resetPayload empties the columns of payload, but for what is packed.
func (c *columns) resetPayload() {
	c.headers = c.headers[:0]
	for _, b := range []*byteColumn{&c.key, &c.value, &c.headerKey, &c.headerVal} {
		b.reset()
	}
}

func (c *columns) shrink() {
	if cap(c.offsets) > keepRows {
		c.offsets, c.micros, c.headers = nil, nil, nil
	}
	for _, b := range []*byteColumn{&c.key, &c.value, &c.headerKey, &c.headerVal} {
		b.shrink()
	}
}

// size is about how many bytes the payload of the row group takes.
func (c *columns) size() int {
	return len(c.key.plain) + len(c.value.plain) + len(c.headerKey.plain) + len(c.headerVal.plain) - 4*headroom + c.copiedFull
}

// add parses a batch into the columns. Its offsets begin at base and must
// not be below next.
func (c *columns) add(b Batch, body []byte) error {
	a := b.Data.Attributes()
	if a.Control() {
		return fmt.Errorf("%w: a control batch has no rows", ErrCorrupt)
	}
	c.grow(int(b.Data.NumRecords()), len(body))
	// The compiler keeps locals in registers, fields it does not.
	offsets, micros, counts := c.offsets, c.micros, c.headers
	keys, values := c.key, c.value
	last := int64(-1)
	it := b.Data.Records(body)
	for it.Next() {
		r := it.Record()
		if int64(r.OffsetDelta) <= last {
			return fmt.Errorf("%w: offset delta %d after %d", ErrCorrupt, r.OffsetDelta, last)
		}
		last = int64(r.OffsetDelta)
		offsets = append(offsets, b.BaseOffset+last)
		switch ms := r.Timestamp; {
		case ms == record.NoTimestamp:
			micros = append(micros, nullInt)
			c.noTime++
		case ms > math.MaxInt64/1000 || ms < math.MinInt64/1000:
			return fmt.Errorf("%w: timestamp %d", ErrCorrupt, ms)
		default:
			micros = append(micros, ms*1000)
		}
		keys.add(r.Key)
		values.add(r.Value)
		n := int32(r.Headers.Len())
		counts = append(counts, n)
		if n > 0 {
			if err := c.addHeaders(r.Headers); err != nil {
				return err
			}
		}
	}
	if err := it.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	c.offsets, c.micros, c.headers = offsets, micros, counts
	c.key, c.value = keys, values
	n := len(c.offsets) - c.n
	c.n += n
	c.partitions = addRun(c.partitions, b.Partition, n)
	c.types = addRun(c.types, int32(a.TimestampType()), n)
	return nil
}

func (c *columns) addHeaders(headers record.Headers) error {
	it := headers.All()
	for it.Next() {
		h := it.Header()
		c.headerKey.add(h.Key)
		c.headerVal.add(h.Value)
	}
	if err := it.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return nil
}

// grow makes room for n rows with size bytes of payload, most of which are
// values, so that adding them one by one does not move the columns.
func (c *columns) grow(n, size int) {
	n = min(n, size) // the batch's header may claim more than there is
	c.offsets = reserve(c.offsets, n)
	c.micros = reserve(c.micros, n)
	c.headers = reserve(c.headers, n)
	c.key.lens = reserve(c.key.lens, n)
	c.value.lens = reserve(c.value.lens, n)
	c.value.plain = reserve(c.value.plain, size+4*n)
}

// reserve returns s with room for n more items, growing by half at least.
func reserve[T any](s []T, n int) []T {
	if cap(s)-len(s) >= n {
		return s
	}
	bigger := make([]T, len(s), max(len(s)+n, cap(s)+cap(s)/2))
	copy(bigger, s)
	return bigger
}
