package broker

import (
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kbin"
)

// shape is the layout of a request's body in all its versions: what a walk
// needs to know to find the array and tag counts in it. Generated decoders believe a
// count as long as as many bytes follow, and allocate a hundred bytes and more for
// each element; of tags they believe any, and loop up to 2^32 times. So every body
// is walked, without allocating, before it is decoded.
//
// It is written as a list of fields, separated by spaces, in the order of the wire:
//
//	1 2 4 8 16   a number of as many bytes, or a uuid
//	s b          a string or bytes, null or not
//	*4 *s        an array of numbers or strings, null or not
//	[...]        an array of structs with these fields, null or not
//	?{...}       a struct that may be null
//	3+:  2-4:    the field is there from version 3 on, or in versions 2 to 4
//	t1:{...}     tag 1 holds a struct with tags of its own; other tags are only skipped
type shape struct {
	flexible int16 // the first version with compact lengths and tags (KIP-482); -1: none
	fields   []field
}

type field struct {
	min, max int16
	tag      int32 // -1: no tagged field
	kind     byte  // '1' (a number of size bytes), 's', 'b', '*', '[', '{', '?'
	size     int
	fields   []field
}

const (
	// maxElements bounds the array elements and tags of one request, at a few
	// hundred bytes of memory each. No honest client comes near: it is ten partitions
	// of each of the 20,000 topics that a broker is good for.
	maxElements = 1 << 18
	newest      = 1<<15 - 1
)

var errShape = errors.New("body does not have the form of its API and version")

// walk checks that a body has the shape of a version. Bytes behind it are
// ignored, as Kafka does.
func (s *shape) walk(body []byte, version int16) error {
	w := walker{r: kbin.Reader{Src: body}, version: version, flexible: s.flexible >= 0 && version >= s.flexible}
	if !w.fields(s.fields) {
		if w.elements > maxElements {
			return fmt.Errorf("%w: more than %d elements", errShape, maxElements)
		}
		return errShape
	}
	return nil
}

// walker is a walk under way. Its methods report whether the bytes fit so far.
type walker struct {
	r        kbin.Reader
	version  int16
	flexible bool
	elements int
}

// fields walks over the fields of a struct and the tags behind them.
func (w *walker) fields(fields []field) bool {
	for i := range fields {
		f := &fields[i]
		if f.tag >= 0 || w.version < f.min || w.version > f.max {
			continue
		}
		if !w.field(f) {
			return false
		}
	}
	return !w.flexible || w.tags(fields)
}

func (w *walker) field(f *field) bool {
	switch f.kind {
	case '1':
		w.r.Span(f.size)
	case 's':
		if w.flexible {
			w.compact()
		} else if n := w.r.Int16(); n > 0 {
			w.r.Span(int(n))
		}
	case 'b':
		if w.flexible {
			w.compact()
		} else if n := w.r.Int32(); n > 0 {
			w.r.Span(int(n))
		}
	case '{':
		return w.fields(f.fields)
	case '?':
		if w.r.Int8() >= 0 && w.r.Ok() {
			return w.fields(f.fields)
		}
	case '[', '*':
		return w.array(f)
	}
	return w.r.Ok()
}

// compact skips a string or bytes with a compact length: one more than it is, 0 for null.
func (w *walker) compact() {
	if n := w.r.Uvarint(); n > 1 {
		w.r.Span(int(n) - 1)
	}
}

func (w *walker) array(f *field) bool {
	var n int32
	if w.flexible {
		n = w.r.CompactArrayLen()
	} else {
		n = w.r.ArrayLen()
	}
	if !w.r.Ok() || !w.count(n) {
		return false
	}
	for range max(n, 0) {
		ok := false
		if f.kind == '*' { // no structs, so no tags
			ok = w.field(&f.fields[0])
		} else {
			ok = w.fields(f.fields)
		}
		if !ok {
			return false
		}
	}
	return true
}

// count notes n more elements, false if they are too many.
func (w *walker) count(n int32) bool {
	w.elements += int(max(n, 0))
	return w.elements <= maxElements
}

// tags walks over a tag section: number, then tag, size and value of each.
func (w *walker) tags(fields []field) bool {
	n := w.r.Uvarint()
	if !w.r.Ok() || n > maxElements || !w.count(int32(n)) {
		return false
	}
	for range n {
		tag, size := w.r.Uvarint(), w.r.Uvarint()
		value := w.r.Span(int(size))
		if !w.r.Ok() {
			return false
		}
		for i := range fields {
			if f := &fields[i]; f.tag == int32(tag) && !w.within(value, f) {
				return false
			}
		}
	}
	return true
}

// within walks over the value of a tagged field.
func (w *walker) within(value []byte, f *field) bool {
	outer := w.r
	w.r = kbin.Reader{Src: value}
	ok := w.field(f)
	w.r = outer
	return ok
}
