package protocol

import (
	"encoding/binary"
	"fmt"
)

// Why bodies are walked before kmsg decodes them: kmsg believes counts. An
// array may claim as many elements as there are bytes left, each of which
// costs up to some 200 bytes of memory before it turns out to be absent, and
// a claim of 2^32-1 tagged fields is counted down one by one even when the
// bytes have ended: 15 bytes, sent before authentication, would keep a CPU
// busy for a minute. The walk costs nothing beside the decoding (it skips over
// strings and records) and refuses both.

//go:generate go run layout_gen.go

// versions is the layout of a request for a range of API versions. A layout is
// a sequence of
//
//	12         bytes of fixed size, here 12
//	s S        a string, its length an int16 or compact
//	b B        bytes, their length an int32 or compact
//	[..] {..}  an array of what is within, its length an int32 or compact
//	(..)       a struct that may be null
//	<..>       tagged fields; of known ones tag:layout;
//
// where compact is an unsigned varint of the length plus one (KIP-482).
type versions struct {
	from, to int16
	layout   string
}

// What decoding costs in memory, roughly, and how much a body may cost: an
// allowance for small requests and a multiple of its size. A real
// request stays below it by far: its strings alone outweigh its structs.
const (
	elementCost   = 64  // an element of an array, unless plain numbers
	tagCost       = 320 // an unknown tagged field: a map of its own, at worst
	costAllowance = 1 << 20
	costPerByte   = 10
)

// layoutOf returns the layout of a request, and false for an API key or
// version that kmsg does not know.
func layoutOf(key, version int16) (string, bool) {
	if key < 0 || int(key) >= len(layouts) {
		return "", false
	}
	for _, v := range layouts[key] {
		if v.from <= version && version <= v.to {
			return v.layout, true
		}
	}
	return "", false
}

// checkLayout reports whether body has the given layout and costs no more
// than it may. Bytes after it are ignored, as Kafka does.
func checkLayout(layout string, body []byte) error {
	w := walker{in: body, budget: costAllowance + costPerByte*len(body)}
	w.walk(layout)
	if w.bad {
		return fmt.Errorf("%w: after %d of %d bytes", ErrBadBody, len(body)-len(w.in), len(body))
	}
	return nil
}

// A walker steps over a body. Once bad it stays bad.
type walker struct {
	in     []byte // not yet read
	budget int    // what decoding may still cost
	bad    bool
}

func (w *walker) fail() { w.bad = true }

// skip steps over n bytes.
func (w *walker) skip(n int) {
	if n < 0 || n > len(w.in) {
		w.fail()
		return
	}
	w.in = w.in[n:]
}

// uvarint reads a compact length or a tag.
func (w *walker) uvarint() int {
	u, n := binary.Uvarint(w.in[:min(len(w.in), binary.MaxVarintLen32)])
	if n <= 0 || u > 1<<32-1 {
		w.fail()
		return 0
	}
	w.in = w.in[n:]
	return int(u)
}

// length reads the length of a string, bytes or array: width bytes wide, or
// compact if 0. Null is 0.
func (w *walker) length(width int) int {
	var n int
	switch {
	case width == 0:
		n = w.uvarint() - 1
	case len(w.in) < width:
		w.fail()
	case width == 2:
		n = int(int16(binary.BigEndian.Uint16(w.in)))
		w.in = w.in[2:]
	default:
		n = int(int32(binary.BigEndian.Uint32(w.in)))
		w.in = w.in[4:]
	}
	return max(n, 0)
}

// walk steps over what the layout describes.
func (w *walker) walk(layout string) {
	for i := 0; i < len(layout) && !w.bad; {
		switch c := layout[i]; c {
		case 's':
			w.skip(w.length(2))
			i++
		case 'S', 'B':
			w.skip(w.length(0))
			i++
		case 'b':
			w.skip(w.length(4))
			i++
		case '[', '{', '(', '<':
			end := closing(layout, i)
			inner := layout[i+1 : end]
			switch c {
			case '[':
				w.array(w.length(4), inner)
			case '{':
				w.array(w.length(0), inner)
			case '(':
				w.nullable(inner)
			case '<':
				w.tags(inner)
			}
			i = end + 1
		default:
			n, next := number(layout, i)
			w.skip(n)
			i = next
		}
	}
}

// array steps over n elements.
func (w *walker) array(n int, element string) {
	size := minSize(element)
	if n > len(w.in)/max(size, 1) {
		w.fail()
		return
	}
	if digits, end := number(element, 0); end == len(element) { // plain numbers
		w.skip(n * digits)
		return
	}
	if w.budget -= n * elementCost; w.budget < 0 {
		w.fail()
		return
	}
	for ; n > 0 && !w.bad; n-- {
		w.walk(element)
	}
}

// nullable steps over a struct that a byte of -1 leaves out.
func (w *walker) nullable(layout string) {
	if len(w.in) == 0 {
		w.fail()
		return
	}
	present := int8(w.in[0]) != -1
	if w.in = w.in[1:]; present {
		w.walk(layout)
	}
}

// tags steps over tagged fields, looking into those that kmsg decodes.
func (w *walker) tags(known string) {
	n := w.uvarint()
	if n > len(w.in)/2 { // a tag and a length
		w.fail()
		return
	}
	if w.budget -= n * tagCost; w.budget < 0 {
		w.fail()
	}
	for ; n > 0 && !w.bad; n-- {
		tag := w.uvarint()
		size := w.uvarint()
		if w.bad || size > len(w.in) {
			w.fail()
			return
		}
		if layout := field(known, tag); layout != "" {
			inner := walker{in: w.in[:size], budget: w.budget}
			inner.walk(layout)
			w.budget, w.bad = inner.budget, inner.bad
		}
		w.in = w.in[size:]
	}
}

// field returns the layout of a known tag, or "".
func field(known string, tag int) string {
	for known != "" {
		n, colon := number(known, 0)
		end := colon
		for depth := 0; depth > 0 || known[end] != ';'; end++ {
			switch known[end] {
			case '<':
				depth++
			case '>':
				depth--
			}
		}
		if n == tag {
			return known[colon+1 : end]
		}
		known = known[end+1:]
	}
	return ""
}

// minSize returns the fewest bytes that the layout takes.
func minSize(layout string) int {
	size := 0
	for i := 0; i < len(layout); {
		switch layout[i] {
		case 's':
			size, i = size+2, i+1
		case 'b':
			size, i = size+4, i+1
		case 'S', 'B':
			size, i = size+1, i+1
		case '[':
			size, i = size+4, closing(layout, i)+1
		case '{', '(', '<':
			size, i = size+1, closing(layout, i)+1
		default:
			n, next := number(layout, i)
			size, i = size+n, next
		}
	}
	return size
}

// closing returns the index of the bracket that closes the one at open.
func closing(layout string, open int) int {
	depth := 0
	for i := open; ; i++ {
		switch layout[i] {
		case '[', '{', '(', '<':
			depth++
		case ']', '}', ')', '>':
			if depth--; depth == 0 {
				return i
			}
		}
	}
}

// number returns the decimal number of the layout at i and where it ends.
func number(layout string, i int) (n, end int) {
	for ; i < len(layout) && layout[i] >= '0' && layout[i] <= '9'; i++ {
		n = n*10 + int(layout[i]-'0')
	}
	return n, i
}
