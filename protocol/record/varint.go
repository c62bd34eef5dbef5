package record

import (
	"encoding/binary"
	"math/bits"
)

// Varints of records are those of Protocol Buffers, zigzag-encoded; int32 ones
// take up to 5 bytes, int64 ones up to 10.

// varint reads a zigzag int32 of b at p and returns where it ends, or -1 if it
// is cut off or too long. A p of -1 yields -1: a chain of reads needs one test.
func varint(b []byte, p int) (int32, int) {
	var u uint32
	for shift := uint(0); shift < 35 && uint(p) < uint(len(b)); shift += 7 {
		c := b[p]
		p++
		if c < 0x80 {
			if shift == 28 && c > 0x0f {
				return 0, -1 // bits beyond 32
			}
			return unzigzag(u | uint32(c)<<shift), p
		}
		u |= uint32(c&0x7f) << shift
	}
	return 0, -1
}

// short is varint for the common case, cheap enough to be inlined: one or two
// bytes (-4096 to 4095) of which b must hold both. It returns -1 for any other,
// which may be a valid varint.
func short(b []byte, p int) (int32, int) {
	if p < 0 || p+1 >= len(b) {
		return 0, -1
	}
	u, end := uint32(b[p]), p+1
	if u >= 0x80 {
		u, end = u&0x7f|uint32(b[end])<<7, p+2
		if u > 0x3fff {
			end = -1 // the second byte goes on
		}
	}
	return unzigzag(u), end
}

func unzigzag(u uint32) int32 { return int32(u>>1) ^ -int32(u&1) }

// varlong reads a zigzag int64 of b at p, like varint.
func varlong(b []byte, p int) (int64, int) {
	if p < 0 || p > len(b) {
		return 0, -1
	}
	u, n := binary.Uvarint(b[p:])
	if n <= 0 {
		return 0, -1
	}
	return int64(u>>1) ^ -int64(u&1), p + n
}

func zigzag32(v int32) uint32 { return uint32(v<<1) ^ uint32(v>>31) }
func zigzag64(v int64) uint64 { return uint64(v<<1) ^ uint64(v>>63) }

// varintLen and varlongLen return the encoded length of a zigzag number:
// ceil(bits/7), where 0 takes one byte too.
func varintLen(v int32) int  { return (bits.Len32(zigzag32(v)|1) + 6) / 7 }
func varlongLen(v int64) int { return (bits.Len64(zigzag64(v)|1) + 6) / 7 }

// putVarint writes v at b[p:], which must have room, and returns its end.
func putVarint(b []byte, p int, v int32) int {
	u := zigzag32(v)
	for u >= 0x80 {
		b[p] = byte(u) | 0x80
		u >>= 7
		p++
	}
	b[p] = byte(u)
	return p + 1
}

// putVarlong is putVarint for int64.
func putVarlong(b []byte, p int, v int64) int {
	u := zigzag64(v)
	for u >= 0x80 {
		b[p] = byte(u) | 0x80
		u >>= 7
		p++
	}
	b[p] = byte(u)
	return p + 1
}
