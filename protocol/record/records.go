package record

// A Record is one record of a batch. Key, Value and Headers alias the batch's
// decompressed body: they are valid as long as that is.
type Record struct {
	// OffsetDelta is the record's offset less the batch's base offset.
	OffsetDelta int32
	// Timestamp is in ms since 1970 UTC, or NoTimestamp.
	Timestamp int64
	// Key and Value: nil is null, which is not the same as empty.
	Key, Value []byte
	Headers    Headers
}

// Records iterates over a batch's records in order, without allocating:
//
//	for it := batch.Records(body); it.Next(); {
//		r := it.Record()
//	}
//
// Not for concurrent use.
type Records struct {
	body     []byte // not yet read
	baseTime int64
	// fixedTime is the timestamp of all records if hasFixedTime (LogAppendTime).
	fixedTime    int64
	hasFixedTime bool
	left         int32 // records that the header says are still to come
	index        int
	rec          Record
	err          error
}

// Records returns an iterator over the batch's records. body is the payload,
// decompressed (see Decompressor.Body). It is safe on any bytes: a malformed record
// ends the iteration, and Err then says why. The records of a batch that
// passed Check are all well-formed.
func (b Batch) Records(body []byte) Records {
	return Records{
		body:         body,
		baseTime:     b.BaseTimestamp(),
		fixedTime:    b.MaxTimestamp(),
		hasFixedTime: b.Attributes().TimestampType() == LogAppendTime,
		left:         b.NumRecords(),
	}
}

// Record returns the current record. It is overwritten by Next.
func (it *Records) Record() *Record { return &it.rec }

// Err returns what ended the iteration early: nil, or ErrInvalid as a
// RecordError. Read it when Next has returned false.
func (it *Records) Err() error { return it.err }

// Next moves to the next record and reports whether there is one.
//
// It is the innermost loop of every produce and fetch, so the short forms of
// all fields are read inline (see short): a third less time.
func (it *Records) Next() bool {
	if it.left <= 0 {
		if len(it.body) > 0 && it.err == nil {
			it.err = invalid("%d bytes after the last record", len(it.body))
		}
		return false
	}
	size, p := short(it.body, 0)
	if p < 0 {
		size, p = varint(it.body, 0)
	}
	// The comparisons bound size, so that r has a byte for each field: the
	// first bytes need no test of length.
	if p < 0 || size < minRecordSize-1 || int(size) > len(it.body)-p {
		return it.fail("length")
	}
	r := it.body[p : p+int(size) : p+int(size)]
	it.body = it.body[p+int(size):]
	rec := &it.rec

	// r[0] is the record's attributes: unused.
	delta := int64(r[1]>>1) ^ -int64(r[1]&1)
	p = 2
	if r[1] >= 0x80 {
		delta, p = varlong(r, 1)
	}
	rec.Timestamp = it.baseTime + delta
	if it.hasFixedTime {
		rec.Timestamp = it.fixedTime
	}
	n, q := short(r, p) // offset delta
	if q < 0 {
		n, q = varint(r, p)
	}
	rec.OffsetDelta, p = n, q

	if n, q = short(r, p); q < 0 { // key
		n, q = varint(r, p)
	}
	switch p = q; {
	case p < 0 || int(n) > len(r)-p:
		return it.fail("timestamp, offset or key")
	case n < 0:
		rec.Key = nil
	default:
		rec.Key = r[p : p+int(n) : p+int(n)]
		p += int(n)
	}
	if n, q = short(r, p); q < 0 { // value
		n, q = varint(r, p)
	}
	switch p = q; {
	case p < 0 || int(n) > len(r)-p:
		return it.fail("value")
	case n < 0:
		rec.Value = nil
	default:
		rec.Value = r[p : p+int(n) : p+int(n)]
		p += int(n)
	}
	if p == len(r)-1 && r[p] == 0 {
		rec.Headers = Headers{}
	} else {
		n, p = varint(r, p)
		if p < 0 || n <= 0 || int(n) > (len(r)-p)/minHeaderSize {
			return it.fail("header count")
		}
		rec.Headers = Headers{n: n, raw: r[p:]}
	}
	it.left--
	it.index++
	return true
}

// field reads a length and that many bytes of r at p; a negative length is
// null. It returns where they end, or -1.
func field(r []byte, p int) ([]byte, int) {
	n, p := varint(r, p)
	if n < 0 {
		return nil, p
	}
	if p < 0 || int(n) > len(r)-p {
		return nil, -1
	}
	return r[p : p+int(n) : p+int(n)], p + int(n)
}

func (it *Records) fail(what string) bool {
	it.err = &RecordError{it.index, invalid("bad %s", what)}
	it.left, it.body = 0, nil
	return false
}
