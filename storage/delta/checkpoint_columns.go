package delta

import (
	"errors"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go"
)

// checkpointGroupReader reads columns of one row group by the names of their
// fields, and maps and lists by their shape: writers disagree on the names
// within (key_value or map, element or item or array).
//
// The first error stays in err; every method does nothing after it. A column
// that is not there has no values.
type checkpointGroupReader struct {
	root   *parquet.Column
	chunks []parquet.ColumnChunk
	rows   int
	budget *checkpointBudget
	err    error
}

func (r *checkpointGroupReader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

func (r *checkpointGroupReader) corrupt(column *parquet.Column, what string) {
	r.fail(fmt.Errorf("%w: column %.200q %s", ErrCorrupt, column.Path(), what))
}

// column finds a column by the names from the root, nil if there is none.
func (r *checkpointGroupReader) column(path ...string) *parquet.Column {
	column := r.root
	for _, name := range path {
		if column = column.Column(name); column == nil {
			return nil
		}
	}
	return column
}

// texts calls each for the rows in which a string column is not null.
func (r *checkpointGroupReader) texts(each func(row int, text string), path ...string) {
	column := r.column(path...)
	r.values(column, column, parquet.ByteArray, func(row int, v parquet.Value) {
		if !v.IsNull() {
			each(row, r.text(v))
		}
	})
}

// longs calls each for the rows in which a number is not null.
func (r *checkpointGroupReader) longs(each func(row int, n int64), path ...string) {
	column := r.column(path...)
	if column != nil && column.Leaf() && column.Type().Kind() == parquet.Int32 {
		r.values(column, column, parquet.Int32, func(row int, v parquet.Value) {
			if !v.IsNull() {
				each(row, int64(v.Int32()))
			}
		})
		return
	}
	r.values(column, column, parquet.Int64, func(row int, v parquet.Value) {
		if !v.IsNull() {
			each(row, v.Int64())
		}
	})
}

func (r *checkpointGroupReader) bools(each func(row int, b bool), path ...string) {
	column := r.column(path...)
	r.values(column, column, parquet.Boolean, func(row int, v parquet.Value) {
		if !v.IsNull() {
			each(row, v.Boolean())
		}
	})
}

// lists calls each for every string of a list, in order.
func (r *checkpointGroupReader) lists(each func(row int, text string), path ...string) {
	leaf := r.column(path...)
	for leaf != nil && !leaf.Leaf() {
		if children := leaf.Columns(); len(children) == 1 {
			leaf = children[0]
		} else {
			r.corrupt(leaf, "is no list of strings")
			return
		}
	}
	if leaf == nil {
		return
	}
	if leaf.MaxRepetitionLevel() != 1 {
		r.corrupt(leaf, "is no list of strings")
		return
	}
	r.values(leaf, nil, parquet.ByteArray, func(row int, v parquet.Value) {
		if !v.IsNull() {
			r.takes(pairBytes)
			each(row, r.text(v))
		}
	})
}

// maps calls each for every entry of a map of strings. A null value is "", which
// for partition values means the same [P Partition Value Serialization].
func (r *checkpointGroupReader) maps(each func(row int, key, value string), path ...string) {
	column := r.column(path...)
	if column == nil {
		return
	}
	var pairs *parquet.Column // the repeated group of key and value
	if children := column.Columns(); len(children) == 1 && len(children[0].Columns()) == 2 {
		pairs = children[0]
	}
	if pairs == nil || pairs.MaxRepetitionLevel() != 1 {
		r.corrupt(column, "is no map of strings")
		return
	}
	type pair struct {
		row int
		key string
	}
	var keys []pair
	known := make(map[string]string) // the same few keys in every row
	r.values(pairs.Columns()[0], nil, parquet.ByteArray, func(row int, v parquet.Value) {
		if v.DefinitionLevel() < pairs.MaxDefinitionLevel() {
			return // no map, or an empty one
		}
		key, ok := known[string(bytesOf(v))]
		if !ok {
			key = r.text(v)
			known[key] = key
		}
		keys = append(keys, pair{row, key})
	})
	next := 0
	r.values(pairs.Columns()[1], nil, parquet.ByteArray, func(row int, v parquet.Value) {
		if v.DefinitionLevel() < pairs.MaxDefinitionLevel() {
			return
		}
		if next == len(keys) || keys[next].row != row {
			r.corrupt(column, "has keys and values that do not match")
			return
		}
		r.takes(pairBytes)
		each(row, keys[next].key, r.text(v))
		next++
	})
	if r.err == nil && next != len(keys) {
		r.corrupt(column, "has keys without values")
	}
}

func bytesOf(v parquet.Value) []byte {
	if v.IsNull() {
		return nil
	}
	return v.ByteArray()
}

// text copies a string out of its page.
func (r *checkpointGroupReader) text(v parquet.Value) string {
	b := bytesOf(v)
	if !r.takes(int64(len(b))) {
		return ""
	}
	return string(b)
}

// takes counts memory that is kept, and reports whether there is room for it.
func (r *checkpointGroupReader) takes(n int64) bool {
	if r.budget.bytes -= n; r.budget.bytes < 0 {
		r.fail(unfolds("bytes"))
		return false
	}
	if r.budget.kept += n; r.budget.kept >= smallBytes {
		err := r.budget.room.grow(r.budget.kept)
		r.budget.kept = 0
		if err != nil {
			r.fail(err)
			return false
		}
	}
	return true
}

// values reads a whole column of the row group, nulls included. A column that is
// flat (not nil) has one value per row.
func (r *checkpointGroupReader) values(column, flat *parquet.Column, kind parquet.Kind, each func(row int, v parquet.Value)) {
	if r.err != nil || column == nil {
		return
	}
	if !column.Leaf() || column.Type().Kind() != kind {
		r.corrupt(column, "has another type than "+kind.String())
		return
	}
	if flat != nil && column.MaxRepetitionLevel() != 0 {
		r.corrupt(column, "is repeated")
		return
	}
	if column.Index() < 0 || column.Index() >= len(r.chunks) {
		r.corrupt(column, "has no data")
		return
	}
	pages := r.chunks[column.Index()].Pages()
	defer func() { _ = pages.Close() }()
	row := -1
	buffer := make([]parquet.Value, 512)
	for r.err == nil {
		page, err := pages.ReadPage()
		if err == io.EOF {
			break
		}
		if err != nil {
			r.fail(fmt.Errorf("%w: column %.200q: %w", ErrCorrupt, column.Path(), err))
			return
		}
		row = r.page(column, page, buffer, row, each)
		parquet.Release(page)
	}
	if r.err == nil && row != r.rows-1 {
		r.corrupt(column, "ends early")
	}
}

// page reads one page; row is that of the value before. It returns that of the last value.
func (r *checkpointGroupReader) page(column *parquet.Column, page parquet.Page, buffer []parquet.Value, row int, each func(int, parquet.Value)) int {
	values := page.Values()
	for r.err == nil {
		n, err := values.ReadValues(buffer)
		if r.budget.values -= int64(n); r.budget.values < 0 {
			r.fail(unfolds("values"))
		}
		for _, v := range buffer[:n] {
			if v.RepetitionLevel() == 0 {
				row++
			}
			if row < 0 || row >= r.rows {
				r.corrupt(column, "has more values than rows")
			}
			if r.err != nil {
				return row
			}
			each(row, v)
		}
		if errors.Is(err, io.EOF) || err == nil && n == 0 {
			return row
		}
		if err != nil {
			r.fail(fmt.Errorf("%w: column %.200q: %w", ErrCorrupt, column.Path(), err))
		}
	}
	return row
}
