package delta

import (
	"errors"
	"testing"
	"time"

	"sluice/storage/object"
)

func TestASnapshotFollowsEntries(t *testing.T) {
	s := NewSnapshot()
	for _, e := range []*Entry{testFirst("a"), testAppend(1, "b"), testAppend(2, "c")} {
		if err := s.Apply(e); err != nil {
			t.Fatal(err)
		}
	}
	before := s.Clone()
	err := s.Apply(&Entry{
		Version: 3, Txns: []Txn{{AppID: "next/0", Version: 9}},
		Removes: []Remove{{Path: "data/000001-b.parquet", DeletionTimestamp: 5}},
		Adds:    []Add{{Path: "data/000002-c.parquet", Size: 7}}, // once more, with another size
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Files) != 1 || s.Files["data/000002-c.parquet"].Size != 7 || len(s.Tombstones) != 1 || s.Txns["next/0"].Version != 9 {
		t.Fatalf("%+v", s)
	}
	if len(before.Files) != 2 || before.Files["data/000002-c.parquet"].Size != 100 || before.Version != 2 {
		t.Fatal("a clone changed with its original")
	}
	// A removed file that is added again lives.
	if err := s.Apply(&Entry{Version: 4, Adds: []Add{{Path: "data/000001-b.parquet"}}}); err != nil || len(s.Tombstones) != 0 || len(s.Files) != 2 {
		t.Fatalf("%v %+v", err, s)
	}
	// An engine may encode a path in its own way.
	if err := s.Apply(&Entry{Version: 5, Removes: []Remove{{Path: "data/%30%300001-b.parquet"}}}); err != nil || len(s.Files) != 1 {
		t.Fatalf("%v %+v", err, s.Files)
	}
}

func TestAnEntryThatCannotBeAppliedChangesNothing(t *testing.T) {
	s := NewSnapshot()
	if err := s.Apply(testAppend(0, "x")); !errors.Is(err, ErrCorrupt) || s.Version != -1 || len(s.Files) != 0 {
		t.Fatalf("version 0 without metadata: %v", err)
	}
	if err := s.Apply(testFirst("a")); err != nil {
		t.Fatal(err)
	}
	want := s.Clone()
	wrong := testAppend(1, "b")
	wrong.Protocol = &Protocol{MinReaderVersion: 3, MinWriterVersion: 7, ReaderFeatures: []string{"deletionVectors"}}
	if err := s.Apply(wrong); !errors.Is(err, ErrUnsupported) {
		t.Fatal(err)
	}
	wrong = testAppend(1, "b")
	wrong.Metadata = &Metadata{Format: Format{Provider: "orc"}}
	if err := s.Apply(wrong); !errors.Is(err, ErrUnsupported) {
		t.Fatal(err)
	}
	if err := s.Apply(testAppend(2, "b")); !errors.Is(err, ErrCorrupt) {
		t.Fatal(err)
	}
	testSame(t, s, want)
}

func TestAProtocolSaysWhatItNeeds(t *testing.T) {
	for _, test := range []struct {
		p           Protocol
		read, write string // the feature that is missing
	}{
		{Protocol{MinReaderVersion: 1, MinWriterVersion: 1}, "", ""},
		{Protocol{MinReaderVersion: 1, MinWriterVersion: 2}, "", ""},
		{Protocol{MinReaderVersion: 1, MinWriterVersion: 3}, "", "checkConstraints"},
		{Protocol{MinReaderVersion: 1, MinWriterVersion: 4}, "", "checkConstraints, generatedColumns"},
		{Protocol{MinReaderVersion: 1, MinWriterVersion: 7}, "", ""},
		{Protocol{MinReaderVersion: 1, MinWriterVersion: 7, WriterFeatures: []string{"sluice", "appendOnly", "invariants"}}, "", ""},
		{Protocol{MinReaderVersion: 1, MinWriterVersion: 7, WriterFeatures: []string{"sluice", "domainMetadata", "rowTracking"}}, "", "domainMetadata, rowTracking"},
		{Protocol{MinReaderVersion: 1, MinWriterVersion: 8}, "", "writer version 8"},
		{Protocol{MinReaderVersion: 2, MinWriterVersion: 5}, "columnMapping", "columnMapping"},
		{Protocol{MinReaderVersion: 3, MinWriterVersion: 7, ReaderFeatures: []string{"deletionVectors"}}, "deletionVectors", "deletionVectors"},
		{Protocol{MinReaderVersion: 3, MinWriterVersion: 7}, "reader version 3", "reader version 3"},
		{Protocol{MinReaderVersion: 9, MinWriterVersion: 9}, "reader version 9", "reader version 9"},
	} {
		for _, want := range []struct {
			err     error
			feature string
		}{{test.p.CanRead(), test.read}, {test.p.CanWrite(KnownFeatures...), test.write}} {
			var unsupported *UnsupportedError
			got := ""
			if errors.As(want.err, &unsupported) {
				got = unsupported.Feature
			}
			if got != want.feature || (want.err != nil) != errors.Is(want.err, ErrUnsupported) {
				t.Errorf("%+v: %v, want %q", test.p, want.err, want.feature)
			}
		}
	}
	if err := (Protocol{MinReaderVersion: 1, MinWriterVersion: 2}).CanWrite(FeatureSluice); err == nil {
		t.Error("a writer that knows no invariants writes a table of version 2")
	}
}

func TestTombstonesExpire(t *testing.T) {
	s := NewSnapshot()
	if err := s.Apply(testFirst("a")); err != nil { // an hour
		t.Fatal(err)
	}
	now := time.UnixMilli(10_000_000)
	old, young := now.Add(-61*time.Minute).UnixMilli(), now.Add(-59*time.Minute).UnixMilli()
	if err := s.Apply(&Entry{Version: 1, Removes: []Remove{{Path: "old", DeletionTimestamp: old}, {Path: "young", DeletionTimestamp: young}}}); err != nil {
		t.Fatal(err)
	}
	if expired := s.Expired(now); len(expired) != 1 || expired[0].Path != "old" {
		t.Fatalf("%+v", expired)
	}
}

func TestTimestampsRise(t *testing.T) {
	s := NewSnapshot()
	if err := s.Apply(testFirst("a")); err != nil { // timestamp 1000
		t.Fatal(err)
	}
	if got := s.NextTimestamp(time.UnixMilli(5)); got != 1001 {
		t.Error(got)
	}
	if got := s.NextTimestamp(time.UnixMilli(5000)); got != 5000 {
		t.Error(got)
	}
}

func TestIntervals(t *testing.T) {
	const day = 24 * time.Hour
	for text, want := range map[string]time.Duration{
		"interval 7 days": 7 * day, "INTERVAL 1 WEEK": 7 * day, "30 minutes": 30 * time.Minute,
		"interval 1 day 2 hours": 26 * time.Hour, "interval 9223372036854775807 weeks": maxInterval,
		"interval 1 month": -1, "": -1, "interval": -1, "interval x days": -1, "interval -1 days": -1, "7": -1,
	} {
		got, err := ParseInterval(text)
		if err != nil {
			got = -1
		}
		if got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	m := Metadata{Configuration: map[string]string{PropertyLogRetention: "nonsense"}}
	if m.LogRetention() != 30*day || m.DeletedFileRetention() != 7*day {
		t.Error(m.LogRetention(), m.DeletedFileRetention())
	}
}

func TestPathsBecomeKeys(t *testing.T) {
	_, l := newMemLog(Options{})
	for path, want := range map[string]string{
		"data/a.parquet":             "orders/data/a.parquet",
		"a%20b.parquet":              "orders/a b.parquet",
		"mem://orders/data/x":        "orders/data/x",
		"/duckdb-1.parquet":          "orders/duckdb-1.parquet",
		"mem://other/data/x":         "",
		"s3://elsewhere/orders/x":    "",
		"../other/x":                 "",
		"%2e%2e/other/x":             "",
		"data//x":                    "",
		"":                           "",
		"caf%C3%A9.parquet":          "",
		"mem://orders/../other/data": "",
		"100%.parquet":               "orders/100%.parquet",
	} {
		got, err := l.DataKey(path)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("%q: %q, %v", path, got, err)
		}
		if err != nil && !errors.Is(err, ErrUnsupported) && !errors.Is(err, object.ErrBadKey) {
			t.Errorf("%q: %v", path, err)
		}
	}
}

func TestKeysOfALogAreTold(t *testing.T) {
	for name, want := range map[string]logName{
		"00000000000000000007.json":                                                      {logEntry, 7, 1, 1},
		"00000000000000000007.checkpoint.parquet":                                        {logCheckpoint, 7, 1, 1},
		"00000000000000000007.checkpoint.0000000002.0000000003.parquet":                  {logCheckpoint, 7, 2, 3},
		"00000000000000000007.checkpoint.80a083e8-7026-4e79-81be-64bd76c43a11.parquet":   {logV2, 7, 1, 1},
		"00000000000000000007.crc":                                                       {logExtra, 7, 1, 1},
		"00000000000000000007.00000000000000000009.compacted.json":                       {logExtra, 7, 1, 1},
		"00000000000000000007.checkpoint.0000000004.0000000003.parquet":                  {logOther, 7, 1, 1},
		"00000000000000000007.checkpoint.0000000001.9999999999.parquet":                  {logOther, 7, 1, 1},
		"00000000000000000007.json.tmp":                                                  {logOther, 7, 1, 1},
		"99999999999999999999.json":                                                      {},
		"0000000000000000000x.json":                                                      {},
		"_last_checkpoint":                                                               {},
		".00000000000000000007.json.crc":                                                 {},
		"_staged_commits/00000000000000000007.80a083e8-7026-4e79-81be-64bd76c43a11.json": {},
	} {
		if got := parseLogKey(name); got != want {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
