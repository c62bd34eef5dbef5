package delta

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice/storage/object"
	"sluice/storage/object/mem"
)

// exists lists which of the table's files are in the store.
func exists(t *testing.T, store object.Store) string {
	t.Helper()
	var names []string
	if _, err := object.All(t.Context(), store, object.ListRequest{Prefix: testTable + "/data/"}, func(i object.Info) error {
		names = append(names, strings.TrimSuffix(i.Key[len(testTable+"/data/"):], ".parquet"))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return strings.Join(names, " ")
}

// startFiles is a ledger of n files, 0-1 and on, of which the first is removed.
func startFiles(t *testing.T, store *mem.Store, n int) *ledger {
	t.Helper()
	l := startLedger(t, store, CommitterOptions{})
	for i := range n {
		l.append(i, true)
		time.Sleep(time.Second)
	}
	testRemove(t, l, "data/0-1.parquet")
	return l
}

func testRemove(t *testing.T, l *ledger, path string) {
	t.Helper()
	if err := l.Propose(t.Context(), func(*Snapshot) (*Entry, error) {
		return &Entry{Removes: []Remove{{Path: path, DataChange: true}}}, nil
	}); err != nil {
		t.Fatal(err)
	}
}

// tend is the regular look at a table, and time for what comes of it.
func (l *ledger) tend() {
	l.Tend()
	time.Sleep(time.Minute)
}

func TestFilesThatLeftTheTableAreDeletedWhenTheirTimeIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		l := startFiles(t, store, 3)
		time.Sleep(30 * time.Minute)
		testRemove(t, l, "data/1-2.parquet")
		time.Sleep(20 * time.Minute)
		if l.tend(); exists(t, store) != "0-1 1-2 2-3" {
			t.Error("before the time:", exists(t, store))
		}
		time.Sleep(20 * time.Minute)
		if l.tend(); exists(t, store) != "1-2 2-3" {
			t.Error("after the first one's time:", exists(t, store))
		}
		time.Sleep(30 * time.Minute) // no version since
		if l.tend(); exists(t, store) != "2-3" {
			t.Error("after the second one's time:", exists(t, store))
		}
		var requests atomic.Int32
		store.SetFaults(func(mem.Request) mem.Fault { requests.Add(1); return mem.Fault{} })
		for range 100 {
			l.tend()
		}
		if n := requests.Load(); n != 0 {
			t.Error(n, "requests for nothing")
		}
	})
}

func TestAFileThatAnEngineHasRestoredIsNotDeleted(t *testing.T) {
	for name, path := range map[string]string{"by its path": "data/0-1.parquet", "by a URI": ""} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := mem.New()
				l := startFiles(t, store, 1)
				time.Sleep(2 * time.Hour)
				other := NewLog(store.Handle(), testTable, Options{})
				s, err := other.Open(t.Context(), nil)
				if err != nil {
					t.Fatal(err)
				}
				if path == "" {
					path = strings.TrimSuffix(store.URL(), "/") + "/" + testTable + "/data/0-1.parquet"
				}
				testCommit(t, other, s, &Entry{
					Version: s.Version + 1, Info: &CommitInfo{TxnID: "restore", Timestamp: s.NextTimestamp(time.Now())},
					Adds: []Add{{Path: path, Size: 1, DataChange: true}},
				})
				for range 3 {
					l.tend()
				}
				if exists(t, store) != "0-1" {
					t.Error("a live file was deleted")
				}
				l.append(1, true) // now the committer knows, too
				time.Sleep(2 * time.Hour)
				l.tend()
				if exists(t, store) != "0-1 1-2" {
					t.Error("a live file was deleted:", exists(t, store))
				}
			})
		})
	}
}

func TestALeaderThatWasOvertakenDeletesNoFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		l := startFiles(t, store, 1)
		time.Sleep(2 * time.Hour)
		other := NewLog(store.Handle(), testTable, Options{})
		s, err := other.Open(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		e := testAppend(s.Version+1, "other")
		e.Info.Timestamp = s.NextTimestamp(time.Now())
		e.Txns = append(e.Txns, Txn{AppID: EpochApp, Version: 1})
		testCommit(t, other, s, e)
		if l.tend(); exists(t, store) != "0-1" {
			t.Error("a file was deleted")
		}
	})
}

func TestABrokerWhoseClockIsWrongKeepsThePromiseToReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		// The store's clock is a day ahead of this broker's, and then a day behind it.
		store.SetClock(func() time.Time { return time.Now().Add(24 * time.Hour) })
		l := startFiles(t, store, 1)
		s, err := NewLog(store.Handle(), testTable, Options{}).Open(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		removed := s.Tombstones["data/0-1.parquet"].DeletionTimestamp
		if at := time.UnixMilli(removed); time.Now().Add(24*time.Hour).Sub(at) > time.Minute {
			t.Error("a clock that is behind makes a tombstone of", at)
		}
		l.Close(t.Context())
		time.Sleep(24*time.Hour - 30*time.Minute)
		store.SetClock(func() time.Time { return time.Now().Add(-24 * time.Hour) })
		l = startLedger(t, store, CommitterOptions{})
		time.Sleep(2 * time.Hour)
		if l.tend(); exists(t, store) != "0-1" {
			t.Error("a clock that is ahead deletes a file early")
		}
		time.Sleep(24 * time.Hour)
		if l.tend(); exists(t, store) != "" {
			t.Error("a file stays for ever")
		}
	})
}

func TestATableThatHasGoneQuietGetsACheckpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		l := startLedger(t, store, CommitterOptions{})
		for i := range 30 {
			l.append(i, true)
			time.Sleep(time.Second)
		}
		if l.tend(); strings.Contains(testVersions(t, store), "c") {
			t.Error("while it is written to:", testVersions(t, store))
		}
		time.Sleep(quietAfter)
		if l.tend(); !strings.HasSuffix(testVersions(t, store), "c30 30") {
			t.Error("after it has gone quiet:", testVersions(t, store))
		}
		l.append(30, true)
		time.Sleep(time.Hour)
		if l.tend(); strings.Contains(testVersions(t, store), "c31") {
			t.Error("for one entry more:", testVersions(t, store))
		}
	})
}

func TestTheLogOfAnIdleTableIsCleanedUpOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		l := startLedger(t, store, CommitterOptions{})
		for i := range 250 {
			l.append(i, true)
			time.Sleep(time.Second)
		}
		for range 200 {
			l.tend()
		}
		// The files of entries before 250 were added again by 251.
		if got := testVersions(t, store); got != "c250 250 251" {
			t.Error("left:", got)
		}
		log := NewLog(store, testTable, Options{})
		if got := testEntriesOnly(t, log, 251); len(got) != 250 {
			t.Error(len(got), "files by entries")
		}
		var requests atomic.Int32
		store.SetFaults(func(mem.Request) mem.Fault { requests.Add(1); return mem.Fault{} })
		for range 2000 {
			l.tend()
		}
		if n := requests.Load(); n != 0 {
			t.Error(n, "requests for nothing")
		}
		store.SetFaults(nil)
		l.append(250, true)
		time.Sleep(time.Second)
		l.Close(t.Context())
		l.inOrder(251)
	})
}

func TestAProposalThatComesTooLateIsNotCommitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		l := startLedger(t, store, CommitterOptions{})
		var outage atomic.Bool
		outage.Store(true)
		store.SetFaults(func(r mem.Request) mem.Fault {
			if outage.Load() && r.Kind == object.KindCreate {
				return mem.Fault{Outcome: mem.Refuse}
			}
			return mem.Fault{}
		})
		l.append(0, true)
		time.Sleep(time.Second) // its entry is being put
		refused := make(chan error, 1)
		go func() {
			refused <- l.Propose(t.Context(), func(*Snapshot) (*Entry, error) {
				t.Error("a file of an hour ago is committed")
				return nil, nil
			})
		}()
		time.Sleep(time.Hour)
		outage.Store(false)
		if err := <-refused; fmt.Sprint(err) != "context deadline exceeded" {
			t.Error(err)
		}
		l.Close(t.Context())
		l.inOrder(1)
	})
}

// In the store its age counts from when it was begun, or from any moment after that: until
// it is deleted as an orphan there is the more time.
func TestTheAgeOfAFileCountsFromTheBeginningOfItsUpload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		l := startLedger(t, store, CommitterOptions{})
		var outage atomic.Bool
		outage.Store(true)
		store.SetFaults(func(r mem.Request) mem.Fault {
			switch {
			case outage.Load() && r.Kind == object.KindCreate:
				return mem.Fault{Outcome: mem.Refuse}
			case strings.Contains(r.Key, "/data/1-"):
				return mem.Fault{Delay: 10 * time.Second}
			}
			return mem.Fault{}
		})
		l.append(0, true)
		time.Sleep(time.Second) // its entry is being put
		l.append(1, true)
		time.Sleep(11 * time.Second) // its file is uploaded
		time.Sleep(MaxUploadAge - 6*time.Second)
		outage.Store(false)
		time.Sleep(time.Minute)
		if n := l.encodings.Load(); n != 3 {
			t.Error(n, "files of two pools: a file that was begun too long ago is committed")
		}
		l.Close(t.Context())
		l.inOrder(2)
	})
}
