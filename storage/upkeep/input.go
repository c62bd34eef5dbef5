package upkeep

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"sluice/storage/rows"
)

const (
	// readers is how many files are opened at a time: small ones cost a round trip each.
	readers = 8
	// windowBytes is about how many bytes of record batches are read at a time. One
	// window is encoded while the next is read.
	windowBytes = 4 << 20
	minWindow   = 64 << 10
	// batchBytes is about how large the batches are: a file ends between two of them.
	batchBytes = 128 << 10
)

// input is one file that is rewritten.
type input struct {
	index  int // among the files
	reader *rows.Reader
	left   int // parts that are not read yet
}

// part is what a file holds of a partition.
type part struct {
	in  *input
	rng rows.Range
}

// window is a bounded run of rows, in order of partitions and offsets.
type window struct {
	batches []placed
	bytes   int
	buffer  []byte // where batches stand, those of interleaved files aside
}

// placed is a batch of a partition or, if pages is set, a row group to be copied.
type placed struct {
	partition int32
	rows.Encoded
	pages *rows.Pages
}

// feeder reads the inputs' rows in order of partitions and offsets. One goroutine
// runs it; windows come back by free.
type feeder struct {
	parts []part
	size  int // of a window
	codec rows.Codec
	// copied is the most bytes of a row group that is copied as it is; 0: none is.
	copied int64
	w      *window
	full   chan *window
	free   chan *window
}

// newFeeder opens the files, of which it holds about hold bytes, and plans in which
// order they are read.
func newFeeder(ctx context.Context, rw Rewriting, hold int64) (*feeder, error) {
	files := rw.Files
	each, total := share(files, hold), int64(0)
	inputs := make([]*input, len(files))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readers)
	for i, f := range files {
		inputs[i] = &input{index: i}
		group.Go(func() error {
			if err := inputs[i].open(ctx, f, each); err != nil {
				return &FileError{i, err}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	// Two windows: one at the feeder, one at who encodes it.
	r := &feeder{full: make(chan *window), free: make(chan *window, 2), codec: rw.Codec}
	if rw.Keep == nil {
		r.copied = rw.Target / copiedPart
	}
	for i, f := range files {
		total += f.Size
		for _, rng := range f.Ranges {
			if rng.Rows > 0 {
				r.parts = append(r.parts, part{inputs[i], rng})
				inputs[i].left++
			}
		}
	}
	slices.SortFunc(r.parts, func(a, b part) int {
		return cmp.Or(cmp.Compare(a.rng.Partition, b.rng.Partition), cmp.Compare(a.rng.First, b.rng.First), cmp.Compare(a.in.index, b.in.index))
	})
	// A window of small files need not be larger than their rows, which take a few
	// times their bytes.
	r.size = int(min(max(4*total, minWindow), windowBytes))
	for range cap(r.free) {
		r.free <- &window{}
	}
	return r, nil
}

// open reads the footer of a file and looks whether it holds what the log says:
// rows that no Kafka consumer can ask for would be lost.
func (in *input) open(ctx context.Context, f File, hold int64) (err error) {
	if in.reader, err = rows.Open(ctx, f.Size, newCache(f, hold).read); err != nil {
		return err
	}
	want := int64(0)
	for _, rng := range f.Ranges {
		want += rng.Rows
	}
	if n := in.reader.Rows(); n != want {
		return fmt.Errorf("%w: %d rows, %d of them with an offset of their own", ErrDiffers, n, want)
	}
	return nil
}

// run reads everything.
func (r *feeder) run(ctx context.Context) (err error) {
	if err := r.next(ctx); err != nil {
		return err
	}
	for len(r.parts) > 0 {
		group := r.overlapping()
		if len(group) == 1 {
			err = r.read(ctx, group[0])
		} else {
			err = r.merge(ctx, group)
		}
		if err != nil {
			return err
		}
		for _, p := range group {
			if p.in.left--; p.in.left == 0 {
				p.in.reader = nil // and what it holds of the file
			}
		}
		r.parts = r.parts[len(group):]
	}
	return r.send(ctx)
}

// overlapping is the head of parts whose offsets are interleaved: one part, unless
// an engine has rewritten the table.
func (r *feeder) overlapping() []part {
	first := r.parts[0].rng
	last := first.Last
	for i, p := range r.parts[1:] {
		if p.rng.Partition != first.Partition || p.rng.First > last {
			return r.parts[:i+1]
		}
		last = max(last, p.rng.Last)
	}
	return r.parts
}

// read reads the rows of one part: row groups whole as long as they can be copied, then
// batches.
func (r *feeder) read(ctx context.Context, p part) error {
	from, count, err := r.copy(ctx, p)
	if err != nil {
		return err
	}
	for from <= p.rng.Last {
		w := r.w
		batches, err := p.in.reader.Read(ctx, p.rng.Partition, from, rows.Limits{
			MaxBytes: r.size - w.bytes, BatchBytes: batchBytes, Before: p.rng.Last + 1, Buffer: w.buffer,
		})
		if err != nil {
			return &FileError{p.in.index, err}
		}
		if len(batches) == 0 {
			break
		}
		read := 0
		for _, b := range batches {
			w.batches = append(w.batches, placed{partition: p.rng.Partition, Encoded: b})
			count += int64(b.Records)
			read += len(b.Data)
			from = b.Last + 1
		}
		w.bytes += read
		w.buffer = w.buffer[:min(len(w.buffer)+read, cap(w.buffer))]
		if err := r.sendFull(ctx); err != nil {
			return err
		}
	}
	return p.complete(count)
}

// copy reads row groups of a part that can be copied, and says where it ended and how many
// rows there were.
func (r *feeder) copy(ctx context.Context, p part) (from, count int64, err error) {
	from = p.rng.First
	for r.copied > 0 && from <= p.rng.Last {
		pages, err := p.in.reader.Pages(ctx, p.rng.Partition, from, r.codec, r.copied)
		switch {
		case err != nil:
			return from, count, &FileError{p.in.index, err}
		case pages == nil || pages.Last > p.rng.Last:
			return from, count, nil
		}
		r.w.batches = append(r.w.batches, placed{partition: p.rng.Partition, pages: pages})
		r.w.bytes += pages.Packed
		count += pages.Rows
		from = pages.Last + 1
		if err := r.sendFull(ctx); err != nil {
			return from, count, err
		}
	}
	return from, count, nil
}

// complete compares how many rows of a part were read with what the log says.
func (p part) complete(count int64) error {
	if count != p.rng.Rows {
		return &FileError{p.in.index, fmt.Errorf("%w: partition %d has %d rows, not %d", ErrDiffers, p.rng.Partition, count, p.rng.Rows)}
	}
	return nil
}

// cursor is how far one of several interleaved parts has been read.
type cursor struct {
	part
	batches []rows.Encoded // of one record each
	from    int64
	count   int64
}

// merge reads the rows of parts whose offsets are interleaved, record by record.
func (r *feeder) merge(ctx context.Context, parts []part) error {
	cursors := make([]*cursor, len(parts))
	for i, p := range parts {
		cursors[i] = &cursor{part: p, from: p.rng.First}
		if err := cursors[i].fill(ctx, r.size/len(parts)); err != nil {
			return err
		}
	}
	last := int64(-1)
	for {
		var least *cursor
		for _, c := range cursors {
			if len(c.batches) > 0 && (least == nil || c.batches[0].First < least.batches[0].First) {
				least = c
			}
		}
		if least == nil {
			break
		}
		b := least.batches[0]
		if b.First <= last {
			return &FileError{least.in.index, fmt.Errorf("%w: offset %d of partition %d is in another file too", ErrDiffers, b.First, least.rng.Partition)}
		}
		last = b.First
		r.w.batches = append(r.w.batches, placed{partition: least.rng.Partition, Encoded: b})
		r.w.bytes += len(b.Data)
		if err := r.sendFull(ctx); err != nil {
			return err
		}
		least.count++
		if least.batches = least.batches[1:]; len(least.batches) == 0 {
			if err := least.fill(ctx, r.size/len(parts)); err != nil {
				return err
			}
		}
	}
	for _, c := range cursors {
		if err := c.complete(c.count); err != nil {
			return err
		}
	}
	return nil
}

// fill reads on; no batches are left at the end of the part.
func (c *cursor) fill(ctx context.Context, size int) (err error) {
	if c.from > c.rng.Last {
		return nil
	}
	c.batches, err = c.in.reader.Read(ctx, c.rng.Partition, c.from, rows.Limits{MaxBytes: size, BatchBytes: 1, Before: c.rng.Last + 1})
	if err != nil {
		return &FileError{c.in.index, err}
	}
	if n := len(c.batches); n > 0 {
		c.from = c.batches[n-1].Last + 1
	}
	return nil
}

// sendFull hands the window over if it has little room left.
func (r *feeder) sendFull(ctx context.Context) error {
	if r.w.bytes < r.size-r.size/8 {
		return nil
	}
	if err := r.send(ctx); err != nil {
		return err
	}
	return r.next(ctx)
}

// send hands the window over.
func (r *feeder) send(ctx context.Context) error {
	select {
	case r.full <- r.w:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// next waits for an empty window.
func (r *feeder) next(ctx context.Context) error {
	select {
	case r.w = <-r.free:
	case <-ctx.Done():
		return ctx.Err()
	}
	if r.w.buffer == nil {
		r.w.buffer = make([]byte, 0, r.size+r.size/16)
	}
	clear(r.w.batches)
	r.w.batches, r.w.buffer, r.w.bytes = r.w.batches[:0], r.w.buffer[:0], 0
	return nil
}

// FileError says which of the files given to Rewrite could not be read as the log
// describes it: it wraps ErrDiffers, an error of package rows, or the Source's.
type FileError struct {
	Index int
	Err   error
}

func (e *FileError) Error() string { return fmt.Sprintf("file %d: %v", e.Index, e.Err) }

// Unwrap returns the reason.
func (e *FileError) Unwrap() error { return e.Err }

// ErrDiffers: a file, or what became of it, does not hold the rows that the log
// promises. To commit the rewriting would lose or double some.
var ErrDiffers = errors.New("upkeep: other rows than the log says")
