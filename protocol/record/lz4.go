package record

import (
	"encoding/binary"
	"io"

	"github.com/pierrec/lz4/v4"
)

// LZ4 records are one frame of the LZ4 frame format (lz4_Frame_format.md,
// v1.6). Reading it here rather than through a stream reader halves the cost,
// and every length is bounded before memory is spent on it.

const (
	lz4Magic = 0x184D2204

	// Bits of the FLG byte; its two high bits are the version, 1.
	lz4Version       = 1 << 6
	lz4Independent   = 1 << 5
	lz4BlockSum      = 1 << 4
	lz4ContentSize   = 1 << 3
	lz4ContentSum    = 1 << 2
	lz4FlagsReserved = 1 << 1
	lz4Dictionary    = 1 << 0

	lz4Stored     = 1 << 31 // in a block's length: not compressed
	lz4MaxRatio   = 255     // each byte of a match length adds at most 255
	lz4Slack      = 64
	lz4Window     = 64 << 10 // what linked blocks refer back to
	lz4BlockSize  = 64 << 10 // of what we write; Java's default
	lz4Block64KiB = 4 << 4   // its code in the BD byte
)

// lz4Frame is what the frame descriptor says.
type lz4Frame struct {
	flags    byte
	maxBlock int   // uncompressed bytes
	size     int64 // of the content, if flags say so
}

// unlz4 appends what src expands to. Legacy and skippable frames, and bytes
// after the frame, which no client writes, are refused.
func unlz4(dst, src []byte, limit int) ([]byte, error) {
	f, src, err := lz4Header(src)
	if err != nil {
		return dst, err
	}
	if f.flags&lz4ContentSize != 0 {
		if f.size < 0 || f.size > int64(limit) {
			return dst, tooLarge(limit)
		}
		dst = grow(dst, int(min(f.size, lz4MaxRatio*int64(len(src)))))
	}
	for {
		if len(src) < 4 {
			return dst, undecodable(LZ4, io.ErrUnexpectedEOF)
		}
		word := binary.LittleEndian.Uint32(src)
		if src = src[4:]; word == 0 { // the end mark
			break
		}
		n := int(word &^ lz4Stored)
		if n > len(src) {
			return dst, undecodable(LZ4, io.ErrUnexpectedEOF)
		}
		if n > f.maxBlock {
			return dst, undecodable(LZ4, "block exceeds the frame's block size")
		}
		block := src[:n]
		src = src[n:]
		if dst, err = f.block(dst, block, word&lz4Stored != 0, limit); err != nil {
			return dst, err
		}
		if f.flags&lz4BlockSum != 0 {
			if src, err = lz4Sum(src, block); err != nil {
				return dst, err
			}
		}
	}
	if f.flags&lz4ContentSum != 0 {
		if src, err = lz4Sum(src, dst); err != nil {
			return dst, err
		}
	}
	if f.flags&lz4ContentSize != 0 && f.size != int64(len(dst)) {
		return dst, undecodable(LZ4, "content size differs")
	}
	if len(src) > 0 {
		return dst, undecodable(LZ4, "bytes after the frame")
	}
	return dst, nil
}

// lz4Header reads the magic and the frame descriptor and returns what follows.
func lz4Header(src []byte) (lz4Frame, []byte, error) {
	fail := func(why any) (lz4Frame, []byte, error) { return lz4Frame{}, nil, undecodable(LZ4, why) }
	if len(src) < 7 {
		return fail(io.ErrUnexpectedEOF)
	}
	if binary.LittleEndian.Uint32(src) != lz4Magic {
		return fail("not an LZ4 frame")
	}
	f := lz4Frame{flags: src[4]}
	bd, n := src[5], 2
	switch {
	case f.flags&(3<<6) != lz4Version:
		return fail("unknown frame version")
	case f.flags&lz4FlagsReserved != 0, bd&0x8f != 0:
		return fail("reserved bits set")
	case f.flags&lz4Dictionary != 0:
		return fail("needs a dictionary")
	case bd < lz4Block64KiB:
		return fail("bad block size")
	}
	f.maxBlock = 1 << (8 + 2*(bd>>4)) // 4: 64 KiB ... 7: 4 MiB
	if f.flags&lz4ContentSize != 0 {
		if n = 10; len(src) < 4+n+1 {
			return fail(io.ErrUnexpectedEOF)
		}
		f.size = int64(binary.LittleEndian.Uint64(src[6:]))
	}
	if byte(xxh32(src[4:4+n])>>8) != src[4+n] {
		return fail("header checksum differs")
	}
	return f, src[4+n+1:], nil
}

// block appends what one block expands to; limit is for all of dst.
func (f *lz4Frame) block(dst, block []byte, stored bool, limit int) ([]byte, error) {
	if stored {
		if len(block) > limit-len(dst) {
			return dst, tooLarge(limit)
		}
		return append(dst, block...), nil
	}
	most := min(f.maxBlock, lz4MaxRatio*len(block)+lz4Slack)
	room := min(most, limit-len(dst))
	dst = grow(dst, room)
	out := dst[len(dst) : len(dst)+room]
	var n int
	var err error
	if f.flags&lz4Independent != 0 {
		n, err = lz4.UncompressBlock(block, out)
	} else {
		n, err = lz4.UncompressBlockWithDict(block, out, dst[max(0, len(dst)-lz4Window):])
	}
	switch {
	case err != nil && room < most: // a short buffer and bad input look the same
		return dst, tooLarge(limit)
	case err != nil:
		return dst, undecodable(LZ4, err)
	}
	return dst[:len(dst)+n], nil
}

// lz4Sum checks the checksum of b that src begins with and returns what follows.
func lz4Sum(src, b []byte) ([]byte, error) {
	if len(src) < 4 {
		return nil, undecodable(LZ4, io.ErrUnexpectedEOF)
	}
	if binary.LittleEndian.Uint32(src) != xxh32(b) {
		return nil, undecodable(LZ4, "checksum differs")
	}
	return src[4:], nil
}

// appendLZ4 appends src as one frame of independent blocks without checksums:
// what the Java producer writes.
func appendLZ4(dst, src []byte, c *lz4.Compressor) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, lz4Magic)
	descriptor := [2]byte{lz4Version | lz4Independent, lz4Block64KiB}
	dst = append(dst, descriptor[0], descriptor[1], byte(xxh32(descriptor[:])>>8))
	for len(src) > 0 {
		n := min(len(src), lz4BlockSize)
		dst = grow(dst, 4+lz4.CompressBlockBound(n))
		at := len(dst)
		size, err := c.CompressBlock(src[:n], dst[at+4:cap(dst)])
		if err != nil || size == 0 || size >= n { // does not shrink
			size = copy(dst[at+4:cap(dst)], src[:n])
			binary.LittleEndian.PutUint32(dst[at:at+4], uint32(size)|lz4Stored)
		} else {
			binary.LittleEndian.PutUint32(dst[at:at+4], uint32(size))
		}
		dst = dst[:at+4+size]
		src = src[n:]
	}
	return append(dst, 0, 0, 0, 0) // the end mark
}
