package rows

import (
	"context"
	"fmt"
	"hash/crc32"
	"slices"

	"golang.org/x/sync/errgroup"

	"sluice/storage/buffer"
)

const (
	// maxPage bounds a page, compressed and not: DuckDB's have up to 100 MB.
	maxPage = 256 << 20
	// maxPageValues bounds the values of a page, which cost nothing in a run.
	maxPageValues = 16 << 20
	// maxPageHeader bounds a page header, which may hold two values as bounds.
	maxPageHeader = 1 << 20
	// streamBytes is read at a time where the places of pages are not known.
	streamBytes = 1 << 20
	// prefetchGap is how far apart two ranges may be to be read as one: about
	// what a store transfers in the time of another request.
	prefetchGap = 256 << 10
	// prefetchParallel is how many ranged reads of one file run at once.
	prefetchParallel = 4
)

// byteRange is a part of a file.
type byteRange struct{ off, n int64 }

// windows are the parts of a file that have been read for one Read.
type windows struct {
	src  Source
	have []window
}

type window struct {
	off    int64
	b      []byte
	memory *buffer.Buffer // that b may lie in; nil if there is none
}

// A part of a file of minLent to maxLent bytes is read into memory that is used again. How
// large a larger one is may be no more than the file's claim.
const (
	minLent = 64 << 10
	maxLent = 8 << 20
)

// lend answers memory for n bytes, and as the Source is given it, or none.
func lend(n int64) (memory *buffer.Buffer, into []byte) {
	if n < minLent || n > maxLent {
		return nil, nil
	}
	memory = buffer.Get(int(n))
	return memory, memory.Bytes[:0]
}

// drop drops all windows but the first n: nobody uses their bytes any more.
func (w *windows) drop(n int) {
	for _, h := range w.have[n:] {
		h.memory.Release()
	}
	clear(w.have[n:])
	w.have = w.have[:n]
}

// at returns what has been read from off on, if that is n bytes at least.
func (w *windows) at(off, n int64) ([]byte, bool) {
	for _, h := range w.have {
		if skip := off - h.off; skip >= 0 && skip+n <= int64(len(h.b)) {
			return h.b[skip:], true
		}
	}
	return nil, false
}

// prefetch reads ranges, near ones as one, several at once.
func (w *windows) prefetch(ctx context.Context, ranges []byteRange) error {
	slices.SortFunc(ranges, func(a, b byteRange) int { return int(min(max(a.off-b.off, -1), 1)) })
	var todo []byteRange
	for _, r := range ranges {
		if _, ok := w.at(r.off, r.n); ok || r.n == 0 {
			continue
		}
		if i := len(todo) - 1; i >= 0 && r.off-(todo[i].off+todo[i].n) <= prefetchGap {
			todo[i].n = max(todo[i].n, r.off+r.n-todo[i].off)
			continue
		}
		todo = append(todo, r)
	}
	got := make([]window, len(todo))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(prefetchParallel)
	for i, r := range todo {
		g.Go(func() error {
			memory, into := lend(r.n)
			b, err := fetch(ctx, w.src, r.off, r.n, into)
			if err != nil {
				memory.Release()
				return err
			}
			got[i] = window{r.off, b, memory}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	w.have = append(w.have, got...)
	return nil
}

// pageHeader is a PageHeader [F parquet.thrift].
type pageHeader struct {
	typ          int32
	full, packed int // sizes, without and with compression
	crc          uint32
	hasCRC       bool
	values       int
	encoding     int32
	defEncoding  int32 // of levels, version 1
	repEncoding  int32
	defLen       int // of levels, version 2
	repLen       int
	compressed   bool // version 2
}

// parsePageHeader decodes the header that b begins with and returns its
// length. short says that b may only be too short.
func parsePageHeader(b []byte) (h pageHeader, n int, short bool, err error) {
	r := thriftReader{b: b}
	h.compressed = true
	for last := 0; ; {
		id, t := r.field(&last)
		if t == thriftStop {
			break
		}
		switch {
		case id == 1:
			h.typ = r.i32()
		case id == 2:
			h.full = int(r.i32())
		case id == 3:
			h.packed = int(r.i32())
		case id == 4:
			h.crc, h.hasCRC = uint32(r.int()), true
		case id == 5 && t == thriftStruct: // DataPageHeader
			v := r.numbers()
			h.values, h.encoding, h.defEncoding, h.repEncoding = int(v[1]), int32(v[2]), int32(v[3]), int32(v[4])
		case id == 7 && t == thriftStruct: // DictionaryPageHeader
			v := r.numbers()
			h.values, h.encoding = int(v[1]), int32(v[2])
		case id == 8 && t == thriftStruct: // DataPageHeaderV2
			v := r.numbers()
			h.values, h.encoding, h.defLen, h.repLen = int(v[1]), int32(v[4]), int(v[5]), int(v[6])
			h.compressed = v[7] != thriftFalse // true if absent
		default:
			r.skip(t)
		}
	}
	switch {
	case r.bad:
		return h, 0, r.short, fmt.Errorf("%w: page header", ErrCorrupt)
	case h.full < 0 || h.packed < 0 || h.values < 0 || h.defLen < 0 || h.repLen < 0:
		return h, 0, false, fmt.Errorf("%w: page header", ErrCorrupt)
	case h.full > maxPage || h.packed > maxPage || h.values > maxPageValues:
		return h, 0, false, fmt.Errorf("%w: page of %d bytes and %d values", ErrUnsupported, max(h.full, h.packed), h.values)
	}
	return h, r.p, false, nil
}

// pageStream reads the pages of a column chunk, one after another.
type pageStream struct {
	w    *windows
	name string // of the column
	off  int64  // of the next byte
	end  int64  // of the chunk, or of the pages that are wanted
	buf  []byte // what has been read from off on
	// large: this stream holds largePages, until close.
	large bool
}

// jump goes on with the pages from off to end.
func (s *pageStream) jump(off, end int64) {
	if skip := off - s.off; skip >= 0 && skip <= int64(len(s.buf)) {
		s.buf = s.buf[skip:]
	} else {
		s.buf = nil
	}
	s.off, s.end = off, end
}

// need makes buf hold n bytes.
func (s *pageStream) need(ctx context.Context, n int) error {
	if len(s.buf) >= n {
		return nil
	}
	left := s.end - s.off
	if int64(n) > left {
		return fmt.Errorf("%w: a page of %s goes beyond its column", ErrCorrupt, s.name)
	}
	if b, ok := s.w.at(s.off, int64(n)); ok {
		s.buf = b[:min(int64(len(b)), left)]
		return nil
	}
	have := int64(len(s.buf))
	b, err := fetch(ctx, s.w.src, s.off+have, min(left-have, max(int64(n)-have, streamBytes)), nil)
	if err != nil {
		return err
	}
	if have > 0 {
		b = append(slices.Clip(s.buf), b...)
	}
	s.buf = b
	return nil
}

// next reads the next page. The body is valid until the call after. There is
// none, and no error, behind the last page.
func (s *pageStream) next(ctx context.Context) (h pageHeader, body []byte, ok bool, err error) {
	if err := ctx.Err(); err != nil {
		return h, nil, false, err
	}
	left := s.end - s.off
	if left <= 0 {
		return h, nil, false, nil
	}
	n := 0
	for try := 64; ; try *= 16 {
		if err := s.need(ctx, int(min(int64(try), left))); err != nil {
			return h, nil, false, err
		}
		var short bool
		h, n, short, err = parsePageHeader(s.buf[:min(len(s.buf), maxPageHeader)])
		if err == nil {
			break
		}
		if !short || int64(len(s.buf)) >= left || len(s.buf) >= maxPageHeader {
			return h, nil, false, fmt.Errorf("%s: %w", s.name, err)
		}
	}
	if max(h.full, h.packed) > pageLimit() {
		return h, nil, false, fmt.Errorf("%w: a page of %s of %d bytes, %d compressed: more than the memory limit allows", ErrUnsupported, s.name, h.full, h.packed)
	}
	if max(h.full, h.packed) > largePage {
		if err := s.alone(ctx); err != nil {
			return h, nil, false, err
		}
	}
	if err := s.need(ctx, n+h.packed); err != nil {
		return h, nil, false, err
	}
	body = s.buf[n : n+h.packed]
	if h.hasCRC && crc32.ChecksumIEEE(body) != h.crc {
		return h, nil, false, fmt.Errorf("%w: checksum of a page of %s", ErrCorrupt, s.name)
	}
	s.buf = s.buf[n+h.packed:]
	s.off += int64(n + h.packed)
	return h, body, true, nil
}
