package check

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// span is where a file holds rows of one partition.
type span struct {
	partition         int32
	first, last, rows int64
}

// bounds are the least and greatest value of a column, and how many are null.
type bounds struct {
	min, max int64
	any      bool
	nulls    int64
}

func (b *bounds) see(v int64) {
	if !b.any {
		b.min, b.max, b.any = v, v, true
	}
	b.min, b.max = min(b.min, v), max(b.max, v)
}

// facts are what a data file itself says.
type facts struct {
	rows int64
	ours bool // written by Sluice's encoder
	// spans are sorted by partition. They come from the rows, or in the quick form
	// from the footer, which may not tell: then placed is false.
	spans  []span
	placed bool
	// shuffled says that rows are not in the order of partition and offset, or that
	// one is there twice.
	shuffled bool
	unplaced int64 // rows without partition or offset, which consumers do not get
	// unread are the columns that the library cannot read, see mixedCodecs.
	unread []string

	// Bounds of the columns; timestamps in µs. Those that could not be told are absent.
	columns map[string]bounds
}

// readFacts reads a data file of a topic: all its rows, or its footer only.
func readFacts(file *parquet.File, quick bool) (*facts, error) {
	f := &facts{ours: strings.HasPrefix(file.Metadata().CreatedBy, "sluice"), columns: map[string]bounds{}}
	for _, group := range file.RowGroups() {
		f.rows += group.NumRows()
	}
	if f.rows != file.NumRows() {
		return nil, fmt.Errorf("%w: its row groups have %d rows, the footer says %d", errUnreadable, f.rows, file.NumRows())
	}
	if quick {
		f.readFooter(file)
		return f, nil
	}
	return f, f.readRows(file)
}

// mixedCodecs are the columns that have another codec in one row group than in the
// first. Parquet allows it; the library decompresses all by the first one's.
func mixedCodecs(file *parquet.File) map[int]bool {
	mixed := map[int]bool{}
	groups := file.Metadata().RowGroups
	for _, group := range groups {
		for i := range group.Columns {
			if i < len(groups[0].Columns) && group.Columns[i].MetaData.Codec != groups[0].Columns[i].MetaData.Codec {
				mixed[i] = true
			}
		}
	}
	return mixed
}

// leafOf finds a column by its dotted path; -1 if the file does not have it.
func leafOf(file *parquet.File, path string) int {
	return slices.IndexFunc(file.Schema().Columns(), func(p []string) bool { return strings.Join(p, ".") == path })
}

// readRows reads every value of every column.
func (f *facts) readRows(file *parquet.File) error {
	partition, offset := leafOf(file, "partition"), leafOf(file, "offset")
	var place, times, keys, values bounds
	var offsets bounds
	spans := map[int32]*span{}
	unit, timed := timeUnit(file)
	lastPartition, lastOffset := int64(-1), int64(-1)
	columns := file.Schema().Columns()
	mixed := mixedCodecs(file)
	for i := range mixed {
		f.unread = append(f.unread, strings.Join(columns[i], "."))
	}
	slices.Sort(f.unread)
	if mixed[partition] || mixed[offset] {
		f.readFooter(file)
		return nil
	}
	for _, group := range file.RowGroups() {
		// The places of the group's rows; -1 is null or illegal, which is not served.
		var partitions, positions []int64
		for i, chunk := range group.ColumnChunks() {
			if mixed[i] {
				continue
			}
			rows, path := int64(0), columns[i]
			err := eachValue(chunk, func(v parquet.Value) error {
				if v.RepetitionLevel() == 0 {
					rows++
				}
				switch {
				case i == partition || i == offset:
					column, b := &partitions, &place
					if i == offset {
						column, b = &positions, &offsets
					}
					if v.IsNull() {
						b.nulls++
						*column = append(*column, -1)
						return nil
					}
					n, ok := integer(v)
					if !ok {
						return fmt.Errorf("%w: column %s is of type %s", errUnreadable, path[0], v.Kind())
					}
					b.see(n)
					*column = append(*column, n)
				case path[0] == "timestamp" && len(path) == 1:
					if v.IsNull() {
						times.nulls++
					} else if n, ok := integer(v); ok && timed {
						times.see(unit(n))
					}
				case path[0] == "key" && len(path) == 1 && v.IsNull():
					keys.nulls++
				case path[0] == "value" && len(path) == 1 && v.IsNull():
					values.nulls++
				}
				return nil
			})
			if err != nil {
				return err
			}
			if rows != group.NumRows() {
				return fmt.Errorf("%w: column %s has %d rows in a row group of %d", errUnreadable, strings.Join(path, "."), rows, group.NumRows())
			}
		}
		if partition < 0 || offset < 0 {
			f.unplaced += group.NumRows()
			continue
		}
		for i, p := range partitions {
			o := positions[i]
			if p < 0 || o < 0 {
				f.unplaced++
				continue
			}
			if p < lastPartition || p == lastPartition && o <= lastOffset {
				f.shuffled = true
			}
			lastPartition, lastOffset = p, o
			s := spans[int32(p)]
			if s == nil {
				s = &span{int32(p), o, o, 0}
				spans[int32(p)] = s
			}
			s.first, s.last, s.rows = min(s.first, o), max(s.last, o), s.rows+1
		}
	}
	f.columns["partition"], f.columns["offset"] = place, offsets
	f.columns["key"], f.columns["value"] = keys, values
	for _, name := range f.unread {
		delete(f.columns, name)
	}
	if !slices.Contains(f.unread, "timestamp") && (timed || times.nulls == f.rows) {
		f.columns["timestamp"] = times
	}
	f.placed = true
	f.take(spans)
	return nil
}

func (f *facts) take(spans map[int32]*span) {
	for _, s := range spans {
		f.spans = append(f.spans, *s)
	}
	slices.SortFunc(f.spans, func(a, b span) int { return int(a.partition) - int(b.partition) })
}

// readFooter takes what the statistics of the row groups tell.
func (f *facts) readFooter(file *parquet.File) {
	spans := map[int32]*span{}
	unit, timed := timeUnit(file)
	all := map[string]*bounds{"partition": {}, "offset": {}, "timestamp": {}}
	f.placed = true
	for _, group := range file.Metadata().RowGroups {
		for name, b := range all {
			leaf := leafOf(file, name)
			if b == nil || leaf < 0 || leaf >= len(group.Columns) || name == "timestamp" && !timed {
				all[name] = nil
				continue
			}
			low, high, ok := chunkBounds(&group.Columns[leaf].MetaData)
			if !ok {
				all[name] = nil
				continue
			}
			if name == "timestamp" {
				low, high = unit(low), unit(high)
			}
			b.see(low)
			b.see(high)
		}
		partition, offset := leafOf(file, "partition"), leafOf(file, "offset")
		if partition < 0 || offset < 0 {
			f.placed = false
			continue
		}
		p, p2, ok1 := chunkBounds(&group.Columns[partition].MetaData)
		first, last, ok2 := chunkBounds(&group.Columns[offset].MetaData)
		if !ok1 || !ok2 || p != p2 || p < 0 || first < 0 {
			f.placed = false // several partitions share the group
			continue
		}
		s := spans[int32(p)]
		if s == nil {
			s = &span{int32(p), first, last, 0}
			spans[int32(p)] = s
		}
		s.first, s.last, s.rows = min(s.first, first), max(s.last, last), s.rows+group.NumRows
	}
	for name, b := range all {
		if b != nil && b.any {
			b.nulls = -1 // not known
			f.columns[name] = *b
		}
	}
	if f.placed {
		f.take(spans)
	}
}

// chunkBounds are the statistics of a column chunk of whole numbers.
func chunkBounds(m *format.ColumnMetaData) (low, high int64, ok bool) {
	number := func(b []byte) (int64, bool) {
		switch len(b) {
		case 4:
			return int64(int32(binary.LittleEndian.Uint32(b))), true
		case 8:
			return int64(binary.LittleEndian.Uint64(b)), true
		}
		return 0, false
	}
	low, ok1 := number(m.Statistics.MinValue)
	high, ok2 := number(m.Statistics.MaxValue)
	return low, high, ok1 && ok2
}

// timeUnit turns values of the timestamp column into µs; ok is false if the column
// is missing or not of a kind whose values are compared here (INT96).
func timeUnit(file *parquet.File) (unit func(int64) int64, ok bool) {
	leaf := file.Root().Column("timestamp")
	if leaf == nil || !leaf.Leaf() || leaf.Type().Kind() != parquet.Int64 || leaf.Type().LogicalType() == nil {
		return nil, false
	}
	t, ok := leaf.Type().LogicalType().Value.(*format.TimestampType)
	if !ok {
		return nil, false
	}
	switch t.Unit.Value.(type) {
	case *format.MilliSeconds:
		return func(n int64) int64 { return n * 1000 }, true
	case *format.MicroSeconds:
		return func(n int64) int64 { return n }, true
	case *format.NanoSeconds:
		return func(n int64) int64 { return floorDiv(n, 1000) }, true
	}
	return nil, false
}

func floorDiv(n, by int64) int64 {
	q := n / by
	if n%by < 0 {
		q--
	}
	return q
}

// eachValue calls f for every value of a column chunk.
func eachValue(chunk parquet.ColumnChunk, f func(v parquet.Value) error) error {
	pages := chunk.Pages()
	defer pages.Close()
	buffer := make([]parquet.Value, 1024)
	for {
		page, err := pages.ReadPage()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		values := page.Values()
		for {
			n, err := values.ReadValues(buffer)
			for _, v := range buffer[:n] {
				if err := f(v); err != nil {
					parquet.Release(page)
					return err
				}
			}
			if errors.Is(err, io.EOF) || err == nil && n == 0 {
				break
			}
			if err != nil {
				parquet.Release(page)
				return err
			}
		}
		parquet.Release(page)
	}
}
