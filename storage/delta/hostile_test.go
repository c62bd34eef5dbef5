package delta

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"sluice/storage/object/mem"
)

// allocated is how many bytes f takes from the heap, in all.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// hostileParquet is a file whose body is data and whose footer has that many row groups,
// each of rows rows, with one column of all of data.
func hostileParquet(data []byte, groups int, rows, total int64) []byte {
	zigzag := func(n int64) []byte { return binary.AppendUvarint(nil, uint64(n)<<1) }
	list := func(n int) []byte { return append([]byte{0xfc}, binary.AppendUvarint(nil, uint64(n))...) }
	out := append([]byte("PAR1"), data...)
	begin := len(out)
	out = append(out, 0x15, 2) // version
	out = append(out, 0x19)    // schema
	out = append(out, list(2)...)
	out = append(out, 0x48, 1, 'r', 0x15, 2, 0)          // a root of one child
	out = append(out, 0x15, 4, 0x25, 0, 0x18, 1, 'x', 0) // a required long
	out = append(append(out, 0x16), zigzag(total)...)    // num_rows
	out = append(append(out, 0x19), list(groups)...)
	for range groups {
		out = append(out, 0x19, 0x1c) // columns: one
		out = append(out, 0x26, 8)    // file_offset
		out = append(out, 0x1c, 0x15, 4, 0x19, 0x15, 0, 0x19, 0x18, 1, 'x', 0x15, 0)
		out = append(append(out, 0x16), zigzag(rows)...)
		out = append(append(out, 0x16), zigzag(int64(len(data)))...)
		out = append(append(out, 0x16), zigzag(int64(len(data)))...)
		out = append(append(out, 0x26), zigzag(4)...) // data_page_offset
		out = append(out, 0, 0)                       // of the metadata, of the chunk
		out = append(append(out, 0x16), zigzag(int64(len(data)))...)
		out = append(append(out, 0x16), zigzag(rows)...)
		out = append(out, 0)
	}
	out = append(out, 0)
	out = binary.LittleEndian.AppendUint32(out, uint32(len(out)-begin))
	return append(out, "PAR1"...)
}

// A footer may say the same rows and the same bytes in each of its row groups, so that
// the work would be the product of two sizes of the file.
func TestRowGroupsThatLieOnTopOfEachOtherAreNotRead(t *testing.T) {
	const groups, rows = 2000, 60_000
	for name, body := range map[string][]byte{
		"rows":  hostileParquet(nil, groups, rows, rows),
		"bytes": hostileParquet(make([]byte, 60_000), groups, 0, 0),
	} {
		t.Run(name, func(t *testing.T) {
			var err error
			took := allocated(func() { _, err = testDecode(1, body) })
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			// 2,000 x 60,000 x 24 bytes would be 2.9 GB.
			if took > 16<<20 {
				t.Errorf("%d bytes were taken for %d", took, len(body))
			}
			if name == "bytes" && !strings.Contains(err.Error(), "more bytes than the file has") {
				t.Error(err)
			}
		})
	}
}

// A structure of a footer takes a byte there and hundreds in memory; elements of a schema
// within each other take the square of their number.
func TestAFooterIsCountedBeforeItIsUnfolded(t *testing.T) {
	file := func(footer []byte) []byte {
		out := append([]byte("PAR1"), footer...)
		return append(binary.LittleEndian.AppendUint32(out, uint32(len(footer))), "PAR1"...)
	}
	list := func(field byte, n int, element ...byte) []byte {
		out := append([]byte{field<<4 | 9, 0xfc}, binary.AppendUvarint(nil, uint64(n))...)
		return append(append(out, bytes.Repeat(element, n)...), 0)
	}
	for name, footer := range map[string][]byte{
		"empty row groups": list(4, 3_000_000, 0),
		"a nested schema":  list(2, 200_000, 0x48, 1, 'x', 0x15, 2, 0),
	} {
		t.Run(name, func(t *testing.T) {
			var err error
			body := file(footer)
			took := allocated(func() { _, err = testDecode(1, body) })
			if !errors.Is(err, ErrTooLarge) {
				t.Fatal(err)
			}
			if took > 1<<20 {
				t.Errorf("%d bytes were taken", took)
			}
		})
	}
}

type bombRow struct {
	Path *string `parquet:"path,optional,dict"`
}

// bomb is a checkpoint of n adds with the same path of that length, as one dictionary entry.
func bomb(t testing.TB, n, length int) []byte {
	t.Helper()
	path := strings.Repeat("p", length)
	var out bytes.Buffer
	w := parquet.NewGenericWriter[struct {
		Add bombRow `parquet:"add"`
	}](&out, parquet.Compression(&parquet.Zstd))
	rows := make([]struct {
		Add bombRow `parquet:"add"`
	}, n)
	for i := range rows {
		rows[i].Add.Path = &path
	}
	if _, err := w.Write(rows); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestACheckpointUnfoldsToNoMoreThanATableMayTake(t *testing.T) {
	body := bomb(t, 400, 1<<20) // 400 MiB
	state := checkpointState{memory: NewMemory(0, 0), room: 32 << 20}
	var err error
	took := allocated(func() { err = state.read(t.Context(), NewSnapshot(), body) })
	if !errors.Is(err, ErrTooLarge) {
		t.Fatalf("%v of %d bytes", err, len(body))
	}
	if took > 128<<20 {
		t.Errorf("%d bytes were taken", took)
	}
}

// An entry larger than a table's share of memory is refused by its size, others are read
// one at a time.
func TestEntriesBeyondTheMemoryAreNotRead(t *testing.T) {
	store := mem.New()
	log := testLog(t, store, NewMemory(minMemory, 0))
	line := `{"add":{"path":"%d.parquet","partitionValues":{},"size":1,"modificationTime":1,"dataChange":true}}` + "\n"
	put := func(version int64, actions int) {
		var b strings.Builder
		for i := range actions {
			fmt.Fprintf(&b, line, version<<32|int64(i))
		}
		if _, err := store.Put(t.Context(), EntryKey(log.Table(), version), []byte(b.String())); err != nil {
			t.Fatal(err)
		}
	}
	put(1, 5000) // 500 kB, of 1 MiB
	snap, err := log.Open(t.Context(), nil)
	if err != nil || len(snap.Files) != 5000 {
		t.Fatal(err)
	}
	put(2, 20_000)
	var wrong error
	took := allocated(func() { _, wrong = log.Open(t.Context(), nil) })
	if !errors.Is(wrong, ErrTooLarge) || !errors.Is(wrong, ErrCorrupt) {
		t.Fatal(wrong)
	}
	if took > 24<<20 {
		t.Errorf("%d bytes were taken", took)
	}
	// Many that are allowed are together more than the table may take.
	for version := int64(2); version < 9; version++ {
		put(version, 5000)
	}
	if _, err := log.Open(t.Context(), nil); !errors.Is(err, ErrTooLarge) {
		t.Fatal(err)
	}
	if err := log.Follow(t.Context(), snap, nil); err != nil { // its owner measures
		t.Fatal(err)
	}
	if n := snap.memory(); n < 40_000*actionBytes {
		t.Errorf("a snapshot of 40,000 files takes %d bytes", n)
	}
}

func testLog(t *testing.T, store *mem.Store, memory *Memory) *Log {
	t.Helper()
	log := NewLog(store, "orders", Options{Memory: memory})
	entry := &Entry{
		Info:     &CommitInfo{Timestamp: time.Now().UnixMilli(), TxnID: "one"},
		Protocol: &Protocol{MinReaderVersion: 1, MinWriterVersion: 2},
		Metadata: &Metadata{ID: "5f0b8d20-0000-4000-8000-000000000000", SchemaString: `{"type":"struct","fields":[]}`},
	}
	if _, err := log.Create(t.Context(), entry); err != nil {
		t.Fatal(err)
	}
	return log
}
