package delta

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress"
	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/format"

	"sluice/storage/object"
)

// testRich is a snapshot with all that a checkpoint can hold.
func testRich(t testing.TB) *Snapshot {
	t.Helper()
	s := NewSnapshot()
	e := testFirst("a")
	e.Metadata.Description = "all orders"
	e.Metadata.PartitionColumns = []string{"day", "hour"}
	e.Metadata.Format.Options = map[string]string{"x": "y"}
	e.Txns = []Txn{{AppID: "epoch", Version: 3}, {AppID: "next/0", Version: 1 << 48, LastUpdated: 77}}
	e.Adds = []Add{
		{Path: "data/a.parquet", PartitionValues: map[string]string{"day": "1", "hour": ""}, Size: 1, ModificationTime: 2, Stats: `{"numRecords":1}`, Tags: map[string]string{"k": "v", "l": ""}},
		{Path: "data/b%20c.parquet", Size: 1 << 40, ModificationTime: -1},
		{Path: "data/d.parquet", Stats: `{"numRecords":7,"minValues":{}}`, Tags: map[string]string{"k": "w"}},
	}
	e.Removes = []Remove{
		{Path: "data/old.parquet", DeletionTimestamp: 10_000_000, DataChange: true, ExtendedFileMetadata: true, PartitionValues: map[string]string{"day": "9"}, Size: 5},
		{Path: "data/older.parquet", DeletionTimestamp: 5},
	}
	if err := s.Apply(e); err != nil {
		t.Fatal(err)
	}
	return s
}

// testDecode reads the bytes of a checkpoint in one or several parts.
func testDecode(version int64, parts ...[]byte) (*Snapshot, error) {
	s := NewSnapshot()
	s.Version = version
	state := checkpointState{memory: NewMemory(0, 0), room: DefaultMemory}
	for _, part := range parts {
		if err := state.read(context.Background(), s, part); err != nil {
			return nil, err
		}
	}
	return s, state.finish(s)
}

func TestACheckpointHoldsTheSnapshot(t *testing.T) {
	s := testRich(t)
	hint, body, err := encodeCheckpoint(s, time.UnixMilli(10_000_000))
	if err != nil {
		t.Fatal(err)
	}
	if hint.Size != 8 || hint.NumOfAddFiles != 3 || hint.SizeInBytes != int64(len(body)) {
		t.Errorf("%+v", hint)
	}
	got, err := testDecode(s.Version, body)
	if err != nil {
		t.Fatal(err)
	}
	delete(s.Tombstones, "data/older.parquet") // expired
	s.Timestamp = 0                            // of commitInfo, which a checkpoint has not
	for _, add := range got.Files {
		if add.DataChange {
			t.Error("dataChange in a checkpoint")
		}
	}
	testSame(t, got, s)
	if got.Files["data/b c.parquet"] == nil || got.Files["data/a.parquet"].PartitionValues["day"] != "1" {
		t.Errorf("%+v", got.Files)
	}
}

// What kernel-rs and Spark insist on: the columns, which are null, which not.
func TestACheckpointHasTheSchemaThatReadersExpect(t *testing.T) {
	s := testRich(t)
	_, body, err := encodeCheckpoint(s, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	file, err := parquet.OpenFile(bytes.NewReader(body), int64(len(body)))
	if err != nil {
		t.Fatal(err)
	}
	const want = `message checkpointRow {
	optional group txn {
		required binary appId (STRING);
		required int64 version (INT(64,true));
		optional int64 lastUpdated (INT(64,true));
	}
	optional group add {
		required binary path (STRING);
		required group partitionValues (MAP) {
			repeated group key_value {
				required binary key (STRING);
				required binary value (STRING);
			}
		}
		required int64 size (INT(64,true));
		required int64 modificationTime (INT(64,true));
		required boolean dataChange;
		optional group tags (MAP) {
			repeated group key_value {
				required binary key (STRING);
				required binary value (STRING);
			}
		}
		optional binary stats (STRING);
	}
	optional group remove {
		required binary path (STRING);
		required int64 deletionTimestamp (INT(64,true));
		required boolean dataChange;
		required boolean extendedFileMetadata;
		required group partitionValues (MAP) {
			repeated group key_value {
				required binary key (STRING);
				required binary value (STRING);
			}
		}
		required int64 size (INT(64,true));
	}
	optional group metaData {
		required binary id (STRING);
		optional binary name (STRING);
		optional binary description (STRING);
		required group format {
			required binary provider (STRING);
			required group options (MAP) {
				repeated group key_value {
					required binary key (STRING);
					required binary value (STRING);
				}
			}
		}
		required binary schemaString (STRING);
		required group partitionColumns (LIST) {
			repeated group list {
				required binary element (STRING);
			}
		}
		required group configuration (MAP) {
			repeated group key_value {
				required binary key (STRING);
				required binary value (STRING);
			}
		}
		optional int64 createdTime (INT(64,true));
	}
	optional group protocol {
		required int32 minReaderVersion (INT(32,true));
		required int32 minWriterVersion (INT(32,true));
		optional group readerFeatures (LIST) {
			repeated group list {
				required binary element (STRING);
			}
		}
		optional group writerFeatures (LIST) {
			repeated group list {
				required binary element (STRING);
			}
		}
	}
}`
	if got := file.Schema().String(); got != want {
		t.Errorf("got %s", got)
	}
	for version, want := range map[int]string{2: "<null>", 7: "[]"} {
		s.Protocol = Protocol{MinReaderVersion: 1, MinWriterVersion: version}
		_, body, err := encodeCheckpoint(s, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		rows, err := parquet.Read[checkpointRow](bytes.NewReader(body), int64(len(body)))
		if err != nil {
			t.Fatal(err)
		}
		got := "<null>"
		if rows[0].Protocol.WriterFeatures != nil {
			got = fmt.Sprint(rows[0].Protocol.WriterFeatures)
		}
		if got != want || rows[0].Protocol.ReaderFeatures != nil {
			t.Errorf("writer version %d: %s", version, got)
		}
	}
}

// testParquet writes rows as another writer's checkpoint might.
func testParquet[T any](t testing.TB, rows ...T) []byte {
	t.Helper()
	var body bytes.Buffer
	w := parquet.NewGenericWriter[T](&body)
	if _, err := w.Write(rows); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return body.Bytes()
}

func testHead() (protocol, metadata checkpointRow) {
	first := testFirst("a")
	return checkpointRow{Protocol: first.Protocol.row()}, checkpointRow{Metadata: first.Metadata.row()}
}

func TestACheckpointInPartsIsRead(t *testing.T) {
	store, l := newMemLog(Options{})
	s := testTableAt(t, l, 6)
	protocol, metadata := testHead()
	parts := [][]checkpointRow{{metadata}, {protocol}, {{Txn: &checkpointTxn{AppID: "next/0", Version: 6}}}}
	for _, add := range s.Files {
		i := int(add.ModificationTime % 3)
		parts[i] = append(parts[i], checkpointRow{Add: add.row()})
	}
	put := func(part int) {
		key := fmt.Sprintf("%s/_delta_log/%020d.checkpoint.%010d.%010d.parquet", testTable, 6, part, 3)
		if _, err := store.Put(t.Context(), key, testParquet(t, parts[part-1]...)); err != nil {
			t.Fatal(err)
		}
	}
	put(1)
	put(3)
	got := testReopen(t, store, s)
	if got.Checkpoint != -1 {
		t.Fatal("an incomplete checkpoint was taken")
	}
	put(2)
	if _, err := store.Delete(t.Context(), EntryKey(testTable, 0), EntryKey(testTable, 1)); err != nil {
		t.Fatal(err)
	}
	got, err := NewLog(store, testTable, Options{}).Open(t.Context(), nil)
	if err != nil || got.Checkpoint != 6 || len(got.Files) != 6 || got.Txns["next/0"].Version != 6 || got.Timestamp != s.Timestamp {
		t.Fatalf("%+v, %v", got, err)
	}
}

// The names within maps and lists are those of Hive and Trino; lastUpdated and
// most of remove are missing, as in checkpoints of delta-rs 0.20 and Trino.
func TestACheckpointOfOtherShapeIsRead(t *testing.T) {
	type pair struct {
		Key   string  `parquet:"key"`
		Value *string `parquet:"value"`
	}
	type foreignMap struct {
		Map []pair `parquet:"map"`
	}
	type element struct {
		Text string `parquet:"array_element"`
	}
	type foreignList struct {
		Bag []element `parquet:"bag"`
	}
	type add struct {
		Path            string      `parquet:"path"`
		Extra           float64     `parquet:"extra"`
		PartitionValues *foreignMap `parquet:"partitionValues"`
		Size            int64       `parquet:"size"`
		ModTime         int64       `parquet:"modificationTime"`
		Tags            *foreignMap `parquet:"tags"`
	}
	type metadata struct {
		ID               string       `parquet:"id"`
		Schema           string       `parquet:"schemaString"`
		PartitionColumns *foreignList `parquet:"partitionColumns"`
		Configuration    *foreignMap  `parquet:"configuration"`
	}
	type txn struct {
		AppID   string `parquet:"appId"`
		Version int64  `parquet:"version"`
	}
	type remove struct {
		Path string `parquet:"path"`
	}
	type protocol struct {
		Reader int64 `parquet:"minReaderVersion"` // a long where an int belongs
		Writer int64 `parquet:"minWriterVersion"`
	}
	type row struct {
		Domain   *txn      `parquet:"domainMetadata"`
		Protocol *protocol `parquet:"protocol"`
		Metadata *metadata `parquet:"metaData"`
		Add      *add      `parquet:"add"`
		Remove   *remove   `parquet:"remove"`
		Txn      *txn      `parquet:"txn"`
	}
	value := "v"
	s, err := testDecode(4, testParquet(t,
		row{Protocol: &protocol{1, 2}},
		row{Metadata: &metadata{"id", "{}", &foreignList{[]element{{"a"}, {"b"}}}, &foreignMap{[]pair{{"k", &value}, {"none", nil}}}}},
		row{Add: &add{Path: "x", PartitionValues: &foreignMap{[]pair{{"a", nil}, {"b", &value}}}, Size: 3, Tags: nil}},
		row{Add: &add{Path: "y", Tags: &foreignMap{[]pair{{"t", &value}}}}},
		row{Txn: &txn{"app", 9}},
		row{Remove: &remove{"z"}},
		row{},
	))
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"Version":4,"Proved":"0001-01-01T00:00:00Z","Timestamp":0,"Protocol":{"minReaderVersion":1,"minWriterVersion":2},` +
		`"Metadata":{"id":"id","format":{"provider":"parquet","options":{}},"schemaString":"{}","partitionColumns":["a","b"],"configuration":{"k":"v","none":""}},` +
		`"Txns":{"app":{"appId":"app","version":9}},` +
		`"Files":{"x":{"path":"x","partitionValues":{"a":"","b":"v"},"size":3,"modificationTime":0,"dataChange":false},` +
		`"y":{"path":"y","partitionValues":null,"size":0,"modificationTime":0,"dataChange":false,"tags":{"t":"v"}}},` +
		`"Tombstones":{"z":{"path":"z","dataChange":false,"extendedFileMetadata":false,"partitionValues":null,"size":0}},"Checkpoint":-1}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestStatisticsAreRebuiltFromColumns(t *testing.T) {
	type nested struct {
		Inner *int32 `parquet:"inner"`
	}
	type values struct {
		Offset    *int64           `parquet:"offset"`
		Timestamp *int64           `parquet:"timestamp,timestamp(microsecond)"`
		Old       deprecated.Int96 `parquet:"old"`
		Day       *int32           `parquet:"day,date"`
		Name      *string          `parquet:"name"`
		Raw       []byte           `parquet:"raw"`
		Price     *int64           `parquet:"price,decimal(2:10)"`
		Ratio     *float64         `parquet:"ratio"`
		Nested    *nested          `parquet:"nested"`
	}
	type stats struct {
		NumRecords *int64  `parquet:"numRecords"`
		Tight      *bool   `parquet:"tightBounds"`
		Min        *values `parquet:"minValues"`
		Max        *values `parquet:"maxValues"`
		Nulls      *struct {
			Offset *int64 `parquet:"offset"`
		} `parquet:"nullCount"`
	}
	type add struct {
		Path   string  `parquet:"path"`
		Stats  *string `parquet:"stats"`
		Parsed *stats  `parquet:"stats_parsed"`
	}
	type row struct {
		Protocol *checkpointProtocol `parquet:"protocol"`
		Metadata *checkpointMetadata `parquet:"metaData"`
		Add      *add                `parquet:"add"`
	}
	n := func(v int64) *int64 { return &v }
	day, inner, name, ratio, tight := int32(20_000), int32(-3), `a"<b`, 0.5, true
	julian := deprecated.Int96{0, 0, 2440588 + 1}
	protocol, metadata := testHead()
	given := `{"numRecords":1}`
	s, err := testDecode(1, testParquet(t,
		row{Protocol: protocol.Protocol}, row{Metadata: metadata.Metadata},
		row{Add: &add{Path: "kept", Stats: &given, Parsed: &stats{NumRecords: n(2)}}},
		row{Add: &add{Path: "none"}},
		row{Add: &add{Path: "built", Parsed: &stats{
			NumRecords: n(5), Tight: &tight,
			Min: &values{n(7), n(1_500_000_001_001), julian, &day, &name, []byte{1}, n(-5), &ratio, &nested{&inner}},
			Max: &values{n(9), n(1_500_000_001_001), julian, nil, nil, nil, n(1234), nil, nil},
		}}},
	))
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"maxValues":{"offset":9,"old":"1970-01-02T00:00:00.000Z","price":12.34,"timestamp":"1970-01-18T08:40:00.002Z"},` +
		`"minValues":{"day":"2024-10-04","name":"a\"\u003cb","nested":{"inner":-3},"offset":7,"old":"1970-01-02T00:00:00.000Z","price":-0.05,"ratio":0.5,"timestamp":"1970-01-18T08:40:00.001Z"},` +
		`"numRecords":5,"tightBounds":true}`
	if got := s.Files["built"].Stats; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got, err := ParseStatistics(s.Files["built"].Stats); err != nil || got.NumRecords != 5 || string(got.MinValues["offset"]) != "7" {
		t.Errorf("%+v, %v", got, err)
	}
	if s.Files["kept"].Stats != given || s.Files["none"].Stats != "" {
		t.Errorf("%+v", s.Files)
	}
}

func TestACheckpointThatIsNoneIsRefused(t *testing.T) {
	protocol, metadata := testHead()
	type path struct {
		Path string `parquet:"path"`
	}
	type vector struct {
		Storage string `parquet:"storageType"`
	}
	type add struct {
		Path   string  `parquet:"path"`
		Vector *vector `parquet:"deletionVector"`
	}
	type row struct {
		Protocol *checkpointProtocol `parquet:"protocol"`
		Metadata *checkpointMetadata `parquet:"metaData"`
		Sidecar  *path               `parquet:"sidecar"`
		Add      *add                `parquet:"add"`
	}
	type wrong struct {
		Protocol *checkpointProtocol `parquet:"protocol"`
		Metadata *checkpointMetadata `parquet:"metaData"`
		Add      struct {
			Path int64 `parquet:"path"`
		} `parquet:"add"`
	}
	type flat struct {
		Add string `parquet:"add"`
	}
	columnMapping := protocol
	columnMapping.Protocol = &checkpointProtocol{MinReaderVersion: 2, MinWriterVersion: 5}
	for name, test := range map[string]struct {
		body []byte
		want error
	}{
		"no bytes":          {nil, ErrCorrupt},
		"no Parquet":        {[]byte(strings.Repeat("PAR1", 50)), ErrCorrupt},
		"no protocol":       {testParquet(t, metadata), ErrCorrupt},
		"no metadata":       {testParquet(t, protocol), ErrCorrupt},
		"two protocols":     {testParquet(t, protocol, protocol, metadata), ErrCorrupt},
		"column mapping":    {testParquet(t, columnMapping, metadata), ErrUnsupported},
		"a sidecar":         {testParquet(t, row{Protocol: protocol.Protocol}, row{Metadata: metadata.Metadata}, row{Sidecar: &path{"x"}}), ErrUnsupported},
		"a deletion vector": {testParquet(t, row{Add: &add{"x", &vector{"u"}}}), ErrUnsupported},
		"a path of number":  {testParquet(t, wrong{}), ErrCorrupt},
		"a flat column":     {testParquet(t, flat{"x"}), ErrCorrupt},
	} {
		if _, err := testDecode(1, test.body); !errors.Is(err, test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The same without bytes that are there: every cut is an error, no cut a panic.
	_, body, err := encodeCheckpoint(testRich(t), time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	for cut := range len(body) {
		if _, err := testDecode(1, body[:cut]); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("cut at %d: %v", cut, err)
		}
	}
}

// Each byte that is changed may be a length: of a list in the footer, of a page, of
// a block. None may make room that the file cannot fill, or panic.
func TestAChangedCheckpointDoesNoHarm(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for name, codec := range map[string]compress.Codec{"snappy": &parquet.Snappy, "zstd": &parquet.Zstd, "gzip": &parquet.Gzip, "none": &parquet.Uncompressed} {
		protocol, metadata := testHead()
		var whole bytes.Buffer
		w := parquet.NewGenericWriter[checkpointRow](&whole, parquet.Compression(codec))
		if _, err := w.Write([]checkpointRow{protocol, metadata, {Add: &checkpointAdd{Path: "x"}}}); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := testDecode(1, whole.Bytes()); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for range 500 {
			body := bytes.Clone(whole.Bytes())
			body[random.IntN(len(body))] = byte(random.Uint32())
			body[len(body)-8-random.IntN(2000)] = []byte{0, 0x7f, 0x80, 0xff}[random.IntN(4)]
			if _, err := testDecode(1, body); err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrUnsupported) {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
	// A list of 2^32-1 row groups in a dozen bytes.
	footer := []byte{0x49, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x0f, 0}
	body := append(append([]byte("PAR1"), footer...), byte(len(footer)), 0, 0, 0, 'P', 'A', 'R', '1')
	if _, err := testDecode(1, body); !errors.Is(err, errThrift) {
		t.Error(err)
	}
	// A block of 4 GiB in five bytes.
	if err := new(blocks).check(format.Snappy, []byte{0xff, 0xff, 0xff, 0xff, 0x0f}, 100); !errors.Is(err, ErrCorrupt) {
		t.Error(err)
	}
	if err := new(blocks).check(format.Lz4Raw, []byte{1}, 100); !errors.Is(err, ErrUnsupported) {
		t.Error(err)
	}
}

func TestAnOpenSurvivesUselessHintsAndCheckpoints(t *testing.T) {
	for _, test := range []struct{ name, hint string }{
		{"no hint", ""},
		{"torn", `{"versi`},
		{"empty object", `{}`},
		{"null", `null`},
		{"text", `{"version":"6"}`},
		{"negative", `{"version":-6}`},
		{"far too high", `{"version":9223372036854775807}`},
		{"beyond the tip", `{"version":4711}`},
		{"stale", `{"version":3,"size":5}`},
		{"a version without checkpoint", `{"version":8}`},
		{"the checkpoint that is torn", `{"version":9}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			store, l := newMemLog(Options{})
			s := testTableAt(t, l, 0)
			for _, version := range []int64{3, 6} {
				testExtend(t, l, s, version)
				if err := l.WriteCheckpoint(t.Context(), s, time.Now()); err != nil {
					t.Fatal(err)
				}
			}
			testExtend(t, l, s, 10)
			if _, err := store.Put(t.Context(), CheckpointKey(testTable, 9), []byte("PAR1....PAR1")); err != nil {
				t.Fatal(err)
			}
			var err error
			if test.hint == "" {
				_, err = store.Delete(t.Context(), LastCheckpointKey(testTable))
			} else {
				_, err = store.Put(t.Context(), LastCheckpointKey(testTable), []byte(test.hint))
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := testReopen(t, store, s); got.Checkpoint != 6 {
				t.Errorf("checkpoint %d", got.Checkpoint)
			}
			if _, err := store.Delete(t.Context(), EntryKey(testTable, 0)); err != nil {
				t.Fatal(err)
			}
			testReopen(t, store, s)
			// Without any checkpoint that can be read, and no beginning: say so.
			for _, version := range []int64{3, 6} {
				if _, err := store.Put(t.Context(), CheckpointKey(testTable, version), []byte("x")); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := l.Open(t.Context(), nil); !errors.Is(err, ErrCorrupt) {
				t.Error(err)
			}
		})
	}
}

func TestTheHintNeverMovesBack(t *testing.T) {
	store, l := newMemLog(Options{})
	s := testTableAt(t, l, 3)
	old := s.Clone()
	testExtend(t, l, s, 6)
	hint := func() string {
		t.Helper()
		o, err := store.Get(t.Context(), LastCheckpointKey(testTable), object.Range{})
		if err != nil {
			t.Fatal(err)
		}
		return string(o.Body)
	}
	if err := l.WriteCheckpoint(t.Context(), s, time.Now()); err != nil {
		t.Fatal(err)
	}
	newest := hint()
	if !strings.HasPrefix(newest, `{"version":6,"size":9,"sizeInBytes":`) || s.Checkpoint != 6 {
		t.Fatal(newest, s.Checkpoint)
	}
	if err := l.WriteCheckpoint(t.Context(), old, time.Now()); err != nil {
		t.Fatal(err)
	}
	if got := hint(); got != newest {
		t.Fatalf("moved from %s to %s", newest, got)
	}
	// Another writer's, of this very version, is left as it is.
	before, err := store.Get(t.Context(), CheckpointKey(testTable, 6), object.Range{})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.WriteCheckpoint(t.Context(), s, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	after, err := store.Get(t.Context(), CheckpointKey(testTable, 6), object.Range{})
	if err != nil || !after.Modified.Equal(before.Modified) {
		t.Fatal("replaced", err)
	}
	// A hint that names nothing does not stand for ever.
	if _, err := store.Put(t.Context(), LastCheckpointKey(testTable), []byte(`{"version":99}`)); err != nil {
		t.Fatal(err)
	}
	testExtend(t, l, s, 7)
	if err := l.WriteCheckpoint(t.Context(), s, time.Now()); err != nil {
		t.Fatal(err)
	}
	if got := hint(); !strings.HasPrefix(got, `{"version":7,`) {
		t.Fatal(got)
	}
	testReopen(t, store, s)
}

func TestAGapIsCorrupt(t *testing.T) {
	store, l := newMemLog(Options{})
	testTableAt(t, l, 9)
	if _, err := store.Delete(t.Context(), EntryKey(testTable, 5)); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Open(t.Context(), nil); !errors.Is(err, ErrCorrupt) {
		t.Fatal(err)
	}
}

func TestALogOfV2CheckpointsIsRefusedByName(t *testing.T) {
	store, l := newMemLog(Options{})
	testTableAt(t, l, 3)
	name := fmt.Sprintf("%s/_delta_log/%020d.checkpoint.80a083e8-7026-4e79-81be-64bd76c43a11.parquet", testTable, 2)
	if _, err := store.Put(t.Context(), name, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Open(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Delete(t.Context(), EntryKey(testTable, 0)); err != nil {
		t.Fatal(err)
	}
	var unsupported *UnsupportedError
	if _, err := l.Open(t.Context(), nil); !errors.As(err, &unsupported) || unsupported.Feature != "v2Checkpoint" {
		t.Fatal(err)
	}
}

func FuzzCheckpoint(f *testing.F) {
	_, body, err := encodeCheckpoint(testRich(f), time.Time{})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	f.Add([]byte("PAR1PAR1"))
	f.Add(hostileParquet(nil, 20, 50, 50))
	f.Add(hostileParquet(make([]byte, 200), 20, 0, 0))
	f.Add(bomb(f, 20, 1<<10))
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := testDecode(1, data); err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrUnsupported) {
			t.Fatal(err)
		}
	})
}

func FuzzHint(f *testing.F) {
	f.Add([]byte(`{"version":6,"size":9}`))
	f.Add([]byte(`{"version":1e3}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if version, ok := parseHint(data); version < 0 || version == allVersions || !ok && version != 0 {
			t.Fatal(version, ok)
		}
	})
}
