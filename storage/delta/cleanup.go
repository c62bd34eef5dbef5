package delta

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sluice/storage/object"
)

const (
	// cleanupBatch is how many keys go into one Delete (S3 takes 1,000).
	cleanupBatch = 1000
	// cleanupKeys bounds one Cleanup: it runs beside commits and comes again.
	cleanupKeys = 10_000
	// cleanupSlack is the part of the retention and of the number of entries by which
	// a log may outgrow them before it is listed again: a LIST of a directory reads
	// all of it, and must not be made for each checkpoint.
	cleanupSlack = 100
)

// Cleanup removes log entries and checkpoints behind the newest checkpoint C
// before which every entry is old enough [P Metadata Cleanup]: older than the log
// retention of the table, or more than Options.MaxEntries behind s, and in any
// case older than the window. C lies at or before s and at or before keepFrom, so
// that no entry from keepFrom on is removed; C itself, its entry and all that
// follows stay. Ages are by the store's clock; a store that tells no time is not
// cleaned.
//
// It removes a bounded number of objects, oldest first, and returns how many;
// call it again after the next checkpoint: it looks at the store only if there can
// be something to remove, some hundredth late. An error leaves a log that is whole.
//
// before, if not nil, is called with the version of C and the number of objects before
// these are removed, and not at all if there are none; its error ends the cleanup. It
// adds again the live files that only entries before C speak of; see readd.
func (l *Log) Cleanup(ctx context.Context, s *Snapshot, keepFrom int64, before func(ctx context.Context, base int64, objects int) error) (removed int, err error) {
	if err := s.Protocol.CanWrite(KnownFeatures...); err != nil {
		return 0, fmt.Errorf("clean up %s: %w", l.table, err)
	}
	if l.rests(s) {
		return 0, nil
	}
	due, err := l.removable(ctx, s, min(keepFrom, s.Version))
	if err == nil && len(due.keys) > 0 && before != nil {
		err = before(ctx, due.base, len(due.keys))
	}
	if err != nil {
		return 0, fmt.Errorf("clean up %s: %w", l.table, err)
	}
	for keys := due.keys; len(keys) > 0; {
		batch := keys[:min(len(keys), cleanupBatch)]
		if _, err := l.store.Delete(ctx, batch...); err != nil {
			return removed, fmt.Errorf("clean up %s: %w", l.table, err)
		}
		removed += len(batch)
		keys = keys[len(batch):]
	}
	l.young.Store(due.young)
	return removed, nil
}

// rests reports whether the entry that was too young to go the last time still
// is, and by the slack more: then all behind it has to stay, too.
func (l *Log) rests(s *Snapshot) bool {
	young := l.young.Load()
	if young == nil || s.Proved.IsZero() {
		return false
	}
	entries, retention := l.maxEntries.Load(), s.Metadata.LogRetention()
	age := s.Proved.Sub(young.modified)
	tooMany := young.version <= s.Version-entries-entries/cleanupSlack
	return age <= l.opts.Window || age <= retention+retention/cleanupSlack && !tooMany
}

// cleanupWalk looks at a log from its oldest object on.
type cleanupWalk struct {
	retention, window time.Duration
	beyond            int64 // entries up to this version are too many
	last              int64 // no checkpoint after this version counts

	bases   []logCheckpointFiles // before which every entry may go, ascending
	group   checkpointGroup
	objects []logObject // that may go if a base lies behind them
	young   *logObject  // the entry at which it stopped, as it may not go yet
}

// removable is what may be removed.
type removable struct {
	keys  []string   // oldest first
	base  int64      // the version of the checkpoint that they lie behind
	young *logObject // the entry too young for it, nil if something else was the end
}

// removable finds what may be removed.
func (l *Log) removable(ctx context.Context, s *Snapshot, last int64) (removable, error) {
	walk := &cleanupWalk{
		retention: s.Metadata.LogRetention(),
		window:    l.opts.Window,
		beyond:    s.Version - l.maxEntries.Load(),
		last:      last,
	}
	request := object.ListRequest{Prefix: logPrefix(l.table)}
	for more := true; more; {
		page, err := l.store.List(ctx, request)
		if err != nil {
			return removable{}, err
		}
		if page.Now.IsZero() {
			return removable{}, nil
		}
		more, request.After = page.More, page.Last
		for _, info := range page.Objects {
			if !walk.see(l.logName(info.Key), info, page.Now) {
				more = false
				break
			}
		}
	}
	walk.take()
	keys, base, err := l.behindSound(ctx, walk)
	return removable{keys, base, walk.young}, err
}

// see takes one object and reports whether to go on.
func (w *cleanupWalk) see(name logName, info object.Info, now time.Time) bool {
	if name.kind == logOther {
		return true
	}
	if name.version > w.last {
		return false
	}
	if name.version != w.group.version {
		w.take()
		w.group.version = name.version
	}
	o := logObject{version: name.version, key: info.Key, size: info.Size, modified: info.Modified}
	age := now.Sub(info.Modified)
	switch name.kind {
	case logEntry:
		if age <= w.window || age <= w.retention && name.version > w.beyond {
			w.young = &o
			return false
		}
	case logCheckpoint:
		w.group.add(name, o)
	}
	// What is not an entry holds nothing back, but is as young as an entry may not be.
	if age > w.window && len(w.objects) < cleanupKeys {
		w.objects = append(w.objects, o)
	}
	// Enough to do, and a base behind it all.
	return len(w.objects) < cleanupKeys || len(w.bases) == 0 ||
		w.bases[len(w.bases)-1].version <= w.objects[len(w.objects)-1].version
}

func (w *cleanupWalk) take() {
	var found logListing
	found.take(&w.group)
	w.bases = append(w.bases, found.checkpoints...)
}

// behindSound returns the keys before the newest base that can really be read: a
// checkpoint may be another writer's, and what it replaces is about to go.
func (l *Log) behindSound(ctx context.Context, w *cleanupWalk) (keys []string, version int64, err error) {
	for i := len(w.bases) - 1; i >= 0; i-- {
		base := w.bases[i]
		if len(w.objects) == 0 || w.objects[0].version >= base.version {
			return nil, 0, nil // nothing behind it
		}
		if l.sound.Load() != base.version+1 {
			if _, err := l.readCheckpoint(ctx, base); errors.Is(err, ErrCorrupt) || errors.Is(err, errCleaned) {
				l.opts.Log.Warn("checkpoint cannot be read", "table", l.table, "version", base.version, "error", err)
				continue
			} else if err != nil {
				return nil, 0, err
			}
		}
		for _, o := range w.objects {
			if o.version < base.version {
				keys = append(keys, o.key)
			}
		}
		return keys, base.version, nil
	}
	return nil, 0, nil
}
