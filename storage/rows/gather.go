package rows

import (
	"context"
	"fmt"
	"math"
	"sync"
)

// rowSpan are rows [from, to) of a row group.
type rowSpan struct{ from, to int64 }

// pagePlace is where a page of a column stands, as the offset index says.
type pagePlace struct {
	off   int64
	size  int64
	first int64 // row
}

// table are columns of selected rows of one row group. A column that the file
// does not have is nil.
type table struct {
	columns [numSlots]*vector
	rows    int
	starts  []int32 // see headerStarts
	// values, unless nil, decodes the column of values, which holds a page of them at a time.
	values *pagewise
}

// gatherer reads columns of one file for one call.
type gatherer struct {
	f *footer
	w windows
	// limit bounds the bytes of values of one column that a table may hold.
	limit int
	// index is the page index of row groups, as far as it has been read.
	index map[int]*[numSlots][]pagePlace
	// inOrder: the rows of each table are used once, in order. See pagewise.
	inOrder bool
	// vectors are kept from one call to the next; the first used are in tables.
	vectors []*vector
	used    int
}

var gatherers = sync.Pool{New: func() any { return &gatherer{index: make(map[int]*[numSlots][]pagePlace)} }}

// gatherer takes a gatherer from the pool, for one goroutine, until release.
func (r *Reader) gatherer() *gatherer {
	g := gatherers.Get().(*gatherer)
	g.f, g.limit, g.used, g.inOrder = r.f, math.MaxInt32, 0, false
	g.w.src, g.w.have = r.src, append(g.w.have, r.tail...)
	return g
}

// release gives the gatherer back to the pool. Its tables are gone then.
func (g *gatherer) release() {
	clear(g.index)
	g.w.drop(0)
	g.f, g.w.src = nil, nil
	kept := g.vectors[:0]
	for _, v := range g.vectors {
		if v.size() <= keepVector && len(kept) < int(numSlots) {
			kept = append(kept, v)
		}
	}
	clear(g.vectors[len(kept):])
	g.vectors = kept
	gatherers.Put(g)
}

// vector takes a vector for a column.
func (g *gatherer) vector(s slot) *vector {
	if g.used == len(g.vectors) {
		g.vectors = append(g.vectors, new(vector))
	}
	v := g.vectors[g.used]
	g.used++
	v.reset(&g.f.columns[s], slotNames[s], g.limit)
	return v
}

// gather reads the rows of sel, which rise and do not overlap, in the columns
// of slots; there is one at least. errTooMuch says to ask for fewer rows.
func (g *gatherer) gather(ctx context.Context, group int, sel []rowSpan, slots ...slot) (*table, error) {
	rg := &g.f.groups[group]
	places := g.places(ctx, group)
	var ranges []byteRange
	for _, s := range slots {
		ranges = g.ranges(ranges, rg, s, places[s], sel)
	}
	have := len(g.w.have)
	if err := g.w.prefetch(ctx, within(ranges, int64(pageLimit()))); err != nil {
		return nil, err
	}
	t := &table{}
	for _, s := range sel {
		t.rows += int(s.to - s.from)
	}
	for _, s := range slots {
		if g.f.columns[s].leaf < 0 {
			continue
		}
		if s == slotValue && g.inOrder {
			if t.values = g.pagewise(rg, s, places[s], sel); t.values != nil {
				t.columns[s] = t.values.v
				continue
			}
		}
		v, err := g.column(ctx, rg, s, places[s], sel)
		if err != nil {
			return nil, err
		}
		got := len(v.ints) + len(v.spans)
		if v.col.maxRep > 0 {
			got = len(v.counts)
		}
		if got != t.rows {
			return nil, v.fail(fmt.Errorf("%w: %d rows of %d", ErrCorrupt, got, t.rows))
		}
		t.columns[s] = v
	}
	if t.values == nil {
		g.w.drop(have) // what is decoded is not needed any more
	}
	return t, nil
}

// ranges appends the parts of the file that a column needs, as far as they can be told.
func (g *gatherer) ranges(ranges []byteRange, rg *rowGroup, s slot, places []pagePlace, sel []rowSpan) []byteRange {
	c := &rg.chunks[s]
	if g.f.columns[s].leaf < 0 {
		return ranges
	}
	if places == nil {
		return append(ranges, byteRange{c.start(), min(c.packed, 4*streamBytes)})
	}
	ranges = append(ranges, byteRange{c.start(), places[0].off - c.start()}) // a dictionary
	cursor := 0
	for i, p := range places {
		end := rg.rows
		if i+1 < len(places) {
			end = places[i+1].first
		}
		if cursor = skipTo(sel, cursor, p.first); cursor == len(sel) {
			break
		}
		if sel[cursor].from >= end {
			continue
		}
		if last := len(ranges) - 1; ranges[last].off+ranges[last].n == p.off {
			ranges[last].n += p.size
		} else {
			ranges = append(ranges, byteRange{p.off, p.size})
		}
	}
	return ranges
}

// skipTo moves a cursor to the first selection that ends behind row.
func skipTo(sel []rowSpan, cursor int, row int64) int {
	for cursor < len(sel) && sel[cursor].to <= row {
		cursor++
	}
	return cursor
}

// column decodes one column of the selected rows.
func (g *gatherer) column(ctx context.Context, rg *rowGroup, s slot, places []pagePlace, sel []rowSpan) (*vector, error) {
	c := &rg.chunks[s]
	v := g.vector(s)
	if places == nil {
		stream := pageStream{w: &g.w, name: v.name, off: c.start(), end: c.start() + c.packed}
		defer stream.close(v)
		values := c.values
		last := sel[len(sel)-1].to
		// The last row of a nested column may go on in the next page.
		for v.row < last || v.row == last && v.col.maxRep > 0 {
			h, body, ok, err := stream.next(ctx)
			if err != nil {
				return nil, err
			}
			if !ok {
				break
			}
			if h.typ != pageDictionary {
				if values -= int64(h.values); values < 0 {
					return nil, v.fail(corrupt("more values than the footer says"))
				}
			}
			if err := v.page(&h, body, c.codec, sel); err != nil {
				return nil, err
			}
		}
		return v, nil
	}
	pages := g.columnPages(v, rg, s, places, sel)
	defer pages.stream.close(v)
	if err := pages.read(ctx, c.start(), places[0].off); err != nil { // the dictionary
		return nil, err
	}
	for {
		if ok, err := pages.next(ctx); !ok || err != nil {
			return v, err
		}
	}
}

// places reads the offset indexes of a row group; nil for a column that has
// none, or one that makes no sense: then it is read from its beginning.
func (g *gatherer) places(ctx context.Context, group int) *[numSlots][]pagePlace {
	if places, ok := g.index[group]; ok {
		return places
	}
	rg := &g.f.groups[group]
	all := new([numSlots][]pagePlace)
	g.index[group] = all
	var ranges []byteRange
	for s := slotTimestamp; s < numSlots; s++ {
		if c := &rg.chunks[s]; g.f.columns[s].leaf >= 0 && c.index > 0 {
			ranges = append(ranges, byteRange{c.index, int64(c.indexLen)})
		}
	}
	have := len(g.w.have)
	if g.w.prefetch(ctx, ranges) != nil {
		return all // the columns will say what is wrong
	}
	for s := slotTimestamp; s < numSlots; s++ {
		c := &rg.chunks[s]
		if g.f.columns[s].leaf < 0 || c.index <= 0 || c.indexLen <= 0 {
			continue
		}
		if b, ok := g.w.at(c.index, int64(c.indexLen)); ok {
			all[s] = parseOffsetIndex(b[:c.indexLen], c, rg.rows)
		}
	}
	g.w.drop(have)
	return all
}

// parseOffsetIndex decodes an OffsetIndex [F PageIndex.md] and checks it.
func parseOffsetIndex(b []byte, c *chunk, rows int64) []pagePlace {
	r := thriftReader{b: b}
	var places []pagePlace
	for last := 0; ; {
		id, t := r.field(&last)
		if t == thriftStop {
			break
		}
		if id != 1 {
			r.skip(t)
			continue
		}
		n := r.listOf(t, thriftStruct)
		for i := 0; i < n && !r.bad; i++ {
			var p pagePlace
			for last := 0; ; {
				id, t := r.field(&last)
				if t == thriftStop {
					break
				}
				switch {
				case id == 1 && t == thriftI64:
					p.off = r.int()
				case id == 2 && t == thriftI32:
					p.size = int64(r.i32())
				case id == 3 && t == thriftI64:
					p.first = r.int()
				default:
					r.skip(t)
				}
			}
			places = append(places, p)
		}
	}
	if r.bad || len(places) == 0 || places[0].first != 0 {
		return nil
	}
	at, row := c.start(), int64(-1)
	for _, p := range places {
		if p.off < at || p.size <= 0 || p.off > c.start()+c.packed-p.size || p.first <= row || p.first >= rows {
			return nil
		}
		at, row = p.off+p.size, p.first
	}
	return places
}
