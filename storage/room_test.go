package storage

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/protocol/record"
	"sluice/storage/delta"
	"sluice/storage/object/mem"
	"sluice/storage/rows"
)

// A table of another writer's txn actions, 5 MiB as a state.
func heavy(t *testing.T, store *mem.Store, topic string, version int64) {
	t.Helper()
	for entry := range int64(8) {
		var b strings.Builder
		fmt.Fprintf(&b, `{"commitInfo":{"timestamp":%d}}`+"\n", time.Now().UnixMilli()+10*(entry+1))
		for i := range 12 {
			fmt.Fprintf(&b, `{"txn":{"appId":"%d-%d-%s","version":1}}`+"\n", entry, i, strings.Repeat("a", 25_000))
		}
		if _, err := store.Put(t.Context(), delta.EntryKey(topic, version+1+entry), []byte(b.String())); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLargeTopicsShareTheMemoryOfTablesAndIdleOnesMakeRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const topics = 4 // of which three fit
		store := mem.New()
		made := start(t, store, Options{})
		made.damaged = true // looked at once, in the end
		for i := range topics {
			name := fmt.Sprint("t", i)
			mustAppend(t, made.create(name, 1), 0, "x")
			version := made.topic(name).Version()
			made.topic(name).close(t.Context())
			heavy(t, store, name, version)
		}
		made.Close(t.Context())

		r := start(t, store.Handle(), Options{TableBytes: 16 << 20, TablesBytes: 16 << 20})
		open, refused := 0, 0
		for i := range topics {
			topic, err := r.Topic(t.Context(), fmt.Sprint("t", i))
			switch {
			case err == nil:
				open++
				mustAppend(t, topic, 0, "y")
			case errors.Is(err, ErrNoRoom):
				refused++
			default:
				t.Fatal(err)
			}
		}
		if open != 3 || refused != 1 {
			t.Errorf("%d are open, %d refused, %d bytes in use", open, refused, r.env.memory.Used())
		}
		mustAppend(t, r.create("small", 1), 0, "is served") // a topic of no size is
		// Once the first ones have not been used for a while, the others get their room.
		time.Sleep(2 * activeFor)
		for i := range topics {
			mustAppend(t, r.topic(fmt.Sprint("t", i)), 0, "z")
			time.Sleep(2 * activeFor)
		}
		if used := r.env.memory.Used(); used > 16<<20 {
			t.Errorf("%d bytes in use", used)
		}
		r.Close(t.Context())
		if used := r.env.memory.Used(); used != 0 {
			t.Errorf("%d bytes are never given back", used)
		}
	})
}

// What unfolds to much takes turns of its own: other batches are neither checked nor
// encoded behind it.
func TestASmallBatchWaitsForNoBomb(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, mem.New(), Options{})
		topic := r.create("t", 2)
		packed := func(size int) []byte {
			var b record.Builder
			b.Reset(nil, record.Params{Codec: record.LZ4})
			b.Append(0, time.Now().UnixMilli(), nil, make([]byte, size), record.Headers{})
			return b.Finish()
		}
		for range cap(r.env.bulk) { // all are taken
			r.env.bulk <- struct{}{}
		}
		large := make(chan Appended, 1)
		go func() { large <- await(t, topic.Append(0, packed(smallBody+1), eager)) }()
		synctest.Wait()
		if a := await(t, topic.Append(1, packed(1000), eager)); a.Err != nil {
			t.Fatal(a.Err)
		}
		select {
		case a := <-large:
			t.Fatalf("a large batch has not waited: %+v", a)
		default:
		}
		for range cap(r.env.bulk) {
			<-r.env.bulk
		}
		if a := <-large; a.Err != nil {
			t.Fatal(a.Err)
		}
	})
}

func TestBombsThatWaitForTheirTurnHaveNoMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const bombs = 60
		r := start(t, mem.New(), Options{})
		topic := r.create("t", 1)
		var b record.Builder
		b.Reset(nil, record.Params{Codec: record.LZ4})
		b.Append(0, time.Now().UnixMilli(), nil, make([]byte, 2*smallBody), record.Headers{})
		batch := b.Finish()
		for range cap(r.env.bulk) { // all are taken
			r.env.bulk <- struct{}{}
		}
		before := heap()
		answers := make(chan Appended, bombs)
		for range bombs {
			go func() { answers <- await(t, topic.Append(0, slices.Clone(batch), eager)) }()
		}
		synctest.Wait()
		if now := heap(); now > before+8*smallBody {
			t.Errorf("%d bombs that wait hold %d KiB", bombs, (now-before)>>10)
		}
		for range cap(r.env.bulk) {
			<-r.env.bulk
		}
		for range bombs {
			if a := <-answers; a.Err != nil {
				t.Fatal(a.Err)
			}
		}
	})
}

func TestALargePoolLeavesNoLargeBuffersBehind(t *testing.T) {
	r := start(t, mem.New(), Options{})
	batch := []rows.Batch{{Data: produced(nil, "x")}}
	if _, err := r.env.encode(t.Context(), "t", rows.Snappy, batch, smallPool+1); err != nil {
		t.Fatal(err)
	}
	for range cap(r.env.encoders) {
		if slot := <-r.env.encoders; len(*slot) != 0 {
			t.Error("an encoder is kept")
		}
	}
	for range cap(r.env.encoders) {
		r.env.encoders <- &encoders{}
	}
}

func TestAskingForTheEpochOfATopicKeepsNoMemoryOfItsTable(t *testing.T) {
	store := mem.New()
	made := start(t, store, Options{})
	mustAppend(t, made.create("t", 1), 0, "x")
	made.Close(t.Context())

	r := start(t, store.Handle(), Options{})
	before := r.env.memory.Used()
	r.LearnEpochs(t.Context(), []string{"t"})
	if info, ok := r.Lookup("t"); !ok || info.LeaderEpoch < 0 {
		t.Fatalf("%+v, %v", info, ok)
	}
	r.mu.Lock() // what was read is given back before another one may look
	defer r.mu.Unlock()
	if used := r.env.memory.Used(); used != before {
		t.Errorf("%d bytes in use, %d before", used, before)
	}
}
