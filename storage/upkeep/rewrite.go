package upkeep

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"

	"sluice/protocol/record"
	"sluice/storage/rows"
)

// File is a live data file of a table.
type File struct {
	Size int64 // bytes
	// Ranges are all rows that it holds, as its tag or its footer says.
	Ranges []rows.Range
	// Source reads it. What is likely to be needed again is kept here: it need not
	// cache.
	Source rows.Source
}

// Rewriting says which files become which: see Rewrite.
type Rewriting struct {
	Topic string
	Files []File
	// Target is the size in bytes at which an output ends; the last ones are made
	// equal, so that none is longer by more than a quarter, and a batch.
	Target int64
	Codec  rows.Codec
	// Keep reports whether a row stays; nil keeps all. It is called once for each
	// row, in order of partitions and offsets, by one goroutine at a time. r, which
	// has the timestamp, is valid during the call; its OffsetDelta says nothing.
	Keep func(partition int32, offset int64, r *record.Record) bool
	// Tags, if not nil, says what is added to the tags of an output, which holds ranges.
	// By then Keep has seen all of its rows.
	Tags func(ranges []rows.Range) map[string]string
	// Put takes an output. Its Body is valid until Put returns, and the next output is
	// not begun before. An error ends the rewriting and is returned as it is.
	Put func(ctx context.Context, f rows.File) error
}

// Result is what a rewriting did.
type Result struct {
	Outputs int
	// In and Out are bytes of files.
	In, Out int64
	// Partitions are those that the files held, in order.
	Partitions []Count
}

// Count is what became of the rows of a partition.
type Count struct {
	Partition int32
	In, Out   int64 // rows read, and rows that stayed
	// First and Last are the offsets of the first and last row that stayed; they mean
	// nothing if none did.
	First, Last int64
}

const (
	// groupBytes is the payload of an output's row groups, unless the target is small.
	groupBytes = 16 << 20
	minGroup   = 16 << 10
	// copiedPart of the target is the largest row group that is copied as it is: an
	// output ends between two of them.
	copiedPart = 4
)

// Rewrite reads files and makes new ones of their rows: the rows of each partition
// together, in order of their offsets, which stay as they are. No offsets of two
// outputs are interleaved in any partition. If no row stays there is no output.
//
// It returns without an error only if every row that Files declare was read, once,
// and every row that was to stay was written: all of them without Keep. After an
// error what was Put is of no use and its to be deleted by the caller. A FileError
// tells which file is to blame, if one is.
//
// Where all rows stay, row groups of our own files that are packed by the same codec, of
// 126 KiB of payload at least, are copied as they are: see rows.Pages. Neighbours become one
// row group.
//
// Memory, in MiB, for files of any number and size: Target and an eighth of it for
// the output; 16 to 24 of payload, and 28 bytes a row, for its row group; two windows
// of 4 for the rows that are read, and up to 20 while one is decoded; 32 of the
// files (or 128 KiB each, if that is more), and their footers. So some 110 for a
// target of 32, and up to three row groups that are copied, of a quarter of the target each,
// on their way; small inputs take in proportion. A Reader also keeps 32 bytes for each
// gap in a file's offsets, 32 MiB at most. The number of files is the caller's to
// bound: each is open from the beginning until its last row is read.
func Rewrite(ctx context.Context, rw Rewriting) (Result, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	in, err := newFeeder(ctx, rw, inputBytes)
	if err != nil {
		return Result{}, err
	}
	var readErr error // ours once in.full is closed
	go func() {
		defer close(in.full)
		readErr = in.run(ctx)
	}()

	out := newOutput(rw)
	defer out.release()
	for w := range in.full {
		if err == nil {
			if err = out.write(ctx, w); err != nil {
				cancel() // and see the feeder end
			}
		}
		in.free <- w
	}
	if err == nil {
		err = readErr
	}
	if err == nil {
		err = out.finish(ctx)
	}
	if err == nil {
		err = out.check()
	}
	return out.result, err
}

// output writes rows to one file after another.
type output struct {
	Rewriting
	encoder *rows.Encoder
	begun   bool  // there is a file at hand
	limit   int64 // bytes at which it ends
	// rows is how many rows all files hold, done how many of them have been read.
	rows, done int64
	result     Result
	// written is what the finished files hold.
	written map[int32]rows.Range

	builder record.Builder
	rebuilt []byte
	keep    []bool // of the records of a batch
}

func newOutput(rw Rewriting) *output {
	o := &output{Rewriting: rw, written: map[int32]rows.Range{}}
	for _, f := range rw.Files {
		o.result.In += f.Size
		for _, r := range f.Ranges {
			o.rows += r.Rows
		}
	}
	o.encoder = encoders.Get().(*rows.Encoder)
	o.encoder.Reset(rows.Options{
		Codec:         rw.Codec,
		MaxBody:       math.MaxInt32, // a Reader's batches are not compressed
		RowGroupBytes: int(max(min(rw.Target/2, groupBytes), minGroup)),
	})
	return o
}

// encoders are kept while one rewriting follows another: to make room for an output anew,
// page by page of memory, costs more than to copy it.
var encoders = sync.Pool{New: func() any { return rows.NewEncoder(rows.Options{}) }}

// release gives the encoder back; the outputs' bytes are gone then.
func (o *output) release() {
	o.encoder.Reset(rows.Options{}) // it holds nothing of the files
	encoders.Put(o.encoder)
	o.encoder = nil
}

// write adds the rows of a window that are to stay.
func (o *output) write(ctx context.Context, w *window) error {
	for _, b := range w.batches {
		count := o.count(b.partition)
		if b.pages != nil {
			if err := o.copy(ctx, count, b.pages); err != nil {
				return err
			}
			continue
		}
		count.In += int64(b.Records)
		o.done += int64(b.Records)
		if o.Keep != nil {
			if err := o.filter(&b); err != nil {
				return err
			}
			if b.Records == 0 {
				continue
			}
		}
		if count.Out == 0 {
			count.First = b.First
		}
		count.Out += int64(b.Records)
		count.Last = b.Last
		if err := o.room(ctx, 0); err != nil {
			return err
		}
		if err := o.encoder.Add(&rows.Batch{Partition: b.partition, BaseOffset: b.First, Data: b.Data}); err != nil {
			return err
		}
	}
	return nil
}

// copy adds a row group as it is.
func (o *output) copy(ctx context.Context, count *Count, p *rows.Pages) error {
	if count.Out == 0 {
		count.First = p.First
	}
	count.In += p.Rows
	count.Out += p.Rows
	count.Last = p.Last
	if err := o.room(ctx, int64(p.Packed)); err != nil {
		return err
	}
	o.done += p.Rows
	return o.encoder.AddPages(p)
}

// count is the count of a partition; they come in order.
func (o *output) count(partition int32) *Count {
	if n := len(o.result.Partitions); n == 0 || o.result.Partitions[n-1].Partition != partition {
		o.result.Partitions = append(o.result.Partitions, Count{Partition: partition})
	}
	return &o.result.Partitions[len(o.result.Partitions)-1]
}

// filter makes of a batch one of the records that are to stay.
func (o *output) filter(b *placed) error {
	o.keep = o.keep[:0]
	stay := 0
	it := b.Data.Records(b.Data.Payload())
	for it.Next() {
		r := it.Record()
		keep := o.Keep(b.partition, b.First+int64(r.OffsetDelta), r)
		if o.keep = append(o.keep, keep); keep {
			stay++
		}
	}
	if err := it.Err(); err != nil {
		return fmt.Errorf("%w: %w", rows.ErrCorrupt, err)
	}
	switch stay {
	case len(o.keep):
		return nil
	case 0:
		b.Encoded = rows.Encoded{}
		return nil
	}
	o.builder.Reset(o.rebuilt[:0], record.Params{TimestampType: b.Data.Attributes().TimestampType(), LeaderEpoch: -1})
	it = b.Data.Records(b.Data.Payload())
	for i := 0; it.Next(); i++ {
		r := it.Record()
		if !o.keep[i] {
			continue
		}
		// A part of a batch always fits a batch.
		if offset := b.First + int64(r.OffsetDelta); !o.builder.Append(offset, r.Timestamp, r.Key, r.Value, r.Headers) {
			return fmt.Errorf("%w: offset %d does not fit its batch", rows.ErrCorrupt, offset)
		}
	}
	o.rebuilt = o.builder.Finish()
	data := record.Batch(o.rebuilt)
	b.Encoded = rows.Encoded{First: data.BaseOffset(), Last: data.LastOffset(), Records: stay, MaxTimestamp: data.MaxTimestamp(), Data: data}
	return nil
}

// room finishes the file at hand if it is full, or would be too large with as many bytes
// more, and begins the next one.
func (o *output) room(ctx context.Context, bytes int64) error {
	if size := int64(o.encoder.Size()); o.begun && (size >= o.limit || size+bytes > o.limit+o.Target/8) {
		if err := o.finish(ctx); err != nil {
			return err
		}
	}
	if o.begun {
		return nil
	}
	return o.begin()
}

// begin starts a file and says when it ends: what is left goes to as few files as
// possible, of the same size, since the rest of a division would be a small one.
func (o *output) begin() error {
	left := o.result.In - int64(float64(o.result.In)*float64(o.done)/float64(max(o.rows, 1)))
	files := (left - o.Target/8 + o.Target - 1) / max(o.Target, 1)
	switch {
	case files <= 1:
		o.limit = o.Target + o.Target/8
	case o.Keep != nil:
		o.limit = o.Target // nobody knows how much stays
	default:
		o.limit = left / files
	}
	o.begun = true
	return o.encoder.Begin(o.Topic, int(min(left, o.limit)+batchBytes))
}

// finish puts the file at hand, if there is one.
func (o *output) finish(ctx context.Context) error {
	if !o.begun {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	o.begun = false
	f := o.encoder.Finish()
	for _, r := range f.Ranges {
		before, ok := o.written[r.Partition]
		if ok && before.Last >= r.First {
			return fmt.Errorf("%w: offset %d of partition %d is written again", ErrDiffers, r.First, r.Partition)
		}
		if ok {
			r.First, r.Rows = before.First, before.Rows+r.Rows
		}
		o.written[r.Partition] = r
	}
	if o.Tags != nil {
		if f.Tags == nil {
			f.Tags = map[string]string{}
		}
		maps.Copy(f.Tags, o.Tags(f.Ranges))
	}
	o.result.Outputs++
	o.result.Out += int64(len(f.Body))
	return o.Put(ctx, f)
}

// check compares what the files hold with what was read and what they declare: a
// rewriting that would lose or gain a row must never be committed.
func (o *output) check() error {
	declared := map[int32]rows.Range{}
	for _, f := range o.Files {
		for _, r := range f.Ranges {
			if d, ok := declared[r.Partition]; ok {
				r.First, r.Last, r.Rows = min(r.First, d.First), max(r.Last, d.Last), r.Rows+d.Rows
			}
			declared[r.Partition] = r
		}
	}
	for _, c := range o.result.Partitions {
		want := declared[c.Partition]
		if c.In != want.Rows {
			return fmt.Errorf("%w: %d rows of partition %d were read, not %d", ErrDiffers, c.In, c.Partition, want.Rows)
		}
		if o.Keep != nil {
			want = rows.Range{Partition: c.Partition, First: c.First, Last: c.Last, Rows: c.Out}
		}
		if got := o.written[c.Partition]; got != want && (want.Rows > 0 || got.Rows > 0) {
			return fmt.Errorf("%w: partition %d became %+v, not %+v", ErrDiffers, c.Partition, got, want)
		}
		delete(declared, c.Partition)
		delete(o.written, c.Partition)
	}
	for _, left := range slices.Concat(slices.Collect(maps.Values(declared)), slices.Collect(maps.Values(o.written))) {
		if left.Rows > 0 {
			return fmt.Errorf("%w: %d rows of partition %d", ErrDiffers, left.Rows, left.Partition)
		}
	}
	return nil
}
