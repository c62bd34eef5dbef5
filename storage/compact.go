package storage

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sluice/storage/delta"
	"sluice/storage/rows"
	"sluice/storage/upkeep"
)

// Compaction: a busy topic gains a file with each version. In the background,
// neighbouring small files are merged into larger ones, by a proposal to the
// committer that changes no row (dataChange=false): appends never wait for it and
// never conflict with it. Readers that hold the old files may go on reading them
// for as long as the table promises (sluice.table.deleted.files.ms).

const (
	// compactEvery is how many entries pass between two looks for files to merge.
	compactEvery = 16
	// compactRest is how long a compaction rests after its work, as a multiple of the
	// time that it took: its share of a core stays below a quarter.
	compactRest     = 3
	compactDeadline = 2 * time.Minute
)

// compactLater starts a compaction if there may be something to merge; t.mu is held.
func (t *Topic) compactLater() {
	t.sinceCheck++
	if t.compacting || t.sinceCheck < compactEvery || t.gone != nil {
		return
	}
	t.sinceCheck = 0
	if len(t.pick()) == 0 {
		return
	}
	t.compacting = true
	t.env.background.Go(t.compact)
}

// pick chooses the files to merge next; t.mu is held.
func (t *Topic) pick() []*file {
	if len(t.index.unresolved) > 0 || t.yields() {
		return nil // an engine is at work; reads come first
	}
	files := t.index.inOrder()
	sizes := make([]upkeep.File, len(files))
	for i, f := range files {
		sizes[i].Size = f.size
	}
	from, to := upkeep.Pick(sizes)
	if files = files[from:to]; !t.index.together(files) {
		return nil // an engine has sorted the table in its own way
	}
	return files
}

// compact merges until nothing is left to merge, or the topic ends.
func (t *Topic) compact() {
	for {
		t.mu.Lock()
		files := t.pick()
		if len(files) == 0 || t.gone != nil {
			t.compacting = false
			t.mu.Unlock()
			return
		}
		t.mu.Unlock()
		began := time.Now()
		err := t.merge(files)
		if err != nil && !errors.Is(err, context.Canceled) && t.reason() == nil {
			t.env.log.Warn("compaction is put off", "topic", t.name, "files", len(files), "err", err)
		}
		rest := compactRest * time.Since(began)
		if err != nil {
			rest = max(rest, time.Minute)
		}
		select {
		case <-time.After(rest):
		case <-t.env.ctx.Done():
			return
		case <-t.committer.Done():
			return
		}
	}
}

// errOutdated stops a compaction whose files have left the table meanwhile.
var errOutdated = errors.New("the files to merge are not in the table any more")

// merge replaces files by one.
func (t *Topic) merge(files []*file) error {
	ctx, cancel := context.WithTimeout(t.env.ctx, compactDeadline)
	defer cancel()
	select {
	case t.env.rewriting <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-t.env.rewriting }()
	inputs := make([]upkeep.File, len(files))
	for i, f := range files {
		inputs[i] = upkeep.File{Size: f.size, Ranges: f.ranges, Open: func(ctx context.Context) (*rows.Reader, error) {
			return rows.Open(ctx, f.size, t.env.blocks.source(t.env.store, f))
		}}
	}
	// An encoder of its own: the buffers that a large file takes are not kept.
	encoder := rows.NewEncoder(rows.Options{Codec: codecOf(t.settings.Load().ParquetCompression)})
	merged, err := upkeep.Merge(ctx, t.name, inputs, encoder)
	if err != nil {
		return err
	}
	add := delta.Add{Path: newPath(), PartitionValues: map[string]string{}, Size: int64(len(merged.Body)), Stats: merged.Stats, Tags: merged.Tags}
	key, err := t.log.DataKey(add.Path)
	if err != nil {
		return err
	}
	if _, err := t.env.store.Put(ctx, key, merged.Body); err != nil {
		return err
	}
	t.env.blocks.written.add(key, merged.Body)
	err = t.propose(ctx, func(snap *delta.Snapshot) (*delta.Entry, error) {
		e := &delta.Entry{
			Info: &delta.CommitInfo{Operation: "OPTIMIZE", OperationParameters: map[string]string{"predicate": "[]", "auto": "true"}},
			Adds: []delta.Add{add},
		}
		now := time.Now().UnixMilli()
		for _, f := range files {
			if snap.Files[f.name] == nil {
				return nil, errOutdated
			}
			e.Adds[0].ModificationTime = max(e.Adds[0].ModificationTime, f.modified)
			e.Removes = append(e.Removes, delta.Remove{
				Path: f.path, DeletionTimestamp: now, ExtendedFileMetadata: true, PartitionValues: map[string]string{}, Size: f.size,
			})
		}
		return e, nil
	})
	if errors.Is(err, errOutdated) {
		_, err = t.env.store.Delete(ctx, key)
	}
	if err != nil {
		return fmt.Errorf("merging: %w", err)
	}
	return nil
}
