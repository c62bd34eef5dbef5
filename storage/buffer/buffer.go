// Package buffer has memory for bytes of some size that is used again: record batches on their
// way to consumers, and what is read of files for a moment.
package buffer

import (
	"math/bits"
	"runtime/debug"
	"sync"
)

// Buffer is memory that is filled once and given back when nobody needs its bytes any
// more. The garbage collector takes one that is not given back. Made anew for each read,
// such memory would have to be cleared each time, and would double between two collections.
type Buffer struct {
	Bytes []byte
	class int
}

const (
	// minBuffer is the least size of a buffer, maxBuffer that up to which they are kept.
	minBuffer = 4 << 10
	maxBuffer = 16 << 20
)

// maxFree bounds what is kept, in bytes: about what loads at work on all processors of a small
// machine give back and take again, and little of the memory limit, since no collection
// takes it. A sync.Pool would keep as much as comes between two collections, which are rare
// where little garbage is made.
var maxFree = sync.OnceValue(func() int { return freeOf(debug.SetMemoryLimit(-1)) })

// freeOf is the bound in a process that may take so many bytes.
func freeOf(memory int64) int { return int(min(32<<20, memory/32)) }

// free are the buffers that nobody has, by class.
var free struct {
	sync.Mutex
	bytes int
	lists [4 * 24][]*Buffer
}

// sizeClass answers the class of buffers for n bytes, and its size: four for each power of two,
// so that less than a quarter is lost.
func sizeClass(n int) (class, size int) {
	n = max(n, minBuffer)
	shift := bits.Len(uint(n-1)) - 3
	eighths := (n-1)>>shift + 1 // of the next power of two: 5 to 8
	return 4*shift + eighths - 5, eighths << shift
}

// Get answers a buffer of n bytes, with anything in it.
func Get(n int) *Buffer {
	if n > maxBuffer {
		return &Buffer{make([]byte, n), -1}
	}
	class, size := sizeClass(n)
	if b := take(class); b != nil {
		b.Bytes = b.Bytes[:n]
		return b
	}
	return &Buffer{make([]byte, n, size), class}
}

// take takes a free buffer of a class, the one that was given back last; nil if there is none.
func take(class int) *Buffer {
	free.Lock()
	defer free.Unlock()
	list := &free.lists[class]
	last := len(*list) - 1
	if last < 0 {
		return nil
	}
	b := (*list)[last]
	(*list)[last] = nil
	*list = (*list)[:last]
	free.bytes -= cap(b.Bytes)
	return b
}

// Release gives the buffer back, of which nobody may use the bytes any more. nil has none.
func (b *Buffer) Release() {
	if b == nil || b.class < 0 || cap(b.Bytes) > maxFree() {
		return
	}
	free.Lock()
	defer free.Unlock()
	if free.bytes += cap(b.Bytes); free.bytes > maxFree() { // of sizes that are not asked for any more, too
		free.bytes = cap(b.Bytes)
		clear(free.lists[:])
	}
	free.lists[b.class] = append(free.lists[b.class], b)
}
