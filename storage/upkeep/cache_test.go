package upkeep

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
)

// counted is a file whose reads are counted.
type counted struct {
	File
	requests, bytes atomic.Int64
}

func count(f File) *counted {
	c := &counted{File: f}
	src := f.Source
	c.Source = func(ctx context.Context, off, n int64, into []byte) ([]byte, error) {
		c.requests.Add(1)
		c.bytes.Add(n)
		return src(ctx, off, n, into)
	}
	return c
}

func (c *cache) held() (n int64) {
	for _, b := range c.blocks {
		n += int64(cap(b.bytes))
	}
	return n
}

func TestACacheServesTheFileAndHoldsItsPart(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, size := range []int{1, 1000, minBlock, minBlock + 1, 40 * minBlock, 100*minBlock - 7} {
		for _, part := range []int64{0, 100, minBlock, 3 * minBlock, 20 * minBlock, 1 << 30} {
			body := make([]byte, size)
			for i := range body {
				body[i] = byte(rng.Uint32())
			}
			c := newCache(File{Size: int64(size), Source: source(body)}, part)
			limit := max(part+part/2, 2*minBlock+2*minBlock/8)
			for range 60 {
				off := rng.IntN(size)
				n := 1 + rng.IntN(min(size-off, 1+rng.IntN(4*minBlock)))
				into := make([]byte, 0, rng.IntN(2*n))
				got, err := c.read(t.Context(), int64(off), int64(n), into)
				if err != nil || !bytes.Equal(got, body[off:off+n]) {
					t.Fatalf("size %d, part %d: %d bytes at %d: other bytes, %v", size, part, n, off, err)
				}
				clear(into[:cap(into)]) // it has kept nothing of it
				if held := c.held(); held > limit {
					t.Fatalf("size %d, part %d: it holds %d bytes", size, part, held)
				}
			}
			if _, err := c.read(t.Context(), int64(size), 1, nil); err == nil {
				t.Error("a read behind the end")
			}
		}
	}
}

func TestColumnsThatAreReadSideBySideAreFetchedOnce(t *testing.T) {
	body := make([]byte, 64*minBlock)
	c := count(File{Size: int64(len(body)), Source: source(body)})
	cache := newCache(c.File, 8*minBlock)
	const columns, step = 4, 1000
	for at := 0; at+step < len(body)/columns; at += step {
		for column := range columns {
			if _, err := cache.read(t.Context(), int64(column*len(body)/columns+at), step, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := c.bytes.Load(); n > int64(len(body))*11/10 {
		t.Errorf("%d bytes of %d were fetched, by %d requests", n, len(body), c.requests.Load())
	}
}

func TestSmallFilesAreHeldWholeAndLargeOnesShareTheRest(t *testing.T) {
	files := make([]File, 10)
	for i := range files {
		files[i].Size = 100
	}
	if part := share(files, 5000); part < 100 {
		t.Error("all fit, but no more than", part)
	}
	files[3].Size, files[7].Size = 10_000, 20_000
	if part := share(files, 5000); part != 2100 {
		t.Errorf("two large files hold %d each", part)
	}
}

// The rows of files of any number and size pass through two windows, and of the files
// no more is held than was asked for.
func TestRowsAreReadInBoundedWindows(t *testing.T) {
	w := newWritten(8)
	var files []File
	var counts []*counted
	for range 6 {
		c := count(file(t, w.ours(t, 2, 120)))
		files, counts = append(files, c.File), append(counts, c)
	}
	for _, body := range w.foreign(t, 2, 2, 60) {
		files = append(files, file(t, body))
	}
	for hold, most := range map[int64]int64{inputBytes: 3, 1: 200} {
		for _, c := range counts {
			c.requests.Store(0)
			c.bytes.Store(0)
		}
		in, err := newFeeder(t.Context(), Rewriting{Files: files}, hold)
		if err != nil {
			t.Fatal(err)
		}
		in.size = 100_000
		go func() {
			defer close(in.full)
			if err := in.run(t.Context()); err != nil {
				t.Error(err)
			}
		}()
		seen, n, largest := map[*window]bool{}, 0, 0
		last := place{-1, -1}
		for win := range in.full {
			seen[win] = true
			total := 0
			for _, b := range win.batches {
				if at := (place{b.partition, b.First}); at.partition < last.partition || at.partition == last.partition && at.offset <= last.offset {
					t.Fatalf("%v after %v", at, last)
				}
				last = place{b.partition, b.Last}
				n += b.Records
				total += len(b.Data)
			}
			if largest = max(largest, total); cap(win.buffer) > in.size+in.size/16 {
				t.Errorf("a buffer of %d bytes", cap(win.buffer))
			}
			in.free <- win
		}
		if n != len(w.rows) || len(seen) > 2 || largest > in.size+rowLimit {
			t.Errorf("%d of %d rows in %d windows of up to %d bytes", n, len(w.rows), len(seen), largest)
		}
		for i, c := range counts {
			if c.requests.Load() > most || hold == inputBytes && c.bytes.Load() > c.Size+64<<10 {
				t.Errorf("file %d of %d bytes: %d bytes in %d requests", i, c.Size, c.bytes.Load(), c.requests.Load())
			}
		}
		t.Log(fmt.Sprint(counts[0].Size, " bytes in ", counts[0].requests.Load(), " requests, ", counts[0].bytes.Load(), " bytes, if ", hold, " may be held"))
	}
}

// rowLimit is more than a row of a test takes.
const rowLimit = 4 << 10
