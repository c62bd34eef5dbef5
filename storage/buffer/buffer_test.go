package buffer

import (
	"math"
	"math/rand/v2"
	"sync"
	"testing"
)

func TestABufferIsLittleLargerThanWhatIsAskedFor(t *testing.T) {
	last := 0
	for n := minBuffer; n <= maxBuffer; n += n/97 + 1 {
		class, size := sizeClass(n)
		if size < n || size > n+n/4 || class < last || class >= len(free.lists) {
			t.Fatalf("%d bytes: class %d of %d", n, class, size)
		}
		if b := Get(n); len(b.Bytes) != n || cap(b.Bytes) != size {
			t.Fatalf("%d bytes: %d of %d", n, len(b.Bytes), cap(b.Bytes))
		} else {
			b.Release()
		}
		last = class
	}
	if b := Get(maxBuffer + 1); b.class != -1 {
		t.Error("a large buffer is kept")
	}
}

func TestLittleOfASmallMachinesMemoryIsKept(t *testing.T) {
	for memory, want := range map[int64]int{128 << 20: 4 << 20, 512 << 20: 16 << 20, 4 << 30: 32 << 20, math.MaxInt64: 32 << 20} {
		if got := freeOf(memory); got != want {
			t.Errorf("of %d bytes %d, want %d", memory, got, want)
		}
	}
}

// Whatever sizes are given back, what is kept stays within its bound, and nobody gets memory that
// another one has.
func TestWhatIsFreeIsBoundedAndHasOneOwner(t *testing.T) {
	var users sync.WaitGroup
	for user := range byte(4) {
		users.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(user)))
			var held []*Buffer
			for range 2000 {
				b := Get(1 + random.IntN(4<<random.IntN(21)))
				b.Bytes[0], b.Bytes[len(b.Bytes)-1] = user, user
				if held = append(held, b); len(held) == 8 {
					for _, b := range held {
						if b.Bytes[0] != user || b.Bytes[len(b.Bytes)-1] != user {
							t.Error("somebody else wrote into it")
						}
						b.Release()
					}
					held = held[:0]
				}
			}
		})
	}
	users.Wait()
	sum := 0
	for _, list := range free.lists {
		for _, b := range list {
			sum += cap(b.Bytes)
		}
	}
	if sum != free.bytes || sum > maxFree() {
		t.Errorf("%d bytes are free, said to be %d, of %d at most", sum, free.bytes, maxFree())
	}
}
