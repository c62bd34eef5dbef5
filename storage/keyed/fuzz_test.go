package keyed

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"sluice/storage/delta"
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
		rows, _, err := decode[fuzzRow](data, 64<<20)
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

type bombRow struct {
	Key   string  `parquet:"key,dict"`
	Value *string `parquet:"value,optional"`
	N     int64   `parquet:"n"`
}

// A value that stands in a dictionary once is copied for each row that names it.
func TestADictionaryUnfoldsToNoMoreThanMemoryAllows(t *testing.T) {
	rows := make([]bombRow, 200)
	for i := range rows {
		rows[i].Key = strings.Repeat("k", 1<<20)
	}
	var out bytes.Buffer
	w := parquet.NewGenericWriter[bombRow](&out, parquet.Compression(&parquet.Snappy))
	if _, err := w.Write(rows); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if out.Len() > 16<<20 {
		t.Fatalf("no bomb: %d bytes", out.Len())
	}
	if _, _, err := decode[fuzzRow](out.Bytes(), 32<<20); !errors.Is(err, delta.ErrTooLarge) {
		t.Fatal(err)
	}
	read, size, err := decode[fuzzRow](out.Bytes(), 1<<30)
	if err != nil || len(read) != len(rows) || size < 200<<20 {
		t.Fatal(len(read), size, err)
	}
}
