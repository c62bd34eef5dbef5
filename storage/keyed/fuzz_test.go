package keyed

import (
	"bytes"
	"testing"

	"github.com/parquet-go/parquet-go"
)

type fuzzRow struct {
	Key   string  `parquet:"key"`
	Value *string `parquet:"value,optional"`
	N     int64   `parquet:"n"`
}

// FuzzDecode: files in the bucket may be anybody's. What is read is written and read again.
func FuzzDecode(f *testing.F) {
	text := "v"
	body, err := encode([]fuzzRow{{"a", &text, 1}, {"b", nil, -1}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	var zipped bytes.Buffer
	w := parquet.NewGenericWriter[fuzzRow](&zipped, parquet.Compression(&parquet.Gzip))
	if _, err := w.Write([]fuzzRow{{"a", &text, 1}}); err != nil {
		f.Fatal(err)
	}
	if err := w.Close(); err != nil {
		f.Fatal(err)
	}
	f.Add(zipped.Bytes())
	f.Add([]byte("PAR1PAR1"))
	f.Fuzz(func(t *testing.T, data []byte) {
		rows, err := decode[fuzzRow](data)
		if err != nil {
			return
		}
		if len(rows) > len(data) {
			t.Fatalf("%d rows in %d bytes", len(rows), len(data))
		}
		if _, err := encode(rows); err != nil {
			t.Fatal(err)
		}
	})
}
