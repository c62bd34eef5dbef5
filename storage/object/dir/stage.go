package dir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"time"

	"sluice/storage/object"
)

// staged is an object that has its key already and is not known to be durable. Its
// file and its folder are synced beside each other, and beside what the caller does
// next: an entry of a log needs two syncs one after the other then, not four.
type staged struct {
	body []byte
	done chan struct{} // closed when err is set
	err  error
}

// Stage implements object.Store. The object shows whole, as by Put; only a failure of
// the machine leaves a part of it, under a key that no Create has named.
func (s *Store) Stage(ctx context.Context, key string, body []byte) (time.Time, <-chan struct{}, error) {
	if err := begin(ctx, object.KindPut, key); err != nil {
		return time.Time{}, nil, err
	}
	st := &staged{body: body, done: make(chan struct{})}
	if !s.stage(key, st) {
		now, err := s.Put(ctx, key, body) // a repeat, while the first is under way or has failed
		return now, nil, err
	}
	f, tmp, now, err := s.writeTemp(ctx, body, len(body))
	if err != nil {
		s.settle(key, st, nil) // nothing to wait for
		return time.Now(), nil, fmt.Errorf("stage %s: %w", key, denied(err))
	}
	if err := s.place(ctx, object.KindPut, key, tmp, s.root.Rename); err != nil {
		f.Close()
		s.discard(tmp)
		s.settle(key, st, nil)
		return now, nil, err
	}
	go func() { s.settle(key, st, s.harden(f, path.Dir(key))) }()
	return now, st.done, nil
}

// harden makes a file that is in its folder durable, and its name there. It closes f.
func (s *Store) harden(f *os.File, folder string) error {
	named := make(chan error, 1)
	go func() {
		err := s.syncDir(folder)
		if errors.Is(err, fs.ErrNotExist) {
			err = nil // removed after the object, by a Delete since
		}
		named <- err
	}()
	return errors.Join(syncClose(f), <-named)
}

// stage notes that st is under way, unless another one of its key is.
func (s *Store) stage(key string, st *staged) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.staged[key] != nil {
		return false
	}
	s.staged[key] = st
	return true
}

// settle notes how st has ended. One that failed stays, for a Create after it.
func (s *Store) settle(key string, st *staged, err error) {
	if err == nil {
		s.forget(key, st)
	}
	st.err = err
	close(st.done)
}

func (s *Store) forget(key string, st *staged) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.staged[key] == st {
		delete(s.staged, key)
	}
}

// await returns when what was staged at keys is durable. What the disk has failed to
// sync it has dropped, perhaps, and would not fail at again: it is written anew.
func (s *Store) await(ctx context.Context, keys []string) error {
	for _, key := range keys {
		s.mu.Lock()
		st := s.staged[key]
		s.mu.Unlock()
		if st == nil {
			continue
		}
		select {
		case <-st.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		if st.err == nil {
			continue
		}
		if _, err := s.Put(ctx, key, st.body); err != nil {
			return fmt.Errorf("staged before it: %w (%w)", err, st.err)
		}
		s.forget(key, st)
	}
	return nil
}
