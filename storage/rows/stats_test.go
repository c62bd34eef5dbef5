package rows

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/parquet-go/parquet-go"

	"sluice/protocol/record"
)

func TestStatisticsAreAsDeltaWantsThem(t *testing.T) {
	at := func(offset, ms int64, key, value []byte) rec {
		return rec{offset: offset, ms: ms, key: key, value: value}
	}
	x := []byte("x")
	cases := map[string]struct {
		batches []Batch
		want    string
	}{
		"two partitions": {
			[]Batch{batch(t, 2, 0, 0, at(7, 1_700_000_000_123, nil, x), at(9, -1, x, nil)), batch(t, 1, 0, 0, at(8, 1_700_000_000_122, nil, nil))},
			`{"numRecords":3,"minValues":{"partition":1,"offset":7,"timestamp":"2023-11-14T22:13:20.122Z"},"maxValues":{"partition":2,"offset":9,"timestamp":"2023-11-14T22:13:20.123Z"},` +
				`"nullCount":{"topic":0,"partition":0,"offset":0,"timestamp":1,"timestampType":0,"key":2,"value":2,"headers":0}}`,
		},
		"no timestamp": {
			[]Batch{batch(t, 0, 0, 0, at(0, -1, x, x))},
			`{"numRecords":1,"minValues":{"partition":0,"offset":0},"maxValues":{"partition":0,"offset":0},` +
				`"nullCount":{"topic":0,"partition":0,"offset":0,"timestamp":1,"timestampType":0,"key":0,"value":0,"headers":0}}`,
		},
		"the ends of time": {
			[]Batch{batch(t, 0, 0, 0, at(0, record.MinTimestamp, x, x), at(1, record.MaxTimestamp, x, x))},
			`{"numRecords":2,"minValues":{"partition":0,"offset":0,"timestamp":"1900-01-01T00:00:00.000Z"},"maxValues":{"partition":0,"offset":1,"timestamp":"9999-12-31T23:59:59.999Z"},` +
				`"nullCount":{"topic":0,"partition":0,"offset":0,"timestamp":0,"timestampType":0,"key":0,"value":0,"headers":0}}`,
		},
		"beyond four digits": { // record.Check refuses these; a foreign INSERT may bring them
			[]Batch{batch(t, 0, 0, 0, at(0, record.MaxTimestamp+1, x, x))},
			`{"numRecords":1,"minValues":{"partition":0,"offset":0},"maxValues":{"partition":0,"offset":0},` +
				`"nullCount":{"topic":0,"partition":0,"offset":0,"timestamp":0,"timestampType":0,"key":0,"value":0,"headers":0}}`,
		},
		"nothing": {nil, `{"numRecords":0}`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			f := encode(t, Options{}, c.batches...)
			if f.Stats != c.want {
				t.Errorf("\n got %s\nwant %s", f.Stats, c.want)
			}
			if !json.Valid([]byte(f.Stats)) {
				t.Error("not JSON")
			}
			span := StatsRange(f.Stats)
			if span.Rows != f.Rows || span.Known != (f.Rows > 0) {
				t.Errorf("read back: %+v", span)
			}
			if r := open(t, f.Body); r.Rows() != f.Rows {
				t.Errorf("%d rows in the file, %d in statistics", r.Rows(), f.Rows)
			}
		})
	}
}

func TestStatisticsOfOthersAreReadWithCare(t *testing.T) {
	unknown := Span{Rows: -1, MinTimestamp: -1, MaxTimestamp: -1}
	for stats, want := range map[string]Span{
		"":                                    unknown,
		"null":                                unknown,
		"{":                                   unknown,
		`[1]`:                                 unknown,
		`{"stats_json":"{\"numRecords\":1}"}`: unknown, // ClickHouse
		`{"numRecords":-1}`:                   unknown,
		`{"numRecords":7}`:                    {Rows: 7, MinTimestamp: -1, MaxTimestamp: -1},
		`{"numRecords":7,"minValues":{"partition":1,"offset":5,"timestamp":"2023-11-14T22:13:19.5Z"},"maxValues":{"partition":2,"offset":9,"timestamp":"2023-11-14T22:13:20.123Z","key":"3631"}}`: {Rows: 7, Known: true, MinPartition: 1, MaxPartition: 2, MinOffset: 5, MaxOffset: 9, MinTimestamp: 1_699_999_999_500, MaxTimestamp: 1_700_000_000_124},
		`{"numRecords":7,"minValues":{"partition":1,"offset":5},"maxValues":{"partition":2,"timestamp":"2023-11-14T22:13:20Z"}}`:                                                                  {Rows: 7, MinTimestamp: -1, MaxTimestamp: 1_700_000_000_001},
		`{"numRecords":"seven","minValues":{"partition":1,"offset":5},"maxValues":{"partition":1,"offset":5}}`:                                                                                    {Rows: -1, Known: true, MinPartition: 1, MaxPartition: 1, MinOffset: 5, MaxOffset: 5, MinTimestamp: -1, MaxTimestamp: -1},
		`{"minValues":{"partition":1,"offset":9},"maxValues":{"partition":1,"offset":5}}`:                                                                                                         unknown,
		`{"minValues":{"partition":1e99,"offset":9},"maxValues":{"partition":1,"offset":50}}`:                                                                                                     unknown,
		`{"minValues":{"partition":1.5,"offset":9},"maxValues":{"partition":2,"offset":50}}`:                                                                                                      unknown,
		`{"minValues":{"partition":4294967296,"offset":9},"maxValues":{"partition":1,"offset":5}}`:                                                                                                unknown,
		`{"maxValues":{"timestamp":"yesterday"}}`:                                                                                                                                                 unknown,
	} {
		if got := StatsRange(stats); got != want {
			t.Errorf("%s:\n got %+v\nwant %+v", stats, got, want)
		}
	}
}

func TestRangesStandInTheTagIfTheyAreFew(t *testing.T) {
	tags := map[string]string{RangesTag: "0:5+3 2:0+10/4"}
	if got, ok := ParseRanges(tags); !ok || !slices.Equal(got, []Range{{0, 5, 7, 3}, {2, 0, 9, 4}}) {
		t.Errorf("%v, %v", got, ok)
	}
	for _, bad := range []string{"", " ", "0", "0:5", "0:5+0", "0:5+3 0:9+1", "1:5+3 0:9+1", "0:5+3/3", "0:5+3/0", "-1:5+3", "0:-5+3",
		"0:9223372036854775807+2", "0:5+3/", "0:5+3  1:5+3", "2147483648:0+1", "0:0+99999999999999999999"} {
		if got, ok := ParseRanges(map[string]string{RangesTag: bad}); ok {
			t.Errorf("%q is read as %v", bad, got)
		}
	}
	if _, ok := ParseRanges(nil); ok {
		t.Error("no tags at all hold ranges")
	}
	var batches []Batch
	for p := range int32(1000) {
		batches = append(batches, batch(t, p, 0, 0, rec{offset: 1 << 40, ms: 1}))
	}
	f := encode(t, Options{}, batches...)
	if _, ok := ParseRanges(f.Tags); ok {
		t.Error("the ranges of 1000 partitions stand in the tag")
	}
	r := open(t, f.Body)
	if got, err := r.Ranges(t.Context()); err != nil || !slices.Equal(got, f.Ranges) {
		t.Errorf("the footer tells %d ranges, want 1000 (%v)", len(got), err)
	}
}

func TestBatchesThatCannotBeRowsFailByIndex(t *testing.T) {
	good := batch(t, 0, 0, 0, rec{offset: 10, ms: 1, value: []byte("v")}, rec{offset: 11, ms: 1})
	flipped := batch(t, 1, 0, 0, rec{offset: 10, ms: 1, value: []byte("v")})
	flipped.Data[len(flipped.Data)-2] ^= 1
	var b record.Builder
	b.Reset(nil, record.Params{Control: true})
	b.Append(0, 0, []byte("k"), nil, record.Headers{})
	control := Batch{Partition: 1, Data: b.Finish()}
	overlap := good
	overlap.BaseOffset = 11
	e := NewEncoder(Options{})
	for name, bad := range map[string]Batch{"a flipped bit": flipped, "a control batch": control, "an overlap": overlap, "no batch": {Partition: 3}} {
		t.Run(name, func(t *testing.T) {
			_, err := e.Encode("orders", []Batch{good, bad})
			failed, ok := errors.AsType[*BatchError](err)
			if !ok || failed.Index != 1 || !errors.Is(err, ErrCorrupt) {
				t.Errorf("%v, want a BatchError about batch 1", err)
			}
			// The encoder is none the worse for it.
			f, err := e.Encode("orders", []Batch{good})
			if err != nil {
				t.Fatal(err)
			}
			sameRows(t, oracle(t, f.Body), wantRows("orders", 0, 0, rec{offset: 10, ms: 1, value: []byte("v")}, rec{offset: 11, ms: 1}))
		})
	}
}

func TestEnginesFindWhatTheyLookForInTheFooter(t *testing.T) {
	recs := randomRecs(seeded(4), 100, 20_000, false)
	f := encode(t, Options{}, batch(t, 0, 0, 0, recs...), batch(t, 7, 0, 0, recs...))
	file, err := parquet.OpenFile((&source{b: f.Body}), int64(len(f.Body)))
	if err != nil {
		t.Fatal(err)
	}
	if v, _ := file.Lookup("org.apache.spark.version"); v != "3.5.0" {
		t.Errorf("Spark takes old timestamps for Julian: %q", v)
	}
	if n := len(file.RowGroups()); n != 2 {
		t.Errorf("%d row groups for two partitions", n)
	}
	for i, g := range file.Metadata().RowGroups {
		if p := g.Columns[leafPartition].MetaData.Statistics; p.MinValue[0] != p.MaxValue[0] || p.MinValue[0] != byte(7*i) {
			t.Errorf("partition statistics %v", p)
		}
		if len(g.SortingColumns) != 2 {
			t.Errorf("sorted by %d columns", len(g.SortingColumns))
		}
	}
	pages, _ := file.RowGroups()[1].ColumnChunks()[leafOffset].OffsetIndex()
	index, _ := file.RowGroups()[1].ColumnChunks()[leafOffset].ColumnIndex()
	if pages.NumPages() != 3 || index.NumPages() != 3 || !index.IsAscending() {
		t.Fatalf("%d pages of offsets, %d in the index", pages.NumPages(), index.NumPages())
	}
	for i := range 3 {
		first := pages.FirstRowIndex(i)
		if lo := index.MinValue(i).Int64(); lo != 100+first {
			t.Errorf("page %d of offsets starts at row %d with %d", i, first, lo)
		}
	}
}

func TestAReadFetchesLittleMoreThanItNeeds(t *testing.T) {
	var recs []rec
	rng := seeded(5)
	for i := range int64(100_000) {
		recs = append(recs, rec{offset: i, ms: 1_700_000_000_000 + i, value: randomBytes(rng, 100)})
	}
	f := encode(t, Options{}, batch(t, 0, 0, 0, recs...))
	src := &source{b: f.Body}
	r, err := Open(t.Context(), int64(len(f.Body)), src.read)
	if err != nil {
		t.Fatal(err)
	}
	if n := src.reads.Swap(0); n != 1 {
		t.Errorf("%d reads to open", n)
	}
	src.bytes.Store(0)
	got, err := r.Read(t.Context(), 0, 70_000, Limits{MaxBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	size := 0
	for _, e := range got {
		size += len(e.Data)
	}
	if src.reads.Load() > 3 || src.bytes.Load() > 2<<20 || size < 900<<10 || got[0].First != 70_000 {
		t.Errorf("%d reads of %d bytes for %d bytes of batches from %d", src.reads.Load(), src.bytes.Load(), size, got[0].First)
	}
}

// ReadAt lets parquet-go read a source.
func (s *source) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > int64(len(s.b)) {
		return 0, fmt.Errorf("beyond the end")
	}
	return copy(p, s.b[off:]), nil
}
