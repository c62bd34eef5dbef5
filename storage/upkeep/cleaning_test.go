package upkeep

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"sluice/protocol/record"
	"sluice/storage/rows"
)

// put and gone are records as Keep sees them.
func put(key string) *record.Record  { return &record.Record{Key: []byte(key), Value: []byte("v")} }
func gone(key string) *record.Record { return &record.Record{Key: []byte(key)} }

// learn takes up keys at the offsets from first on.
func learn(t *testing.T, c *Cleaning, partition int32, first int64, keys ...string) {
	t.Helper()
	for i, key := range keys {
		if !c.Learn(partition, first+int64(i), []byte(key)) {
			t.Fatalf("no room for key %d", i)
		}
	}
}

func TestTheLatestRecordOfAKeyStays(t *testing.T) {
	c := NewCleaning(1000, 100, []Partition{{Through: 9, Newest: 20}, {Through: 9, Newest: 20}}, MaxKeys)
	learn(t, c, 0, 0, "a", "b", "a", "", "")
	learn(t, c, 1, 0, "b")
	for _, r := range []struct {
		partition int32
		offset    int64
		record    *record.Record
		stays     bool
	}{
		{0, 0, put("a"), false},
		{0, 1, put("b"), true},
		{0, 2, put("a"), true},
		{0, 3, put(""), false}, // an empty key is a key
		{0, 4, put(""), true},
		{0, 5, put("unknown"), true},
		{0, 6, &record.Record{Value: []byte("v")}, false}, // of a time without compaction
		{0, 10, &record.Record{Value: []byte("v")}, true}, // not cleaned yet
		{1, 0, put("b"), true},                            // a key of another partition is another key
		{7, 0, put("a"), true},                            // no partition of the topic
	} {
		if c.Keep(r.partition, r.offset, r.record) != r.stays {
			t.Errorf("record %d-%d: want %v", r.partition, r.offset, r.stays)
		}
	}
	if kept, removed := c.Counts(); kept != 7 || removed != 3 {
		t.Error(kept, removed)
	}
}

func TestRecordsBeforeTheLogStartGo(t *testing.T) {
	c := NewCleaning(1000, 100, []Partition{{Start: 5, Through: 9, Newest: 9}}, MaxKeys)
	if c.Keep(0, 4, put("a")) || !c.Keep(0, 5, put("b")) {
		t.Error("the log starts at 5")
	}
}

func TestATombstoneGoesWhenItsTimeIsOverSinceItWasFirstCleaned(t *testing.T) {
	file := []rows.Range{{Partition: 0, First: 0, Last: 9, Rows: 4}}
	first := NewCleaning(1000, 100, []Partition{{Through: 9, Newest: 9}}, MaxKeys)
	learn(t, first, 0, 0, "a", "a")
	if first.Keep(0, 0, put("a")) || !first.Keep(0, 1, gone("a")) || !first.Keep(0, 9, gone("z")) {
		t.Fatal("a tombstone is its key's latest record")
	}
	marks := ParseMarks(map[string]string{CleanTag: first.Marks(file).Tag(file)})
	if fmt.Sprint(marks) != "[{0 1 1100} {0 9 0}]" {
		t.Fatal(marks)
	}
	// The next cleaning neither drops it early nor gives it more time.
	second := NewCleaning(1099, 100, []Partition{{Dirty: 10, Through: 12, Newest: 12, Marks: marks}}, MaxKeys)
	learn(t, second, 0, 10, "b", "c", "c")
	stays := []bool{second.Keep(0, 1, gone("a")), second.Keep(0, 9, gone("z")), second.Keep(0, 10, gone("b")), second.Keep(0, 12, put("c"))}
	if fmt.Sprint(stays) != "[true true true true]" {
		t.Fatal(stays)
	}
	file[0].Last = 12
	marks = second.Marks(file)
	if fmt.Sprint(marks) != "[{0 1 1100} {0 10 1199} {0 12 0}]" {
		t.Fatal(marks)
	}
	third := NewCleaning(1100, 100, []Partition{{Dirty: 13, Through: 12, Newest: 12, Marks: marks}}, MaxKeys)
	if third.Keep(0, 1, gone("a")) || !third.Keep(0, 9, gone("z")) {
		t.Error("the first one's time is over, the second one's is not")
	}
}

func TestATombstoneAmongDirtyRecordsIsNotGivenUpByAnOldMark(t *testing.T) {
	// An engine has rewritten an older file: what it holds may have any key.
	c := NewCleaning(1000, 100, []Partition{{Dirty: 0, Through: 9, Newest: 9, Marks: []Mark{{0, 5, 500}}}}, MaxKeys)
	if !c.Keep(0, 5, gone("a")) {
		t.Error("gone at once")
	}
}

func TestTheNewestRecordStaysWhateverItIs(t *testing.T) {
	c := NewCleaning(1000, 100, []Partition{{Dirty: 4, Through: 3, Newest: 3, Marks: []Mark{{0, 3, 500}}}}, MaxKeys)
	learn(t, c, 0, 9, "a") // produced meanwhile
	if c.Keep(0, 2, gone("b")) || !c.Keep(0, 3, gone("a")) {
		t.Error("only the newest stays")
	}
	if marks := c.Marks([]rows.Range{{Partition: 0, First: 3, Last: 3, Rows: 1}}); marks.Latest() != 0 || marks.Through(0) != 3 {
		t.Error("its time has not begun:", marks)
	}
}

func TestACleaningReachesAsFarAsItsKeys(t *testing.T) {
	c := NewCleaning(1000, 100, []Partition{{Through: 99, Newest: 99}}, 2)
	learn(t, c, 0, 0, "a", "b", "a")
	if c.Learn(0, 3, []byte("c")) {
		t.Fatal("room for a third key")
	}
	c.End(0, 2)
	if c.Keep(0, 0, put("a")) || !c.Keep(0, 2, put("a")) || !c.Keep(0, 3, put("c")) || !c.Keep(0, 4, put("a")) {
		t.Error("what is behind its end stays")
	}
	if marks := c.Marks([]rows.Range{{Partition: 0, First: 1, Last: 4, Rows: 4}}); fmt.Sprint(marks) != "[{0 2 0}]" {
		t.Error(marks)
	}
}

func TestMarksOfOthersAreReadWithCare(t *testing.T) {
	for tag, want := range map[string]string{
		"0:5":                     "[{0 5 0}]",
		"0:5@7 0:9 3:1@8":         "[{0 5 7} {0 9 0} {3 1 8}]",
		"*":                       "[{-1 9223372036854775807 0}]",
		"*@9":                     "[{-1 9223372036854775807 9}]",
		"":                        "[]",
		"1":                       "[]",
		"0:5 0:5":                 "[]",
		"1:5 0:5":                 "[]",
		"0:-5":                    "[]",
		"0:5@0":                   "[]",
		"0:5@x":                   "[]",
		"4294967296:5":            "[]",
		"0:5  0:6":                "[]",
		strings.Repeat("1", 5000): "[]",
	} {
		if got := fmt.Sprint(ParseMarks(map[string]string{CleanTag: tag})); got != want {
			t.Errorf("%.20q: %s, want %s", tag, got, want)
		}
	}
}

func TestATagStaysShortAndDoesNotPutTombstonesOff(t *testing.T) {
	const day = 86_400_000
	var marks Marks
	for i := range int64(1000) { // a cleaning a minute
		marks = append(marks, Mark{0, i * 100, day + i*61_000})
	}
	ranges := []rows.Range{{Partition: 0, First: 0, Last: 99_900, Rows: 99_901}}
	last := int64(0)
	for range 5 { // rewriting it again and again changes nothing any more
		tag := marks.Tag(ranges)
		if len(tag) > maxTag {
			t.Fatal(len(tag), "bytes")
		}
		marks = ParseMarks(map[string]string{CleanTag: tag})
	}
	if marks.Through(0) != 99_900 {
		t.Error(marks.Through(0))
	}
	for i := range int64(1000) {
		p := Partition{Dirty: math.MaxInt64, Marks: marks}
		got, want := p.horizon(i*100), day+i*61_000
		if got < want || got > want+20*60_000 || got < last {
			t.Fatalf("tombstone %d may go at %d instead of %d", i, got, want)
		}
		last = got
	}
}

func TestAFileOfVeryManyPartitionsHasAShortTagToo(t *testing.T) {
	var marks Marks
	var ranges []rows.Range
	for p := range int32(2000) {
		ranges = append(ranges, rows.Range{Partition: p, First: 0, Last: 1_000_000, Rows: 5})
		marks = append(marks, Mark{p, 1_000_000, 5_000_000 + int64(p)})
	}
	whole := ParseMarks(map[string]string{CleanTag: marks.Tag(ranges)})
	if whole.Through(1999) < 1_000_000 || whole.Latest() < 5_001_999 {
		t.Error(whole)
	}
	// One that is not clean to its end: its last partitions are dirty again.
	ranges[0].Last++
	part := ParseMarks(map[string]string{CleanTag: marks.Tag(ranges)})
	if part.Through(0) != 1_000_000 || part.Through(100) != 1_000_000 || part.Through(1999) != -1 {
		t.Error(part)
	}
}
