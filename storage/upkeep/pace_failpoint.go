//go:build failpoint

package upkeep

import "time"

// OrphanAge of tests in which a broker lives for seconds is still above
// delta.MaxUploadAge, which is of seconds there too.
const OrphanAge = 8 * time.Second
