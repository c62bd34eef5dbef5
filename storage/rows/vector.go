package rows

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// errTooMuch: the rows asked for hold more bytes than expected; ask for fewer.
var errTooMuch = errors.New("rows: more bytes than expected")

// vector is one column of the rows that were selected of a row group.
type vector struct {
	col   *column
	name  string
	ints  []int64 // of columns of integers, nullInt for null
	spans []span  // of byte columns: a value each, into arena
	arena []byte
	// counts is, of a nested column, how many of the spans belong to each row.
	counts []int32
	limit  int // of arena

	dictInts  []int64
	dictSpans []span

	row      int64 // the row after the last one decoded
	cursor   int   // the selections before it lie behind row
	selected bool  // of a nested column: whether that row was selected

	// Scratch of a page. Levels that are all the same are not spelled out: then
	// def is empty, allDef is the level, and so for rep, of which 0 is meant.
	def, rep, index []uint32
	allDef          int
	pageInts        []int64
	pageSpans       []span
	lengths         []int64
}

// reset makes a vector of another column, with the memory of the last one.
func (v *vector) reset(col *column, name string, limit int) {
	*v = vector{
		col: col, name: name, limit: limit,
		ints: v.ints[:0], spans: v.spans[:0], arena: v.arena[:0], counts: v.counts[:0],
		dictInts: v.dictInts[:0], dictSpans: v.dictSpans[:0],
		def: v.def[:0], rep: v.rep[:0], index: v.index[:0],
		pageInts: v.pageInts[:0], pageSpans: v.pageSpans[:0], lengths: v.lengths[:0],
	}
}

// keepVector is the most memory, in bytes, that an idle vector may hold.
const keepVector = 8 << 20

func (v *vector) size() int {
	return cap(v.arena) + 8*(cap(v.ints)+cap(v.spans)+cap(v.dictInts)+cap(v.dictSpans)+cap(v.pageInts)+cap(v.pageSpans)+cap(v.lengths)) +
		4*(cap(v.counts)+cap(v.def)+cap(v.rep)+cap(v.index))
}

func (v *vector) isBytes() bool { return v.col.typ == typeByteArray || v.col.typ == typeFixed }

func (v *vector) fail(err error) error { return fmt.Errorf("column %s: %w", v.name, err) }

// page decodes any page of the column; of data pages it keeps the rows that sel
// selects. codec is that of the chunk.
func (v *vector) page(h *pageHeader, body []byte, codec int32, sel []rowSpan) error {
	switch h.typ {
	case pageDictionary:
		return v.dictionary(h, body, codec)
	case pageData, pageDataV2:
	default:
		return nil // index pages have never been used
	}
	if h.values == 0 {
		return nil
	}
	if v.col.maxRep == 0 { // a value is a row: is any of them wanted?
		end := v.row + int64(h.values)
		if v.advance(sel, v.row); v.cursor == len(sel) || sel[v.cursor].from >= end {
			v.row = end
			return nil
		}
	}
	at := len(v.arena)
	kept := len(v.spans)
	var values int // where in arena the values begin
	var err error
	if h.typ == pageData {
		values, err = v.levelsV1(h, body, codec)
	} else {
		values, err = v.levelsV2(h, body, codec)
	}
	if err != nil {
		return v.fail(err)
	}
	n := h.values
	if len(v.def) == 0 && v.allDef != v.col.maxDef {
		n = 0
	}
	for _, d := range v.def {
		if int(d) != v.col.maxDef {
			n--
		}
	}
	if err := v.values(h, values, n); err != nil {
		return v.fail(err)
	}
	if v.col.maxRep > 0 {
		err = v.keepNested(h.values, sel)
	} else {
		v.keepFlat(h.values, sel)
	}
	if err != nil {
		return v.fail(err)
	}
	if len(v.spans)-kept < n || !v.isBytes() || h.encoding == encodingRLEDictionary || h.encoding == encodingPlainDictionary {
		v.compact(at, kept)
	}
	if len(v.arena) > v.limit {
		return errTooMuch
	}
	return nil
}

// levelsV1 decompresses a page of version 1 and decodes its levels [F Data
// pages]. Levels that can only be 0 are not there.
func (v *vector) levelsV1(h *pageHeader, body []byte, codec int32) (values int, err error) {
	at := len(v.arena)
	if v.arena, err = decompress(v.arena, codec, body, h.full); err != nil {
		return 0, err
	}
	length := func(highest int, encoding int32) ([]byte, error) {
		if highest == 0 {
			return nil, nil
		}
		if encoding != encodingRLE {
			return nil, fmt.Errorf("%w: encoding %d of levels", ErrUnsupported, encoding)
		}
		b := v.arena[at:]
		if len(b) < 4 {
			return nil, corrupt("levels")
		}
		n := int64(binary.LittleEndian.Uint32(b))
		if n > int64(len(b)-4) {
			return nil, corrupt("levels")
		}
		at += 4 + int(n)
		return b[4 : 4+n], nil
	}
	rep, err := length(v.col.maxRep, h.repEncoding)
	if err != nil {
		return 0, err
	}
	def, err := length(v.col.maxDef, h.defEncoding)
	if err != nil {
		return 0, err
	}
	return at, v.levels(rep, def, h.values)
}

// levels decodes the levels of n values.
func (v *vector) levels(rep, def []byte, n int) (err error) {
	v.rep, v.def, v.allDef = v.rep[:0], v.def[:0], 0
	bits := levelBits(v.col.maxRep)
	if all, ok := singleRun(rep, bits, n); v.col.maxRep > 0 && !(ok && all == 0) {
		if v.rep, err = decodeHybrid(v.rep, rep, bits, n); err != nil {
			return err
		}
	}
	if v.col.maxDef == 0 {
		return nil
	}
	bits = levelBits(v.col.maxDef)
	if all, ok := singleRun(def, bits, n); ok {
		v.allDef = int(all)
		return nil
	}
	v.def, err = decodeHybrid(v.def, def, bits, n)
	return err
}

// levelsV2 does that for a page of version 2, whose levels stand before the
// compressed values.
func (v *vector) levelsV2(h *pageHeader, body []byte, codec int32) (values int, err error) {
	levels := h.repLen + h.defLen // both below 2^31
	if levels > len(body) || levels > h.full {
		return 0, corrupt("levels")
	}
	if err := v.levels(body[:h.repLen], body[h.repLen:levels], h.values); err != nil {
		return 0, err
	}
	body = body[levels:]
	if !h.compressed || len(body) == 0 {
		codec = codecNone
	}
	at := len(v.arena)
	v.arena, err = decompress(v.arena, codec, body, h.full-levels)
	return at, err
}

func (v *vector) dictionary(h *pageHeader, body []byte, codec int32) error {
	at := len(v.arena)
	var err error
	if v.arena, err = decompress(v.arena, codec, body, h.full); err != nil {
		return v.fail(err)
	}
	if v.isBytes() {
		v.dictSpans, err = decodePlain(v.dictSpans[:0], v.arena, at, v.col, h.values)
		v.limit += h.full
	} else {
		v.dictInts, err = decodeInts(v.dictInts[:0], v.arena[at:], v.col, h.values)
		v.arena = v.arena[:at]
	}
	if err != nil {
		return v.fail(err)
	}
	return nil
}

// values decodes the n values of a data page that are not null into pageInts
// or pageSpans.
func (v *vector) values(h *pageHeader, at, n int) (err error) {
	v.pageInts, v.pageSpans = v.pageInts[:0], v.pageSpans[:0]
	if n == 0 {
		return nil
	}
	body := v.arena[at:]
	bytes := v.isBytes()
	switch e := h.encoding; {
	case e == encodingRLEDictionary || e == encodingPlainDictionary:
		return v.indexed(body, n)
	case e == encodingPlain && bytes:
		v.pageSpans, err = decodePlain(v.pageSpans, v.arena, at, v.col, n)
	case e == encodingPlain:
		v.pageInts, err = decodeInts(v.pageInts, body, v.col, n)
	case e == encodingDelta && !bytes && v.col.typ != typeInt96:
		v.pageInts, _, err = decodeDelta(v.pageInts, body, n)
		if v.col.typ == typeInt32 { // its sums wrap at 32 bits
			for i, x := range v.pageInts {
				v.pageInts[i] = int64(int32(x))
			}
		}
	case e == encodingDeltaLength && v.col.typ == typeByteArray:
		v.pageSpans, v.lengths, err = decodeLengths(v.pageSpans, v.arena, at, n, v.lengths)
	case e == encodingDeltaByteArray && bytes:
		v.pageSpans, v.arena, err = decodePrefixed(v.pageSpans, v.arena, at, n, maxPage)
	default:
		err = fmt.Errorf("%w: encoding %d", ErrUnsupported, e)
	}
	return err
}

// indexed looks n values up in the dictionary.
func (v *vector) indexed(b []byte, n int) (err error) {
	if len(b) == 0 {
		return corrupt("dictionary indexes")
	}
	if i, ok := singleRun(b[1:], int(b[0]), n); ok {
		v.index = append(v.index[:0], i)
		defer v.repeat(n - 1)
	} else if v.index, err = decodeHybrid(v.index[:0], b[1:], int(b[0]), n); err != nil {
		return err
	}
	for _, i := range v.index {
		switch {
		case int64(i) < int64(len(v.dictSpans)):
			v.pageSpans = append(v.pageSpans, v.dictSpans[i])
		case int64(i) < int64(len(v.dictInts)):
			v.pageInts = append(v.pageInts, v.dictInts[i])
		default:
			return corrupt("dictionary index")
		}
	}
	return nil
}

// advance moves the cursor to the first selection that ends behind row.
func (v *vector) advance(sel []rowSpan, row int64) {
	for v.cursor < len(sel) && sel[v.cursor].to <= row {
		v.cursor++
	}
}

// repeat appends the value of a page n times more, if it has one.
func (v *vector) repeat(n int) {
	for len(v.pageInts) > 0 && n > 0 {
		v.pageInts = append(v.pageInts, v.pageInts[0])
		n--
	}
	for len(v.pageSpans) > 0 && n > 0 {
		v.pageSpans = append(v.pageSpans, v.pageSpans[0])
		n--
	}
}

// keepFlat appends the selected ones of the n rows of a page.
func (v *vector) keepFlat(n int, sel []rowSpan) {
	first, end := v.row, v.row+int64(n)
	v.row = end
	next := 0 // of the values that are not null
	at := first
	nulls := len(v.pageInts)+len(v.pageSpans) < n
	bytes := v.isBytes()
	v.advance(sel, first)
	for _, s := range sel[v.cursor:] {
		if s.from >= end {
			break
		}
		from, to := max(s.from, first), min(s.to, end)
		if from >= to {
			continue
		}
		if !nulls {
			i, j := from-first, to-first
			if bytes {
				v.spans = append(v.spans, v.pageSpans[i:j]...)
			} else {
				v.ints = append(v.ints, v.pageInts[i:j]...)
			}
			continue
		}
		for ; at < to; at++ {
			present := len(v.def) > 0 && int(v.def[at-first]) == v.col.maxDef
			switch keep := at >= from; {
			case keep && bytes && present:
				v.spans = append(v.spans, v.pageSpans[next])
			case keep && bytes:
				v.spans = append(v.spans, span{0, -1})
			case keep && present:
				v.ints = append(v.ints, v.pageInts[next])
			case keep:
				v.ints = append(v.ints, nullInt)
			}
			if present {
				next++
			}
		}
	}
}

// keepNested appends the selected ones of the rows of a page of n levels. A
// row may go on from the page before.
func (v *vector) keepNested(n int, sel []rowSpan) error {
	next := 0
	if len(v.rep) == 0 && len(v.def) == 0 && v.allDef < v.col.elemDef {
		v.keepEmpty(n, sel)
		return nil
	}
	for i := range n {
		if len(v.rep) == 0 || v.rep[i] == 0 {
			v.advance(sel, v.row)
			v.selected = v.cursor < len(sel) && sel[v.cursor].from <= v.row
			v.row++
			if v.selected {
				v.counts = append(v.counts, 0)
			}
		} else if v.row == 0 {
			return corrupt("repetition levels")
		}
		def := v.allDef
		if len(v.def) > 0 {
			def = int(v.def[i])
		}
		present := def == v.col.maxDef
		if v.selected && def >= v.col.elemDef {
			s := span{0, -1}
			if present {
				s = v.pageSpans[next]
			}
			if len(v.spans) == math.MaxInt32 {
				return errTooMuch
			}
			v.spans = append(v.spans, s)
			v.counts[len(v.counts)-1]++
		}
		if present {
			next++
		}
	}
	return nil
}

// keepEmpty appends the selected ones of n rows without an element.
func (v *vector) keepEmpty(n int, sel []rowSpan) {
	first, end := v.row, v.row+int64(n)
	v.row = end
	v.advance(sel, first)
	for _, s := range sel[v.cursor:] {
		if s.from >= end {
			break
		}
		for range min(s.to, end) - max(s.from, first) {
			v.counts = append(v.counts, 0)
		}
	}
	v.selected = false // nothing follows that belongs to these rows
}

// compact frees what a page, which begins at arena[at], holds beside selected
// values, if that is most of it. kept is the first span of the page.
func (v *vector) compact(at, kept int) {
	if !v.isBytes() {
		v.arena = v.arena[:at]
		return
	}
	size := 0
	for _, s := range v.spans[kept:] {
		if int(s.off) >= at {
			size += int(max(s.n, 0))
		}
	}
	if size > (len(v.arena)-at)/2 {
		return
	}
	// The values stand in the order of the spans, so that they move to the front
	// without overwriting each other.
	for i := range v.spans[kept:] {
		s := &v.spans[kept+i]
		if int(s.off) >= at && s.n > 0 {
			n := copy(v.arena[at:], v.arena[s.off:int(s.off)+int(s.n)])
			s.off = uint32(at)
			at += n
		}
	}
	v.arena = v.arena[:at]
}
