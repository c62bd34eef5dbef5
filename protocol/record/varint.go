package record

import (
	"encoding/binary"
	"math/bits"
)

// Varints of records are those of Protocol Buffers, zigzag-encoded; int32 ones
// take up to 5 bytes, int64 ones up to 10.

// varint reads a zigzag int32 of b at p and returns where it ends, or -1 if it
// is cut off or too long.
func varint(b []byte, p int) (int32, int) {
	u, p := uvarint(b, p)
	return int32(u>>1) ^ -int32(u&1), p
}

// uvarint reads an unsigned int32. Lengths up to 8191 take one or two bytes,
// which is why these have a path of their own.
func uvarint(b []byte, p int) (uint32, int) {
	if p < 0 || p+1 >= len(b) {
		return uvarintSlow(b, p)
	}
	if b[p] < 0x80 {
		return uint32(b[p]), p + 1
	}
	if b[p+1] < 0x80 {
		return uint32(b[p]&0x7f) | uint32(b[p+1])<<7, p + 2
	}
	return uvarintSlow(b, p)
}

func uvarintSlow(b []byte, p int) (uint32, int) {
	var u uint32
	for shift := uint(0); shift < 35 && uint(p) < uint(len(b)); shift += 7 {
		c := b[p]
		p++
		if c < 0x80 {
			if shift == 28 && c > 0x0f {
				return 0, -1 // bits beyond 32
			}
			return u | uint32(c)<<shift, p
		}
		u |= uint32(c&0x7f) << shift
	}
	return 0, -1
}

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
