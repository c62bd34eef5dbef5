package record

// minHeaderSize is the shortest header: the lengths of its key and value.
const minHeaderSize = 2

// Headers are the headers of one record, as encoded: in order, keys may
// repeat. The zero Headers has none.
type Headers struct {
	n   int32
	raw []byte
}

// A Header is a key and a value; a nil Value is null, which is not the same as
// empty. The key is never null.
type Header struct {
	Key, Value []byte
}

// Len returns the number of headers.
func (h Headers) Len() int { return int(h.n) }

// Size returns the encoded length in bytes, without the count.
func (h Headers) Size() int { return len(h.raw) }

// Append returns h and one more header; a nil value is null, a nil key is
// empty. Like append it may write behind h's bytes: h is not to be used again.
// Together with Reset it encodes the headers of many records into one buffer.
func (h Headers) Append(key, value []byte) Headers {
	if key == nil {
		key = []byte{}
	}
	p := len(h.raw)
	b := grow(h.raw, fieldLen(key)+fieldLen(value))
	b = b[:p+fieldLen(key)+fieldLen(value)]
	putField(b, putField(b, p, key), value)
	return Headers{n: h.n + 1, raw: b}
}

// Reset returns no headers, with the memory of h to append to.
func (h Headers) Reset() Headers { return Headers{raw: h.raw[:0]} }

// All returns an iterator over the headers:
//
//	for it := r.Headers.All(); it.Next(); {
//		h := it.Header()
//	}
func (h Headers) All() HeaderIterator { return HeaderIterator{left: h.n, raw: h.raw} }

// A HeaderIterator walks the headers of a record without allocating. It is
// safe on any bytes; those of a batch that passed Check are well-formed.
type HeaderIterator struct {
	left int32
	raw  []byte
	head Header
	err  error
}

// Header returns the current header. Its slices alias the record's.
func (it *HeaderIterator) Header() Header { return it.head }

// Err returns nil or what ended the iteration early (ErrInvalid).
func (it *HeaderIterator) Err() error { return it.err }

// Next moves to the next header and reports whether there is one.
func (it *HeaderIterator) Next() bool {
	if it.left <= 0 {
		if len(it.raw) > 0 && it.err == nil {
			it.err = invalid("%d bytes after the last header", len(it.raw))
		}
		return false
	}
	key, p := field(it.raw, 0)
	if p < 0 || key == nil { // Kafka: "Invalid negative header key size"
		return it.fail("header key")
	}
	value, p := field(it.raw, p)
	if p < 0 {
		return it.fail("header value")
	}
	it.head = Header{key, value}
	it.raw = it.raw[p:]
	it.left--
	return true
}

func (it *HeaderIterator) fail(what string) bool {
	it.err = invalid("bad %s", what)
	it.left, it.raw = 0, nil
	return false
}
