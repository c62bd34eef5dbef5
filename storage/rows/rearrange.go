package rows

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"sluice/protocol/record"
)

// Files that others write may hold rows without a place: those of an INSERT. A file is
// taken apart into windows of its rows, in their order, and made anew with the
// places that the caller gives.

// Stretch are rows that stand one after another in a file and hold consecutive offsets
// of one partition.
type Stretch struct {
	Partition int32
	First     int64 // offset
	Row       int64 // in the file
	Rows      int64
}

// Stretches finds the rows that have a place, sorted by (partition, offset); of rows
// with the same place the first counts. ErrUnsupported if they are too scattered.
func (r *Reader) Stretches(ctx context.Context) (all []Stretch, err error) {
	defer guard(&err)
	x, err := r.indexed(ctx)
	if err != nil {
		return nil, err
	}
	if x.scattered {
		return nil, fmt.Errorf("%w: %w", ErrUnsupported, errTooManyRuns)
	}
	starts := make([]int64, len(r.f.groups))
	for i := 1; i < len(starts); i++ {
		starts[i] = starts[i-1] + r.f.groups[i-1].rows
	}
	all = make([]Stretch, len(x.runs))
	for i, u := range x.runs {
		all[i] = Stretch{u.partition, u.first, starts[u.group] + u.row, u.n}
	}
	return all, nil
}

// Row is a row of a Window.
type Row struct {
	// Partition and Offset are as the row has them, -1 for null.
	Partition, Offset int64
	Timestamp         int64 // ms, record.NoTimestamp for null
	Type              record.TimestampType
	Key               []byte // nil for null; valid until Close
	Size              int    // a bound of its bytes in a record batch
}

// Place is where a row goes, and its timestamp (ms, or record.NoTimestamp) and type.
type Place struct {
	Partition int32
	Offset    int64
	Timestamp int64
	Type      record.TimestampType
}

// Window are some consecutive rows of a file. One goroutine may use it, until Close.
type Window struct {
	Rows []Row
	g    *gatherer
	t    *table
}

// maxWindow bounds the rows of a window, whose places take some 100 bytes each.
const maxWindow = 64 << 10

// Window reads the rows from the given one on, of about maxBytes of records, one at
// least; none at the end of the file.
func (r *Reader) Window(ctx context.Context, row int64, maxBytes int) (w *Window, err error) {
	defer guard(&err)
	group := 0
	for group < len(r.f.groups) && row >= r.f.groups[group].rows {
		row -= r.f.groups[group].rows
		group++
	}
	if row < 0 || group == len(r.f.groups) {
		return &Window{}, nil
	}
	g := r.gatherer()
	n, _ := g.fitting(ctx, group, row, min(r.f.groups[group].rows-row, maxWindow), float64(maxBytes))
	for {
		g.limit = min(4*maxBytes+4<<20, math.MaxInt32)
		if n == 1 {
			g.limit = math.MaxInt32
		}
		t, err := g.gather(ctx, group, []rowSpan{{row, row + n}}, slotPartition, slotOffset,
			slotTimestamp, slotTimestampType, slotKey, slotValue, slotHeaderKey, slotHeaderValue)
		if errors.Is(err, errTooMuch) && n > 1 {
			n, g.used = max(n/4, 1), 0
			continue
		}
		if err == nil {
			w = &Window{g: g, t: t}
			err = w.fill()
		}
		if err != nil {
			g.release()
			return nil, err
		}
		return w, nil
	}
}

// Close gives the window's memory back.
func (w *Window) Close() {
	if w.g != nil {
		w.g.release()
	}
	*w = Window{}
}

// fill makes Rows of the columns.
func (w *Window) fill() error {
	starts, err := w.t.headerStarts()
	if err != nil {
		return err
	}
	number := func(s slot, i int) int64 {
		if v := w.t.columns[s]; v != nil && v.ints[i] != nullInt {
			return v.ints[i]
		}
		return -1
	}
	bytes := func(s slot, i int) []byte {
		if v := w.t.columns[s]; v != nil {
			return v.bytes(i)
		}
		return nil
	}
	w.Rows = make([]Row, w.t.rows)
	for i := range w.Rows {
		x := &w.Rows[i]
		x.Partition, x.Offset, x.Timestamp = number(slotPartition, i), number(slotOffset, i), record.NoTimestamp
		if v := w.t.columns[slotTimestamp]; v != nil {
			x.Timestamp = toMillis(v.ints[i], v.col.unit)
		}
		if number(slotTimestampType, i) == int64(record.LogAppendTime) {
			x.Type = record.LogAppendTime
		}
		x.Key = bytes(slotKey, i)
		x.Size = record.MaxRecordSize(x.Key, bytes(slotValue, i), record.Headers{})
		if starts != nil {
			for h := starts[i]; h < starts[i+1]; h++ {
				// Two lengths of up to five bytes each.
				x.Size += len(bytes(slotHeaderKey, int(h))) + len(bytes(slotHeaderValue, int(h))) + 10
			}
		}
	}
	return nil
}

// Batches makes record batches of the window's rows, each at the place that it is given;
// rows whose place has a negative partition are left out. The batches come by partition and
// in order of their offsets. A row that no record batch can hold is ErrUnsupported.
func (w *Window) Batches(places []Place) (batches []Batch, err error) {
	defer guard(&err)
	times := &vector{col: &column{unit: millis}, ints: make([]int64, len(places))}
	types := &vector{col: &column{}, ints: make([]int64, len(places))}
	order := make([]int, 0, len(places))
	for i, p := range places {
		if times.ints[i] = p.Timestamp; p.Timestamp == record.NoTimestamp {
			times.ints[i] = nullInt
		}
		types.ints[i] = int64(p.Type)
		if p.Partition >= 0 {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(places[a].Partition, places[b].Partition), cmp.Compare(places[a].Offset, places[b].Offset))
	})
	t := *w.t
	t.columns[slotTimestamp], t.columns[slotTimestampType] = times, types
	for len(order) > 0 {
		partition := places[order[0]].Partition
		var segments []segment
		for len(order) > 0 && places[order[0]].Partition == partition {
			i := order[0]
			if last := len(segments) - 1; last >= 0 && segments[last].at+int(segments[last].n) == i &&
				segments[last].first+segments[last].n == places[i].Offset {
				segments[last].n++
			} else {
				segments = append(segments, segment{run{partition: partition, first: places[i].Offset, n: 1}, i})
			}
			order = order[1:]
		}
		encoded, err := emitAll(map[int32]*table{0: &t}, segments)
		if err != nil {
			return nil, err
		}
		for _, b := range encoded {
			batches = append(batches, Batch{Partition: partition, BaseOffset: b.First, Data: b.Data})
		}
	}
	return batches, nil
}

// emitAll writes all rows of segments as record batches.
func emitAll(tables map[int32]*table, segments []segment) ([]Encoded, error) {
	e := emitters.Get().(*emitter)
	// Its buffer grows as need be: the tables hold other partitions' rows as well.
	e.limits, e.tables, e.out = Limits{MaxBytes: math.MaxInt, BatchBytes: defaultBatchBytes}, tables, nil
	// Nothing is read: the columns of a Window are whole.
	out, _, err := e.emit(context.Background(), segments)
	return out, err
}
