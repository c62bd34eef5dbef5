package delta

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"sluice/storage/object"
)

// lastCheckpoint is the content of _last_checkpoint [P Last Checkpoint File]: a
// hint, overwritten in place, that any engine may have written.
type lastCheckpoint struct {
	Version       int64 `json:"version"`
	Size          int64 `json:"size"` // actions
	SizeInBytes   int64 `json:"sizeInBytes,omitempty"`
	NumOfAddFiles int64 `json:"numOfAddFiles"`
}

// maxHintBytes bounds _last_checkpoint, which may hold the schema of the checkpoint.
const maxHintBytes = 4 << 20

// parseHint returns the version that a _last_checkpoint names.
func parseHint(data []byte) (version int64, ok bool) {
	var hint struct {
		Version *int64 `json:"version"`
	}
	if json.Unmarshal(data, &hint) != nil || hint.Version == nil || *hint.Version < 0 || *hint.Version == allVersions {
		return 0, false
	}
	return *hint.Version, true
}

// readHint returns the version from which to list: that of _last_checkpoint, or
// 0 if the hint is missing or useless. What it names need not be there.
func (l *Log) readHint(ctx context.Context) int64 {
	o, err := l.store.Get(ctx, LastCheckpointKey(l.table), object.Range{Length: maxHintBytes})
	if err != nil {
		if !errors.Is(err, object.ErrNotFound) && ctx.Err() == nil {
			l.opts.Log.Warn("_last_checkpoint cannot be read", "table", l.table, "error", err)
		}
		return 0
	}
	version, _ := parseHint(o.Body)
	return version
}

// moveHint writes hint to _last_checkpoint unless that names a newer checkpoint
// that is there. Two writers at the same moment may still swap; the next
// checkpoint mends that, and readers list from the hint on anyway.
func (l *Log) moveHint(ctx context.Context, hint lastCheckpoint) error {
	o, err := l.store.Get(ctx, LastCheckpointKey(l.table), object.Range{Length: maxHintBytes})
	if err != nil && !errors.Is(err, object.ErrNotFound) {
		return fmt.Errorf("read _last_checkpoint: %w", err)
	}
	if current, ok := parseHint(o.Body); err == nil && ok && current >= hint.Version {
		// A hint that names nothing would otherwise stand for ever.
		if listing, err := l.list(ctx, current, current); err != nil || len(listing.checkpoints) > 0 {
			return err
		}
	}
	body, err := json.Marshal(hint)
	if err != nil {
		return err
	}
	if _, err := l.store.Put(ctx, LastCheckpointKey(l.table), body); err != nil {
		return fmt.Errorf("write _last_checkpoint: %w", err)
	}
	return nil
}

// sawSound notes a checkpoint that this process has written, or read whole.
func (l *Log) sawSound(version int64) {
	for {
		old := l.sound.Load()
		if old >= version+1 || l.sound.CompareAndSwap(old, version+1) {
			return
		}
	}
}
