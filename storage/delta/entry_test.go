package delta

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestAnEntryIsWrittenByteForByte(t *testing.T) {
	read := int64(6)
	for _, test := range []struct {
		name  string
		entry *Entry
		want  string
	}{
		{"the first one", &Entry{
			Info:     &CommitInfo{Timestamp: 1795331182457, Operation: "CREATE TABLE", IsBlindAppend: true, EngineInfo: "sluice/1", TxnID: "9c0e"},
			Protocol: &Protocol{MinReaderVersion: 1, MinWriterVersion: 7, WriterFeatures: []string{"appendOnly", "sluice"}},
			Metadata: &Metadata{ID: "5f0c", SchemaString: `{"type":"struct","fields":[]}`},
		}, `{"commitInfo":{"timestamp":1795331182457,"operation":"CREATE TABLE","operationParameters":{},"isBlindAppend":true,"engineInfo":"sluice/1","txnId":"9c0e"}}
{"protocol":{"minReaderVersion":1,"minWriterVersion":7,"writerFeatures":["appendOnly","sluice"]}}
{"metaData":{"id":"5f0c","format":{"provider":"parquet","options":{}},"schemaString":"{\"type\":\"struct\",\"fields\":[]}","partitionColumns":[],"configuration":{}}}
`},
		{"an open table's protocol has no feature list", &Entry{
			Version: 3, Protocol: &Protocol{MinReaderVersion: 1, MinWriterVersion: 2},
		}, `{"protocol":{"minReaderVersion":1,"minWriterVersion":2}}
`},
		{"a protocol of features has a list even if empty", &Entry{
			Version: 3, Protocol: &Protocol{MinReaderVersion: 1, MinWriterVersion: 7},
		}, `{"protocol":{"minReaderVersion":1,"minWriterVersion":7,"writerFeatures":[]}}
`},
		{"an append", &Entry{
			Version: 7,
			Info: &CommitInfo{
				Timestamp: 5, Operation: "WRITE", OperationParameters: map[string]string{"mode": "Append", "by": "<&>"}, IsBlindAppend: true,
				ReadVersion: &read, TxnID: "b1f2", Sluice: json.RawMessage(`{"p": [[1, 2]]}`),
			},
			Txns: []Txn{{AppID: "a", Version: 9, LastUpdated: 5}, {AppID: "b"}},
			Adds: []Add{
				{Path: "data/x.parquet", Size: 1769, ModificationTime: 4, DataChange: true, Stats: `{"numRecords":5}`, Tags: map[string]string{"k": "v"}},
				{Path: "data/y.parquet"},
			},
		}, `{"commitInfo":{"timestamp":5,"operation":"WRITE","operationParameters":{"by":"<&>","mode":"Append"},"isBlindAppend":true,"readVersion":6,"txnId":"b1f2","sluice":{"p":[[1,2]]}}}
{"txn":{"appId":"a","version":9,"lastUpdated":5}}
{"txn":{"appId":"b","version":0}}
{"add":{"path":"data/x.parquet","partitionValues":{},"size":1769,"modificationTime":4,"dataChange":true,"stats":"{\"numRecords\":5}","tags":{"k":"v"}}}
{"add":{"path":"data/y.parquet","partitionValues":{},"size":0,"modificationTime":0,"dataChange":false}}
`},
		{"a compaction", &Entry{
			Version: 8,
			Removes: []Remove{{Path: "data/x.parquet", DeletionTimestamp: 6, ExtendedFileMetadata: true, Size: 1769}},
			Adds:    []Add{{Path: "data/z.parquet", Size: 9}},
		}, `{"remove":{"path":"data/x.parquet","deletionTimestamp":6,"dataChange":false,"extendedFileMetadata":true,"partitionValues":{},"size":1769}}
{"add":{"path":"data/z.parquet","partitionValues":{},"size":9,"modificationTime":0,"dataChange":false}}
`},
	} {
		got, err := test.entry.Marshal()
		if err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		if string(got) != test.want {
			t.Errorf("%s\ngot  %s\nwant %s", test.name, got, test.want)
		}
		back, err := ParseEntry(test.entry.Version, got)
		if err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		again, err := back.Marshal()
		if err != nil || string(again) != test.want {
			t.Errorf("%s: another entry comes back: %v\n%s", test.name, err, again)
		}
	}
}

func TestAnEntryThatTheProtocolForbidsIsNotWritten(t *testing.T) {
	for name, e := range map[string]*Entry{
		"negative version":         {Version: -1},
		"version 0 without tables": {Version: 0},
		"nothing":                  {Version: 1},
		"two txns of one app":      {Version: 1, Txns: []Txn{{AppID: "a"}, {AppID: "a"}}},
		"txn without app":          {Version: 1, Txns: []Txn{{}}},
		"add without path":         {Version: 1, Adds: []Add{{}}},
		"the same file twice":      {Version: 1, Adds: []Add{{Path: "a b"}, {Path: "a%20b"}}},
		"file in and out":          {Version: 1, Adds: []Add{{Path: "a"}}, Removes: []Remove{{Path: "a"}}},
		"a note that is no JSON":   {Version: 1, Info: &CommitInfo{Sluice: json.RawMessage(`{`)}},
	} {
		if _, err := e.Marshal(); !errors.Is(err, ErrIllegal) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The lines are taken from logs that other engines wrote.
func TestEntriesOfOtherWritersAreRead(t *testing.T) {
	e, err := ParseEntry(4, []byte(strings.Join([]string{
		`{"add":{"path":"part-0%20x.parquet","partitionValues":{"d":null,"e":"1"},"size":2,"modificationTime":1,"dataChange":true,"stats":null,"tags":null,"baseRowId":null,"deletionVector":null}}`,
		``,
		`{"cdc":{"path":"_change_data/a","partitionValues":{},"size":1,"dataChange":false}}`,
		`{"io.example.unknown":{"x":[1,{"y":null}]}}`,
		"{\"remove\":{\"path\":\"b\",\"dataChange\":true,\"deletionTimestamp\":9,\"tags\":{\"a\":\"b\"},\"stats\":\"{}\"}}\r",
		`{"txn":{"appId":"app","version":3}}`,
		`{"protocol":{"minReaderVersion":1,"minWriterVersion":2,"readerFeatures":null,"writerFeatures":null}}`,
		`{"metaData":{"id":"i","format":{"provider":"parquet"},"schemaString":"{}","name":null,"partitionColumns":null,"configuration":null}}`,
		`{"commitInfo":{"timestamp":7,"operation":"VACUUM START","operationParameters":{"retentionCheckEnabled":false,"n":1,"x":null,"s":"v"},"version":3,"clusterId":"trino","isBlindAppend":null}}`,
	}, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	want := &Entry{
		Version:  4,
		Info:     &CommitInfo{Timestamp: 7, Operation: "VACUUM START", OperationParameters: map[string]string{"retentionCheckEnabled": "false", "n": "1", "s": "v"}},
		Protocol: &Protocol{MinReaderVersion: 1, MinWriterVersion: 2},
		Metadata: &Metadata{ID: "i", Format: Format{Provider: "parquet"}, SchemaString: "{}"},
		Txns:     []Txn{{AppID: "app", Version: 3}},
		Adds:     []Add{{Path: "part-0%20x.parquet", PartitionValues: map[string]string{"d": "", "e": "1"}, Size: 2, ModificationTime: 1, DataChange: true}},
		Removes:  []Remove{{Path: "b", DeletionTimestamp: 9, DataChange: true}},
	}
	if !reflect.DeepEqual(e, want) {
		t.Fatalf("got  %+v\nwant %+v", e, want)
	}
	if e.TxnID() != "" {
		t.Error("an id out of nowhere")
	}
}

func TestCommitInfoOfAnyFormIsRead(t *testing.T) {
	for text, want := range map[string]CommitInfo{
		`{"timestamp":"yesterday","operation":7,"txnId":"x","isBlindAppend":"no"}`: {TxnID: "x"},
		`{"timestamp":1.7e3,"inCommitTimestamp":12.5,"operation":{}}`:              {Timestamp: 1700, InCommitTimestamp: 12},
		`{"operationParameters":[1],"txnId":"x"}`:                                  {TxnID: "x"},
		`{"timestamp":1e300}`: {},
		`[1,2]`:               {},
		`"text"`:              {},
	} {
		e, err := ParseEntry(1, []byte(`{"commitInfo":`+text+`}`))
		if err != nil || e.Info == nil || !reflect.DeepEqual(*e.Info, want) {
			t.Errorf("%s: %+v, %v", text, e, err)
		}
	}
}

func TestBytesThatAreNoEntryAreCorrupt(t *testing.T) {
	for _, text := range []string{
		"", "\n\n", "{", "[]", `{"add":{"path":"a"}}{`, `{"add":{"path":""}}`, `{"remove":{}}`, `{"add":7}`,
		`{"txn":{"appId":"a","version":"1"}}`, "\x00", `{"add":{"path":"a","size":1e999}}`,
	} {
		if e, err := ParseEntry(1, []byte(text)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%q: %+v, %v", text, e, err)
		}
	}
	_, err := ParseEntry(1, []byte(`{"add":{"path":"a","deletionVector":{"storageType":"u"}}}`))
	if !errors.Is(err, ErrUnsupported) {
		t.Errorf("a deletion vector: %v", err)
	}
}

func FuzzParseEntry(f *testing.F) {
	for _, e := range []*Entry{testFirst("a"), testAppend(1, "b")} {
		body, err := e.Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	f.Add([]byte(`{"commitInfo":{"timestamp":"x","operationParameters":{"a":[1]}}}`))
	f.Add([]byte(`{"add":{"path":"%zz","partitionValues":null}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := ParseEntry(1, data)
		if err != nil {
			return
		}
		s := NewSnapshot()
		if s.Apply(testFirst("first")) != nil {
			t.Fatal("the first entry")
		}
		if s.Apply(e) != nil {
			return
		}
		body, err := e.Marshal()
		if err != nil {
			return // legal to read, not to write
		}
		back, err := ParseEntry(1, body)
		if err != nil {
			t.Fatalf("what we wrote is unreadable: %v\n%s", err, body)
		}
		if again, err := back.Marshal(); err != nil || string(again) != string(body) {
			t.Fatalf("not stable: %v\n%s\n%s", err, body, again)
		}
	})
}
