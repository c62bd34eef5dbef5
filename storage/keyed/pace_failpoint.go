//go:build failpoint

package keyed

// The pace of tests in which a broker lives for seconds.
const (
	rewriteFiles     = 8
	historyRetention = "interval 1 seconds"
	deletedRetention = "interval 1 seconds"
)
