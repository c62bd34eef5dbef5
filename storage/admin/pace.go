//go:build !failpoint

package admin

import "time"

// orphanAge is how old a file that no version names is before it is an orphan: far above
// delta.MaxUploadAge, after which no writer of ours names it any more. A broker that sweeps by
// itself waits longer (upkeep.OrphanAge), as it puts no entry for it. Tests that end the
// broker at chosen points (package failpoint) have a pace of their own.
const orphanAge = time.Hour
