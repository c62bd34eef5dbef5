package rows

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
)

// Pages end after so many rows, or at so many bytes of values if that comes
// first. Small pages stay in the CPU's cache while they are compressed, and let
// readers fetch a part of a column; each costs some 50 bytes. Snappy works in blocks
// of 64 KiB: with its levels a page is just below two.
const (
	pageRows  = 8192
	pageBytes = 126 << 10
)

// pageMeta is what the page index says of a page [F PageIndex.md].
type pageMeta struct {
	offset   int64
	size     int32 // header included
	firstRow int64 // in its row group
	// min and max are only kept for integers; both are meaningless if all
	// values are null.
	min, max int64
	rows     int
	nulls    int
}

// chunkMeta is what the footer says of a column chunk.
type chunkMeta struct {
	leaf         leaf
	codec        int32
	values       int64 // nulls included
	nulls        int64
	uncompressed int64 // sizes include page headers
	start        int64 // of its first page, the dictionary if it has one
	dictionary   bool
	data         int64 // where the data pages start
	end          int64
	min, max     int64
	bounds       bool // min and max are known
	firstPage    int  // its pages are pages[firstPage:lastPage]
	lastPage     int
}

// pageWriter appends pages to a file. Pages are of version 1: every engine
// reads those, while Delta's own documents warn of version 2. That its levels are
// compressed together with the values costs no copy, see flat.
type pageWriter struct {
	out    []byte
	pages  []pageMeta
	chunks []chunkMeta

	zstd   *zstd.Encoder
	header thriftWriter
	gap    int // the length of the last page header, the likely one of the next
}

// init makes what only some codecs need, once.
func (w *pageWriter) init(codec Codec) error {
	if codec != Zstd || w.zstd != nil {
		return nil
	}
	z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest),
		zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false)) // pages have a CRC
	if err != nil {
		return fmt.Errorf("rows: zstd: %w", err)
	}
	w.zstd = z
	return nil
}

// reset begins a file of about size bytes.
func (w *pageWriter) reset(size int) {
	w.out = append(reserve(w.out[:0], size), magic...)
	w.pages, w.chunks = w.pages[:0], w.chunks[:0]
}

// begin starts the chunk of a column; end finishes it.
func (w *pageWriter) begin(l leaf, codec int32) *chunkMeta {
	at := int64(len(w.out))
	w.chunks = append(w.chunks, chunkMeta{leaf: l, codec: codec, start: at, data: at, firstPage: len(w.pages)})
	return &w.chunks[len(w.chunks)-1]
}

func (w *pageWriter) end(c *chunkMeta) {
	c.end = int64(len(w.out))
	c.lastPage = len(w.pages)
	for _, p := range w.pages[c.firstPage:c.lastPage] {
		c.nulls += int64(p.nulls)
		if p.nulls == p.rows {
			continue
		}
		if !c.bounds {
			c.min, c.max, c.bounds = p.min, p.max, true
		}
		c.min, c.max = min(c.min, p.min), max(c.max, p.max)
	}
}

// dictionary writes a dictionary page of n PLAIN values.
func (w *pageWriter) dictionary(c *chunkMeta, n int, body []byte) {
	w.write(c, pageDictionary, n, encodingPlain, body)
	c.dictionary = true
	c.data = int64(len(w.out))
}

// page writes a data page: levels and values, whose number includes nulls.
func (w *pageWriter) page(c *chunkMeta, m pageMeta, values int, body []byte) {
	m.offset = int64(len(w.out))
	w.write(c, pageData, values, leaves[c.leaf].encoding, body)
	m.size = int32(int64(len(w.out)) - m.offset)
	w.pages = append(w.pages, m)
	c.values += int64(values)
}

// write compresses the body straight into the output, behind a gap for the
// header, whose length depends on that of the result. The guess is nearly
// always right; otherwise the page moves by some bytes.
func (w *pageWriter) write(c *chunkMeta, typ, values int, encoding int32, body []byte) {
	start := len(w.out)
	w.out = reserve(w.out, w.gap+maxCompressed(c.codec, len(body))+64)
	packed := w.compress(c.codec, w.out[start+w.gap:cap(w.out)], body)

	h := &w.header
	h.b, h.last, h.depth = h.b[:0], 0, 0
	h.i32(1, int32(typ))
	h.i32(2, int32(len(body)))
	h.i32(3, int32(len(packed)))
	h.i32(4, int32(crc32.ChecksumIEEE(packed)))
	if typ == pageDictionary {
		h.structure(7)
		h.i32(1, int32(values))
		h.i32(2, encoding)
	} else {
		h.structure(5)
		h.i32(1, int32(values))
		h.i32(2, encoding)
		h.i32(3, encodingRLE) // definition levels
		h.i32(4, encodingRLE) // repetition levels
	}
	h.close()
	h.close()

	end := start + len(h.b) + len(packed)
	if len(h.b) != w.gap {
		copy(w.out[start+len(h.b):cap(w.out)], packed) // they may overlap
		w.gap = len(h.b)
	}
	w.out = w.out[:end]
	copy(w.out[start:], h.b)
	c.uncompressed += int64(len(h.b) + len(body))
}

// maxCompressed bounds the size of n bytes compressed.
func maxCompressed(codec int32, n int) int {
	switch codec {
	case codecSnappy:
		return s2.MaxEncodedLen(n)
	case codecZstd: // a frame header, and 3 bytes for every raw block of 128 KiB
		return n + n>>14 + 64
	}
	return n
}

// compress puts src, compressed, at the beginning of dst, which has room for
// maxCompressed.
func (w *pageWriter) compress(codec int32, dst, src []byte) []byte {
	switch codec {
	case codecSnappy:
		return s2.EncodeSnappy(dst, src)
	case codecZstd:
		return w.zstd.EncodeAll(src, dst[:0])
	}
	return dst[:copy(dst, src)]
}

// appendRun appends n equal values as one run of the RLE/bit-packed hybrid
// [F RLE], of width at most 8 bits.
func appendRun(b []byte, value byte, n int) []byte {
	return append(binary.AppendUvarint(b, uint64(n)<<1), value)
}

// appendLevels appends levels as a page of version 1 wants them: 4 bytes of
// length and the hybrid, one run if they are all equal, else all bit-packed.
func appendLevels(b []byte, levels []byte, width int) []byte {
	at := len(b)
	b = append(b, 0, 0, 0, 0)
	if allEqual(levels) {
		b = appendRun(b, levels[0], len(levels))
	} else {
		groups := (len(levels) + 7) / 8
		b = binary.AppendUvarint(b, uint64(groups)<<1|1)
		for ; len(levels) > 0; levels = levels[min(8, len(levels)):] {
			var packed uint64
			for i, l := range levels[:min(8, len(levels))] {
				packed |= uint64(l) << (i * width)
			}
			for i := 0; i < width; i++ { // 8 values of width bits are width bytes
				b = append(b, byte(packed>>(8*i)))
			}
		}
	}
	binary.LittleEndian.PutUint32(b[at:], uint32(len(b)-at-4))
	return b
}

func allEqual(levels []byte) bool {
	for _, l := range levels {
		if l != levels[0] {
			return false
		}
	}
	return true
}
