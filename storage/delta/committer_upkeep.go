package delta

import (
	"context"
	"time"
)

// upkeep is a committer's checkpoints and the clean-up of the log behind them:
// in the background, one at a time. Owned by run but for the goroutine that does
// the work, which answers on finished.
type upkeep struct {
	running   bool
	attempted int64 // the version of the last attempt
	finished  chan upkeepResult
}

type upkeepResult struct {
	version int64
	// vacuumed are tombstones whose files are gone.
	vacuumed []*Remove
	err      error
}

const (
	// checkpointEvery is the least number of versions between two checkpoints.
	// A checkpoint holds every live file, so it comes later in large tables: its
	// cost stays a small share of that of the commits.
	checkpointEvery    = 100
	actionsPerVersion  = 50
	checkpointDeadline = 5 * time.Minute
)

// Tend has the committer look for upkeep that is due by time: files that left the
// table longer ago than promised. It makes no request to the store if there are none.
func (c *Committer[T]) Tend() {
	select {
	case c.tend <- struct{}{}:
	default:
	}
}

// maintainLate starts the upkeep of a table that is not written to, if it has
// files to delete.
func (c *Committer[T]) maintainLate() {
	if c.upkeep.running || c.upkeep.attempted == c.snap.Version {
		return
	}
	cutoff := time.Now().Add(-c.snap.Metadata.DeletedFileRetention()).UnixMilli()
	for _, r := range c.snap.Tombstones {
		if r.DeletionTimestamp < cutoff {
			c.startUpkeep()
			return
		}
	}
}

// maintain starts a checkpoint and a clean-up of the log if they are due.
func (c *Committer[T]) maintain() {
	u, s := &c.upkeep, c.snap
	every := max(checkpointEvery, int64(len(s.Files)+len(s.Tombstones)+len(s.Txns))/actionsPerVersion)
	if !u.running && s.Version-max(s.Checkpoint, u.attempted) >= every {
		c.startUpkeep()
	}
}

func (c *Committer[T]) startUpkeep() {
	u, s := &c.upkeep, c.snap
	u.running, u.attempted = true, s.Version
	clone := s.Clone()
	var beside func(context.Context) error
	if c.hooks.Beside != nil {
		beside = c.hooks.Beside(s)
	}
	now := s.Proved
	go func() {
		ctx, cancel := context.WithTimeout(c.ctx, checkpointDeadline)
		defer cancel()
		// By the clock that wrote the tombstones, which is one like ours.
		vacuumed, err := c.vacuum(ctx, clone, time.Now())
		if err == nil {
			err = c.checkpoint(ctx, clone, beside, now)
		}
		if err != nil && ctx.Err() == nil {
			c.options.Log.Warn("upkeep is put off", "table", c.log.Table(), "version", clone.Version, "err", err)
		}
		u.finished <- upkeepResult{clone.Version, vacuumed, err}
	}()
}

// vacuum deletes the files that left the table longer ago than its readers were
// promised, and drops their tombstones from s. Files before tombstones: should it be
// interrupted, the tombstones still tell the next time.
func (c *Committer[T]) vacuum(ctx context.Context, s *Snapshot, now time.Time) ([]*Remove, error) {
	expired := s.ExpireTombstones(now)
	keys := make([]string, 0, len(expired))
	for _, r := range expired {
		// A path outside the table (a shallow clone's) is not ours to delete.
		if key, err := c.log.DataKey(r.Path); err == nil {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return expired, nil
	}
	_, err := c.log.Store().Delete(ctx, keys...)
	if err != nil {
		return nil, err
	}
	return expired, nil
}

func (c *Committer[T]) checkpoint(ctx context.Context, s *Snapshot, beside func(context.Context) error, now time.Time) error {
	if beside != nil {
		if err := beside(ctx); err != nil {
			return err
		}
	}
	if err := c.log.WriteCheckpoint(ctx, s, now); err != nil {
		return err
	}
	removed, err := c.log.Cleanup(ctx, s, s.Version)
	if removed > 0 {
		c.options.Log.Info("log entries cleaned up", "table", c.log.Table(), "removed", removed)
	}
	return err
}

// done takes up the end of a checkpoint.
func (u *upkeep) done(r upkeepResult, snap *Snapshot) {
	u.running = false
	for _, gone := range r.vacuumed {
		if name := FileName(gone.Path); snap.Tombstones[name] == gone {
			delete(snap.Tombstones, name)
		}
	}
	if r.err == nil {
		snap.Checkpoint = max(snap.Checkpoint, r.version)
	}
}
