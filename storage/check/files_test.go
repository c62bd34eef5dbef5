package check_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"sluice/storage/check"
	"sluice/storage/object/mem"
	"sluice/storage/rows"
)

// readded commits a file of the table once more, changed, as metadata only.
func (b *broken) readded(changes ...any) {
	b.commit(action("add", with(b.file(), append([]any{"dataChange", false}, changes...)...)))
}

// stats are the statistics of the file that readded adds, with one value changed.
func (b *broken) stats(path string, value any) string {
	b.t.Helper()
	var all map[string]any
	if err := json.Unmarshal([]byte(b.file()["stats"].(string)), &all); err != nil {
		b.t.Fatal(err)
	}
	group, name, nested := strings.Cut(path, ".")
	switch {
	case !nested:
		all = with(all, group, value)
	default:
		all[group] = with(all[group].(map[string]any), name, value)
	}
	text, _ := json.Marshal(all)
	return string(text)
}

func TestStatisticsThatAreNotTrueAreSaid(t *testing.T) {
	for _, c := range []struct {
		path  string
		value any
		what  string
		quick bool // seen in the footer, too
	}{
		{"numRecords", 7777, "say 7777 rows", true},
		{"numRecords", nil, "do not say how many rows", true},
		{"minValues.partition", 7, "say that partition lies between", true},
		{"minValues.offset", 1, "say that offset lies between", true},
		{"minValues.offset", -1, "say that offset lies between", true},
		{"maxValues.offset", 0, "say that offset lies between", true},
		{"maxValues.offset", nil, "lack the bounds of offset", true},
		{"maxValues.offset", 9999, "say that offset lies between", true},
		{"minValues.timestamp", "2030-01-01T00:00:00.000Z", "say that timestamp lies between", true},
		{"maxValues.timestamp", "2000-01-01T00:00:00.000Z", "say that timestamp lies between", true},
		{"maxValues.timestamp", "2100-01-01T00:00:00.000Z", "say that timestamp lies between", true},
		{"nullCount.offset", 1, "say that offset is null in 1 rows", false},
		{"nullCount.timestamp", 1, "say that timestamp is null", false},
		{"nullCount.key", 3, "say that key is null", false},
	} {
		b := begin(t)
		b.readded("stats", b.stats(c.path, c.value))
		b.says(check.Error, c.what)
		if c.quick {
			b.saysWith(check.Options{Quick: true}, check.Error, c.what)
		}
	}
	b := begin(t)
	b.readded("stats", "nonsense")
	b.says(check.Error, "are no JSON")
}

func TestAnUpperBoundOfTimesMayBeRoundedUp(t *testing.T) {
	b := begin(t)
	var stats struct {
		Max map[string]any `json:"maxValues"`
	}
	if err := json.Unmarshal([]byte(b.file()["stats"].(string)), &stats); err != nil {
		t.Fatal(err)
	}
	at, err := time.Parse(time.RFC3339Nano, stats.Max["timestamp"].(string))
	if err != nil {
		t.Fatal(err)
	}
	b.readded("stats", b.stats("maxValues.timestamp", at.Add(time.Millisecond).Format("2006-01-02T15:04:05.000Z")))
	b.sound(check.Options{})
}

func TestATagThatIsNotTrueIsSaid(t *testing.T) {
	b := begin(t)
	b.readded("tags", map[string]string{"sluice.ranges": "0:0+1"})
	b.says(check.Error, "its tag says")
	b.saysWith(check.Options{Quick: true}, check.Error, "its tag says")
	b.readded("tags", map[string]string{"sluice.ranges": "nonsense"})
	b.says(check.Error, "cannot be read")
	b.readded("tags", nil) // as an engine leaves it
	b.sound(check.Options{Dense: true})
}

func TestAFileThatIsMissingOrOtherThanTheLogSaysIsSaid(t *testing.T) {
	for _, o := range []check.Options{{}, {Quick: true}} {
		b := begin(t)
		key := "t/" + b.file()["path"].(string)
		whole := b.objects[key]
		delete(b.objects, key)
		b.saysWith(o, check.Error, "the file is not there")
		b.objects[key] = whole[:len(whole)-5]
		b.saysWith(o, check.Error, "bytes; the log says")
		b.saysWith(o, check.Error, "cannot be read")
	}
	b := begin(t)
	key := "t/" + b.file()["path"].(string)
	whole := slices.Clone(b.objects[key])
	whole[bytes.Index(whole, []byte("value"))] ^= 0xff
	b.objects[key] = whole
	b.says(check.Error, "cannot be read") // by the checksum of a page
	b.commit(action("add", with(b.file(), "path", "s3://elsewhere/data/x.parquet", "dataChange", true)))
	b.says(check.Error, "outside the table's folder")
}

// row is a row of a topic's table.
type row struct {
	Partition *int32 `parquet:"partition"`
	Offset    *int64 `parquet:"offset"`
}

func at(partition int32, offset int64) row { return row{&partition, &offset} }

// insert commits a file with rows, of the writer of that name.
func (b *broken) insert(by string, changes []any, rows ...row) {
	b.t.Helper()
	var body bytes.Buffer
	w := parquet.NewGenericWriter[row](&body, parquet.CreatedBy(by, "", ""))
	if _, err := w.Write(rows); err != nil {
		b.t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		b.t.Fatal(err)
	}
	path := fmt.Sprintf("part-%d.parquet", b.tip())
	b.objects["t/"+path] = body.Bytes()
	b.commit(action("add", with(map[string]any{
		"path": path, "partitionValues": map[string]any{}, "size": body.Len(), "modificationTime": 1, "dataChange": true,
		"stats": fmt.Sprintf(`{"numRecords":%d}`, len(rows)),
	}, changes...)))
}

func TestRowsThatAreWhereNoneCanBeAreSaid(t *testing.T) {
	b := begin(t)
	b.insert("engine", nil, at(0, 500))
	b.says(check.Warning, "rows at offsets 500 to 500; the next offset is 130")
	b.insert("sluice", nil, at(0, 501))
	b.says(check.Error, "rows at offsets 501 to 501; the next offset is 130")

	b = begin(t)
	b.insert("engine", nil, at(9, 5))
	b.says(check.Warning, "the topic has 2 partitions")

	b = begin(t)
	b.insert("engine", nil, row{}, row{})
	b.sound(check.Options{})
	b.says(check.Info, "2 rows have no place")
	b.insert("sluice", nil, row{})
	b.says(check.Error, "1 rows have no place")
}

func TestRowsThatAreThereTwiceOrOutOfOrderAreSaid(t *testing.T) {
	b := begin(t)
	b.insert("engine", nil, at(1, 7))
	b.says(check.Error, "offset 7 is there twice")
	b.saysWith(check.Options{Quick: true}, check.Error, "some are there twice")

	b = begin(t) // in one file
	b.insert("engine", nil, at(1, 7), at(1, 6), at(1, 7))
	b.says(check.Error, "offset 7 is there twice")

	b = begin(t)
	b.insert("sluice", nil, at(1, 7), at(1, 6))
	b.says(check.Error, "not sorted")
}

func TestFilesOfAnEngineThatInterleaveOffsetsAreSound(t *testing.T) {
	b := begin(t)
	var lines []string
	for path := range b.live() {
		lines = append(lines, action("remove", map[string]any{"path": path, "dataChange": true, "deletionTimestamp": time.Now().UnixMilli()}))
	}
	b.commit(lines...)
	parts := make([][]row, 3)
	for o := range int64(130) {
		parts[o%3] = append(parts[o%3], at(0, o), at(1, o))
	}
	for _, rows := range parts {
		b.insert("engine", nil, rows...)
	}
	b.sound(check.Options{Dense: true})
	b.saysWith(check.Options{Quick: true}, check.Info, "footers")
}

func TestAcknowledgedRecordsThatAreMissingAreSaid(t *testing.T) {
	b := begin(t)
	b.commit(action("remove", map[string]any{"path": b.file()["path"], "dataChange": true, "deletionTimestamp": time.Now().UnixMilli()}))
	b.sound(check.Options{})
	b.saysWith(check.Options{Dense: true}, check.Error, "no rows at offsets")
	b.commit(b.txn("log_start", 0, 130))
	b.commit(b.txn("log_start", 1, 130))
	b.sound(check.Options{Dense: true})
}

func TestAColumnThatIsNotCompressedInEveryRowGroupIsPassedOver(t *testing.T) {
	b := begin(t)
	var mixed bytes.Buffer
	w := parquet.NewGenericWriter[row](&mixed, parquet.CreatedBy("engine", "", ""))
	for o := range int64(3) { // a row group for each
		if _, err := w.Write([]row{at(1, 130+o)}); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	b.objects["t/mixed.parquet"] = withCodec(t, mixed.Bytes())
	b.commit(b.txn("next_offset", 1, 133), action("add", map[string]any{"path": "mixed.parquet", "partitionValues": map[string]any{},
		"size": len(b.objects["t/mixed.parquet"]), "modificationTime": 1, "dataChange": true, "stats": `{"numRecords":3}`}))
	b.sound(check.Options{Dense: true})
	b.says(check.Info, "these values were not looked at")
}

// withCodec is a file whose footer says that the last column of its last row group is
// compressed by Snappy.
func withCodec(t *testing.T, body []byte) []byte {
	t.Helper()
	file, err := parquet.OpenFile(bytes.NewReader(body), int64(len(body)))
	if err != nil {
		t.Fatal(err)
	}
	footer := *file.Metadata()
	columns := footer.RowGroups[len(footer.RowGroups)-1].Columns
	columns[len(columns)-1].MetaData.Codec = format.Snappy
	encoded, err := thrift.Marshal(new(thrift.CompactProtocol), &footer)
	if err != nil {
		t.Fatal(err)
	}
	old := int(binary.LittleEndian.Uint32(body[len(body)-8:]))
	body = append(slices.Clone(body[:len(body)-8-old]), encoded...)
	return append(binary.LittleEndian.AppendUint32(body, uint32(len(encoded))), "PAR1"...)
}

func TestACompactedTopicMayHaveGapsAndMustHaveItsNewestRecord(t *testing.T) {
	b := begin(t)
	b.commit(b.properties("sluice.cleanup.policy", "compact,delete"))
	remove := func(newest bool) {
		for _, f := range b.live() {
			tag := fmt.Sprint(f["tags"].(map[string]any)[rows.RangesTag])
			ranges, _ := rows.ParseRanges(map[string]string{rows.RangesTag: tag})
			if slices.ContainsFunc(ranges, func(r rows.Range) bool { return r.Last == 129 }) == newest {
				b.commit(action("remove", map[string]any{"path": f["path"], "dataChange": true, "deletionTimestamp": time.Now().UnixMilli()}))
			}
		}
	}
	remove(false)
	b.sound(check.Options{Dense: true})
	remove(true)
	b.saysWith(check.Options{Dense: true}, check.Error, "no rows at offsets")
}

func TestFilesThatLeftTooSoonAndThoseOfNobodyAreSaid(t *testing.T) {
	b := begin(t)
	path := b.file()["path"].(string)
	b.commit(action("remove", map[string]any{"path": path, "dataChange": true, "deletionTimestamp": time.Now().UnixMilli()}))
	b.sound(check.Options{})
	delete(b.objects, "t/"+path)
	b.says(check.Warning, "it left the table at")
	b.later = 90 * time.Minute // beyond delta.deletedFileRetentionDuration
	b.sound(check.Options{})

	b.objects["t/data/2020-01-01/forgotten.parquet"] = []byte("12345")
	b.says(check.Info, "data file (5 bytes) that no version of the table names")
	b.later = 30 * time.Minute // somebody may be about to commit it
	for _, p := range b.all(check.Options{}).Problems() {
		if strings.Contains(p.What, "no version of the table names") {
			t.Error(&p)
		}
	}
}

func TestAFileThatLeavesDuringTheCheckIsNoProblem(t *testing.T) {
	for _, committed := range []bool{true, false} {
		b := begin(t)
		f := b.file()
		key := "t/" + f["path"].(string)
		store := b.store()
		other := store.Handle()
		store.SetFaults(func(r mem.Request) mem.Fault {
			if r.Key == key { // about to be read
				if committed {
					tip := b.tip() + 1
					b.commit(action("remove", map[string]any{"path": f["path"], "dataChange": true, "deletionTimestamp": 1}))
					if _, err := other.Put(t.Context(), entryKey(tip), b.objects[entryKey(tip)]); err != nil {
						t.Error(err)
					}
				}
				if _, err := other.Delete(t.Context(), key); err != nil {
					t.Error(err)
				}
			}
			return mem.Fault{}
		})
		report, err := check.Table(t.Context(), store, "t", check.Options{Dense: true})
		if err != nil {
			t.Fatal(err)
		}
		if report.Sound() != committed {
			t.Errorf("removed by a commit: %v, but %s: %v", committed, report.Summary(), report.Problems)
		}
	}
}

func TestALogThatIsCleanedUpDuringTheCheckIsReadAgain(t *testing.T) {
	b := begin(t)
	_, checkpoint := b.checkpoint()
	store := b.store()
	other := store.Handle()
	store.SetFaults(func(r mem.Request) mem.Fault {
		if r.Key == entryKey(20) {
			for v := range checkpoint {
				if _, err := other.Delete(t.Context(), entryKey(v)); err != nil {
					t.Error(err)
				}
			}
		}
		return mem.Fault{}
	})
	report, err := check.Table(t.Context(), store, "t", check.Options{})
	if err != nil || !report.Sound() || report.Counts.Versions > b.tip()-checkpoint+1 {
		t.Errorf("%v, %+v", err, report)
	}
}

func TestEntriesBeforeTheCheckpointThatTheLogBeginsWithTellNothingOfProducers(t *testing.T) {
	b := begin(t)
	_, checkpoint := b.checkpoint()
	// As cleanup leaves it that was stopped: the checkpoint before is gone, and its
	// producers' state and the entries behind it are not.
	b.objects[fmt.Sprintf("t/_sluice/state/%020d", checkpoint-9)] = fmt.Appendf(nil, `{"version":%d,"table":%q}`, checkpoint-9, b.metaData()["id"])
	for v := range checkpoint - 9 {
		delete(b.objects, entryKey(v))
	}
	if report := b.all(check.Options{}); !report.Sound() {
		t.Error(report.Problems())
	}
}

func TestTheProducersStateIsComparedWithTheLog(t *testing.T) {
	state := func(b *broken) string {
		for _, key := range slices.Sorted(maps.Keys(b.objects)) {
			if strings.HasPrefix(key, "t/_sluice/state/") {
				return key
			}
		}
		t.Fatal("no state snapshot")
		return ""
	}
	b := begin(t)
	delete(b.objects, state(b))
	b.says(check.Error, "no snapshot of the producers' state")

	b = begin(t)
	b.objects[state(b)] = []byte("nonsense")
	b.says(check.Error, "cannot be read")

	type snapshot struct {
		Version   int64     `json:"version"`
		Table     string    `json:"table"`
		Producers [][]int64 `json:"producers"`
	}
	change := func(f func(s *snapshot)) *broken {
		b := begin(t)
		key := state(b)
		var s snapshot
		if err := json.Unmarshal(b.objects[key], &s); err != nil {
			t.Fatal(err)
		}
		f(&s)
		b.objects[key], _ = json.Marshal(s)
		return b
	}
	change(func(*snapshot) {}).sound(check.Options{})
	change(func(s *snapshot) { s.Producers[0][3]++ }).says(check.Error, "the log does not")
	change(func(s *snapshot) { s.Producers = append(s.Producers, []int64{0, 8, 0, 0, 0, 9999, 0, -1}) }).says(check.Error, "the next offset is 130")
	change(func(s *snapshot) {
		s.Producers = slices.DeleteFunc(s.Producers, func(b []int64) bool { return b[0] == 1 })
	}).says(check.Error, "the producers' state lacks producer 7")
}
