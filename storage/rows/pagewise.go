package rows

import (
	"context"
)

// Values are most of what is read, and each is used once, in the order of its rows. Decoded all
// at once they would lie in megabytes of memory, which no processor's cache holds, only to be
// copied from there. So where a file's rows are in order, its values are decoded a page at a
// time, when the emitter comes to them: the memory of one page serves for all.

// columnPages decodes the wanted pages of a column, the places of which are known, in order.
type columnPages struct {
	v      *vector
	codec  int32
	stream pageStream
	places []pagePlace
	rows   int64 // of the row group
	sel    []rowSpan
	cursor int // the first of sel that reaches behind the pages so far
}

func (g *gatherer) columnPages(v *vector, rg *rowGroup, s slot, places []pagePlace, sel []rowSpan) columnPages {
	c := &rg.chunks[s]
	return columnPages{
		v: v, codec: c.codec, places: places, rows: rg.rows, sel: sel,
		stream: pageStream{w: &g.w, name: slotNames[s], off: c.start(), end: c.start() + c.packed},
	}
}

// wanted moves on to the next page that has selected rows, and answers where it is and the
// row behind it. There is none behind the last.
func (p *columnPages) wanted() (at pagePlace, end int64, ok bool) {
	for len(p.places) > 0 {
		at, end = p.places[0], p.rows
		if len(p.places) > 1 {
			end = p.places[1].first
		}
		if p.cursor = skipTo(p.sel, p.cursor, at.first); p.cursor == len(p.sel) {
			return at, end, false
		}
		p.places = p.places[1:]
		if p.sel[p.cursor].from < end {
			return at, end, true
		}
	}
	return at, end, false
}

// next decodes the next page that has selected rows, if there is one.
func (p *columnPages) next(ctx context.Context) (ok bool, err error) {
	at, end, ok := p.wanted()
	if !ok {
		return false, nil
	}
	p.v.row = at.first
	if err := p.read(ctx, at.off, at.off+at.size); err != nil {
		return false, err
	}
	if p.v.row != end {
		return false, p.v.fail(corrupt("page of other rows than the index says"))
	}
	return true, nil
}

// read decodes what stands from off to end.
func (p *columnPages) read(ctx context.Context, off, end int64) error {
	for p.stream.jump(off, end); ; {
		h, body, ok, err := p.stream.next(ctx)
		if err != nil || !ok {
			return err
		}
		if err := p.v.page(&h, body, p.codec, p.sel); err != nil {
			return err
		}
	}
}

// pagewise is a column of a table of which v holds the rows from first to end only.
type pagewise struct {
	columnPages
	first, end int
	full       int // what all pages take when decompressed
}

// pagewise answers a column as one that is decoded page by page, if it can be: its values
// stand in the pages as they are, so that these tell how many bytes they take, all pages have
// been read from the file, and none is large.
func (g *gatherer) pagewise(rg *rowGroup, s slot, places []pagePlace, sel []rowSpan) *pagewise {
	col := &g.f.columns[s]
	if col.leaf < 0 || col.typ != typeByteArray || col.maxRep > 0 || len(places) == 0 || places[0].off != rg.chunks[s].start() {
		return nil
	}
	p := &pagewise{columnPages: g.columnPages(nil, rg, s, places, sel)}
	for pages := p.columnPages; ; {
		at, _, ok := pages.wanted()
		if !ok {
			break
		}
		b, ok := g.w.at(at.off, at.size)
		if !ok {
			return nil
		}
		h, n, _, err := parsePageHeader(b[:min(at.size, maxPageHeader)])
		if err != nil || h.typ != pageData && h.typ != pageDataV2 || h.encoding != encodingPlain || int64(n+h.packed) != at.size || max(h.full, h.packed) > largePage {
			return nil
		}
		p.full += h.full
	}
	p.v = g.vector(s)
	return p
}

// reach decodes the page that holds a row of the table, which is none before first.
func (p *pagewise) reach(ctx context.Context, row int) error {
	for row >= p.end {
		p.v.spans, p.v.arena = p.v.spans[:0], p.v.arena[:0]
		switch ok, err := p.next(ctx); {
		case err != nil:
			return err
		case !ok:
			return p.v.fail(corrupt("fewer rows than the index says"))
		}
		p.first, p.end = p.end, p.end+len(p.v.spans)
	}
	return nil
}
