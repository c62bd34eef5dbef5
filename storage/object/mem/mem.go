// Package mem is an object store in memory, for tests, simulations and
// benchmarks: exact in its semantics, with faults and latencies injected at
// will. It lives as long as the process.
package mem

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"sluice/storage/object"
)

// pageSize is the most entries that a List answers unless asked for fewer, as at S3.
const pageSize = 1000

// roots holds what Open has made, by name.
var roots = struct {
	sync.Mutex
	byName map[string]*root
}{byName: map[string]*root{}}

// root is the stored state, shared by the handles on it.
type root struct {
	url string

	mu      sync.RWMutex
	now     func() time.Time
	objects map[string]stored
	keys    []string // of objects, ascending
}

type stored struct {
	body     []byte // never changed once stored
	modified time.Time
}

// Store is a handle on a root. Several handles on one root stand for several
// processes: each has its own faults and latencies, the objects and the clock
// are the root's. All methods are safe for concurrent use.
type Store struct {
	root *root

	mu       sync.Mutex
	faults   Faults
	attempts map[attemptKey]int // requests so far; kept only with faults
}

// New returns a handle on a new root that nothing else refers to.
func New() *Store {
	return &Store{root: newRoot("mem://")}
}

// Open returns a handle on the root of that name, made when first opened and
// kept until Drop.
func Open(name string) *Store {
	roots.Lock()
	defer roots.Unlock()
	r := roots.byName[name]
	if r == nil {
		r = newRoot("mem://" + name)
		roots.byName[name] = r
	}
	return &Store{root: r}
}

// Drop forgets the root of that name. Handles on it go on working among themselves.
func Drop(name string) {
	roots.Lock()
	defer roots.Unlock()
	delete(roots.byName, name)
}

func newRoot(url string) *root {
	return &root{url: url, now: time.Now, objects: map[string]stored{}}
}

// Handle returns one more handle on the root of s, without faults.
func (s *Store) Handle() *Store { return &Store{root: s.root} }

// SetClock replaces the clock of the root, for all handles on it. A nil now is
// time.Now, as is the default.
func (s *Store) SetClock(now func() time.Time) {
	if now == nil {
		now = time.Now
	}
	s.root.mu.Lock()
	defer s.root.mu.Unlock()
	s.root.now = now
}

// URL returns mem://name.
func (s *Store) URL() string { return s.root.url }

// Create implements object.Store.
func (s *Store) Create(ctx context.Context, key string, body []byte, _ ...string) (time.Time, error) {
	if err := check(object.KindCreate, key); err != nil {
		return time.Time{}, err
	}
	body = slices.Clone(body) // the caller may reuse it, also while a late write is under way
	return s.write(ctx, object.KindCreate, key, len(body), func() error { return s.root.create(key, body) })
}

// Put implements object.Store.
func (s *Store) Put(ctx context.Context, key string, body []byte) (time.Time, error) {
	if err := check(object.KindPut, key); err != nil {
		return time.Time{}, err
	}
	body = slices.Clone(body)
	return s.write(ctx, object.KindPut, key, len(body), func() error { s.root.put(key, body); return nil })
}

// Stage implements object.Store: what is answered is as durable as it gets.
func (s *Store) Stage(ctx context.Context, key string, body []byte) (time.Time, <-chan struct{}, error) {
	now, err := s.Put(ctx, key, body)
	return now, nil, err
}

// Delete implements object.Store. The keys go one after the other, not as one
// step; a fault sees the first of them.
func (s *Store) Delete(ctx context.Context, keys ...string) (time.Time, error) {
	if len(keys) == 0 {
		return s.root.clock(), nil
	}
	for _, key := range keys {
		if err := check(object.KindDelete, key); err != nil {
			return time.Time{}, err
		}
	}
	keys = slices.Clone(keys)
	return s.write(ctx, object.KindDelete, keys[0], 0, func() error { s.root.delete(keys); return nil })
}

func (s *Store) write(ctx context.Context, kind object.Kind, key string, size int, apply func() error) (time.Time, error) {
	err := s.do(ctx, Request{Kind: kind, Key: key, Size: size}, apply)
	if err != nil {
		err = fmt.Errorf("%s %s: %w", kind, key, err)
	}
	return s.root.clock(), err
}

// Get implements object.Store.
func (s *Store) Get(ctx context.Context, key string, r object.Range) (object.Object, error) {
	if err := check(object.KindGet, key); err != nil {
		return object.Object{}, err
	}
	var o object.Object
	err := s.do(ctx, Request{Kind: object.KindGet, Key: key}, func() (err error) {
		o, err = s.root.get(key, r)
		return err
	})
	if err != nil {
		o, err = object.Object{}, fmt.Errorf("get %s: %w", key, err)
	}
	o.Now = s.root.clock()
	return o, err
}

// List implements object.Store.
func (s *Store) List(ctx context.Context, req object.ListRequest) (object.Listing, error) {
	if !object.ValidPrefix(req.Prefix) {
		return object.Listing{}, fmt.Errorf("list %q: %w", req.Prefix, object.ErrBadKey)
	}
	var l object.Listing
	err := s.do(ctx, Request{Kind: object.KindList, Key: req.Prefix}, func() error {
		l = s.root.list(req)
		return nil
	})
	if err != nil {
		l, err = object.Listing{}, fmt.Errorf("list %s: %w", req.Prefix, err)
	}
	l.Now = s.root.clock()
	return l, err
}

func check(kind object.Kind, key string) error {
	if !object.ValidKey(key) {
		return fmt.Errorf("%s %q: %w", kind, key, object.ErrBadKey)
	}
	return nil
}

func (r *root) clock() time.Time {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.now()
}

func (r *root) create(key string, body []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, taken := r.objects[key]; taken {
		return object.ErrExists
	}
	r.store(key, body)
	return nil
}

func (r *root) put(key string, body []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.store(key, body)
}

// store is called with mu held.
func (r *root) store(key string, body []byte) {
	if i, found := slices.BinarySearch(r.keys, key); !found {
		r.keys = slices.Insert(r.keys, i, key)
	}
	r.objects[key] = stored{body: body, modified: r.now()}
}

func (r *root) delete(keys []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, key := range keys {
		if i, found := slices.BinarySearch(r.keys, key); found {
			r.keys = slices.Delete(r.keys, i, i+1)
			delete(r.objects, key)
		}
	}
}

func (r *root) get(key string, rng object.Range) (object.Object, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	o, found := r.objects[key]
	if !found {
		return object.Object{}, object.ErrNotFound
	}
	from, to := rng.Of(int64(len(o.body)))
	return object.Object{Info: o.info(key), Body: slices.Clone(o.body[from:to])}, nil
}

func (o stored) info(key string) object.Info {
	return object.Info{Key: key, Size: int64(len(o.body)), Modified: o.modified}
}

func (r *root) list(req object.ListRequest) object.Listing {
	r.mu.RLock()
	defer r.mu.RUnlock()
	limit := pageSize
	if req.Limit > 0 {
		limit = min(limit, req.Limit)
	}
	var l object.Listing
	i, _ := slices.BinarySearch(r.keys, max(req.Prefix, req.After))
	for i < len(r.keys) {
		key := r.keys[i]
		rest, matches := strings.CutPrefix(key, req.Prefix)
		if !matches {
			break // all that begin with the prefix lie together
		}
		entry, next := key, i+1
		slash := -1
		if req.Folders {
			slash = strings.IndexByte(rest, '/')
		}
		if slash >= 0 {
			entry = req.Prefix + rest[:slash+1]
			// '0' follows '/': the first key that is no longer in the folder.
			next, _ = slices.BinarySearch(r.keys, entry[:len(entry)-1]+"0")
		}
		if entry > req.After {
			if len(l.Objects)+len(l.Folders) == limit {
				l.More = true
				break
			}
			if slash >= 0 {
				l.Folders = append(l.Folders, entry)
			} else {
				l.Objects = append(l.Objects, r.objects[key].info(key))
			}
			l.Last = entry
		}
		i = next
	}
	return l
}
