package delta

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sluice/storage/object"
)

// Create makes the table with e as its version 0. ErrTableExists means that a
// log is there, of whatever age: Open it. After an error that leaves it
// undecided, Open tells too.
//
// A log that was cleaned up has no 0.json any more, so that its absence proves
// nothing: the log is listed before and after.
func (l *Log) Create(ctx context.Context, e *Entry) (*Snapshot, error) {
	s, err := l.create(ctx, e)
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", l.table, err)
	}
	return s, nil
}

func (l *Log) create(ctx context.Context, e *Entry) (*Snapshot, error) {
	s := NewSnapshot()
	if err := s.Apply(e); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrIllegal, err)
	}
	entry, others, now, err := l.begun(ctx)
	if err != nil {
		return nil, err
	}
	if entry || others {
		return nil, ErrTableExists
	}
	proved, foreign, err := l.Commit(ctx, e, now)
	if foreign != nil || errors.Is(err, ErrMoved) {
		return nil, ErrTableExists
	}
	if err != nil {
		return nil, err
	}
	if _, others, _, err = l.begun(ctx); err != nil {
		return nil, err
	}
	if others {
		return nil, ErrTableExists
	}
	s.Proved = proved
	return s, nil
}

// Exists reports whether the table has a log: an entry or a checkpoint of whatever version,
// readable or not. It costs one LIST.
func (l *Log) Exists(ctx context.Context) (bool, error) {
	entry, others, _, err := l.begun(ctx)
	if err != nil {
		return false, fmt.Errorf("list log of %s: %w", l.table, err)
	}
	return entry || others, nil
}

// begun reports whether the log has the entry of version 0, and whether it has others
// or checkpoints.
func (l *Log) begun(ctx context.Context) (entry, others bool, now time.Time, err error) {
	page := object.Listing{More: true}
	request := object.ListRequest{Prefix: logPrefix(l.table), Limit: 8}
	for page.More && !others {
		if page, err = l.store.List(ctx, request); err != nil {
			return entry, others, now, err
		}
		request.After, now = page.Last, page.Now
		for _, info := range page.Objects {
			switch name := l.logName(info.Key); {
			case name.kind == logEntry && name.version == 0:
				entry = true
			case name.kind == logEntry || name.kind == logCheckpoint || name.kind == logV2:
				others = true
			}
		}
	}
	return entry, others, now, nil
}
