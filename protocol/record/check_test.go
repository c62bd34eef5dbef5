package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
)

// edit changes fields of a copy of b and renews its checksum.
func edit(b Batch, change func(Batch)) Batch {
	c := Batch(bytes.Clone(b))
	change(c)
	c.setCRC()
	return c
}

func put16(off int, v int16) func(Batch) {
	return func(b Batch) { binary.BigEndian.PutUint16(b[off:], uint16(v)) }
}

func put32(off int, v int32) func(Batch) {
	return func(b Batch) { binary.BigEndian.PutUint32(b[off:], uint32(v)) }
}

func put64(off int, v int64) func(Batch) {
	return func(b Batch) { binary.BigEndian.PutUint64(b[off:], uint64(v)) }
}

// raw makes an uncompressed batch of n records from the bytes of its body.
func raw(n int32, body ...byte) Batch {
	var b Builder
	b.Reset(nil, Params{})
	b.Append(0, 0, nil, nil, Headers{})
	batch := append(b.Finish()[:HeaderSize], body...)
	return edit(batch, func(c Batch) {
		put32(offLength, int32(len(c)-LogOverhead))(c)
		put32(offNumRecords, n)(c)
		put32(offLastDelta, n-1)(c)
	})
}

// at returns one record with a timestamp.
func at(timestamp int64) []want { return []want{{timestamp: timestamp}} }

func TestCheckAcceptsWhatProducersSend(t *testing.T) {
	good := consecutive(100)
	cases := map[string]struct {
		batch Batch
		rules Rules
	}{
		"idempotent":           {build(t, Params{Producer: &Producer{0, 0, 0}}, good), Rules{}},
		"transactional":        {build(t, Params{Producer: &Producer{1, 2, 3}, Transactional: true}, good), Rules{}},
		"franz-go's own":       {kmsgBatch(good), Rules{}},
		"no timestamp":         {build(t, Params{}, at(-1)), Rules{Earliest: 5, Latest: 6}},
		"the first instant":    {build(t, Params{}, at(MinTimestamp)), Rules{}},
		"the last instant":     {build(t, Params{}, at(MaxTimestamp)), Rules{}},
		"any time, to replace": {build(t, Params{}, at(1<<60)), Rules{LogAppendTime: true}},
		"LogAppendTime flag":   {edit(build(t, Params{}, good), put16(offAttributes, 1<<3)), Rules{}}, // as Kafka 4.4 does
		"exactly the limit":    {build(t, Params{}, good), Rules{MaxBytes: len(build(t, Params{}, good))}},
		"leader epoch ignored": {edit(build(t, Params{}, good), put32(offLeaderEpoch, 77)), Rules{}},
		"max timestamp lies":   {edit(build(t, Params{}, good), put64(offMaxTimestamp, 5)), Rules{}},
		"unused attributes":    {edit(build(t, Params{}, good), put16(offAttributes, 1<<14)), Rules{}},
	}
	for _, codec := range codecs {
		cases["codec "+codec.String()] = struct {
			batch Batch
			rules Rules
		}{build(t, Params{Codec: codec}, good), Rules{}}
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			before := bytes.Clone(c.batch)
			var d Decompressor
			got, err := Check(c.batch, c.rules, &d)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Batch, before) || got.Renumbered {
				t.Error("the batch was changed")
			}
			if n := c.batch.NumRecords(); n == 100 && got.MaxTimestamp != good[99].timestamp {
				t.Errorf("max timestamp %d", got.MaxTimestamp)
			}
		})
	}
}

func TestCheckRefusesWithTheErrorThatKafkaGives(t *testing.T) {
	good := build(t, Params{}, consecutive(3))
	idem := build(t, Params{Producer: &Producer{1, 1, 1}}, consecutive(3))
	late := []want{{timestamp: 0}, {offset: 1, timestamp: MaxTimestamp + 1}}
	badUTF8 := []want{{headers: []Header{{Key: []byte{0xff}}}}}
	zstd := build(t, Params{Codec: Zstd}, consecutive(100))
	garbage := func(codec Codec, body ...byte) Batch {
		return edit(raw(1, body...), put16(offAttributes, int16(codec)))
	}
	cases := []struct {
		name    string
		records []byte
		rules   Rules
		code    int16
		says    string
	}{
		{"nothing", nil, Rules{}, 87, "no whole batch"},
		{"a cut header", good[:40], Rules{}, 87, "no whole batch"},
		{"a cut body", good[:len(good)-1], Rules{}, 87, "no whole batch"},
		{"two batches", append(bytes.Clone(good), good...), Rules{}, 87, "one batch"},
		{"bytes behind", append(bytes.Clone(good), 0), Rules{}, 87, "one batch"},
		{"magic 0", edit(good, func(b Batch) { b[offMagic] = 0 }), Rules{}, 87, "magic 0 or 1"},
		{"magic 1", edit(good, func(b Batch) { b[offMagic] = 1 }), Rules{}, 87, "magic 0 or 1"},
		{"magic 3", edit(good, func(b Batch) { b[offMagic] = 3 }), Rules{}, 2, "magic"},
		{"length too small", edit(good, put32(offLength, 48)), Rules{}, 2, "length"},
		{"negative length", edit(good, put32(offLength, -1)), Rules{}, 2, "length"},
		{"huge length", edit(good, put32(offLength, 1<<31-1)), Rules{}, 87, "no whole batch"},
		{"a flipped bit", append(bytes.Clone(good[:len(good)-3]), good[len(good)-3]^1, good[len(good)-2], good[len(good)-1]), Rules{}, 2, "checksum"},
		{"over the limit", good, Rules{MaxBytes: len(good) - 1}, 10, "limit"},
		{"control", edit(good, put16(offAttributes, 1<<5)), Rules{}, 87, "control"},
		{"codec 5", edit(good, put16(offAttributes, 5)), Rules{}, 76, "codec"},
		{"zstd before Produce v7", zstd, Rules{RefuseZstd: true}, 76, "v7"},
		{"base offset", edit(good, put64(offBaseOffset, 1)), Rules{}, 87, "base offset"},
		{"no records", edit(good, put32(offNumRecords, 0)), Rules{}, 87, "0 records"},
		{"negative records", edit(good, put32(offNumRecords, -1)), Rules{}, 87, "records"},
		{"count unlike last delta", edit(good, put32(offNumRecords, 2)), Rules{}, 87, "last offset delta"},
		{"one record too few", edit(good, func(b Batch) { put32(offNumRecords, 2)(b); put32(offLastDelta, 1)(b) }), Rules{}, 87, "after the last record"},
		{"one record too many", edit(good, func(b Batch) { put32(offNumRecords, 4)(b); put32(offLastDelta, 3)(b) }), Rules{}, 87, "record 3"},
		{"2^31-1 records", edit(good, func(b Batch) { put32(offNumRecords, 1<<31-1)(b); put32(offLastDelta, 1<<31-2)(b) }), Rules{}, 87, "records in"},
		{"no sequence", edit(idem, put32(offBaseSequence, -1)), Rules{}, 87, "sequence"},
		{"no epoch", edit(idem, put16(offProducerEpoch, -1)), Rules{}, 87, "epoch"},
		{"transaction of nobody", edit(good, put16(offAttributes, 1<<4)), Rules{}, 87, "producer id"},
		{"before 1900", build(t, Params{}, at(MinTimestamp-1)), Rules{}, 32, "record 0"},
		{"after 9999", build(t, Params{}, late), Rules{}, 32, "record 1"},
		{"too early for the topic", build(t, Params{}, at(99)), Rules{Earliest: 100}, 32, "timestamp"},
		{"too late for the topic", build(t, Params{}, at(101)), Rules{Latest: 100}, 32, "timestamp"},
		{"timestamp overflow", edit(build(t, Params{}, []want{{timestamp: 1}, {offset: 1, timestamp: 1 << 62}}), put64(offBaseTimestamp, 1<<62)), Rules{}, 32, "timestamp"},
		{"no key", good, Rules{RequireKeys: true}, 87, "record 0"},
		{"header key not UTF-8", build(t, Params{}, badUTF8), Rules{}, 87, "UTF-8"},

		//                                     length attr ts off key value headers
		{"empty body", raw(1), Rules{}, 87, "records in"},
		{"a record too short", raw(1, 10, 0, 0, 0, 1, 1, 0), Rules{}, 87, "length"},
		{"a record too long", raw(1, 14, 0, 0, 0, 1, 1, 0), Rules{}, 87, "length"},
		{"a record of negative length", raw(1, 1, 0, 0, 0, 1, 1, 0), Rules{}, 87, "length"},
		{"an endless length", raw(1, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0), Rules{}, 87, "length"},
		{"a key beyond the record", raw(1, 12, 0, 0, 0, 8, 1, 0), Rules{}, 87, "key"},
		{"a value beyond the record", raw(1, 12, 0, 0, 0, 1, 8, 0), Rules{}, 87, "value"},
		{"a huge value", raw(1, 20, 0, 0, 0, 1, 0xfe, 0xff, 0xff, 0xff, 0x0f, 0), Rules{}, 87, "value"},
		{"header count beyond the record", raw(1, 14, 0, 0, 0, 1, 1, 4, 0), Rules{}, 87, "header"},
		{"negative header count", raw(1, 12, 0, 0, 0, 1, 1, 1), Rules{}, 87, "header"},
		{"no header count", raw(1, 14, 0, 0, 0, 1, 2, 'v', 0x80), Rules{}, 87, "header"},
		{"bytes after the headers", raw(1, 14, 0, 0, 0, 1, 1, 0, 0), Rules{}, 87, "header"},
		{"null header key", raw(1, 16, 0, 0, 0, 1, 1, 2, 1, 1), Rules{}, 87, "header key"},
		{"header value beyond the record", raw(1, 18, 0, 0, 0, 1, 1, 2, 2, 'k', 4), Rules{}, 87, "header value"},
		{"bytes after a header", raw(1, 20, 0, 0, 0, 1, 1, 2, 2, 'k', 1, 0), Rules{}, 87, "header"},

		{"gzip garbage", garbage(Gzip, []byte("not gzip at all, by any means")...), Rules{}, 87, "gzip"},
		{"snappy garbage", garbage(Snappy, 0xff, 0xff, 0xff), Rules{}, 87, "snappy"},
		{"lz4 garbage", garbage(LZ4, []byte("not lz4 at all")...), Rules{}, 87, "lz4"},
		{"zstd garbage", garbage(Zstd, []byte("not zstd at all")...), Rules{}, 87, "zstd"},
		{"a body over its limit", zstd, Rules{MaxBody: 1000}, 10, "decompress"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var d Decompressor
			_, err := Check(c.records, c.rules, &d)
			if err == nil || code(err) != c.code || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("got %v (code %d), want code %d about %q", err, code(err), c.code, c.says)
			}
		})
	}
}

func TestAnUncompressedBatchWithGapsIsRenumberedAndACompressedOneRefused(t *testing.T) {
	gaps := func(codec Codec) Batch {
		b := build(t, Params{Codec: codec, Producer: &Producer{7, 1, 5}}, []want{
			{offset: 0, timestamp: 3, key: []byte("a"), value: bytes.Repeat([]byte("v"), 500)},
			{offset: 4, timestamp: 1, headers: []Header{{[]byte("h"), nil}}},
			{offset: 9, timestamp: 2, value: []byte{}},
		})
		return edit(b, put32(offLastDelta, 2))
	}
	var d Decompressor
	got, err := Check(gaps(None), Rules{}, &d)
	if err != nil || !got.Renumbered || !got.Batch.Intact() || got.MaxTimestamp != 3 {
		t.Fatalf("%+v, %v", got, err)
	}
	if got.Batch.ProducerID() != 7 || got.Batch.BaseSequence() != 5 || got.Batch.LastSequence() != 7 {
		t.Error("the producer was lost")
	}
	same(t, read(t, got.Batch), []want{
		{offset: 0, timestamp: 3, key: []byte("a"), value: bytes.Repeat([]byte("v"), 500)},
		{offset: 1, timestamp: 1, headers: []Header{{[]byte("h"), nil}}},
		{offset: 2, timestamp: 2, value: []byte{}},
	})
	if again, err := Check(got.Batch, Rules{}, &d); err != nil || again.Renumbered {
		t.Errorf("the corrected batch: %+v, %v", again, err)
	}
	if _, err := Check(gaps(LZ4), Rules{}, &d); !errors.Is(err, ErrInvalid) {
		t.Errorf("compressed: %v", err)
	}
}

func TestRecordErrorsNameTheRecords(t *testing.T) {
	var d Decompressor
	_, err := Check(build(t, Params{}, []want{{key: []byte{}}, {offset: 1}, {offset: 2, key: []byte("k")}, {offset: 3}}), Rules{RequireKeys: true}, &d)
	refused, ok := errors.AsType[*RecordErrors](err)
	if !ok || refused.Total != 2 || len(refused.Named) != 2 || refused.Named[0].Index != 1 || refused.Named[1].Index != 3 {
		t.Fatalf("%+v", err)
	}
	if !errors.Is(err, ErrNoKey) || code(err) != 87 {
		t.Error(err)
	}
}

func TestARefusedTimestampDecidesTheCodeOfABatch(t *testing.T) {
	var d Decompressor
	_, err := Check(build(t, Params{}, []want{{timestamp: 5}, {offset: 1, key: []byte("k"), timestamp: 11}}), Rules{RequireKeys: true, Latest: 10}, &d)
	if refused, ok := errors.AsType[*RecordErrors](err); !ok || refused.Total != 2 || code(err) != 32 {
		t.Fatalf("%v", err)
	}
}

func TestABatchOfBadRecordsNamesABoundedNumberOfThem(t *testing.T) {
	var d Decompressor
	_, err := Check(build(t, Params{}, consecutive(3*maxRecordErrors)), Rules{Latest: 1, RequireKeys: true}, &d)
	refused, ok := errors.AsType[*RecordErrors](err)
	if !ok || refused.Total <= maxRecordErrors || len(refused.Named) != maxRecordErrors {
		t.Fatalf("%v", err)
	}
}

// code is the Kafka error code of a refusal, 0 of anything else.
func code(err error) int16 {
	if refused, ok := errors.AsType[*Error](err); ok {
		return refused.Code
	}
	return 0
}

func TestCheckAllocatesNothingPerRecord(t *testing.T) {
	var d Decompressor
	for _, codec := range codecs {
		b := build(t, Params{Codec: codec}, consecutive(100))
		check := func() {
			if _, err := Check(b, Rules{}, &d); err != nil {
				t.Fatal(err)
			}
		}
		check()
		if n := testing.AllocsPerRun(50, check); n > 5 { // pools are lossy under -race
			t.Errorf("%v: %v allocations", codec, n)
		}
	}
}
