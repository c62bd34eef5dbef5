package rows

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"sluice/protocol/record"
)

// useAll does all that can be done with a file. Errors are fine; panics, even
// those that guard has caught, are not.
func useAll(t testing.TB, body []byte) {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil && strings.Contains(err.Error(), "panic:") {
			t.Fatal(err)
		}
		if err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrUnsupported) {
			t.Fatalf("an error of no kind: %v", err)
		}
	}
	r, err := Open(t.Context(), int64(len(body)), (&source{b: body}).read)
	if check(err); err != nil {
		return
	}
	ranges, err := r.Ranges(t.Context())
	check(err)
	ranges = append(ranges[:min(len(ranges), 3)], Range{Partition: 1})
	for _, u := range ranges {
		for _, from := range []int64{0, u.First + (u.Last-u.First)/2} {
			batches, err := r.Read(t.Context(), u.Partition, from, Limits{MaxBytes: 10_000})
			check(err)
			for _, b := range batches {
				if !b.Data.Intact() || b.First < from || b.Last < b.First {
					t.Fatalf("a batch of offsets %d to %d, intact %v, read from %d", b.First, b.Last, b.Data.Intact(), from)
				}
			}
		}
		for _, codec := range []Codec{Snappy, Zstd, None} {
			_, err = r.pages(t.Context(), u.Partition, u.First, codec, 0, 1<<20)
			check(err)
		}
		_, _, _, err = r.OffsetForTime(t.Context(), u.Partition, 0, 1_700_000_000_050)
		check(err)
		_, _, _, err = r.MaxTimestamp(t.Context(), u.Partition, 0)
		check(err)
	}
}

// specimens are small files of all kinds.
func specimens(t testing.TB) [][]byte {
	var files [][]byte
	rng := seeded(3)
	_, rows := topicRows(rng, 2, 40)
	for _, codec := range []Codec{Snappy, Zstd, None} {
		files = append(files,
			slices.Clone(encode(t, Options{Codec: codec}, batch(t, 0, 0, 0, randomRecs(rng, 0, 40, false)...), batch(t, 1, 0, 0, randomRecs(rng, 0, 9, true)...)).Body))
	}
	for version := 1; version <= 2; version++ {
		for _, codec := range []parquet.WriterOption{parquet.Compression(&parquet.Uncompressed), parquet.Compression(&parquet.Gzip), parquet.Compression(&parquet.Snappy)} {
			files = append(files, writeForeign(t, shuffled(rng, rows, 2), codec, parquet.DataPageVersion(version), parquet.PageBufferSize(300)))
		}
	}
	return files
}

func TestDamagedFilesAreErrorsNotPanics(t *testing.T) {
	rng := seeded(9)
	for _, file := range specimens(t) {
		footer := len(file) - 8 - int(binary.LittleEndian.Uint32(file[len(file)-8:]))
		for range 300 {
			b := slices.Clone(file)
			for range 1 + rng.IntN(3) {
				at := rng.IntN(len(b))
				if rng.IntN(2) == 0 {
					at = footer + rng.IntN(len(b)-footer)
				}
				b[at] = byte(rng.IntN(256))
			}
			useAll(t, b)
		}
		for cut := 0; cut < len(file); cut += 1 + len(file)/40 {
			useAll(t, file[:cut])
			useAll(t, append(slices.Clone(file[:cut]), file[len(file)-200:]...))
		}
	}
}

// fileOf makes a Parquet file of any bytes and a footer.
func fileOf(footer []byte) []byte {
	b := append([]byte(magic), footer...)
	return append(binary.LittleEndian.AppendUint32(b, uint32(len(footer))), magic...)
}

func TestClaimsAreNotAllocated(t *testing.T) {
	huge := binary.AppendUvarint([]byte{0xfc}, 1<<30) // a list of 2^30 structs
	footers := map[string][]byte{
		"schema":     append([]byte{0x29}, huge...),
		"row groups": append([]byte{0x49}, huge...),
		"pairs":      append([]byte{0x59}, huge...),
		"unknown":    append([]byte{0xf9}, huge...),
		"deep":       bytes.Repeat([]byte{0xfc}, 10_000),
		"a string":   append([]byte{0x68}, binary.AppendUvarint(nil, 1<<40)...),
	}
	for name, footer := range footers {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			body := fileOf(footer)
			if _, err := Open(t.Context(), int64(len(body)), (&source{b: body}).read); !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrUnsupported) {
				t.Errorf("opened: %v", err)
			}
			runtime.ReadMemStats(&after)
			if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
				t.Errorf("%d bytes allocated for a footer of %d", n, len(footer))
			}
		})
	}
}

func TestSourcesThatFailAreToldSo(t *testing.T) {
	f := encode(t, Options{}, batch(t, 0, 0, 0, randomRecs(seeded(1), 0, 40_000, false)...))
	broken := errors.New("store is down")
	src := &source{b: f.Body}
	fails := false
	r, err := Open(t.Context(), int64(len(f.Body)), func(ctx context.Context, off, n int64, into []byte) ([]byte, error) {
		if fails {
			return nil, broken
		}
		return src.read(ctx, off, n, into)
	})
	if err != nil {
		t.Fatal(err)
	}
	fails = true
	if _, err := r.Read(t.Context(), 0, 5, Limits{MaxBytes: 100}); !errors.Is(err, broken) || errors.Is(err, ErrCorrupt) {
		t.Errorf("%v", err)
	}
	short := func(context.Context, int64, int64, []byte) ([]byte, error) { return []byte("PAR1"), nil }
	if _, err := Open(t.Context(), 1000, short); err == nil || errors.Is(err, ErrCorrupt) {
		t.Errorf("a source that returns less than asked for: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	fails = false
	if _, err := r.Read(ctx, 0, 5, Limits{MaxBytes: 100}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want canceled", err)
	}
}

func FuzzReader(f *testing.F) {
	for _, file := range specimens(f) {
		f.Add(file)
	}
	f.Fuzz(func(t *testing.T, body []byte) { useAll(t, body) })
}

func FuzzStats(f *testing.F) {
	file := encode(f, Options{}, batch(f, 0, record.None, 0, randomRecs(seeded(3), 0, 40, true)...))
	f.Add(file.Stats, file.Tags[RangesTag])
	f.Fuzz(func(t *testing.T, stats, tag string) {
		if s := StatsRange(stats); s.Known && (s.MinOffset > s.MaxOffset || s.MinPartition > s.MaxPartition) {
			t.Error(s)
		}
		if ranges, ok := ParseRanges(map[string]string{RangesTag: tag}); ok {
			if again, ok := parseRanges(formatRanges(ranges)); !ok || !slices.Equal(again, ranges) {
				t.Errorf("%q: %v, again %v", tag, ranges, again)
			}
		}
	})
}
