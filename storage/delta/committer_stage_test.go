package delta

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/storage/object"
	"sluice/storage/object/mem"
)

// syncing is a store that takes its time to make durable what is staged, and to log.
type syncing struct {
	object.Store
	data, log time.Duration

	mu     sync.Mutex
	staged map[string]<-chan struct{}
}

func (s *syncing) Stage(ctx context.Context, key string, body []byte) (time.Time, <-chan struct{}, error) {
	now, err := s.Put(ctx, key, body)
	settled := make(chan struct{})
	time.AfterFunc(s.data, func() { close(settled) })
	s.mu.Lock()
	defer s.mu.Unlock()
	s.staged[key] = settled
	return now, settled, err
}

func (s *syncing) Create(ctx context.Context, key string, body []byte, after ...string) (time.Time, error) {
	for _, key := range after {
		s.mu.Lock()
		settled := s.staged[key]
		s.mu.Unlock()
		if settled != nil {
			<-settled
		}
	}
	time.Sleep(s.log)
	return s.Store.Create(ctx, key, body)
}

func TestAnEntryIsOnItsWayWhileItsFileBecomesDurable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &syncing{Store: mem.New(), data: 10 * time.Millisecond, log: 5 * time.Millisecond, staged: map[string]<-chan struct{}{}}
		l := startLedger(t, store, CommitterOptions{})
		committed := func(at time.Duration, want int) {
			t.Helper()
			time.Sleep(at)
			synctest.Wait()
			l.inOrder(want)
		}
		l.append(0, false)
		time.Sleep(time.Millisecond)
		l.append(1, false)
		time.Sleep(5 * time.Millisecond)
		l.append(2, false) // shares a file with the one before: the first is not durable
		committed(9*time.Millisecond-1, 0)
		committed(1, 1) // after the sync of its file, and one log put: 15 ms
		committed(10*time.Millisecond-1, 1)
		committed(1, 3) // its file was begun after 10 ms
		l.mu.Lock()
		defer l.mu.Unlock()
		if fmt.Sprint(l.versions) != "[1 2]" {
			t.Errorf("versions of %v items", l.versions)
		}
	})
}
