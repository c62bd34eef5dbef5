package rows

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

const (
	// tailBytes is the first ranged read of a file. It holds footer and page
	// index of most of our files.
	tailBytes = 64 << 10
	// maxFooter bounds the footer that is read. Spark's files of 1 GiB have some
	// hundred KiB.
	maxFooter = 64 << 20
	// maxFileRowGroups is Parquet's own limit: ordinals have 16 bits.
	maxFileRowGroups = math.MaxInt16
	maxSchema        = 4096 // elements
)

// slot is a column that is read. All others are ignored.
type slot int

const (
	slotPartition slot = iota
	slotOffset
	slotTimestamp
	slotTimestampType
	slotKey
	slotValue
	slotHeaderKey
	slotHeaderValue
	numSlots
)

var slotNames = [numSlots]string{"partition", "offset", "timestamp", "timestampType", "key", "value", "headers.key", "headers.value"}

// column is the type of a leaf in the file's schema.
type column struct {
	leaf   int // -1: the file does not have it, its values are null
	typ    int32
	width  int // of a fixed-length byte array
	maxDef int
	maxRep int
	// elemDef is, of a nested leaf, the definition level from which on there is
	// an element of the list.
	elemDef int
	unit    timeUnit // of timestamps
}

// timeUnit is how the timestamp column counts.
type timeUnit int8

const (
	micros timeUnit = iota
	millis
	nanos
)

// chunk is where a column's values of one row group stand, and their statistics.
type chunk struct {
	codec          int32
	typ            int32
	values         int64
	packed, full   int64 // total size, compressed and not
	data, dict     int64 // offsets; dict is 0 if unknown
	nulls          int64 // -1 if unknown
	min, max       int64
	bounds         bool  // min and max are known
	index          int64 // of the offset index; 0 if there is none
	indexLen       int32
	external, seen bool
}

// start is where the chunk's first page begins.
func (c *chunk) start() int64 {
	if c.dict > 0 && c.dict < c.data {
		return c.dict
	}
	return c.data
}

type rowGroup struct {
	rows   int64
	first  int64 // row of the file
	chunks [numSlots]chunk
}

// footer is what a Reader keeps of a file's footer.
type footer struct {
	rows    int64
	columns [numSlots]column
	groups  []rowGroup
	// ranges are those that our own writer put into the footer, and ours says that
	// it was our own writer: such a file is sorted.
	ranges []Range
	ours   bool
}

// readFooter reads the tail of a file and decodes its footer. It returns what
// it has read before that too, and where it ends: the page index is often in it.
func readFooter(ctx context.Context, size int64, src Source) (f *footer, tail []byte, end int64, err error) {
	if size < int64(2*len(magic)+4) {
		return nil, nil, 0, fmt.Errorf("%w: %d bytes are no Parquet file", ErrCorrupt, size)
	}
	tail, err = fetch(ctx, src, max(0, size-tailBytes), min(size, tailBytes), nil)
	if err != nil {
		return nil, nil, 0, err
	}
	if string(tail[len(tail)-4:]) != magic {
		return nil, nil, 0, fmt.Errorf("%w: no Parquet file: it ends in %q", ErrCorrupt, tail[len(tail)-4:])
	}
	n := int64(binary.LittleEndian.Uint32(tail[len(tail)-8:]))
	switch {
	case n > size-int64(2*len(magic)+4):
		return nil, nil, 0, fmt.Errorf("%w: footer of %d bytes in a file of %d", ErrCorrupt, n, size)
	case n > maxFooter:
		return nil, nil, 0, fmt.Errorf("%w: footer of %d bytes", ErrUnsupported, n)
	case n+8 > int64(len(tail)):
		if tail, err = fetch(ctx, src, size-n-8, n+8, nil); err != nil {
			return nil, nil, 0, err
		}
	}
	at := len(tail) - 8 - int(n)
	f, err = parseFooter(tail[at:len(tail)-8], size)
	return f, tail[:at], size - 8 - n, err
}

// fetch reads a range and holds the source to its word.
func fetch(ctx context.Context, src Source, off, n int64, into []byte) ([]byte, error) {
	b, err := src(ctx, off, n, into)
	if err != nil {
		return nil, fmt.Errorf("rows: reading %d bytes at %d: %w", n, off, err)
	}
	if int64(len(b)) != n {
		return nil, fmt.Errorf("rows: reading %d bytes at %d: got %d", n, off, len(b))
	}
	return b, nil
}

// parseFooter decodes FileMetaData, of a file of size bytes.
func parseFooter(b []byte, size int64) (*footer, error) {
	f := &footer{}
	r := thriftReader{b: b}
	var slots []slot // of each leaf of the schema, -1 for none
	var err error
	schema := false
	for last := 0; err == nil; {
		id, typ := r.field(&last)
		if typ == thriftStop {
			break
		}
		switch id {
		case 2:
			slots, err = f.schema(&r, typ)
			schema = true
		case 3:
			f.rows = r.int()
		case 4:
			if !schema {
				return nil, fmt.Errorf("%w: row groups before the schema", ErrUnsupported)
			}
			err = f.rowGroups(&r, typ, slots, size)
		case 5:
			f.keyValues(&r, typ)
		case 6:
			f.ours = string(r.bytes()) == createdBy
		case 8:
			return nil, fmt.Errorf("%w: an encrypted file", ErrUnsupported)
		default:
			r.skip(typ)
		}
	}
	switch {
	case err != nil:
		return nil, err
	case r.bad || !schema:
		return nil, fmt.Errorf("%w: footer", ErrCorrupt)
	}
	total := int64(0)
	for i := range f.groups {
		f.groups[i].first = total
		total += f.groups[i].rows
		if total < 0 {
			return nil, fmt.Errorf("%w: too many rows", ErrCorrupt)
		}
	}
	if f.rows != total {
		return nil, fmt.Errorf("%w: %d rows in row groups, %d in all", ErrCorrupt, total, f.rows)
	}
	if !f.ours || !fitRows(f.ranges, f.rows) {
		f.ranges = nil
	}
	return f, nil
}

// fitRows says whether ranges cover just so many rows.
func fitRows(ranges []Range, rows int64) bool {
	total := int64(0)
	for _, r := range ranges {
		if total += r.Rows; total < 0 || total > rows {
			return false
		}
	}
	return total == rows
}

// keyValues looks for the ranges among the key/value pairs.
func (f *footer) keyValues(r *thriftReader, typ byte) {
	for n := r.listOf(typ, thriftStruct); n > 0 && !r.bad; n-- {
		var key, value []byte
		for last := 0; ; {
			id, t := r.field(&last)
			if t == thriftStop {
				break
			}
			switch {
			case id == 1 && t == thriftBinary:
				key = r.bytes()
			case id == 2 && t == thriftBinary:
				value = r.bytes()
			default:
				r.skip(t)
			}
		}
		if string(key) == rangesKey {
			f.ranges, _ = parseRanges(string(value))
		}
	}
}

// rowGroups decodes the row groups; slots says what becomes of each chunk.
func (f *footer) rowGroups(r *thriftReader, typ byte, slots []slot, size int64) error {
	n := r.listOf(typ, thriftStruct)
	if n > maxFileRowGroups {
		return fmt.Errorf("%w: %d row groups", ErrUnsupported, n)
	}
	for i := 0; i < n && !r.bad; i++ {
		f.groups = append(f.groups, rowGroup{})
		g := &f.groups[i]
		for last := 0; ; {
			id, t := r.field(&last)
			if t == thriftStop {
				break
			}
			switch id {
			case 1:
				g.columns(r, t, slots)
			case 3:
				g.rows = r.int()
			default:
				r.skip(t)
			}
		}
		if r.bad {
			break
		}
		if err := f.checkGroup(g, size); err != nil {
			return fmt.Errorf("row group %d: %w", i, err)
		}
	}
	f.groups = slices.Clip(f.groups)
	return nil
}

// checkGroup makes sure that what the footer says can be relied on as bounds.
func (f *footer) checkGroup(g *rowGroup, size int64) error {
	if g.rows < 0 {
		return fmt.Errorf("%w: %d rows", ErrCorrupt, g.rows)
	}
	for s := range numSlots {
		col, c := &f.columns[s], &g.chunks[s]
		if col.leaf < 0 {
			continue
		}
		switch {
		case !c.seen && g.rows > 0:
			return fmt.Errorf("%w: no chunk of %s", ErrCorrupt, slotNames[s])
		case c.external:
			return fmt.Errorf("%w: column %s in another file", ErrUnsupported, slotNames[s])
		case c.values < 0 || c.packed < 0 || c.full < 0 || c.indexLen < 0 ||
			c.start() < 0 || c.start() > size || c.packed > size-c.start() ||
			c.index < 0 || int64(c.indexLen) > size || c.index > size-int64(c.indexLen):
			return fmt.Errorf("%w: place of column %s", ErrCorrupt, slotNames[s])
		case c.seen && c.typ != col.typ:
			return fmt.Errorf("%w: type of column %s", ErrCorrupt, slotNames[s])
		case col.maxRep == 0 && c.values != g.rows:
			return fmt.Errorf("%w: %d values of %s in %d rows", ErrCorrupt, c.values, slotNames[s], g.rows)
		}
	}
	return nil
}

func (g *rowGroup) columns(r *thriftReader, typ byte, slots []slot) {
	n := r.listOf(typ, thriftStruct)
	for i := 0; i < n && !r.bad; i++ {
		var c chunk
		c.seen, c.nulls = true, -1
		for last := 0; ; {
			id, t := r.field(&last)
			if t == thriftStop {
				break
			}
			switch id {
			case 1:
				c.external = len(r.bytes()) > 0
			case 3:
				c.metadata(r, t)
			case 4:
				c.index = r.int()
			case 5:
				c.indexLen = r.i32()
			default:
				r.skip(t)
			}
		}
		if i < len(slots) && slots[i] >= 0 {
			g.chunks[slots[i]] = c
		}
	}
}

// metadata decodes ColumnMetaData.
func (c *chunk) metadata(r *thriftReader, typ byte) {
	if typ != thriftStruct {
		r.fail()
		return
	}
	for last := 0; ; {
		id, t := r.field(&last)
		if t == thriftStop {
			return
		}
		switch id {
		case 1:
			c.typ = r.i32()
		case 4:
			c.codec = r.i32()
		case 5:
			c.values = r.int()
		case 6:
			c.full = r.int()
		case 7:
			c.packed = r.int()
		case 9:
			c.data = r.int()
		case 11:
			c.dict = r.int()
		case 12:
			c.statistics(r, t)
		default:
			r.skip(t)
		}
	}
}

// statistics decodes the bounds of integers; those of other columns are of no use.
func (c *chunk) statistics(r *thriftReader, typ byte) {
	if typ != thriftStruct {
		r.fail()
		return
	}
	var minimum, maximum []byte
	for last := 0; ; {
		id, t := r.field(&last)
		if t == thriftStop {
			break
		}
		switch {
		case id == 3 && t == thriftI64:
			c.nulls = r.int()
		case id == 5 && t == thriftBinary:
			maximum = r.bytes()
		case id == 6 && t == thriftBinary:
			minimum = r.bytes()
		default:
			r.skip(t)
		}
	}
	var ok1, ok2 bool
	c.min, ok1 = plainInt(minimum)
	c.max, ok2 = plainInt(maximum)
	c.bounds = ok1 && ok2 && len(minimum) == len(maximum) && c.min <= c.max
}

// plainInt is a bound as statistics have it.
func plainInt(b []byte) (int64, bool) {
	switch len(b) {
	case 4:
		return int64(int32(binary.LittleEndian.Uint32(b))), true
	case 8:
		return int64(binary.LittleEndian.Uint64(b)), true
	}
	return 0, false
}
