// Package upkeep keeps a topic's table healthy: it decides, from what the log
// says of the files, which of them to rewrite, and makes the new file. It commits
// nothing: package storage proposes the result to the table's committer, so that
// upkeep never conflicts with appends.
package upkeep

import (
	"context"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"sluice/storage/rows"
)

// File is a live data file, in the order in which its records were committed.
type File struct {
	Size   int64 // bytes
	Ranges []rows.Range
	// Open reads its footer.
	Open func(ctx context.Context) (*rows.Reader, error)
}

// Small files become larger ones in steps: a step merges neighbours below its limit
// once fanIn of them have come out of the step before. Each byte is rewritten about
// once per step, and a table has at most about fanIn files of each.
const (
	fanIn = 24
	// smallest is the limit of the first step in bytes, growth that of each further
	// one over the one before.
	smallest = 256 << 10
	growth   = 16
	// Target is the size in bytes of the last step's files, and the most that one
	// rewriting reads: its rows are in memory, which takes a few times that.
	Target = 8 << 20
	// maxInputs bounds the files of one rewriting, where many have piled up.
	maxInputs = 512
	// readers is how many files are read at a time: small ones cost a round trip each.
	readers = 8
)

// Pick answers the files to merge next, neighbours in files, as a half-open range;
// from == to if there is nothing to do.
func Pick(files []File) (from, to int) {
	before := int64(0)
	for limit := int64(smallest); before < Target/2; before, limit = limit, min(limit*growth, Target/2) {
		if from, to = pickStep(files, before, limit); to > from {
			return from, to
		}
	}
	return 0, 0
}

// pickStep finds neighbours below limit of which at least fanIn are not below before.
func pickStep(files []File, before, limit int64) (from, to int) {
	size, count := int64(0), 0
	for i, f := range files {
		if f.Size >= limit {
			from, size, count = i+1, 0, 0
			continue
		}
		if size += f.Size; f.Size >= before {
			count++
		}
		switch last := i+1 == len(files); {
		case !last && files[i+1].Size < limit && size+files[i+1].Size <= Target && i+1-from < maxInputs:
			// The next one belongs to them.
		case count >= fanIn, size > Target/2:
			return from, i + 1
		default:
			from, size, count = i+1, 0, 0
		}
	}
	return 0, 0
}

// Merge makes one file of several: the rows of each partition together, in order
// of their offsets, which stay as they are. The body is the encoder's until its next Encode.
func Merge(ctx context.Context, topic string, files []File, encoder *rows.Encoder) (rows.File, error) {
	parts := make([][]rows.Batch, len(files))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readers)
	for i, f := range files {
		group.Go(func() error {
			r, err := f.Open(ctx)
			if err != nil {
				return err
			}
			parts[i], err = read(ctx, r, f.Ranges)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return rows.File{}, err
	}
	batches := slices.Concat(parts...)
	slices.SortFunc(batches, func(a, b rows.Batch) int {
		if a.Partition != b.Partition {
			return int(a.Partition) - int(b.Partition)
		}
		if a.BaseOffset < b.BaseOffset {
			return -1
		}
		return 1
	})
	merged, err := encoder.Encode(topic, batches)
	if err != nil {
		return rows.File{}, err
	}
	return merged, same(files, merged)
}

// read makes batches of all rows of a file.
func read(ctx context.Context, r *rows.Reader, ranges []rows.Range) ([]rows.Batch, error) {
	var all []rows.Batch
	for _, rng := range ranges {
		for from := rng.First; from <= rng.Last; {
			batches, err := r.Read(ctx, rng.Partition, from, rows.Limits{MaxBytes: Target})
			if err != nil {
				return nil, err
			}
			if len(batches) == 0 {
				break
			}
			for _, b := range batches {
				all = append(all, rows.Batch{Partition: rng.Partition, BaseOffset: b.First, Data: b.Data})
				from = b.Last + 1
			}
		}
	}
	return all, nil
}

// same compares what a merged file holds with what its inputs held: a rewriting
// that would lose or gain a row must never be committed.
func same(files []File, merged rows.File) error {
	type sum struct{ rows, first, last int64 }
	want := map[int32]sum{}
	for _, f := range files {
		for _, r := range f.Ranges {
			s, ok := want[r.Partition]
			if !ok {
				s = sum{0, r.First, r.Last}
			}
			want[r.Partition] = sum{s.rows + r.Rows, min(s.first, r.First), max(s.last, r.Last)}
		}
	}
	for _, r := range merged.Ranges {
		if s := (sum{r.Rows, r.First, r.Last}); want[r.Partition] != s {
			return fmt.Errorf("merging %d files: partition %d has %+v, its inputs %+v", len(files), r.Partition, s, want[r.Partition])
		}
		delete(want, r.Partition)
	}
	if len(want) > 0 {
		return fmt.Errorf("merging %d files: %d partitions are missing", len(files), len(want))
	}
	return nil
}
