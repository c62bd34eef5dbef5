package rows

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"sluice/protocol/record"
)

// row is a row of a topic's table as the oracle, parquet-go, sees it.
type row struct {
	Topic         string   `parquet:"topic"`
	Partition     int32    `parquet:"partition"`
	Offset        int64    `parquet:"offset"`
	Timestamp     *int64   `parquet:"timestamp,optional,timestamp(microsecond:utc)"`
	TimestampType int32    `parquet:"timestampType"`
	Key           []byte   `parquet:"key,optional"`
	Value         []byte   `parquet:"value,optional"`
	Headers       []header `parquet:"headers,optional,list"`
}

type header struct {
	Key   *string `parquet:"key,optional"`
	Value []byte  `parquet:"value,optional"`
}

// rec is a record in tests.
type rec struct {
	offset     int64
	ms         int64
	key, value []byte
	headers    []header
}

func h(key string, value []byte) header { return header{&key, value} }

// batch makes a wire batch of records; its own base offset is that of the
// first record, which Encode is to ignore in favour of Batch.BaseOffset.
func batch(t testing.TB, partition int32, codec record.Codec, typ record.TimestampType, recs ...rec) Batch {
	t.Helper()
	var b record.Builder
	b.Reset(nil, record.Params{Codec: codec, TimestampType: typ})
	for _, r := range recs {
		var hs record.Headers
		for _, h := range r.headers {
			hs = hs.Append([]byte(*h.Key), h.Value)
		}
		if !b.Append(r.offset, r.ms, r.key, r.value, hs) {
			t.Fatalf("offset %d does not fit its batch", r.offset)
		}
	}
	data := record.Batch(b.Finish())
	data.SetBaseOffset(0)
	return Batch{Partition: partition, BaseOffset: recs[0].offset, Data: data}
}

// wantRows are the rows that batches of records must become.
func wantRows(topic string, partition int32, typ record.TimestampType, recs ...rec) []row {
	var rows []row
	for _, r := range recs {
		w := row{Topic: topic, Partition: partition, Offset: r.offset, TimestampType: int32(typ),
			Key: r.key, Value: r.value, Headers: r.headers}
		if r.ms != record.NoTimestamp {
			micros := r.ms * 1000
			w.Timestamp = &micros
		}
		rows = append(rows, w)
	}
	return rows
}

// oracle reads a file through parquet-go, row by row.
func oracle(t testing.TB, body []byte) []row {
	t.Helper()
	r := parquet.NewGenericReader[row](bytes.NewReader(body))
	defer r.Close()
	rows := make([]row, r.NumRows())
	if n, err := r.Read(rows); n != len(rows) {
		t.Fatalf("parquet-go reads %d of %d rows: %v", n, len(rows), err)
	}
	return rows
}

func show(r row) string {
	var s strings.Builder
	ts := "null"
	if r.Timestamp != nil {
		ts = fmt.Sprint(*r.Timestamp)
	}
	fmt.Fprintf(&s, "%s %d/%d at %s type %d key %s value %s", r.Topic, r.Partition, r.Offset, ts, r.TimestampType, showBytes(r.Key), showBytes(r.Value))
	for _, h := range r.Headers {
		key := "null"
		if h.Key != nil {
			key = fmt.Sprintf("%q", *h.Key)
		}
		fmt.Fprintf(&s, " %s=%s", key, showBytes(h.Value))
	}
	return s.String()
}

func showBytes(b []byte) string {
	if b == nil {
		return "null"
	}
	if len(b) > 40 {
		return fmt.Sprintf("%q... (%d bytes, sum %d)", b[:40], len(b), sum(b))
	}
	return fmt.Sprintf("%q", b)
}

func sum(b []byte) (n int) {
	for i, c := range b {
		n = n*31 + int(c) + i
	}
	return n
}

func sameRows(t testing.TB, got, want []row) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%d rows, want %d", len(got), len(want))
	}
	for i := range min(len(got), len(want)) {
		if g, w := show(got[i]), show(want[i]); g != w {
			t.Fatalf("row %d:\n got %s\nwant %s", i, g, w)
		}
	}
}

// randomRecs makes n records with all kinds of contents. gaps skips offsets.
func randomRecs(rng *rand.Rand, first int64, n int, gaps bool) []rec {
	recs := make([]rec, n)
	offset := first
	ms := int64(1_700_000_000_000)
	for i := range recs {
		r := &recs[i]
		r.offset = offset
		offset++
		if gaps {
			offset += rng.Int64N(3)
		}
		ms += rng.Int64N(20) - 5
		r.ms = ms
		if rng.IntN(9) == 0 {
			r.ms = record.NoTimestamp
		}
		r.key = randomField(rng, 20)
		r.value = randomField(rng, 200)
		for range max(0, rng.IntN(6)-3) {
			r.headers = append(r.headers, h(fmt.Sprint("k", rng.IntN(2)), randomField(rng, 10)))
		}
	}
	return recs
}

// randomField is null, empty, or text.
func randomField(rng *rand.Rand, size int) []byte {
	switch rng.IntN(6) {
	case 0:
		return nil
	case 1:
		return []byte{}
	}
	b := make([]byte, 1+rng.IntN(size))
	for i := range b {
		b[i] = 'a' + byte(rng.IntN(26))
	}
	return b
}

func seeded(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 7)) }

func encode(t testing.TB, opts Options, batches ...Batch) File {
	t.Helper()
	f, err := NewEncoder(opts).Encode("orders", batches)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// randomBytes do not compress.
func randomBytes(rng *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}
