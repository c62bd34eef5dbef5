package record

import (
	"fmt"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// A Compressor compresses the records of batches, at each codec's default
// level. The zero Compressor is ready; one goroutine owns it. It keeps its
// codecs' tables (gzip and zstd: some hundred KiB), so reuse it.
type Compressor struct {
	out  writer // of gzip
	gzip *gzip.Writer
	lz4  lz4.Compressor
	zstd *zstd.Encoder
}

// Compress appends src, compressed, to dst; with None, src as it is. The error
// is ErrCodec for an unknown codec.
func (c *Compressor) Compress(dst []byte, codec Codec, src []byte) ([]byte, error) {
	switch codec {
	case None:
		return append(dst, src...), nil
	case Gzip:
		return c.appendGzip(dst, src), nil
	case Snappy:
		return appendSnappy(dst, src), nil
	case LZ4:
		return appendLZ4(dst, src, &c.lz4), nil
	case Zstd:
		return c.appendZstd(dst, src)
	}
	return dst, fmt.Errorf("%w: %d", ErrCodec, codec)
}

// writer appends what is written to it, and never fails.
type writer []byte

func (w *writer) Write(p []byte) (int, error) {
	*w = append(*w, p...)
	return len(p), nil
}

func (c *Compressor) appendGzip(dst, src []byte) []byte {
	c.out = dst
	if c.gzip == nil {
		c.gzip = gzip.NewWriter(&c.out)
	} else {
		c.gzip.Reset(&c.out)
	}
	_, _ = c.gzip.Write(src)
	_ = c.gzip.Close()
	dst, c.out = c.out, nil
	return dst
}

func (c *Compressor) appendZstd(dst, src []byte) ([]byte, error) {
	if c.zstd == nil {
		var err error
		// Zero frames: empty input makes a frame, not nothing.
		c.zstd, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1),
			zstd.WithLowerEncoderMem(true), zstd.WithZeroFrames(true))
		if err != nil {
			return dst, fmt.Errorf("%w: %w", ErrCodec, err)
		}
	}
	return c.zstd.EncodeAll(src, dst), nil
}
