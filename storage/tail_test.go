package storage

import "testing"

// held counts what the cache has of a tail's batches, and checks its own sums.
func held(t *testing.T, c *tailCache, tails ...*tail) (batches int) {
	t.Helper()
	bytes, live := 0, 0
	for _, tail := range tails {
		for i := range tail.batches.len() {
			bytes += len(tail.batches.at(i).data) + batchOverhead
		}
		batches += tail.batches.len()
	}
	for i := range c.order.len() {
		if !(*c.order.at(i)).closed {
			live++
		}
	}
	for _, tail := range tails {
		live -= tail.dropped
	}
	if c.bytes != bytes || live != batches || c.order.len()-live != c.dead {
		t.Fatalf("%d bytes counted, %d held; %d places for %d batches, %d dead of %d", c.bytes, bytes, live, batches, c.dead, c.order.len())
	}
	return batches
}

func TestClosedTailsLeaveNothingBehind(t *testing.T) {
	c := newTailCache(1<<20, nil)
	stays := &tail{}
	c.add(stays, tailBatch{data: make([]byte, 100)})
	for range 1000 { // topics that come and go while little is cached
		goes := &tail{}
		for offset := range int64(10) {
			c.add(goes, tailBatch{first: offset, last: offset, data: make([]byte, 100)})
		}
		c.close(goes)
		c.close(goes) // does nothing
		c.add(goes, tailBatch{first: 10, last: 10, data: make([]byte, 100)})
		if goes.batches.items != nil {
			t.Fatal("a closed tail takes batches")
		}
	}
	if got := held(t, c, stays); got != 1 || c.order.len() > 21 {
		t.Errorf("%d batches are held in %d places", got, c.order.len())
	}
}

func TestTheOldestBatchOfAllTailsGoesFirst(t *testing.T) {
	const size = 100
	c := newTailCache(10*(size+batchOverhead), nil)
	a, b, gone := &tail{}, &tail{}, &tail{}
	all := []*tail{a, gone, b}
	for offset := range int64(9) {
		c.add(all[offset%3], tailBatch{first: offset, last: offset, data: make([]byte, size)})
	}
	c.close(gone)
	if got := held(t, c, a, b); got != 6 {
		t.Fatalf("%d batches are held", got)
	}
	for offset := int64(9); offset < 20; offset++ {
		c.add(a, tailBatch{first: offset, last: offset, data: make([]byte, size)})
		held(t, c, a, b)
	}
	if first := a.batches.at(0).first; held(t, c, a, b) != 10 || b.batches.len() != 0 || first != 10 {
		t.Errorf("a begins at %d, b has %d", first, b.batches.len())
	}
}

func TestDroppedBatchesLeaveTheirPlacesInOrderBehind(t *testing.T) {
	const size = 100
	c := newTailCache(10*(size+batchOverhead), nil)
	a, b := &tail{}, &tail{}
	next := int64(0)
	fill := func(n int) {
		for range n {
			c.add([]*tail{a, b}[next%2], tailBatch{first: next, last: next, data: make([]byte, size)})
			next++
			held(t, c, a, b)
		}
	}
	fill(10)
	c.drop(a, 3) // 0 and 2, a few: their places stay
	if held(t, c, a, b) != 8 || a.batches.at(0).first != 4 {
		t.Error("a begins at", a.batches.at(0).first)
	}
	fill(20)
	c.drop(a, next)
	c.drop(b, next-1)
	c.drop(b, next-1)
	if held(t, c, a, b) != 1 || c.order.len() != 1 {
		t.Errorf("%d places", c.order.len())
	}
	fill(10)
	c.close(a)
	held(t, c, b)
}
