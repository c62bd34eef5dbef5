package storage

import (
	"sort"
	"sync"
)

// tailCache keeps the newest batches of all partitions as they were produced,
// so that live consumers cost neither a request to the store nor a decoding.
// It is bounded in bytes; the oldest batch of all goes first, to the disk cache if there
// is one. The bytes are the produce requests' own: nothing is copied.
type tailCache struct {
	limit int
	disk  *diskCache // nil: none

	mu    sync.Mutex
	bytes int
	order queue[*tail] // whose batch was added, oldest first
	dead  int          // elements of order whose batch is gone
}

// tail is the cached end of one partition: batches without gap up to the high
// watermark. Its lock is taken inside tailCache's.
type tail struct {
	mu      sync.Mutex
	batches queue[tailBatch]
	closed  bool // written under tailCache's lock and this one: either is enough to read
	// dropped counts the oldest elements of order that are this tail's and whose
	// batches are gone. tailCache's lock guards it.
	dropped int
	// spilled is what the disk cache holds of the partition.
	spilled spilled
}

type tailBatch struct {
	first, last int64
	data        []byte
}

// batchOverhead is what a cached batch takes up beside its bytes.
const batchOverhead = 96

func newTailCache(limit int, disk *diskCache) *tailCache { return &tailCache{limit: limit, disk: disk} }

// add appends committed batches to a partition's tail.
func (c *tailCache) add(t *tail, batches ...tailBatch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return
	}
	for _, b := range batches {
		t.batches.push(b)
		c.order.push(t)
		c.bytes += len(b.data) + batchOverhead
	}
	t.mu.Unlock()
	for c.bytes > c.limit && c.order.len() > 0 {
		oldest := c.order.pop()
		if oldest.closed || oldest.dropped > 0 {
			oldest.dropped--
			c.dead--
			continue
		}
		oldest.mu.Lock()
		b := oldest.batches.pop()
		oldest.mu.Unlock()
		c.bytes -= len(b.data) + batchOverhead
		if c.disk != nil {
			c.disk.add(&oldest.spilled, b)
		}
	}
}

// close drops a partition's tail, what the disk has of it included. Its places in order stay until their turn comes
// or they are the larger part: while little is cached their turn never comes.
func (c *tailCache) close(t *tail) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.closed {
		return
	}
	t.mu.Lock()
	t.closed = true
	c.dead += t.batches.len()
	for t.batches.len() > 0 {
		c.bytes -= len(t.batches.pop().data) + batchOverhead
	}
	t.batches = queue[tailBatch]{}
	t.mu.Unlock()
	c.forgetDisk(t)
	c.tidy()
}

// forgetDisk drops what the disk cache has of a partition. Who drops batches of the tail for
// being deleted does so before: they might be on their way to the disk.
func (c *tailCache) forgetDisk(t *tail) {
	if c.disk != nil {
		c.disk.forget(&t.spilled)
	}
}

// drop forgets a partition's batches up to the one that holds the offset before end.
func (c *tailCache) drop(t *tail, end int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t.mu.Lock()
	for t.batches.len() > 0 && t.batches.at(0).first < end {
		c.bytes -= len(t.batches.pop().data) + batchOverhead
		t.dropped++
		c.dead++
	}
	t.mu.Unlock()
	c.tidy()
}

// tidy gives back the places in order whose batches are gone if they are the larger
// part; c.mu is held.
func (c *tailCache) tidy() {
	if c.dead <= c.order.len()/2 {
		return
	}
	live := queue[*tail]{items: make([]*tail, 0, c.order.len()-c.dead)}
	for i := range c.order.len() {
		switch t := *c.order.at(i); {
		case t.closed:
		case t.dropped > 0:
			t.dropped--
		default:
			live.push(t)
		}
	}
	c.order, c.dead = live, 0
}

// read answers the batches from offset on and before limit, up to maxBytes; the first
// one counts as fitting if atLeastOne. ok is false if the tail begins behind offset.
func (t *tail) read(offset, limit int64, maxBytes int, atLeastOne bool) (batches [][]byte, bytes int, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.batches.len()
	if n == 0 || offset < t.batches.at(0).first {
		return nil, 0, false
	}
	for i := t.find(offset); i < n; i++ {
		if t.batches.at(i).first >= limit {
			break
		}
		data := t.batches.at(i).data
		if bytes+len(data) > maxBytes && !(atLeastOne && len(batches) == 0) {
			break
		}
		batches = append(batches, data)
		bytes += len(data)
	}
	return batches, bytes, true
}

// find is the index of the batch that holds offset, or of the next; t.mu is held.
func (t *tail) find(offset int64) int {
	return search(&t.batches, offset, func(b *tailBatch) int64 { return b.last })
}

// search is the index of the first element that reaches up to offset, of elements whose
// last offsets ascend.
func search[T any](q *queue[T], offset int64, last func(*T) int64) int {
	return sort.Search(q.len(), func(i int) bool { return last(q.at(i)) >= offset })
}

// queue is a first-in first-out queue whose elements can be looked at.
type queue[T any] struct {
	items []T
	head  int
}

func (q *queue[T]) len() int    { return len(q.items) - q.head }
func (q *queue[T]) at(i int) *T { return &q.items[q.head+i] }
func (q *queue[T]) push(item T) { q.items = append(q.items, item) }

// pop takes the oldest item out. What is in front of the head is given back once
// it is the larger part.
func (q *queue[T]) pop() T {
	var zero T
	item := q.items[q.head]
	q.items[q.head] = zero
	q.head++
	if q.head > 64 && q.head > len(q.items)/2 {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	return item
}
