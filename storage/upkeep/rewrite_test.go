package upkeep

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"sluice/protocol/record"
	"sluice/storage/rows"
)

func TestRewrittenFilesHoldTheSameRows(t *testing.T) {
	for seed := range uint64(9) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			w := newWritten(seed)
			var files []File
			n := []int32{1, 3, 70}[seed%3]
			most := []int{9, 4, 1}[seed%3] // batches of a partition in a file
			for range 2 + w.rng.IntN(6) {
				files = append(files, file(t, w.ours(t, n, most)))
			}
			if seed%2 == 0 { // an engine was here
				for _, body := range w.foreign(t, 1+w.rng.IntN(4), n, most) {
					files = append(files, file(t, body))
				}
				files = append(files, file(t, w.ours(t, n, most)))
			}
			w.rng.Shuffle(len(files), func(i, j int) { files[i], files[j] = files[j], files[i] })
			target := int64(16 << (10 + w.rng.IntN(5)))
			outputs, result := rewrite(t, Rewriting{
				Files: files, Target: target, Codec: rows.Codec(w.rng.IntN(3)), Tags: func(ranges []rows.Range) map[string]string {
					return map[string]string{"sluice.test": fmt.Sprint(ranges)}
				},
			})
			sameRows(t, rowsOf(t, outputs...), w.rows)
			total := int64(0)
			for _, c := range result.Partitions {
				if total += c.In; c.In != c.Out {
					t.Errorf("%+v", c)
				}
			}
			if total != int64(len(w.rows)) || len(result.Partitions) != len(partitions(w.rows)) {
				t.Errorf("%d rows of %d partitions", total, len(result.Partitions))
			}
			if most := result.In/target + result.Out/target + 2; int64(result.Outputs) > 2*most {
				t.Errorf("%d outputs of %d bytes for a target of %d", result.Outputs, result.Out, target)
			}
		})
	}
}

func TestOutputsAreAboutAsLargeAsTheyShouldBe(t *testing.T) {
	w := newWritten(1)
	var files []File
	for range 20 {
		files = append(files, file(t, w.ours(t, 1, 60)))
	}
	outputs, result := rewrite(t, Rewriting{Files: files, Target: 192 << 10})
	if len(outputs) < 3 {
		t.Fatalf("%d bytes became %d files", result.In, len(outputs))
	}
	for i, body := range outputs {
		if size := len(body); size > 192<<10*5/4 || size < 192<<10/2 {
			t.Errorf("file %d of %d has %d bytes", i, len(outputs), size)
		}
	}
}

func TestRowGroupsOfOurFilesAreCopiedAsTheyAre(t *testing.T) {
	w := newWritten(7)
	var files []File
	for range 4 {
		files = append(files, file(t, w.oursOf(t, rows.Snappy, 2, 250)))
	}
	files = append(files, file(t, w.oursOf(t, rows.Snappy, 2, 3)), file(t, w.oursOf(t, rows.Zstd, 2, 250)))
	for _, target := range []int64{8 << 20, 1500 << 10} {
		outputs, _ := rewrite(t, Rewriting{Files: files, Target: target, Codec: rows.Snappy})
		sameRows(t, rowsOf(t, outputs...), w.rows)
		values, err := files[1].Source(t.Context(), files[1].Size/3, 4<<10, nil)
		if err != nil || !bytes.Contains(slices.Concat(outputs...), values) {
			t.Errorf("what stands in file 1 does not stand in the outputs: %v", err)
		}
		for i, body := range outputs {
			if size := int64(len(body)); size > target*5/4 || len(outputs) > 1 && size < target/3 {
				t.Errorf("file %d of %d has %d bytes for a target of %d", i, len(outputs), size, target)
			}
		}
		// What is sound but for a byte of its values is found out although it is not decoded.
		bad := slices.Clone(files)
		bad[1].Source = func(ctx context.Context, off, n int64, into []byte) ([]byte, error) {
			b, err := files[1].Source(ctx, off, n, into)
			if at := files[1].Size / 3; at >= off && at < off+n {
				b = bytes.Clone(b)
				b[at-off] ^= 1
			}
			return b, err
		}
		_, err = Rewrite(t.Context(), Rewriting{Topic: "orders", Files: bad, Target: target, Codec: rows.Snappy, Put: func(context.Context, rows.File) error { return nil }})
		if which, ok := errors.AsType[*FileError](err); !ok || which.Index != 1 || !errors.Is(err, rows.ErrCorrupt) {
			t.Errorf("a damaged file: %v", err)
		}
	}
}

func TestOnlyRowsThatAreKeptStay(t *testing.T) {
	for name, keep := range map[string]func(p int32, offset int64, r *record.Record) bool{
		"all":           func(int32, int64, *record.Record) bool { return true },
		"one in three":  func(_ int32, offset int64, _ *record.Record) bool { return offset%3 == 0 },
		"one partition": func(p int32, _ int64, _ *record.Record) bool { return p == 2 },
		"a range":       func(_ int32, offset int64, _ *record.Record) bool { return offset >= 50 && offset < 90 },
		"with a key":    func(_ int32, _ int64, r *record.Record) bool { return len(r.Key) > 0 },
		"by time": func(_ int32, _ int64, r *record.Record) bool {
			return r.Timestamp != record.NoTimestamp && r.Timestamp%2 == 0
		},
		"none": func(int32, int64, *record.Record) bool { return false },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWritten(5)
			var files []File
			for range 10 {
				files = append(files, file(t, w.ours(t, 4, 3)))
			}
			for _, body := range w.foreign(t, 3, 4, 3) {
				files = append(files, file(t, body))
			}
			asked, last := map[place]bool{}, place{-1, -1}
			want := map[place]string{}
			outputs, result := rewrite(t, Rewriting{Files: files, Target: 16 << 10, Keep: func(p int32, offset int64, r *record.Record) bool {
				at := place{p, offset}
				if asked[at] || p < last.partition || p == last.partition && offset <= last.offset {
					t.Fatalf("asked about %v after %v", at, last)
				}
				asked[at], last = true, at
				stay := keep(p, offset, r)
				if stay {
					want[at] = w.rows[at]
				}
				return stay
			}})
			if len(asked) != len(w.rows) {
				t.Errorf("asked about %d of %d rows", len(asked), len(w.rows))
			}
			sameRows(t, rowsOf(t, outputs...), want)
			if len(want) == 0 && len(outputs) > 0 {
				t.Errorf("%d files without rows", len(outputs))
			}
			out := int64(0)
			for _, c := range result.Partitions {
				out += c.Out
				if c.Out > 0 && (want[place{c.Partition, c.First}] == "" || want[place{c.Partition, c.Last}] == "") {
					t.Errorf("%+v: its first or last row is not there", c)
				}
			}
			if out != int64(len(want)) {
				t.Errorf("%d rows out, want %d", out, len(want))
			}
		})
	}
}

func TestAFileThatIsNotWhatTheLogSaysIsNamed(t *testing.T) {
	w := newWritten(4)
	var files []File
	for range 6 {
		files = append(files, file(t, w.ours(t, 2, 5)))
	}
	if len(files[3].Ranges) != 2 {
		t.Fatal("a file of two partitions is needed")
	}
	put := func(context.Context, rows.File) error { return nil }
	lie := func(change func(f *File)) []File {
		lying := slices.Clone(files)
		f := &lying[3]
		f.Ranges = slices.Clone(f.Ranges)
		change(f)
		return lying
	}
	lost := errors.New("the store is away")
	for name, c := range map[string]struct {
		files []File
		err   error
	}{
		"a row more":        {lie(func(f *File) { f.Ranges[0].Rows++ }), ErrDiffers},
		"a row less":        {lie(func(f *File) { f.Ranges[0].Rows-- }), ErrDiffers},
		"a partition less":  {lie(func(f *File) { f.Ranges = f.Ranges[:1] }), ErrDiffers},
		"another partition": {lie(func(f *File) { f.Ranges[1].Partition = 7 }), ErrDiffers},
		"other offsets":     {lie(func(f *File) { f.Ranges[1].First++; f.Ranges[1].Last++ }), ErrDiffers},
		"no Parquet":        {lie(func(f *File) { f.Source = source(make([]byte, f.Size)) }), rows.ErrCorrupt},
		"gone": {lie(func(f *File) {
			f.Source = func(context.Context, int64, int64, []byte) ([]byte, error) { return nil, lost }
		}), lost},
		"the same file twice": {append(slices.Clone(files), files[3]), ErrDiffers},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Rewrite(t.Context(), Rewriting{Topic: "orders", Files: c.files, Target: 1 << 20, Put: put})
			bad, ok := errors.AsType[*FileError](err)
			if !errors.Is(err, c.err) || !ok || bad.Index != 3 && bad.Index != len(files) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestARewritingEndsWithTheErrorOfItsStore(t *testing.T) {
	w := newWritten(3)
	var files []File
	for range 20 {
		files = append(files, file(t, w.ours(t, 2, 9)))
	}
	full := errors.New("the disk is full")
	calls := 0
	_, err := Rewrite(t.Context(), Rewriting{Topic: "orders", Files: files, Target: 32 << 10, Put: func(context.Context, rows.File) error {
		if calls++; calls == 2 {
			return full
		}
		return nil
	}})
	if !errors.Is(err, full) || calls != 2 {
		t.Errorf("%v after %d outputs", err, calls)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err = Rewrite(ctx, Rewriting{Topic: "orders", Files: files, Target: 32 << 10, Put: func(context.Context, rows.File) error {
		cancel()
		return nil
	}})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// BenchmarkRewrite merges 24 files of 25,000 records of 100 B.
func BenchmarkRewrite(b *testing.B) {
	for _, n := range []int32{1, 100} {
		for name, keep := range map[string]func(int32, int64, *record.Record) bool{
			"all": nil, "nine in ten": func(_ int32, offset int64, _ *record.Record) bool { return offset%10 > 0 },
		} {
			b.Run(fmt.Sprintf("%d partitions, %s", n, name), func(b *testing.B) {
				const perFile = 25_000
				w := newWritten(1)
				var files []File
				for i := range int64(24) {
					var batches []rows.Batch
					for p := range n {
						var builder record.Builder
						builder.Reset(nil, record.Params{})
						for j := range int64(perFile) / int64(n) {
							value := fmt.Appendf(nil, `{"id":%d,"user":"u%06d","amount":%.2f,"note":"`, w.rng.Int64N(1e12), w.rng.IntN(1e6), w.rng.Float64()*1000)
							for len(value) < 98 {
								value = append(value, "abcdefghijklmnop"[w.rng.IntN(16)])
							}
							builder.Append(j, 1_700_000_000_000+i, nil, append(value, `"}`...), record.Headers{})
						}
						batches = append(batches, rows.Batch{Partition: p, BaseOffset: i * perFile / int64(n), Data: builder.Finish()})
					}
					f, err := rows.NewEncoder(rows.Options{}).Encode("orders", batches)
					if err != nil {
						b.Fatal(err)
					}
					files = append(files, file(b, bytes.Clone(f.Body)))
				}
				var result Result
				b.ReportAllocs()
				for b.Loop() {
					var err error
					result, err = Rewrite(b.Context(), Rewriting{Topic: "orders", Files: files, Target: 64 << 20, Keep: keep, Put: func(context.Context, rows.File) error { return nil }})
					if err != nil {
						b.Fatal(err)
					}
				}
				b.SetBytes(24 * perFile * 100)
				b.ReportMetric(float64(b.N)*24*perFile/b.Elapsed().Seconds()/1e6, "Mrows/s")
				b.ReportMetric(float64(result.Out)/(1<<20), "MiB-out")
			})
		}
	}
}
