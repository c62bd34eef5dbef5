package storage

import (
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"sluice/storage/delta"
	"sluice/storage/object"
	"sluice/storage/object/mem"
	"sluice/storage/upkeep"
)

// dataFiles lists the keys of a topic's data files in the store.
func dataFiles(t *testing.T, store object.Store, topic string) (keys []string) {
	t.Helper()
	if _, err := object.All(t.Context(), store, object.ListRequest{Prefix: topic + "/data/"}, func(i object.Info) error {
		keys = append(keys, i.Key)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return keys
}

// orphan puts a data file that nothing will ever commit.
func orphan(t *testing.T, store object.Store, topic string) (key string) {
	t.Helper()
	key = topic + "/" + newPath()
	if _, err := store.Put(t.Context(), key, []byte("never committed")); err != nil {
		t.Fatal(err)
	}
	return key
}

func TestOrphansAreDeletedAndNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		r := start(t, store, Options{})
		topic := r.createWith("t", 1, map[string]string{"retention.ms": "-1"})
		mustAppend(t, topic, 0, "kept")
		old := orphan(t, store, "t")
		engines := "t/data/2000-01-01/part-00000.parquet"
		if _, err := store.Put(t.Context(), engines, []byte("an engine's")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(23 * time.Hour)
		if !slices.Contains(dataFiles(t, store, "t"), old) {
			t.Error("an orphan of 23 hours is gone")
		}
		young := orphan(t, store, "t")
		time.Sleep(9 * time.Hour)
		left := dataFiles(t, store, "t")
		if slices.Contains(left, old) || !slices.Contains(left, young) || !slices.Contains(left, engines) || len(left) != 3 {
			t.Error("after 32 hours:", left)
		}
		if got := consume(t, topic, 0, 0); got[0] != "kept" {
			t.Error(got)
		}
		// The topic is idle: after one more look nothing can have come.
		time.Sleep(48 * time.Hour)
		var requests atomic.Int32
		store.SetFaults(func(mem.Request) mem.Fault { requests.Add(1); return mem.Fault{} })
		time.Sleep(5 * 24 * time.Hour)
		if n := requests.Load(); n != 0 {
			t.Error(n, "requests in five idle days")
		}
		store.SetFaults(nil)
		mustAppend(t, topic, 0, "x") // and now something may
		time.Sleep(30 * time.Hour)
		if left := dataFiles(t, store, "t"); slices.Contains(left, young) {
			t.Error("the second orphan stays:", left)
		}
		r.Close(t.Context())
	})
}

// The files of a leader that has come since look like orphans to the one before, who
// has made no request for days.
func TestALeaderThatWasOvertakenSweepsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		a := start(t, store, Options{})
		stale := a.create("t", 1)
		b := start(t, store.Handle(), Options{})
		leader := b.topic("t")
		for range 5 {
			mustAppend(t, leader, 0, "x")
		}
		time.Sleep(25*time.Hour - time.Minute)
		synctest.Wait() // what tends topics is at rest
		stale.sweep = upkeep.SweepAt(time.Now())
		if err := stale.sweepOrphans(t.Context(), time.Now()); err == nil && stale.reason() == nil {
			t.Error("it swept")
		}
		if got := consume(t, leader, 0, 0); len(got) != 5 {
			t.Error(len(got), "records are left")
		}
		if left := dataFiles(t, store, "t"); len(left) != 5 {
			t.Error(len(left), "files are left")
		}
		a.Close(t.Context())
		b.Close(t.Context())
	})
}

func TestAFileOnItsWayThroughAnOutageIsNoOrphan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		r := start(t, store, Options{})
		topic := r.create("t", 1)
		mustAppend(t, topic, 0, "first")
		var outage atomic.Bool
		outage.Store(true)
		store.SetFaults(func(r mem.Request) mem.Fault {
			if outage.Load() && strings.Contains(r.Key, "_delta_log/") {
				return mem.Fault{Outcome: mem.Refuse}
			}
			return mem.Fault{}
		})
		w := topic.Append(0, produced(nil, "in time"), eager)
		time.Sleep(50 * time.Hour) // sweeps come, and cannot know
		outage.Store(false)
		select {
		case <-w.Done():
		case <-time.After(time.Hour):
			t.Fatal("the append is not answered")
		}
		time.Sleep(50 * time.Hour)
		if got := consume(t, topic, 0, 0); w.Result().Err == nil && (len(got) != 2 || got[1] != "in time") {
			t.Error(got)
		}
		r.Close(t.Context())
		r = start(t, store, Options{TailBytes: 1})
		if got := consume(t, r.topic("t"), 0, 0); len(got) != 2 {
			t.Error("after a restart:", got)
		}
		r.Close(t.Context())
	})
}

func TestATopicThatNobodyOpensIsKeptAndClosedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		r := start(t, store, Options{})
		topic := r.createWith("t", 1, map[string]string{"retention.ms": "172800000"})
		for range 10 {
			appendAt(t, topic, 0, time.Now(), 100)
		}
		r.create("never", 1)
		r.Close(t.Context())
		left := orphan(t, store, "t")

		r = start(t, store, Options{})
		time.Sleep(24 * time.Hour)
		if n := len(dataFiles(t, store, "t")); n != 11 {
			t.Error("after a day:", n, "files")
		}
		if _, open := r.OpenTopic("t"); open {
			t.Error("it was opened though nothing is due")
		}
		time.Sleep(6 * 24 * time.Hour)
		if files := dataFiles(t, store, "t"); len(files) != 0 {
			t.Error("after a week:", files, "orphan", left)
		}
		for _, name := range []string{"t", "never"} {
			if _, open := r.OpenTopic(name); open {
				t.Error(name, "stays open")
			}
		}
		snap, err := r.env.newLog("t").Open(t.Context(), nil)
		if err != nil || delta.Epoch(snap) > 5 {
			t.Error("take-overs:", delta.Epoch(snap), err)
		}
		if snap, err = r.env.newLog("never").Open(t.Context(), nil); err != nil || delta.Epoch(snap) != 1 {
			t.Error("take-overs of the empty topic:", delta.Epoch(snap), err)
		}
		if at := mustAppend(t, r.topic("t"), 0, "y"); at != 10 {
			t.Error("the next offset is", at)
		}
		r.Close(t.Context())
	})
}

func TestTheUpkeepOfIdleTopicsCostsNextToNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const topics = 50
		store := mem.New()
		r := start(t, store, Options{})
		for i := range topics {
			topic := r.create(string(rune('a'+i/26))+string(rune('a'+i%26)), 1)
			mustAppend(t, topic, 0, "x")
		}
		r.Close(t.Context())
		handle := store.Handle()
		var requests atomic.Int32
		handle.SetFaults(func(mem.Request) mem.Fault { requests.Add(1); return mem.Fault{} })
		r = start(t, handle, Options{})
		requests.Store(0)
		time.Sleep(12 * time.Hour)
		first := requests.Load()
		if first < topics || first > 7*topics {
			t.Error(first, "requests of the first looks at", topics, "topics")
		}
		time.Sleep(72 * time.Hour)
		if n := requests.Load() - first; n > 9*topics {
			t.Error(n, "requests in three days")
		}
		if open := len(r.openTopics()); open != 0 {
			t.Error(open, "topics are open")
		}
		r.Close(t.Context())
	})
}

func TestWhatADeletedTopicLeftIsRemovedAndItsLogEndsInOneEntry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		r := start(t, store, Options{})
		topic := r.create("t", 1)
		for range 30 {
			mustAppend(t, topic, 0, "x")
		}
		// The store goes away between the deletion's commit and that of its files.
		store.SetFaults(func(r mem.Request) mem.Fault {
			if r.Kind == object.KindDelete {
				return mem.Fault{Outcome: mem.Refuse}
			}
			return mem.Fault{}
		})
		if err := r.Delete(t.Context(), "t", [16]byte{}); err != nil {
			t.Fatal(err)
		}
		store.SetFaults(nil)
		r.Close(t.Context())
		if n := len(dataFiles(t, store, "t")); n < 30 {
			t.Fatal(n, "files are left")
		}
		r = start(t, store, Options{})
		time.Sleep(7 * time.Hour)
		if files := dataFiles(t, store, "t"); len(files) != 0 {
			t.Error("seven hours later:", len(files), "files")
		}
		time.Sleep(72 * time.Hour)
		h, err := r.env.newLog("t").History(t.Context())
		if err != nil || h.FirstEntry != h.Newest || h.Checkpoint != h.Newest {
			t.Errorf("three days later: %+v, %v", h, err)
		}
		topic = r.create("t", 1)
		if at := mustAppend(t, topic, 0, "new"); at != 0 {
			t.Error("the new topic begins at", at)
		}
		time.Sleep(48 * time.Hour)
		if got := consume(t, topic, 0, 0); got[0] != "new" {
			t.Error(got)
		}
		r.Close(t.Context())
		r = start(t, store, Options{TailBytes: 1})
		if got := consume(t, r.topic("t"), 0, 0); got[0] != "new" {
			t.Error("after a restart:", got)
		}
		r.Close(t.Context())
	})
}

func TestATopicMadeAnewThatTheCatalogueMissedIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		r := start(t, store, Options{})
		r.create("t", 1)
		if err := r.Delete(t.Context(), "t", [16]byte{}); err != nil {
			t.Fatal(err)
		}
		// A broker is stopped when it has made the table and not yet said so.
		settings, err := ParseSettings(nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		id := uuid.New()
		if _, err := createTable(t.Context(), r.env, "t", id, 2, nil, settings); err != nil {
			t.Fatal(err)
		}
		if _, known := r.Lookup("t"); known {
			t.Error("the catalogue knows it already")
		}
		time.Sleep(8 * time.Hour)
		if info, known := r.Lookup("t"); !known || info.ID != id || info.Partitions != 2 {
			t.Errorf("eight hours later: %+v, %v", info, known)
		}
		r.Close(t.Context())
	})
}

// unnamed lists a topic's data files that its table does not name.
func unnamed(t *testing.T, r *root, topic string) []string {
	t.Helper()
	log := r.env.newLog(topic)
	page, err := upkeep.ListOld(t.Context(), r.env.store, topic, "", 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	snap, err := log.Open(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return upkeep.Unnamed(log, snap, page.Files)
}

// Else each look would leave an orphan, for which the next one comes the day after, for ever.
func TestATopicIsNotClosedWhileTheRoundAdoptsItsRows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		r := start(t, store, Options{})
		mustAppend(t, r.open("t", 1), 0, "x")
		r.Close(t.Context())
		newEngine(t, store.Handle(), "t").insert(bare("k", "inserted"))
		orphan(t, store, "t") // what the round comes for
		slow := store.Handle()
		slow.SetFaults(func(q mem.Request) mem.Fault {
			if q.Kind == object.KindGet && strings.Contains(q.Key, "t/data/") {
				return mem.Fault{Delay: time.Second} // the adoption is under way when the round is done
			}
			return mem.Fault{}
		})
		r = start(t, slow, Options{})
		r.gaps = true
		time.Sleep(2 * 24 * time.Hour)
		if left := unnamed(t, r, "t"); len(left) > 0 {
			t.Error("files that nobody names:", left)
		}
		if snap, err := r.env.newLog("t").Open(t.Context(), nil); err != nil || snap.Txns[nextOffsetApp(snap.Metadata.ID, 0)].Version != 2 {
			t.Error("the inserted row is no record", err)
		}
		r.Close(t.Context())
	})
}
