package storage

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/singleflight"

	"sluice/storage/buffer"
	"sluice/storage/delta"
	"sluice/storage/object"
	"sluice/storage/rows"
)

// blockCache keeps what was rebuilt from files: blocks of record batches, and the
// footers of files with the bytes of small ones. Least recently used first out,
// bounded in bytes; readers take a quarter as much at most, and so do files that
// were written here.
type blockCache struct {
	limit   int
	metrics *metrics

	mu          sync.Mutex
	bytes       int // of blocks
	blocks      *lru.Cache[blockKey, *block]
	readerBytes int
	readers     *lru.Cache[string, *openFile]
	closed      bool // nothing is loaded in the background any more

	written bodies

	unread int // bytes of blocks that were loaded ahead and that nobody has asked for yet

	flight  singleflight.Group
	slots   chan struct{} // of background loads
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup
}

// blockKey names a block: the files of its group, the partition, where it begins.
// Files are never changed, so a block never goes stale; but which files hold
// records side by side may change from one read to the next.
type blockKey struct {
	files     string
	partition int32
	from      int64
}

func keyOf(n int32, from int64, group []extent) blockKey {
	if len(group) == 1 {
		return blockKey{group[0].file.key, n, from}
	}
	all := sha256.New()
	for _, e := range group {
		all.Write([]byte(e.file.key))
		all.Write([]byte{0})
	}
	return blockKey{string(all.Sum(nil)), n, from}
}

// openFile is the reader of a file and about how many bytes it keeps.
type openFile struct {
	reader *rows.Reader
	bytes  int
}

// block is a run of a partition's records from one file, or from several
// whose offsets are interleaved.
type block struct {
	batches []rows.Encoded
	next    int64 // the offset behind it, at which the next block begins
	bytes   int
	unread  bool // guarded by blockCache.mu: see there

	buffer *buffer.Buffer // that batches lie in; nil: the garbage collector's
	// users are the cache and the readers that have not released the block yet: the last one
	// gives the buffer back. A block that is not cached has one user that stays.
	users atomic.Int32
}

// retain makes the caller a user of the block, unless its last one has gone.
func (b *block) retain() bool {
	for {
		n := b.users.Load()
		if n == 0 {
			return false
		}
		if b.users.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// release ends one use of the block, whose batches are nobody's after the last.
func (b *block) release() {
	if b.users.Add(-1) == 0 {
		b.buffer.Release()
	}
}

const (
	// maxBlocks and maxReaders bound the entries of the caches, beside their bytes.
	maxBlocks  = 1 << 16
	maxReaders = 1024
	// wholeFile is the size up to which a file is read in one request.
	wholeFile = 1 << 20
	// loadDeadline bounds the reading of a block from a store that hangs.
	loadDeadline = 30 * time.Second
	// backgroundLoads bounds the read-ahead of all readers together.
	backgroundLoads = 8
)

func newBlockCache(limit int, m *metrics) *blockCache {
	c := &blockCache{limit: limit, metrics: m, slots: make(chan struct{}, backgroundLoads), written: bodies{limit: limit / 4}}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	// The sizes are positive: neither fails.
	c.blocks, _ = lru.NewWithEvict(maxBlocks, func(_ blockKey, b *block) {
		c.bytes -= b.bytes
		c.wasRead(b)
		b.release()
	})
	c.readers, _ = lru.NewWithEvict(maxReaders, func(_ string, f *openFile) { c.readerBytes -= f.bytes })
	return c
}

// get answers a cell's block, loading it if need be, once for all who ask. The caller
// releases it, or leaves it to the garbage collector.
func (c *blockCache) get(ctx context.Context, store object.Store, n int32, at cell, group []extent) (*block, error) {
	if b, ok := c.cached(keyOf(n, at.from, group)); ok {
		c.metrics.blockHits.Inc()
		return b, nil
	}
	c.metrics.blockMisses.Inc()
	for {
		select {
		case r := <-c.loading(store, n, at, group):
			if r.Err != nil {
				return nil, r.Err
			}
			b := r.Val.(*block)
			if !b.retain() { // it has had to leave the cache already
				continue
			}
			c.mu.Lock()
			c.wasRead(b)
			c.mu.Unlock()
			return b, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// load loads a cell's block for those who will ask.
func (c *blockCache) load(store object.Store, n int32, at cell, group []extent) (*block, error) {
	r := <-c.loading(store, n, at, group)
	if r.Err != nil {
		return nil, r.Err
	}
	return r.Val.(*block), nil
}

// loading loads a cell's block into the cache, once for all who ask meanwhile.
func (c *blockCache) loading(store object.Store, n int32, at cell, group []extent) <-chan singleflight.Result {
	key := keyOf(n, at.from, group)
	// The load outlives the request that began it: others may wait for it.
	return c.flight.DoChan(fmt.Sprint(key), func() (any, error) {
		c.mu.Lock()
		b, ok := c.blocks.Get(key)
		c.mu.Unlock()
		if ok {
			return b, nil
		}
		ctx, cancel := context.WithTimeout(c.ctx, loadDeadline)
		defer cancel()
		b, err := c.rebuild(ctx, store, n, at, group)
		if err == nil {
			c.put(key, b)
		}
		return b, err
	})
}

func (c *blockCache) cached(key blockKey) (*block, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b, ok := c.blocks.Get(key)
	if ok {
		c.wasRead(b)
		b.retain() // the cache is a user of it
	}
	return b, ok
}

// wasRead says that somebody has got a block, or that nobody will. The caller holds c.mu.
func (c *blockCache) wasRead(b *block) {
	if b.unread {
		b.unread = false
		c.unread -= b.bytes
	}
}

// put takes up a block that nobody has got yet.
func (c *blockCache) put(key blockKey, b *block) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.blocks.Contains(key) || b.bytes > c.limit {
		return
	}
	b.unread = true
	c.unread += b.bytes
	c.blocks.Add(key, b)
	c.bytes += b.bytes
	for c.bytes > c.limit && c.blocks.Len() > 1 {
		c.blocks.RemoveOldest()
	}
}

// rebuild makes the record batches of a cell.
func (c *blockCache) rebuild(ctx context.Context, store object.Store, n int32, at cell, group []extent) (*block, error) {
	if len(group) > 1 {
		return c.merge(ctx, store, n, at.from, group)
	}
	r, err := c.reader(ctx, store, group[0].file)
	if err != nil {
		return nil, err
	}
	b := newBlock()
	// Behind its extent a file may hold rows that stand for no record. And records may be
	// larger in one place than in others.
	b.batches, b.next, err = r.ReadOn(ctx, n, at.from, rows.Limits{MaxBytes: 2 * blockBytes, Before: at.until, Make: func(size int) []byte {
		b.buffer = buffer.Get(size)
		return b.buffer.Bytes[:0]
	}})
	if err != nil {
		return nil, err
	}
	b.measure()
	return b, nil
}

// merge reads files whose offsets are interleaved: batches of single records, in
// order, since a batch must not hide another file's record between its own. Of copies
// of a record the original counts: see Topic.examine.
func (c *blockCache) merge(ctx context.Context, store object.Store, n int32, from int64, group []extent) (*block, error) {
	b, whole := newBlock(), true
	b.next = reach(group) + 1
	complete := int64(-1) // every file has been read at least up to here
	group = slices.Clone(group)
	slices.SortStableFunc(group, func(x, y extent) int {
		return cmp.Or(trueFirst(x.file.tagged, y.file.tagged), cmp.Compare(x.file.order, y.file.order), cmp.Compare(x.file.name, y.file.name))
	})
	for i, e := range group {
		r, err := c.reader(ctx, store, e.file)
		if err != nil {
			return nil, err
		}
		batches, err := r.Read(ctx, n, from, rows.Limits{MaxBytes: blockBytes / len(group), BatchBytes: 1, Before: e.last + 1})
		if err != nil {
			return nil, err
		}
		b.batches = append(b.batches, batches...)
		last := e.last
		if len(batches) > 0 && batches[len(batches)-1].Last < e.last {
			last, whole = batches[len(batches)-1].Last, false
		}
		if i == 0 || last < complete {
			complete = last
		}
	}
	slices.SortStableFunc(b.batches, func(x, y rows.Encoded) int { return cmp.Compare(x.First, y.First) })
	b.batches = slices.CompactFunc(b.batches, func(x, y rows.Encoded) bool { return x.First == y.First })
	if !whole {
		b.next = complete + 1
		b.batches = slices.DeleteFunc(b.batches, func(x rows.Encoded) bool { return x.First > complete })
	}
	b.measure()
	return b, nil
}

// trueFirst puts what is true first.
func trueFirst(x, y bool) int {
	switch {
	case x == y:
		return 0
	case x:
		return -1
	}
	return 1
}

func newBlock() *block {
	b := &block{}
	b.users.Store(1)
	return b
}

// measure counts what the block takes up.
func (b *block) measure() {
	b.bytes = len(b.batches) * batchOverhead
	if b.buffer != nil {
		b.bytes += cap(b.buffer.Bytes)
		return
	}
	for _, e := range b.batches {
		b.bytes += len(e.Data)
	}
}

// peek is the reader of a file, nil if its footer has not been read.
func (c *blockCache) peek(f *file) *rows.Reader {
	c.mu.Lock()
	defer c.mu.Unlock()
	if known, ok := c.readers.Peek(f.key); ok {
		return known.reader
	}
	return nil
}

// reader answers the reader of a file, with its footer read.
func (c *blockCache) reader(ctx context.Context, store object.Store, f *file) (*rows.Reader, error) {
	c.mu.Lock()
	known, ok := c.readers.Get(f.key)
	c.mu.Unlock()
	if ok {
		return known.reader, nil
	}
	r, err := rows.Open(ctx, f.size, c.source(store, f))
	if err != nil {
		return nil, err
	}
	open := &openFile{r, r.MemorySize()}
	if f.size <= wholeFile {
		open.bytes += int(f.size)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.readers.Contains(f.key) {
		c.readers.Add(f.key, open)
		c.readerBytes += open.bytes
	}
	for c.readerBytes > c.limit/4 && c.readers.Len() > 1 {
		c.readers.RemoveOldest()
	}
	return r, nil
}

// source reads a file: from memory if it was written here a moment ago, else from
// the store.
func (c *blockCache) source(store object.Store, f *file) rows.Source {
	if src := c.writtenHere(f); src != nil {
		return src
	}
	return source(store, f)
}

// once is source for who reads a file once and keeps of it what it needs.
func (c *blockCache) once(store object.Store, f *file) rows.Source {
	if src := c.writtenHere(f); src != nil {
		return src
	}
	return ranged(store, f)
}

// writtenHere reads a file from memory; nil if it is not there (any more).
func (c *blockCache) writtenHere(f *file) rows.Source {
	body := c.written.get(f.key)
	if body == nil || int64(len(body)) != f.size {
		return nil
	}
	return func(_ context.Context, off, n int64, _ []byte) ([]byte, error) { return slice(f, body, off, n) }
}

// slice is a range of a file's bytes.
func slice(f *file, body []byte, off, n int64) ([]byte, error) {
	if off < 0 || n < 0 || off > int64(len(body)) || n > int64(len(body))-off {
		return nil, fmt.Errorf("%w: data file %s: %d bytes at %d of %d", delta.ErrCorrupt, f.key, n, off, len(body))
	}
	return body[off : off+n], nil
}

// bodies keeps the small files that were written last, since a compaction is about
// to read them: first in, first out, bounded in bytes.
type bodies struct {
	limit int
	mu    sync.Mutex
	bytes int
	order queue[string]
	byKey map[string][]byte
}

func (b *bodies) add(key string, body []byte) {
	if len(body) > wholeFile {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.byKey == nil {
		b.byKey = map[string][]byte{}
	}
	b.byKey[key] = body
	b.order.push(key)
	b.bytes += len(body)
	for b.bytes > b.limit {
		oldest := b.order.pop()
		b.bytes -= len(b.byKey[oldest])
		delete(b.byKey, oldest)
	}
}

func (b *bodies) get(key string) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.byKey[key]
}

// ranged reads a file by ranged GETs.
func ranged(store object.Store, f *file) rows.Source {
	return func(ctx context.Context, off, n int64, into []byte) ([]byte, error) {
		o, err := store.Get(ctx, f.key, object.Range{Offset: off, Length: n, Into: into})
		if errors.Is(err, object.ErrNotFound) {
			return nil, fmt.Errorf("%w: %w: data file %s: something other than Sluice deleted it", delta.ErrCorrupt, errGone, f.key)
		}
		if err == nil && int64(len(o.Body)) != n {
			err = fmt.Errorf("%w: data file %s has other bytes than the log says", delta.ErrCorrupt, f.key)
		}
		return o.Body, err
	}
}

// source reads a file by ranged GETs; a small one in one GET, kept until the
// Reader is dropped.
func source(store object.Store, f *file) rows.Source {
	get := ranged(store, f)
	if f.size > wholeFile {
		return get
	}
	reading := make(chan struct{}, 1) // held by who reads the file
	var whole []byte
	return func(ctx context.Context, off, n int64, _ []byte) ([]byte, error) {
		select {
		case reading <- struct{}{}:
			defer func() { <-reading }()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if whole == nil {
			body, err := get(ctx, 0, f.size, nil)
			if err != nil {
				return nil, err
			}
			whole = body
		}
		return slice(f, whole, off, n)
	}
}

// errGone: a data file that the index lists is not in the store. Another writer may
// have taken it out of the table and deleted it since.
var errGone = errors.New("gone")

// close ends what runs in the background.
func (c *blockCache) close(ctx context.Context) error {
	c.cancel()
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	ended := make(chan struct{})
	go func() { c.running.Wait(); close(ended) }()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
