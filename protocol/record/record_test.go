package record

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// want is a record as a test writes and expects it.
type want struct {
	offset, timestamp int64
	key, value        []byte
	headers           []Header
}

// odd is a batch's worth of records with all that must survive: nulls and
// empties of each kind, repeated header keys, gaps, times out of order.
func odd() []want {
	empty := []byte{}
	return []want{
		{offset: 1000, timestamp: 1_700_000_000_000, key: []byte("k"), value: []byte("v")},
		{offset: 1001, timestamp: 1_700_000_000_000, key: nil, value: nil},
		{offset: 1002, timestamp: 1_699_999_999_000, key: empty, value: empty},
		{offset: 1007, timestamp: 1_700_000_100_000, key: nil, value: bytes.Repeat([]byte("x"), 5000)},
		{offset: 90_000, timestamp: 1_700_000_000_001, value: []byte("headers"), headers: []Header{
			{[]byte("a"), []byte("1")}, {[]byte("a"), []byte("2")}, {[]byte("b"), nil}, {empty, empty},
		}},
	}
}

// build writes records as one batch.
func build(t testing.TB, p Params, records []want) Batch {
	t.Helper()
	var b Builder
	b.Reset(nil, p)
	var h Headers
	for _, r := range records {
		h = h.Reset()
		for _, x := range r.headers {
			h = h.Append(x.Key, x.Value)
		}
		if !b.Append(r.offset, r.timestamp, r.key, r.value, h) {
			t.Fatalf("the builder refused offset %d", r.offset)
		}
	}
	return Batch(b.Finish())
}

// read returns the records of a batch.
func read(t testing.TB, b Batch) []want {
	t.Helper()
	var d Decompressor
	body, err := d.Body(b, DefaultMaxBody)
	if err != nil {
		t.Fatal(err)
	}
	var got []want
	it := b.Records(body)
	for it.Next() {
		r := it.Record()
		w := want{offset: b.BaseOffset() + int64(r.OffsetDelta), timestamp: r.Timestamp, key: r.Key, value: r.Value}
		hs := r.Headers.All()
		for hs.Next() {
			w.headers = append(w.headers, hs.Header())
		}
		if hs.Err() != nil {
			t.Fatal(hs.Err())
		}
		got = append(got, w)
	}
	if it.Err() != nil {
		t.Fatal(it.Err())
	}
	return got
}

// same compares records, null and empty told apart.
func same(t testing.TB, got, expected []want) {
	t.Helper()
	if len(got) != len(expected) {
		t.Fatalf("%d records, want %d", len(got), len(expected))
	}
	for i := range got {
		if g, w := fmt.Sprintf("%#v", got[i]), fmt.Sprintf("%#v", expected[i]); g != w {
			t.Fatalf("record %d:\n got %s\nwant %s", i, g, w)
		}
	}
}

// consecutive returns n records of a produced batch: offsets from 0.
func consecutive(n int) []want {
	rs := make([]want, n)
	for i := range rs {
		rs[i] = want{offset: int64(i), timestamp: 1_700_000_000_000 + int64(i), value: fmt.Appendf(nil, "value %06d of some length", i)}
	}
	return rs
}

// kmsgBatch encodes records the way franz-go does: the oracle for our bytes.
func kmsgBatch(records []want) Batch {
	k := kmsg.NewRecordBatch()
	k.FirstOffset = records[0].offset
	k.Magic = 2
	k.FirstTimestamp = records[0].timestamp
	k.MaxTimestamp = records[0].timestamp
	k.ProducerID, k.ProducerEpoch, k.FirstSequence = -1, -1, -1
	k.NumRecords = int32(len(records))
	k.LastOffsetDelta = int32(records[len(records)-1].offset - k.FirstOffset)
	for _, r := range records {
		k.MaxTimestamp = max(k.MaxTimestamp, r.timestamp)
		kr := kmsg.Record{
			TimestampDelta64: r.timestamp - k.FirstTimestamp,
			OffsetDelta:      int32(r.offset - k.FirstOffset),
			Key:              r.key, Value: r.value,
		}
		for _, h := range r.headers {
			kr.Headers = append(kr.Headers, kmsg.Header{Key: string(h.Key), Value: h.Value})
		}
		kr.Length = int32(len(kr.AppendTo(nil)) - 1) // a length of 0 takes one byte
		k.Records = kr.AppendTo(k.Records)
	}
	k.Length = int32(HeaderSize - LogOverhead + len(k.Records))
	b := Batch(k.AppendTo(nil))
	b.setCRC()
	return b
}

var codecs = []Codec{None, Gzip, Snappy, LZ4, Zstd}

func TestABatchSurvivesTheRoundTripWithEveryCodec(t *testing.T) {
	for _, codec := range codecs {
		t.Run(codec.String(), func(t *testing.T) {
			b := build(t, Params{Codec: codec}, odd())
			if got := b.Attributes().Codec(); got != codec {
				t.Errorf("codec %v", got)
			}
			if !b.Intact() {
				t.Error("checksum differs")
			}
			same(t, read(t, b), odd())
		})
	}
}

func TestTheBuilderWritesTheBytesThatFranzGoWrites(t *testing.T) {
	got, expected := build(t, Params{}, odd()), kmsgBatch(odd())
	if !bytes.Equal(got, expected) {
		t.Fatalf("got\n%x\nwant\n%x", got, expected)
	}
}

func TestHeaderFieldsAreReadWhereFranzGoWritesThem(t *testing.T) {
	k := kmsg.NewRecordBatch()
	k.FirstOffset, k.Length, k.PartitionLeaderEpoch, k.Magic = 1, 49, 3, 2
	k.CRC, k.Attributes, k.LastOffsetDelta = 5, 0x3c, 7
	k.FirstTimestamp, k.MaxTimestamp = 8, 9
	k.ProducerID, k.ProducerEpoch, k.FirstSequence, k.NumRecords = 10, 11, 12, 13
	b, rest, err := Next(k.AppendTo(nil))
	if err != nil || len(rest) > 0 {
		t.Fatal(err, rest)
	}
	a := b.Attributes()
	got := fmt.Sprint(b.BaseOffset(), b.LeaderEpoch(), b.CRC(), a.Codec(), a.TimestampType(), a.Transactional(), a.Control(),
		b.LastOffsetDelta(), b.LastOffset(), b.BaseTimestamp(), b.MaxTimestamp(), b.ProducerID(), b.ProducerEpoch(), b.BaseSequence(), b.LastSequence(), b.NumRecords())
	if expected := "1 3 5 zstd 1 true true 7 8 8 9 10 11 12 19 13"; got != expected {
		t.Fatalf("got %s, want %s", got, expected)
	}
}

func TestFranzGoReadsWhatTheBuilderWrites(t *testing.T) {
	b := build(t, Params{Producer: &Producer{7, 3, 2_000_000_000}, LeaderEpoch: 4, Transactional: true}, odd())
	var k kmsg.RecordBatch
	if err := k.ReadFrom(b); err != nil {
		t.Fatal(err)
	}
	if k.ProducerID != 7 || k.ProducerEpoch != 3 || k.FirstSequence != 2_000_000_000 || k.PartitionLeaderEpoch != 4 || k.Attributes != 1<<4 || int(k.Length) != len(b)-12 {
		t.Fatalf("%+v", k)
	}
	if k.MaxTimestamp != 1_700_000_100_000 || k.LastOffsetDelta != 89_000 || k.NumRecords != 5 {
		t.Fatalf("%+v", k)
	}
	src := k.Records
	for i, w := range odd() {
		var r kmsg.Record
		if err := r.ReadFrom(src); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(r.Key, w.key) || (r.Key == nil) != (w.key == nil) || !bytes.Equal(r.Value, w.value) || len(r.Headers) != len(w.headers) {
			t.Fatalf("record %d: %+v", i, r)
		}
		src = src[1:] // skip the length and its further bytes, then the record
		for n := r.Length; n >= 64; n >>= 7 {
			src = src[1:]
		}
		src = src[r.Length:]
	}
}

func TestOffsetAndEpochAreStampedWithoutTouchingTheChecksum(t *testing.T) {
	b := build(t, Params{Codec: Zstd}, consecutive(50))
	b.SetBaseOffset(1 << 40)
	b.SetLeaderEpoch(9)
	if !b.Intact() || b.BaseOffset() != 1<<40 || b.LeaderEpoch() != 9 || b.LastOffset() != 1<<40+49 {
		t.Fatalf("intact %v, offset %d, epoch %d", b.Intact(), b.BaseOffset(), b.LeaderEpoch())
	}
}

func TestLogAppendTimeReplacesAllTimestampsAndBack(t *testing.T) {
	b := build(t, Params{}, consecutive(3))
	b.SetLogAppendTime(42)
	if !b.Intact() || b.MaxTimestamp() != 42 {
		t.Fatal("checksum or max timestamp wrong")
	}
	for _, r := range read(t, b) {
		if r.timestamp != 42 {
			t.Fatalf("timestamp %d", r.timestamp)
		}
	}
	b.SetCreateTime(1_700_000_000_002)
	if !b.Intact() {
		t.Fatal("checksum differs")
	}
	same(t, read(t, b), consecutive(3))
}

func TestSequencesWrapToZero(t *testing.T) {
	for _, c := range []struct{ seq, n, want int32 }{
		{0, 0, 0}, {5, 3, 8}, {1<<31 - 1, 0, 1<<31 - 1}, {1<<31 - 1, 1, 0}, {1<<31 - 3, 10, 7},
	} {
		if got := AddSequence(c.seq, c.n); got != c.want {
			t.Errorf("%d + %d = %d, want %d", c.seq, c.n, got, c.want)
		}
	}
}

func TestNextWalksBatchesAndToleratesACutEndOnRequest(t *testing.T) {
	a, b := build(t, Params{}, consecutive(2)), build(t, Params{Codec: LZ4}, consecutive(100))
	all := append(append([]byte(nil), a...), b...)
	for cut := range len(all) + 1 {
		rest, n := all[:cut], 0
		var err error
		for len(rest) > 0 {
			if _, rest, err = Next(rest); err != nil {
				break
			}
			n++
		}
		switch {
		case cut == len(all) && (n != 2 || err != nil), cut == len(a) && (n != 1 || err != nil):
			t.Fatalf("cut at %d: %d batches, %v", cut, n, err)
		case cut != 0 && cut != len(a) && cut != len(all) && err != ErrTruncated:
			t.Fatalf("cut at %d: %v, want ErrTruncated", cut, err)
		}
	}
}

func TestTheBuilderCutsBatches(t *testing.T) {
	value := make([]byte, 100)
	var b Builder
	b.Reset(nil, Params{MaxBytes: 1000})
	n := int64(0)
	for ; b.Append(n, 0, nil, value, Headers{}); n++ {
		if b.Size() > 1000 {
			t.Fatalf("size %d", b.Size())
		}
	}
	size := b.Size()
	got := b.Finish()
	if len(got) != size || len(got) <= 1000-120 {
		t.Fatalf("%d bytes, predicted %d", len(got), size)
	}
	b.Reset(nil, Params{MaxBytes: 10})
	if !b.Append(5, 0, nil, value, Headers{}) {
		t.Error("an empty batch refused a record larger than the limit")
	}
	for _, offset := range []int64{4, 5, 5 + 1<<31} {
		b.params.MaxBytes = 0
		if b.Append(offset, 0, nil, nil, Headers{}) {
			t.Errorf("offset %d accepted after 5", offset)
		}
	}
	b.Reset(nil, Params{TimestampType: LogAppendTime})
	if !b.Append(0, 7, nil, nil, Headers{}) || b.Append(1, 8, nil, nil, Headers{}) || !b.Append(1, 7, nil, nil, Headers{}) {
		t.Error("a LogAppendTime batch has one timestamp")
	}
	b.CoverTo(9)
	batch := Batch(b.Finish())
	if batch.LastOffset() != 9 || batch.NumRecords() != 2 {
		t.Errorf("last offset %d, %d records", batch.LastOffset(), batch.NumRecords())
	}
}

func TestTheBuilderAppendsBehindWhatIsThere(t *testing.T) {
	var b Builder
	out := []byte("before")
	for i := range 3 {
		b.Reset(out, Params{Codec: Codec(i)})
		for _, r := range consecutive(200) {
			b.Append(r.offset+int64(i)*200, r.timestamp, r.key, r.value, Headers{})
		}
		out = b.Finish()
	}
	b.Reset(out, Params{})
	out = b.Finish() // an empty batch leaves no trace
	rest := out[len("before"):]
	for i := range int64(3) {
		var batch Batch
		var err error
		if batch, rest, err = Next(rest); err != nil || !batch.Intact() || batch.BaseOffset() != i*200 || len(read(t, batch)) != 200 {
			t.Fatal(i, err)
		}
	}
	if len(rest) > 0 || string(out[:6]) != "before" {
		t.Fatal("bytes lost or left over")
	}
}

func TestRecordsThatDoNotShrinkStayUncompressed(t *testing.T) {
	b := build(t, Params{Codec: Gzip}, consecutive(1))
	if got := b.Attributes().Codec(); got != None {
		t.Fatalf("codec %v", got)
	}
	same(t, read(t, b), consecutive(1))
}

func TestMaxRecordSizeIsABound(t *testing.T) {
	var b Builder
	b.Reset(nil, Params{})
	h := Headers{}.Append([]byte("k"), nil)
	b.Append(0, -1<<62, nil, nil, Headers{})
	before := b.Size()
	b.Append(1<<31-1, 1<<62, make([]byte, 300), make([]byte, 70000), h)
	if got, bound := b.Size()-before, MaxRecordSize(make([]byte, 300), make([]byte, 70000), h); got > bound || got < bound-maxRecordOverhead {
		t.Fatalf("%d bytes, bound %d", got, bound)
	}
}

func TestVarintsAreThoseOfTheStandardLibrary(t *testing.T) {
	for _, v := range []int64{0, 1, -1, 63, 64, -64, -65, 8191, 8192, -8192, -8193, 1<<31 - 1, -1 << 31, 1 << 40, 1<<63 - 1, -1 << 63} {
		expected := binary.AppendVarint(nil, v)
		got := make([]byte, 10)
		got = got[:putVarlong(got, 0, v)]
		if !bytes.Equal(got, expected) || varlongLen(v) != len(expected) {
			t.Fatalf("%d: %x, want %x", v, got, expected)
		}
		if back, p := varlong(got, 0); back != v || p != len(got) {
			t.Fatalf("%d read as %d", v, back)
		}
		if int64(int32(v)) != v {
			continue
		}
		if back, p := varint(got, 0); int64(back) != v || p != len(got) || varintLen(int32(v)) != len(got) {
			t.Fatalf("%d read as %d", v, back)
		}
		for cut := range got {
			if _, p := varint(got[:cut], 0); p != -1 {
				t.Fatalf("%d cut at %d was read", v, cut)
			}
		}
	}
	for _, bad := range [][]byte{{0xff, 0xff, 0xff, 0xff, 0x1f}, {0x80, 0x80, 0x80, 0x80, 0x80, 0}} {
		if _, p := varint(bad, 0); p != -1 {
			t.Errorf("%x was read", bad)
		}
	}
}
