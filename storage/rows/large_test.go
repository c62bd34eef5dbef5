package rows

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestAPageTakesItsShareOfTheMemory(t *testing.T) {
	for memory, want := range map[int64]int{
		1 << 62:   maxPage,
		512 << 20: 64 << 20,
		64 << 20:  largePage, // what writers make by default is read everywhere
	} {
		if got := limitOf(memory); got != want {
			t.Errorf("of %d bytes of memory a page may take %d, want %d", memory, got, want)
		}
	}
}

func TestLargePagesAreReadOneColumnAtATime(t *testing.T) {
	var first, second pageStream
	if err := first.alone(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := first.alone(t.Context()); err != nil { // its next page
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := second.alone(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	v := &vector{arena: make([]byte, 10, 2*largePage)}
	first.close(v)
	if cap(v.arena) > largePage {
		t.Errorf("%d bytes are kept for 10", cap(v.arena))
	}
	if err := second.alone(t.Context()); err != nil {
		t.Fatal(err)
	}
	second.close(v)
	if got := within([]byteRange{{0, 5}, {9, 5}, {20, 5}}, 11); len(got) != 2 {
		t.Errorf("%d ranges are read at once", len(got))
	}
}
