package admin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sluice/storage/delta"
	"sluice/storage/object"
	"sluice/storage/rows"
	"sluice/storage/upkeep"
)

// Optimized is what an optimization did.
type Optimized struct {
	FilesRemoved int     `json:"files_removed"`
	FilesAdded   int     `json:"files_added"`
	BytesRemoved int64   `json:"bytes_removed"`
	BytesAdded   int64   `json:"bytes_added"`
	Rows         int64   `json:"rows"` // rewritten
	Versions     []int64 `json:"versions"`
}

// DefaultTarget is the size in bytes of optimized files: what engines like, and a
// reader's memory bears.
const DefaultTarget = 128 << 20

const (
	// groupTargets is how many files' worth of bytes are rewritten together, for one entry:
	// within them the rows of a partition come together. maxGroup bounds them in bytes, so that
	// what a conflict throws away, and what lies between upload and commit, is minutes of work.
	groupTargets = 8
	maxGroup     = 1 << 30
	// groupFiles bounds the files of a rewriting, each of which is open until its last row is read.
	groupFiles = 512
	// idlePasses is how often in a row an optimization looks again after others have
	// changed all that it was at: each time it takes half as much for one entry, since a broker that
	// merges files of its own every second would be faster for ever, and waits idlePause longer.
	idlePasses = 7
	idlePause  = time.Second / 2
	// lateAfter bounds the time between the upload of a file and its commit here. It may be longer
	// than delta.MaxUploadAge, as long as it is well below orphanAge.
	lateAfter = orphanAge / 2
)

// errLate says that the first file of a rewriting is too old to be committed.
var errLate = fmt.Errorf("the store is too slow: uploading the files took longer than %s", lateAfter)

// Optimize rewrites small files to such of about target bytes, in which the rows of each
// partition stand together in order of their offsets. No row changes: dataChange is false, and
// the new files have the time of the newest they replace. It goes through the whole table,
// in groups of neighbours, an entry each; a group that others change meanwhile is taken up again.
// Files with rows that came after it began are left alone: there are always more.
//
// Files that a cleaning of a compacted topic has marked are left to the broker, which
// keeps the marks. So are rows that an engine has inserted until they are records: which of
// them are is told by the version that they came with.
//
// An error leaves what was committed. ErrBusy, ErrReplaced, and those of Open.
func (t *Table) Optimize(ctx context.Context, target int64) (result Optimized, err error) {
	if err := t.sync(ctx); err != nil {
		return result, err
	}
	o := &optimization{Table: t, target: target, result: &result}
	for _, p := range t.state.Partitions {
		o.bounds = append(o.bounds, p.Next)
	}
	for idle := 0; ; {
		merged, missed, err := o.pass(ctx, idle)
		switch {
		case err != nil:
			return result, err
		case !merged && !missed:
			return result, nil
		case merged:
			idle = 0
		default:
			idle++
		}
		if idle == idlePasses {
			return result, ErrBusy
		}
		select {
		case <-time.After(time.Duration(idle) * idlePause):
		case <-ctx.Done():
			return result, ctx.Err()
		}
		if err := t.sync(ctx); err != nil {
			return result, err
		}
	}
}

type optimization struct {
	*Table
	target int64
	bounds []int64 // the next offsets of the partitions when it began
	result *Optimized
}

// pass merges what groups there are now, having missed so many times. missed says that others
// were faster somewhere.
func (o *optimization) pass(ctx context.Context, idle int) (merged, missed bool, err error) {
	files, err := o.old(ctx)
	if errors.Is(err, errOutdated) {
		return false, true, nil
	}
	if err != nil {
		return false, false, err
	}
	groups := groups(files, o.target, groupLimit(o.target, idle))
	var done, total int64
	for _, g := range groups {
		total += bytesOf(g)
	}
	for _, g := range groups {
		o.options.Progress(done, total, "bytes rewritten")
		err := o.merge(ctx, g)
		switch {
		case err == nil:
			merged = true
		case errors.Is(err, errOutdated):
			missed = true
		default:
			return merged, missed, err
		}
		done += bytesOf(g)
	}
	o.options.Progress(total, total, "bytes rewritten")
	return merged, missed, nil
}

// old lists the files whose rows are all records that were there when the optimization
// began; errOutdated if one has left the table.
func (o *optimization) old(ctx context.Context) (files []*delta.Add, err error) {
	for _, a := range inOrder(o.snap) {
		old, err := o.isOld(ctx, a)
		if err != nil {
			return nil, o.outdated(ctx, []*delta.Add{a}, err)
		}
		if old {
			files = append(files, a)
		}
	}
	return files, nil
}

func (o *optimization) isOld(ctx context.Context, a *delta.Add) (bool, error) {
	ranges, told := rows.ParseRanges(a.Tags)
	all := int64(-1)
	if !told { // an engine's: rows that it has inserted may have no place at all
		r, err := o.reader(ctx, a)
		if err != nil {
			return false, err
		}
		if ranges, err = r.Ranges(ctx); err != nil {
			return false, fmt.Errorf("data file %s: %w", a.Path, err)
		}
		all = r.Rows()
	}
	placed := int64(0)
	for _, r := range ranges {
		if r.Partition < 0 || int(r.Partition) >= len(o.bounds) || r.Last >= o.bounds[r.Partition] {
			return false, nil
		}
		placed += r.Rows
	}
	return told || placed == all, nil
}

// groupLimit bounds the bytes of a group at an attempt after so many in vain.
func groupLimit(target int64, idle int) int64 {
	return max(target, min(groupTargets*target, maxGroup)>>idle)
}

// groups are neighbours of about limit bytes that are worth rewriting together.
func groups(files []*delta.Add, target, limit int64) (found [][]*delta.Add) {
	var group []*delta.Add
	var size int64
	end := func() {
		if after := (size + target - 1) / target; int64(len(group)) > after {
			found = append(found, group)
		}
		group, size = nil, 0
	}
	for i, a := range files {
		if a.Size > target-target/4 || a.Tags[cleanTag] != "" {
			end()
			continue
		}
		// Files of one entry have the same time, and no order of their own: they stay
		// together, so that offsets of two groups do not interleave.
		same := i > 0 && files[i-1].ModificationTime == a.ModificationTime
		if !same && (size+a.Size > limit || len(group) >= groupFiles) {
			end()
		}
		group = append(group, a)
		size += a.Size
	}
	end()
	return found
}

// cleanTag marks the files of a compacted topic that have been through a cleaning.
const cleanTag = "sluice.clean"

func bytesOf(files []*delta.Add) (total int64) {
	for _, a := range files {
		total += a.Size
	}
	return total
}

// merge rewrites a group and commits that; errOutdated if one of its files has left the table.
func (o *optimization) merge(ctx context.Context, files []*delta.Add) error {
	ranges := make([][]rows.Range, len(files))
	for i, a := range files {
		var err error
		if o.snap.Files[delta.FileName(a.Path)] == nil {
			return errOutdated
		}
		if ranges[i], err = o.ranges(ctx, a); err != nil {
			return o.outdated(ctx, files, err)
		}
	}
	made, err := o.make(ctx, files, ranges, upkeep.Rewriting{Target: o.target})
	if err != nil {
		return o.outdated(ctx, files, err)
	}
	version, err := o.commit(ctx, func(snap *delta.Snapshot) (*delta.Entry, error) {
		if made.late(snap) {
			return nil, errLate
		}
		e := &delta.Entry{
			Info: &delta.CommitInfo{Operation: "OPTIMIZE", OperationParameters: map[string]string{
				"predicate": "[]", "zOrderBy": "[]", "auto": "false", "targetSize": fmt.Sprint(o.target),
			}},
			Adds: made.adds,
		}
		for _, a := range files {
			if snap.Files[delta.FileName(a.Path)] == nil {
				return nil, errOutdated
			}
			e.Removes = append(e.Removes, remove(a, false))
		}
		return e, nil
	})
	if errors.Is(err, errOutdated) || errors.Is(err, errLate) {
		o.discard(ctx, made.adds)
	}
	if err != nil {
		return err
	}
	r := o.result
	r.FilesRemoved += len(files)
	r.FilesAdded += len(made.adds)
	r.BytesRemoved += bytesOf(files)
	r.Rows += made.rows
	for i := range made.adds {
		r.BytesAdded += made.adds[i].Size
	}
	r.Versions = append(r.Versions, version)
	return nil
}

// outdated makes errOutdated of an error that comes from a file's having left the
// table, and been deleted, while it was read.
func (t *Table) outdated(ctx context.Context, files []*delta.Add, err error) error {
	if !errors.Is(err, object.ErrNotFound) {
		return err
	}
	if err := t.sync(ctx); err != nil {
		return err
	}
	for _, a := range files {
		if t.snap.Files[delta.FileName(a.Path)] == nil {
			return errOutdated
		}
	}
	return fmt.Errorf("the table names a file that the store does not have: %w", err)
}

// made are files that were uploaded to take the place of others.
type made struct {
	adds []delta.Add
	rows int64
	// since is when the first was uploaded, by the store's clock.
	since time.Time
}

// late reports whether the files may not be committed any more; see sweep.
func (m *made) late(snap *delta.Snapshot) bool {
	return !m.since.IsZero() && snap.Proved.Sub(m.since) > lateAfter
}
