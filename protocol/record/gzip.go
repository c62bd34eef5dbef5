package record

import (
	"encoding/binary"
	"io"

	"github.com/klauspost/compress/gzip"
)

const (
	// maxDeflateRatio is the most that DEFLATE expands: 258 bytes from two bits.
	maxDeflateRatio = 1032
	// gzipTrailer is the length of a member's end: CRC-32 and size, little endian.
	gzipTrailer = 8
	gzipHeader  = 10
)

// gunzip appends what src expands to. Concatenated members are one stream, as
// for java.util.zip.GZIPInputStream.
func (d *Decompressor) gunzip(dst, src []byte, limit int) ([]byte, error) {
	if len(src) < gzipHeader+gzipTrailer {
		return dst, undecodable(Gzip, io.ErrUnexpectedEOF)
	}
	if src[0] != 0x1f || src[1] != 0x8b {
		return dst, undecodable(Gzip, gzip.ErrHeader)
	}
	// The size of the last member, modulo 2^32, ends the stream. It is only a
	// claim, but one beyond the limit cannot end well: an honest bomb is
	// refused unread, and a liar fails when it passes the limit.
	claim := int64(binary.LittleEndian.Uint32(src[len(src)-4:]))
	if claim > int64(limit) {
		return dst, tooLarge(limit)
	}
	// One byte more than the claim, so that the end of input is seen without
	// growing.
	dst = grow(dst, int(min(claim, maxDeflateRatio*int64(len(src))))+1)

	d.src.Reset(src)
	defer d.src.Reset(nil) // do not keep the batch alive
	var err error
	if d.gzip == nil {
		d.gzip, err = gzip.NewReader(&d.src)
	} else {
		err = d.gzip.Reset(&d.src)
	}
	if err != nil { // io.EOF too: a header without an end
		return dst, undecodable(Gzip, err)
	}
	for err == nil {
		var n int
		n, err = d.gzip.Read(dst[len(dst):cap(dst)])
		if dst = dst[:len(dst)+n]; len(dst) > limit {
			return dst, tooLarge(limit)
		}
		if len(dst) == cap(dst) {
			dst = grow(dst, 1) // doubles
		}
	}
	if err != io.EOF {
		return dst, undecodable(Gzip, err)
	}
	return dst, nil
}
