//go:build !failpoint

package keyed

import "time"

// How often upkeep comes. Tests that end the broker at chosen points of it
// (package failpoint) have a pace of their own.
const (
	// rewriteFiles is how many data files the table may have before it is rewritten
	// into one, and a few more where it has many rows.
	rewriteFiles = 64
	// historyRetention is how long the entries of a new table's log are kept, and
	// deletedRetention how long files that have left it.
	historyRetention = "interval 1 days"
	deletedRetention = "interval 1 hours"
	// sweepLook is how often the table looks whether a sweep is due.
	sweepLook = 5 * time.Minute
)
