package rows

import (
	"encoding/binary"
	"math"
)

// The footer, the page headers and the page index are Thrift structs in the
// compact protocol. They are written and read by hand: writing without
// reflection costs no allocation per row group, and reading can be bounded (a
// general decoder allocates what a list's length claims before it reads it).
//
// https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md

// Types of fields and list items in the compact protocol.
const (
	thriftStop   = 0
	thriftTrue   = 1
	thriftFalse  = 2
	thriftByte   = 3
	thriftI16    = 4
	thriftI32    = 5
	thriftI64    = 6
	thriftDouble = 7
	thriftBinary = 8
	thriftList   = 9
	thriftSet    = 10
	thriftMap    = 11
	thriftStruct = 12
	thriftUUID   = 13
)

// thriftWriter appends one Thrift value to b. Its zero value begins a struct.
type thriftWriter struct {
	b     []byte
	last  int // the id of the last field written in the struct at hand
	outer [8]int
	depth int
}

func (w *thriftWriter) field(id int, typ byte) {
	if d := id - w.last; d > 0 && d < 16 {
		w.b = append(w.b, byte(d)<<4|typ)
	} else {
		w.b = append(w.b, typ)
		w.b = appendVarint(w.b, int64(id))
	}
	w.last = id
}

// open begins a struct that is an item of a list; close ends any struct.
func (w *thriftWriter) open() {
	w.outer[w.depth] = w.last
	w.depth++
	w.last = 0
}

func (w *thriftWriter) close() {
	w.b = append(w.b, thriftStop)
	if w.depth > 0 { // the outermost struct has nothing to return to
		w.depth--
		w.last = w.outer[w.depth]
	}
}

func (w *thriftWriter) structure(id int) {
	w.field(id, thriftStruct)
	w.open()
}

func (w *thriftWriter) i32(id int, v int32) {
	w.field(id, thriftI32)
	w.b = appendVarint(w.b, int64(v))
}

func (w *thriftWriter) i64(id int, v int64) {
	w.field(id, thriftI64)
	w.b = appendVarint(w.b, v)
}

func (w *thriftWriter) boolean(id int, v bool) {
	if v {
		w.field(id, thriftTrue)
	} else {
		w.field(id, thriftFalse)
	}
}

func (w *thriftWriter) string(id int, v string) {
	w.field(id, thriftBinary)
	w.itemString(v)
}

func (w *thriftWriter) bytes(id int, v []byte) {
	w.field(id, thriftBinary)
	w.itemBytes(v)
}

func (w *thriftWriter) list(id int, typ byte, n int) {
	w.field(id, thriftList)
	if n < 15 {
		w.b = append(w.b, byte(n)<<4|typ)
		return
	}
	w.b = append(w.b, 0xf0|typ)
	w.b = binary.AppendUvarint(w.b, uint64(n))
}

func (w *thriftWriter) itemInt(v int64) { w.b = appendVarint(w.b, v) }

func (w *thriftWriter) itemString(v string) {
	w.b = binary.AppendUvarint(w.b, uint64(len(v)))
	w.b = append(w.b, v...)
}

func (w *thriftWriter) itemBytes(v []byte) {
	w.b = binary.AppendUvarint(w.b, uint64(len(v)))
	w.b = append(w.b, v...)
}

// appendVarint appends a zigzag varint: Thrift's integers and Kafka's alike.
func appendVarint(b []byte, v int64) []byte {
	return binary.AppendUvarint(b, uint64(v)<<1^uint64(v>>63))
}

// maxThriftDepth bounds the recursion of skip; Parquet's metadata needs 6.
const maxThriftDepth = 16

// thriftReader reads Thrift values from b. After the first bad byte it is
// bad for good and every read is zero, so that one look at bad at the end is
// enough; loops over lists stop by their bounded length.
type thriftReader struct {
	b   []byte
	p   int
	bad bool
	// short tells, beside bad, that more bytes might have helped.
	short bool
}

func (r *thriftReader) fail() {
	r.bad = true
	r.p = len(r.b)
}

func (r *thriftReader) byte() byte {
	if r.p >= len(r.b) {
		r.short = !r.bad
		r.fail()
		return 0
	}
	c := r.b[r.p]
	r.p++
	return c
}

func (r *thriftReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b[r.p:])
	if n <= 0 {
		r.short = !r.bad && n == 0
		r.fail()
		return 0
	}
	r.p += n
	return v
}

func (r *thriftReader) int() int64 {
	u := r.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

func (r *thriftReader) i32() int32 {
	v := r.int()
	if v < math.MinInt32 || v > math.MaxInt32 {
		r.fail()
		return 0
	}
	return int32(v)
}

// bytes returns a string's bytes, which alias b.
func (r *thriftReader) bytes() []byte {
	n := r.uvarint()
	if n > uint64(len(r.b)-r.p) {
		r.short = !r.bad
		r.fail()
		return nil
	}
	v := r.b[r.p : r.p+int(n) : r.p+int(n)]
	r.p += int(n)
	return v
}

// field reads a field's head. last is the struct's own and starts at 0.
func (r *thriftReader) field(last *int) (id int, typ byte) {
	c := r.byte()
	typ = c & 15
	if typ == thriftStop {
		return 0, thriftStop
	}
	if d := int(c >> 4); d != 0 {
		*last += d
	} else {
		*last = int(int16(r.int()))
	}
	if r.bad {
		return 0, thriftStop
	}
	return *last, typ
}

// list reads a list's head. Each item takes a byte at least, which bounds n.
func (r *thriftReader) list() (n int, typ byte) {
	c := r.byte()
	typ = c & 15
	u := uint64(c >> 4)
	if u == 15 {
		u = r.uvarint()
	}
	if u > uint64(len(r.b)-r.p) {
		r.short = !r.bad
		r.fail()
		return 0, 0
	}
	return int(u), typ
}

// listOf reads the head of a list whose items must be of one type.
func (r *thriftReader) listOf(fieldType, typ byte) int {
	if fieldType != thriftList {
		r.fail()
		return 0
	}
	n, t := r.list()
	if n > 0 && t != typ {
		r.fail()
		return 0
	}
	return n
}

func (r *thriftReader) skip(typ byte) { r.skipDepth(typ, maxThriftDepth) }

func (r *thriftReader) skipDepth(typ byte, depth int) {
	if depth == 0 {
		r.fail()
	}
	if r.bad {
		return
	}
	switch typ {
	case thriftTrue, thriftFalse:
	case thriftByte:
		r.byte()
	case thriftI16, thriftI32, thriftI64:
		r.uvarint()
	case thriftDouble:
		r.advance(8)
	case thriftUUID:
		r.advance(16)
	case thriftBinary:
		r.bytes()
	case thriftList, thriftSet:
		n, t := r.list()
		if t == thriftTrue || t == thriftFalse { // booleans take a byte as items
			r.advance(n)
			return
		}
		for ; n > 0 && !r.bad; n-- {
			r.skipDepth(t, depth-1)
		}
	case thriftMap:
		n := r.uvarint()
		if n == 0 {
			return
		}
		kinds := r.byte()
		if n > uint64(len(r.b)-r.p) {
			r.fail()
		}
		for ; n > 0 && !r.bad; n-- {
			r.skipDepth(kinds>>4, depth-1)
			r.skipDepth(kinds&15, depth-1)
		}
	case thriftStruct:
		for last := 0; ; {
			_, t := r.field(&last)
			if t == thriftStop {
				return
			}
			r.skipDepth(t, depth-1)
		}
	default:
		r.fail()
	}
}

func (r *thriftReader) advance(n int) {
	if n > len(r.b)-r.p {
		r.short = !r.bad
		r.fail()
		return
	}
	r.p += n
}

// numbers reads a struct whose fields 1 to 8 are small numbers or booleans,
// those as their type. Other fields are skipped.
func (r *thriftReader) numbers() (v [9]int64) {
	for last := 0; ; {
		id, t := r.field(&last)
		switch {
		case t == thriftStop:
			return v
		case id >= 1 && id <= 8 && (t == thriftTrue || t == thriftFalse):
			v[id] = int64(t)
		case id >= 1 && id <= 8 && t == thriftI32:
			v[id] = int64(r.i32())
		default:
			r.skip(t)
		}
	}
}
