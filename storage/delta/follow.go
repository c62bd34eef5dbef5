package delta

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sluice/storage/object"
)

// The rule of cleaned entries (README.md): cleanup takes away only entries older
// than W by the store's clock. So within W/2 of a moment at which v was the tip,
// a version v+1 that is not there does not exist, and one that is there follows
// v. After that nothing can be concluded from v+1 alone.

// near reports whether now is within W/2 of proved. A store that tells no time
// is never near; neither is a clock that ran back by that much.
func (l *Log) near(proved, now time.Time) bool {
	return !proved.IsZero() && !now.IsZero() && now.Sub(proved).Abs() <= l.opts.Window/2
}

// skew is how far clocks of one store's nodes and the granularity of its times
// (1 s at S3) may put two times in the wrong order.
func (l *Log) skew() time.Duration { return l.opts.Window / 16 }

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// Follow applies the entries after s.Version until there is none. each (may be
// nil) is called before an entry is applied; its error ends Follow, unwrapped,
// with s before that entry. ErrMoved means that s can no longer be brought up to
// date: Open again.
//
// Without anything new it costs one GET, and a LIST if s.Proved is older than
// half the window.
func (l *Log) Follow(ctx context.Context, s *Snapshot, each func(*Entry) error) error {
	if s.Version < 0 {
		return fmt.Errorf("follow %s: %w", l.table, ErrNoTable)
	}
	for {
		e, o, err := l.get(ctx, s.Version+1)
		missing := errors.Is(err, object.ErrNotFound)
		if err != nil && !missing {
			return err
		}
		switch near := l.near(s.Proved, o.Now); {
		case near && missing:
			s.Proved = o.Now
			return nil
		case near:
			if err := s.follow(e, each); err != nil {
				return err
			}
			// When it landed it was the tip; Modified is no later than that.
			s.Proved = later(s.Proved, o.Modified)
			continue
		}
		if news, err := l.catchUp(ctx, s, each); err != nil || !news {
			return err
		}
	}
}

// catchUp applies what a LIST shows after s.Version, if the log still goes on
// from there: the entry of s.Version must be there, as cleanup takes older
// entries first.
func (l *Log) catchUp(ctx context.Context, s *Snapshot, each func(*Entry) error) (news bool, err error) {
	l.stats.Proofs.Add(1)
	listing, err := l.list(ctx, s.Version, allVersions)
	if err != nil {
		return false, err
	}
	if !l.continues(s.Version, listing) {
		l.stats.Moved.Add(1)
		return false, fmt.Errorf("%s after version %d: %w", l.table, s.Version, ErrMoved)
	}
	tip := listing.entries[len(listing.entries)-1].version
	if tip == s.Version {
		s.Proved = listing.now
		return false, nil
	}
	err = l.readEntries(ctx, s.Version+1, tip, func(e *Entry) error { return s.follow(e, each) })
	if errors.Is(err, errCleaned) {
		l.stats.Moved.Add(1)
		return false, fmt.Errorf("%s after version %d: %w: %w", l.table, s.Version, ErrMoved, err)
	}
	if err != nil {
		return false, err
	}
	s.Proved = listing.now
	return true, nil
}

// continues reports whether listing, which begins at version, shows it and an
// unbroken log after it.
func (l *Log) continues(version int64, listing *logListing) bool {
	entries := listing.entries
	if len(entries) == 0 || entries[0].version != version || !listing.contiguous(version) {
		return false
	}
	if entries[len(entries)-1].version < listing.tip() {
		return false // a checkpoint without its entry: something cleaned up behind it
	}
	// A stray entry, put into a hole while a batch of older ones was being
	// removed, is newer than what follows it.
	return len(entries) < 3 || !entries[2].modified.Before(entries[1].modified.Add(-l.skew()))
}

// follow shows e to each and applies it.
func (s *Snapshot) follow(e *Entry, each func(*Entry) error) error {
	if each != nil {
		if err := each(e); err != nil {
			return err
		}
	}
	return s.Apply(e)
}
