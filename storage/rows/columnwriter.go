package rows

import (
	"encoding/binary"
	"math/bits"

	"github.com/parquet-go/parquet-go/encoding/delta"
)

// columnWriter writes the columns of a row group as column chunks. All its own
// buffers are scratch.
type columnWriter struct {
	pageWriter
	levels   []byte  // encoded levels
	def, rep []byte  // levels, one a byte
	body     []byte  // of a page, where it is not in place already
	dict     []int32 // values of a dictionary
	ints     []int64 // values that are not null
	packed   []byte  // those, packed
}

// writeColumns writes a row group, the payload of which is packed or not. codec is that of the columns with payload, even
// where they have none: parquet-go, for one, takes a column's codec to be the same in
// all row groups.
func (w *columnWriter) writeColumns(topic string, c *columns, codec int32) {
	w.topic(topic, c.n)
	w.runs(leafPartition, c.partitions)
	w.integers(leafOffset, c.offsets, 0, len(c.partitions) == 1)
	w.integers(leafTimestamp, c.micros, c.noTime, false)
	w.runs(leafTimestampType, c.types)
	if len(c.copied) == 0 {
		w.writePayload(c, codec)
		return
	}
	for l := leafKey; l < numLeaves; l++ {
		w.copyPages(l, c.copied, codec)
	}
}

// writePayload writes the columns of payload that are not packed.
func (w *columnWriter) writePayload(c *columns, codec int32) {
	w.flat(leafKey, &c.key, codec)
	w.flat(leafValue, &c.value, codec)
	w.nested(leafHeaderKey, c.headers, &c.headerKey, codec)
	w.nested(leafHeaderValue, c.headers, &c.headerVal, codec)
}

// topic writes the one column that is the same in every row.
func (w *columnWriter) topic(name string, n int) {
	c := w.begin(leafTopic, codecNone)
	w.body = binary.LittleEndian.AppendUint32(w.body[:0], uint32(len(name)))
	w.body = append(w.body, name...)
	w.dictionary(c, 1, w.body)
	w.body = appendRun(append(w.body[:0], 1), 0, n) // indexes of 1 bit
	w.page(c, pageMeta{rows: n}, n, w.body)
	w.end(c)
}

// runs writes a column of few values: a dictionary, and pages of runs of
// indexes into it. The values of a column with more than two are distinct.
func (w *columnWriter) runs(l leaf, runs []valueRun) {
	c := w.begin(l, codecNone)
	w.dict = w.dict[:0]
	for _, r := range runs {
		if l == leafPartition || w.indexOf(r.value) < 0 {
			w.dict = append(w.dict, r.value)
		}
	}
	w.body = w.body[:0]
	for _, v := range w.dict {
		w.body = binary.LittleEndian.AppendUint32(w.body, uint32(v))
	}
	w.dictionary(c, len(w.dict), w.body)

	width := max(1, bits.Len(uint(len(w.dict)-1)))
	body := append(w.body[:0], byte(width))
	m := pageMeta{}
	flush := func() {
		w.page(c, m, m.rows, body)
		m = pageMeta{firstRow: m.firstRow + int64(m.rows)}
		body = append(body[:0], byte(width))
	}
	for i, r := range runs {
		index := i
		if l != leafPartition {
			index = w.indexOf(r.value)
		}
		for left := r.n; left > 0; {
			n := min(left, pageRows-m.rows)
			body = binary.AppendUvarint(body, uint64(n)<<1)
			for shift := 0; shift < width; shift += 8 {
				body = append(body, byte(index>>shift))
			}
			if v := int64(r.value); m.rows == 0 {
				m.min, m.max = v, v
			} else {
				m.min, m.max = min(m.min, v), max(m.max, v)
			}
			left -= n
			if m.rows += n; m.rows == pageRows {
				flush()
			}
		}
	}
	if m.rows > 0 {
		flush()
	}
	w.body = body
	w.end(c)
}

// indexOf finds a value in the dictionary, or -1.
func (w *columnWriter) indexOf(v int32) int {
	for i, d := range w.dict {
		if d == v {
			return i
		}
	}
	return -1
}

// integers writes a column as DELTA_BINARY_PACKED [F Delta Encoding]; nulls is
// how many values are nullInt. rising says that each value is greater than the one
// before, as the offsets of one partition are.
func (w *columnWriter) integers(l leaf, values []int64, nulls int, rising bool) {
	c := w.begin(l, codecNone)
	optional := leaves[l].maxDef > 0
	for at := 0; at < len(values); at += pageRows {
		v := values[at:min(at+pageRows, len(values))]
		m := pageMeta{firstRow: int64(at), rows: len(v)}
		w.levels = w.levels[:0]
		if optional && nulls == 0 {
			w.levels = appendConstantLevels(w.levels, 1, len(v))
		} else if optional {
			v = w.dropNulls(v)
			m.nulls = m.rows - len(v)
		}
		if len(v) > 0 {
			m.min, m.max = v[0], v[0]
		}
		w.body = append(w.body[:0], w.levels...)
		if rising && v[len(v)-1]-v[0] == int64(len(v)-1) {
			m.max = v[len(v)-1]
			w.body = appendConsecutive(w.body, v[0], len(v))
		} else {
			for _, x := range v {
				m.min, m.max = min(m.min, x), max(m.max, x)
			}
			w.packed, _ = deltaEncoding.EncodeInt64(w.packed, v) // never fails
			w.body = append(w.body, w.packed...)
		}
		w.page(c, m, m.rows, w.body)
	}
	w.end(c)
}

// deltaEncoding has vector instructions for finding a block's width.
var deltaEncoding delta.BinaryPackedEncoding

// dropNulls writes the definition levels of values and returns those that are
// not null.
func (w *columnWriter) dropNulls(values []int64) []int64 {
	w.def, w.ints = w.def[:0], w.ints[:0]
	for _, v := range values {
		if v == nullInt {
			w.def = append(w.def, 0)
			continue
		}
		w.def = append(w.def, 1)
		w.ints = append(w.ints, v)
	}
	w.levels = appendLevels(w.levels, w.def, 1)
	return w.ints
}

// appendConsecutive appends first, first+1, ... as DELTA_BINARY_PACKED: blocks
// of 128 values in 4 miniblocks, all of whose deltas are the block's smallest,
// so that none of them has bits.
func appendConsecutive(b []byte, first int64, n int) []byte {
	b = append(b, 0x80, 0x01, 4)
	b = binary.AppendUvarint(b, uint64(n))
	b = appendVarint(b, first)
	for left := n - 1; left > 0; left -= 128 {
		b = append(b, 2, 0, 0, 0, 0) // delta 1, four widths 0
	}
	return b
}

// flat writes the key or value column. The values stand in memory as pages want
// them; a page's levels are written over the end of the page before, which
// is already in the file.
func (w *columnWriter) flat(l leaf, col *byteColumn, codec int32) {
	c := w.begin(l, codec)
	pos := headroom
	for at := 0; at < len(col.lens); {
		end, to, nulls := cutPage(col, at, pos)
		m := pageMeta{firstRow: int64(at), rows: end - at, nulls: nulls}
		w.levels = w.levels[:0]
		switch nulls {
		case 0:
			w.levels = appendConstantLevels(w.levels, 1, m.rows)
		case m.rows:
			w.levels = appendConstantLevels(w.levels, 0, m.rows)
		default:
			w.def = w.def[:0]
			for _, n := range col.lens[at:end] {
				w.def = append(w.def, byte(uint32(n)>>31^1)) // 0 if n is negative
			}
			w.levels = appendLevels(w.levels, w.def, 1)
		}
		w.page(c, m, m.rows, w.joined(col, pos, to))
		at, pos = end, to
	}
	w.end(c)
}

// cutPage finds where a page that begins with value at, at byte pos, ends.
func cutPage(col *byteColumn, at, pos int) (end, to, nulls int) {
	limit := min(at+pageRows, len(col.lens))
	to = pos
	for end = at; end < limit; end++ {
		n := int(col.lens[end])
		if n < 0 {
			nulls++
			continue
		}
		if to+4+n-pos > pageBytes && end > at {
			break
		}
		to += 4 + n
	}
	return end, to, nulls
}

// joined returns levels and the values from pos to end as one piece.
func (w *columnWriter) joined(col *byteColumn, pos, end int) []byte {
	if start := pos - len(w.levels); start >= 0 {
		copy(col.plain[start:], w.levels)
		return col.plain[start:end]
	}
	w.body = append(append(w.body[:0], w.levels...), col.plain[pos:end]...)
	return w.body
}

// appendConstantLevels appends n equal levels, with their length, as a page of
// version 1 wants them.
func appendConstantLevels(b []byte, level byte, n int) []byte {
	at := len(b)
	b = appendRun(append(b, 0, 0, 0, 0), level, n)
	binary.LittleEndian.PutUint32(b[at:], uint32(len(b)-at-4))
	return b
}

// nested writes a leaf of headers. counts are the headers of each row, col
// their keys or values one after another. A row does not span pages.
func (w *columnWriter) nested(l leaf, counts []int32, col *byteColumn, codec int32) {
	c := w.begin(l, codec)
	if len(col.lens) == 0 {
		w.noHeaders(c, len(counts))
	}
	pos, elem := headroom, 0
	for at := 0; at < len(counts) && len(col.lens) > 0; {
		m := pageMeta{firstRow: int64(at)}
		w.rep, w.def = w.rep[:0], w.def[:0]
		to := pos
		for ; at < len(counts) && m.rows < pageRows && (m.rows == 0 || to-pos < pageBytes && len(w.rep) < pageRows); at++ {
			m.rows++
			n := int(counts[at])
			if n == 0 {
				w.rep, w.def = append(w.rep, 0), append(w.def, defNoHeaders)
				continue
			}
			for i, size := range col.lens[elem : elem+n] {
				w.rep = append(w.rep, byte(min(i, 1)))
				if size < 0 {
					w.def = append(w.def, defNullHeader)
					continue
				}
				w.def = append(w.def, defHeader)
				to += 4 + int(size)
			}
			elem += n
		}
		for _, d := range w.def {
			if d != defHeader {
				m.nulls++ // as statistics count: levels without a value
			}
		}
		w.levels = appendLevels(w.levels[:0], w.rep, 1)
		w.levels = appendLevels(w.levels, w.def, leaves[l].defBits)
		w.page(c, m, len(w.def), w.joined(col, pos, to))
		pos = to
	}
	w.end(c)
}

// noHeaders writes a leaf of headers of n rows that have none.
func (w *columnWriter) noHeaders(c *chunkMeta, n int) {
	for at := 0; at < n; at += pageRows {
		m := pageMeta{firstRow: int64(at), rows: min(pageRows, n-at)}
		m.nulls = m.rows
		w.levels = appendConstantLevels(w.levels[:0], 0, m.rows)
		w.levels = appendConstantLevels(w.levels, defNoHeaders, m.rows)
		w.page(c, m, m.rows, w.levels)
	}
}
