package objecttest

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"sluice/storage/object"
)

// race lets 16 creators, half of them on another handle, try for one key, over
// many rounds and with bodies of several sizes.
func race(t *testing.T, s *suite) {
	const writers, rounds = 16, 30
	unclear := 0
	for round := range rounds {
		key := fmt.Sprintf("%srace/%02d", s.dir, round)
		size := []int{30, 1 << 10, 64 << 10}[round%3]
		bodies := make([][]byte, writers)
		errs := make([]error, writers)
		start := make(chan struct{})
		var wg sync.WaitGroup
		for w := range writers {
			h := s.store
			if w%2 == 1 {
				h = s.other
			}
			bodies[w] = bytes.Repeat([]byte(fmt.Sprintf("writer %02d;", w)), size/10)
			wg.Go(func() {
				<-start
				_, errs[w] = h.Create(s.ctx, key, bodies[w])
			})
		}
		close(start)
		wg.Wait()

		winner := -1
		for w, err := range errs {
			switch {
			case err == nil && winner >= 0:
				t.Fatalf("round %d: writers %d and %d both created the key", round, winner, w)
			case err == nil:
				winner = w
			case !errors.Is(err, object.ErrExists):
				// A server may close the connection on a loser before it has sent all.
				t.Logf("round %d: writer %d: %v", round, w, err)
				unclear++
			}
		}
		if winner < 0 {
			t.Fatalf("round %d: nobody created the key: %v", round, errors.Join(errs...))
		}
		s.wantBody(strings.TrimPrefix(key, s.dir), string(bodies[winner]))
	}
	if unclear > writers*rounds/20 {
		t.Errorf("%d of %d answers are unclear", unclear, writers*rounds)
	}
}

// wholeObjects reads and lists keys while they are created and replaced: a
// reader finds nothing or a whole body of one writer.
func wholeObjects(t *testing.T, s *suite) {
	const size, rounds = 200 << 10, 25
	body := func(i int) []byte { return bytes.Repeat([]byte{byte('a' + i)}, size) }
	done := make(chan struct{})
	var readers sync.WaitGroup
	for _, key := range []string{s.dir + "w/put", s.dir + "w/created"} {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				o, err := s.other.Get(s.ctx, key, object.Range{})
				switch {
				case errors.Is(err, object.ErrNotFound):
				case err != nil:
					t.Errorf("get: %v", err)
					return
				case len(o.Body) != size || bytes.Count(o.Body, o.Body[:1]) != size:
					t.Errorf("get of %s: %d bytes of %d, or of several writers", key, len(o.Body), size)
					return
				}
			}
		})
	}
	readers.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			l, err := s.other.List(s.ctx, object.ListRequest{Prefix: s.dir})
			if err != nil {
				t.Errorf("list: %v", err)
				return
			}
			for _, i := range l.Objects {
				if !strings.HasPrefix(i.Key, s.dir+"w/") || i.Size != size {
					t.Errorf("list: %+v", i)
					return
				}
			}
		}
	})
	for i := range rounds {
		if _, err := s.store.Put(s.ctx, s.dir+"w/put", body(i)); err != nil {
			t.Errorf("put: %v", err)
			break
		}
		if i%5 == 4 {
			if _, err := s.store.Delete(s.ctx, s.dir+"w/created"); err != nil {
				t.Errorf("delete: %v", err)
				break
			}
		}
		if _, err := s.store.Create(s.ctx, s.dir+"w/created", body(i)); err != nil && !errors.Is(err, object.ErrExists) {
			t.Errorf("create: %v", err)
			break
		}
	}
	close(done)
	readers.Wait()
}

// churn creates and deletes within one folder from many goroutines: a store
// that removes empty folders must not fail a writer that needs one.
func churn(t *testing.T, s *suite) {
	var wg sync.WaitGroup
	for w := range 8 {
		h := s.store
		if w%2 == 1 {
			h = s.other
		}
		wg.Go(func() {
			key := fmt.Sprintf("%schurn/deep/er/%d", s.dir, w)
			for range 10 {
				if _, err := h.Create(s.ctx, key, []byte("x")); err != nil {
					t.Errorf("create: %v", err)
					return
				}
				if _, err := h.Delete(s.ctx, key); err != nil {
					t.Errorf("delete: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	s.wantKeys(object.ListRequest{Prefix: s.dir})
}
