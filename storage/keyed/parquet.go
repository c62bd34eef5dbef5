package keyed

import (
	"bytes"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go"

	"sluice/storage/delta"
)

// encode writes rows as a Parquet file that every Delta engine reads: data pages
// of version 1 (parquet-go's default is 2), snappy.
func encode[R any](rows []R) ([]byte, error) {
	var out bytes.Buffer
	w := parquet.NewGenericWriter[R](&out, parquet.DataPageVersion(1), parquet.Compression(&parquet.Snappy))
	if _, err := w.Write(rows); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// decode reads a file's rows, which take up to size bytes, limit at most. Bytes that are
// not such a file are an error, also where the library panics over them.
func decode[R any](body []byte, limit int64) (rows []R, size int64, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: malformed parquet file: %v", delta.ErrCorrupt, p)
		}
	}()
	file, size, err := delta.OpenRows(body, limit)
	if err != nil {
		return nil, 0, err
	}
	r := parquet.NewGenericReader[R](file)
	defer r.Close()
	chunk := make([]R, 256)
	for {
		clear(chunk)
		n, err := r.Read(chunk)
		rows = append(rows, chunk[:n]...)
		if err == io.EOF {
			return rows, size, nil
		}
		if err != nil {
			return nil, 0, err
		}
		if n == 0 {
			return nil, 0, io.ErrUnexpectedEOF
		}
	}
}
