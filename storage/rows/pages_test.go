package rows

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"sluice/protocol/record"
)

// pagesOf reads all of a partition's pages.
func pagesOf(t testing.TB, body []byte, partition int32, from int64, codec Codec) (all []*Pages) {
	t.Helper()
	r := open(t, body)
	for {
		p, err := r.Pages(t.Context(), partition, from, codec, math.MaxInt64)
		if err != nil {
			t.Fatal(err)
		}
		if p == nil {
			return all
		}
		all = append(all, p)
		from = p.Last + 1
	}
}

func TestRowsOfCopiedPagesAreThoseOfTheirFiles(t *testing.T) {
	const n = 2500 // more than a page of values
	for _, codec := range []Codec{Snappy, Zstd, None} {
		t.Run(fmt.Sprint("codec ", codec), func(t *testing.T) {
			rng := seeded(uint64(codec) + 1)
			e := NewEncoder(Options{Codec: codec})
			if err := e.Begin("orders", 0); err != nil {
				t.Fatal(err)
			}
			var want []row
			var copied [][]byte
			for p := range int32(2) {
				next := int64(0)
				for i := range 5 {
					typ := record.TimestampType(i % 2)
					recs := randomRecs(rng, next, n, i == 3)
					if typ == record.LogAppendTime {
						for i := range recs {
							recs[i].ms = 1_700_000_000_000
						}
					}
					next = recs[len(recs)-1].offset + 1
					want = append(want, wantRows("orders", p, typ, recs...)...)
					b := batch(t, p, 0, typ, recs...)
					if i == 2 { // one in between that is not copied
						if err := e.Add(&b); err != nil {
							t.Fatal(err)
						}
						continue
					}
					file := slices.Clone(encode(t, Options{Codec: codec}, b).Body)
					pages := pagesOf(t, file, p, recs[0].offset, codec)
					if len(pages) != 1 || pages[0].Rows != n || pages[0].Last != recs[n-1].offset {
						t.Fatalf("pages of a file: %+v", pages)
					}
					if err := e.AddPages(pages[0]); err != nil {
						t.Fatal(err)
					}
					copied = append(copied, pages[0].payload[1].bytes)
				}
			}
			size := e.Size()
			f := e.Finish()
			if size > len(f.Body) || size < len(f.Body)*9/10 {
				t.Errorf("a file of %d bytes was said to have %d", len(f.Body), size)
			}
			sameRows(t, oracle(t, f.Body), want)
			for i, b := range copied {
				if !bytes.Contains(f.Body, b) {
					t.Errorf("the values of file %d were not copied as they are", i)
				}
			}
			if r := open(t, f.Body); len(r.f.groups) != 2 {
				t.Errorf("%d row groups, want one of each partition", len(r.f.groups))
			}
			if n := StatsRange(f.Stats).Rows; n != f.Rows || n != int64(len(want)) {
				t.Errorf("statistics of %d rows, a file of %d, of %d", n, f.Rows, len(want))
			}
			whole := encode(t, Options{Codec: codec}, batchesOf(t, want)...)
			if f.Stats != whole.Stats || f.Tags[RangesTag] != whole.Tags[RangesTag] {
				t.Errorf("statistics %s %v, want %s %v", f.Stats, f.Tags, whole.Stats, whole.Tags)
			}
			// What has been copied can be read, searched, and copied again.
			again := pagesOf(t, f.Body, 1, 0, codec)
			if len(again) != 1 || again[0].Rows != 5*n {
				t.Errorf("copied again: %+v", again)
			}
		})
	}
}

// batchesOf makes batches of rows again, of a thousand each.
func batchesOf(t testing.TB, rows []row) (batches []Batch) {
	for len(rows) > 0 {
		n := 1
		for n < min(1000, len(rows)) && rows[n].Partition == rows[0].Partition && rows[n].TimestampType == rows[0].TimestampType {
			n++
		}
		var recs []rec
		for _, r := range rows[:n] {
			one := rec{offset: r.Offset, ms: record.NoTimestamp, key: r.Key, value: r.Value, headers: r.Headers}
			if r.Timestamp != nil {
				one.ms = *r.Timestamp / 1000
			}
			recs = append(recs, one)
		}
		batches = append(batches, batch(t, rows[0].Partition, 0, record.TimestampType(rows[0].TimestampType), recs...))
		rows = rows[n:]
	}
	return batches
}

func TestRowGroupsEndAtTheirBoundsWhenPagesAreCopied(t *testing.T) {
	e := NewEncoder(Options{RowGroupBytes: 3 << 20})
	if err := e.Begin("orders", 0); err != nil {
		t.Fatal(err)
	}
	for i := range int64(6) { // about a MiB each
		recs := randomRecs(seeded(1), i*9000, 9000, false)
		p := pagesOf(t, slices.Clone(encode(t, Options{}, batch(t, 0, 0, 0, recs...)).Body), 0, i*9000, Snappy)
		if err := e.AddPages(p[0]); err != nil {
			t.Fatal(err)
		}
	}
	groups := open(t, e.Finish().Body).f.groups
	if len(groups) < 2 || len(groups) > 3 {
		t.Errorf("%d row groups", len(groups))
	}
}

func TestPagesThatAreNotWorthItOrNotOursAreNotCopied(t *testing.T) {
	rng := seeded(1)
	many := batch(t, 0, 0, 0, randomRecs(rng, 0, 9000, false)...)
	sound := slices.Clone(encode(t, Options{}, many).Body)
	few := slices.Clone(encode(t, Options{}, batch(t, 0, 0, 0, randomRecs(rng, 0, 400, false)...)).Body)
	var crowd []Batch // that share row groups
	for p := range int32(maxRowGroups + 40) {
		crowd = append(crowd, batch(t, p, 0, 0, randomRecs(rng, 0, 400, false)...))
	}
	shared := slices.Clone(encode(t, Options{}, crowd...).Body)
	_, rows := topicRows(rng, 1, 9000)
	for name, c := range map[string]struct {
		body      []byte
		partition int32
		from      int64
		codec     Codec
		most      int64
	}{
		"another codec":     {sound, 0, 0, Zstd, math.MaxInt64},
		"another partition": {sound, 1, 0, Snappy, math.MaxInt64},
		"from its middle":   {sound, 0, 5, Snappy, math.MaxInt64},
		"too large":         {sound, 0, 0, Snappy, 100 << 10},
		"too small":         {few, 0, 0, Snappy, math.MaxInt64},
		"shared":            {shared, maxRowGroups + 20, 0, Snappy, math.MaxInt64},
		"another writer's":  {writeForeign(t, [][]row{rows}), 0, 0, None, math.MaxInt64},
	} {
		t.Run(name, func(t *testing.T) {
			if p, err := open(t, c.body).Pages(t.Context(), c.partition, c.from, c.codec, c.most); p != nil || err != nil {
				t.Error(p, err)
			}
		})
	}
}

func TestDamagedPagesAreNotCopied(t *testing.T) {
	body := slices.Clone(encode(t, Options{}, batch(t, 0, 0, 0, randomRecs(seeded(1), 0, 9000, false)...)).Body)
	g := &open(t, body).f.groups[0]
	for _, s := range payloadSlots {
		c := &g.chunks[s]
		for _, at := range []int64{c.start(), c.start() + c.packed/2, c.start() + c.packed - 1} {
			damaged := slices.Clone(body)
			damaged[at] ^= 0x10
			p, err := open(t, damaged).Pages(t.Context(), 0, 0, Snappy, math.MaxInt64)
			if p != nil || !errors.Is(err, ErrCorrupt) {
				t.Errorf("byte %d of %s: %v", at-c.start(), slotNames[s], err)
			}
		}
	}
	p := pagesOf(t, body, 0, 0, Snappy)[0]
	e := NewEncoder(Options{Codec: Zstd})
	if err := e.Begin("orders", 0); err != nil {
		t.Fatal(err)
	}
	if err := e.AddPages(p); !errors.Is(err, ErrUnsupported) {
		t.Errorf("pages of another codec: %v", err)
	}
}

func TestBatchesThatArePackedBecomeTheSameRows(t *testing.T) {
	for _, codec := range []Codec{Snappy, Zstd, None} {
		t.Run(fmt.Sprint("codec ", codec), func(t *testing.T) {
			rng := seeded(uint64(codec) + 1)
			var p Packer
			var plain, packed []Batch
			for i := range 12 {
				typ := record.TimestampType(i % 2)
				recs := randomRecs(rng, 0, 1+rng.IntN(3000), false)
				if typ == record.LogAppendTime {
					for i := range recs {
						recs[i].ms = 1_700_000_000_000
					}
				}
				b := batch(t, int32(i/5), 0, typ, recs...)
				b.BaseOffset = int64(i) * 5000
				plain = append(plain, b)
				if i != 3 && i != 7 {
					pages, err := p.Pack(b.Data, b.Data.Payload(), codec, allocate)
					if err != nil {
						t.Fatal(err)
					}
					pages.Place(b.Partition, b.BaseOffset)
					pages.Place(b.Partition, b.BaseOffset) // a pool may be encoded twice
					b.Pages = pages
				}
				packed = append(packed, b)
			}
			want := encode(t, Options{Codec: codec}, plain...)
			got := encode(t, Options{Codec: codec}, packed...)
			sameRows(t, oracle(t, got.Body), oracle(t, want.Body))
			if got.Stats != want.Stats || got.Tags[RangesTag] != want.Tags[RangesTag] {
				t.Errorf("statistics %s %v, want %s %v", got.Stats, got.Tags, want.Stats, want.Tags)
			}
			// The topic's codec may have been changed meanwhile.
			other := encode(t, Options{Codec: (codec + 1) % 3}, packed...)
			sameRows(t, oracle(t, other.Body), oracle(t, want.Body))
		})
	}
}

func allocate(size int) []byte { return make([]byte, size) }

func TestABatchWithGapsIsNotPacked(t *testing.T) {
	b := batch(t, 0, 0, 0, rec{offset: 0, ms: 1}, rec{offset: 2, ms: 1})
	var p Packer
	if _, err := p.Pack(b.Data, b.Data.Payload(), Snappy, allocate); !errors.Is(err, ErrUnsupported) {
		t.Error(err)
	}
}
