package rows

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// The decoders below take any bytes: what does not fit is ErrCorrupt. What
// they append is bounded by a number of values that the caller has bounded.

func corrupt(what string) error { return fmt.Errorf("%w: %s", ErrCorrupt, what) }

// decodeHybrid appends n values of width bits in the RLE/bit-packed hybrid
// [F RLE].
func decodeHybrid(dst []uint32, b []byte, width, n int) ([]uint32, error) {
	if width > 32 {
		return dst, corrupt("bit width")
	}
	mask := uint64(1)<<width - 1
	for n > 0 { // each round takes a byte at least
		head, size := binary.Uvarint(b)
		if size <= 0 {
			return dst, corrupt("run of levels or indexes")
		}
		b = b[size:]
		if head&1 == 0 { // a run
			count := int(min(head>>1, uint64(n)))
			bytes := (width + 7) / 8
			if len(b) < bytes {
				return dst, corrupt("run of levels or indexes")
			}
			v := uint64(0)
			for i := range bytes {
				v |= uint64(b[i]) << (8 * i)
			}
			b = b[bytes:]
			for range count {
				dst = append(dst, uint32(v&mask))
			}
			n -= count
			continue
		}
		groups := head >> 1
		count := n
		if groups < uint64(n+7)/8 {
			count = int(groups) * 8
		}
		// Writers may cut the last group short: only what is used must be there.
		need := (count*width + 7) / 8
		if need > len(b) {
			return dst, corrupt("packed levels or indexes")
		}
		for i := range count {
			dst = append(dst, uint32(bitsAt(b, i*width)&mask))
		}
		n -= count
		b = b[min(uint64(len(b)), groups*uint64(width)):]
	}
	return dst, nil
}

// singleRun says whether b begins with a run that covers all n values, and of what.
func singleRun(b []byte, width, n int) (value uint32, ok bool) {
	head, size := binary.Uvarint(b)
	if size <= 0 || head&1 != 0 || head>>1 < uint64(n) || width > 8 || len(b) < size+(width+7)/8 {
		return 0, false
	}
	if width > 0 {
		value = uint32(b[size]) & (1<<width - 1)
	}
	return value, true
}

// bitsAt returns 64 bits, or up to 7 fewer, from a bit of b on, the lowest
// first; 0 beyond its end.
func bitsAt(b []byte, bit int) uint64 {
	at := bit >> 3
	if at+8 <= len(b) {
		return binary.LittleEndian.Uint64(b[at:]) >> (bit & 7)
	}
	v := uint64(0)
	for i := 0; at+i < len(b) && i < 8; i++ {
		v |= uint64(b[at+i]) << (8 * i)
	}
	return v >> (bit & 7)
}

// maxDeltaBlock bounds a block of DELTA_BINARY_PACKED; writers use 128 or 256.
const maxDeltaBlock = 64 << 10

// decodeDelta appends n values of DELTA_BINARY_PACKED [F Delta Encoding] and
// returns what follows them. More values than n are an error, as fewer are.
func decodeDelta(dst []int64, b []byte, n int) ([]int64, []byte, error) {
	bad := func() ([]int64, []byte, error) { return dst, nil, corrupt("delta encoding") }
	r := thriftReader{b: b} // its varints are the same
	block, minis, total, value := r.uvarint(), r.uvarint(), r.uvarint(), r.int()
	if r.bad || block == 0 || block > maxDeltaBlock || minis == 0 || minis > block/8 || block%(minis*8) != 0 || total != uint64(n) {
		return bad()
	}
	perMini := int(block / minis)
	b = b[r.p:]
	if n == 0 {
		return dst, b, nil
	}
	dst = append(dst, value)
	for n--; n > 0; {
		r = thriftReader{b: b}
		least := r.int()
		if r.bad || len(b)-r.p < int(minis) {
			return bad()
		}
		widths := b[r.p : r.p+int(minis)]
		b = b[r.p+int(minis):]
		for _, width := range widths {
			if n == 0 {
				break // miniblocks that are not needed are not there
			}
			count := min(n, perMini)
			w := int(width)
			if w > 64 || (count*w+7)/8 > len(b) {
				return bad()
			}
			switch {
			case w == 0:
				for range count {
					value += least
					dst = append(dst, value)
				}
			case w <= 57: // fits 64 bits wherever in a byte it begins
				mask := uint64(1)<<w - 1
				for i := range count {
					value += least + int64(bitsAt(b, i*w)&mask)
					dst = append(dst, value)
				}
			default:
				mask := ^uint64(0) >> (64 - w)
				for i := range count {
					low, high := bitsAt(b, i*w), bitsAt(b, i*w+32)
					value += least + int64((low&(1<<32-1)|high<<32)&mask)
					dst = append(dst, value)
				}
			}
			n -= count
			b = b[min(len(b), perMini*w/8):]
		}
	}
	return dst, b, nil
}

// decodeInts appends n PLAIN integers: INT32, INT64, or INT96, which is a
// timestamp [F INT96] and comes out in the unit of c.
func decodeInts(dst []int64, b []byte, c *column, n int) ([]int64, error) {
	size := 8
	switch c.typ {
	case typeInt32:
		size = 4
	case typeInt96:
		size = 12
	}
	if len(b) < n*size {
		return dst, corrupt("plain integers")
	}
	switch c.typ {
	case typeInt32:
		for i := range n {
			dst = append(dst, int64(int32(binary.LittleEndian.Uint32(b[4*i:]))))
		}
	case typeInt64:
		for i := range n {
			dst = append(dst, int64(binary.LittleEndian.Uint64(b[8*i:])))
		}
	default:
		for i := range n {
			v := b[12*i : 12*i+12]
			dst = append(dst, int96Micros(int64(binary.LittleEndian.Uint64(v)), binary.LittleEndian.Uint32(v[8:])))
		}
	}
	return dst, nil
}

// julianEpoch is 1970-01-01 in Julian days.
const julianEpoch = 2440588

// int96Micros converts nanoseconds of a Julian day. Any 96 bits come out as a time that
// fits: 2^32 days are 3.7e20 µs, too many, so days beyond the calendar are cut.
func int96Micros(nano int64, day uint32) int64 {
	const dayMicros = 24 * 60 * 60 * 1_000_000
	days := min(max(int64(int32(day))-julianEpoch, -50_000_000), 50_000_000)
	return days*dayMicros + nano/1000
}

// span is a value's place in an arena; n is -1 for null.
type span struct {
	off uint32
	n   int32
}

// decodePlain appends the places of n PLAIN byte arrays [F Plain], which
// stand in arena from at on.
func decodePlain(dst []span, arena []byte, at int, c *column, n int) ([]span, error) {
	if c.typ == typeFixed {
		if n*c.width > len(arena)-at {
			return dst, corrupt("plain values")
		}
		for i := range n {
			dst = append(dst, span{uint32(at + i*c.width), int32(c.width)})
		}
		return dst, nil
	}
	for range n {
		if len(arena)-at < 4 {
			return dst, corrupt("plain values")
		}
		size := binary.LittleEndian.Uint32(arena[at:])
		at += 4
		if uint64(size) > uint64(len(arena)-at) {
			return dst, corrupt("plain values")
		}
		dst = append(dst, span{uint32(at), int32(size)})
		at += int(size)
	}
	return dst, nil
}

// decodeLengths appends the places of n values of DELTA_LENGTH_BYTE_ARRAY
// [F Delta-length byte array]. lengths is scratch.
func decodeLengths(dst []span, arena []byte, at, n int, lengths []int64) ([]span, []int64, error) {
	lengths, rest, err := decodeDelta(lengths[:0], arena[at:], n)
	if err != nil {
		return dst, lengths, err
	}
	at = len(arena) - len(rest)
	for _, size := range lengths {
		if size < 0 || size > int64(len(arena)-at) {
			return dst, lengths, corrupt("lengths of values")
		}
		dst = append(dst, span{uint32(at), int32(size)})
		at += int(size)
	}
	return dst, lengths, nil
}

// decodePrefixed appends n values of DELTA_BYTE_ARRAY [F Delta Strings]: each
// begins as the one before. They are put together behind the arena, at most
// limit bytes.
func decodePrefixed(dst []span, arena []byte, at, n, limit int) ([]span, []byte, error) {
	prefixes, rest, err := decodeDelta(nil, arena[at:], n)
	if err != nil {
		return dst, arena, err
	}
	from := len(dst)
	dst, _, err = decodeLengths(dst, arena, len(arena)-len(rest), n, nil)
	if err != nil {
		return dst, arena, err
	}
	var last span
	for i, prefix := range prefixes {
		suffix := dst[from+i]
		if prefix < 0 || prefix > int64(last.n) {
			return dst, arena, corrupt("prefix of a value")
		}
		size := int(prefix) + int(suffix.n)
		if limit -= size; limit < 0 {
			return dst, arena, fmt.Errorf("%w: page too large", ErrUnsupported)
		}
		v := span{uint32(len(arena)), int32(size)}
		arena = reserve(arena, size)
		arena = append(arena, arena[last.off:int(last.off)+int(prefix)]...)
		arena = append(arena, arena[suffix.off:int(suffix.off)+int(suffix.n)]...)
		dst[from+i], last = v, v
	}
	return dst, arena, nil
}

// levelBits is the width of levels up to highest.
func levelBits(highest int) int { return bits.Len(uint(highest)) }
