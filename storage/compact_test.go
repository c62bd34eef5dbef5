package storage

import (
	"context"
	"fmt"
	"testing"
	"time"

	"sluice/storage/object"
	"sluice/storage/object/mem"
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
	if err := topic.merge(files); err != nil {
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
	if err := topic.merge(files); err != nil {
		t.Fatal(err)
	}
	if objects() != before {
		t.Error("a file was left behind")
	}
	if got := consume(t, topic, 0, 0); len(got) != 4 {
		t.Error(got)
	}
}
