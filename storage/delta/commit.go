package delta

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"sluice/storage/object"
)

// Back-off between attempts to put an entry: from the latency of a quick store
// to what an overloaded one needs.
const (
	commitBackoffMin = 20 * time.Millisecond
	commitBackoffMax = 2 * time.Second
)

// Commit puts e as version e.Version and returns when it is known whose entry
// stands there. It puts the same bytes again through unclear answers, however
// long that takes: the context bounds it. proved is the Proved of the snapshot
// of the version before.
//
//	foreign == nil, err == nil   e is committed.
//	foreign != nil               somebody else's entry stands there; e is not committed.
//	ErrMoved                     the log went on past a cleanup: do not acknowledge, open again.
//	object.ErrDenied             the store refuses; nothing was written. Calling again is right.
//	object.ErrBadKey, ErrIllegal nothing was written, and never will be.
//	ErrCorrupt, ErrUnsupported   a foreign entry stands there that cannot be read.
//	any other error              undecided (the context ended): e may stand there, now
//	                             or in a moment. Only calling again with the same e decides.
//
// now is a moment, by the store's clock, at which the entry that stands at
// e.Version was the tip: the Proved of a snapshot that has applied it.
func (l *Log) Commit(ctx context.Context, e *Entry, proved time.Time) (now time.Time, foreign *Entry, err error) {
	if e.TxnID() == "" {
		return now, nil, fmt.Errorf("%w: version %d without txnId", ErrIllegal, e.Version)
	}
	body, err := e.Marshal()
	if err != nil {
		return now, nil, err
	}
	if int64(len(body)) > l.opts.Memory.maxEntry() {
		return now, nil, fmt.Errorf("%w: version %d: %d bytes", ErrIllegal, e.Version, len(body))
	}
	now, foreign, err = l.decide(ctx, e, body, proved)
	switch {
	case errors.Is(err, ErrMoved):
		l.stats.Moved.Add(1)
	case foreign != nil:
		l.stats.Foreign.Add(1)
	case err == nil:
		l.stats.Commits.Add(1)
	}
	if err != nil {
		err = fmt.Errorf("commit version %d of %s: %w", e.Version, l.table, err)
	}
	return now, foreign, err
}

func (l *Log) decide(ctx context.Context, e *Entry, body []byte, proved time.Time) (time.Time, *Entry, error) {
	after := l.dataKeys(e)
	unclear := false // an attempt of ours may have been, or may yet be, applied
	for attempt := 0; ; attempt++ {
		now, err := l.putEntry(ctx, EntryKey(l.table, e.Version), body, after)
		switch {
		case err == nil:
			now, err = l.landed(ctx, e.Version, proved, now, now)
			return now, nil, err
		case errors.Is(err, object.ErrBadKey), errors.Is(err, object.ErrDenied) && !unclear:
			return now, nil, err
		}
		if !errors.Is(err, object.ErrExists) && !errors.Is(err, object.ErrDenied) {
			unclear = true
			l.stats.Unclear.Add(1)
		}
		if errors.Is(err, object.ErrExists) || errors.Is(err, object.ErrDenied) {
			// "Exists" may follow an attempt of our own. Read what stands there.
			now, foreign, known, readErr := l.readBack(ctx, e, proved)
			if known {
				return now, foreign, readErr
			}
			unclear = true
			err = errors.Join(err, readErr)
		}
		if waitErr := l.pause(ctx, attempt); waitErr != nil {
			// The last answer is told, not wrapped: it is not what the caller decides by.
			return now, nil, fmt.Errorf("undecided: %w (last answer: %v)", waitErr, err)
		}
	}
}

// dataKeys are the objects that must be durable before e shows.
func (l *Log) dataKeys(e *Entry) (keys []string) {
	for i := range e.Adds {
		if key, err := l.DataKey(e.Adds[i].Path); err == nil { // else it is none of ours
			keys = append(keys, key)
		}
	}
	return keys
}

// readBack reads the entry that stands in e's place. known is false if that did
// not work out: the caller puts again.
func (l *Log) readBack(ctx context.Context, e *Entry, proved time.Time) (now time.Time, foreign *Entry, known bool, err error) {
	found, o, err := l.get(ctx, e.Version)
	switch {
	case errors.Is(err, ErrCorrupt), errors.Is(err, ErrUnsupported):
		return o.Now, nil, true, err // no bytes of ours
	case err != nil:
		return o.Now, nil, false, err
	case found.TxnID() == e.TxnID():
		// When it landed is not known, only that it was between the two.
		now, err = l.landed(ctx, e.Version, proved, later(proved, o.Modified), o.Now)
		return now, nil, true, err
	case l.near(proved, o.Now):
		return later(proved, o.Modified), found, true, nil
	}
	// A foreign entry may itself stand in the hole of a cleaned log.
	listing, err := l.proof(ctx, e.Version)
	if err != nil {
		return o.Now, nil, true, err
	}
	if listing.after(e.Version) {
		return listing.now, nil, true, ErrMoved
	}
	return listing.now, found, true, nil
}

// landed decides whether our entry, which landed between from and now, is part
// of the log: certain within W/2 of the proof, else by a LIST.
func (l *Log) landed(ctx context.Context, version int64, proved, from, now time.Time) (time.Time, error) {
	if l.near(proved, now) {
		return from, nil
	}
	listing, err := l.proof(ctx, version)
	if err != nil {
		return now, err
	}
	if len(listing.entries) == 0 || listing.entries[0].version != version {
		return listing.now, ErrMoved // it was put into a hole and has been removed again
	}
	if !listing.after(version) {
		// Cleanup never removes the newest entries: nothing after ours, so ours is the tip.
		return listing.now, nil
	}
	if listing.stray(version, l.skew()) {
		l.removeStray(ctx, version)
	}
	return listing.now, ErrMoved
}

// proof lists the log from version on, again and again until the store answers
// or the context ends.
func (l *Log) proof(ctx context.Context, version int64) (*logListing, error) {
	l.stats.Proofs.Add(1)
	for attempt := 0; ; attempt++ {
		listing, err := l.list(ctx, version, allVersions)
		if err == nil {
			return listing, nil
		}
		if waitErr := l.pause(ctx, attempt); waitErr != nil {
			return nil, fmt.Errorf("undecided: %w (last answer: %v)", waitErr, err)
		}
	}
}

// after reports whether the log goes on after version.
func (g *logListing) after(version int64) bool {
	return g.tip() > version || len(g.checkpoints) > 0 && g.checkpoints[len(g.checkpoints)-1].version >= version
}

// stray reports whether the entry of version, the first of the listing, is
// certainly none of the log: something that would follow it is older. In a log
// each entry and checkpoint is made after the entry before it.
func (g *logListing) stray(version int64, skew time.Duration) bool {
	limit := g.entries[0].modified.Add(-skew)
	for _, entry := range g.entries[1:] {
		if entry.modified.Before(limit) {
			return true
		}
	}
	for _, files := range g.checkpoints {
		if files.version >= version && files.parts[0].modified.Before(limit) {
			return true
		}
	}
	return false
}

// removeStray takes an entry of ours out of the hole that it was put into. It
// does no harm there, lying before a checkpoint, but would show to a reader that
// looks at single entries. Best effort.
func (l *Log) removeStray(ctx context.Context, version int64) {
	if _, err := l.store.Delete(ctx, EntryKey(l.table, version)); err != nil {
		l.opts.Log.Warn("stray log entry stays", "table", l.table, "version", version, "error", err)
		return
	}
	l.opts.Log.Warn("stray log entry removed", "table", l.table, "version", version)
}

// pause waits before the next attempt, longer each time and at random, so that
// racing writers do not meet again.
func (l *Log) pause(ctx context.Context, attempt int) error {
	d := min(commitBackoffMin<<min(attempt, 10), commitBackoffMax)
	timer := time.NewTimer(d/2 + rand.N(d))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
