//go:build failpoint

package delta

import "time"

// The pace of tests in which a broker lives for seconds. The window is still above the
// time for which a put can be under way.
const (
	DefaultWindow   = 20 * time.Second
	MaxUploadAge    = 5 * time.Second
	checkpointEvery = 10
)
