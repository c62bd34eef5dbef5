package delta

import "sync/atomic"

// Health is how a committer's table stands.
type Health struct {
	Version    int64 // the newest known
	Checkpoint int64 // the version of the newest checkpoint, -1 if none
	Tombstones int   // removed files that the table still names
}

// shown is the Health that others may read while run goes on. Each number is right,
// the three may be of different moments.
type shown struct{ version, checkpoint, tombstones atomic.Int64 }

// show brings what others see up to date; on run.
func (c *Committer[T]) show() {
	c.shown.version.Store(c.snap.Version)
	c.shown.checkpoint.Store(c.snap.Checkpoint)
	c.shown.tombstones.Store(int64(len(c.snap.Tombstones)))
}

// Health tells how the table stands. It never waits.
func (c *Committer[T]) Health() Health {
	return Health{
		Version:    c.shown.version.Load(),
		Checkpoint: c.shown.checkpoint.Load(),
		Tombstones: int(c.shown.tombstones.Load()),
	}
}
