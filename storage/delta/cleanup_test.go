package delta

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/storage/object"
	"sluice/storage/object/mem"
)

// testVersions lists what the log has: entries as numbers, checkpoints as c and a
// number.
func testVersions(t *testing.T, store object.Store) string {
	t.Helper()
	var have []string
	_, err := object.All(t.Context(), store, object.ListRequest{Prefix: logPrefix(testTable)}, func(info object.Info) error {
		switch name := parseLogKey(strings.TrimPrefix(info.Key, testTable+"/_delta_log/")); name.kind {
		case logEntry:
			have = append(have, fmt.Sprint(name.version))
		case logCheckpoint:
			have = append(have, fmt.Sprintf("c%d", name.version))
		case logExtra:
			have = append(have, fmt.Sprintf("x%d", name.version))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(have, " ")
}

// testHourly makes a table of an entry per ten minutes, with a checkpoint every
// five versions. Its log retention is one hour, the window 15 minutes.
func testHourly(t *testing.T, store *mem.Store, l *Log, last int64) *Snapshot {
	t.Helper()
	s := testTableAt(t, l, 0)
	for s.Version < last {
		time.Sleep(10 * time.Minute)
		testCommit(t, l, s, testAppend(s.Version+1, fmt.Sprintf("t%d", s.Version+1)))
		if s.Version%5 == 0 {
			if err := l.WriteCheckpoint(t.Context(), s, s.Proved); err != nil {
				t.Fatal(err)
			}
		}
	}
	return s
}

func TestCleanupKeepsWhatIsYoungAndLeavesNoGap(t *testing.T) {
	for _, test := range []struct {
		name     string
		options  Options
		last     int64
		keepFrom int64
		want     string
	}{
		// Now is version 20's time: entries 14 to 20 are an hour old at most.
		{"all behind the newest old checkpoint", Options{}, 20, 99, "c10 10 11 12 13 14 c15 15 16 17 18 19 c20 20"},
		{"up to an entry that is needed", Options{}, 20, 9, "c5 5 6 7 8 9 c10 10 11 12 13 14 c15 15 16 17 18 19 c20 20"},
		{"nothing if the first entry is needed", Options{}, 20, 0, "0 1 2 3 4 c5 5 6 7 8 9 c10 10 11 12 13 14 c15 15 16 17 18 19 c20 20"},
		{"nothing before the retention is over", Options{}, 5, 99, "0 1 2 3 4 c5 5"},
		{"more by number, but nothing younger than the window", Options{MaxEntries: 1}, 21, 99, "c20 20 21"},
		{"a window above the retention counts", Options{Window: 3 * time.Hour}, 24, 99, "c5 5 6 7 8 9 c10 10 11 12 13 14 c15 15 16 17 18 19 c20 20 21 22 23 24"},
	} {
		t.Run(test.name, func(t *testing.T) {
			inTime(t, test.options, func(t *testing.T, store *mem.Store, l *Log) {
				s := testHourly(t, store, l, test.last)
				before := strings.Fields(testVersions(t, store))
				n, err := l.Cleanup(t.Context(), s, test.keepFrom, nil)
				if err != nil {
					t.Fatal(err)
				}
				got := testVersions(t, store)
				if got != test.want {
					t.Errorf("left %s\nwant %s", got, test.want)
				}
				if n != len(before)-len(strings.Fields(got)) {
					t.Errorf("says %d removed", n)
				}
				testAudit(t, store, testTable)
				testReopen(t, store, s)
				if n, err := l.Cleanup(t.Context(), s, test.keepFrom, nil); n != 0 || err != nil {
					t.Errorf("again: %d, %v", n, err)
				}
			})
		})
	}
}

func TestCleanupRestsOnACheckpointThatCanBeRead(t *testing.T) {
	inTime(t, Options{}, func(t *testing.T, store *mem.Store, l *Log) {
		s := testHourly(t, store, l, 20)
		if _, err := store.Put(t.Context(), CheckpointKey(testTable, 10), []byte("PAR1 torn PAR1")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(16 * time.Minute) // the torn one is no longer young
		// Another process, which has not written these checkpoints.
		fresh := NewLog(store, testTable, Options{})
		if _, err := fresh.Cleanup(t.Context(), s, 14, nil); err != nil {
			t.Fatal(err)
		}
		if got := testVersions(t, store); !strings.HasPrefix(got, "c5 5 6 7 8 9 c10 10 11") {
			t.Fatal(got)
		}
		testReopen(t, store, s)
	})
}

func TestCleanupTakesWhatOthersLeave(t *testing.T) {
	inTime(t, Options{}, func(t *testing.T, store *mem.Store, l *Log) {
		for _, name := range []string{
			"00000000000000000003.crc", "00000000000000000003.00000000000000000006.compacted.json", "00000000000000000012.crc",
			".00000000000000000003.json.crc", "_staged_commits/00000000000000000003.x.json", "_trino_meta/extended_stats.json",
		} {
			if _, err := store.Put(t.Context(), testTable+"/_delta_log/"+name, []byte("x")); err != nil {
				t.Fatal(err)
			}
		}
		s := testHourly(t, store, l, 20)
		if _, err := l.Cleanup(t.Context(), s, s.Version, nil); err != nil {
			t.Fatal(err)
		}
		if got := testVersions(t, store); got != "c10 10 11 x12 12 13 14 c15 15 16 17 18 19 c20 20" {
			t.Fatal(got)
		}
		page, err := store.List(t.Context(), object.ListRequest{Prefix: testTable + "/_delta_log/_"})
		if err != nil || len(page.Objects) != 3 {
			t.Fatal(page.Objects, err)
		}
		testReopen(t, store, s)
	})
}

func TestCleanupOfALongLogGoesInSteps(t *testing.T) {
	inTime(t, Options{}, func(t *testing.T, store *mem.Store, l *Log) {
		testTableAt(t, l, 0)
		body := []byte("{\"commitInfo\":{\"timestamp\":2000}}\n")
		const last = cleanupKeys + 500
		for version := int64(1); version <= last; version++ {
			if _, err := store.Create(t.Context(), EntryKey(testTable, version), body); err != nil {
				t.Fatal(err)
			}
		}
		s, err := l.Open(t.Context(), nil)
		if err != nil || s.Version != last {
			t.Fatal(s, err)
		}
		if err := l.WriteCheckpoint(t.Context(), s, s.Proved); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Hour)
		for _, want := range []int{cleanupKeys, 500, 0} {
			if n, err := l.Cleanup(t.Context(), s, s.Version, nil); n != want || err != nil {
				t.Fatalf("removed %d, want %d, %v", n, want, err)
			}
		}
		testReopen(t, store, s)
	})
}

// A listing of a directory reads all of its names: one for each checkpoint would cost
// more than the commits.
func TestCleanupLooksAtTheLogOnlyIfSomethingMayGo(t *testing.T) {
	inTime(t, Options{}, func(t *testing.T, store *mem.Store, l *Log) {
		s := testHourly(t, store, l, 20)
		lists := 0
		store.SetFaults(func(r mem.Request) mem.Fault {
			if r.Kind == object.KindList {
				lists++
			}
			return mem.Fault{}
		})
		cleanup := func(wantLists, want int) {
			t.Helper()
			before := lists
			n, err := l.Cleanup(t.Context(), s, s.Version, nil)
			if n != want || err != nil || lists-before != wantLists {
				t.Fatalf("removed %d, want %d, with %d lists, want %d, %v", n, want, lists-before, wantLists, err)
			}
		}
		cleanup(1, 11) // entries 0 to 9 and a checkpoint; entry 14 is an hour old
		cleanup(0, 0)
		testCommit(t, l, s, testAppend(21, "t21"))
		cleanup(0, 0)
		time.Sleep(time.Minute) // a hundredth of the retention, and more
		testCommit(t, l, s, testAppend(22, "t22"))
		cleanup(1, 6) // 10 to 14 and a checkpoint
		time.Sleep(11 * time.Minute)
		testCommit(t, l, s, testAppend(23, "t23"))
		cleanup(1, 0) // 15 may go, but there is no checkpoint behind it before 20
		l.SetMaxEntries(3)
		cleanup(1, 6)
		cleanup(0, 0)
		testReopen(t, store.Handle(), s)
	})
}

func TestCleanupThatFailsHalfwayLeavesAWholeLog(t *testing.T) {
	inTime(t, Options{}, func(t *testing.T, store *mem.Store, l *Log) {
		s := testHourly(t, store, l, 20)
		store.SetFaults(func(r mem.Request) mem.Fault {
			if r.Kind == object.KindDelete {
				return mem.Fault{Outcome: mem.Lose}
			}
			return mem.Fault{}
		})
		if _, err := l.Cleanup(t.Context(), s, s.Version, nil); !errors.Is(err, mem.ErrInjected) {
			t.Fatal(err)
		}
		testReopen(t, store.Handle(), s)
		testAudit(t, store.Handle(), testTable)
	})
}

func TestATableOfUnknownFeaturesIsNotKept(t *testing.T) {
	store, l := newMemLog(Options{})
	s := testTableAt(t, l, 1)
	s.Protocol.WriterFeatures = append(slices.Clone(s.Protocol.WriterFeatures), "domainMetadata")
	before := testVersions(t, store)
	if err := l.WriteCheckpoint(t.Context(), s, time.Now()); !errors.Is(err, ErrUnsupported) {
		t.Error(err)
	}
	if _, err := l.Cleanup(t.Context(), s, 1, nil); !errors.Is(err, ErrUnsupported) {
		t.Error(err)
	}
	if after := testVersions(t, store); after != before {
		t.Error(after)
	}
}

func TestSnapshotsOfOldVersions(t *testing.T) {
	inTime(t, Options{}, func(t *testing.T, store *mem.Store, l *Log) {
		want := map[int64]*Snapshot{}
		s := testTableAt(t, l, 0)
		for s.Version < 12 {
			want[s.Version] = s.Clone()
			testCommit(t, l, s, testAppend(s.Version+1, fmt.Sprintf("t%d", s.Version+1)))
			if s.Version == 5 || s.Version == 8 {
				if err := l.WriteCheckpoint(t.Context(), s, s.Proved); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, version := range slices.Sorted(maps.Keys(want)) {
			got, err := l.OpenAt(t.Context(), version)
			if err != nil {
				t.Fatalf("version %d: %v", version, err)
			}
			testSame(t, got, want[version])
		}
		for _, version := range []int64{-1, 13, 1 << 62, allVersions} {
			if _, err := l.OpenAt(t.Context(), version); !errors.Is(err, ErrNoVersion) {
				t.Errorf("version %d: %v", version, err)
			}
		}
		time.Sleep(2 * time.Hour)
		if _, err := l.Cleanup(t.Context(), s, s.Version, nil); err != nil {
			t.Fatal(err)
		}
		for version := range int64(12) {
			_, err := l.OpenAt(t.Context(), version)
			if version < 8 && !errors.Is(err, ErrNoVersion) || version >= 8 && err != nil {
				t.Errorf("version %d after cleanup: %v", version, err)
			}
		}
	})
}
