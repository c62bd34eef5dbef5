package upkeep

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"sluice/protocol/record"
	"sluice/storage/rows"
)

func TestATableStaysSmallHoweverLongItIsWrittenTo(t *testing.T) {
	for _, size := range []int64{1 << 10, 20 << 10, 300 << 10, 3 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			var files []File
			var written, rewritten int64
			most := 0
			for range 5_000 {
				files = append(files, File{Size: size})
				written += size
				for from, to := Pick(files); to > from; from, to = Pick(files) {
					sum := int64(0)
					for _, f := range files[from:to] {
						sum += f.Size
					}
					if sum > Target || to-from < 2 {
						t.Fatalf("%d files of %d bytes are merged", to-from, sum)
					}
					rewritten += sum
					files = append(append(files[:from:from], File{Size: sum}), files[to:]...)
				}
				most = max(most, len(files)-int(written/(Target/2)))
			}
			if most > 150 {
				t.Errorf("%d small files", most)
			}
			if times := float64(rewritten) / float64(written); times > 12 {
				t.Errorf("each byte is written %.1f times more", times)
			}
			t.Logf("%d files, at most %d small ones, bytes rewritten %.1f times", len(files), most, float64(rewritten)/float64(written))
		})
	}
}

func TestAMergedFileHoldsTheSameRows(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	encoder := rows.NewEncoder(rows.Options{})
	next := map[int32]int64{}
	var files []File
	want := map[string]string{}
	for i := range 40 {
		var batches []rows.Batch
		for p := range int32(5) {
			for range random.IntN(3) {
				var b record.Builder
				b.Reset(nil, record.Params{Codec: record.Codec(random.IntN(4))})
				base := next[p] + int64(random.IntN(3)) // a gap now and then
				n := 1 + random.Int64N(20)
				for j := range n {
					value := fmt.Sprint(i, p, j)
					want[fmt.Sprint(p, base+j)] = value
					b.Append(j, 1_700_000_000_000+int64(i), nil, []byte(value), record.Headers{})
				}
				batches = append(batches, rows.Batch{Partition: p, BaseOffset: base, Data: b.Finish()})
				next[p] = base + n
			}
		}
		if len(batches) == 0 {
			continue
		}
		f, err := encoder.Encode("t", batches)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, inMemory(f))
	}
	merged, err := Merge(t.Context(), "t", files, encoder)
	if err != nil {
		t.Fatal(err)
	}
	f := inMemory(merged)
	r, err := f.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	batches, err := read(t.Context(), r, f.Ranges)
	if err != nil {
		t.Fatal(err)
	}
	got := 0
	for _, b := range batches {
		it := b.Data.Records(b.Data.Payload())
		for it.Next() {
			got++
			at := fmt.Sprint(b.Partition, b.BaseOffset+int64(it.Record().OffsetDelta))
			if v := string(it.Record().Value); want[at] != v {
				t.Fatalf("row %s is %q, want %q", at, v, want[at])
			}
		}
	}
	if got != len(want) {
		t.Fatalf("%d rows, want %d", got, len(want))
	}
}

func inMemory(f rows.File) File {
	body := append([]byte(nil), f.Body...)
	return File{Size: int64(len(body)), Ranges: f.Ranges, Open: func(ctx context.Context) (*rows.Reader, error) {
		return rows.Open(ctx, int64(len(body)), func(_ context.Context, off, n int64) ([]byte, error) { return body[off : off+n], nil })
	}}
}
