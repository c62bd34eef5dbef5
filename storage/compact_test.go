package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"sluice/storage/delta"
	"sluice/storage/object"
	"sluice/storage/object/mem"
	"sluice/storage/rows"
	"sluice/storage/upkeep"
)

func liveFiles(topic *Topic) int {
	topic.mu.Lock()
	defer topic.mu.Unlock()
	return len(topic.index.files)
}

func TestSmallFilesAreMergedWhileProducersAndConsumersGoOn(t *testing.T) {
	store := mem.New()
	r := start(t, store, Options{TailBytes: 1000}) // consumers read from files
	topic := r.create("t", 3)
	want := map[int32]map[int64]string{0: {}, 1: {}, 2: {}}
	for i := range 600 {
		p := int32(i % 3)
		value := fmt.Sprint("value ", i)
		want[p][mustAppend(t, topic, p, value)] = value
		if i%50 == 0 {
			for p := range want {
				if got := consume(t, topic, p, 0); len(got) != len(want[p]) {
					t.Fatalf("partition %d: %d of %d records", p, len(got), len(want[p]))
				}
			}
		}
	}
	deadline := time.Now().Add(20 * time.Second)
	for liveFiles(topic) > 100 && time.Now().Before(deadline) {
		time.Sleep(20 * time.Millisecond)
	}
	if n := liveFiles(topic); n > 100 {
		t.Errorf("%d files are left of 600", n)
	}
	check := func(topic *Topic) {
		t.Helper()
		for p, records := range want {
			for _, from := range []int64{0, 7, int64(len(records)) - 1} {
				got := consume(t, topic, p, from)
				if len(got) != len(records)-int(from) {
					t.Fatalf("partition %d from %d: %d records", p, from, len(got))
				}
				for at, v := range got {
					if records[at] != v {
						t.Fatalf("%d-%d is %q, want %q", p, at, v, records[at])
					}
				}
			}
		}
	}
	check(topic)
	r.Close(t.Context())
	checkTable(t, store, "t", want)
	r = start(t, store, Options{})
	check(r.topic("t"))
}

func TestACompactionWhoseFilesAreGoneLeavesNothingBehind(t *testing.T) {
	store := mem.New()
	r := start(t, store, Options{})
	topic := r.create("t", 1)
	for range 4 {
		mustAppend(t, topic, 0, "x")
	}
	topic.mu.Lock()
	files := topic.index.inOrder()
	topic.mu.Unlock()
	merge := func() error {
		adds, _, err := topic.rewrite(t.Context(), files, upkeep.Rewriting{})
		if err != nil {
			t.Fatal(err)
		}
		return topic.exchange(t.Context(), files, adds, &delta.CommitInfo{Operation: "OPTIMIZE"}, false)
	}
	if err := merge(); err != nil {
		t.Fatal(err)
	}
	if n := liveFiles(topic); n != 1 {
		t.Fatal(n, "files")
	}
	objects := func() (n int) {
		_, err := object.All(context.Background(), store, object.ListRequest{Prefix: "t/data/"}, func(object.Info) error { n++; return nil })
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := objects()
	if err := merge(); !errors.Is(err, errOutdated) {
		t.Fatal(err)
	}
	if objects() != before {
		t.Error("a file was left behind")
	}
	if got := consume(t, topic, 0, 0); len(got) != 4 {
		t.Error(got)
	}
}

// live are the live files in order.
func live(topic *Topic) []*file {
	topic.mu.Lock()
	defer topic.mu.Unlock()
	return topic.index.inOrder()
}

// uncompacted appends n records to a topic, each of which stays a file of its own.
func uncompacted(t *testing.T, r *root, topic *Topic, n int) map[int64]string {
	t.Helper()
	r.env.rewriting <- struct{}{}
	defer func() { <-r.env.rewriting }()
	want := map[int64]string{}
	for i := range n {
		value := fmt.Sprint("value ", i)
		want[mustAppend(t, topic, 0, value)] = value
	}
	return want
}

func sameRecords(t *testing.T, got, want map[int64]string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%d records, want %d", len(got), len(want))
	}
	for at, v := range want {
		if got[at] != v {
			t.Fatalf("record %d is %q, want %q", at, got[at], v)
		}
	}
}

func TestAnIdleTopicWithManySmallFilesIsCompactedOnceItIsOpened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		r := start(t, store, Options{})
		topic := r.create("t", 1)
		r.env.rewriting <- struct{}{} // until it is closed
		want := map[int64]string{}
		for i := range 1500 {
			value := fmt.Sprint("value ", i)
			want[mustAppend(t, topic, 0, value)] = value
		}
		if n := liveFiles(topic); n != 1500 {
			t.Fatal(n, "files")
		}
		r.Close(t.Context())
		r = start(t, store, Options{})
		topic = r.topic("t")
		version := topic.Version()
		time.Sleep(time.Minute)
		if n := liveFiles(topic); n > 50 {
			t.Errorf("%d files are left", n)
		}
		if n := topic.Version() - version; n > 10 {
			t.Errorf("%d versions", n)
		}
		sameRecords(t, consume(t, topic, 0, 0), want)
		r.Close(t.Context())
		checkTable(t, store, "t", map[int32]map[int64]string{0: want})
	})
}

// forget drops all, as after a while.
func (b *bodies) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bytes, b.order, b.byKey = 0, queue[string]{}, nil
}

func TestFilesThatCannotBeReadDoNotKeepOthersFromBeingMerged(t *testing.T) {
	for name, harm := range map[string]func(t *testing.T, store object.Store, topic *Topic){
		"a damaged file": func(t *testing.T, store object.Store, topic *Topic) {
			f := live(topic)[20]
			topic.env.blocks.written.forget()
			if _, err := store.Put(t.Context(), f.key, make([]byte, f.size)); err != nil {
				t.Fatal(err)
			}
		},
		"a file that is gone": func(t *testing.T, store object.Store, topic *Topic) {
			topic.env.blocks.written.forget()
			if _, err := store.Delete(t.Context(), live(topic)[20].key); err != nil {
				t.Fatal(err)
			}
		},
		"an engine's whose rows have no offset": func(t *testing.T, store object.Store, topic *Topic) {
			e := newEngine(t, store, "t")
			add := e.file(bare("a key", "a row for SQL only"), at(0, 1_000_000, "x"))
			e.commit("WRITE", func(_ *delta.Snapshot, entry *delta.Entry) { entry.Adds = []delta.Add{add} })
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := mem.New()
				r := start(t, store, Options{})
				r.damaged = true
				topic := r.createWith("t", 1, map[string]string{"sluice.table.writers": "any"})
				uncompacted(t, r, topic, 100)
				harm(t, store, topic)
				for i := range 100 {
					mustAppend(t, topic, 0, fmt.Sprint("more ", i))
				}
				time.Sleep(10 * time.Minute)
				if n := liveFiles(topic); n > 75 {
					t.Errorf("%d files are left of 200", n)
				}
			})
		})
	}
}

// One rewriting may make several files; they stand in the place of the old ones.
func TestFilesThatReplaceOthersStayInOrder(t *testing.T) {
	store := mem.New()
	r := start(t, store, Options{})
	topic := r.createWith("t", 2, map[string]string{"sluice.table.target.file.bytes": fmt.Sprint(1 << 20), "sluice.parquet.compression": "none"})
	r.env.rewriting <- struct{}{} // what follows has it for itself
	random := rand.New(rand.NewPCG(1, 2))
	want := map[int32]map[int64]string{0: {}, 1: {}}
	for i := range 24 {
		p := int32(i % 2)
		value := make([]byte, 200<<10)
		for i := range value { // letters do not compress well either
			value[i] = 'A' + byte(random.IntN(26))
		}
		want[p][mustAppend(t, topic, p, string(value))] = string(value)
	}
	files := live(topic)
	adds, result, err := topic.rewrite(t.Context(), files[:20], upkeep.Rewriting{Tags: func([]rows.Range) map[string]string { return map[string]string{"sluice.test": "x"} }})
	if err != nil {
		t.Fatal(err)
	}
	if len(adds) < 3 || result.Outputs != len(adds) {
		t.Fatalf("%d files, %+v", len(adds), result)
	}
	for _, a := range adds {
		if a.Size > 1<<20*5/4 || a.Tags["sluice.test"] != "x" || a.ModificationTime != files[19].modified || bytes.Contains([]byte(a.Stats), []byte("null,")) {
			t.Errorf("%+v", a)
		}
	}
	if err := topic.exchange(t.Context(), files[:20], adds, &delta.CommitInfo{Operation: "OPTIMIZE"}, false); err != nil {
		t.Fatal(err)
	}
	check := func(topic *Topic) {
		t.Helper()
		now := live(topic)
		if len(now) != len(adds)+4 {
			t.Fatal(len(now), "files")
		}
		for i, a := range adds {
			if now[i].path != a.Path {
				t.Errorf("place %d has %s, not %s", i, now[i].path, a.Path)
			}
		}
		topic.mu.Lock()
		if f := topic.index.apart(now); f != nil {
			t.Error(f.path, "is apart")
		}
		topic.mu.Unlock()
		for p := range want {
			sameRecords(t, consume(t, topic, p, 0), want[p])
		}
	}
	check(topic)
	r.Close(t.Context())
	checkTable(t, store, "t", want)
	r = start(t, store, Options{})
	check(r.topic("t"))
}

func TestARewritingThatFailsLeavesNothingInTheStore(t *testing.T) {
	store := mem.New()
	r := start(t, store, Options{})
	topic := r.create("t", 1)
	uncompacted(t, r, topic, 5)
	objects := func() (n int) {
		if _, err := object.All(t.Context(), store, object.ListRequest{Prefix: "t/data/"}, func(object.Info) error { n++; return nil }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	had := objects()
	files := live(topic)
	lying := *files[2]
	lying.ranges = append(lying.ranges[:0:0], lying.ranges...)
	lying.ranges[0].Last, lying.ranges[0].Rows = lying.ranges[0].Last+1, lying.ranges[0].Rows+1
	files[2] = &lying
	if _, _, err := topic.rewrite(t.Context(), files, upkeep.Rewriting{}); !errors.Is(err, upkeep.ErrDiffers) {
		t.Error(err)
	}
	if n := objects(); n != had {
		t.Errorf("%d objects, there were %d", n, had)
	}
}

// What it makes would never be committed, and stay in the store as an orphan.
func TestACompactionThatRestsEndsWithItsTopic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		r := start(t, store, Options{})
		topic := r.create("t", 1)
		r.env.rewriting <- struct{}{} // until it is closed
		for i := range 60 {
			mustAppend(t, topic, 0, fmt.Sprint("value ", i))
		}
		r.Close(t.Context())
		for range 10 {
			r = start(t, store, Options{})
			topic = r.topic("t") // its compaction begins in a while
			topic.committer.Close(t.Context())
			time.Sleep(time.Second)
			if left := unnamed(t, r, "t"); len(left) > 0 {
				t.Fatal("files that nobody names:", left)
			}
			r.Close(t.Context())
		}
	})
}
