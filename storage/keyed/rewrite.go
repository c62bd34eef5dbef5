package keyed

import (
	"context"
	"errors"
	"time"

	"sluice/storage/delta"
)

const (
	// rowsPerFile is by how many rows rewriteFiles grows by one: what a rewrite costs
	// grows with the table.
	rowsPerFile = 256
	// rewriteDeadline bounds a rewrite on a store that hangs.
	rewriteDeadline = time.Minute
)

// startRewrite writes the state as of snap into one file and replaces all files
// of snap by it; t.mu is held. Rows that come meanwhile have higher sequences and
// files of their own. Rows of dead keys are left out: what they hide is too.
func (t *Table[K, R]) startRewrite(l *lead[R], snap *delta.Snapshot) {
	t.rewriting = true
	rows := make([]R, 0, len(t.state))
	for _, row := range t.state {
		rows = append(rows, *row)
	}
	old := make([]*delta.Add, 0, len(snap.Files))
	for _, add := range snap.Files {
		old = append(old, add)
	}
	t.group.Go(func() {
		err := t.rewrite(l.committer, rows, old)
		if err != nil && !errors.Is(err, delta.ErrStopping) && t.ctx.Err() == nil {
			t.options.Log.Warn("rewrite of a table is put off", "table", t.path, "err", err)
		}
		t.mu.Lock()
		t.rewriting = false
		t.mu.Unlock()
	})
}

func (t *Table[K, R]) rewrite(committer *delta.Committer[*change[R]], rows []R, old []*delta.Add) error {
	ctx, cancel := context.WithTimeout(t.ctx, rewriteDeadline)
	defer cancel()
	var add *delta.Add
	var uploaded time.Time // by the store's clock
	if len(rows) > 0 {
		f, err := file(rows)
		if err != nil {
			return err
		}
		if uploaded, err = t.store.Put(ctx, t.path+"/"+f.Path, f.Body); err != nil {
			return err
		}
		add = &delta.Add{
			Path: f.Path, PartitionValues: map[string]string{}, Size: int64(len(f.Body)),
			ModificationTime: time.Now().UnixMilli(), DataChange: true, Stats: f.Stats,
		}
	}
	return committer.Propose(ctx, func(snap *delta.Snapshot) (*delta.Entry, error) {
		if snap.TooLate(uploaded) {
			return nil, nil // it may have been taken for an orphan meanwhile
		}
		e := &delta.Entry{Info: &delta.CommitInfo{Operation: "DELETE", OperationParameters: map[string]string{"reason": "superseded rows"}}}
		now := time.Now().UnixMilli()
		for _, a := range old {
			if snap.Files[delta.FileName(a.Path)] == nil {
				return nil, nil // rewritten by somebody else
			}
			e.Removes = append(e.Removes, delta.Remove{
				Path: a.Path, DeletionTimestamp: now, DataChange: true, ExtendedFileMetadata: true,
				PartitionValues: map[string]string{}, Size: a.Size,
			})
		}
		if add != nil {
			e.Adds = []delta.Add{*add}
		}
		return e, nil
	})
}
