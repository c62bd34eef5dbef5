//go:build !failpoint

package upkeep

import "time"

// How often upkeep comes. Tests that end the broker at chosen points of it (package
// failpoint) have a pace of their own.
const (
	// OrphanAge is how old a file must be, by the store's clock. Ten minutes bound what
	// is still to be committed; the rest is for clocks, and for people who look.
	OrphanAge = 24 * time.Hour
	// SweepSpread is the time over which the first looks at all tables for orphans are
	// spread, and sweepMargin how long after a sweep what was young then is surely old.
	SweepSpread = 6 * time.Hour
	sweepMargin = time.Hour
)
