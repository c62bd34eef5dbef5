//go:build failpoint

package admin

import "time"

// orphanAge of tests in which a broker lives for seconds: above delta.MaxUploadAge there.
const orphanAge = 7 * time.Second
