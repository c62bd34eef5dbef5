package rows

import (
	"bytes"
	"math"
	"testing"
)

// A read of megabytes decodes its values a page at a time.
func TestTheValuesOfALongReadTakeTheMemoryOfAPage(t *testing.T) {
	var recs []rec
	rng := seeded(5)
	for i := range int64(40_000) {
		recs = append(recs, rec{offset: i, ms: 1_700_000_000_000 + i, value: jsonValue(rng, 100)})
	}
	f := encode(t, Options{Codec: Snappy}, batch(t, 0, 0, 0, recs...))
	g := open(t, f.Body).gatherer()
	g.inOrder = true
	sel := []rowSpan{{5, 12_345}, {30_000, 39_999}}
	got, err := g.gather(t.Context(), 0, sel, slotTimestamp, slotValue)
	if err != nil || got.values == nil {
		t.Fatalf("values are decoded at once: %v", err)
	}
	at, full := 0, 0
	for _, s := range sel {
		for _, want := range recs[s.from:s.to] {
			if err := got.values.reach(t.Context(), at); err != nil {
				t.Fatal(err)
			}
			value := got.values.v.bytes(at - got.values.first)
			if !bytes.Equal(value, want.value) {
				t.Fatalf("row %d: %q, not %q", at, value, want.value)
			}
			full += len(value)
			at++
		}
	}
	if at != got.rows || got.values.end != at {
		t.Errorf("%d rows of %d, decoded up to %d", at, got.rows, got.values.end)
	}
	if n := cap(got.values.v.arena); n > 4*pageBytes {
		t.Errorf("%d bytes for pages of %d", n, pageBytes)
	}
	if n := got.values.full - 4*at; n < full || n > full+4*pageBytes {
		t.Errorf("%d bytes of values were expected to be %d", full, n)
	}
	if err := got.values.reach(t.Context(), at); err == nil {
		t.Error("there is a value behind the last")
	}
}

// The buffer that a read asks for holds all its batches, so that they are not copied.
func TestABufferForBatchesIsLargeEnough(t *testing.T) {
	for _, size := range []int{0, 1, 100, 5000} {
		var recs []rec
		rng := seeded(6)
		for i := range int64(2000) {
			recs = append(recs, rec{offset: i, ms: 1_700_000_000_000 + i*1000, key: randomBytes(rng, 9), value: randomBytes(rng, size)})
		}
		r := open(t, encode(t, Options{Codec: Snappy}, batch(t, 0, 0, 0, recs...)).Body)
		var buffer []byte
		got, err := r.Read(t.Context(), 0, 0, Limits{MaxBytes: math.MaxInt32, Make: func(n int) []byte {
			buffer = make([]byte, 0, n)
			return buffer
		}})
		if err != nil || len(got) == 0 || got[len(got)-1].Last != 1999 {
			t.Fatal(len(got), err)
		}
		total := 0
		for _, b := range got {
			if &b.Data[0] != &buffer[:total+1][total] {
				t.Fatalf("values of %d bytes: a batch lies elsewhere", size)
			}
			total += len(b.Data)
		}
		if cap(buffer) > total+total/2+64<<10 {
			t.Errorf("values of %d bytes: a buffer of %d for %d", size, cap(buffer), total)
		}
	}
}
