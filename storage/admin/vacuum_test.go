package admin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice/protocol/record"
	"sluice/storage"
	"sluice/storage/object"
	"sluice/storage/object/mem"
)

func (l *live) put(key string) {
	l.t.Helper()
	if _, err := l.store.Put(l.t.Context(), key, []byte("x")); err != nil {
		l.t.Fatal(err)
	}
}

func (l *live) exists(key string) bool {
	l.t.Helper()
	_, err := l.store.Get(l.t.Context(), key, object.Range{})
	return err == nil
}

// files are the keys of the table's data files that are in the store.
func (l *live) files() (keys []string) {
	l.t.Helper()
	if _, err := object.All(l.t.Context(), l.store, object.ListRequest{Prefix: "t/data/"}, func(o object.Info) error {
		keys = append(keys, o.Key)
		return nil
	}); err != nil {
		l.t.Fatal(err)
	}
	return keys
}

func TestVacuumDeletesWhatNobodyMayReadAnyMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := begin(t, mem.New(), 1, nil)
		defer l.end()
		for range 4 {
			l.produce(0, "k", time.Now(), 1)
		}
		ours := func(n int) string { return fmt.Sprintf("t/data/2000-01-01/00000000-0000-0000-0000-%012d.parquet", n) }
		l.put(ours(1))
		kept := []string{"t/part-00000-engine.parquet", "t/data/2000-01-01/part-00000-engine.parquet", "t/_sluice/old.parquet", "t/.hidden/old.parquet", "t/readme.txt", "t2/part.parquet"}
		for _, key := range kept {
			l.put(key)
		}
		time.Sleep(61 * time.Minute)
		l.put(ours(2)) // an upload under way
		table := l.open(Options{})
		if _, err := table.Optimize(t.Context(), DefaultTarget); err != nil {
			t.Fatal(err)
		}
		for _, dryRun := range []bool{true, false} {
			if v, err := table.Vacuum(t.Context(), dryRun); err != nil || v != (Vacuumed{Orphans: 1, OrphanBytes: 1}) {
				t.Fatalf("within the hour of its readers: %+v, %v", v, err)
			}
		}
		if l.exists(ours(1)) || !l.exists(ours(2)) {
			t.Error("not the orphan that it was")
		}
		var operations []string
		if err := table.History(t.Context(), 2, func(v Version) bool { operations = append(operations, v.Operation); return true }); err != nil ||
			strings.Join(operations, " ") != "VACUUM END VACUUM START" {
			t.Errorf("%v, %v", operations, err)
		}

		time.Sleep(2 * time.Hour)
		for _, dryRun := range []bool{true, false} {
			v, err := table.Vacuum(t.Context(), dryRun)
			if err != nil || v.Orphans != 1 || v.Tombstones != 4 {
				t.Fatalf("hours later: %+v, %v", v, err)
			}
		}
		for _, key := range kept {
			if !l.exists(key) {
				t.Errorf("%s is gone", key)
			}
		}
		if files := l.files(); len(files) != 2 { // the live one, and the engine's
			t.Errorf("left: %v", files)
		}
		l.holds(nothing)
	})
}

func TestPurgeLeavesNothingOfDeletedRows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := begin(t, mem.New(), 1, nil)
		defer l.end()
		for i := range 4 {
			l.produce(0, fmt.Sprint("k", i), time.Now(), 1)
		}
		table := l.open(Options{})
		if _, err := table.Optimize(t.Context(), DefaultTarget); err != nil { // and the old files hold the rows, too
			t.Fatal(err)
		}
		mustDelete(t, table, Selection{Keys: [][]byte{[]byte("k1")}})
		if v, err := table.Purge(t.Context(), true); err != nil || v.Tombstones != 5 || len(l.files()) != 6 {
			t.Errorf("dry run: %+v, %v", v, err)
		}
		if v, err := table.Purge(t.Context(), false); err != nil || v.Tombstones != 5 || v.TombstoneBytes == 0 || len(l.files()) != 1 {
			t.Errorf("%+v, %v", v, err)
		}
		// The broker still knows the old files, and finds out that they are gone.
		l.follow()
		l.holds(func(_ place, r string) bool { return r[:2] == "k1" })
	})
}

// sleeper is a store whose log entries of one broker do not get through for a while: that
// broker stands still between the upload of a file and its commit.
type sleeper struct {
	object.Store
	asleep atomic.Bool
}

func (s *sleeper) Create(ctx context.Context, key string, body []byte, after ...string) (time.Time, error) {
	for s.asleep.Load() {
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return time.Time{}, ctx.Err()
		}
	}
	return s.Store.Create(ctx, key, body, after...)
}

func TestAFileWhoseBrokerSleptIsNotLostToAVacuum(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		broker := &sleeper{Store: store}
		l := begin(t, broker, 1, nil)
		defer l.end()
		l.produce(0, "first", time.Now(), 1)
		broker.asleep.Store(true)
		var b record.Builder
		b.Reset(nil, record.Params{})
		b.Append(0, time.Now().UnixMilli(), []byte("k"), []byte("k-0"), record.Headers{})
		w := l.topic().Append(0, b.Finish(), storage.Sender{Eager: true})
		time.Sleep(2 * time.Hour) // uploaded, not committed
		uploaded := l.files()

		table, err := Open(t.Context(), store, "t", Options{})
		if err != nil {
			t.Fatal(err)
		}
		if v, err := table.Vacuum(t.Context(), false); err != nil || v.Orphans != 1 {
			t.Fatalf("%+v, %v of %v", v, err, uploaded)
		}
		broker.asleep.Store(false)
		<-w.Done()
		// It finds the log ahead by more than it can tell, and gives the topic up. The
		// producer tries again.
		if result := w.Result(); !errors.Is(result.Err, storage.ErrNotLeader) {
			t.Fatalf("%+v", result)
		}
		l.end()
		l.restart() // what is in memory does not count
		l.produce(0, "k", time.Now(), 1)
		l.holds(nothing)
	})
}
