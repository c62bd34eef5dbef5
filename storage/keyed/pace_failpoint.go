//go:build failpoint

package keyed

import "time"

// The pace of tests in which a broker lives for seconds.
const (
	rewriteFiles     = 8
	historyRetention = "interval 1 seconds"
	deletedRetention = "interval 1 seconds"
	sweepLook        = time.Second
)
