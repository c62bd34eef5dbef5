//go:build failpoint

package storage

import "time"

// The pace of tests in which a broker lives for seconds: each kind of upkeep comes
// within that time.
const (
	retainEvery        = time.Second
	cleanEvery         = 500 * time.Millisecond
	compactOpened      = 200 * time.Millisecond
	minHistoryMs       = 1000
	minHistoryVersions = 50
	minDeletedMs       = 1000
)
