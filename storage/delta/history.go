package delta

import (
	"context"
	"fmt"
	"time"
)

// History is what the log still holds of a table's past.
type History struct {
	// Oldest is the oldest version that can be rebuilt (OpenAt), OldestTime when its
	// entry, or the checkpoint in its place, was written, by the store's clock.
	Oldest     int64
	OldestTime time.Time
	// FirstEntry is the oldest version whose entry is there, to be read by itself.
	FirstEntry  int64
	Newest      int64
	Entries     int // objects of the log that are entries
	Checkpoints int // complete ones
	// Checkpoint is the version of the newest checkpoint, -1 if there is none.
	Checkpoint int64
	Bytes      int64     // of entries and checkpoints
	Now        time.Time // the store's clock
}

// History lists the whole log: one request for each 1,000 entries. ErrNoTable if
// there is none, ErrCorrupt if no version can be rebuilt.
func (l *Log) History(ctx context.Context) (History, error) {
	listing, err := l.list(ctx, 0, allVersions)
	if err != nil {
		return History{}, err
	}
	h := History{Oldest: -1, FirstEntry: -1, Newest: listing.tip(), Entries: len(listing.entries),
		Checkpoints: len(listing.checkpoints), Checkpoint: -1, Now: listing.now}
	if h.Newest < 0 {
		return h, fmt.Errorf("history of %s: %w", l.table, ErrNoTable)
	}
	for _, entry := range listing.entries {
		h.Bytes += entry.size
	}
	for _, c := range listing.checkpoints {
		h.Checkpoint = c.version
		for _, part := range c.parts {
			h.Bytes += part.size
		}
	}
	if len(listing.entries) > 0 {
		h.FirstEntry = listing.entries[0].version
	}
	if h.FirstEntry == 0 && listing.contiguous(0) {
		h.Oldest, h.OldestTime = 0, listing.entries[0].modified
		return h, nil
	}
	for _, c := range listing.checkpoints {
		if !listing.contiguous(c.version + 1) {
			continue
		}
		h.Oldest, h.OldestTime = c.version, c.parts[0].modified
		for _, entry := range listing.entries {
			if entry.version == c.version {
				h.OldestTime = entry.modified
			}
		}
		return h, nil
	}
	return h, fmt.Errorf("history of %s: %w: no version can be rebuilt", l.table, ErrCorrupt)
}
