package storage

import (
	"math/bits"
	"sync"
)

// buffer is memory for record batches: filled once, given back when nobody needs them any
// more. The garbage collector takes one that is not given back. Made anew for each read,
// such memory would have to be cleared each time, and would double between two collections.
type buffer struct {
	bytes []byte
	class int
}

const (
	// minBuffer is the least size of a buffer, maxBuffer that up to which they are kept.
	minBuffer = 4 << 10
	maxBuffer = 16 << 20
)

// buffers are those that are free, by class, as *buffer.
var buffers [4 * 24]sync.Pool

// sizeClass answers the class of buffers for n bytes, and its size: four for each power of two,
// so that less than a quarter is lost.
func sizeClass(n int) (class, size int) {
	n = max(n, minBuffer)
	shift := bits.Len(uint(n-1)) - 3
	eighths := (n-1)>>shift + 1 // of the next power of two: 5 to 8
	return 4*shift + eighths - 5, eighths << shift
}

// getBuffer answers a buffer of n bytes, with anything in it.
func getBuffer(n int) *buffer {
	if n > maxBuffer {
		return &buffer{make([]byte, n), -1}
	}
	class, size := sizeClass(n)
	if b, ok := buffers[class].Get().(*buffer); ok {
		b.bytes = b.bytes[:n]
		return b
	}
	return &buffer{make([]byte, n, size), class}
}

// release gives the buffer back. Nobody may use its bytes any more.
func (b *buffer) release() {
	if b != nil && b.class >= 0 {
		buffers[b.class].Put(b)
	}
}
