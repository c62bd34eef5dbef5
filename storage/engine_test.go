package storage

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/google/uuid"
	"github.com/parquet-go/parquet-go"

	"sluice/storage/delta"
	"sluice/storage/object"
)

// engine is another writer of a topic's table, which writes as engines do: files at the
// table's root, without tags and statistics, and rows as it likes.
type engine struct {
	t     *testing.T
	store object.Store
	name  string
	log   *delta.Log
}

func newEngine(t *testing.T, store object.Store, topic string) *engine {
	return &engine{t, store, topic, delta.NewLog(store, topic, delta.Options{})}
}

// tableRow is a row as engines see it.
type tableRow struct {
	Topic         *string       `parquet:"topic,optional"`
	Partition     *int32        `parquet:"partition,optional"`
	Offset        *int64        `parquet:"offset,optional"`
	Timestamp     *int64        `parquet:"timestamp,optional,timestamp(microsecond:utc)"`
	TimestampType *int32        `parquet:"timestampType,optional"`
	Key           []byte        `parquet:"key,optional"`
	Value         []byte        `parquet:"value,optional"`
	Headers       []tableHeader `parquet:"headers,optional,list"`
}

type tableHeader struct {
	Key   *string `parquet:"key,optional"`
	Value []byte  `parquet:"value,optional"`
}

// at is a row that names its offset.
func at(partition int32, offset int64, value string) tableRow {
	return tableRow{Partition: &partition, Offset: &offset, Value: []byte(value)}
}

// bare is a row that says nothing but key and value.
func bare(key, value string) tableRow { return tableRow{Key: []byte(key), Value: []byte(value)} }

func (e *engine) snapshot() *delta.Snapshot {
	e.t.Helper()
	snap, err := e.log.Open(e.t.Context(), nil)
	if err != nil {
		e.t.Fatal(err)
	}
	return snap
}

// read answers the rows of a data file.
func (e *engine) read(path string) []tableRow {
	e.t.Helper()
	key, err := e.log.DataKey(path)
	if err != nil {
		e.t.Fatal(err)
	}
	o, err := e.store.Get(e.t.Context(), key, object.Range{})
	if err != nil {
		e.t.Fatal(err)
	}
	rows, err := parquet.Read[tableRow](bytes.NewReader(o.Body), int64(len(o.Body)))
	if err != nil {
		e.t.Fatal(err)
	}
	return rows
}

// rows are all rows of the table.
func (e *engine) rows() (all []tableRow) {
	e.t.Helper()
	for _, a := range e.snapshot().Files {
		all = append(all, e.read(a.Path)...)
	}
	return all
}

// file puts a data file.
func (e *engine) file(rows ...tableRow) delta.Add {
	e.t.Helper()
	var body bytes.Buffer
	if err := parquet.Write(&body, rows); err != nil {
		e.t.Fatal(err)
	}
	path := "part-" + uuid.NewString() + ".parquet"
	if _, err := e.store.Put(e.t.Context(), e.name+"/"+path, body.Bytes()); err != nil {
		e.t.Fatal(err)
	}
	return delta.Add{Path: path, Size: int64(body.Len()), DataChange: true}
}

// commit puts an entry behind the newest one, again if another comes first.
func (e *engine) commit(operation string, change func(snap *delta.Snapshot, entry *delta.Entry)) int64 {
	e.t.Helper()
	for {
		snap := e.snapshot()
		entry := &delta.Entry{
			Version: snap.Version + 1,
			Info:    &delta.CommitInfo{Timestamp: snap.NextTimestamp(snap.Proved), Operation: operation, TxnID: uuid.NewString()},
		}
		change(snap, entry)
		for i := range entry.Adds {
			entry.Adds[i].ModificationTime = entry.Info.Timestamp
		}
		_, foreign, err := e.log.Commit(e.t.Context(), entry, snap.Proved)
		if err != nil {
			e.t.Fatal(err)
		}
		if foreign == nil {
			return entry.Version
		}
	}
}

// insert adds rows, as INSERT does.
func (e *engine) insert(rows ...tableRow) (version int64) {
	e.t.Helper()
	add := e.file(rows...)
	return e.commit("WRITE", func(_ *delta.Snapshot, entry *delta.Entry) { entry.Adds = []delta.Add{add} })
}

// rewrite replaces all files by one with what change makes of their rows, and answers
// the paths of those that it replaced.
func (e *engine) rewrite(operation string, change func([]tableRow) []tableRow) (old []string) {
	e.t.Helper()
	e.commit(operation, func(snap *delta.Snapshot, entry *delta.Entry) {
		var rows []tableRow
		entry.Removes = removeAll(snap)
		old = old[:0]
		for _, r := range entry.Removes {
			rows = append(rows, e.read(r.Path)...)
			old = append(old, r.Path)
		}
		if rows = change(rows); len(rows) > 0 {
			entry.Adds = []delta.Add{e.file(rows...)}
		}
		if operation == "OPTIMIZE" {
			for i := range entry.Removes {
				entry.Removes[i].DataChange = false
			}
			for i := range entry.Adds {
				entry.Adds[i].DataChange = false
			}
		}
	})
	return old
}

// delete deletes the records of partition 0 with such offsets.
func (e *engine) delete(which func(offset int64) bool) {
	e.t.Helper()
	e.rewrite("DELETE", func(rows []tableRow) []tableRow {
		return slices.DeleteFunc(rows, func(r tableRow) bool { return r.Offset != nil && which(*r.Offset) })
	})
}

// optimize rewrites the table as one file, the newest rows first.
func (e *engine) optimize() (old []string) {
	e.t.Helper()
	return e.rewrite("OPTIMIZE", func(rows []tableRow) []tableRow { slices.Reverse(rows); return rows })
}

// optimizeLater reads the table now and rewrites it when it is told to, whatever has
// happened since: delta-rs 1.6 does that.
func (e *engine) optimizeLater() (commit func()) {
	e.t.Helper()
	var rows []tableRow
	removes := removeAll(e.snapshot())
	for i := range removes {
		removes[i].DataChange = false
		rows = append(rows, e.read(removes[i].Path)...)
	}
	add := e.file(rows...)
	add.DataChange = false
	return func() {
		e.t.Helper()
		e.commit("OPTIMIZE", func(_ *delta.Snapshot, entry *delta.Entry) {
			entry.Removes, entry.Adds = removes, []delta.Add{add}
		})
	}
}

// vacuum deletes files that have left the table.
func (e *engine) vacuum(paths []string) {
	e.t.Helper()
	for _, path := range paths {
		if _, err := e.store.Delete(e.t.Context(), e.name+"/"+path); err != nil {
			e.t.Fatal(err)
		}
	}
}

// open makes a topic whose table engines may write.
func (r *root) open(name string, partitions int32, config ...string) *Topic {
	r.t.Helper()
	r.gaps = true
	all := map[string]string{"sluice.table.writers": "any"}
	for i := 0; i < len(config); i += 2 {
		all[config[i]] = config[i+1]
	}
	if _, err := r.Create(r.t.Context(), name, partitions, all, false); err != nil {
		r.t.Fatal(err)
	}
	return r.topic(name)
}

// look has a topic take up what other writers have committed.
func look(t *testing.T, topic *Topic) {
	t.Helper()
	if err := topic.committer.Look(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// numbers are the values that the tests below append: their own offsets.
func numbers(t *testing.T, topic *Topic, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		if base := mustAppend(t, topic, 0, fmt.Sprint(i)); base != int64(i) {
			t.Fatalf("value %d went to offset %d", i, base)
		}
	}
}
