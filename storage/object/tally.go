package object

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Tally is a Store that counts the calls for keys under the folders that it is told
// to watch: what a table costs. Safe for concurrent use.
type Tally struct {
	Store
	mu      sync.RWMutex
	folders map[string]*Calls
}

// Calls counts calls by kind. A call is one request unless the store repeats it,
// Delete's chunks aside.
type Calls struct{ Creates, Puts, Gets, Lists, Deletes atomic.Int64 }

// NewTally returns s with nothing watched yet.
func NewTally(s Store) *Tally { return &Tally{Store: s, folders: map[string]*Calls{}} }

// Watch counts calls for keys whose first element is folder, from 0 on, until forget
// is called. A later Watch of the same folder takes the place of the one before.
func (t *Tally) Watch(folder string) (calls *Calls, forget func()) {
	calls = &Calls{}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.folders[folder] = calls
	return calls, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.folders[folder] == calls {
			delete(t.folders, folder)
		}
	}
}

// count adds a call for key, which may be a prefix.
func (t *Tally) count(key string, of func(*Calls) *atomic.Int64) {
	folder, _, _ := strings.Cut(key, "/")
	t.mu.RLock()
	calls := t.folders[folder]
	t.mu.RUnlock()
	if calls != nil {
		of(calls).Add(1)
	}
}

// Create implements Store.
func (t *Tally) Create(ctx context.Context, key string, body []byte, after ...string) (time.Time, error) {
	t.count(key, func(c *Calls) *atomic.Int64 { return &c.Creates })
	return t.Store.Create(ctx, key, body, after...)
}

// Put implements Store.
func (t *Tally) Put(ctx context.Context, key string, body []byte) (time.Time, error) {
	t.count(key, func(c *Calls) *atomic.Int64 { return &c.Puts })
	return t.Store.Put(ctx, key, body)
}

// Stage implements Store. It counts as a put.
func (t *Tally) Stage(ctx context.Context, key string, body []byte) (time.Time, <-chan struct{}, error) {
	t.count(key, func(c *Calls) *atomic.Int64 { return &c.Puts })
	return t.Store.Stage(ctx, key, body)
}

// Get implements Store.
func (t *Tally) Get(ctx context.Context, key string, r Range) (Object, error) {
	t.count(key, func(c *Calls) *atomic.Int64 { return &c.Gets })
	return t.Store.Get(ctx, key, r)
}

// List implements Store.
func (t *Tally) List(ctx context.Context, req ListRequest) (Listing, error) {
	t.count(req.Prefix, func(c *Calls) *atomic.Int64 { return &c.Lists })
	return t.Store.List(ctx, req)
}

// Delete implements Store. It counts for the folder of the first key.
func (t *Tally) Delete(ctx context.Context, keys ...string) (time.Time, error) {
	if len(keys) > 0 {
		t.count(keys[0], func(c *Calls) *atomic.Int64 { return &c.Deletes })
	}
	return t.Store.Delete(ctx, keys...)
}
