package upkeep

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/parquet-go/parquet-go"

	"sluice/protocol/record"
	"sluice/storage/rows"
)

// row is a row of a topic's table as parquet-go sees it.
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

func (r row) String() string {
	at := "never"
	if r.Timestamp != nil {
		at = fmt.Sprint(*r.Timestamp)
	}
	s := fmt.Sprintf("%s %d/%d %s type %d %v %q %v %q", r.Topic, r.Partition, r.Offset, at, r.TimestampType, r.Key == nil, r.Key, r.Value == nil, r.Value)
	for _, h := range r.Headers {
		s += fmt.Sprintf(" %s=%q %v", *h.Key, h.Value, h.Value == nil)
	}
	return s
}

// place is where a row is.
type place struct {
	partition int32
	offset    int64
}

// oracle reads a file through parquet-go.
func oracle(t testing.TB, body []byte) []row {
	t.Helper()
	r := parquet.NewGenericReader[row](bytes.NewReader(body))
	defer r.Close()
	got := make([]row, r.NumRows())
	if n, err := r.Read(got); n != len(got) {
		t.Fatalf("parquet-go reads %d of %d rows: %v", n, len(got), err)
	}
	return got
}

// rowsOf reads files row by row, and looks whether the rows of each
// are sorted.
func rowsOf(t testing.TB, bodies ...[]byte) map[place]string {
	t.Helper()
	all := map[place]string{}
	for _, body := range bodies {
		last := place{-1, -1}
		for _, g := range oracle(t, body) {
			at := place{g.Partition, g.Offset}
			if at.partition < last.partition || at.partition == last.partition && at.offset <= last.offset {
				t.Fatalf("row %v is behind row %v", at, last)
			}
			if last = at; all[at] != "" {
				t.Fatalf("row %v is there twice", at)
			}
			all[at] = g.String()
		}
	}
	return all
}

func sameRows(t testing.TB, got, want map[place]string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%d rows, want %d", len(got), len(want))
	}
	for at, w := range want {
		if got[at] != w {
			t.Fatalf("row %v is\n%s, want\n%s", at, got[at], w)
		}
	}
}

// field is null, empty, or text.
func field(rng *rand.Rand, size int) []byte {
	switch rng.IntN(6) {
	case 0:
		return nil
	case 1:
		return []byte{}
	}
	b := make([]byte, 1+rng.IntN(size))
	for i := range b {
		b[i] = 'a' + byte(rng.IntN(16))
	}
	return b
}

// written is what a test has in its table.
type written struct {
	rng  *rand.Rand
	next map[int32]int64
	rows map[place]string
}

func newWritten(seed uint64) *written {
	return &written{rng: rand.New(rand.NewPCG(seed, 3)), next: map[int32]int64{}, rows: map[place]string{}}
}

// more makes random rows behind those before, of each partition up to n batches, and
// notes what an oracle must find of them.
func (w *written) more(partitions int32, n int) (batches []rows.Batch, plain []row) {
	for p := range partitions {
		for range w.rng.IntN(n + 1) {
			typ := record.TimestampType(w.rng.IntN(2))
			var b record.Builder
			b.Reset(nil, record.Params{Codec: record.Codec(w.rng.IntN(5)), TimestampType: typ})
			offset := w.next[p] + int64(w.rng.IntN(3)) // a gap now and then
			first, ms := offset, 1_700_000_000_000+w.rng.Int64N(1e9)
			for range 1 + w.rng.IntN(40) {
				r := row{Topic: "orders", Partition: p, Offset: offset, TimestampType: int32(typ), Key: field(w.rng, 20), Value: field(w.rng, 200)}
				at := ms
				if typ == record.CreateTime {
					at += w.rng.Int64N(1000)
					if w.rng.IntN(9) == 0 {
						at = record.NoTimestamp
					}
				}
				if at != record.NoTimestamp {
					micros := at * 1000
					r.Timestamp = &micros
				}
				var headers record.Headers
				for i := range max(0, w.rng.IntN(6)-3) {
					key, value := fmt.Sprint("h", i), field(w.rng, 10)
					headers = headers.Append([]byte(key), value)
					r.Headers = append(r.Headers, header{&key, value})
				}
				if !b.Append(offset, at, r.Key, r.Value, headers) {
					break
				}
				plain = append(plain, r)
				w.rows[place{p, offset}] = r.String()
				if offset++; w.rng.IntN(20) == 0 {
					offset += w.rng.Int64N(5)
				}
			}
			w.next[p] = offset
			batches = append(batches, rows.Batch{Partition: p, BaseOffset: first, Data: b.Finish()})
		}
	}
	return batches, plain
}

// ours is a file as Sluice writes it.
func (w *written) ours(t testing.TB, partitions int32, n int) []byte {
	t.Helper()
	return w.oursOf(t, rows.Codec(w.rng.IntN(3)), partitions, n)
}

func (w *written) oursOf(t testing.TB, codec rows.Codec, partitions int32, n int) []byte {
	t.Helper()
	var batches []rows.Batch
	for len(batches) == 0 {
		batches, _ = w.more(partitions, n)
	}
	f, err := rows.NewEncoder(rows.Options{Codec: codec}).Encode("orders", batches)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(f.Body)
}

// foreign are files as an engine may write them: in any order, in row groups of any
// size, the rows of one lying between those of the other.
func (w *written) foreign(t testing.TB, files int, partitions int32, n int) (bodies [][]byte) {
	t.Helper()
	var plain []row
	for len(plain) == 0 {
		_, plain = w.more(partitions, n)
	}
	w.rng.Shuffle(len(plain), func(i, j int) { plain[i], plain[j] = plain[j], plain[i] })
	for part := range slices.Chunk(plain, len(plain)/files+1) {
		var out bytes.Buffer
		f := parquet.NewGenericWriter[row](&out, parquet.Compression(&parquet.Zstd))
		for group := range slices.Chunk(part, 1+len(part)/3) {
			if _, err := f.Write(group); err != nil {
				t.Fatal(err)
			}
			if err := f.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		bodies = append(bodies, out.Bytes())
		// Its writer makes some nulls empty: what stands in the file counts.
		for _, r := range oracle(t, out.Bytes()) {
			w.rows[place{r.Partition, r.Offset}] = r.String()
		}
	}
	return bodies
}

// source serves a file, from the memory that it is given if that has room, and refuses nonsense.
func source(body []byte) rows.Source {
	return func(ctx context.Context, off, n int64, into []byte) ([]byte, error) {
		if off < 0 || n <= 0 || off+n > int64(len(body)) {
			return nil, fmt.Errorf("%d bytes at %d of %d", n, off, len(body))
		}
		if int64(cap(into)) >= n {
			return append(into[:0], body[off:off+n]...), ctx.Err()
		}
		return body[off : off+n : off+n], ctx.Err()
	}
}

// file describes a file as the log would.
func file(t testing.TB, body []byte) File {
	t.Helper()
	r, err := rows.Open(t.Context(), int64(len(body)), source(body))
	if err != nil {
		t.Fatal(err)
	}
	ranges, err := r.Ranges(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return File{Size: int64(len(body)), Ranges: ranges, Source: source(body)}
}

// rewrite runs a rewriting and returns the outputs, looking at what each of them says.
func rewrite(t testing.TB, rw Rewriting) ([][]byte, Result) {
	t.Helper()
	var bodies [][]byte
	last := map[int32]int64{}
	rw.Topic = "orders"
	rw.Put = func(_ context.Context, f rows.File) error {
		body := bytes.Clone(f.Body)
		bodies = append(bodies, body)
		for _, r := range f.Ranges {
			if before, ok := last[r.Partition]; ok && r.First <= before {
				t.Errorf("output %d begins at %d, the one before ends at %d", len(bodies), r.First, before)
			}
			last[r.Partition] = r.Last
		}
		if found := file(t, body); !slices.Equal(found.Ranges, f.Ranges) {
			t.Errorf("ranges are %v, not %v", found.Ranges, f.Ranges)
		}
		tagged, ok := rows.ParseRanges(f.Tags)
		if ok && !slices.Equal(tagged, f.Ranges) {
			t.Errorf("the tag says %v, not %v", tagged, f.Ranges)
		}
		if n := rows.StatsRange(f.Stats).Rows; n != f.Rows {
			t.Errorf("statistics of %d rows, not %d", n, f.Rows)
		}
		if rw.Tags != nil {
			for key, value := range rw.Tags(f.Ranges) {
				if f.Tags[key] != value {
					t.Errorf("tag %s is %q", key, f.Tags[key])
				}
			}
		}
		return nil
	}
	result, err := Rewrite(t.Context(), rw)
	if err != nil {
		t.Fatal(err)
	}
	if result.Outputs != len(bodies) {
		t.Errorf("%d outputs, not %d", result.Outputs, len(bodies))
	}
	return bodies, result
}

// partitions are those of rows, in order.
func partitions(all map[place]string) []int32 {
	found := map[int32]bool{}
	for at := range all {
		found[at.partition] = true
	}
	return slices.Sorted(maps.Keys(found))
}
