package storage

import (
	"fmt"
	"time"
)

// Yielding: `sluice table yield` leaves a topic's table to another writer for a while
// (sluice.table.yield.until.ms), since an engine's DELETE or MERGE loses to every append that is
// committed while it runs. Produced batches are accepted within the bounds of what may be pending and
// wait; compaction and retention do, too. It stands in the table, so that a broker that takes the topic
// over keeps to it.

const configYieldUntil = "sluice.table.yield.until.ms"

// MaxYield is how far ahead sluice.table.yield.until.ms may lie: producers give up
// after two minutes by default (delivery.timeout.ms), and a forgotten one must end.
const MaxYield = 10 * time.Minute

// held is until when the committer puts no entry. A time farther ahead than may be set
// was written by another clock, or this one has been set back: it does not count.
func (t *Topic) held() time.Time {
	until := time.UnixMilli(t.settings.Load().YieldUntilMs)
	if time.Until(until) > MaxYield {
		return time.Time{}
	}
	return until
}

// yields reports whether the table is left to another writer now.
func (t *Topic) yields() bool { return time.Now().Before(t.held()) }

// checkYield refuses to yield for longer than MaxYield.
func checkYield(s Settings, now time.Time) error {
	if d := time.UnixMilli(s.YieldUntilMs).Sub(now); d > MaxYield {
		return fmt.Errorf("%w: sluice.table.yield.until.ms is %s ahead by the broker's clock, at most %s is allowed",
			ErrInvalidConfig, d.Round(time.Second), MaxYield)
	}
	return nil
}
