//go:build failpoint

package upkeep

import "time"

// The pace of tests in which a broker lives for seconds.
const (
	// OrphanAge is still above delta.MaxUploadAge, which is of seconds there too.
	OrphanAge   = 8 * time.Second
	SweepSpread = time.Second
	sweepMargin = time.Second
)
