package protocol

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// least returns the shortest body that the layout takes: empty arrays and
// strings, no tags, structs null.
func least(layout string) []byte {
	var b []byte
	for i := 0; i < len(layout); {
		switch c := layout[i]; c {
		case 's':
			b, i = append(b, 0, 0), i+1
		case 'b':
			b, i = append(b, 0, 0, 0, 0), i+1
		case 'S', 'B':
			b, i = append(b, 1), i+1
		case '[', '{', '(', '<':
			empty := map[byte][]byte{'[': {0, 0, 0, 0}, '{': {1}, '(': {255}, '<': {0}}
			b, i = append(b, empty[c]...), closing(layout, i)+1
		default:
			n, next := number(layout, i)
			b, i = append(b, make([]byte, n)...), next
		}
	}
	return b
}

// arrays calls f with the layout before and the layout of each array of least.
func arrays(layout string, f func(before string, open byte, element string)) {
	for i := 0; i < len(layout); i++ {
		switch c := layout[i]; c {
		case '[', '{':
			end := closing(layout, i)
			f(layout[:i], c, layout[i+1:end])
			i = end
		case '<', '(':
			i = closing(layout, i)
		}
	}
}

// Every array of every request, filled with as many of its shortest elements
// as pass, with and without an unknown tag in each.
func TestTheWorstArraysStayWithinTheirCost(t *testing.T) {
	const size = 32 << 10 // of the array
	requests(func(req kmsg.Request) {
		layout, _ := layoutOf(req.Key(), req.GetVersion())
		if before, _ := layoutOf(req.Key(), req.GetVersion()-1); before == layout {
			return
		}
		arrays(layout, func(before string, open byte, element string) {
			tagged := strings.TrimSuffix(element, "<>")
			elements := [][]byte{least(element)}
			if tagged != element {
				elements = append(elements, append(least(tagged), 1, 99, 0)) // one tag: 99, empty
			}
			for _, e := range elements {
				n := size / len(e)
				if digits, end := number(element, 0); end < len(element) || digits == 0 {
					n = min(n, (costAllowance+costPerByte*size)/elementCost)
				}
				body := least(before)
				if open == '[' {
					body = binary.BigEndian.AppendUint32(body, uint32(n))
				} else {
					body = binary.AppendUvarint(body, uint64(n+1))
				}
				for range n {
					body = append(body, e...)
				}
				body = append(body, least(layout[len(before)+len(element)+2:])...)
				got := allocated(func() {
					_, _ = DecodeBody(Header{Key: req.Key(), Version: req.GetVersion()}, body)
				})
				if most := 2 * (costAllowance + costPerByte*len(body)); got > most {
					t.Errorf("%s v%d: %d bytes for %d, of %q", kmsg.NameForKey(req.Key()), req.GetVersion(), got, len(body), element)
				}
			}
		})
	})
}
