package rows

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"sluice/protocol/record"
)

func TestEveryRecordBecomesARow(t *testing.T) {
	plain := []rec{
		{offset: 5, ms: 1_700_000_000_000, key: []byte("k"), value: []byte("v")},
		{offset: 6, ms: record.NoTimestamp, key: nil, value: nil},
		{offset: 7, ms: 1_700_000_000_001, key: []byte{}, value: []byte{}},
		{offset: 8, ms: -1000, key: []byte{0, 255}, headers: []header{h("a", []byte("1")), h("a", nil), h("", []byte{})}},
		{offset: 9, ms: record.MaxTimestamp, value: bytes.Repeat([]byte("x"), 1<<20)},
		{offset: 10, ms: record.MinTimestamp, headers: []header{h("b", nil)}},
	}
	shapes := map[string][]rec{
		"all kinds":      plain,
		"one row":        plain[:1],
		"one null row":   plain[1:2],
		"no timestamps":  {plain[1], {offset: 9, ms: record.NoTimestamp}},
		"many":           randomRecs(seeded(1), 100, 9000, false),
		"gaps":           randomRecs(seeded(2), 0, 2000, true),
		"a big header":   {{offset: 1, headers: slices.Repeat([]header{h("k", []byte("v")), h("k", nil)}, 20_000)}, plain[3]},
		"headers always": {{offset: 1, headers: []header{h("k", []byte("v"))}}, {offset: 2, headers: []header{h("k", []byte("v"))}}},
	}
	for name, recs := range shapes {
		for _, out := range []Codec{None, Snappy, Zstd} {
			for in := record.None; in.Known() && (in == record.None || out == Snappy); in++ {
				t.Run(fmt.Sprint(name, " from ", in, " to ", out), func(t *testing.T) {
					f := encode(t, Options{Codec: out}, batch(t, 3, in, record.CreateTime, recs...))
					sameRows(t, oracle(t, f.Body), wantRows("orders", 3, record.CreateTime, recs...))
				})
			}
		}
	}
}

func TestRowsAreSortedByPartitionAndOffset(t *testing.T) {
	for _, partitions := range []int32{1, 2, 64, 65, 300} {
		t.Run(fmt.Sprint(partitions, " partitions"), func(t *testing.T) {
			var batches []Batch
			var want []row
			rng := seeded(uint64(partitions))
			byPartition := make([][]row, partitions)
			for round := range 3 { // interleaved, as they arrive
				for p := partitions - 1; p >= 0; p-- {
					typ := record.TimestampType(rng.IntN(2))
					recs := randomRecs(rng, int64(round*1000), 1+rng.IntN(30), rng.IntN(2) == 0)
					if typ == record.LogAppendTime {
						for i := range recs {
							recs[i].ms = 1_700_000_000_000
						}
					}
					batches = append(batches, batch(t, p, record.None, typ, recs...))
					byPartition[p] = append(byPartition[p], wantRows("orders", p, typ, recs...)...)
				}
			}
			for _, rows := range byPartition {
				want = append(want, rows...)
			}
			f := encode(t, Options{}, batches...)
			sameRows(t, oracle(t, f.Body), want)
			if f.Rows != int64(len(want)) {
				t.Errorf("File.Rows is %d, want %d", f.Rows, len(want))
			}
			for i, r := range f.Ranges {
				rows := byPartition[r.Partition]
				if exp := (Range{int32(i), rows[0].Offset, rows[len(rows)-1].Offset, int64(len(rows))}); r != exp {
					t.Errorf("range %d is %v, want %v", i, r, exp)
				}
			}
		})
	}
}

func TestAFileMadeBatchByBatchIsTheOneThatEncodeMakes(t *testing.T) {
	for _, partitions := range []int32{1, 3, 64, 65, 500} {
		var batches []Batch
		rng := seeded(uint64(partitions))
		for p := range partitions {
			for i := range int64(3) {
				batches = append(batches, batch(t, p, record.None, record.CreateTime, randomRecs(rng, i*100, 30, i > 0)...))
			}
		}
		want := encode(t, Options{}, batches...)
		e := NewEncoder(Options{})
		for range 2 { // what was left unfinished leaves no trace
			if err := e.Begin("orders", len(want.Body)); err != nil {
				t.Fatal(err)
			}
			for i := range batches {
				if err := e.Add(&batches[i]); err != nil {
					t.Fatal(err)
				}
			}
		}
		got := e.Finish()
		if !bytes.Equal(got.Body, want.Body) || got.Stats != want.Stats || got.Rows != want.Rows || !slices.Equal(got.Ranges, want.Ranges) {
			t.Errorf("%d partitions: another file", partitions)
		}
		if n := len(e.groups); n > int(partitions) || n > 2*maxRowGroups {
			t.Errorf("%d row groups for %d partitions", n, partitions)
		}
		if r := open(t, got.Body); partitions > maxRowGroups {
			found, err := r.Ranges(t.Context())
			if err != nil || !slices.Equal(found, want.Ranges) || !r.f.ours {
				t.Errorf("%d partitions: the footer does not tell the ranges: %v", partitions, err)
			}
		}
	}
}

func TestAnEncoderKnowsHowLargeItsFileWillBe(t *testing.T) {
	rng := seeded(9)
	e := NewEncoder(Options{RowGroupBytes: 128 << 10})
	for file := range 2 {
		if err := e.Begin("orders", 0); err != nil {
			t.Fatal(err)
		}
		for i := range int64(200) {
			b := batch(t, 0, record.None, record.CreateTime, randomRecs(rng, i*50, 50, false)...)
			if err := e.Add(&b); err != nil {
				t.Fatal(err)
			}
		}
		guess := e.Size()
		if size := len(e.Finish().Body); guess < size*8/10 || guess > size*12/10 {
			t.Errorf("file %d: a guess of %d bytes for %d", file, guess, size)
		}
	}
}

func TestBatchesOutOfOrderAreRefused(t *testing.T) {
	for name, second := range map[string]Batch{
		"partition": batch(t, 1, record.None, record.CreateTime, rec{offset: 50}),
		"offset":    batch(t, 2, record.None, record.CreateTime, rec{offset: 10}),
	} {
		e := NewEncoder(Options{})
		if err := e.Begin("orders", 0); err != nil {
			t.Fatal(err)
		}
		first := batch(t, 2, record.None, record.CreateTime, rec{offset: 10})
		if err := e.Add(&first); err != nil {
			t.Fatal(err)
		}
		if err := e.Add(&second); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
