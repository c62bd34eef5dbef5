package check

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/parquet-go/parquet-go"

	"sluice/storage/object"
)

// Parquet by a library for general use, so that what our own encoder and decoder
// agree upon has a second opinion. Such a library makes room for what a footer
// claims and may panic over nonsense: sizes are looked at first, and a panic is an
// error. This is an operator's tool, not a server.

// errUnreadable says that an object is no Parquet file of the expected kind.
var errUnreadable = errors.New("cannot be read")

const (
	// maxFooter bounds the footer of a file.
	maxFooter = 64 << 20
	// wholeFile is up to what size a file is read in one request.
	wholeFile = 32 << 20
	// blockBytes is how much is read at a time of larger ones.
	blockBytes = 4 << 20
)

// objectReader reads an object in blocks, of which it keeps the newest one. It is
// used by one goroutine.
type objectReader struct {
	ctx   context.Context
	store object.Store
	key   string
	size  int64
	at    int64
	block []byte
	err   error // of the store, which the Parquet library may wrap in its own
}

// ReadAt reads len(p) bytes from off on, or as many as there are.
func (r *objectReader) ReadAt(p []byte, off int64) (n int, err error) {
	for n < len(p) {
		if off >= r.size {
			return n, io.EOF
		}
		if off < r.at || off >= r.at+int64(len(r.block)) {
			o, err := r.store.Get(r.ctx, r.key, object.Range{Offset: off, Length: max(blockBytes, int64(len(p)-n))})
			if err == nil && len(o.Body) == 0 {
				err = fmt.Errorf("%w: it ends at %d of %d bytes", errUnreadable, off, r.size)
			}
			if err != nil {
				r.err = err
				return n, err
			}
			r.at, r.block = off, o.Body
		}
		copied := copy(p[n:], r.block[off-r.at:])
		n, off = n+copied, off+int64(copied)
	}
	return n, nil
}

// withParquet opens an object as a Parquet file for use. Errors of the store are
// returned as they are, all others are errUnreadable. quick says that only the
// footer will be read.
func withParquet(ctx context.Context, store object.Store, info object.Info, quick bool, use func(*parquet.File) error) (err error) {
	r := &objectReader{ctx: ctx, store: store, key: info.Key, size: info.Size}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the Parquet library fails: %v", p)
		}
		switch {
		case r.err != nil:
			err = r.err
		case err != nil && !errors.Is(err, errUnreadable) && ctx.Err() == nil:
			err = fmt.Errorf("%w: %w", errUnreadable, err)
		}
	}()
	const tail = 64 << 10
	switch {
	case quick && info.Size > tail: // the end first: that is where the footer is
		if err := r.load(info.Size-tail, tail); err != nil {
			return err
		}
	case info.Size <= wholeFile:
		if err := r.load(0, info.Size); err != nil {
			return err
		}
	}
	end := make([]byte, 8)
	if info.Size < 12 {
		return fmt.Errorf("%w: it has %d bytes", errUnreadable, info.Size)
	}
	if _, err := r.ReadAt(end, info.Size-8); err != nil {
		return err
	}
	footer := int64(binary.LittleEndian.Uint32(end))
	if !bytes.Equal(end[4:], []byte("PAR1")) || footer > min(maxFooter, info.Size-12) {
		return fmt.Errorf("%w: no Parquet footer", errUnreadable)
	}
	file, err := parquet.OpenFile(r, info.Size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return err
	}
	return use(file)
}

func (r *objectReader) load(from, length int64) error {
	o, err := r.store.Get(r.ctx, r.key, object.Range{Offset: from, Length: length})
	if err != nil {
		r.err = err
		return err
	}
	r.at, r.block = from, o.Body
	return nil
}

// document is one row of a Parquet file by its leaf columns: the values of each,
// none for a column that the file does not have.
type document struct {
	columns map[string]int // dotted path
	values  [][]parquet.Value
}

// eachDocument calls f for every row, which is valid during the call.
func eachDocument(file *parquet.File, f func(d *document) error) error {
	d := &document{columns: map[string]int{}}
	for i, path := range file.Schema().Columns() {
		d.columns[strings.Join(path, ".")] = i
	}
	rows := make([]parquet.Row, 64)
	for _, group := range file.RowGroups() {
		reader := group.Rows()
		for {
			n, err := reader.ReadRows(rows)
			for _, row := range rows[:n] {
				d.values = make([][]parquet.Value, len(d.columns))
				row.Range(func(column int, values []parquet.Value) bool {
					d.values[column] = values
					return true
				})
				if err := f(d); err != nil {
					reader.Close()
					return err
				}
			}
			if err == io.EOF {
				break
			}
			if err != nil {
				reader.Close()
				return err
			}
			if n == 0 {
				reader.Close()
				return io.ErrUnexpectedEOF
			}
		}
		if err := reader.Close(); err != nil {
			return err
		}
	}
	return nil
}

// value is the value of a column that is not repeated; ok is false for null.
func (d *document) value(path string) (v parquet.Value, ok bool) {
	column, there := d.columns[path]
	if !there || len(d.values[column]) == 0 || d.values[column][0].IsNull() {
		return v, false
	}
	return d.values[column][0], true
}

func (d *document) text(path string) string {
	v, ok := d.value(path)
	if !ok || v.Kind() != parquet.ByteArray {
		return ""
	}
	return string(v.ByteArray())
}

func (d *document) number(path string) int64 {
	v, ok := d.value(path)
	if !ok {
		return 0
	}
	n, _ := integer(v)
	return n
}

// integer is the value of a column of whole numbers.
func integer(v parquet.Value) (n int64, ok bool) {
	switch v.Kind() {
	case parquet.Int32:
		return int64(v.Int32()), true
	case parquet.Int64:
		return v.Int64(), true
	}
	return 0, false
}

// list are the elements of a list of strings, whatever its levels are called. nil
// if the list is null, as far as that can be told from an empty one.
func (d *document) list(path string) (all []string) {
	for name, column := range d.columns {
		if strings.HasPrefix(name, path+".") {
			for _, v := range d.values[column] {
				if !v.IsNull() {
					all = append(all, string(v.ByteArray()))
				}
			}
		}
	}
	return all
}

// pairs are the entries of a map of strings.
func (d *document) pairs(path string) map[string]string {
	var keys, values []parquet.Value
	for name, column := range d.columns {
		switch rest, ok := strings.CutPrefix(name, path+"."); {
		case !ok:
		case strings.HasSuffix(rest, "key"):
			keys = d.values[column]
		case strings.HasSuffix(rest, "value"):
			values = d.values[column]
		}
	}
	all := map[string]string{}
	for i, key := range keys {
		if !key.IsNull() && i < len(values) {
			all[string(key.ByteArray())] = string(bytesOf(values[i]))
		}
	}
	return all
}

func bytesOf(v parquet.Value) []byte {
	if v.IsNull() {
		return nil
	}
	return v.ByteArray()
}

// createdBySluice tells whether a file names Sluice as its writer.
func createdBySluice(ours *bool) func(*parquet.File) error {
	return func(file *parquet.File) error {
		*ours = strings.HasPrefix(file.Metadata().CreatedBy, "sluice")
		return nil
	}
}
