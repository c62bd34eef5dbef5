package upkeep

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"time"

	"sluice/storage/delta"
	"sluice/storage/object"
)

// A sweep deletes the orphans of a table that is led here; orphans.go says what they
// are, and why deleting them is safe. It costs a LIST a day for a table that is
// written to, for each 1,000 files of days before; and two for one that is not,
// the second a day after the first, for what was young then: afterwards nothing can
// have come, and it makes no request.

const (
	// sweepEvery is the least time between two sweeps of a table.
	sweepEvery = OrphanAge + sweepMargin
	// sweepRequests bounds the LISTs of one step; the next step goes on from there.
	sweepRequests = 10
)

// Led is a table that is led here.
type Led struct {
	Store object.Store
	Log   *delta.Log
	// Version is the newest one known here.
	Version func() int64
	// Current is delta.Committer.Current.
	Current func(context.Context) (*delta.Snapshot, error)
}

// Sweep is where the sweeps of a table are. The zero value begins within SweepSpread. Not for
// concurrent use.
type Sweep struct {
	next    time.Time
	after   string // the key from which to go on, "" between two sweeps
	version int64  // the table's when the last one began
	again   bool   // what was young then is to be looked at once more
}

// SweepAt is a Sweep that begins at a time.
func SweepAt(at time.Time) Sweep { return Sweep{next: at, version: -1} }

// Step makes a step if one is due, and answers how many orphans it has deleted.
func (s *Sweep) Step(ctx context.Context, table Led, now time.Time) (deleted int, err error) {
	if s.next.IsZero() {
		*s = SweepAt(now.Add(Spread(table.Log.Table())))
	}
	if now.Before(s.next) {
		return 0, nil
	}
	if s.after == "" {
		version := table.Version()
		if version == s.version && !s.again {
			return 0, nil
		}
		s.version, s.again = version, version != s.version
	}
	deleted, next, err := DeleteOrphans(ctx, table, s.after)
	if err != nil {
		return deleted, err
	}
	if s.after = next; next == "" {
		s.next = now.Add(sweepEvery)
	}
	return deleted, nil
}

// DeleteOrphans deletes those among the next thousands of files from the key after on. next is
// where to go on, "" at the end.
func DeleteOrphans(ctx context.Context, table Led, after string) (deleted int, next string, err error) {
	page, err := ListOld(ctx, table.Store, table.Log.Table(), after, sweepRequests, OrphanAge)
	if err != nil || len(page.Files) == 0 {
		return 0, page.Next, err
	}
	// The snapshot from before the listing would lack what another leader has done since.
	// Current proves that there is none, or ends us.
	snap, err := table.Current(ctx)
	if err != nil {
		return 0, after, err
	}
	keys := Unnamed(table.Log, snap, page.Files)
	if len(keys) == 0 {
		return 0, page.Next, nil
	}
	if _, err := table.Store.Delete(ctx, keys...); err != nil {
		return 0, after, err
	}
	return len(keys), page.Next, nil
}

// Spread is a time below SweepSpread, by name.
func Spread(name string) time.Duration {
	h := sha256.Sum256([]byte(name)) // any hash would do that spreads short names well
	return time.Duration(uint64(binary.BigEndian.Uint32(h[:])) * uint64(SweepSpread/time.Second) >> 32 * uint64(time.Second))
}
