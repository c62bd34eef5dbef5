package delta

import (
	"context"
	"time"
)

// vacuum deletes the files that left the table longer ago than its readers were
// promised (delta.deletedFileRetentionDuration), drops their tombstones from s, which
// is the caller's own, and returns them. Files before tombstones: should it be
// interrupted, the tombstones still tell the next time.
//
// Whose clock: a tombstone bears the time of the broker that removed the file, or
// the store's where that was known to be later (see stamp). It is over when it is by
// the clock of this broker and by that of the store, so that a broker whose clock is ahead
// does not cut short what others promised.
//
// A file that lives is never deleted, whatever the tombstones say: not one that
// another path names (an engine may write the same file as a relative path and as
// a URI), nor one that an engine has restored since s. Therefore the log is followed
// to its end first. That also ends a leader that was overtaken: the files are the
// next one's to delete. What is restored after that has been out of the promised
// history for good.
func (c *Committer[T]) vacuum(ctx context.Context, s *Snapshot) ([]*Remove, error) {
	now := time.Now()
	if len(s.Expired(now)) == 0 {
		return nil, nil
	}
	newest, err := c.Current(ctx)
	if err != nil {
		return nil, err
	}
	expired := s.Expired(earlier(now, newest.Proved))
	for _, r := range expired {
		delete(s.Tombstones, FileName(r.Path))
	}
	keys := c.log.Dead(newest, expired)
	if len(keys) > 0 {
		if _, err := c.log.Store().Delete(ctx, keys...); err != nil {
			return nil, err
		}
	}
	return expired, nil
}

// Dead are the keys of removed files that no live file of s has: what may be deleted
// once nobody reads it any more.
func (l *Log) Dead(s *Snapshot, removed []*Remove) []string {
	live := make(map[string]bool, len(s.Files))
	for _, file := range s.Files {
		if key, err := l.DataKey(file.Path); err == nil {
			live[key] = true
		}
	}
	keys := make([]string, 0, len(removed))
	for _, r := range removed {
		// A path outside the table (a shallow clone's) is not ours to delete.
		if key, err := l.DataKey(r.Path); err == nil && !live[key] {
			keys = append(keys, key)
		}
	}
	return keys
}

// earlier is the earlier of two times, of which b may be unknown (zero).
func earlier(a, b time.Time) time.Time {
	if !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
