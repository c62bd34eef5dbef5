package offsets

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"sluice/storage/check"
	"sluice/storage/check/checktest"
	"sluice/storage/object"
	"sluice/storage/object/mem"
)

func open(t *testing.T, store object.Store, options Options) *Offsets {
	t.Helper()
	o, err := Open(t.Context(), store, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		o.Close(context.Background())
		checktest.Root(t, store, check.Options{})
	})
	return o
}

func done(t *testing.T, w *Wait) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := w.Get(ctx); err != nil {
		t.Fatal(err)
	}
}

func at(topic string, partition int32, offset int64) Offset {
	return Offset{Topic: topic, TopicID: [16]byte{1}, Partition: partition, Offset: offset, LeaderEpoch: 3,
		Metadata: "m", TableVersion: 17, Committed: time.Now()}
}

func TestCommittedOffsetsAndMembershipsSurviveARestart(t *testing.T) {
	store := mem.New()
	o := open(t, store, Options{})
	done(t, o.Term().Commit("g", []Offset{at("t", 0, 5), at("t", 1, 7)}))
	done(t, o.Term().Commit("g", []Offset{at("t", 0, 6)}))
	done(t, o.Term().Commit("h", []Offset{at("t", 0, 1)}))
	done(t, o.Term().KeepGroup("g", []byte(`{"generation":4}`)))
	done(t, o.Term().DeleteGroup("h"))
	o.Close(t.Context())
	o = open(t, store, Options{})
	got, ok := o.Fetch("g", "t", [16]byte{1}, 0)
	want := at("t", 0, 6)
	if !ok || !same(got, want) || got.TableVersion != 17 {
		t.Errorf("got %+v", got)
	}
	if _, ok := o.Fetch("g", "t", [16]byte{2}, 0); ok {
		t.Error("a re-created topic inherits the old one's offset")
	}
	if got := o.Group("g"); len(got) != 2 || got[1].Offset != 7 {
		t.Errorf("got %+v", got)
	}
	if groups := o.Groups(); fmt.Sprint(groups) != "[g]" {
		t.Error(groups)
	}
	if got := string(o.Memberships()["g"]); got != `{"generation":4}` {
		t.Error(got)
	}
}

func TestAnOffsetThatHasNotChangedIsNotWrittenAgain(t *testing.T) {
	o := open(t, mem.New(), Options{})
	done(t, o.Term().Commit("g", []Offset{at("t", 0, 5)}))
	version := o.Version()
	for range 10 {
		done(t, o.Term().Commit("g", []Offset{at("t", 0, 5)}))
	}
	if o.Version() != version {
		t.Errorf("version %d, was %d", o.Version(), version)
	}
	late := at("t", 0, 5)
	late.Committed = late.Committed.Add(4 * 24 * time.Hour)
	done(t, o.Term().Commit("g", []Offset{late}))
	if o.Version() == version {
		t.Error("an old offset is not refreshed")
	}
}

func TestTheTableRewritesItself(t *testing.T) {
	store := mem.New()
	o := open(t, store, Options{})
	for i := range 500 {
		done(t, o.Term().Commit(fmt.Sprint("g", i%7), []Offset{at("t", int32(i%3), int64(i))}))
	}
	before := map[string][]Offset{}
	for _, g := range o.Groups() {
		before[g] = o.Group(g)
	}
	o.Close(t.Context())
	o = open(t, store, Options{})
	for g, want := range before {
		got := o.Group(g)
		if len(got) != len(want) {
			t.Fatalf("%s: %d offsets, had %d", g, len(got), len(want))
		}
		for i := range want {
			if !same(got[i], want[i]) {
				t.Errorf("%s: %+v, had %+v", g, got[i], want[i])
			}
		}
	}
}

func TestOffsetsOfAnEmptyGroupExpire(t *testing.T) {
	o := open(t, mem.New(), Options{})
	done(t, o.Term().Commit("empty", []Offset{at("t", 0, 5)}))
	done(t, o.Term().Commit("alive", []Offset{at("t", 0, 5)}))
	own := at("t", 0, 5)
	own.Expires = time.Now().Add(time.Hour)
	done(t, o.Term().Commit("own", []Offset{own}))
	emptySince := func(g string) (time.Time, bool) { return time.Time{}, g != "alive" }
	for _, c := range []struct {
		after time.Duration
		left  string
	}{{0, "[alive empty own]"}, {2 * time.Hour, "[alive empty]"}, {8 * 24 * time.Hour, "[alive]"}} {
		done(t, o.Expire(time.Now().Add(c.after), emptySince))
		if got := fmt.Sprint(o.Groups()); got != c.left {
			t.Errorf("after %v: %s, want %s", c.after, got, c.left)
		}
	}
}

func TestConcurrentCommitsShareVersions(t *testing.T) {
	o := open(t, mem.New(), Options{CommitInterval: 20 * time.Millisecond})
	done(t, o.Term().Commit("g", []Offset{at("t", 0, 1)}))
	before := o.Version()
	var waits []*Wait
	for i := range 200 {
		waits = append(waits, o.Term().Commit(fmt.Sprint("g", i), []Offset{at("t", 0, 2)}))
	}
	for _, w := range waits {
		done(t, w)
	}
	if n := o.Version() - before; n > 3 {
		t.Errorf("200 commits took %d versions", n)
	}
}

func TestWhatFollowsADeletionOnItsWayIsWritten(t *testing.T) {
	o := open(t, mem.New(), Options{CommitInterval: 20 * time.Millisecond})
	done(t, o.Term().Commit("g", []Offset{at("t", 0, 5)}))
	deleted := o.Term().DeleteGroup("g")
	again := o.Term().Commit("g", []Offset{at("t", 0, 5)}) // the same as is still to be seen
	done(t, deleted)
	done(t, again)
	if got, ok := o.Fetch("g", "t", [16]byte{1}, 0); !ok || got.Offset != 5 {
		t.Error("an acknowledged offset is gone:", got, ok)
	}
	done(t, o.DeleteOffsets("g", "t", []int32{0}))
	if _, ok := o.Fetch("g", "t", [16]byte{1}, 0); ok {
		t.Error("a deleted offset is there")
	}
}

func TestAnOffsetThatIsJustBeingCommittedDoesNotExpire(t *testing.T) {
	o := open(t, mem.New(), Options{CommitInterval: 20 * time.Millisecond})
	old := at("t", 0, 5)
	old.Committed = time.Now().Add(-8 * 24 * time.Hour)
	done(t, o.Term().Commit("g", []Offset{old}))
	committed := o.Term().Commit("g", []Offset{at("t", 0, 6)})
	done(t, o.Expire(time.Now(), func(string) (time.Time, bool) { return time.Time{}, true }))
	done(t, committed)
	if got, ok := o.Fetch("g", "t", [16]byte{1}, 0); !ok || got.Offset != 6 {
		t.Error("an acknowledged offset is gone:", got, ok)
	}
}

func TestACommitThatFailedIsNotTakenForDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		a := open(t, store, Options{})
		done(t, a.Term().Commit("g", []Offset{at("t", 0, 5), at("t", 1, 5)}))
		b := open(t, store.Handle(), Options{})
		done(t, b.Term().Commit("g", []Offset{at("t", 0, 7)}))
		done(t, b.DeleteOffsets("g", "t", []int32{1}))
		first, joined := a.Term().Commit("g", []Offset{at("t", 0, 6)}), a.Term().Commit("g", []Offset{at("t", 0, 6)})
		for _, w := range []*Wait{first, joined} {
			if err := w.Get(t.Context()); !errors.Is(err, ErrFenced) {
				t.Error("a fenced commit:", err)
			}
		}
		if err := a.Term().Commit("g", []Offset{at("t", 0, 6)}).Get(t.Context()); !errors.Is(err, ErrFenced) {
			t.Error("the same once more:", err)
		}
		time.Sleep(4 * time.Second)
		before := a.Term()
		for range 2 { // the first has the table taken back
			if err := before.Commit("g", []Offset{at("t", 0, 6)}).Get(t.Context()); !errors.Is(err, ErrFenced) {
				t.Error("in the term before:", err)
			}
			time.Sleep(time.Second)
		}
		done(t, a.Term().Commit("g", []Offset{at("t", 0, 6)}))
		if got := a.Group("g"); len(got) != 1 || got[0].Offset != 6 {
			t.Errorf("after the table was taken back: %+v", got)
		}
	})
}
