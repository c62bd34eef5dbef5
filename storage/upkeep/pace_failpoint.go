//go:build failpoint

package upkeep

import "time"

// The pace of tests in which a broker lives for seconds.
const (
	// OrphanAge is still above delta.MaxUploadAge, which is of seconds there too, and the time that
	// a rewriting takes between its first upload and its proposal, on a machine that is busy with
	// other things.
	OrphanAge   = 20 * time.Second
	SweepSpread = time.Second
	sweepMargin = time.Second
)
