package keyed

import (
	"time"

	"sluice/storage/upkeep"
)

// sweep deletes the table's orphans (package upkeep) while it is led here, until Close.
func (t *Table[K, R]) sweep() {
	ticker := time.NewTicker(sweepLook)
	defer ticker.Stop()
	var sweep upkeep.Sweep
	for {
		select {
		case <-t.ctx.Done():
			return
		case now := <-ticker.C:
			t.sweepOnce(&sweep, now)
		}
	}
}

// sweepOnce makes a step of the sweep if one is due.
func (t *Table[K, R]) sweepOnce(sweep *upkeep.Sweep, now time.Time) {
	t.mu.Lock()
	l, led := t.lead, t.lost.IsZero()
	t.mu.Unlock()
	if !led {
		return
	}
	deleted, err := sweep.Step(t.ctx, upkeep.Led{Store: t.store, Log: l.log, Version: t.Version, Current: l.committer.Current}, now)
	if deleted > 0 {
		t.options.Log.Info("orphans deleted", "table", t.path, "files", deleted)
	}
	if err != nil && t.ctx.Err() == nil {
		t.options.Log.Warn("the sweep of orphans is put off", "table", t.path, "err", err)
	}
}
