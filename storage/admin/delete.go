package admin

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"sluice/storage"
	"sluice/storage/delta"
	"sluice/storage/object"
	"sluice/storage/rows"
)

// Deleted is what a deletion did, or would do.
type Deleted struct {
	Rows  int64 `json:"rows"`
	Files int   `json:"files"` // that held them and were replaced
	// Versions are those that the deletion committed.
	Versions []int64 `json:"versions"`
	// UpTo is the version at the beginning: rows of later ones were not looked at.
	UpTo int64 `json:"up_to_version"`
}

const (
	// One entry of a deletion replaces at most that many files, or that many bytes of them.
	deleteFiles = 64
	deleteBytes = 256 << 20
	// passes bounds how often a deletion looks for what others have rewritten meanwhile.
	passes = 100
)

// Delete takes the selected rows out of the table: files that hold some are replaced by
// files without them. It covers what is committed when it begins, wherever others move
// those rows meanwhile. Offsets stay as they are; consumers see gaps.
//
// The replaced files stay in the store for readers of older versions, as long as the table
// promises; see Purge. With dryRun rows and files are only counted.
//
// An error leaves the versions that were committed, which Deleted names; to call it again
// goes on. ErrSelection, ErrReplaced, ErrBusy, and those of Open.
func (t *Table) Delete(ctx context.Context, selection Selection, dryRun bool) (Deleted, error) {
	if err := t.sync(ctx); err != nil {
		return Deleted{}, err
	}
	if err := selection.check(len(t.state.Partitions)); err != nil {
		return Deleted{}, err
	}
	if t.snap.Metadata.Configuration["delta.appendOnly"] == "true" {
		return Deleted{}, fmt.Errorf("%w: the table has the property delta.appendOnly, which forbids deletions", storage.ErrStopped)
	}
	d := &deletion{Table: t, dryRun: dryRun, clean: map[string]bool{}}
	d.result.UpTo = t.snap.Version
	bounds, err := t.bounds(ctx)
	if err != nil {
		return d.result, err
	}
	d.selector = newSelector(&selection, bounds)
	for range passes {
		again, err := d.pass(ctx)
		if err != nil || !again {
			return d.result, err
		}
	}
	return d.result, ErrBusy
}

// bounds are the next offsets of the partitions, and no less than what the files hold.
func (t *Table) bounds(ctx context.Context) ([]int64, error) {
	all, err := t.allRanges(ctx)
	if err != nil {
		return nil, err
	}
	bounds := make([]int64, len(t.state.Partitions))
	for i, p := range t.state.Partitions {
		bounds[i] = p.Next
	}
	for _, ranges := range all {
		for _, r := range ranges {
			if r.Partition >= 0 && int(r.Partition) < len(bounds) {
				bounds[r.Partition] = max(bounds[r.Partition], r.Last+1)
			}
		}
	}
	return bounds, nil
}

// deletion is one under way.
type deletion struct {
	*Table
	*selector
	dryRun bool
	// clean are the files that hold none of the rows.
	clean  map[string]bool
	result Deleted
}

// replaced is a file with selected rows and what comes in its place.
type replaced struct {
	old  *delta.Add
	new  made
	rows int64 // that are left out
}

// pass looks through the files that are live now. again says that others have changed some of
// them meanwhile: what they moved has to be looked for.
func (d *deletion) pass(ctx context.Context) (again bool, err error) {
	var batch []replaced
	bytes := int64(0)
	flush := func() error {
		missed, err := d.replace(ctx, batch)
		again = again || missed
		batch, bytes = nil, 0
		return err
	}
	defer func() {
		for _, r := range batch { // not committed, after an error
			d.discard(ctx, r.new.adds)
		}
	}()
	files := inOrder(d.snap)
	for i, a := range files {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		d.options.Progress(int64(i), int64(len(files)), "files looked at")
		if d.clean[delta.FileName(a.Path)] {
			continue
		}
		r, err := d.rewrite(ctx, a)
		if errors.Is(err, object.ErrNotFound) {
			// Replaced, and deleted already: look again, unless it is still live.
			if err := d.gone(ctx, a, err); err != nil {
				return false, err
			}
			again = true
			continue
		}
		if err != nil {
			return false, err
		}
		if r == nil {
			d.clean[delta.FileName(a.Path)] = true
			continue
		}
		batch = append(batch, *r)
		if bytes += a.Size; len(batch) == deleteFiles || bytes >= deleteBytes {
			if err := flush(); err != nil {
				return false, err
			}
		}
	}
	if err := flush(); err != nil {
		return false, err
	}
	if d.dryRun {
		return false, nil
	}
	// Entries that came after the pass began may have moved rows into files that it did
	// not see; rows that are new are beyond the bounds.
	if err := d.sync(ctx); err != nil {
		return false, err
	}
	for name := range d.snap.Files {
		again = again || !d.clean[name] && d.mayHold(d.snap.Files[name])
	}
	return again, nil
}

// mayHold reports whether a file has to be looked at, as far as the log tells.
func (d *deletion) mayHold(a *delta.Add) bool {
	ranges, known := rows.ParseRanges(a.Tags)
	return !known || len(d.parts(a, ranges)) > 0
}

// gone reads the log on after a file was not there any more: it must have left the table.
func (t *Table) gone(ctx context.Context, a *delta.Add, missing error) error {
	if err := t.sync(ctx); err != nil {
		return err
	}
	if t.snap.Files[delta.FileName(a.Path)] != nil {
		return fmt.Errorf("the table names a file that the store does not have: %w", missing)
	}
	return nil
}

// inOrder lists the live files in the order in which their records were committed.
func inOrder(s *delta.Snapshot) []*delta.Add {
	files := make([]*delta.Add, 0, len(s.Files))
	for _, a := range s.Files {
		files = append(files, a)
	}
	slices.SortFunc(files, func(a, b *delta.Add) int {
		return cmp.Or(cmp.Compare(a.ModificationTime, b.ModificationTime), cmp.Compare(a.Path, b.Path))
	})
	return files
}

// rewrite makes a file's successors without the selected rows; nil if it holds none.
func (d *deletion) rewrite(ctx context.Context, a *delta.Add) (*replaced, error) {
	ranges, err := d.ranges(ctx, a)
	if err != nil {
		return nil, err
	}
	parts := d.parts(a, ranges)
	if len(parts) == 0 {
		return nil, nil
	}
	reader, err := d.reader(ctx, a)
	if err != nil {
		return nil, err
	}
	n, err := d.count(ctx, reader, parts)
	if err != nil {
		return nil, fmt.Errorf("data file %s: %w", a.Path, err)
	}
	if n == 0 {
		return nil, nil
	}
	if d.dryRun {
		d.result.Rows += n
		d.result.Files++
		return nil, nil
	}
	m, err := d.without(ctx, a, ranges)
	if err != nil {
		return nil, err
	}
	return &replaced{a, m, n}, nil
}

// replace commits what comes in place of files. missed says that some of them have left the
// table meanwhile, and their rows are elsewhere, or that it took too long.
func (d *deletion) replace(ctx context.Context, batch []replaced) (missed bool, err error) {
	var done []replaced
	list, err := json.Marshal([]string{d.predicate()}) // as engines write it
	if err != nil {
		return false, err
	}
	predicate := string(list)
	version, err := d.commit(ctx, func(snap *delta.Snapshot) (*delta.Entry, error) {
		e := &delta.Entry{Info: &delta.CommitInfo{Operation: "DELETE", OperationParameters: map[string]string{"predicate": predicate}}}
		done = done[:0]
		for _, r := range batch {
			if snap.Files[delta.FileName(r.old.Path)] == nil || r.new.late(snap) {
				continue
			}
			done = append(done, r)
			e.Removes = append(e.Removes, remove(r.old, true))
			e.Adds = append(e.Adds, r.new.adds...)
		}
		if len(done) == 0 {
			return nil, nil
		}
		return e, nil
	})
	if err != nil {
		return false, err // perhaps committed: nothing of it may be deleted
	}
	var unused []delta.Add
	for _, r := range batch {
		if !slices.ContainsFunc(done, func(d replaced) bool { return d.old == r.old }) {
			unused = append(unused, r.new.adds...)
			continue
		}
		d.result.Rows += r.rows
		d.result.Files++
		for i := range r.new.adds {
			d.clean[delta.FileName(r.new.adds[i].Path)] = true
		}
	}
	if len(done) > 0 {
		d.result.Versions = append(d.result.Versions, version)
	}
	d.discard(ctx, unused)
	return len(unused) > 0 || len(done) < len(batch), nil
}
