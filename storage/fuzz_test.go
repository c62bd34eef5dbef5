package storage

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"sluice/storage/delta"
)

// FuzzState: a state snapshot may be anybody's. What is learnt of it is kept and read
// again, and is bounded once the first producer comes.
func FuzzState(f *testing.F) {
	f.Add(int64(7), []byte(`{"version":7,"table":"t","producers":[[0,9,0,0,4,10,1700000000000,-1],[1,9,3,2147483647,1,0,0,5]]}`))
	f.Add(int64(0), []byte(`{"version":-9223372036854775808,"producers":[[-1,-1,99999,-1,-1,-1,-1,-1]]}`))
	f.Add(int64(1), []byte(`{"version":1,"producers":[[0,1,70000,4294967296,0,9223372036854775807,9223372036854775807,0],[0,1,1,0,0,-5,0,0]]}`))
	f.Fuzz(func(t *testing.T, version int64, body []byte) {
		s, err := parseState(version, body)
		if err != nil {
			if !errors.Is(err, delta.ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		ps := newProducers()
		ps.learn(s.Producers, 10)
		ps.learn(s.Producers, 10)
		kept := ps.notes()
		again, err := json.Marshal(stateSnapshot{Version: version, note: note{Table: s.Table, Producers: kept}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parseState(version, again); err != nil {
			t.Fatalf("what we would write is unreadable: %v", err)
		}
		for key, p := range ps.byID {
			if len(p.batches) == 0 || len(p.batches) > maxBatches || key.partition < 0 || key.partition >= 10 {
				t.Fatalf("%+v: %+v", key, p)
			}
		}
		ps.expire(time.Now())
		if len(ps.byID) > maxProducers {
			t.Fatalf("%d producers", len(ps.byID))
		}
	})
}

// FuzzTable: the properties of a table and the names in it may be anybody's.
func FuzzTable(f *testing.F) {
	f.Add("sluice.partitions", "3", "retention.ms", "-1")
	f.Add("sluice.partitions", "2147483647", "sluice.deleted", "true")
	f.Fuzz(func(t *testing.T, a, x, b, y string) {
		p, err := parseProperties(map[string]string{a: x, b: y})
		if err != nil {
			return
		}
		if p.partitions < 1 || p.partitions > maxPartitions {
			t.Fatal(p.partitions)
		}
		settings, err := ParseSettings(p.config, nil)
		if err != nil {
			return
		}
		c := configuration(map[string]string{a: x, b: y}, p.partitions, p.config, settings)
		if back, err := parseProperties(c); err != nil || back.partitions != p.partitions {
			t.Fatalf("%v came back as %v, %v", p, back, err)
		}
		if n, ok := parseLogStartApp("id", x); ok && n < 0 {
			t.Fatal(n)
		}
	})
}
