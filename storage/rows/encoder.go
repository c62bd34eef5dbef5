package rows

import (
	"cmp"
	"fmt"
	"slices"

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

// id is the codec's number in a footer.
func (c Codec) id() int32 {
	switch c {
	case Zstd:
		return codecZstd
	case None:
		return codecNone
	}
	return codecSnappy
}

// Options are the settings of an Encoder. The zero value is the default.
type Options struct {
	Codec Codec
	// MaxBody is the most that the records of one batch may decompress to, not
	// less than the limit they were checked with; 0 means record.DefaultMaxBody.
	MaxBody int
	// RowGroupBytes of payload, as it is before compression, end a row group: what
	// an Encoder holds beside the file, and what one reader works on. 0 means 64 MiB.
	RowGroupBytes int
}

const (
	// maxRowGroups is how many partitions get a row group of their own: each
	// costs about 1 KiB and 5 µs. Behind them neighbours share row groups, of
	// sharedBytes at least and no less than an equal part of the file so far, so
	// that their number grows slowly with the file.
	maxRowGroups = 64
	sharedBytes  = 64 << 10
	// defaultRowGroupBytes and maxGroupRows end a row group.
	defaultRowGroupBytes = 64 << 20
	maxGroupRows         = 1 << 20 // tombstones have hardly any bytes
)

// Encoder makes Parquet files: Encode at once, or Begin, Add and Finish as the
// batches come. It keeps its buffers from one file to the next, so it is to be
// reused; one goroutine at a time may use it.
type Encoder struct {
	opts   Options
	w      columnWriter
	pack   packer
	cols   columns
	groups []rowGroupMeta
	order  []int // of the batches, by partition
	stats  fileStats
	body   record.Decompressor

	topic  string
	shared bool // a row group has several partitions
	// payload is what all row groups so far held before, and packed what they took
	// after encoding: the ratio is the best guess for the one at hand.
	payload, packed int64
}

// NewEncoder makes an Encoder. It allocates as it is used.
func NewEncoder(opts Options) *Encoder {
	e := &Encoder{}
	e.Reset(opts)
	return e
}

// Reset gives an Encoder other options. It keeps its buffers; what was not finished is
// dropped.
func (e *Encoder) Reset(opts Options) {
	if opts.MaxBody <= 0 {
		opts.MaxBody = record.DefaultMaxBody
	}
	if opts.RowGroupBytes <= 0 {
		opts.RowGroupBytes = defaultRowGroupBytes
	}
	e.opts = opts
	e.cols.reset()
	e.payload, e.packed = 0, 0
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
	size := 0
	for i := range batches {
		if p := batches[i].Pages; p != nil {
			size += p.Packed + p.Packed/16 // and the narrow columns
		}
	}
	if err := e.Begin(topic, size); err != nil {
		return File{}, err
	}
	e.sort(batches)
	for _, at := range e.order {
		var err error
		if p := batches[at].Pages; p != nil && p.codec == e.opts.Codec.id() {
			err = e.AddPages(p)
		} else {
			err = e.Add(&batches[at])
		}
		if err != nil {
			return File{}, &BatchError{at, err}
		}
	}
	return e.Finish(), nil
}

// Begin starts a file, to be filled by Add. What was not finished is dropped, and
// the Body of the file before is gone. size is about how many bytes it will get, so
// that its buffer need not grow; 0 is no guess.
func (e *Encoder) Begin(topic string, size int) error {
	if err := e.w.init(e.opts.Codec); err != nil {
		return err
	}
	e.pack.w.zstd = e.w.zstd
	e.w.reset(size)
	e.cols.reset()
	e.groups = e.groups[:0]
	e.stats.reset()
	e.topic, e.shared = topic, false
	return nil
}

// Add writes the rows of a batch behind those before: its partition and offsets
// must be greater. It keeps nothing of the batch. After an error, which wraps
// ErrCorrupt, only Begin helps.
//
// The file so far, a row group, and the batch decompressed are in memory, whatever
// the size of all batches together.
func (e *Encoder) Add(b *Batch) error {
	if e.groupEnds(b.Partition) {
		e.flush()
	}
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
		return nil // log compaction leaves empty batches
	}
	offsets := e.cols.offsets[from:]
	return e.stats.add(Range{b.Partition, offsets[0], offsets[len(offsets)-1], int64(len(offsets))})
}

// groupEnds says whether rows of a partition belong into a new row group.
func (e *Encoder) groupEnds(partition int32) bool {
	size := e.cols.size()
	if size >= e.opts.RowGroupBytes || e.cols.n >= maxGroupRows {
		return true
	}
	last := len(e.cols.partitions) - 1
	return last >= 0 && e.cols.partitions[last].value != partition &&
		(len(e.groups) < maxRowGroups || size >= max(sharedBytes, len(e.w.out)/maxRowGroups))
}

// Size is about how many bytes the file would have if it were finished now, without
// its footer.
func (e *Encoder) Size() int {
	pending := e.cols.size() - e.cols.copiedFull
	if e.payload > 0 {
		pending = int(float64(pending) * float64(e.packed) / float64(e.payload))
	}
	return len(e.w.out) + e.cols.copiedPacked + pending
}

// Finish completes the file. One without rows is a sound file too.
func (e *Encoder) Finish() File {
	e.flush()
	ranges := e.stats.takeRanges()
	packed := ""
	if e.shared { // otherwise the statistics of the row groups say the same
		packed = formatRanges(ranges)
	}
	e.w.writeIndex(e.groups, e.topic)
	e.w.writeFooter(e.groups, e.topic, packed)
	e.cols.shrink()
	f := File{Body: e.w.out, Rows: e.stats.rows, Ranges: ranges, Stats: e.stats.json()}
	if tag := formatRanges(ranges); len(tag) <= maxTag {
		f.Tags = map[string]string{RangesTag: tag}
	}
	return f
}

// sort finds the order of the batches by partition.
func (e *Encoder) sort(batches []Batch) {
	e.order = e.order[:0]
	for i := range batches {
		e.order = append(e.order, i)
	}
	slices.SortStableFunc(e.order, func(a, b int) int {
		return cmp.Compare(batches[a].Partition, batches[b].Partition)
	})
}

// flush writes the columns as a row group and empties them.
func (e *Encoder) flush() {
	if e.cols.n == 0 {
		return
	}
	g := rowGroupMeta{rows: int64(e.cols.n), start: int64(len(e.w.out)), first: len(e.w.chunks)}
	if len(e.cols.copied) > 0 {
		e.pack.seal(&e.cols, e.opts.Codec.id())
	}
	e.w.writeColumns(e.topic, &e.cols, e.opts.Codec.id())
	e.groups = append(e.groups, g)
	e.stats.addGroup(&e.cols, e.w.chunks[g.first:])
	e.shared = e.shared || len(e.cols.partitions) > 1
	e.payload += int64(e.cols.size())
	e.packed += int64(len(e.w.out)) - g.start
	e.cols.reset()
}
