package rows

import "encoding/binary"

const (
	// magic begins and ends a Parquet file.
	magic = "PAR1"
	// createdBy has the form that Java's readers parse for their lists of
	// writers with wrong statistics. A Reader trusts rangesKey only beside it.
	createdBy = "sluice version 1.0.0 (build 1)"
	// rangesKey is the key in the footer under which the ranges stand, in the
	// form of RangesTag, when the statistics of row groups do not tell them.
	rangesKey = "sluice.ranges"
	// Spark takes timestamps before 1900 for ones of the old calendar, and fails,
	// unless the file says that it was written by a Spark that does not.
	sparkKey, sparkVersion = "org.apache.spark.version", "3.5.0"
)

// rowGroupMeta is what the footer says of a row group.
type rowGroupMeta struct {
	rows  int64
	start int64 // of its first page
	// Its chunks are chunks[first:first+numLeaves].
	first int
	// Where the index of each of its chunks stands, offset and length.
	columnIndex, offsetIndex [numLeaves][2]int64
}

// writeIndex appends the page index of all row groups [F PageIndex.md]. The
// narrow columns have statistics per page, all columns the places of pages.
func (w *pageWriter) writeIndex(groups []rowGroupMeta, topic string) {
	for i := range groups {
		g := &groups[i]
		for l := leafTopic; l <= leafTimestampType; l++ {
			at := len(w.out)
			w.out = w.columnIndex(w.out, &w.chunks[g.first+int(l)], topic)
			g.columnIndex[l] = [2]int64{int64(at), int64(len(w.out) - at)}
		}
	}
	for i := range groups {
		g := &groups[i]
		for l := range numLeaves {
			at := len(w.out)
			w.out = w.offsetIndex(w.out, &w.chunks[g.first+int(l)])
			g.offsetIndex[l] = [2]int64{int64(at), int64(len(w.out) - at)}
		}
	}
}

// columnIndex appends the bounds and null counts of a chunk's pages.
func (w *pageWriter) columnIndex(b []byte, c *chunkMeta, topic string) []byte {
	pages := w.pages[c.firstPage:c.lastPage]
	t := thriftWriter{b: b}
	t.list(1, thriftTrue, len(pages)) // null_pages; booleans as items take a byte
	for _, p := range pages {
		if p.nulls == p.rows {
			t.b = append(t.b, thriftTrue)
		} else {
			t.b = append(t.b, thriftFalse)
		}
	}
	item := func(p *pageMeta, v int64) {
		switch {
		case p.nulls == p.rows:
			t.itemBytes(nil)
		case c.leaf == leafTopic:
			t.itemString(topic)
		default:
			t.itemBytes(bound(c.leaf, v))
		}
	}
	t.list(2, thriftBinary, len(pages))
	for i := range pages {
		item(&pages[i], pages[i].min)
	}
	t.list(3, thriftBinary, len(pages))
	for i := range pages {
		item(&pages[i], pages[i].max)
	}
	t.i32(4, boundaryOrder(pages))
	t.list(5, thriftI64, len(pages))
	for _, p := range pages {
		t.itemInt(int64(p.nulls))
	}
	t.close()
	return t.b
}

// boundaryOrder says whether the bounds rise from page to page, null pages
// aside: 1, ascending, or 0, unordered.
func boundaryOrder(pages []pageMeta) int32 {
	var last *pageMeta
	for i := range pages {
		p := &pages[i]
		if p.nulls == p.rows {
			continue
		}
		if last != nil && (p.min < last.min || p.max < last.max) {
			return 0
		}
		last = p
	}
	return 1
}

// offsetIndex appends the places of a chunk's pages.
func (w *pageWriter) offsetIndex(b []byte, c *chunkMeta) []byte {
	pages := w.pages[c.firstPage:c.lastPage]
	t := thriftWriter{b: b}
	t.list(1, thriftStruct, len(pages))
	for _, p := range pages {
		t.open()
		t.i64(1, p.offset)
		t.i32(2, p.size)
		t.i64(3, p.firstRow)
		t.close()
	}
	t.close()
	return t.b
}

// bound is a value as statistics have it: PLAIN.
func bound(l leaf, v int64) []byte {
	if leaves[l].typ == typeInt32 {
		return binary.LittleEndian.AppendUint32(nil, uint32(v))
	}
	return binary.LittleEndian.AppendUint64(nil, uint64(v))
}

// writeFooter appends the footer. ranges may be empty.
func (w *pageWriter) writeFooter(groups []rowGroupMeta, topic, ranges string) {
	at := len(w.out)
	t := thriftWriter{b: w.out}
	t.i32(1, 2) // format version: DELTA_BINARY_PACKED belongs to 2
	writeSchema(&t)
	total := int64(0)
	for _, g := range groups {
		total += g.rows
	}
	t.i64(3, total)
	t.list(4, thriftStruct, len(groups))
	for i := range groups {
		w.rowGroup(&t, &groups[i], i, topic)
	}
	pairs := [][2]string{{sparkKey, sparkVersion}, {rangesKey, ranges}}
	if ranges == "" {
		pairs = pairs[:1]
	}
	t.list(5, thriftStruct, len(pairs))
	for _, p := range pairs {
		t.open()
		t.string(1, p[0])
		t.string(2, p[1])
		t.close()
	}
	t.string(6, createdBy)
	// Without column orders readers ignore min_value and max_value.
	t.list(7, thriftStruct, int(numLeaves))
	for range numLeaves {
		t.open()
		t.structure(1) // TYPE_ORDER
		t.close()
		t.close()
	}
	t.close()
	w.out = binary.LittleEndian.AppendUint32(t.b, uint32(len(t.b)-at))
	w.out = append(w.out, magic...)
}

func (w *pageWriter) rowGroup(t *thriftWriter, g *rowGroupMeta, ordinal int, topic string) {
	chunks := w.chunks[g.first : g.first+int(numLeaves)]
	t.open()
	t.list(1, thriftStruct, len(chunks))
	uncompressed := int64(0)
	for i := range chunks {
		c := &chunks[i]
		uncompressed += c.uncompressed
		t.open()
		t.i64(2, c.start)
		t.structure(3)
		w.chunk(t, c, topic)
		t.i64(4, g.offsetIndex[i][0])
		t.i32(5, int32(g.offsetIndex[i][1]))
		if g.columnIndex[i][1] > 0 {
			t.i64(6, g.columnIndex[i][0])
			t.i32(7, int32(g.columnIndex[i][1]))
		}
		t.close()
	}
	t.i64(2, uncompressed)
	t.i64(3, g.rows)
	t.list(4, thriftStruct, 2) // sorted by
	for _, l := range []leaf{leafPartition, leafOffset} {
		t.open()
		t.i32(1, int32(l))
		t.boolean(2, false) // descending
		t.boolean(3, false) // nulls first
		t.close()
	}
	t.i64(5, g.start)
	t.i64(6, chunks[len(chunks)-1].end-g.start)
	t.field(7, thriftI16)
	t.itemInt(int64(ordinal))
	t.close()
}

func (w *pageWriter) chunk(t *thriftWriter, c *chunkMeta, topic string) {
	spec := &leaves[c.leaf]
	t.i32(1, spec.typ)
	encodings := []int32{spec.encoding, encodingRLE}
	if c.dictionary {
		encodings = append(encodings, encodingPlain)
	}
	t.list(2, thriftI32, len(encodings))
	for _, e := range encodings {
		t.itemInt(int64(e))
	}
	t.list(3, thriftBinary, len(spec.path))
	for _, p := range spec.path {
		t.itemString(p)
	}
	t.i32(4, c.codec)
	t.i64(5, c.values)
	t.i64(6, c.uncompressed)
	t.i64(7, c.end-c.start)
	t.i64(9, c.data)
	if c.dictionary {
		t.i64(11, c.start)
	}
	t.structure(12) // statistics
	t.i64(3, c.nulls)
	switch {
	case c.leaf == leafTopic:
		t.string(5, topic)
		t.string(6, topic)
	case c.leaf <= leafTimestampType && c.bounds:
		t.bytes(5, bound(c.leaf, c.max))
		t.bytes(6, bound(c.leaf, c.min))
	}
	t.close()
	t.close()
}
