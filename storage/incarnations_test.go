package storage

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice/protocol/record"
	"sluice/storage/delta"
	"sluice/storage/object/mem"
)

func TestWhatIsAppendedWhileATopicIsDeletedDoesNotComeToLifeInTheNextOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		store.SetFaults(func(r mem.Request) mem.Fault {
			if r.Size > 0 {
				return mem.Fault{Delay: 5 * time.Millisecond}
			}
			return mem.Fault{}
		})
		r := start(t, store, Options{})
		topic := r.create("t", 1)
		var group sync.WaitGroup
		for w := range 5 {
			group.Go(func() {
				for i := 0; ; i++ {
					result := await(t, topic.Append(0, produced(nil, fmt.Sprint(w, i)), eager))
					if result.Err != nil {
						if !errors.Is(result.Err, ErrUnknownTopic) {
							t.Error(result.Err)
						}
						return
					}
					time.Sleep(time.Millisecond)
				}
			})
		}
		time.Sleep(100 * time.Millisecond)
		if err := r.Delete(t.Context(), "t", [16]byte{}); err != nil {
			t.Fatal(err)
		}
		group.Wait()
		snap, err := r.env.newLog("t").Open(t.Context(), nil)
		if err != nil || len(snap.Files) > 0 {
			t.Errorf("the deleted table holds %d files, %v", len(snap.Files), err)
		}
		if base := mustAppend(t, r.create("t", 1), 0, "new"); base != 0 {
			t.Error("the new topic begins at", base)
		}
		r.Close(t.Context())
	})
}

func TestABrokerThatIsBehindLearnsItFromAProducersSequences(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		a := start(t, store, Options{})
		stale := a.create("t", 1)
		b := start(t, store.Handle(), Options{})
		sequence := int32(0)
		send := func(topic *Topic) error {
			result := await(t, topic.Append(0, produced(&record.Producer{ID: 7, Sequence: sequence}, "x"), eager))
			if result.Err == nil {
				sequence++
			}
			return result.Err
		}
		if err := send(stale); err != nil {
			t.Fatal(err)
		}
		for range 10 {
			if err := send(b.topic("t")); err != nil {
				t.Fatal(err)
			}
		}
		// Out of order? Then it would send again what was not acknowledged, as another producer.
		if err := send(stale); !errors.Is(err, ErrNotLeader) {
			t.Fatal(err)
		}
		if _, err := a.Topic(t.Context(), "t"); !errors.Is(err, ErrNotLeader) {
			t.Error("the topic is still served:", err)
		}
		time.Sleep(lostFor)
		if err := send(a.topic("t")); err != nil {
			t.Error("after it was taken back:", err)
		}

		stale = a.topic("t")
		time.Sleep(lostFor)
		if err := b.AddPartitions(t.Context(), "t", 2); errors.Is(err, ErrNotLeader) { // it has been fenced
			time.Sleep(lostFor)
			err = b.AddPartitions(t.Context(), "t", 2)
			if err != nil {
				t.Fatal(err)
			}
		}
		if result := await(t, stale.Append(1, produced(nil, "x"), eager)); !errors.Is(result.Err, ErrUnknownPartition) {
			t.Fatal(result.Err)
		}
		time.Sleep(time.Second)
		if result := await(t, stale.Append(1, produced(nil, "x"), eager)); !errors.Is(result.Err, ErrNotLeader) {
			t.Error("a partition that another broker added:", result.Err)
		}
		a.Close(t.Context())
		b.Close(t.Context())
	})
}

func TestABrokerThatIsBehindSendsNoConsumerBackToTheStart(t *testing.T) {
	for name, ask := range map[string]func(ctx context.Context, stale *Topic, epoch int32) error{
		"reading behind what it knows": func(ctx context.Context, stale *Topic, _ int32) error {
			_, err := stale.Read(ctx, 0, 3, 1000, true)
			return err
		},
		"where it ends": func(ctx context.Context, stale *Topic, _ int32) error {
			time.Sleep(doubtEvery)
			return stale.Confirm(ctx)
		},
		"the end of its own epoch, read beyond": func(ctx context.Context, stale *Topic, epoch int32) error {
			_, _, err := stale.EpochEnd(ctx, 0, epoch-1, 3)
			return err
		},
		"the end of an epoch after its own": func(ctx context.Context, stale *Topic, epoch int32) error {
			_, _, err := stale.EpochEnd(ctx, 0, epoch, -1)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := mem.New()
				a := start(t, store, Options{})
				stale := a.create("t", 1)
				mustAppend(t, stale, 0, "x")
				if err := ask(t.Context(), stale, stale.Info().LeaderEpoch+1); err != nil && !errors.Is(err, ErrOffsetOutOfRange) {
					t.Error("of a leader:", err)
				}
				b := start(t, store.Handle(), Options{})
				newer := b.topic("t")
				mustAppend(t, newer, 0, "y")
				mustAppend(t, newer, 0, "z")
				if err := ask(t.Context(), stale, newer.Info().LeaderEpoch); !errors.Is(err, ErrNotLeader) {
					t.Error("of one that was:", err)
				}
				b.Close(t.Context())
				a.Close(t.Context())
			})
		})
	}
}

func TestConsumersAreNotLeftWaitingAtABrokerThatHasLostAnotherTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		a := start(t, store, Options{})
		stale, idle := a.create("stale", 1), a.create("idle", 1)
		mustAppend(t, stale, 0, "x")
		time.Sleep(time.Hour)
		b := start(t, store.Handle(), Options{})
		mustAppend(t, b.topic("stale"), 0, "y")
		waits := func(topic *Topic, at int64) error {
			_, err := topic.Read(t.Context(), 0, at, 1000, true)
			synctest.Wait() // a look comes behind it
			return errors.Join(err, topic.reason())
		}
		if err := waits(stale, 1); err != nil {
			t.Fatal("it does not know yet:", err)
		}
		time.Sleep(lostFor)
		_ = a.catalogue.Put(liveRow(idle.Info())).Get(t.Context()) // taken over by b when it started
		synctest.Wait()                                            // who writes is told before the topics are
		if err := waits(stale, 1); !errors.Is(err, ErrNotLeader) {
			t.Error("where another broker has written:", err)
		}
		if err := waits(idle, 0); err != nil {
			t.Error("where none has:", err)
		}
		b.Close(t.Context())
		a.Close(t.Context())
	})
}

func TestWhatAnotherBrokerHasMadeIsFoundWhenItIsAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		a := start(t, store, Options{})
		b := start(t, store.Handle(), Options{})
		made := b.create("t", 3)
		if _, ok := a.Lookup("t"); ok {
			t.Fatal("it knows the topic already")
		}
		for range 2 { // the catalogue was taken over, and is taken back
			info, err := a.Refresh(t.Context(), "t")
			if err != nil || info.ID != made.Info().ID || info.Partitions != 3 {
				t.Fatal(info, err)
			}
			time.Sleep(lostFor + time.Second)
		}
		if known, ok := a.Lookup("t"); !ok || known.ID != made.Info().ID || known.Partitions != 3 {
			t.Error(known, ok)
		}
		if _, err := a.Refresh(t.Context(), "nothing"); !errors.Is(err, ErrUnknownTopic) {
			t.Error(err)
		}
		b.Close(t.Context())
		a.Close(t.Context())
	})
}

// The log of a topic that was made anew may begin with a checkpoint of the one before, and
// its producers' state be older than the entries that the check compares it with.
func TestTheProducersOfATopicMadeAnewAreComparedWithItsOwnEntries(t *testing.T) {
	store := mem.New()
	r := start(t, store, Options{})
	write := func(topic *Topic, producer int64, n int) {
		t.Helper()
		for i := range n {
			if result := await(t, topic.Append(0, produced(&record.Producer{ID: producer, Sequence: int32(i)}, "x"), eager)); result.Err != nil {
				t.Fatal(result.Err)
			}
		}
	}
	write(r.create("t", 1), 1, 120)
	if err := r.Delete(t.Context(), "t", [16]byte{}); err != nil {
		t.Fatal(err)
	}
	topic := r.create("t", 1)
	write(topic, 2, 10)
	write(topic, 3, 240)
	r.Close(t.Context())
	// As cleanup leaves it: nothing before the first checkpoint.
	if _, err := store.Delete(t.Context(), delta.EntryKey("t", 0)); err != nil {
		t.Fatal(err)
	}
}

func TestTopicsOfAnotherBrokerAreFoundWhenTheyAreAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		a := start(t, store, Options{})
		b := start(t, store.Handle(), Options{})
		b.create("t", 3)
		var requests atomic.Int64
		store.SetFaults(func(mem.Request) mem.Fault { requests.Add(1); return mem.Fault{} })
		asked := time.Now()
		for range 600 { // as a client that waits for the topic
			a.Renew(t.Context())
			time.Sleep(100 * time.Millisecond)
			if info, ok := a.Lookup("t"); ok {
				if d := time.Since(asked); info.Partitions != 3 || d > catalogueEvery+lostFor+time.Second {
					t.Error(info, "after", d)
				}
				break
			}
		}
		if _, ok := a.Lookup("t"); !ok {
			t.Fatal("it is not found")
		}
		time.Sleep(time.Minute)
		requests.Store(0)
		for range 600 {
			a.Renew(t.Context())
			time.Sleep(100 * time.Millisecond)
		}
		if requests.Load() > 7 {
			t.Error("requests in a minute of asking for a topic that nobody has made:", requests.Load())
		}
		b.Close(t.Context())
		a.Close(t.Context())
	})
}
