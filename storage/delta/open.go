package delta

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"sluice/storage/object"
)

const (
	// openParallel is how many entries of a tail are read at a time: a tail of
	// some hundred entries costs a few round trips, not hundreds.
	openParallel = 16
	// openAttempts bounds how often a load starts again because cleanup took away
	// what a LIST had shown.
	openAttempts = 5
	// openCheckpoints bounds how many checkpoints that turn out to be unusable
	// are read before falling back to version 0.
	openCheckpoints = 8
)

// errCleaned says that an object that a LIST had shown is no longer there.
var errCleaned = errors.New("removed while it was read")

// Open loads the newest snapshot: _last_checkpoint (a hint that may be missing,
// stale or wrong), LIST from there, the newest checkpoint that can be read, of
// whatever writer, and the entries after it, for which each (may be nil) is
// called in order.
//
// ErrNoTable, ErrUnsupported and ErrCorrupt tell what stands in the way. ErrMoved
// says that cleanup overtook the load after each had been called: start afresh. ErrFull: it
// may fit into memory later. The snapshot is to be given to a Committer, or released.
func (l *Log) Open(ctx context.Context, each func(*Entry)) (*Snapshot, error) {
	return l.load(ctx, allVersions, each)
}

// OpenAt loads the snapshot of a version, or ErrNoVersion if it is not there yet
// or its history has been cleaned up. See Open for the rest.
func (l *Log) OpenAt(ctx context.Context, version int64) (*Snapshot, error) {
	if version < 0 || version == allVersions {
		return nil, fmt.Errorf("version %d of %s: %w", version, l.table, ErrNoVersion)
	}
	return l.load(ctx, version, nil)
}

func (l *Log) load(ctx context.Context, until int64, each func(*Entry)) (*Snapshot, error) {
	done, err := l.opts.Memory.load(ctx)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", l.table, err)
	}
	defer done()
	called := false
	for attempt := 1; ; attempt++ {
		s, err := l.loadOnce(ctx, until, func(e *Entry) {
			if each != nil {
				called = true
				each(e)
			}
		})
		switch {
		case err == nil:
			return s, nil
		case !errors.Is(err, errCleaned):
			return nil, fmt.Errorf("open %s: %w", l.table, err)
		case called:
			return nil, fmt.Errorf("open %s: %w: %w", l.table, ErrMoved, err)
		case attempt == openAttempts:
			return nil, fmt.Errorf("open %s: %w: %w", l.table, ErrCorrupt, err)
		}
	}
}

func (l *Log) loadOnce(ctx context.Context, until int64, each func(*Entry)) (*Snapshot, error) {
	from := l.readHint(ctx)
	if from > until {
		from = 0
	}
	for {
		listing, err := l.list(ctx, from, until)
		if err != nil {
			return nil, err
		}
		s, err := l.loadListed(ctx, listing, until, each)
		if err == nil || from == 0 || !errors.Is(err, errNoBase) {
			return s, err
		}
		// The hint led astray: look at the whole log.
		from = 0
	}
}

// errNoBase says that a listing shows nothing from which to build a snapshot.
var errNoBase = errors.New("no usable checkpoint, and no version 0")

// loadListed builds the snapshot of the newest version in listing.
func (l *Log) loadListed(ctx context.Context, listing *logListing, until int64, each func(*Entry)) (*Snapshot, error) {
	tip := listing.tip()
	if until != allVersions && tip != until && (tip >= 0 || listing.beyond) {
		return nil, noBase(ErrNoVersion)
	}
	var passed []error // why checkpoints were passed over
	for i := len(listing.checkpoints) - 1; i >= 0 && len(passed) < openCheckpoints; i-- {
		files := listing.checkpoints[i]
		if !listing.contiguous(files.version + 1) {
			passed = append(passed, fmt.Errorf("gap after version %d", files.version))
			break // an older one has the same gap
		}
		s, err := l.readCheckpoint(ctx, files)
		switch {
		case err == nil:
			s.Checkpoint = files.version
			return l.loadTail(ctx, s, listing, each)
		case !errors.Is(err, ErrCorrupt):
			return nil, err
		}
		passed = append(passed, err)
		l.opts.Log.Warn("checkpoint cannot be read", "table", l.table, "version", files.version, "error", err)
	}
	if len(listing.entries) > 0 && listing.entries[0].version == 0 && listing.contiguous(0) {
		s := NewSnapshot()
		s.room = l.room()
		return l.loadTail(ctx, s, listing, each)
	}
	switch {
	case passed != nil:
		return nil, noBase(fmt.Errorf("%w: %w", errIncomplete, errors.Join(passed...)))
	case listing.v2:
		return nil, noBase(&UnsupportedError{Feature: "v2Checkpoint"})
	case tip < 0:
		return nil, noBase(ErrNoTable)
	case until != allVersions:
		return nil, noBase(ErrNoVersion)
	}
	return nil, noBase(errIncomplete)
}

// errIncomplete is both: most callers do not tell it from other damage.
var errIncomplete = fmt.Errorf("%w: %w", ErrCorrupt, ErrIncomplete)

// noBase marks err as one that a listing of the whole log may cure.
func noBase(err error) error { return fmt.Errorf("%w (%w)", err, errNoBase) }

// loadTail applies the entries of listing after s.Version, and answers s.
func (l *Log) loadTail(ctx context.Context, s *Snapshot, listing *logListing, each func(*Entry)) (_ *Snapshot, err error) {
	defer func() {
		if err != nil {
			s.Release()
		}
	}()
	base := s.Version
	// Who asked for each entry keeps them all, for a while.
	size := s.memory()
	room := l.opts.Memory.table - size
	if err := s.room.set(size); err != nil {
		return nil, err
	}
	unmeasured := int64(0)
	err = l.readEntries(ctx, s.Version+1, listing.tip(), func(e *Entry) error {
		size := e.memory()
		if room -= size; room < 0 {
			return fmt.Errorf("%w: up to version %d, more than %d bytes", ErrTooLarge, e.Version, l.opts.Memory.table)
		}
		if unmeasured += size; unmeasured >= smallBytes {
			if err := s.room.grow(unmeasured); err != nil {
				return err
			}
			unmeasured = 0
		}
		each(e)
		return s.Apply(e)
	})
	if err == nil {
		err = s.room.set(s.memory())
	}
	if err != nil {
		return nil, err
	}
	s.Proved = listing.now
	if s.Timestamp == 0 && base >= 0 && base == s.Version {
		// A checkpoint holds no commitInfo; its entry does, and cleanup keeps it.
		if e, _, err := l.get(ctx, base); err == nil {
			s.seeTimestamp(e)
		} else if ctx.Err() != nil {
			return nil, err
		}
	}
	return s, nil
}

// ReadEntry reads one entry. object.ErrNotFound means that the version is not
// there: not yet, or no longer. now is the store's clock, also with an error.
func (l *Log) ReadEntry(ctx context.Context, version int64) (e *Entry, now time.Time, err error) {
	e, o, err := l.get(ctx, version)
	return e, o.Now, err
}

func (l *Log) get(ctx context.Context, version int64) (*Entry, object.Object, error) {
	o, done, err := l.opts.Memory.Get(ctx, l.store, EntryKey(l.table, version), l.opts.Memory.maxEntry())
	defer done()
	return l.parse(version, o, err)
}

// parse makes an entry of what was read.
func (l *Log) parse(version int64, o object.Object, err error) (*Entry, object.Object, error) {
	if err != nil {
		return nil, o, fmt.Errorf("read version %d of %s: %w", version, l.table, err)
	}
	e, err := ParseEntry(version, o.Body)
	o.Body = nil
	if err != nil {
		return nil, o, fmt.Errorf("%s: %w", l.table, err)
	}
	return e, o, nil
}

// readEntries reads the entries from first to last, several small ones at a time, and
// gives them to apply in order. One that is not there is errCleaned.
func (l *Log) readEntries(ctx context.Context, first, last int64, apply func(*Entry) error) error {
	type answer struct {
		entry *Entry
		err   error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // what is still being read has nobody left to read it
	var window [openParallel]chan answer
	start := func(version int64) {
		answers := make(chan answer, 1)
		window[version%openParallel] = answers
		go func() {
			o, err := getSmall(ctx, l.store, EntryKey(l.table, version), aheadBytes)
			e, _, err := l.parse(version, o, err)
			answers <- answer{e, err}
		}()
	}
	for version := first; version <= last && version < first+openParallel; version++ {
		start(version)
	}
	for version := first; version <= last; version++ {
		a := <-window[version%openParallel]
		if errors.Is(a.err, errLarge) { // one after the other
			a.entry, _, a.err = l.get(ctx, version)
		}
		if errors.Is(a.err, object.ErrNotFound) {
			a.err = fmt.Errorf("version %d: %w", version, errCleaned)
		}
		if a.err != nil {
			return a.err
		}
		if err := apply(a.entry); err != nil {
			return err
		}
		if next := version + openParallel; next <= last {
			start(next)
		}
	}
	return nil
}

// logName of a key of this log.
func (l *Log) logName(key string) logName {
	return parseLogKey(strings.TrimPrefix(key, l.table+"/_delta_log/"))
}
