// Package rows turns Kafka record batches into the rows of a topic's table and
// back: Encode makes one Parquet file of many batches, a Reader makes record
// batches of any Parquet file with the table's columns, whoever wrote it.
//
// Neither way builds a value per record. Encode parses a batch straight into
// buffers that already hold the pages' encoding; a Reader decodes pages into
// flat columns and writes wire bytes from those. Both bound what hostile bytes
// can make them allocate, and neither panics on any of them.
//
// Rules of the file format are cited as [F], meaning apache/parquet-format.
package rows

import (
	"context"
	"errors"
	"fmt"

	"sluice/protocol/record"
)

// SchemaString is the Delta schema of a topic's table, as it stands in
// metaData.schemaString. The columns are those of Spark's Kafka source; the
// narrow ones come first, since engines collect statistics on leading columns.
const SchemaString = `{"type":"struct","fields":[` +
	`{"name":"topic","type":"string","nullable":true,"metadata":{}},` +
	`{"name":"partition","type":"integer","nullable":true,"metadata":{}},` +
	`{"name":"offset","type":"long","nullable":true,"metadata":{}},` +
	`{"name":"timestamp","type":"timestamp","nullable":true,"metadata":{}},` +
	`{"name":"timestampType","type":"integer","nullable":true,"metadata":{}},` +
	`{"name":"key","type":"binary","nullable":true,"metadata":{}},` +
	`{"name":"value","type":"binary","nullable":true,"metadata":{}},` +
	`{"name":"headers","type":{"type":"array","elementType":{"type":"struct","fields":[` +
	`{"name":"key","type":"string","nullable":true,"metadata":{}},` +
	`{"name":"value","type":"binary","nullable":true,"metadata":{}}]},` +
	`"containsNull":true},"nullable":true,"metadata":{}}]}`

var (
	// ErrCorrupt: bytes that are not what they claim to be, in a Parquet file
	// or in a record batch. Reading again does not help.
	ErrCorrupt = errors.New("rows: corrupt")
	// ErrUnsupported: a file that may be sound, but uses what this package does
	// not read (a codec, a type of column, a size beyond its bounds).
	ErrUnsupported = errors.New("rows: unsupported")
)

// Batch is a record batch that got its place in a partition.
type Batch struct {
	Partition int32
	// BaseOffset is the offset of the batch's first record. What Data says
	// about it does not count: producers leave it 0.
	BaseOffset int64
	// Data has passed record.Check, or was made by a Reader or record.Builder;
	// it may be compressed. Encode only reads it.
	Data record.Batch
	// Pages, if not nil, are its rows, packed, at this place: Encode takes them instead of
	// Data if their codec is the file's. Add does not look at them.
	Pages *Pages
}

// A BatchError says which of the batches given to Encode made it fail.
type BatchError struct {
	Index int
	Err   error
}

func (e *BatchError) Error() string { return fmt.Sprintf("batch %d: %v", e.Index, e.Err) }

// Unwrap returns the reason.
func (e *BatchError) Unwrap() error { return e.Err }

// Range is where a file holds rows of a partition. It is dense when Rows is
// Last-First+1; otherwise there are gaps between First and Last.
type Range struct {
	Partition   int32
	First, Last int64 // both inclusive
	Rows        int64
}

// Dense says that the range has no gaps.
func (r Range) Dense() bool { return r.Rows == r.Last-r.First+1 }

// File is one encoded Parquet file and what its add action says of it.
type File struct {
	// Body belongs to the Encoder and is valid until its next Encode.
	Body   []byte
	Rows   int64
	Ranges []Range // one per partition, in order of partitions
	// Stats are the Delta statistics (add.stats), a JSON document.
	Stats string
	// Tags are for add.tags: a speed-up, see ParseRanges. May be nil.
	Tags map[string]string
}

// Source reads n bytes from off of one Parquet file: a ranged GET. It returns
// exactly n bytes or an error, and may be called by several goroutines at once. The
// Reader does not write to what it returns. That may lie in the memory into, if this has room
// for it: once the Source has returned, and only then, the Reader uses into for other bytes.
type Source func(ctx context.Context, off, n int64, into []byte) ([]byte, error)

// Encoded is a record batch v2 made from rows: not compressed, with a correct
// CRC, no producer id and partition leader epoch -1 (the epoch is not covered
// by the CRC: whoever serves the batch may patch it).
type Encoded struct {
	First, Last  int64 // offsets of its first and last record
	Records      int
	MaxTimestamp int64 // ms, -1 if no record has one
	Data         record.Batch
}

// Limits bound what one Read returns.
type Limits struct {
	// MaxBytes is about how many bytes of batches to return: the last batch may
	// exceed it by one record, and one record always fits.
	MaxBytes int
	// BatchBytes is about how large one batch may get; 0 means 1 MiB (the
	// size that consumers fetch per partition by default).
	BatchBytes int
	// Before, unless 0, is the first offset not to return.
	Before int64
	// Buffer is where the batches are appended, if its capacity suffices.
	Buffer []byte
	// Make, unless nil, makes the memory for the batches otherwise: empty, with a capacity of
	// size, whatever is in it. The batches lie in it.
	Make func(size int) []byte
}
