package keyed

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"sluice/storage/delta"
	"sluice/storage/object"
	"sluice/storage/object/mem"
)

type testRow struct {
	Sequence int64  `parquet:"sequence"`
	Key      string `parquet:"key"`
	Value    int64  `parquet:"value"`
	Gone     bool   `parquet:"gone"`
}

const testSchema = `{"type":"struct","fields":[` +
	`{"name":"sequence","type":"long","nullable":true,"metadata":{}},` +
	`{"name":"key","type":"string","nullable":true,"metadata":{}},` +
	`{"name":"value","type":"long","nullable":true,"metadata":{}},` +
	`{"name":"gone","type":"boolean","nullable":true,"metadata":{}}]}`

// follower is a table and a view of it that is kept by OnChange.
type follower struct {
	*Table[string, testRow]
	mu   sync.Mutex
	view map[string]int64
}

func open(t *testing.T, store object.Store) *follower {
	t.Helper()
	table, err := Open(t.Context(), store, "table", Form[string, testRow]{
		Name: "table", Schema: testSchema,
		Key:      func(r *testRow) string { return r.Key },
		Sequence: func(r *testRow) *int64 { return &r.Sequence },
		Dead:     func(r *testRow) bool { return r.Gone },
	}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	f := &follower{Table: table, view: map[string]int64{}}
	table.OnChange(func(rows []testRow, all bool) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if all {
			clear(f.view)
		}
		for _, r := range rows {
			if r.Gone {
				delete(f.view, r.Key)
			} else {
				f.view[r.Key] = r.Value
			}
		}
	})
	table.Each(func(k string, r *testRow) { f.view[k] = r.Value })
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		table.Close(ctx)
	})
	return f
}

func (f *follower) put(t *testing.T, key string, value int64) {
	t.Helper()
	if err := f.Put(testRow{Key: key, Value: value}).Get(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (f *follower) holds(t *testing.T, want map[string]int64) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	state := map[string]int64{}
	f.Each(func(k string, r *testRow) { state[k] = r.Value })
	if !maps.Equal(state, want) || !maps.Equal(f.view, want) {
		t.Errorf("state %v, view %v, want %v", state, f.view, want)
	}
}

func TestATableThatCouldNotBeRewrittenOpensAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		handle := store.Handle()
		a := open(t, handle)
		handle.SetFaults(func(r mem.Request) mem.Fault {
			// The file of the rewrite never comes: the broker is killed while it uploads.
			if r.Kind == object.KindPut && r.Size > 1500 {
				return mem.Fault{Outcome: mem.Hang}
			}
			return mem.Fault{}
		})
		want := map[string]int64{}
		for i := range 80 {
			a.put(t, fmt.Sprint("k", i), int64(i))
			want[fmt.Sprint("k", i)] = int64(i)
		}
		b := open(t, store)
		b.holds(t, want)
		b.put(t, "next", 1)
		time.Sleep(time.Minute)
		want["next"] = 1
		b.holds(t, want)
		if files := b.files; files > 3 {
			t.Error("the table is not rewritten:", files, "files")
		}
		c := open(t, store)
		c.holds(t, want)
	})
}

func TestATableThatIsTakenBackKnowsWhatTheOtherBrokerDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		a := open(t, store)
		a.put(t, "x", 1)
		a.put(t, "y", 1)
		b := open(t, store.Handle())
		if err := b.Put(testRow{Key: "x", Gone: true}).Get(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := a.Put(testRow{Key: "z"}).Get(t.Context()); !errors.Is(err, delta.ErrFenced) {
			t.Error("a fenced table is written to:", err)
		}
		time.Sleep(lostFor)
		a.put(t, "z", 3)
		a.holds(t, map[string]int64{"y": 1, "z": 3})
	})
}

func TestATableThatWasTakenByAnotherBrokerIsClosedWithoutAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		a := open(t, store)
		b := open(t, store.Handle())
		b.put(t, "x", 1)
		if err := a.Put(testRow{Key: "z"}).Get(t.Context()); !errors.Is(err, delta.ErrFenced) {
			t.Fatal(err)
		}
		if err := a.Close(t.Context()); err != nil {
			t.Error("who asked was told, and nobody waits:", err)
		}
	})
}

func TestChangesThatWaitForTheTableKeepTheirOrder(t *testing.T) {
	for range 10 { // goroutines would have to be lucky each time
		synctest.Test(t, func(t *testing.T) {
			store := mem.New()
			a := open(t, store)
			b := open(t, store.Handle())
			b.put(t, "x", 0)
			if err := a.Put(testRow{Key: "x", Value: -1}).Get(t.Context()); !errors.Is(err, delta.ErrFenced) {
				t.Fatal(err)
			}
			time.Sleep(lostFor)
			var waits []*Wait
			for i := range int64(50) {
				waits = append(waits, a.Put(testRow{Key: "x", Value: i}))
			}
			for _, w := range waits {
				if err := w.Get(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			a.holds(t, map[string]int64{"x": 49})
			open(t, store).holds(t, map[string]int64{"x": 49})
		})
	}
}

func TestOpeningOutlastsTheLastWritesOfTheBrokerBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		a := open(t, store)
		handle := store.Handle()
		first := true
		handle.SetFaults(func(r mem.Request) mem.Fault {
			if first && r.Kind == object.KindCreate { // the take-over
				first = false
				a.put(t, "late", 1)
			}
			return mem.Fault{}
		})
		b := open(t, handle)
		b.holds(t, map[string]int64{"late": 1})
		b.put(t, "x", 2)
	})
}

func TestClosingDoesNotWaitForATableThatCannotBeTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		handle := store.Handle()
		a := open(t, handle)
		open(t, store).put(t, "x", 1)
		if err := a.Put(testRow{Key: "x"}).Get(t.Context()); !errors.Is(err, delta.ErrFenced) {
			t.Fatal(err)
		}
		time.Sleep(lostFor)
		handle.SetFaults(func(mem.Request) mem.Fault { return mem.Fault{Outcome: mem.Hang} })
		w := a.Put(testRow{Key: "x"})
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		a.Close(ctx)
		if took := time.Since(began); took > time.Second {
			t.Error("closing took", took)
		}
		if err := w.Get(t.Context()); err == nil {
			t.Error("a change is acknowledged that is nowhere")
		}
	})
}

// A file whose upload nobody committed: its broker was killed in between.
func TestOrphansOfATableAreDeletedAndNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		table := open(t, store)
		table.put(t, "a", 1)
		orphan := func() string {
			key := "table/data/" + time.Now().UTC().Format(time.DateOnly) + "/" + uuid.NewString() + ".parquet"
			if _, err := store.Put(t.Context(), key, []byte("never committed")); err != nil {
				t.Fatal(err)
			}
			return key
		}
		old := orphan()
		time.Sleep(23 * time.Hour)
		young := orphan()
		if !there(t, store, old) {
			t.Error("an orphan of 23 hours is gone")
		}
		time.Sleep(9 * time.Hour)
		if there(t, store, old) || !there(t, store, young) {
			t.Error("after 32 hours the old one is there:", there(t, store, old), "and the young one:", there(t, store, young))
		}
		// The table is idle: after one more look nothing can have come.
		time.Sleep(48 * time.Hour)
		var requests atomic.Int32
		store.SetFaults(func(mem.Request) mem.Fault { requests.Add(1); return mem.Fault{} })
		time.Sleep(5 * 24 * time.Hour)
		if n := requests.Load(); n != 0 {
			t.Error(n, "requests in five idle days")
		}
		store.SetFaults(nil)
		table.put(t, "b", 2) // and now something may
		time.Sleep(30 * time.Hour)
		if there(t, store, young) {
			t.Error("the second orphan stays")
		}
		table.Close(t.Context())
		open(t, store).holds(t, map[string]int64{"a": 1, "b": 2})
	})
}

// there reports whether an object is in the store.
func there(t *testing.T, store object.Store, key string) bool {
	t.Helper()
	_, err := store.Get(t.Context(), key, object.Range{})
	if err != nil && !errors.Is(err, object.ErrNotFound) {
		t.Fatal(err)
	}
	return err == nil
}
