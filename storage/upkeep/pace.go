//go:build !failpoint

package upkeep

import "time"

// OrphanAge is how old a file must be, by the store's clock. Ten minutes bound what
// is still to be committed; the rest is for clocks, and for people who look. Tests that
// end the broker at chosen points (package failpoint) have a pace of their own.
const OrphanAge = 24 * time.Hour
