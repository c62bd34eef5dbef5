package rows

import (
	"context"
	"fmt"
	"hash/crc32"
	"slices"
)

// Row groups move from file to file without being decoded: the pages of their payload
// are complete in themselves, so that those of several files, one after another, are
// a column chunk like any other. What stands between pages is made anew: the narrow
// columns, the indexes, the footer.

// worthCopying is the least payload, before compression, of a row group whose pages
// are copied: one or two pages. Those of smaller ones would be small in any file that they
// are copied to, however often.
const worthCopying = pageBytes

// Pages are rows of one partition whose payload is packed as it will stand in a file, to be
// put there by Encoder.AddPages, which only reads them.
type Pages struct {
	Range
	// Packed is what the payload takes in a file, in bytes.
	Packed int

	codec   int32
	full    int     // payload before compression
	offsets []int64 // nil: the range is dense
	micros  []int64
	noTime  int // how many of them are nullInt
	types   []valueRun
	payload payload
}

// payload is the columns of payload of some rows, packed, in the order of leaves.
type payload [numLeaves - leafKey]packedChunk

// packedChunk is a column of them.
type packedChunk struct {
	bytes  []byte // of all pages, with their headers
	pages  []pageMeta
	values int64
	nulls  int64
	full   int64
}

// payloadSlots are these columns for a Reader.
var payloadSlots = [numLeaves - leafKey]slot{slotKey, slotValue, slotHeaderKey, slotHeaderValue}

// Pages reads the row group in which a partition's rows go on at offset from, if its
// pages can be copied to a file of that codec: it must be ours, have rows of that partition
// from that offset on only, and be neither too small to be worth it nor take more than maxPacked
// bytes. Otherwise there are none, and no error: then Read reads these rows.
//
// Pages are as sound as their checksums say. They may share memory with what the Source
// returned.
func (r *Reader) Pages(ctx context.Context, partition int32, from int64, codec Codec, maxPacked int64) (*Pages, error) {
	return r.pages(ctx, partition, from, codec, worthCopying, maxPacked)
}

// pages is Pages, of row groups of minFull bytes of payload at least.
func (r *Reader) pages(ctx context.Context, partition int32, from int64, codec Codec, minFull, maxPacked int64) (p *Pages, err error) {
	defer guard(&err)
	group := r.f.groupAt(partition, from)
	if group < 0 {
		return nil, nil
	}
	rg := &r.f.groups[group]
	first, last := &rg.chunks[slotKey], &rg.chunks[slotHeaderValue]
	packed := last.start() + last.packed - first.start()
	if packed > maxPacked || rg.rows > maxGroupRows || !rg.copyable(codec.id(), minFull) {
		return nil, nil
	}
	g := r.gatherer()
	defer g.release()
	places := g.places(ctx, group)
	for _, s := range payloadSlots {
		if places[s] == nil {
			return nil, nil
		}
	}
	p = &Pages{Packed: int(packed), codec: codec.id()}
	if err := p.narrow(ctx, g, group, partition, from); err != nil {
		return nil, err
	}
	body, err := fetch(ctx, r.src, first.start(), packed, nil)
	if err != nil {
		return nil, err
	}
	for i, s := range payloadSlots {
		c := &rg.chunks[s]
		at := c.start() - first.start()
		p.full += int(c.full)
		if p.payload[i], err = copyChunk(body[at:at+c.packed], c, places[s], rg.rows, r.f.columns[s].maxRep == 0); err != nil {
			return nil, fmt.Errorf("column %s: %w", slotNames[s], err)
		}
	}
	return p, nil
}

// groupAt finds the row group of a file of ours that holds nothing but rows of a partition,
// the first of which has the offset from; -1 if there is none.
func (f *footer) groupAt(partition int32, from int64) int {
	if !f.ours || !f.ourColumns() {
		return -1
	}
	return slices.IndexFunc(f.groups, func(g rowGroup) bool {
		p, o := &g.chunks[slotPartition], &g.chunks[slotOffset]
		return g.rows > 0 && f.complete(slotPartition, p) && f.complete(slotOffset, o) &&
			p.min == int64(partition) && p.max == p.min && o.min == from
	})
}

// ourColumns says whether the columns are those that we write.
func (f *footer) ourColumns() bool {
	for s, c := range f.columns {
		l := leaf(s) + leafPartition
		if spec := &leaves[l]; c.leaf != int(l) || c.typ != spec.typ || c.maxDef != spec.maxDef || c.maxRep != spec.maxRep || c.unit != micros {
			return false
		}
	}
	return true
}

// copyable says whether a row group's payload stands in one piece, is packed by a codec, and
// was not less than minFull bytes.
func (g *rowGroup) copyable(codec int32, minFull int64) bool {
	full, at := int64(0), g.chunks[slotKey].start()
	for _, s := range payloadSlots {
		c := &g.chunks[s]
		if c.codec != codec || c.start() != at || c.start() != c.data || c.nulls < 0 || c.nulls > c.values {
			return false
		}
		at += c.packed
		full += c.full
	}
	return full >= minFull
}

// narrow decodes the narrow columns of a row group, and looks whether its rows are those
// of a partition from an offset on, in order.
func (p *Pages) narrow(ctx context.Context, g *gatherer, group int, partition int32, from int64) error {
	n := g.f.groups[group].rows
	t, err := g.gather(ctx, group, []rowSpan{{0, n}}, slotPartition, slotOffset, slotTimestamp, slotTimestampType)
	if err != nil {
		return err
	}
	for _, v := range t.columns[slotPartition].ints {
		if v != int64(partition) {
			return corrupt("statistics of the partition")
		}
	}
	p.offsets = slices.Clone(t.columns[slotOffset].ints)
	last := from - 1
	for _, offset := range p.offsets {
		if offset <= last {
			return corrupt("order of the offsets")
		}
		last = offset
	}
	if p.offsets[0] != from {
		return corrupt("statistics of the offsets")
	}
	p.micros = slices.Clone(t.columns[slotTimestamp].ints)
	for _, v := range p.micros {
		if v == nullInt {
			p.noTime++
		}
	}
	for _, v := range t.columns[slotTimestampType].ints {
		p.types = addRun(p.types, int32(v), 1)
	}
	p.Range = Range{partition, from, last, n}
	return nil
}

// copyChunk takes apart b, the pages of a column of so many rows, which stand at places in
// the file. In a flat column each value is a row.
func copyChunk(b []byte, c *chunk, places []pagePlace, rows int64, flat bool) (packedChunk, error) {
	out := packedChunk{bytes: b, pages: make([]pageMeta, len(places)), nulls: c.nulls, full: c.full}
	at, full := int64(0), int64(0)
	for i, place := range places {
		end := rows
		if i+1 < len(places) {
			end = places[i+1].first
		}
		if place.off != c.start()+at {
			return out, corrupt("places of pages")
		}
		h, n, _, err := parsePageHeader(b[at:min(at+place.size, at+maxPageHeader)])
		switch {
		case err != nil:
			return out, err
		case int64(n+h.packed) != place.size || h.typ != pageData || h.encoding != encodingPlain ||
			h.defEncoding != encodingRLE || h.repEncoding != encodingRLE || flat && int64(h.values) != end-place.first:
			return out, corrupt("header of a page")
		case !h.hasCRC || crc32.ChecksumIEEE(b[at+int64(n):at+place.size]) != h.crc:
			return out, corrupt("checksum of a page")
		}
		out.pages[i] = pageMeta{offset: at, size: int32(place.size), firstRow: place.first, rows: int(end - place.first)}
		out.values += int64(h.values)
		full += int64(n + h.full)
		at += place.size
	}
	if at != int64(len(b)) || out.values != c.values || full != c.full {
		return out, corrupt("size of a column")
	}
	return out, nil
}

// AddPages writes the rows of p behind those before, as Add does those of a batch. p is
// used until the file is finished or begun anew.
func (e *Encoder) AddPages(p *Pages) error {
	if p.codec != e.opts.Codec.id() {
		return fmt.Errorf("%w: pages of codec %d in a file of codec %d", ErrUnsupported, p.codec, e.opts.Codec.id())
	}
	c := &e.cols
	if e.groupEnds(p.Partition) || c.n > 0 && (c.size()+p.full > e.opts.RowGroupBytes || c.n+len(p.micros) > maxGroupRows) {
		e.flush()
	}
	e.pack.seal(c, p.codec)
	c.addPages(p)
	return e.stats.add(p.Range)
}

// addPages takes up pages behind others.
func (c *columns) addPages(p *Pages) {
	n := len(p.micros)
	c.copy(&p.payload)
	c.n += n
	if p.offsets != nil {
		c.offsets = append(c.offsets, p.offsets...)
	} else {
		c.offsets = reserve(c.offsets, n)
		for offset := p.First; offset <= p.Last; offset++ {
			c.offsets = append(c.offsets, offset)
		}
	}
	c.micros = append(c.micros, p.micros...)
	c.noTime += p.noTime
	c.partitions = addRun(c.partitions, p.Partition, n)
	for _, r := range p.types {
		c.types = addRun(c.types, r.value, r.n)
	}
}

// copy takes up payload that is packed.
func (c *columns) copy(p *payload) {
	c.copied = append(c.copied, p)
	for i := range p {
		c.copiedFull += int(p[i].full)
		c.copiedPacked += len(p[i].bytes)
	}
}

// copyPages writes a column of payload, all of which is packed.
func (w *columnWriter) copyPages(l leaf, all []*payload, codec int32) {
	c := w.begin(l, codec)
	row, nulls := int64(0), int64(0)
	for _, p := range all {
		from := &p[l-leafKey]
		at := int64(len(w.out))
		w.out = append(reserve(w.out, len(from.bytes)), from.bytes...)
		for _, m := range from.pages {
			m.offset += at
			m.firstRow += row
			w.pages = append(w.pages, m)
		}
		last := from.pages[len(from.pages)-1]
		row += last.firstRow + int64(last.rows)
		c.values += from.values
		c.uncompressed += from.full
		nulls += from.nulls
	}
	w.end(c)
	c.nulls = nulls // of single pages it is not known
}
