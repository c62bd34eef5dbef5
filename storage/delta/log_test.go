package delta

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/storage/object"
	"sluice/storage/object/mem"
)

const testTable = "orders"

// testFirst is a version 0 as a topic has it.
func testFirst(txnID string) *Entry {
	return &Entry{
		Version: 0,
		Info:    &CommitInfo{Timestamp: 1000, Operation: "CREATE TABLE", IsBlindAppend: true, EngineInfo: "sluice/test", TxnID: txnID},
		Protocol: &Protocol{
			MinReaderVersion: 1, MinWriterVersion: 7,
			WriterFeatures: []string{FeatureAppendOnly, FeatureInvariants, FeatureSluice},
		},
		Metadata: &Metadata{
			ID: "5f0c2f1e-0a51-4d0e-9d0a-6d7c2b1c0001", Name: "orders",
			SchemaString: `{"type":"struct","fields":[{"name":"offset","type":"long","nullable":true,"metadata":{}}]}`,
			Configuration: map[string]string{
				"delta.enableExpiredLogCleanup":      "false",
				"delta.logRetentionDuration":         "interval 1 hour",
				"delta.deletedFileRetentionDuration": "interval 1 hour",
			},
			CreatedTime: 1000,
		},
	}
}

// testAppend is an append of one file to version-1.
func testAppend(version int64, txnID string) *Entry {
	return &Entry{
		Version: version,
		Info:    &CommitInfo{Timestamp: 1000 + version, Operation: "WRITE", IsBlindAppend: true, EngineInfo: "sluice/test", TxnID: txnID},
		Txns:    []Txn{{AppID: "next/0", Version: version, LastUpdated: 1000 + version}},
		Adds: []Add{{
			Path: fmt.Sprintf("data/%06d-%s.parquet", version, txnID), Size: 100, ModificationTime: 1000 + version, DataChange: true,
			Stats: fmt.Sprintf(`{"numRecords":1,"minValues":{"offset":%d},"maxValues":{"offset":%d},"nullCount":{"offset":0}}`, version, version),
		}},
	}
}

// testTableAt makes a table of versions 0 to last and returns its newest snapshot.
func testTableAt(t testing.TB, l *Log, last int64) *Snapshot {
	t.Helper()
	s, err := l.Create(t.Context(), testFirst("first"))
	if err != nil {
		t.Fatal(err)
	}
	testExtend(t, l, s, last)
	return s
}

// testExtend commits appends up to version last.
func testExtend(t testing.TB, l *Log, s *Snapshot, last int64) {
	t.Helper()
	for s.Version < last {
		testCommit(t, l, s, testAppend(s.Version+1, fmt.Sprintf("t%d", s.Version+1)))
	}
}

func testCommit(t testing.TB, l *Log, s *Snapshot, e *Entry) {
	t.Helper()
	now, foreign, err := l.Commit(t.Context(), e, s.Proved)
	if err != nil || foreign != nil {
		t.Fatalf("commit of version %d: foreign %v, error %v", e.Version, foreign, err)
	}
	if err := s.Apply(e); err != nil {
		t.Fatal(err)
	}
	s.Proved = now
}

// testAudit reads a log past all code under test: versions without gaps from the
// newest checkpoint (or 0) on, one action on each line, no txnId twice. It
// returns the txnIds by version.
func testAudit(t testing.TB, store object.Store, table string) map[int64]string {
	t.Helper()
	ids := map[int64]string{}
	seen := map[string]int64{}
	versions, base := []int64{}, int64(-1)
	_, err := object.All(context.Background(), store, object.ListRequest{Prefix: table + "/_delta_log/0"}, func(info object.Info) error {
		name := info.Key[len(table+"/_delta_log/"):]
		var version int64
		if _, err := fmt.Sscanf(name[:20], "%d", &version); err != nil {
			return err
		}
		if strings.HasSuffix(name, ".checkpoint.parquet") {
			base = version
		}
		if !strings.HasSuffix(name, ".json") {
			return nil
		}
		versions = append(versions, version)
		o, err := store.Get(context.Background(), info.Key, object.Range{})
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(o.Body)) {
			var action map[string]map[string]any
			if err := json.Unmarshal([]byte(line), &action); err != nil || len(action) != 1 || !strings.HasSuffix(line, "\n") {
				return fmt.Errorf("version %d: not one action: %q: %w", version, line, err)
			}
			if info := action["commitInfo"]; info != nil {
				id, _ := info["txnId"].(string)
				if before, twice := seen[id]; twice {
					return fmt.Errorf("txnId %q in versions %d and %d", id, before, version)
				}
				seen[id], ids[version] = version, id
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, version := range versions {
		if version > base && version != max(base, -1)+1 && versions[i-1] != version-1 {
			t.Fatalf("gap before version %d: %v, checkpoint %d", version, versions, base)
		}
	}
	return ids
}

// testSame fails unless both snapshots hold the same table.
func testSame(t testing.TB, got, want *Snapshot) {
	t.Helper()
	g, w := got.Clone(), want.Clone()
	g.Proved, w.Proved, g.Checkpoint, w.Checkpoint = time.Time{}, time.Time{}, 0, 0
	for _, s := range []*Snapshot{g, w} {
		for name, add := range s.Files {
			c := *add
			c.DataChange = false // checkpoints do not keep it
			if len(c.PartitionValues) == 0 {
				c.PartitionValues = nil // as good as empty
			}
			s.Files[name] = &c
		}
		for name, remove := range s.Tombstones {
			c := *remove
			if len(c.PartitionValues) == 0 {
				c.PartitionValues = nil
			}
			s.Tombstones[name] = &c
		}
	}
	a, errA := json.MarshalIndent(g, "", " ")
	b, errB := json.MarshalIndent(w, "", " ")
	if err := errors.Join(errA, errB); err != nil {
		t.Fatal(err)
	}
	if string(a) != string(b) {
		t.Fatalf("snapshots differ\ngot  %s\nwant %s", a, b)
	}
}

// testReopen opens the table afresh and compares.
func testReopen(t testing.TB, store object.Store, want *Snapshot) *Snapshot {
	t.Helper()
	s, err := NewLog(store, testTable, Options{}).Open(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	testSame(t, s, want)
	return s
}

func newMemLog(o Options) (*mem.Store, *Log) {
	store := mem.New()
	return store, NewLog(store, testTable, o)
}

// inTime runs a test on fake time.
func inTime(t *testing.T, o Options, test func(t *testing.T, store *mem.Store, l *Log)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		store, l := newMemLog(o)
		test(t, store, l)
	})
}
