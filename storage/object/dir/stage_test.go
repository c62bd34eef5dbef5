package dir

import (
	"context"
	"errors"
	"testing"
	"time"

	"sluice/storage/object"
)

// opened is a store, and an object of it that was staged and has not settled yet.
func opened(t *testing.T) (*Store, *staged) {
	t.Helper()
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	st := &staged{body: []byte("rows"), done: make(chan struct{})}
	if !s.stage("data", st) {
		t.Fatal("not staged")
	}
	return s, st
}

func TestACreateWaitsForWhatItComesAfter(t *testing.T) {
	s, st := opened(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := s.Create(ctx, "entry", nil, "data"); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("create before its data is durable: %v", err)
	}
	if _, err := s.Get(t.Context(), "entry", object.Range{}); !errors.Is(err, object.ErrNotFound) {
		t.Fatalf("the entry, whose data is not durable: %v", err)
	}
	if _, err := s.Create(t.Context(), "another", nil); err != nil { // which does not come after it
		t.Fatal(err)
	}
	s.settle("data", st, nil)
	if _, err := s.Create(t.Context(), "entry", nil, "data"); err != nil {
		t.Fatal(err)
	}
}

// A disk that has failed to sync a file may have dropped what was written, and sync the
// file the next time without a word.
func TestWhatCouldNotBeSyncedIsWrittenAnewByTheCreateAfterIt(t *testing.T) {
	s, st := opened(t)
	s.settle("data", st, errors.New("input/output error"))
	if _, err := s.Create(t.Context(), "entry", nil, "data"); err != nil {
		t.Fatal(err)
	}
	if o, err := s.Get(t.Context(), "data", object.Range{}); err != nil || string(o.Body) != "rows" {
		t.Errorf("data is %q, %v", o.Body, err)
	}
	if len(s.staged) != 0 {
		t.Error("what was written anew is still held")
	}
}

func TestWhatIsDeletedIsNotHeldForACreate(t *testing.T) {
	s, st := opened(t)
	s.settle("data", st, errors.New("input/output error"))
	if _, err := s.Delete(t.Context(), "data"); err != nil {
		t.Fatal(err)
	}
	if len(s.staged) != 0 {
		t.Error("what was deleted is still held")
	}
}
