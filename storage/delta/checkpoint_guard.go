package delta

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// A Parquet file claims sizes in its footer, in its page headers and in its
// compressed blocks, and the library makes room for what is claimed before it
// looks. Out of memory cannot be recovered from, so that the claims of a
// checkpoint, which may be anybody's bytes, are checked before the library reads on.

const (
	// maxFooterBytes is far above what a checkpoint of a hundred row groups has. What
	// is no structure of it takes up to 24 times its size in memory.
	maxFooterBytes = 4 << 20
	// foldPages is how many times their size the pages of a checkpoint may unfold
	// to, with room for small ones: paths and statistics are much alike.
	foldPages, foldPagesMin = 64, 64 << 20
	// foldValues is how many values a byte may stand for, nulls included.
	foldValues, foldValuesMin = 8, 1 << 20
	// maxFooterStructs is what the footer of a checkpoint of a hundred row groups has: a
	// structure takes one byte there and some hundred in memory.
	maxFooterStructs = 100_000
	// maxSchemaElements is ten times what a checkpoint of a topic has. The library takes
	// time and memory for the square of their depth.
	maxSchemaElements = 1000
	// rowBytes is what a row of a checkpoint takes while it is read, nulls included,
	// smallRowBytes what a row of few columns takes, apart from its strings.
	rowBytes, smallRowBytes = 64, 256
)

func unfolds(what string) error { return fmt.Errorf("%w: unfolds to too many %s", ErrTooLarge, what) }

// OpenRows opens a file of rows of few columns, whoever wrote it, which are going to be
// read all. Its claims are in proportion to its size, so that what the library makes of it
// is, too, and size, what its rows take at most, is no more than limit. The library may
// still panic over it. Errors wrap ErrCorrupt, or say what is not supported.
func OpenRows(body []byte, limit int64) (file *parquet.File, size int64, err error) {
	file, budget, err := openParquet(body, limit)
	if err != nil {
		return nil, 0, err
	}
	if size = budget.size + file.NumRows()*smallRowBytes; size > limit {
		return nil, 0, unfolds("bytes")
	}
	return file, size, nil
}

// openParquet opens a file and answers what is left of its budget.
func openParquet(body []byte, limit int64) (*parquet.File, *checkpointBudget, error) {
	if err := checkFooter(body); err != nil {
		return nil, nil, err
	}
	file, err := parquet.OpenFile(bytes.NewReader(body), int64(len(body)), parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	// A row takes some bytes, however well it is compressed. This keeps a small file from
	// claiming a lot of memory.
	if file.NumRows() < 0 || file.NumRows() > int64(len(body)) {
		return nil, nil, fmt.Errorf("%w: %d rows in %d bytes", ErrCorrupt, file.NumRows(), len(body))
	}
	if file.NumRows() > limit/rowBytes {
		return nil, nil, unfolds("rows")
	}
	left := file.NumRows()
	for _, group := range file.Metadata().RowGroups {
		if group.NumRows < 0 || group.NumRows > left {
			return nil, nil, fmt.Errorf("%w: row groups of more rows than the file has", ErrCorrupt)
		}
		left -= group.NumRows
	}
	budget := newCheckpointBudget(len(body), limit)
	defer budget.blocks.close()
	return file, budget, budget.pages(file, body)
}

// checkpointBudget bounds what the pages of a checkpoint unfold to.
type checkpointBudget struct {
	bytes, values int64
	// size is what the values take at most, if each is copied: one that is in a
	// dictionary is no longer than that.
	size int64
	// unfolded is what the pages take.
	unfolded int64
	blocks   blocks
	// room, if not nil, takes what is kept, now and then: kept is what it has not taken yet.
	room *room
	kept int64
}

func newCheckpointBudget(size int, limit int64) *checkpointBudget {
	return &checkpointBudget{
		bytes:  min(foldPages*int64(size)+foldPagesMin, limit),
		values: min(foldValues*int64(size)+foldValuesMin, limit/8),
	}
}

// checkFooter looks at the footer before it is parsed.
func checkFooter(body []byte) error {
	const ends = 4 + 4 + 4 // the magic number twice, the length of the footer
	if len(body) < ends {
		return fmt.Errorf("%w: no Parquet file in %d bytes", ErrCorrupt, len(body))
	}
	length := int64(binary.LittleEndian.Uint32(body[len(body)-8:]))
	if length > int64(len(body)-ends) || length > maxFooterBytes {
		return fmt.Errorf("%w: a footer of %d in %d bytes", ErrCorrupt, length, len(body))
	}
	scan := thriftScan{data: body[len(body)-8-int(length) : len(body)-8], structs: maxFooterStructs}
	return scan.structure(0, 0, nil)
}

// pages walks the pages of all columns, once: columns that lie on top of each other
// would cost more than the file has bytes.
func (b *checkpointBudget) pages(file *parquet.File, body []byte) error {
	left := int64(len(body))
	for _, group := range file.Metadata().RowGroups {
		for i := range group.Columns {
			chunk := &group.Columns[i].MetaData
			from := chunk.DataPageOffset
			if d := chunk.DictionaryPageOffset; d > 0 && d < from {
				from = d
			}
			if from < 0 || chunk.TotalCompressedSize < 0 || from > int64(len(body)) || chunk.TotalCompressedSize > int64(len(body))-from {
				return fmt.Errorf("%w: a column lies outside the file", ErrCorrupt)
			}
			if left -= chunk.TotalCompressedSize; left < 0 {
				return fmt.Errorf("%w: columns of more bytes than the file has", ErrCorrupt)
			}
			if err := b.chunk(chunk.Codec, body[from:from+chunk.TotalCompressedSize]); err != nil {
				return fmt.Errorf("column %.200q: %w", chunk.PathInSchema, err)
			}
		}
	}
	return nil
}

// chunk checks the pages of one column in one row group.
func (b *checkpointBudget) chunk(codec format.CompressionCodec, data []byte) error {
	dictionary := int64(0)
	for len(data) > 0 {
		var page struct{ kind, unfolded, size, values int64 }
		var levels int64 // bytes of a V2 page that are not compressed
		scan := thriftScan{data: data, structs: maxPageStructs}
		err := scan.structure(0, 0, func(parent, field int16, n int64) {
			switch { // PageHeader, and the headers of V1, dictionary and V2 pages within
			case parent == 0 && field == 1:
				page.kind = n
			case parent == 0 && field == 2:
				page.unfolded = n
			case parent == 0 && field == 3:
				page.size = n
			case (parent == 5 || parent == 7 || parent == 8) && field == 1:
				page.values = n
			case parent == 8 && (field == 5 || field == 6):
				levels += n
			}
		})
		if err != nil {
			return err
		}
		data = data[scan.pos:]
		if page.size < 0 || page.size > int64(len(data)) || page.unfolded < 0 || page.values < 0 ||
			levels < 0 || levels > page.size || levels > page.unfolded {
			return fmt.Errorf("%w: a page of %d in %d bytes", ErrCorrupt, page.size, len(data))
		}
		if b.bytes -= page.unfolded; b.bytes < 0 {
			return unfolds("bytes")
		}
		if b.values -= page.values; b.values < 0 {
			return unfolds("values")
		}
		b.size += page.unfolded
		b.unfolded += page.unfolded
		if page.kind == int64(format.DictionaryPage) {
			dictionary = max(dictionary, page.unfolded)
		} else if dictionary > 0 {
			b.size += min(page.values, math.MaxInt64/2/dictionary) * dictionary
		}
		if b.size < 0 {
			b.size = math.MaxInt64 / 2
		}
		if err := b.blocks.check(codec, data[levels:page.size], page.unfolded-levels); err != nil {
			return err
		}
		data = data[page.size:]
	}
	return nil
}

// blocks checks compressed blocks. It keeps its decoders, since a block may be of a few
// bytes and a decoder is of many.
type blocks struct {
	zstd *zstd.Decoder
	gzip *gzip.Reader
}

func (b *blocks) close() {
	if b.zstd != nil {
		b.zstd.Close()
	}
}

// check makes sure that a compressed block is no larger than its page says.
func (b *blocks) check(codec format.CompressionCodec, block []byte, limit int64) (err error) {
	if len(block) == 0 {
		return nil
	}
	var r io.Reader
	switch codec {
	case format.Uncompressed:
		return nil
	case format.Snappy:
		n, err := snappy.DecodedLen(block)
		return checkLength(int64(n), limit, err)
	case format.Zstd:
		if b.zstd == nil {
			b.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(foldPagesMin))
		}
		if err == nil {
			err = b.zstd.Reset(bytes.NewReader(block))
		}
		r = b.zstd
	case format.Gzip:
		if b.gzip == nil {
			b.gzip = new(gzip.Reader)
		}
		err = b.gzip.Reset(bytes.NewReader(block))
		r = b.gzip
	default:
		return &UnsupportedError{Feature: "checkpoint compressed with " + codec.String()}
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	n, err := io.Copy(io.Discard, io.LimitReader(r, limit+1))
	return checkLength(n, limit, err)
}

func checkLength(n, limit int64, err error) error {
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	case n > limit:
		return fmt.Errorf("%w: a block of %d bytes where %d are said", ErrCorrupt, n, limit)
	}
	return nil
}

// thriftScan walks a struct of Thrift's compact protocol without keeping it.
// https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
type thriftScan struct {
	data    []byte
	pos     int
	structs int // how many more structures there may be
}

const (
	// maxThriftDepth is more than Parquet's metadata has, maxPageStructs more than the
	// header of a page.
	maxThriftDepth = 16
	maxPageStructs = 16
)

var errThrift = errors.New("bad Thrift bytes")

func (s *thriftScan) fail() error { return fmt.Errorf("%w: %w", ErrCorrupt, errThrift) }

func (s *thriftScan) byte() (byte, error) {
	if s.pos >= len(s.data) {
		return 0, s.fail()
	}
	s.pos++
	return s.data[s.pos-1], nil
}

func (s *thriftScan) uvarint() (uint64, error) {
	n, size := binary.Uvarint(s.data[s.pos:])
	if size <= 0 {
		return 0, s.fail()
	}
	s.pos += size
	return n, nil
}

func (s *thriftScan) skip(n uint64) error {
	if n > uint64(len(s.data)-s.pos) {
		return s.fail()
	}
	s.pos += int(n)
	return nil
}

// structure walks one struct. number (may be nil) is called for the integers of
// this struct and of those in it, with the field that the struct is of its parent
// (0 for the outermost).
func (s *thriftScan) structure(depth int, parent int16, number func(parent, field int16, n int64)) error {
	if s.structs--; s.structs < 0 {
		return unfolds("structures")
	}
	if depth > maxThriftDepth {
		return s.fail()
	}
	field := int16(0)
	for {
		header, err := s.byte()
		if err != nil || header == 0 {
			return err
		}
		if delta := int16(header >> 4); delta != 0 {
			field += delta
		} else {
			n, err := s.uvarint()
			if err != nil {
				return err
			}
			field = int16(unzigzag(n))
		}
		kind := header & 15
		if kind == 1 || kind == 2 {
			continue // the booleans are in the header
		}
		if err := s.value(depth, kind, parent, field, number); err != nil {
			return err
		}
	}
}

func (s *thriftScan) value(depth int, kind byte, parent, field int16, number func(parent, field int16, n int64)) error {
	switch kind {
	case 1, 2, 3: // an element of a list of booleans or bytes
		return s.skip(1)
	case 4, 5, 6: // integers
		n, err := s.uvarint()
		if err == nil && number != nil && depth <= 1 {
			number(parent, field, unzigzag(n))
		}
		return err
	case 7: // double
		return s.skip(8)
	case 8: // bytes
		n, err := s.uvarint()
		if err != nil {
			return err
		}
		return s.skip(n)
	case 9, 10: // list, set
		header, err := s.byte()
		if err != nil {
			return err
		}
		size := uint64(header >> 4)
		if size == 15 {
			if size, err = s.uvarint(); err != nil {
				return err
			}
		}
		// An element takes a byte at least: this is the claim that matters.
		if size > uint64(len(s.data)-s.pos) {
			return s.fail()
		}
		if depth == 0 && field == 2 && size > maxSchemaElements { // FileMetaData.schema
			return unfolds("elements of a schema")
		}
		for range size {
			if err := s.value(depth+1, header&15, 0, 0, nil); err != nil {
				return err
			}
		}
		return nil
	case 12:
		return s.structure(depth+1, field, number)
	}
	return s.fail() // a map, which Parquet does not use, or no type at all
}

func unzigzag(n uint64) int64 { return int64(n>>1) ^ -int64(n&1) }
