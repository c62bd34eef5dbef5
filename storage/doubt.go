package storage

import (
	"context"
	"errors"
	"time"

	"sluice/storage/delta"
)

// A producer whose sequences do not fit, or who knows more partitions, may have been
// served by another broker meanwhile. Then it is this broker that is behind, and it
// must not go on like that: nothing that it refuses reaches the log, where it would learn of the
// take-over. So it looks.

const (
	// doubtEvery is the least time between two looks at a topic's log.
	doubtEvery = time.Second
	// doubtDeadline bounds one.
	doubtDeadline = 10 * time.Second
)

// doubt looks in the background whether this broker still leads; t.mu is held.
func (t *Topic) doubt(now time.Time) {
	if now.Sub(t.doubted) < doubtEvery {
		return
	}
	t.doubted = now
	t.env.background.Go(t.verify)
}

func (t *Topic) verify() {
	ctx, cancel := context.WithTimeout(t.env.ctx, doubtDeadline)
	defer cancel()
	epoch := int64(t.Info().LeaderEpoch)
	s := delta.NewSnapshot()
	s.Version = t.Version()
	err := t.log.Follow(ctx, s, func(e *delta.Entry) error {
		if delta.Fenced(e, epoch) {
			return delta.ErrFenced
		}
		return nil
	})
	if !errors.Is(err, delta.ErrFenced) && !errors.Is(err, delta.ErrMoved) {
		return
	}
	// An entry of ours cannot stand any more: trying to commit one ends the topic
	// in the one way in which it ends.
	_ = t.proposeNow(ctx, func(*delta.Snapshot) (*delta.Entry, error) {
		return &delta.Entry{Info: &delta.CommitInfo{Operation: "VERIFY", OperationParameters: map[string]string{}}}, nil
	})
}
