package storage

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

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
					result := await(t, topic.Append(0, produced(nil, fmt.Sprint(w, i)), true))
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
