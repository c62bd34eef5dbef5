package storage

import (
	"context"

	"sluice/storage/object"
	"sluice/storage/rows"
)

const (
	// blockBytes is about how much of a file's partition is decoded at a time.
	blockBytes = 4 << 20
	// readAhead is how many files are looked ahead for one reader: small files cost a
	// round trip each, and a reader of old records will want the next ones.
	readAhead = 8
	// aheadBytes is about how much is loaded ahead for one reader: enough for the store's
	// latency and the decoding to pass while the reader is at what it has.
	aheadBytes = 16 << 20
)

// cell is the span of offsets that becomes a block: the same one whoever asks and from
// wherever, so that readers who take a part of it at a time, or are at different offsets,
// find it in the cache, and the next one can be loaded ahead.
type cell struct{ from, until int64 } // until is behind its last offset

// cellOf is the cell that holds offset, or the first one behind it. A small file is one
// cell; a large one has cells of equal spans that make about blockBytes each. Files whose
// offsets are interleaved and that are large together are read from where it is needed.
// ok is false if the file's reader is needed and r is nil.
func cellOf(offset int64, group []extent, r *rows.Reader) (c cell, ok bool) {
	e, end := group[0], reach(group)+1
	offset = max(offset, e.first)
	size := int64(0)
	for _, e := range group {
		size += e.file.size
	}
	switch {
	case size <= wholeFile:
		return cell{e.first, end}, true
	case len(group) > 1:
		return cell{offset, end}, true
	case r == nil:
		return cell{}, false
	}
	bytes := r.UnpackedSize() * float64(e.records) / float64(max(r.Rows(), 1))
	step := max(1, int64(float64(end-e.first)*min(1, blockBytes/max(bytes, 1))))
	from := offset - (offset-e.first)%step
	if end-from <= step {
		return cell{from, end}, true
	}
	return cell{from, from + step}, true
}

// find answers the block that holds offset, or the records next to it; see get for its end.
func (c *blockCache) find(ctx context.Context, store object.Store, n int32, offset int64, group []extent) (*block, error) {
	at, ok := cellOf(offset, group, nil)
	if !ok {
		r, err := c.reader(ctx, store, group[0].file)
		if err != nil {
			return nil, err
		}
		at, _ = cellOf(offset, group, r)
	}
	for {
		b, err := c.get(ctx, store, n, at, group)
		if err != nil || b.next > offset {
			return b, err
		}
		b.release()
		at.from = b.next // the cell holds more than a block may
	}
}

// prefetch loads about so many bytes of the blocks that a reader at offset will want, in the
// background; without the one that holds offset if that is its own: it is about to load that itself.
func (c *blockCache) prefetch(store object.Store, n int32, offset int64, extents []extent, own bool, bytes int64) {
	for left := bytes; len(extents) > 0 && left > 0; own = false {
		group := overlapping(extents)
		extents = extents[len(group):]
		for at, end := offset, reach(group)+1; at < end && left > 0; {
			file := group[0].file
			cell, known := cellOf(at, group, c.peek(file))
			switch {
			case known && own && cell.from <= offset:
				// The reader loads this one itself.
			case known:
				if !c.ahead(store, n, cell, group) {
					return
				}
				left -= min(blockBytes, file.size)
			case !own:
				if !c.aheadOf(store, n, at, group) {
					return
				}
				left -= blockBytes
			}
			if !known {
				break
			}
			at = cell.until
		}
	}
}

// ahead loads a cell in the background, if it is not there. False says that nothing more
// is to be loaded ahead now.
func (c *blockCache) ahead(store object.Store, n int32, at cell, group []extent) bool {
	c.mu.Lock()
	known := c.blocks.Contains(keyOf(n, at.from, group))
	c.mu.Unlock()
	return known || c.background(func() {
		_, _ = c.load(store, n, at, group) // who needs it will meet the error
	})
}

// aheadOf loads the cell of a file whose footer has not been read.
func (c *blockCache) aheadOf(store object.Store, n int32, offset int64, group []extent) bool {
	return c.background(func() {
		if r, err := c.reader(c.ctx, store, group[0].file); err == nil {
			if at, ok := cellOf(offset, group, r); ok {
				_, _ = c.load(store, n, at, group)
			}
		}
	})
}

// background runs a load ahead if there is a slot for it, and room: what was loaded
// ahead and not been read yet may take half of the cache, so that many readers do not drive
// out each other's blocks.
func (c *blockCache) background(load func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.unread+len(c.slots)*blockBytes > c.limit/2 {
		return false
	}
	select {
	case c.slots <- struct{}{}:
	default:
		return false
	}
	c.running.Go(func() {
		defer func() { <-c.slots }()
		load()
	})
	return true
}
