package rows

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/klauspost/compress/zstd"

	"sluice/protocol/record"
)

// Codec is how the columns with payload are compressed. The narrow columns
// are packed by their encodings and never compressed.
type Codec int8

const (
	Snappy Codec = iota // fast, read by every engine
	Zstd                // about 40 % smaller for three times the CPU
	None
)

// Options are the settings of an Encoder. The zero value is the default.
type Options struct {
	Codec Codec
	// MaxBody is the most that the records of one batch may decompress to, not
	// less than the limit they were checked with; 0 means record.DefaultMaxBody.
	MaxBody int
}

const (
	// maxRowGroups is how many partitions get a row group of their own: each
	// costs about 1 KiB and 5 µs. In files of more partitions, and in those
	// only, neighbours share row groups.
	maxRowGroups = 64
	// rowGroupBytes ends a row group: what one reader works on.
	rowGroupBytes = 64 << 20
)

// Encoder makes Parquet files. It keeps its buffers from one file to the next,
// so it is to be reused; one goroutine at a time may use it.
type Encoder struct {
	opts Options
	// rowGroupBytes is the constant, but for tests.
	rowGroupBytes int
	w             columnWriter
	cols          columns
	groups        []rowGroupMeta
	order         []int // of the batches, by partition
	stats         fileStats
	body          record.Decompressor
}

// NewEncoder makes an Encoder. It allocates as it is used.
func NewEncoder(opts Options) *Encoder {
	if opts.MaxBody <= 0 {
		opts.MaxBody = record.DefaultMaxBody
	}
	return &Encoder{opts: opts, rowGroupBytes: rowGroupBytes}
}

// Encode makes one Parquet file of batches: any number of partitions, the
// batches of each in order of their offsets, without overlap. The rows are sorted
// by (partition, offset). Offsets within a batch may have gaps; those in the header
// of Data do not count. Producer ids, sequence numbers and leader epochs have no
// column and are lost.
//
// A batch that cannot be encoded fails the whole file with a BatchError that
// wraps ErrCorrupt. That should not happen after record.Check: checksums are
// looked at once more, since this is the last moment before the bytes are
// acked as committed.
func (e *Encoder) Encode(topic string, batches []Batch) (File, error) {
	if err := e.init(); err != nil {
		return File{}, err
	}
	partitions := e.sort(batches)
	e.w.reset()
	e.cols.reset()
	e.groups = e.groups[:0]
	e.stats.reset()

	shared := partitions > maxRowGroups
	target := len(batches) / maxRowGroups // batches a shared row group
	inGroup := 0
	for i, at := range e.order {
		b := &batches[at]
		if i > 0 {
			next := b.Partition != batches[e.order[i-1]].Partition
			if next && (!shared || inGroup >= target) || e.cols.size() >= e.rowGroupBytes {
				e.flush(topic)
				inGroup = 0
			}
		}
		if err := e.add(b); err != nil {
			return File{}, &BatchError{at, err}
		}
		inGroup++
	}
	e.flush(topic)

	ranges := e.stats.takeRanges()
	packed := ""
	if shared { // otherwise the statistics of the row groups say the same
		packed = formatRanges(ranges)
	}
	e.w.writeIndex(e.groups, topic)
	e.w.writeFooter(e.groups, topic, packed)
	e.cols.shrink()
	f := File{Body: e.w.out, Rows: e.stats.rows, Ranges: ranges, Stats: e.stats.json()}
	if tag := formatRanges(ranges); len(tag) <= maxTag {
		f.Tags = map[string]string{RangesTag: tag}
	}
	return f, nil
}

// init makes what only some codecs need, once.
func (e *Encoder) init() error {
	if e.opts.Codec != Zstd || e.w.zstd != nil {
		return nil
	}
	z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest),
		zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false)) // pages have a CRC
	if err != nil {
		return fmt.Errorf("rows: zstd: %w", err)
	}
	e.w.zstd = z
	return nil
}

// sort puts the batches in order of partitions and counts those.
func (e *Encoder) sort(batches []Batch) (partitions int) {
	e.order = e.order[:0]
	for i := range batches {
		e.order = append(e.order, i)
	}
	slices.SortStableFunc(e.order, func(a, b int) int {
		return cmp.Compare(batches[a].Partition, batches[b].Partition)
	})
	for i, at := range e.order {
		if i == 0 || batches[at].Partition != batches[e.order[i-1]].Partition {
			partitions++
		}
	}
	return partitions
}

// add parses one batch into the columns of the row group at hand.
func (e *Encoder) add(b *Batch) error {
	if len(b.Data) < record.HeaderSize || !b.Data.Intact() {
		return fmt.Errorf("%w: checksum of the batch", ErrCorrupt)
	}
	body, err := e.body.Body(b.Data, e.opts.MaxBody)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	from := e.cols.n
	if err := e.cols.add(*b, body); err != nil {
		return err
	}
	if e.cols.n == from {
		return nil // compaction leaves empty batches
	}
	return e.stats.add(b.Partition, e.cols.offsets[from:])
}

// flush writes the columns as a row group and empties them.
func (e *Encoder) flush(topic string) {
	if e.cols.n == 0 {
		return
	}
	g := rowGroupMeta{rows: int64(e.cols.n), start: int64(len(e.w.out)), first: len(e.w.chunks)}
	codec := int32(codecSnappy)
	switch e.opts.Codec {
	case Zstd:
		codec = codecZstd
	case None:
		codec = codecNone
	}
	e.w.writeColumns(topic, &e.cols, codec)
	e.groups = append(e.groups, g)
	e.stats.addGroup(&e.cols, e.w.chunks[g.first:])
	e.cols.reset()
}
