package admin

import (
	"context"
	"strconv"
	"time"

	"sluice/storage/delta"
	"sluice/storage/object"
	"sluice/storage/upkeep"
)

// Vacuumed is what a vacuum deleted, or would delete.
type Vacuumed struct {
	// Tombstones are files that had left the table.
	Tombstones     int   `json:"tombstones"`
	TombstoneBytes int64 `json:"tombstone_bytes"`
	// Orphans are files that no version names: a writer was killed between upload and
	// commit, or lost a race.
	Orphans     int   `json:"orphans"`
	OrphanBytes int64 `json:"orphan_bytes"`
}

// Vacuum deletes the files that left the table longer ago than its readers were promised
// (delta.deletedFileRetentionDuration), and orphans. With dryRun it only counts. A store that
// tells no time is left alone.
func (t *Table) Vacuum(ctx context.Context, dryRun bool) (Vacuumed, error) {
	if err := t.sync(ctx); err != nil {
		return Vacuumed{}, err
	}
	// By the clock of whoever is behind: see package delta.
	now := time.Now()
	if t.snap.Proved.Before(now) {
		now = t.snap.Proved
	}
	return t.clean(ctx, t.snap.Expired(now), dryRun)
}

// Purge deletes every file that has left the table at once, and orphans: nothing stays
// in the store of rows that were deleted. Readers of older versions lose them. With dryRun it
// only counts.
func (t *Table) Purge(ctx context.Context, dryRun bool) (Vacuumed, error) {
	if err := t.sync(ctx); err != nil {
		return Vacuumed{}, err
	}
	var all []*delta.Remove
	for _, r := range t.snap.Tombstones {
		all = append(all, r)
	}
	return t.clean(ctx, all, dryRun)
}

func (t *Table) clean(ctx context.Context, removed []*delta.Remove, dryRun bool) (v Vacuumed, err error) {
	for _, r := range removed {
		v.TombstoneBytes += r.Size
	}
	keys := t.log.Dead(t.snap, removed)
	v.Tombstones = len(keys)
	if !dryRun {
		if err := t.delete(ctx, keys, "files deleted that had left the table"); err != nil {
			return v, err
		}
	}
	orphans, err := t.sweep(ctx, dryRun)
	for _, o := range orphans {
		v.Orphans++
		v.OrphanBytes += o.Size
	}
	return v, err
}

// sweep deletes the orphans and returns them.
//
// Why it never takes a file that a writer is about to name, even one that stood still
// for hours:
//
//  1. The store is listed first, and only files that are older than orphanAge by its
//     clock and that no version names are candidates.
//  2. Then an entry of our own is committed, at version v.
//  3. Whoever wants to name a candidate has to put an entry. Behind v: he must have taken up
//     ours first, and with it a moment of the store's clock that lies more than orphanAge
//     after the upload; he then refuses (delta.Snapshot.TooLate, judged before each attempt)
//     and uploads the file anew, under another name. At v: the put fails, since we stand
//     there, and he goes on as above. Before v: it is in the log that we have read up to v, so
//     the file is named and left alone.
//  4. Only then are the candidates that are still unnamed deleted.
//
// Engines do not judge like that: files that are not named as ours are left alone.
func (t *Table) sweep(ctx context.Context, dryRun bool) ([]object.Info, error) {
	var old []object.Info
	for after, more := "", true; more; {
		page, err := upkeep.ListOld(ctx, t.store, t.topic, after, listRequests, orphanAge)
		if err != nil {
			return nil, err
		}
		// Most of them are live: they need not be kept until the listing ends.
		old = append(old, t.unnamed(page.Files)...)
		after, more = page.Next, page.Next != ""
	}
	if dryRun || len(old) == 0 {
		return old, nil
	}
	if _, err := t.commit(ctx, note("VACUUM START", "numFilesToDelete", len(old))); err != nil {
		return nil, err
	}
	old = t.unnamed(old)
	keys := make([]string, len(old))
	for i, o := range old {
		keys[i] = o.Key
	}
	if err := t.delete(ctx, keys, "orphans deleted"); err != nil {
		return nil, err
	}
	_, err := t.commit(ctx, note("VACUUM END", "numDeletedFiles", len(old)))
	return old, err
}

// listRequests is how many LISTs are made between two looks at what they found.
const listRequests = 10

// unnamed are those of files that the snapshot does not name.
func (t *Table) unnamed(files []object.Info) []object.Info {
	keys := upkeep.Unnamed(t.log, t.snap, files)
	left := make([]object.Info, 0, len(keys))
	for _, f := range files {
		if len(keys) > 0 && f.Key == keys[0] { // in the same order
			left, keys = append(left, f), keys[1:]
		}
	}
	return left
}

// note is an entry that only says something.
func note(operation, parameter string, n int) func(*delta.Snapshot) (*delta.Entry, error) {
	return func(*delta.Snapshot) (*delta.Entry, error) {
		return &delta.Entry{Info: &delta.CommitInfo{Operation: operation, OperationParameters: map[string]string{parameter: strconv.Itoa(n)}}}, nil
	}
}

// delete deletes objects, some at a time; what says so.
func (t *Table) delete(ctx context.Context, keys []string, what string) error {
	const batch = 1000 // what S3 takes at a time
	total := int64(len(keys))
	for len(keys) > 0 {
		n := min(len(keys), batch)
		if _, err := t.store.Delete(ctx, keys[:n]...); err != nil {
			return err
		}
		keys = keys[n:]
		t.options.Progress(total-int64(len(keys)), total, what)
	}
	return nil
}
