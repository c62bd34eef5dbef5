package rows

import (
	"bytes"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// maxRatio is, rounded up, how much each codec can shrink anything: what a page
// claims beyond that is not allocated. Snappy copies 64 bytes for 3, LZ4 255 for
// one, deflate 258 for two bits, zstd repeats 128 KiB for 4 bytes.
var maxRatio = [...]int{codecSnappy: 32, codecGzip: 1040, codecZstd: 32 << 10, codecLZ4Raw: 256}

// decompress appends src, which is full bytes when decompressed, to dst. The
// caller has bounded both.
func decompress(dst []byte, codec int32, src []byte, full int) ([]byte, error) {
	at := len(dst)
	if codec > 0 && int(codec) < len(maxRatio) && full > (len(src)+16)*maxRatio[codec] && maxRatio[codec] > 0 {
		return dst, fmt.Errorf("%w: a page of %d bytes that claims %d", ErrCorrupt, len(src), full)
	}
	var err error
	n := 0
	switch codec {
	case codecNone:
		if len(src) != full {
			return dst, fmt.Errorf("%w: %d bytes of a page of %d", ErrCorrupt, len(src), full)
		}
		return append(dst, src...), nil
	case codecSnappy:
		if n, err = s2.DecodedLen(src); err == nil && n == full {
			dst = reserve(dst, full)
			_, err = s2.Decode(dst[at:at+full:at+full], src)
		}
	case codecZstd:
		var d *zstd.Decoder
		if d, err = zstdDecoder(); err == nil {
			dst = reserve(dst, full)
			var out []byte
			// It allocates elsewhere only if the page claimed too little.
			out, err = d.DecodeAll(src, dst[at:at:at+full])
			n = len(out)
		}
	case codecGzip:
		var z *gzip.Reader
		if z, err = gzip.NewReader(bytes.NewReader(src)); err == nil {
			dst = reserve(dst, full)
			n, err = io.ReadFull(z, dst[at:at+full])
		}
	case codecLZ4Raw:
		dst = reserve(dst, full)
		n, err = lz4.UncompressBlock(src, dst[at:at+full:at+full])
	default:
		return dst, fmt.Errorf("%w: compression codec %d of Parquet", ErrUnsupported, codec)
	}
	if err != nil || n != full {
		return dst[:at], fmt.Errorf("%w: compressed page", ErrCorrupt)
	}
	return dst[:at+full], nil
}

// zstdDecoder is shared: DecodeAll may be called concurrently.
var zstdDecoder = sync.OnceValues(func() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderMaxMemory(maxPage))
})
