package storage

import (
	"context"
	"time"

	"sluice/storage/upkeep"
)

// led is the topic's table as package upkeep sweeps it.
func (t *Topic) led() upkeep.Led {
	return upkeep.Led{Store: t.env.store, Log: t.log, Version: t.Version, Current: t.committer.Current}
}

// sweepOrphans makes a step of the topic's sweep if one is due. Called by Topics.tend.
func (t *Topic) sweepOrphans(ctx context.Context, now time.Time) error {
	deleted, err := t.sweep.Step(ctx, t.led(), now)
	t.swept(deleted)
	return storeError(err)
}

// deleteOrphans deletes all orphans that there are.
func (t *Topic) deleteOrphans(ctx context.Context) error {
	for after := ""; ; {
		deleted, next, err := upkeep.DeleteOrphans(ctx, t.led(), after)
		t.swept(deleted)
		if after = next; err != nil || after == "" {
			return storeError(err)
		}
	}
}

func (t *Topic) swept(files int) {
	if files > 0 {
		t.env.log.Info("orphans deleted", "topic", t.name, "files", files)
	}
}
