package record

import (
	"bytes"
	"encoding/binary"
	"io"

	"github.com/klauspost/compress/s2"
)

// Snappy comes in two forms. The Java producer writes the framing of
// snappy-java ("xerial"): a magic, two versions, then blocks with their
// lengths. Others (librdkafka, Sarama, older franz-go) write one bare snappy block.
// Every client must read the former, as the Java producer's; all that were
// looked at read both (snappy-java's SnappyInputStream.readHeader falls back
// to a bare block). So we read both and write the framing.

var xerialMagic = []byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0}

const (
	xerialHeader = 16       // magic, version, least compatible version
	xerialBlock  = 32 << 10 // uncompressed; what snappy-java uses
	// maxSnappyRatio bounds what a snappy block expands to: a copy element makes 64
	// bytes of three.
	maxSnappyRatio = 22
)

// unsnappy appends what src expands to.
func unsnappy(dst, src []byte, limit int) ([]byte, error) {
	if !bytes.HasPrefix(src, xerialMagic) || len(src) < xerialHeader {
		return unsnappyBlock(dst, src, limit)
	}
	src = src[xerialHeader:]
	for len(src) > 0 {
		if len(src) < 4 {
			return dst, undecodable(Snappy, io.ErrUnexpectedEOF)
		}
		n := int64(binary.BigEndian.Uint32(src))
		if src = src[4:]; n > int64(len(src)) {
			return dst, undecodable(Snappy, io.ErrUnexpectedEOF)
		}
		var err error
		if dst, err = unsnappyBlock(dst, src[:n], limit); err != nil {
			return dst, err
		}
		src = src[n:]
	}
	return dst, nil
}

// unsnappyBlock appends what one bare block expands to; limit is for all of dst.
func unsnappyBlock(dst, block []byte, limit int) ([]byte, error) {
	n, err := s2.DecodedLen(block)
	if err != nil {
		return dst, undecodable(Snappy, err)
	}
	if n > limit-len(dst) {
		return dst, tooLarge(limit)
	}
	if n > maxSnappyRatio*len(block) {
		return dst, undecodable(Snappy, "impossible length")
	}
	dst = grow(dst, n)
	// s2 decodes in place where the destination is long enough.
	if _, err := s2.Decode(dst[len(dst):len(dst)+n], block); err != nil {
		return dst, undecodable(Snappy, err)
	}
	return dst[:len(dst)+n], nil
}

// appendSnappy appends src, framed and compressed.
func appendSnappy(dst, src []byte) []byte {
	dst = append(dst, xerialMagic...)
	dst = append(dst, 0, 0, 0, 1, 0, 0, 0, 1)
	for len(src) > 0 {
		n := min(len(src), xerialBlock)
		dst = grow(dst, 4+s2.MaxEncodedLen(n))
		at := len(dst)
		block := s2.EncodeSnappy(dst[at+4:cap(dst)], src[:n])
		binary.BigEndian.PutUint32(dst[at:at+4], uint32(len(block)))
		dst = dst[:at+4+len(block)]
		src = src[n:]
	}
	return dst
}
