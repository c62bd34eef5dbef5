//go:build !failpoint

package delta

import "time"

// How often upkeep comes. Tests that end the broker at chosen points of it
// (package failpoint) have a pace of their own.
const (
	// DefaultWindow is W of the rule of cleaned entries (README.md): far above
	// the pause of a process that then goes on, far below any log retention.
	DefaultWindow = 15 * time.Minute
	// MaxUploadAge is how long after its upload a data file may still be named by a new
	// entry. What is much older and in no entry is an orphan, and may be deleted.
	MaxUploadAge = 10 * time.Minute
	// checkpointEvery is the least number of versions between two checkpoints.
	checkpointEvery = 100
)
