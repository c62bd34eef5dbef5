// Package admin is what an operator does to a topic's table from outside of the
// broker that leads it: describe it, optimize it, delete rows from it, vacuum it. It
// works on the store like a Delta engine, with or without a broker running, and in both
// writer modes, since it is Sluice and keeps to the table's features.
//
// It never takes the topic over, gives out no offset and writes no txn action: what it
// commits are rewritings of files that are there, at whatever version is free. A broker that leads
// the topic meets such an entry at its next commit, or when it looks at the log, and follows it as it
// follows an engine's.
package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"sluice/storage"
	"sluice/storage/delta"
	"sluice/storage/object"
	"sluice/storage/rows"
)

var (
	// ErrReplaced: the topic was deleted, or made anew, while a command worked on it.
	ErrReplaced = errors.New("the topic was deleted or made anew meanwhile")
	// ErrBusy: others changed the same files at every attempt. Later it may succeed.
	ErrBusy = errors.New("others change the same files of the table")
	// errOutdated says that files to be replaced have left the table meanwhile.
	errOutdated = errors.New("files to replace are not in the table any more")
)

// Options of a Table. The zero value of a field is its default.
type Options struct {
	Engine string        // who writes, for commitInfo
	Window time.Duration // W of the log; all writers of a table must agree on it
	Log    *slog.Logger  // nil: nothing is logged
	// Progress, if not nil, is told how far a long command has come.
	Progress func(done, total int64, what string)
}

// Table is a topic's table, loaded at a version and following the log from there on.
// Not safe for concurrent use.
type Table struct {
	store   object.Store
	log     *delta.Log
	topic   string
	options Options
	snap    *delta.Snapshot
	state   storage.TableState
}

// Open loads a topic's table. delta.ErrNoTable: there is none of that name;
// storage.ErrUnknownTopic: the topic is deleted; storage.ErrStopped: a table that is no topic's,
// or that asks more of a writer than Sluice knows.
func Open(ctx context.Context, store object.Store, topic string, options Options) (*Table, error) {
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	if options.Progress == nil {
		options.Progress = func(int64, int64, string) {}
	}
	t := &Table{
		store: store, topic: topic, options: options,
		log: delta.NewLog(store, topic, delta.Options{Window: options.Window, Log: options.Log}),
	}
	if err := t.load(ctx); err != nil {
		return nil, err
	}
	return t, nil
}

// load loads the newest version, which must be of the topic that was opened.
func (t *Table) load(ctx context.Context) error {
	snap, err := t.log.Open(ctx, nil)
	if err != nil {
		return err
	}
	snap.Release() // there is one at a time in this process
	state, err := storage.ReadTableState(snap)
	switch {
	case err != nil:
		return fmt.Errorf("table %s: %w", t.topic, err)
	case t.snap != nil && (state.Deleted || state.ID != t.state.ID):
		return ErrReplaced
	case state.Deleted:
		return fmt.Errorf("%w: %s is deleted", storage.ErrUnknownTopic, t.topic)
	}
	t.snap, t.state = snap, state
	t.log.SetMaxEntries(state.Settings.HistoryVersions)
	return nil
}

// Topic is the topic's name.
func (t *Table) Topic() string { return t.topic }

// State is what the table says of its topic at the version that was loaded last.
func (t *Table) State() storage.TableState { return t.state }

// sync brings the snapshot to the tip of the log.
func (t *Table) sync(ctx context.Context) error {
	err := t.log.Follow(ctx, t.snap, t.check)
	if errors.Is(err, delta.ErrMoved) {
		return t.load(ctx)
	}
	if err != nil {
		return err
	}
	return t.refresh()
}

// check refuses to go on after an entry that makes the table another one.
func (t *Table) check(e *delta.Entry) error {
	if e.Metadata != nil && e.Metadata.ID != t.state.ID {
		return ErrReplaced
	}
	if e.Metadata != nil && e.Metadata.SchemaString != t.snap.Metadata.SchemaString {
		return fmt.Errorf("%w: version %d changes the table's schema", storage.ErrStopped, e.Version)
	}
	return nil
}

// refresh reads the state anew after entries were applied.
func (t *Table) refresh() error {
	state, err := storage.ReadTableState(t.snap)
	switch {
	case err != nil:
		return fmt.Errorf("table %s: %w", t.topic, err)
	case state.Deleted || state.ID != t.state.ID:
		return ErrReplaced
	}
	t.state = state
	return nil
}

// commit commits the entry that propose makes of the newest snapshot: its actions and
// operation; the rest is filled in. Where another entry is first, that one is taken up and
// propose is asked again, so propose must look whether what it removes is still live
// (errOutdated). A nil entry is nothing to do. The version is that of the entry.
//
// An error that is not propose's own may leave the entry undecided: what it adds must not
// be deleted then.
func (t *Table) commit(ctx context.Context, propose func(*delta.Snapshot) (*delta.Entry, error)) (int64, error) {
	for {
		e, err := propose(t.snap)
		if err != nil || e == nil {
			return t.snap.Version, err
		}
		e.Version = t.snap.Version + 1
		e.Info.Timestamp = t.snap.NextTimestamp(time.Now())
		// Readers of older versions are promised the files for a time from now on, whatever
		// this machine's clock says.
		for i := range e.Removes {
			e.Removes[i].DeletionTimestamp = max(e.Info.Timestamp, t.snap.Proved.UnixMilli())
		}
		e.Info.EngineInfo, e.Info.TxnID = t.options.Engine, uuid.NewString()
		read := t.snap.Version
		e.Info.ReadVersion = &read
		now, foreign, err := t.log.Commit(ctx, e, t.snap.Proved)
		switch {
		case errors.Is(err, delta.ErrMoved):
			// It took longer than the log is kept. The entry counts only if others went on from it.
			if err := t.load(ctx); err != nil {
				return -1, err
			}
			if t.holds(e) {
				return e.Version, nil
			}
			continue
		case err != nil:
			return -1, err
		case foreign != nil:
			if err := t.check(foreign); err != nil {
				return -1, err
			}
			e = foreign
		}
		if err := t.snap.Apply(e); err != nil {
			return -1, err
		}
		t.snap.Proved = now
		if err := t.refresh(); err != nil {
			return -1, err
		}
		if foreign == nil {
			return e.Version, nil
		}
	}
}

// holds reports whether the table has the files that e adds, whose names are unique.
func (t *Table) holds(e *delta.Entry) bool {
	for i := range e.Adds {
		if t.snap.Files[delta.FileName(e.Adds[i].Path)] == nil {
			return false
		}
	}
	return len(e.Adds) > 0
}

// remove is the action that takes a live file out of the table; commit sets its time.
func remove(a *delta.Add, dataChange bool) delta.Remove {
	return delta.Remove{
		Path: a.Path, DataChange: dataChange, ExtendedFileMetadata: true,
		PartitionValues: map[string]string{}, Size: a.Size,
	}
}

// reader opens a data file.
func (t *Table) reader(ctx context.Context, a *delta.Add) (*rows.Reader, error) {
	source, err := t.source(a)
	if err != nil {
		return nil, err
	}
	r, err := rows.Open(ctx, a.Size, source)
	if err != nil {
		return nil, fmt.Errorf("data file %s: %w", a.Path, err)
	}
	return r, nil
}

// ranges is where a file holds rows: as its tag says, or else its footer.
func (t *Table) ranges(ctx context.Context, a *delta.Add) ([]rows.Range, error) {
	if ranges, ok := rows.ParseRanges(a.Tags); ok {
		return ranges, nil
	}
	r, err := t.reader(ctx, a)
	if err != nil {
		return nil, err
	}
	ranges, err := r.Ranges(ctx)
	if err != nil {
		return nil, fmt.Errorf("data file %s: %w", a.Path, err)
	}
	return ranges, nil
}
