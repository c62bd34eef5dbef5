package rows

import (
	"context"
	"runtime/debug"
	"slices"
	"sync"
)

// A page of some kB may unfold to hundreds of MiB, in a file of whatever writer. What
// pages take follows the memory limit of the process, and large ones are read one at a
// time.

const (
	// largePage is what no writer of files for engines makes by default.
	largePage = 16 << 20
	// memoryPart is the part of the memory limit that one page may take, compressed or not.
	memoryPart = 8
)

// pageLimit bounds a page, compressed and not.
var pageLimit = sync.OnceValue(func() int { return limitOf(debug.SetMemoryLimit(-1)) })

// limitOf is the bound of a page in a process that may take so many bytes.
func limitOf(memory int64) int { return int(min(maxPage, max(largePage, memory/memoryPart))) }

// largePages is held by who reads a column with a large page.
var largePages = make(chan struct{}, 1)

// alone waits until no other column with a large page is read, unless this one is that.
func (s *pageStream) alone(ctx context.Context) error {
	if s.large {
		return nil
	}
	select {
	case largePages <- struct{}{}:
		s.large = true
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// close lets the next column with a large page be read; v keeps what it needs.
func (s *pageStream) close(v *vector) {
	if !s.large {
		return
	}
	if cap(v.arena)-len(v.arena) > largePage {
		v.arena = slices.Clone(v.arena)
	}
	<-largePages
	s.large = false
}

// within are the first of ranges that take no more than a page may; the others are read
// when they are needed.
func within(ranges []byteRange, limit int64) []byteRange {
	for i, r := range ranges {
		if limit -= r.n; limit < 0 {
			return ranges[:i]
		}
	}
	return ranges
}
