package storage

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"time"

	"sluice/storage/delta"
	"sluice/storage/rows"
	"sluice/storage/upkeep"
)

// Rewriting files of a topic: new ones are uploaded (rewrite), then one entry puts
// them in the place of the old ones (exchange), if those are still all in the table.

// discardDeadline bounds the deletion of files that were uploaded in vain. What it
// does not reach stays behind as files that nobody names.
const discardDeadline = 10 * time.Second

// rewrite uploads what becomes of files, as how says (Keep and Tags: the rest follows
// from the topic), and returns the adds. Their time is that of the newest input, since
// the order of a table's files is that of their records. After an error nothing is left
// in the store. env.rewriting is held by the caller, who bounds memory and traffic so;
// the ranges of files are known.
func (t *Topic) rewrite(ctx context.Context, files []*file, how upkeep.Rewriting) ([]delta.Add, upkeep.Result, error) {
	settings := t.settings.Load()
	how.Topic = t.name
	how.Target, how.Codec = settings.TargetFileBytes, codecOf(settings.ParquetCompression)
	how.Files = make([]upkeep.File, len(files))
	modified := int64(0)
	for i, f := range files {
		how.Files[i] = upkeep.File{Size: f.size, Ranges: f.ranges, Source: t.env.blocks.once(t.env.store, f)}
		modified = max(modified, f.modified)
	}
	var adds []delta.Add
	how.Put = func(ctx context.Context, f rows.File) error {
		add := delta.Add{
			Path: newPath(), PartitionValues: map[string]string{}, Size: int64(len(f.Body)),
			ModificationTime: modified, Stats: f.Stats, Tags: f.Tags,
		}
		key, err := t.log.DataKey(add.Path)
		if err != nil {
			return err
		}
		adds = append(adds, add) // also if it fails: it may be there
		if _, err := t.env.store.Put(ctx, key, f.Body); err != nil {
			return err
		}
		if len(f.Body) <= wholeFile { // soon to be merged again
			t.env.blocks.written.add(key, bytes.Clone(f.Body))
		}
		return nil
	}
	result, err := upkeep.Rewrite(ctx, how)
	if err != nil {
		t.discard(ctx, adds)
		return nil, result, err
	}
	return adds, result, nil
}

// errOutdated stops a rewriting whose files have left the table meanwhile.
var errOutdated = errors.New("the files to rewrite are not in the table any more")

// exchange commits that adds take the place of files, by an entry that info describes.
// dataChange says that rows are missing now: readers that follow the table must look.
// errOutdated means that some of files have left the table, or that others had it for too long: nothing is committed then,
// and the adds are deleted from the store. They are not after any other error, since it
// may be unknown whether the entry stands.
func (t *Topic) exchange(ctx context.Context, files []*file, adds []delta.Add, info *delta.CommitInfo, dataChange bool) error {
	var uploaded time.Time // by the store's clock, as far as the log tells
	err := t.propose(ctx, func(snap *delta.Snapshot) (*delta.Entry, error) {
		if uploaded.IsZero() {
			uploaded = snap.Proved
		} else if snap.TooLate(uploaded) {
			return nil, errOutdated // they may have been taken for orphans meanwhile
		}
		described := *info // the committer completes it
		e := &delta.Entry{Info: &described, Adds: slices.Clone(adds)}
		for i := range e.Adds {
			e.Adds[i].DataChange = dataChange
		}
		now := time.Now().UnixMilli()
		for _, f := range files {
			if snap.Files[f.name] == nil {
				return nil, errOutdated
			}
			e.Removes = append(e.Removes, delta.Remove{
				Path: f.path, DeletionTimestamp: now, DataChange: dataChange, ExtendedFileMetadata: true,
				PartitionValues: map[string]string{}, Size: f.size,
			})
		}
		return e, nil
	})
	if errors.Is(err, errOutdated) {
		t.discard(ctx, adds)
	}
	return err
}

// discard deletes files that were uploaded and are not in the table.
func (t *Topic) discard(ctx context.Context, adds []delta.Add) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), discardDeadline)
	defer cancel()
	var keys []string
	for _, a := range adds {
		if key, err := t.log.DataKey(a.Path); err == nil {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return
	}
	if _, err := t.env.store.Delete(ctx, keys...); err != nil {
		t.env.log.Warn("files that were uploaded in vain stay behind", "topic", t.name, "files", len(keys), "err", err)
	}
}
