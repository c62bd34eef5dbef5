package rows

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"slices"
	"sort"
	"sync/atomic"
	"unsafe"

	"sluice/protocol/record"
)

// Reader reads one Parquet file by ranged GETs. It holds the file's footer and
// is safe for concurrent use.
type Reader struct {
	src  Source
	size int64
	f    *footer
	tail []window // what is kept of the file's end: the page index, if it was read

	// index is where each partition's rows are; nil until somebody had to find
	// out. Two that find out at the same time both do the work.
	index atomic.Pointer[index]
}

type index struct {
	runs []run // sorted, disjoint
	// scattered: there are too many runs to keep any.
	scattered bool
}

// Open reads the footer of a file of size bytes: one ranged read of its tail,
// a second one if the footer is longer than that.
func Open(ctx context.Context, size int64, src Source) (r *Reader, err error) {
	defer guard(&err)
	f, tail, end, err := readFooter(ctx, size, src)
	if err != nil {
		return nil, err
	}
	r = &Reader{src: src, size: size, f: f}
	if runs, ok := f.knownRuns(); ok {
		r.index.Store(&index{runs: runs})
	}
	r.keepTail(tail, end)
	return r, nil
}

// keepTail keeps what of the tail, which reaches to the footer at end, will be
// asked for again: the page index, or all of a small file.
func (r *Reader) keepTail(tail []byte, end int64) {
	at := end - int64(len(tail))
	keep := end
	if at == 0 {
		keep = 0
	}
	for i := range r.f.groups {
		for s := range numSlots {
			if c := &r.f.groups[i].chunks[s]; c.index >= at && c.index > 0 {
				keep = min(keep, c.index)
			}
		}
	}
	if keep < end {
		r.tail = []window{{off: keep, b: slices.Clone(tail[keep-at:])}}
	}
}

// guard turns a panic of a decoder that is not ours into an error: these see
// whatever bytes a writer to the store puts there.
func guard(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%w: panic: %v\n%s", ErrCorrupt, p, debug.Stack())
	}
}

// Rows is the number of rows in the file.
func (r *Reader) Rows() int64 { return r.f.rows }

// MemorySize is about how many bytes the Reader keeps, for caches to count.
func (r *Reader) MemorySize() int {
	n := int(unsafe.Sizeof(*r)+unsafe.Sizeof(*r.f)) + cap(r.f.groups)*int(unsafe.Sizeof(rowGroup{})) +
		cap(r.f.ranges)*int(unsafe.Sizeof(Range{}))
	for _, w := range r.tail {
		n += cap(w.b)
	}
	if x := r.index.Load(); x != nil {
		n += cap(x.runs) * int(unsafe.Sizeof(run{}))
	}
	return n
}

// UnpackedSize is about how many bytes all rows take as record batches.
func (r *Reader) UnpackedSize() float64 {
	bytes := float64(r.f.rows) * rowOverhead
	for i := range r.f.groups {
		for _, s := range []slot{slotKey, slotValue, slotHeaderKey, slotHeaderValue} {
			bytes += float64(r.f.groups[i].chunks[s].full)
		}
	}
	return bytes
}

// Ranges finds, exactly, which partitions and offsets the file holds: from the
// footer where that tells, otherwise from the columns. Rows without partition or
// offset (a foreign INSERT) are not counted.
func (r *Reader) Ranges(ctx context.Context) (ranges []Range, err error) {
	defer guard(&err)
	if ranges, ok := r.f.knownRanges(); ok {
		return slices.Clone(ranges), nil
	}
	x, err := r.indexed(ctx)
	if err != nil {
		return nil, err
	}
	add := func(run run) error {
		one := Range{run.partition, run.first, run.first + run.n - 1, run.n}
		if ranges = append(ranges, one); len(ranges) > 4096 && len(ranges) == cap(ranges) {
			ranges = mergeRanges(ranges)
		}
		return nil
	}
	if x.scattered {
		g := r.gatherer()
		defer g.release()
		if err := g.scan(ctx, func(*rowGroup) bool { return true }, add); err != nil {
			return nil, err
		}
		return mergeRanges(ranges), nil
	}
	for _, run := range x.runs {
		_ = add(run)
	}
	return mergeRanges(ranges), nil
}

// indexed answers the index, building it if it is not there yet.
func (r *Reader) indexed(ctx context.Context) (*index, error) {
	if x := r.index.Load(); x != nil {
		return x, nil
	}
	x := &index{}
	g := r.gatherer()
	defer g.release()
	runs, err := g.allRuns(ctx)
	switch {
	case errors.Is(err, errTooManyRuns):
		x.scattered = true
	case err != nil:
		return nil, err
	}
	x.runs = runs
	r.index.Store(x)
	return x, nil
}

// maxSegments bounds the runs that one read takes from the file.
const maxSegments = 64 << 10

// runsFrom answers the runs of a partition from an offset on, sorted: all, or
// more than a read takes.
func (r *Reader) runsFrom(ctx context.Context, partition int32, from int64) ([]run, error) {
	x, err := r.indexed(ctx)
	if err != nil {
		return nil, err
	}
	if x.scattered {
		g := r.gatherer()
		defer g.release()
		return g.someRuns(ctx, partition, from, maxSegments)
	}
	i := sort.Search(len(x.runs), func(i int) bool {
		u := &x.runs[i]
		return u.partition > partition || u.partition == partition && u.first+u.n > from
	})
	j := i + sort.Search(len(x.runs)-i, func(j int) bool { return x.runs[i+j].partition > partition })
	return x.runs[i:j], nil
}

// Read makes record batches of a partition's records from offset from on: in
// order of offsets even where the file is not, gaps kept. No batch at all means that
// the file holds no such record.
func (r *Reader) Read(ctx context.Context, partition int32, from int64, limits Limits) ([]Encoded, error) {
	out, _, err := r.ReadOn(ctx, partition, from, limits)
	return out, err
}

// ReadOn is Read that also answers the offset from which reading goes on: behind the
// last record if the limits left some out, else limits.Before.
func (r *Reader) ReadOn(ctx context.Context, partition int32, from int64, limits Limits) (out []Encoded, next int64, err error) {
	defer guard(&err)
	if limits.BatchBytes <= 0 {
		limits.BatchBytes = defaultBatchBytes
	}
	if limits.Before <= 0 {
		limits.Before = math.MaxInt64
	}
	limits.MaxBytes = min(max(limits.MaxBytes, 1), maxReadBytes)
	runs, err := r.runsFrom(ctx, partition, from)
	if err != nil {
		return nil, 0, err
	}
	g := r.gatherer()
	defer g.release()
	for rows := int64(math.MaxInt64); ; {
		segments, all := r.plan(ctx, g, runs, from, limits, rows)
		if len(segments) == 0 {
			return nil, limits.Before, nil
		}
		g.inOrder = slices.IsSortedFunc(segments, byPlace)
		total := int64(0)
		for _, s := range segments {
			total += s.n
		}
		g.limit = min(4*limits.MaxBytes+4<<20, math.MaxInt32)
		if total == 1 {
			g.limit = math.MaxInt32
		}
		tables, err := r.load(ctx, g, segments, slotTimestamp, slotTimestampType, slotKey, slotValue, slotHeaderKey, slotHeaderValue)
		if errors.Is(err, errTooMuch) && total > 1 {
			rows, g.used = max(total/4, 1), 0
			continue
		}
		if err != nil {
			return nil, 0, err
		}
		out, more, err := newEmitter(limits, tables).emit(ctx, segments)
		if err != nil {
			return nil, 0, err
		}
		if next = limits.Before; more || !all {
			next = out[len(out)-1].Last + 1
		}
		return out, next, nil
	}
}

const (
	defaultBatchBytes = 1 << 20
	maxReadBytes      = 256 << 20
)

// segment is a part of a run that is read.
type segment struct {
	run
	at int // its first row in the table of its row group
}

// byPlace orders segments as they stand in the file.
func byPlace(a, b segment) int {
	return cmp.Or(cmp.Compare(a.group, b.group), cmp.Compare(a.row, b.row))
}

// plan cuts from runs what fits limits, by what the footer and the page index
// say of the rows' size: at least one row, at most maxRows. all says that nothing was
// left out.
func (r *Reader) plan(ctx context.Context, g *gatherer, runs []run, from int64, limits Limits, maxRows int64) (out []segment, all bool) {
	left := float64(limits.MaxBytes)
	for _, u := range runs {
		if over := from - u.first; over > 0 {
			u.first, u.row, u.n = u.first+over, u.row+over, u.n-over
		}
		if u.n = min(u.n, limits.Before-u.first); u.n <= 0 {
			break
		}
		if maxRows <= 0 || len(out) == maxSegments || len(out) > 0 && left <= 0 {
			return out, false
		}
		n, bytes := g.fitting(ctx, int(u.group), u.row, min(u.n, maxRows), left)
		cut := n < u.n
		u.n = n
		out = append(out, segment{run: u})
		if cut {
			return out, false // what follows must not come before the rest of this run
		}
		left -= bytes
		maxRows -= n
	}
	return out, true
}

// load reads columns of the rows of segments, which it tells their place in the
// tables; those are by row group.
func (r *Reader) load(ctx context.Context, g *gatherer, segments []segment, slots ...slot) (map[int32]*table, error) {
	order := make([]*segment, len(segments))
	for i := range segments {
		order[i] = &segments[i]
	}
	slices.SortFunc(order, func(a, b *segment) int { return byPlace(*a, *b) })
	tables := make(map[int32]*table)
	for len(order) > 0 {
		group := order[0].group
		var sel []rowSpan
		at := 0
		for len(order) > 0 && order[0].group == group {
			s := order[0]
			s.at = at
			at += int(s.n)
			if i := len(sel) - 1; i >= 0 && sel[i].to == s.row {
				sel[i].to = s.row + s.n
			} else {
				sel = append(sel, rowSpan{s.row, s.row + s.n})
			}
			order = order[1:]
		}
		t, err := g.gather(ctx, int(group), sel, slots...)
		if err != nil {
			return nil, err
		}
		tables[group] = t
	}
	return tables, nil
}

// rowOverhead is about what a record takes beside key, value and headers.
const rowOverhead = 12

// fitting estimates how many of n rows from row on take up to want bytes, one
// at least, and how many bytes they take.
func (g *gatherer) fitting(ctx context.Context, group int, row, n int64, want float64) (int64, float64) {
	rg := &g.f.groups[group]
	payload := []slot{slotKey, slotValue, slotHeaderKey, slotHeaderValue}
	mean := float64(rowOverhead)
	for _, s := range payload {
		mean += float64(rg.chunks[s].full) / float64(max(rg.rows, 1))
	}
	if float64(n)*mean < want/4 || n == 1 { // no doubt: spare the page index
		return n, float64(n) * mean
	}
	places := g.places(ctx, group)[slotValue]
	if places == nil {
		rows := min(max(int64(want/mean), 1), n)
		return rows, float64(rows) * mean
	}
	// Values are most of the bytes as a rule, and not all pages alike.
	c := &rg.chunks[slotValue]
	ratio := float64(c.full) / float64(max(c.packed, 1))
	other := mean - float64(c.full)/float64(max(rg.rows, 1))
	bytes, end := 0.0, row+n
	for i, p := range places {
		next := rg.rows
		if i+1 < len(places) {
			next = places[i+1].first
		}
		if next <= row {
			continue
		}
		if p.first >= end {
			break
		}
		from, to := max(p.first, row), min(next, end)
		share := float64(to-from) / float64(next-p.first)
		bytes += share*float64(p.size)*ratio + float64(to-from)*other
		if bytes >= want {
			return to - row, bytes
		}
	}
	return n, bytes
}

// newRecordHeaders makes the headers of a row.
func newRecordHeaders(to record.Headers, keys, values *vector, first, n int32) record.Headers {
	for i := first; i < first+n; i++ {
		var key, value []byte
		if keys != nil {
			key = keys.bytes(int(i))
		}
		if values != nil {
			value = values.bytes(int(i))
		}
		to = to.Append(key, value)
	}
	return to
}

// bytes is value i, nil for null.
func (v *vector) bytes(i int) []byte {
	s := v.spans[i]
	if s.n < 0 {
		return nil
	}
	return v.arena[s.off : int(s.off)+int(s.n) : int(s.off)+int(s.n)]
}
