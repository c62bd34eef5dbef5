package storage

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"sluice/storage/delta"
	"sluice/storage/object"
	"sluice/storage/object/mem"
)

func TestATopicThatCannotBeOpenedIsTriedOncePerSecondAndLoggedRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		r := start(t, store, Options{})
		mustAppend(t, r.create("t", 1), 0, "x")
		r.Close(t.Context())

		handle := store.Handle()
		var log bytes.Buffer
		ts, err := Open(t.Context(), handle, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		var requests atomic.Int32
		handle.SetFaults(func(mem.Request) mem.Fault {
			requests.Add(1)
			return mem.Fault{Outcome: mem.Refuse}
		})
		for range 600 { // a minute
			if _, err := ts.Topic(t.Context(), "t"); !errors.Is(err, ErrUnavailable) {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if n := requests.Load(); n > 60*3 {
			t.Errorf("%d requests in a minute", n)
		}
		if n := strings.Count(log.String(), "cannot be opened"); n < 1 || n > 3 {
			t.Errorf("%d lines of log:\n%s", n, log.String())
		}
		handle.SetFaults(nil)
		time.Sleep(failedFor)
		if topic, err := ts.Topic(t.Context(), "t"); err != nil || len(consume(t, topic, 0, 0)) != 1 {
			t.Error("when the store is back:", err)
		}
		ts.Close(t.Context())
	})
}

// What is slow to refuse, such as a log full of bytes that are no table, is looked at the
// more rarely, and still soon after it was put right.
func TestATopicThatIsSlowToRefuseTakesASmallShareOfTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		r := start(t, store, Options{})
		mustAppend(t, r.create("t", 1), 0, "x")
		r.Close(t.Context())

		handle := store.Handle()
		ts, err := Open(t.Context(), handle, Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer ts.Close(t.Context())
		// The entry behind the newest version is torn, and takes a while to be read.
		info, err := ts.Describe(t.Context(), "t")
		if err != nil {
			t.Fatal(err)
		}
		torn := delta.EntryKey("t", info.Version+1)
		if _, err := store.Put(t.Context(), torn, []byte("{")); err != nil {
			t.Fatal(err)
		}
		var attempts atomic.Int32
		handle.SetFaults(func(q mem.Request) mem.Fault {
			if q.Key != torn {
				return mem.Fault{}
			}
			attempts.Add(1)
			return mem.Fault{Delay: 500 * time.Millisecond}
		})
		for began := time.Now(); time.Since(began) < time.Minute; time.Sleep(100 * time.Millisecond) {
			if _, err := ts.Topic(t.Context(), "t"); !errors.Is(err, ErrStopped) || !strings.Contains(err.Error(), "goes on") {
				t.Fatal(err)
			}
		}
		if n := attempts.Load(); n < 5 || n > 13 {
			t.Errorf("%d attempts of half a second in a minute", n)
		}
		if _, err := store.Delete(t.Context(), torn); err != nil {
			t.Fatal(err)
		}
		time.Sleep(failedMost)
		if _, err := ts.Topic(t.Context(), "t"); err != nil {
			t.Error("when it is put right:", err)
		}
	})
}

func TestADeletionThatGotNoFurtherThanTheTableIsCompleted(t *testing.T) {
	for _, again := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			store := mem.New()
			handle := store.Handle()
			r := start(t, handle, Options{})
			r.create("t", 1)
			handle.SetFaults(func(q mem.Request) mem.Fault {
				if strings.HasPrefix(q.Key, cataloguePath) {
					return mem.Fault{Outcome: mem.Hang} // the broker is killed here
				}
				return mem.Fault{}
			})
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if err := r.Delete(ctx, "t", [16]byte{}); err == nil {
				t.Fatal("deleted?")
			}
			r.Topics.Close(ctx)
			r = start(t, store, Options{})
			if again {
				if err := r.Delete(t.Context(), "t", [16]byte{}); err != nil {
					t.Fatal(err)
				}
			} else if _, err := r.Topic(t.Context(), "t"); !errors.Is(err, ErrUnknownTopic) {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			if _, ok := r.Lookup("t"); ok {
				t.Error("a deleted topic is listed")
			}
			if base := mustAppend(t, r.create("t", 2), 1, "new"); base != 0 {
				t.Error("the new topic begins at", base)
			}
			r.Close(t.Context())
		})
	}
}

// Somebody has removed the folder of a topic, by hand or by a rule of the bucket. What the
// catalogue still names can be deleted, and made anew, whether or not it is open.
func TestATopicWhoseTableSomebodyHasRemovedCanBeDeleted(t *testing.T) {
	for _, open := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			store := mem.New()
			r := start(t, store, Options{})
			topic := r.create("t", 1)
			mustAppend(t, topic, 0, "old")
			if !open {
				r.Close(t.Context())
				r = start(t, store, Options{})
			}
			empty(t, store, "t/")
			if err := r.Delete(t.Context(), "t", [16]byte{}); err != nil {
				t.Fatal(err)
			}
			if _, ok := r.Lookup("t"); ok {
				t.Error("it is listed")
			}
			if open {
				if result := await(t, topic.Append(0, produced(nil, "late"), eager)); !errors.Is(result.Err, ErrUnknownTopic) {
					t.Error("an append to it:", result.Err)
				}
			}
			if there, err := r.env.newLog("t").Exists(t.Context()); there || err != nil {
				t.Error("its log has begun again:", err)
			}
			if err := r.Delete(t.Context(), "t", [16]byte{}); !errors.Is(err, ErrUnknownTopic) {
				t.Error("deleted again:", err)
			}
			if base := mustAppend(t, r.create("t", 1), 0, "new"); base != 0 {
				t.Error("the new topic begins at", base)
			}
			r.Close(t.Context())
		})
	}
}

// With a part of its log left a table is damaged, and not gone. Who asks for the deletion of its topic
// gets it, whether or not the topic was open when that happened, and can make it anew.
func TestATopicWhoseLogHasLostItsBeginningCanBeDeleted(t *testing.T) {
	for _, open := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			store := mem.New()
			r := start(t, store, Options{})
			r.damaged = true
			topic := r.create("t", 2)
			mustAppend(t, topic, 0, "lost")
			empty(t, store, "t/")
			mustAppend(t, topic, 0, "x")
			mustAppend(t, topic, 1, "y")
			if !open {
				r.Close(t.Context())
				r = start(t, store, Options{})
				r.damaged = true
				if _, err := r.Topic(t.Context(), "t"); !errors.Is(err, ErrStopped) {
					t.Fatal("it opens:", err)
				}
			}
			if err := r.Delete(t.Context(), "t", [16]byte{}); err != nil {
				t.Fatal(err)
			}
			if _, ok := r.Lookup("t"); ok {
				t.Error("it is listed")
			}
			made := r.create("t", 1)
			if base := mustAppend(t, made, 0, "new"); base != 0 {
				t.Error("the new topic begins at", base)
			}
			if made.epoch <= topic.epoch {
				t.Error("leader epoch", made.epoch, "follows", topic.epoch)
			}
			r.Close(t.Context())
			r = start(t, store, Options{})
			r.damaged = true // the log tells of versions that are not there
			if got := consume(t, r.topic("t"), 0, 0); len(got) != 1 || got[0] != "new" {
				t.Error("after a restart:", got)
			}
			r.Close(t.Context())
		})
	}
}

// A leader that knows nothing of all that goes on behind the damage; it must not go on behind
// the deletion too.
func TestWhoLeadsADamagedTableMeetsItsDeletion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		a := start(t, store, Options{})
		a.damaged = true
		old := a.create("t", 1)
		mustAppend(t, old, 0, "lost")
		empty(t, store, "t/")
		mustAppend(t, old, 0, "x")
		b := start(t, store.Handle(), Options{})
		b.damaged = true
		if err := b.Delete(t.Context(), "t", [16]byte{}); err != nil {
			t.Fatal(err)
		}
		mustAppend(t, b.create("t", 1), 0, "new")
		if result := await(t, old.Append(0, produced(nil, "late"), eager)); result.Err == nil {
			t.Error("acked")
		}
		if got := consume(t, b.topic("t"), 0, 0); len(got) != 1 || got[0] != "new" {
			t.Error(got)
		}
		a.Close(t.Context())
		b.Close(t.Context())
	})
}

// An entry that cannot be read may be put back.
func TestATopicWithATornEntryIsNotDeleted(t *testing.T) {
	store := mem.New()
	r := start(t, store, Options{})
	r.damaged = true
	mustAppend(t, r.create("t", 1), 0, "x")
	r.Close(t.Context())
	r = start(t, store, Options{})
	r.damaged = true
	if _, err := store.Put(t.Context(), delta.EntryKey("t", 0), []byte(`{"commit`)); err != nil {
		t.Fatal(err)
	}
	if err := r.Delete(t.Context(), "t", [16]byte{}); !errors.Is(err, ErrStopped) {
		t.Error(err)
	}
	if _, ok := r.Lookup("t"); !ok {
		t.Error("it is not listed any more")
	}
}

func TestPartitionsThatOnlyTheTableKnowsAreFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		handle := store.Handle()
		r := start(t, handle, Options{})
		r.create("t", 1)
		handle.SetFaults(func(q mem.Request) mem.Fault {
			if strings.HasPrefix(q.Key, cataloguePath) {
				return mem.Fault{Outcome: mem.Hang}
			}
			return mem.Fault{}
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := r.AddPartitions(ctx, "t", 3); err == nil {
			t.Fatal("added?")
		}
		r.Topics.Close(ctx)
		r = start(t, store, Options{})
		r.topic("t")
		time.Sleep(time.Second)
		if info, _ := r.Lookup("t"); info.Partitions != 3 {
			t.Error(info.Partitions, "partitions are listed")
		}
		r.Close(t.Context())
	})
}

func TestClosingDoesNotWaitForATopicThatIsBeingOpened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		r := start(t, store, Options{})
		r.create("t", 1)
		r.Close(t.Context())
		handle := store.Handle()
		r = start(t, handle, Options{})
		handle.SetFaults(func(q mem.Request) mem.Fault {
			if q.Kind != object.KindList && strings.HasPrefix(q.Key, "t/") {
				return mem.Fault{Outcome: mem.Hang}
			}
			return mem.Fault{}
		})
		failed := make(chan error)
		go func() {
			_, err := r.Topic(t.Context(), "t")
			failed <- err
		}()
		synctest.Wait()
		began := time.Now()
		r.Close(t.Context())
		if err := <-failed; err == nil || time.Since(began) > time.Second {
			t.Error(err, time.Since(began))
		}
	})
}

func TestATopicThatAnotherBrokerMadeAnewIsServedOnceTheCatalogueKnowsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		a := start(t, store, Options{})
		a.create("t", 1)
		handle := store.Handle()
		b := start(t, handle, Options{})
		a.Close(t.Context())
		a = start(t, store, Options{})
		if err := a.Delete(t.Context(), "t", [16]byte{}); err != nil {
			t.Fatal(err)
		}
		// Made anew by a broker that was killed before it could tell the catalogue.
		settings, _ := ParseSettings(nil, nil)
		if _, err := createTable(t.Context(), a.env, "t", uuid.New(), 1, nil, settings); err != nil {
			t.Fatal(err)
		}
		handle.SetFaults(func(q mem.Request) mem.Fault {
			if strings.HasPrefix(q.Key, cataloguePath) {
				return mem.Fault{Outcome: mem.Refuse}
			}
			return mem.Fault{}
		})
		if _, err := b.Topic(t.Context(), "t"); err == nil {
			t.Error("a topic is served that the catalogue says is deleted")
		}
		handle.SetFaults(nil)
		time.Sleep(time.Minute)
		mustAppend(t, b.topic("t"), 0, "x")
		a.Close(t.Context())
		b.Close(t.Context())
		c := start(t, store, Options{})
		if got := consume(t, c.topic("t"), 0, 0); len(got) != 1 {
			t.Error(got)
		}
		c.Close(t.Context())
	})
}

func TestATopicThatIsDeletedWhileItIsOpenedIsNotTakenForDamaged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		a := start(t, store, Options{})
		for range 3 {
			mustAppend(t, a.create1("t"), 0, "x")
		}
		rewrite(t, store, "t", 1, func(int64) int { return 0 }) // its footer has to be read
		handle := store.Handle()
		b := start(t, handle, Options{})
		var once atomic.Bool
		handle.SetFaults(func(q mem.Request) mem.Fault {
			if q.Kind == object.KindGet && strings.HasPrefix(q.Key, "t/data/") && !once.Swap(true) {
				a.Delete(t.Context(), "t", [16]byte{}) // it gets as far as the table: b has the catalogue
			}
			return mem.Fault{}
		})
		if _, err := b.Topic(t.Context(), "t"); !errors.Is(err, ErrNotLeader) || !once.Load() {
			t.Error(err)
		}
		a.Close(t.Context())
		b.Close(t.Context())
	})
}

// create1 makes a topic of one partition unless it is there.
func (r *root) create1(name string) *Topic {
	if _, ok := r.Lookup(name); ok {
		return r.topic(name)
	}
	return r.create(name, 1)
}
