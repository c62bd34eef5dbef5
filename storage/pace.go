//go:build !failpoint

package storage

import "time"

// How often upkeep comes. Tests that end the broker at chosen points of it
// (package failpoint) have a pace of their own.
const (
	// retainEvery is Kafka's log.retention.check.interval.ms.
	retainEvery = 5 * time.Minute
	// cleanEvery is Kafka's log.cleaner.backoff.ms.
	cleanEvery = 15 * time.Second
	// compactOpened is how long a topic that was just opened comes first: who opened it
	// waits for its records, and with it perhaps those of a thousand others.
	compactOpened = 10 * time.Second
	// minHistoryMs and minHistoryVersions are the least history of a table's log: well
	// above the window within which put-if-absent must see its predecessors.
	minHistoryMs       = hourMs
	minHistoryVersions = 1000
	// minDeletedMs is how long files that have left the table stay at least: readers in
	// the middle of a query need the files of the snapshot they began with.
	minDeletedMs = 10 * minuteMs
)
