package delta

import (
	"context"
	"errors"
	"time"
)

var errPending = errors.New("not written yet")

type putLatencies struct{}

func (l *Log) Open(ctx context.Context, each func(*Entry)) (*Snapshot, error) { return nil, errPending }
func (l *Log) OpenAt(ctx context.Context, version int64) (*Snapshot, error)   { return nil, errPending }
func (l *Log) ReadEntry(ctx context.Context, version int64) (*Entry, time.Time, error) {
	return nil, time.Time{}, errPending
}
func (l *Log) Follow(ctx context.Context, s *Snapshot, each func(*Entry) error) error {
	return errPending
}
func (l *Log) Create(ctx context.Context, e *Entry) (*Snapshot, error) { return nil, errPending }

// Commit: see README. now is the new Proved of a snapshot that applies the entry that stands at e.Version (ours or foreign).
func (l *Log) Commit(ctx context.Context, e *Entry, proved time.Time) (now time.Time, foreign *Entry, err error) {
	return time.Time{}, nil, errPending
}
func (l *Log) WriteCheckpoint(ctx context.Context, s *Snapshot, now time.Time) error {
	return errPending
}
func (l *Log) Cleanup(ctx context.Context, s *Snapshot, keepFrom int64) (removed int, err error) {
	return 0, errPending
}
