package rows

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"sync/atomic"
	"testing"

	"sluice/protocol/record"
)

// source serves a file from memory and counts what is read. As a store may, it puts into
// the memory that it is given what fits.
type source struct {
	b     []byte
	reads atomic.Int64
	bytes atomic.Int64
}

func (s *source) read(_ context.Context, off, n int64, into []byte) ([]byte, error) {
	s.reads.Add(1)
	s.bytes.Add(n)
	if off < 0 || n < 0 || off+n > int64(len(s.b)) {
		return nil, io.ErrUnexpectedEOF
	}
	if int64(cap(into)) >= n {
		return append(into[:0], s.b[off:off+n]...), nil
	}
	return s.b[off : off+n : off+n], nil
}

func open(t testing.TB, body []byte) *Reader {
	t.Helper()
	r, err := Open(t.Context(), int64(len(body)), (&source{b: body}).read)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// records takes wire batches apart again.
func records(t testing.TB, encoded []Encoded) (typs []record.TimestampType, recs []rec) {
	t.Helper()
	for _, e := range encoded {
		b, rest, err := record.Next(e.Data)
		if err != nil || len(rest) > 0 || !b.Intact() {
			t.Fatalf("batch at %d: %v, %d bytes follow, intact %v", e.First, err, len(rest), b.Intact())
		}
		if b.ProducerID() != record.NoProducer || b.LeaderEpoch() != -1 || b.BaseOffset() != e.First || b.LastOffset() != e.Last || int(b.NumRecords()) != e.Records {
			t.Fatalf("batch %+v has another header", e)
		}
		it := b.Records(b.Payload())
		latest := int64(math.MinInt64)
		for it.Next() {
			r := it.Record()
			c := rec{offset: e.First + int64(r.OffsetDelta), ms: r.Timestamp, key: slices.Clone(r.Key), value: slices.Clone(r.Value)}
			for hs := r.Headers.All(); hs.Next(); {
				c.headers = append(c.headers, h(string(hs.Header().Key), slices.Clone(hs.Header().Value)))
			}
			latest = max(latest, r.Timestamp)
			typs, recs = append(typs, b.Attributes().TimestampType()), append(recs, c)
		}
		if it.Err() != nil {
			t.Fatal(it.Err())
		}
		if e.MaxTimestamp != latest {
			t.Fatalf("batch at %d: max timestamp %d, want %d", e.First, e.MaxTimestamp, latest)
		}
	}
	return typs, recs
}

func sameRecords(t testing.TB, got, want []rec) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%d records, want %d", len(got), len(want))
	}
	for i := range min(len(got), len(want)) {
		g, w := wantRows("", 0, 0, got[i])[0], wantRows("", 0, 0, want[i])[0]
		if show(g) != show(w) {
			t.Fatalf("record %d:\n got %s\nwant %s", i, show(g), show(w))
		}
	}
}

// readAll reads a partition to its end, bit by bit.
func readAll(t testing.TB, r *Reader, partition int32, from int64, limits Limits) (typs []record.TimestampType, recs []rec) {
	t.Helper()
	for {
		got, err := r.Read(t.Context(), partition, from, limits)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) == 0 {
			return typs, recs
		}
		size := 0
		for _, e := range got {
			if e.First < from || e.Last < e.First {
				t.Fatalf("offsets %d to %d after %d", e.First, e.Last, from)
			}
			from = e.Last + 1
			if size += len(e.Data); e.Records > 1 && len(e.Data) > max(limits.BatchBytes, 1<<20) {
				t.Fatalf("a batch of %d bytes, limit %d", len(e.Data), limits.BatchBytes)
			}
		}
		if n := got[len(got)-1].Records; size > limits.MaxBytes+record.HeaderSize && (len(got) > 1 || n > 1) {
			t.Fatalf("%d bytes, limit %d", size, limits.MaxBytes)
		}
		ts, rs := records(t, got)
		typs, recs = append(typs, ts...), append(recs, rs...)
	}
}

func TestWhatWasWrittenIsReadBack(t *testing.T) {
	for _, gaps := range []bool{false, true} {
		for _, partitions := range []int32{1, 3, 100} {
			codec := map[int32]Codec{1: Snappy, 3: Zstd, 100: None}[partitions]
			for _, maxBytes := range []int{1, 5000, 1 << 20} {
				t.Run(fmt.Sprint("gaps ", gaps, ", ", partitions, " partitions, codec ", codec, ", ", maxBytes, " bytes"), func(t *testing.T) {
					rng := seeded(uint64(partitions))
					n := map[int]int{1: 60, 5000: 800, 1 << 20: 12_000}[maxBytes] / int(partitions)
					want := make([][]rec, partitions)
					var batches []Batch
					for p := range partitions {
						for range 2 {
							first := int64(17)
							if w := want[p]; len(w) > 0 {
								first = w[len(w)-1].offset + 1
							}
							recs := randomRecs(rng, first, 1+n/2, gaps)
							want[p] = append(want[p], recs...)
							batches = append(batches, batch(t, p, record.None, record.CreateTime, recs...))
						}
					}
					f := encode(t, Options{Codec: codec}, batches...)
					r := open(t, f.Body)
					ranges, err := r.Ranges(t.Context())
					if err != nil || !slices.Equal(ranges, f.Ranges) {
						t.Fatalf("ranges %v, want %v (%v)", ranges, f.Ranges, err)
					}
					if tagged, ok := ParseRanges(f.Tags); ok && !slices.Equal(tagged, f.Ranges) || !ok && partitions < 100 {
						t.Fatalf("ranges of the tag %v, %v", tagged, ok)
					}
					limits := Limits{MaxBytes: maxBytes, BatchBytes: 16 << 10}
					for p := range partitions {
						_, got := readAll(t, r, p, 0, limits)
						sameRecords(t, got, want[p])
						i := rng.IntN(len(want[p]))
						_, got = readAll(t, r, p, want[p][i].offset, limits)
						sameRecords(t, got, want[p][i:])
					}
					if got, err := r.Read(t.Context(), partitions, 0, limits); len(got) > 0 || err != nil {
						t.Errorf("a partition that is not there: %v, %v", got, err)
					}
				})
			}
		}
	}
}

func TestAPartitionMaySpanRowGroups(t *testing.T) {
	for _, partitions := range []int32{1, 100} {
		var batches []Batch
		want := make([][]rec, partitions)
		rng := seeded(6)
		for p := range partitions {
			for i := range int64(8) {
				recs := randomRecs(rng, i*50, 50, false)
				want[p] = append(want[p], recs...)
				batches = append(batches, batch(t, p, 0, 0, recs...))
			}
		}
		e := NewEncoder(Options{RowGroupBytes: 10_000})
		f, err := e.Encode("orders", batches)
		if err != nil {
			t.Fatal(err)
		}
		if len(e.groups) <= int(partitions) {
			t.Fatalf("%d row groups", len(e.groups))
		}
		r := open(t, f.Body)
		if x := r.index.Load(); x == nil {
			t.Error("the rows' places are not known from the footer")
		}
		for p := range want {
			_, got := readAll(t, r, int32(p), 0, Limits{MaxBytes: 20_000})
			sameRecords(t, got, want[p])
		}
	}
}
