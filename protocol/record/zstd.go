package record

import (
	"io"

	"github.com/klauspost/compress/zstd"
)

// maxZstdBlock is the most that one block of a zstd frame expands to (RFC
// 8878, 3.1.1.2.4).
const maxZstdBlock = 128 << 10

// zstdSlack is room behind the output that lets the decoder copy in whole
// words (its compressedBlockOverAlloc).
const zstdSlack = 16

// unzstd appends what src expands to.
func (d *Decompressor) unzstd(dst, src []byte, limit int) ([]byte, error) {
	most, err := zstdSize(src, limit)
	if err != nil {
		return dst, err
	}
	room := int(min(most, uint64(limit)))
	if d.zstd == nil {
		// With the limit on capacity the decoder never allocates the output.
		d.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1),
			zstd.WithDecoderLowmem(true), zstd.WithDecodeAllCapLimit(true))
		if err != nil {
			return dst, undecodable(Zstd, err)
		}
	}
	dst = grow(dst, room+zstdSlack)
	out, err := d.zstd.DecodeAll(src, dst[:len(dst):len(dst)+room+zstdSlack])
	switch {
	case err == nil && len(out) <= limit:
		return out, nil
	case err == nil, most > uint64(limit): // no room and bad input look the same
		return dst, tooLarge(limit)
	default:
		return dst, undecodable(Zstd, err)
	}
}

// zstdSize returns an upper bound of what src expands to, by walking the
// headers of its frames and blocks. A frame that claims more than limit is
// ErrTooLarge; one that claims more than its blocks can hold is not believed.
func zstdSize(src []byte, limit int) (uint64, error) {
	var total uint64
	for len(src) > 0 {
		var h zstd.Header
		if err := h.Decode(src); err != nil {
			return 0, undecodable(Zstd, err)
		}
		if h.Skippable {
			if uint64(h.SkippableSize) > uint64(len(src)-h.HeaderSize) {
				return 0, undecodable(Zstd, io.ErrUnexpectedEOF)
			}
			src = src[h.HeaderSize+int(h.SkippableSize):]
			continue
		}
		blocks, rest, err := zstdBlocks(src[h.HeaderSize:])
		if err != nil {
			return 0, err
		}
		if h.HasFCS {
			if h.FrameContentSize > uint64(limit) {
				return 0, tooLarge(limit)
			}
			if h.FrameContentSize > blocks {
				return 0, undecodable(Zstd, "content size exceeds the blocks")
			}
			blocks = h.FrameContentSize
		}
		total += blocks
		if h.HasCheckSum {
			if len(rest) < 4 {
				return 0, undecodable(Zstd, io.ErrUnexpectedEOF)
			}
			rest = rest[4:]
		}
		src = rest
	}
	return total, nil
}

// zstdBlocks bounds what the blocks of one frame expand to and returns what
// follows them. A block is three bytes, little endian: last (1 bit), type (2), size (21).
func zstdBlocks(src []byte) (size uint64, rest []byte, err error) {
	for {
		if len(src) < 3 {
			return 0, nil, undecodable(Zstd, io.ErrUnexpectedEOF)
		}
		word := uint32(src[0]) | uint32(src[1])<<8 | uint32(src[2])<<16
		src = src[3:]
		n := int(word >> 3)
		stored := n
		switch word >> 1 & 3 {
		case 0: // raw
			size += uint64(n)
		case 1: // one byte, n times
			size, stored = size+uint64(n), 1
		case 2:
			size += maxZstdBlock
		default:
			return 0, nil, undecodable(Zstd, "reserved block type")
		}
		if n > maxZstdBlock || stored > len(src) {
			return 0, nil, undecodable(Zstd, "bad block size")
		}
		if src = src[stored:]; word&1 != 0 {
			return size, src, nil
		}
	}
}
