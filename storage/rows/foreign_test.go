package rows

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/deprecated"

	"sluice/protocol/record"
)

// writeForeign makes a file as others do, in the given row groups.
func writeForeign[T any](t testing.TB, groups [][]T, opts ...parquet.WriterOption) []byte {
	t.Helper()
	var b bytes.Buffer
	w := parquet.NewGenericWriter[T](&b, opts...)
	for _, rows := range groups {
		if _, err := w.Write(rows); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// shuffled cuts rows, in random order, into row groups.
func shuffled[T any](rng *rand.Rand, rows []T, groups int) [][]T {
	rows = slices.Clone(rows)
	rng.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	var out [][]T
	for chunk := range slices.Chunk(rows, len(rows)/groups+1) {
		out = append(out, chunk)
	}
	return out
}

// topicRows are rows of several partitions, and the records they came from.
func topicRows(rng *rand.Rand, partitions, n int) (want [][]rec, rows []row) {
	for p := range partitions {
		recs := randomRecs(rng, int64(p), n, p%2 == 1)
		want = append(want, recs)
		rows = append(rows, wantRows("orders", int32(p), record.CreateTime, recs...)...)
	}
	return want, rows
}

// checkForeign reads all partitions of a file in pieces, and from the middle.
func checkForeign(t *testing.T, body []byte, want [][]rec) {
	t.Helper()
	r := open(t, body)
	ranges, err := r.Ranges(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for p, recs := range want {
		exp := Range{int32(p), recs[0].offset, recs[len(recs)-1].offset, int64(len(recs))}
		if p >= len(ranges) || ranges[p] != exp {
			t.Errorf("ranges %v, want %v", ranges, exp)
		}
		for _, size := range []int{3000, 1 << 20} {
			_, got := readAll(t, r, int32(p), 0, Limits{MaxBytes: size})
			sameRecords(t, got, recs)
			mid := len(recs) / 2
			_, got = readAll(t, r, int32(p), recs[mid].offset, Limits{MaxBytes: size})
			sameRecords(t, got, recs[mid:])
		}
	}
	checkKeys(t, r, want)
}

func TestRowsThatOthersRewroteAreReadInOrder(t *testing.T) {
	type dictRow struct {
		Topic         string   `parquet:"topic,dict"`
		Partition     *int32   `parquet:"partition,dict"`
		Offset        *int64   `parquet:"offset,dict"`
		Timestamp     *int64   `parquet:"timestamp,optional,dict,timestamp(microsecond:utc)"`
		TimestampType *int32   `parquet:"timestampType,dict"`
		Key           []byte   `parquet:"key,optional,dict"`
		Value         []byte   `parquet:"value,optional,dict"`
		Headers       []header `parquet:"headers,optional,list"`
	}
	type deltaRow struct {
		Headers       []header `parquet:"headers,optional,list"` // in another order too
		Value         []byte   `parquet:"value,optional,delta"`
		Key           *string  `parquet:"key,optional"`
		TimestampType int32    `parquet:"timestampType,delta"`
		Timestamp     *int64   `parquet:"timestamp,optional,timestamp(millisecond:utc)"`
		Offset        int64    `parquet:"offset,delta"`
		Partition     int32    `parquet:"partition,delta"`
		Extra         float64  `parquet:"extra"`
	}
	type nestedRow struct {
		Partition int64            `parquet:"partition"`
		Offset    int64            `parquet:"offset"`
		Timestamp deprecated.Int96 `parquet:"timestamp,optional"`
		Key       []byte           `parquet:"key,optional"`
		Value     []byte           `parquet:"value,optional"`
		Headers   []header         `parquet:"headers"` // two levels
	}
	codecs := map[string]parquet.WriterOption{
		"none": parquet.Compression(&parquet.Uncompressed), "snappy": parquet.Compression(&parquet.Snappy),
		"gzip": parquet.Compression(&parquet.Gzip), "zstd": parquet.Compression(&parquet.Zstd),
	}
	for codec, compression := range codecs {
		for version := 1; version <= 2; version++ {
			groups := 3*version - 2 // 1 or 4
			rng := seeded(uint64(groups))
			want, rows := topicRows(rng, 3, 250)
			small := []parquet.WriterOption{compression, parquet.DataPageVersion(version), parquet.PageBufferSize(2 << 10)}
			t.Run(fmt.Sprintf("%s, pages v%d, %d row groups", codec, version, groups), func(t *testing.T) {
				t.Run("as they were", func(t *testing.T) {
					checkForeign(t, writeForeign(t, [][]row{rows}, small...), want)
				})
				t.Run("shuffled", func(t *testing.T) {
					checkForeign(t, writeForeign(t, shuffled(rng, rows, groups), small...), want)
				})
				t.Run("dictionaries", func(t *testing.T) {
					var in []dictRow
					for _, r := range rows {
						in = append(in, dictRow{r.Topic, &r.Partition, &r.Offset, r.Timestamp, &r.TimestampType, r.Key, r.Value, r.Headers})
					}
					checkForeign(t, writeForeign(t, shuffled(rng, in, groups), small...), want)
				})
				t.Run("deltas, milliseconds, text", func(t *testing.T) {
					var in []deltaRow
					for _, r := range rows {
						d := deltaRow{r.Headers, r.Value, nil, r.TimestampType, nil, r.Offset, r.Partition, 1.5}
						if r.Key != nil {
							key := string(r.Key)
							d.Key = &key
						}
						if r.Timestamp != nil {
							ms := *r.Timestamp / 1000
							d.Timestamp = &ms
						}
						in = append(in, d)
					}
					checkForeign(t, writeForeign(t, shuffled(rng, in, groups), small...), want)
				})
				t.Run("INT96, lists of two levels", func(t *testing.T) {
					var in []nestedRow
					recs := make([][]rec, len(want))
					for p := range want {
						for _, r := range want[p] {
							if r.ms == record.NoTimestamp {
								r.ms = 1_600_000_000_000
							}
							recs[p] = append(recs[p], r)
							in = append(in, nestedRow{int64(p), r.offset, int96(r.ms), r.key, r.value, r.headers})
						}
					}
					checkForeign(t, writeForeign(t, shuffled(rng, in, groups), small...), recs)
				})
			})
		}
	}
}

// int96 is a time as Spark writes it.
func int96(ms int64) deprecated.Int96 {
	day := ms / 86_400_000
	nano := uint64(ms%86_400_000) * 1_000_000
	return deprecated.Int96{uint32(nano), uint32(nano >> 32), uint32(day + julianEpoch)}
}

func TestMissingColumnsAreNull(t *testing.T) {
	type bare struct {
		Partition int32 `parquet:"partition"`
		Offset    int64 `parquet:"offset"`
	}
	r := open(t, writeForeign(t, [][]bare{{{1, 5}, {1, 4}, {0, 9}}}))
	_, got := readAll(t, r, 1, 0, Limits{MaxBytes: 1000})
	sameRecords(t, got, []rec{{offset: 4, ms: -1}, {offset: 5, ms: -1}})

	type other struct {
		Name string `parquet:"name"`
	}
	r = open(t, writeForeign(t, [][]other{{{"a"}, {"b"}}}))
	if ranges, err := r.Ranges(t.Context()); len(ranges) > 0 || err != nil || r.Rows() != 2 {
		t.Errorf("a file without offsets has ranges %v, %v", ranges, err)
	}
	if got, err := r.Read(t.Context(), 0, 0, Limits{MaxBytes: 100}); len(got) > 0 || err != nil {
		t.Errorf("a file without offsets has records %v, %v", got, err)
	}
}

func TestRowsWithoutAPlaceAreNotServed(t *testing.T) {
	type loose struct {
		Partition *int32 `parquet:"partition,optional"`
		Offset    *int64 `parquet:"offset,optional"`
		Value     []byte `parquet:"value,optional"`
	}
	p := func(v int32) *int32 { return &v }
	o := func(v int64) *int64 { return &v }
	in := []loose{
		{p(0), o(1), []byte("a")}, {nil, nil, []byte("lost")}, {p(0), o(2), []byte("b")}, {nil, o(3), nil}, {p(0), nil, nil},
		{p(-1), o(4), nil}, {p(0), o(-5), nil}, {p(0), o(1), []byte("twice")}, {p(0), o(3), []byte("c")}, {p(0), o(1<<63 - 1), nil},
	}
	r := open(t, writeForeign(t, [][]loose{in}))
	_, got := readAll(t, r, 0, 0, Limits{MaxBytes: 1000})
	sameRecords(t, got, []rec{{offset: 1, ms: -1, value: []byte("a")}, {offset: 2, ms: -1, value: []byte("b")}, {offset: 3, ms: -1, value: []byte("c")}})
	if ranges, err := r.Ranges(t.Context()); err != nil || !slices.Equal(ranges, []Range{{0, 1, 3, 3}}) {
		t.Errorf("ranges %v, %v", ranges, err)
	}
}

func TestWhatCannotBeReadIsRefusedByName(t *testing.T) {
	type textOffset struct {
		Partition int32  `parquet:"partition"`
		Offset    string `parquet:"offset"`
	}
	body := writeForeign(t, [][]textOffset{{{1, "5"}}})
	_, err := Open(t.Context(), int64(len(body)), (&source{b: body}).read)
	if want := "rows: unsupported: type of column offset"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	rows := wantRows("orders", 0, 0, randomRecs(seeded(1), 0, 10, false)...)
	r := open(t, writeForeign(t, [][]row{rows}, parquet.Compression(&parquet.Brotli)))
	if _, err := r.Read(t.Context(), 0, 0, Limits{MaxBytes: 100}); err == nil {
		t.Error("brotli is read")
	}
}

func TestTimesAreFound(t *testing.T) {
	at := func(offset, ms int64) rec { return rec{offset: offset, ms: ms} }
	recs := []rec{at(3, 100), at(4, 300), at(6, -1), at(7, 200), at(9, 400), at(10, 400)}
	var many []rec
	for i := range int64(20_000) {
		many = append(many, at(i, 1000+i))
	}
	f := encode(t, Options{}, batch(t, 0, record.None, 0, recs...), batch(t, 1, record.LZ4, 0, many...), batch(t, 2, record.None, 0, at(1, -1)))
	rows := oracle(t, f.Body)
	files := map[string][]byte{"ours": f.Body, "shuffled": writeForeign(t, shuffled(seeded(1), rows, 3))}
	for name, body := range files {
		t.Run(name, func(t *testing.T) {
			r := open(t, body)
			for _, c := range []struct {
				partition         int32
				from, ts          int64
				offset, timestamp int64
				ok                bool
			}{
				{0, 0, 0, 3, 100, true}, {0, 0, 101, 4, 300, true}, {0, 5, 101, 7, 200, true}, {0, 0, 301, 9, 400, true},
				{0, 10, 0, 10, 400, true}, {0, 0, 401, 0, 0, false}, {0, 11, 0, 0, 0, false},
				{1, 0, 15_000, 14_000, 15_000, true}, {1, 14_001, 0, 14_001, 15_001, true}, {2, 0, 0, 0, 0, false}, {9, 0, 0, 0, 0, false},
			} {
				offset, ts, ok, err := r.OffsetForTime(t.Context(), c.partition, c.from, c.ts)
				if offset != c.offset || ts != c.timestamp || ok != c.ok || err != nil {
					t.Errorf("partition %d from %d, time %d: %d at %d, %v, %v", c.partition, c.from, c.ts, offset, ts, ok, err)
				}
			}
			for partition, want := range [][2]int64{{9, 400}, {19_999, 20_999}} {
				if offset, ts, ok, err := r.MaxTimestamp(t.Context(), int32(partition), 0); offset != want[0] || ts != want[1] || !ok || err != nil {
					t.Errorf("latest of partition %d: %d at %d, %v, %v", partition, offset, ts, ok, err)
				}
			}
			if _, _, ok, err := r.MaxTimestamp(t.Context(), 2, 0); ok || err != nil {
				t.Errorf("a record without a timestamp has one: %v", err)
			}
		})
	}
}

func TestLogAppendTimeComesBack(t *testing.T) {
	now := time.Now().UnixMilli()
	one := []rec{{offset: 0, ms: now}, {offset: 1, ms: now}}
	two := []rec{{offset: 2, ms: now + 5}}
	three := []rec{{offset: 3, ms: 7}, {offset: 4, ms: 8}}
	f := encode(t, Options{}, batch(t, 0, record.Zstd, record.LogAppendTime, one...),
		batch(t, 0, record.None, record.LogAppendTime, two...), batch(t, 0, record.None, record.CreateTime, three...))
	typs, got := readAll(t, open(t, f.Body), 0, 0, Limits{MaxBytes: 1 << 20})
	sameRecords(t, got, slices.Concat(one, two, three))
	if want := []record.TimestampType{1, 1, 1, 0, 0}; !slices.Equal(typs, want) {
		t.Errorf("timestamp types %v, want %v", typs, want)
	}
}
