package storage

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/storage/delta"
	"sluice/storage/object/mem"
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
