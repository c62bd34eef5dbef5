package rows

import (
	"bytes"
	"testing"
)

// checkKeys compares what Keys finds with the records of each partition, from
// several offsets on.
func checkKeys(t *testing.T, r *Reader, want [][]rec) {
	t.Helper()
	for p, recs := range want {
		for _, from := range []int{0, len(recs) / 3, len(recs) - 1} {
			to := min(from+200, len(recs)-1)
			i := from
			err := r.Keys(t.Context(), int32(p), recs[from].offset, recs[to].offset, func(offset int64, key []byte) bool {
				if i > to || offset != recs[i].offset || !bytes.Equal(key, recs[i].key) || (key == nil) != (recs[i].key == nil) {
					t.Fatalf("partition %d: record %d has offset %d and key %q", p, i, offset, key)
				}
				i++
				return true
			})
			if err != nil || i != to+1 {
				t.Fatalf("partition %d: %d keys of records %d to %d, %v", p, i-from, from, to, err)
			}
		}
	}
}

func TestKeysAreReadAcrossRowGroupsAndGaps(t *testing.T) {
	rng := seeded(11)
	var batches []Batch
	want := make([][]rec, 2)
	for p := range int32(2) {
		for i := range int64(20) {
			recs := randomRecs(rng, i*200, 50, true)
			want[p] = append(want[p], recs...)
			batches = append(batches, batch(t, p, 0, 0, recs...))
		}
	}
	f := encode(t, Options{RowGroupBytes: 10_000}, batches...)
	r := open(t, bytes.Clone(f.Body))
	checkKeys(t, r, want)
	seen := 0
	if err := r.Keys(t.Context(), 1, 0, 1<<40, func(int64, []byte) bool { seen++; return seen < 3 }); err != nil || seen != 3 {
		t.Error(seen, err)
	}
	if err := r.Keys(t.Context(), 2, 0, 1<<40, func(int64, []byte) bool { t.Error("a key of no partition"); return true }); err != nil {
		t.Error(err)
	}
}
