package record

import (
	"bytes"
	"fmt"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// A Decompressor expands the records of batches into a buffer of its own,
// which it reuses. The zero Decompressor is ready; one goroutine owns it.
//
// The output limit is hard: no input makes a Decompressor hold much more than the
// limit, and a length that the input merely claims is not allocated unless
// the codec could reach it from that many bytes.
type Decompressor struct {
	buf  []byte // the last result, and room for the next
	src  bytes.Reader
	gzip *gzip.Reader
	zstd *zstd.Decoder
}

// keepBuffer is the largest buffer, in bytes, that a pooled Decompressor or a
// Builder keeps for its next use.
const keepBuffer = 4 << 20

var decompressors = sync.Pool{New: func() any { return new(Decompressor) }}

// GetDecompressor takes a Decompressor from a pool shared by all goroutines.
func GetDecompressor() *Decompressor { return decompressors.Get().(*Decompressor) }

// Release gives d back to the pool. Neither d nor what it returned may be used
// any more.
func (d *Decompressor) Release() {
	d.buf = keep(d.buf)
	decompressors.Put(d)
}

// Body returns the batch's records in the clear, at most limit bytes of them.
// It is the batch's own payload if that is not compressed, else valid until the
// next use of d. Errors are those of Decompress.
func (d *Decompressor) Body(b Batch, limit int) ([]byte, error) {
	return d.Decompress(b.Attributes().Codec(), b.Payload(), limit)
}

// Decompress expands src, at most to limit bytes. The result is valid until
// the next use of d; for None it is src itself, whatever its length.
//
// Errors: ErrTooLarge beyond limit, ErrCodec, or ErrInvalid for bytes that the
// codec cannot read (whoever compressed them is at fault: the batch's checksum
// has ruled out the network).
func (d *Decompressor) Decompress(codec Codec, src []byte, limit int) ([]byte, error) {
	var err error
	switch codec {
	case None:
		return src, nil
	case Gzip:
		d.buf, err = d.gunzip(d.buf[:0], src, limit)
	case Snappy:
		d.buf, err = unsnappy(d.buf[:0], src, limit)
	case LZ4:
		d.buf, err = unlz4(d.buf[:0], src, limit)
	case Zstd:
		d.buf, err = d.unzstd(d.buf[:0], src, limit)
	default:
		return nil, fmt.Errorf("%w: %d", ErrCodec, codec)
	}
	if err != nil {
		return nil, err
	}
	return d.buf, nil
}

func tooLarge(limit int) error {
	return fmt.Errorf("%w: records decompress to more than %d bytes", ErrTooLarge, limit)
}

func undecodable(codec Codec, why any) error { return invalid("%v: %v", codec, why) }

// grow returns b with room for n more bytes behind its length.
func grow(b []byte, n int) []byte {
	if cap(b)-len(b) >= n {
		return b
	}
	bigger := make([]byte, len(b), max(2*cap(b), len(b)+n))
	copy(bigger, b)
	return bigger
}
