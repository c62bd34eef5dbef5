package delta

import (
	"context"
	"errors"
	"time"
)

// upkeep is a committer's checkpoints, the clean-up of the log behind them, and
// the deletion of files that have left the table: in the background, one run at a
// time. Owned by the committer's run but for the goroutine that does the work,
// which answers on finished.
type upkeep struct {
	running   bool
	attempted int64 // the version of the last run that began with a checkpoint to write
	cleaned   int64 // the version up to which an idle table's log is known to be cleaned up
	finished  chan upkeepResult
}

type upkeepResult struct {
	version    int64
	checkpoint bool
	idle       bool // all entries were older than the history of the log
	// vacuumed are tombstones whose files are gone.
	vacuumed []*Remove
	removed  int // log objects
	err      error
}

const (
	// A checkpoint holds every live file and tombstone, so that the next one comes after
	// checkpointEvery versions (pace.go), and later in large tables: its cost stays a share of that of the commits. 300 actions take less than
	// a millisecond and 12 kB a version. With fewer, a table of 20 versions a second, which
	// names 72,000 removed files, would leave each reader a thousand entries to read.
	actionsPerVersion  = 300
	checkpointDeadline = 5 * time.Minute

	// quietAfter is how long a table must not have been written to before it gets a
	// checkpoint early, and quietTail how many entries must lie behind the last one:
	// whoever opens the table reads them all.
	quietAfter = 5 * time.Minute
	quietTail  = 20
	// worthCleaning is how many entries an idle table's log must hold before it is
	// cleaned up: below it the requests cost more than the entries.
	worthCleaning = 100
	// idleMargin is how far the clock that stamps entries may be ahead of the store's,
	// by which they are cleaned up; beside it the slack of Cleanup must be over.
	idleMargin = 10 * time.Minute
)

// errNotWorth ends a cleanup that would remove too little.
var errNotWorth = errors.New("too few log entries to clean up")

// Tend has the committer look for upkeep that is due by time and not by commits: files
// that left the table longer ago than promised, a checkpoint before a long tail of a
// table that has gone quiet, entries of an idle table's log that are beyond its
// history. It makes no request to the store if there is nothing to do.
func (c *Committer[T]) Tend() {
	select {
	case c.tend <- struct{}{}:
	default:
	}
}

// Rest waits until no upkeep is under way, or until ctx or the committer ends.
func (c *Committer[T]) Rest(ctx context.Context) error {
	for {
		busy := false
		err := c.ProposeNow(ctx, func(*Snapshot) (*Entry, error) { // on run's goroutine
			busy = c.upkeep.running || len(c.tend) > 0
			return nil, nil
		})
		if err != nil || !busy {
			return err
		}
		sleep(ctx, restPause)
	}
}

// restPause is the time between two looks of Rest.
const restPause = 100 * time.Millisecond

// maintainLate starts the upkeep of a table that is not written to.
func (c *Committer[T]) maintainLate() {
	u, s := &c.upkeep, c.snap
	if u.running {
		return
	}
	now := time.Now()
	expired := len(s.Expired(now))
	switch {
	case c.quietTail(now), c.idleLog(now):
		c.startUpkeep(true)
	case expired > 0:
		// With the last tombstones gone a checkpoint is worth it: until then whoever
		// opens the table finds them in the log, and would look for their files.
		c.startUpkeep(expired == len(s.Tombstones) && s.Checkpoint < s.Version)
	}
}

// quietTail reports whether a table that has gone quiet needs a checkpoint.
func (c *Committer[T]) quietTail(now time.Time) bool {
	s := c.snap
	return s.Version-max(s.Checkpoint, c.upkeep.attempted, 0) >= quietTail && c.idleFor(now) >= quietAfter
}

// idleLog reports whether the log of an idle table may hold many entries beyond its
// history. What it holds is known by a LIST only, so that the first look after the
// table is opened may be for nothing; then it takes new entries to make another.
func (c *Committer[T]) idleLog(now time.Time) bool {
	s := c.snap
	history := max(s.Metadata.LogRetention(), c.log.Window())
	return s.Version-c.upkeep.cleaned >= worthCleaning && c.idleFor(now) >= history+2*history/cleanupSlack+idleMargin
}

// idleFor is how long ago the newest entry was made. It is short if that is not known.
func (c *Committer[T]) idleFor(now time.Time) time.Duration {
	if c.snap.Timestamp == 0 {
		return 0
	}
	return now.Sub(time.UnixMilli(c.snap.Timestamp))
}

// maintain starts a checkpoint and a clean-up of the log if they are due.
func (c *Committer[T]) maintain() {
	u, s := &c.upkeep, c.snap
	every := max(checkpointEvery, int64(len(s.Files)+len(s.Tombstones)+len(s.Txns))/actionsPerVersion)
	if !u.running && s.Version-max(s.Checkpoint, u.attempted) >= every {
		c.startUpkeep(true)
	}
}

// startUpkeep starts a vacuum, and a checkpoint and a clean-up after it.
func (c *Committer[T]) startUpkeep(checkpoint bool) {
	u, s := &c.upkeep, c.snap
	u.running = true
	if checkpoint {
		u.attempted = s.Version
	}
	clone := s.Clone()
	r := upkeepResult{version: s.Version, checkpoint: checkpoint, idle: checkpoint && c.idleLog(time.Now())}
	var beside func(context.Context) error
	if checkpoint && c.hooks.Beside != nil {
		beside = c.hooks.Beside(s)
	}
	go func() {
		ctx, cancel := context.WithTimeout(c.ctx, checkpointDeadline)
		defer cancel()
		if r.idle { // the ages of its entries count from now, not from the last one's
			var newest *Snapshot
			if newest, r.err = c.Current(ctx); r.err == nil {
				clone.Proved = newest.Proved
			}
		}
		if r.err == nil {
			r.vacuumed, r.err = c.vacuum(ctx, clone)
		}
		if r.err == nil && checkpoint {
			r.removed, r.err = c.checkpoint(ctx, clone, beside, r.idle)
		}
		if r.err != nil && ctx.Err() == nil {
			c.options.Log.Warn("upkeep is put off", "table", c.log.Table(), "version", clone.Version, "err", r.err)
		}
		u.finished <- r
	}()
}

// checkpoint writes the checkpoint of s and cleans up the log behind it, in an idle
// table only if that is worth it: there, what is added again stays the only entry
// behind the checkpoint, and would otherwise be due for the next cleanup.
func (c *Committer[T]) checkpoint(ctx context.Context, s *Snapshot, beside func(context.Context) error, idle bool) (removed int, err error) {
	if beside != nil {
		if err := beside(ctx); err != nil {
			return 0, err
		}
	}
	// The vacuum has dropped what is over by both clocks. By the earlier one no
	// tombstone leaves a checkpoint while its file is still there.
	if err := c.log.WriteCheckpoint(ctx, s, earlier(time.Now(), s.Proved)); err != nil {
		return 0, err
	}
	removed, err = c.log.Cleanup(ctx, s, s.Version, func(ctx context.Context, base int64, objects int) error {
		if idle && objects < worthCleaning {
			return errNotWorth
		}
		return c.readd(ctx, base)
	})
	if errors.Is(err, errNotWorth) {
		return 0, nil
	}
	if removed > 0 {
		c.options.Log.Info("log entries cleaned up", "table", c.log.Table(), "removed", removed)
	}
	return removed, err
}

// done takes up the end of a run.
func (u *upkeep) done(r upkeepResult, snap *Snapshot) {
	u.running = false
	for _, gone := range r.vacuumed {
		if name := FileName(gone.Path); snap.Tombstones[name] == gone {
			delete(snap.Tombstones, name)
		}
	}
	if r.err != nil || !r.checkpoint {
		return
	}
	snap.Checkpoint = max(snap.Checkpoint, r.version)
	if r.idle && r.removed < cleanupKeys { // else there may be more
		u.cleaned = max(u.cleaned, r.version)
	}
}
