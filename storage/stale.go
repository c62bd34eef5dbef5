package storage

import (
	"context"
	"errors"
	"maps"
	"slices"

	"sluice/storage/delta"
	"sluice/storage/rows"
)

// A writer that rewrites files must give up if one of them has left the table since it
// read them: a remove names a file of the table [P Remove File]. delta-rs 1.6 does not when
// it optimizes or sorts: it commits on top of the newest version, whatever that has
// done. The rows of files that we have rewritten meanwhile (compaction, adoption) are
// then in the table twice. Consumers get each record once all the same, as of copies the first
// counts; the stale rows are taken out again by making the file anew (adopt.go).
//
// A stale row that had no place when the engine read it has been adopted since. It
// looks like one that still is to be: which of the two it is must follow from the files
// that the engine read.

// stale is what a file holds that was made of files which had left the table.
type stale struct {
	inserts bool // its rows without a place have been adopted: they are copies too
	unclear bool // some of them may, and others not: they stay hidden
}

// maxMoved bounds the names of files with inserted rows that are remembered. An engine
// that reads a table takes minutes, not thousands of inserts.
const maxMoved = 4096

// noteStale looks, before another writer's entry is applied, whether it overlooked that
// files had left the table; t.mu is held, or t is not shared yet. before are the live
// files, pending says of one of them whether it may hold rows that are not adopted yet.
func (t *Topic) noteStale(e *delta.Entry, before map[string]*delta.Add, pending func(name string) bool) {
	if len(e.Adds) == 0 {
		return
	}
	gone, moved, waiting, changes, again := 0, 0, 0, false, false
	s := stale{}
	for i := range e.Removes {
		name := delta.FileName(e.Removes[i].Path)
		changes = changes || e.Removes[i].DataChange
		if of, ok := t.index.stale[name]; ok && before[name] != nil {
			// It was rewritten once more before what it has twice was taken out.
			again, s.inserts, s.unclear = true, s.inserts || of.inserts, s.unclear || of.unclear
			continue
		}
		switch {
		case before[name] == nil && t.moved[name]:
			gone++
			moved++
		case before[name] == nil:
			gone++
		case pending(name):
			waiting++
		}
	}
	if gone == 0 && !again {
		return
	}
	for i := range e.Adds {
		changes = changes || e.Adds[i].DataChange
	}
	// MERGE brings rows of its own, DELETE keeps some of those that were there.
	changes = changes && (e.Info == nil || e.Info.Operation != "DELETE")
	s.inserts = s.inserts || moved > 0
	s.unclear = s.unclear || s.inserts && (waiting > 0 || changes)
	t.env.log.Warn("another writer's rewriting overlooked that files had left the table; what it has twice is taken out again",
		"topic", t.name, "version", e.Version, "files", gone)
	if s.unclear {
		t.env.log.Error("inserted rows of that rewriting stay hidden, since some may be records already", "topic", t.name, "version", e.Version,
			"hint", "RESTORE the version before it, and do it again under sluice table yield")
	}
	for i := range e.Adds {
		t.index.stale[delta.FileName(e.Adds[i].Path)] = s
	}
}

// noteMoved remembers the files that an entry takes out of the table whose inserted
// rows are elsewhere then; t.mu is held, or t is not shared yet. pending says of a file
// whether it may hold such rows.
func (t *Topic) noteMoved(e *delta.Entry, pending func(name string) bool) {
	for i := range e.Removes {
		if name := delta.FileName(e.Removes[i].Path); pending(name) {
			if len(t.moved) >= maxMoved {
				clear(t.moved)
			}
			t.moved[name] = true
		}
	}
}

// pending reports whether a file may hold inserted rows; t.mu is held.
func (t *Topic) pending(name string) bool {
	return t.index.inserts[name] != nil || t.index.unresolved[name] != nil
}

// findStale looks in the entries behind the checkpoint, when a topic is opened, for
// those whose stale rows a broker before us did not live to take out.
func (t *Topic) findStale(ctx context.Context, snap *delta.Snapshot, tail []*delta.Entry) error {
	gone := map[string]bool{}
	adds := map[string]*delta.Add{}
	pending := func(name string) bool { return adds[name] != nil && mayInsert(adds[name]) }
	ours := func(e *delta.Entry) bool { return e.Info != nil && e.Info.Operation == operationAdopt }
	anew := map[string]bool{} // the files that were made anew, without what they had twice
	for _, e := range tail {
		for i := range e.Removes {
			if ours(e) {
				anew[delta.FileName(e.Removes[i].Path)] = true
			}
		}
	}
	for _, e := range tail {
		twice := slices.ContainsFunc(e.Removes, func(r delta.Remove) bool {
			name := delta.FileName(r.Path)
			_, stale := t.index.stale[name]
			return gone[name] || stale
		})
		left := slices.ContainsFunc(e.Adds, func(a delta.Add) bool { return !anew[delta.FileName(a.Path)] })
		if twice && left && !ours(e) { // otherwise it is sound, or has been made anew since
			before, err := t.log.OpenAt(ctx, e.Version-1)
			switch {
			case err == nil:
				t.noteStale(e, before.Files, func(name string) bool { return mayInsert(before.Files[name]) })
				before.Release()
			case !errors.Is(err, delta.ErrNoVersion):
				return storeError(err)
			}
		}
		t.noteMoved(e, pending)
		for i := range e.Removes {
			gone[delta.FileName(e.Removes[i].Path)] = true
		}
		for i := range e.Adds {
			name := delta.FileName(e.Adds[i].Path)
			adds[name] = &e.Adds[i]
			delete(gone, name)
		}
	}
	maps.DeleteFunc(t.index.stale, func(name string, _ stale) bool { return snap.Files[name] == nil })
	return nil
}

// mayInsert reports whether a file may hold rows without a place, by what the log says.
func mayInsert(a *delta.Add) bool {
	if _, tagged := rows.ParseRanges(a.Tags); tagged {
		return false
	}
	s, err := delta.ParseStatistics(a.Stats)
	return err != nil || string(s.NullCount["partition"]) != "0" || string(s.NullCount["offset"]) != "0"
}
