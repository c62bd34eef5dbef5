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
func (it *Records) Next() bool {
	if it.left <= 0 {
		if len(it.body) > 0 && it.err == nil {
			it.err = invalid("%d bytes after the last record", len(it.body))
		}
		return false
	}
	size, p := varint(it.body, 0)
	// The two comparisons bound size, so that r is long enough for one byte of
	// each field: no length check is needed before the first bytes.
	if p < 0 || size < minRecordSize-1 || int(size) > len(it.body)-p {
		return it.fail("length")
	}
	end := p + int(size)
	r := it.body[p:end:end]

	// r[0] is the record's attributes: unused.
	var delta int64
	if c := r[1]; c < 0x80 {
		delta, p = int64(c>>1)^-int64(c&1), 2
	} else if delta, p = varlong(r, 1); p < 0 {
		return it.fail("timestamp delta")
	}
	rec := &it.rec
	rec.Timestamp = it.baseTime + delta
	if it.hasFixedTime {
		rec.Timestamp = it.fixedTime
	}
	if rec.OffsetDelta, p = varint(r, p); p < 0 {
		return it.fail("offset delta")
	}
	if rec.Key, p = field(r, p); p < 0 {
		return it.fail("key")
	}
	if rec.Value, p = field(r, p); p < 0 {
		return it.fail("value")
	}
	if p < len(r) && r[p] == 0 { // no headers
		p++
		rec.Headers = Headers{}
	} else {
		var n int32
		if n, p = varint(r, p); p < 0 || n <= 0 || int(n) > (len(r)-p)/minHeaderSize {
			return it.fail("header count")
		}
		rec.Headers = Headers{n: n, raw: r[p:]}
		p = len(r)
	}
	if p != len(r) {
		return it.fail("length: bytes after its last field")
	}
	it.body = it.body[end:]
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
