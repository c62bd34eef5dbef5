package storage

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"time"

	"sluice/storage/upkeep"
)

// The sweep of an open topic deletes its orphans (upkeep/orphans.go says what they
// are, and why deleting them is safe). It costs a LIST a day for a topic that is
// written to, for each 1,000 files of days before; and two for one that is not,
// the second a day after the first, for what was young then: afterwards nothing can
// have come, and it makes no request.

const (
	// sweepEvery is the least time between two sweeps of a topic.
	sweepEvery = upkeep.OrphanAge + sweepMargin
	// sweepRequests bounds the LISTs of one step; the next step goes on from there.
	sweepRequests = 10
)

// sweep is where the sweeps of a topic are. Owned by Topics.tend.
type sweep struct {
	next    time.Time
	after   string // the key from which to go on, "" between two sweeps
	version int64  // the topic's when the last one began
	again   bool   // what was young then is to be looked at once more
}

// spread is a time below sweepSpread, by name.
func spread(name string) time.Duration {
	h := sha256.Sum256([]byte(name)) // any hash would do that spreads short names well
	return time.Duration(uint64(binary.BigEndian.Uint32(h[:])) * uint64(sweepSpread/time.Second) >> 32 * uint64(time.Second))
}

// sweepOrphans makes a step of a sweep if one is due.
func (t *Topic) sweepOrphans(ctx context.Context, now time.Time) error {
	s := &t.sweep
	if s.next.IsZero() {
		s.next, s.version = now.Add(spread(t.name)), -1
	}
	if now.Before(s.next) {
		return nil
	}
	if s.after == "" {
		version := t.Version()
		if version == s.version && !s.again {
			return nil
		}
		s.version, s.again = version, version != s.version
	}
	page, err := upkeep.ListOld(ctx, t.env.store, t.name, s.after, sweepRequests, upkeep.OrphanAge)
	if err != nil {
		return err
	}
	if err := t.deleteOrphans(ctx, page); err != nil {
		return err
	}
	if s.after = page.Next; s.after == "" {
		s.next = now.Add(sweepEvery)
	}
	return nil
}

func (t *Topic) deleteOrphans(ctx context.Context, page upkeep.Page) error {
	if len(page.Files) == 0 {
		return nil
	}
	// The snapshot from before the listing would lack what another leader has done since.
	// Current proves that there is none, or ends us.
	snap, err := t.committer.Current(ctx)
	if err != nil {
		return storeError(err)
	}
	keys := upkeep.Unnamed(t.log, snap, page.Files)
	if len(keys) == 0 {
		return nil
	}
	if _, err := t.env.store.Delete(ctx, keys...); err != nil {
		return storeError(err)
	}
	t.env.log.Info("orphans deleted", "topic", t.name, "files", len(keys))
	return nil
}
