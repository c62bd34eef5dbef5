package storage

import (
	"flag"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"sluice/storage/object"
	"sluice/storage/object/dir"
	"sluice/storage/object/mem"
)

var manyTopics = flag.Int("many.topics", 0, "topics of TestManyTopicsCostLittle; 0 is the quick form")

// createMany makes topics many at a time, as an administrator's script may.
func (r *root) createMany(from, to int) {
	r.t.Helper()
	var group errgroup.Group
	group.SetLimit(16)
	for i := from; i < to; i++ {
		group.Go(func() error {
			_, err := r.Create(r.t.Context(), fmt.Sprintf("topic-%05d", i), 1, nil, false)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		r.t.Fatal(err)
	}
}

func (r *root) openAll() {
	r.t.Helper()
	var group errgroup.Group
	group.SetLimit(16)
	for _, info := range r.All() {
		group.Go(func() error {
			_, err := r.Topic(r.t.Context(), info.Name)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		r.t.Fatal(err)
	}
}

// heap is what is in use after a collection, in bytes.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// What a topic costs that nobody uses: a row of the catalogue in memory; and one that
// is open and idle.
//
//	go test ./storage -run TestManyTopicsCostLittle -v -many.topics 10000
func TestManyTopicsCostLittle(t *testing.T) {
	n := 300
	if *manyTopics > 0 {
		n = *manyTopics
	}
	store, err := dir.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	r := start(t, store, Options{})
	began := time.Now()
	r.createMany(0, n/2)
	half := time.Since(began)
	r.createMany(n/2, n)
	t.Logf("%d topics made in %v, the first half in %v", n, time.Since(began), half)
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}

	before, routines := heap(), runtime.NumGoroutine()
	reg := prometheus.NewRegistry()
	began = time.Now()
	r = start(t, object.NewMeter(store, reg), Options{})
	ready := time.Since(began)
	began = time.Now()
	if got := len(r.All()); got != n {
		t.Fatalf("%d topics, want %d", got, n)
	}
	t.Logf("started in %v with %v gets and %v lists; all listed in %v; %d bytes and %.2f goroutines a topic", ready, requests(t, reg, "get"), requests(t, reg, "list"),
		time.Since(began), (heap()-before)/uint64(n), float64(runtime.NumGoroutine()-routines)/float64(n))

	before, routines = heap(), runtime.NumGoroutine()
	began = time.Now()
	r.openAll()
	took := time.Since(began)
	bytes, goroutines := (heap()-before)/uint64(n), float64(runtime.NumGoroutine()-routines)/float64(n)
	t.Logf("all opened in %v; %d bytes and %.2f goroutines each", took, bytes, goroutines)
	if bytes > 64<<10 || goroutines > 1.1 {
		t.Errorf("an open and idle topic takes %d bytes and %.2f goroutines", bytes, goroutines)
	}
}

func TestIdleTopicsMakeNoRequestsButForTheirDeferredUpkeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 10
		store := mem.New()
		start(t, store, Options{}).createMany(0, n)
		r := start(t, store, Options{})
		var calls atomic.Int64
		store.SetFaults(func(mem.Request) mem.Fault { calls.Add(1); return mem.Fault{} })
		time.Sleep(time.Hour)
		if calls := calls.Load(); calls > 0 {
			t.Errorf("%d requests in the first hour", calls)
		}
		time.Sleep(11 * time.Hour) // each is looked at, once (see round.go)
		if calls := calls.Load(); calls > 10*n {
			t.Errorf("%d requests for %d topics that are not open", calls, n)
		}
		r.openAll()
		time.Sleep(48 * time.Hour) // two sweeps of orphans
		calls.Store(0)
		time.Sleep(12 * time.Hour)
		if calls := calls.Load(); calls > 0 {
			t.Errorf("%d requests for topics that are open and idle", calls)
		}
	})
}
