package upkeep

import (
	"context"
	"fmt"
	"slices"

	"sluice/storage/rows"
)

const (
	// inputBytes is about how much of its inputs a rewriting holds as they are in the
	// store: small files whole, of larger ones an equal part each.
	inputBytes = 32 << 20
	// A file that is not held whole is read in blocks, the last used of which are
	// kept: a row group's columns are read side by side, and the rows of the next
	// partition stand right behind those of the one before.
	minBlock   = 64 << 10
	fileBlocks = 8
)

// share is the largest part of a file that may be held so that all files together
// take about total bytes: files up to it are held whole.
func share(files []File, total int64) int64 {
	sizes := make([]int64, len(files))
	for i, f := range files {
		sizes[i] = f.Size
	}
	slices.Sort(sizes)
	left, part := total, int64(0)
	for i, size := range sizes {
		if part = left / int64(len(sizes)-i); size > part {
			break
		}
		part = size
		left -= size
	}
	return part
}

// cache is the source of one input. It holds bytes of the file that are likely to
// be asked for again, at most part or fileBlocks small blocks.
type cache struct {
	src   rows.Source
	size  int64 // of the file
	block int64 // of a block; the last one of a file may be shorter
	keep  int   // blocks

	// reading is held by who uses what follows, also while reading the file: who
	// asks for the same bytes meanwhile finds them here.
	reading chan struct{}
	blocks  []block // the least recently used first
}

type block struct {
	number int64
	bytes  []byte
}

func newCache(f File, part int64) *cache {
	c := &cache{src: f.Source, size: f.Size, reading: make(chan struct{}, 1)}
	if f.Size <= part {
		c.block, c.keep = max(f.Size, 1), 1
		return c
	}
	c.block = max(part/fileBlocks, minBlock)
	c.keep = int(max(min(part/c.block, fileBlocks), 2))
	return c
}

// read is a rows.Source.
func (c *cache) read(ctx context.Context, off, n int64, into []byte) ([]byte, error) {
	if off < 0 || n < 0 || n > c.size-off {
		return nil, fmt.Errorf("%w: %d bytes at %d of a file of %d", rows.ErrCorrupt, n, off, c.size)
	}
	if n == 0 {
		return nil, nil
	}
	if c.block < c.size && n > c.block*int64(c.keep-1) {
		return c.src(ctx, off, n, into) // it would drive out everything else
	}
	select {
	case c.reading <- struct{}{}:
		defer func() { <-c.reading }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	first, last := off/c.block, (off+n-1)/c.block
	found, next := c.find(first, last)
	if next <= last {
		start := next * c.block
		more, err := c.src(ctx, start, min((last+1)*c.block, c.size)-start, nil)
		if err != nil {
			return nil, err
		}
		c.add(next, more)
		if found == nil {
			found = more
		} else {
			found = append(found, more...)
		}
	}
	return found[off-first*c.block:][:n], nil
}

// find returns the bytes of blocks from first on, as one piece, and the number of the
// next one, behind last if all are there. A single block is the caller's to read only.
func (c *cache) find(first, last int64) (found []byte, next int64) {
	for next = first; next <= last; next++ {
		i := slices.IndexFunc(c.blocks, func(b block) bool { return b.number == next })
		if i < 0 {
			break
		}
		b := c.blocks[i]
		c.blocks = append(slices.Delete(c.blocks, i, i+1), b)
		if first == last {
			return b.bytes, next + 1
		}
		found = append(found, b.bytes...)
	}
	return found, next
}

// add takes up the blocks from first on, and drops old ones for them.
func (c *cache) add(first int64, found []byte) {
	one := int64(len(found)) <= c.block
	for number := first; len(found) > 0; number++ {
		n := min(c.block, int64(len(found)))
		b := block{number, found[:n]}
		if found = found[n:]; !one {
			b.bytes = slices.Clone(b.bytes) // it must not keep its neighbours
		}
		c.blocks = slices.DeleteFunc(c.blocks, func(old block) bool { return old.number == number })
		if len(c.blocks) == c.keep {
			c.blocks = slices.Delete(c.blocks, 0, 1)
		}
		c.blocks = append(c.blocks, b)
	}
}
