package storage

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sluice/storage/delta"
	"sluice/storage/object"
	"sluice/storage/upkeep"
)

// The round looks after the topics that nobody has used since this broker's start, one at
// a time and slowly: their records, files and log entries become old too, and their
// leader may have been killed. A look reads the table and leads nothing. Only if
// something has been due for an hour, which the topic's leader would have done if it had one,
// the topic is opened, kept, and closed again.
//
// What it costs: a look takes some six requests (the hint, a LIST of the log and one of
// old files, a checkpoint or the entries instead), of each topic within some seven hours of
// the broker's start, and then when something of it will be due, at most once in six hours
// and at least once in a week. 10,000 idle topics are 60,000 requests after a start
// (20,000 LISTs at $5 a million and 40,000 GETs at $0.4: 12 cents), and 9,000 a day
// then: 2 cents. The rate is bounded by lookPause, whatever comes.

const (
	lookPause     = time.Second
	roundDeadline = 5 * time.Minute
	lookAgainMin  = upkeep.SweepSpread
	lookAgainMax  = 7 * 24 * time.Hour
	// settleDeadline bounds the wait for files that are being made in the background, and
	// settlePause is the time between two looks at that.
	settleDeadline = time.Minute
	settlePause    = 100 * time.Millisecond
	// overdue is how long something must have been due before a topic is opened for
	// it, and how long the table must not have been written to. Whoever leads it looks after
	// it every few minutes, and must not lose it for this.
	overdue = time.Hour
	// deletedFor is how long the round looks at a deleted topic.
	deletedFor = 30 * 24 * time.Hour
	// worthOpening is how many old entries of a log are worth a take-over.
	worthOpening = 200
)

// looks is when the round will look at each topic again. Owned by Topics.round.
type looks map[string]time.Time

// round looks at topics until Close.
func (ts *Topics) round() {
	next := looks{}
	ticker := time.NewTicker(retainEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ts.ctx.Done():
			return
		case <-ticker.C:
		}
		for _, row := range ts.roundDue(next) {
			at, err := ts.look(row)
			if err != nil {
				at = time.Now().Add(lookAgainMin)
				if ts.ctx.Err() == nil {
					ts.env.log.Warn("upkeep of an idle topic is put off", "topic", row.Name, "err", err)
				}
			}
			next[row.Name] = at
			select {
			case <-time.After(lookPause):
			case <-ts.ctx.Done():
				return
			}
		}
	}
}

// roundDue are the topics whose turn it is, as many as there is time for until the next
// tick.
func (ts *Topics) roundDue(next looks) (due []catalogueRow) {
	now := time.Now()
	var rows []catalogueRow
	ts.catalogue.Each(func(_ string, row *catalogueRow) { rows = append(rows, *row) })
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for _, row := range rows {
		at, ok := next[row.Name]
		if !ok {
			at = now.Add(overdue + upkeep.Spread(row.Name))
			next[row.Name] = at
		}
		old := row.State == stateDeleted && now.Sub(time.UnixMicro(row.Changed)) > deletedFor
		if ts.open[row.Name] != nil || old || now.Before(at) {
			continue
		}
		if due = append(due, row); len(due) == int(retainEvery/lookPause)/2 {
			break
		}
	}
	return due
}

// look reads the table of a topic that is not open and answers when to look again.
func (ts *Topics) look(row catalogueRow) (again time.Time, err error) {
	ctx, cancel := context.WithTimeout(ts.ctx, roundDeadline)
	defer cancel()
	log := ts.env.newLog(row.Name)
	snap, err := log.Open(ctx, nil)
	if errors.Is(err, delta.ErrNoTable) {
		return time.Now().Add(lookAgainMax), nil
	}
	if errors.Is(err, delta.ErrIncomplete) && row.State == stateDeleted {
		_, err = ts.restartIfDeleted(ctx, row.Name)
		return time.Now().Add(lookAgainMin), err
	}
	if err != nil {
		return again, err
	}
	defer snap.Release()
	properties, err := parseProperties(snap.Metadata.Configuration)
	if err != nil {
		return again, err
	}
	if properties.deleted {
		return ts.clearDeleted(ctx, log, snap)
	}
	if row.State == stateDeleted {
		// Whoever made it anew was stopped between the table and the catalogue.
		ts.amend(row.Name)
		return time.Now().Add(lookAgainMin), nil
	}
	if snap.Protocol.CanWrite(writerFeatures...) != nil {
		return time.Now().Add(lookAgainMax), nil
	}
	due, again, err := ts.due(ctx, log, snap, properties)
	if err != nil || !due {
		return again, err
	}
	// What that has left (files that it replaced, or uploaded in vain) is for later looks.
	return time.Now().Add(lookAgainMin), ts.keep(ctx, row.Name)
}

// due reports whether a table needs upkeep that nobody has done, and when to look again.
func (ts *Topics) due(ctx context.Context, log *delta.Log, snap *delta.Snapshot, properties properties) (due bool, again time.Time, err error) {
	now := time.Now()
	again = now.Add(lookAgainMax)
	idle := now.Sub(time.UnixMilli(snap.Timestamp))
	if idle < overdue {
		return false, now.Add(lookAgainMin), nil
	}
	page, err := upkeep.ListOld(ctx, ts.env.store, log.Table(), "", 1, upkeep.OrphanAge)
	if err != nil {
		return false, again, err
	}
	// The topic as it would be if it were opened, but for its lead and its producers.
	t := &Topic{
		env: ts.env, log: log, id: snap.Metadata.ID, name: log.Table(), defaults: ts.defaults,
		index: newIndex(properties.partitions), resolving: make(chan struct{}, 1),
	}
	if err := t.configure(&snap.Metadata); err != nil {
		return false, again, err
	}
	soonest := now.Add(lookAgainMax)
	sooner := func(ms int64, after time.Duration) {
		if at := time.UnixMilli(ms).Add(after); at.Before(soonest) {
			soonest = at
		}
	}
	s := t.settings.Load()
	if err := t.loadFiles(ctx, snap, nil); err != nil {
		return false, again, err
	}
	for _, f := range t.index.files {
		if s.Delete && s.RetentionMs >= 0 {
			sooner(f.newest(), time.Duration(min(s.RetentionMs, lookAgainMax.Milliseconds()*100))*time.Millisecond)
		}
	}
	for _, r := range snap.Tombstones {
		sooner(r.DeletionTimestamp, snap.Metadata.DeletedFileRetention())
	}
	// What was uploaded with the last entries, or instead of further ones, is an orphan by then.
	if old := upkeep.OrphanAge + 2*overdue; idle < old {
		sooner(snap.Timestamp, old)
	}
	var dirt dirt
	if s.Compact {
		dirt = t.dirt(now.Add(-overdue).UnixMilli())
		if dirt.horizon > 0 {
			sooner(min(dirt.horizon, soonest.UnixMilli()), 0)
		}
		if len(dirt.dirty) > 0 {
			sooner(dirt.oldest, time.Duration(min(s.MaxCompactionLagMs, lookAgainMax.Milliseconds()*100))*time.Millisecond)
		}
	}
	starts := t.retained(now.Add(-overdue))
	history := max(snap.Metadata.LogRetention(), log.Window())
	switch {
	case s.Compact && dirt.due(s, now.Add(-overdue).UnixMilli()):
		due = true
	case len(starts) > 0 || len(t.invisible(starts)) > 0, len(snap.Expired(now.Add(-overdue))) > 0:
		due = true
	case len(upkeep.Unnamed(log, snap, page.Files)) > 0: // a first guess; who leads looks again
		due = true
	case idle > history+overdue && snap.Version >= worthOpening:
		h, err := log.History(ctx)
		if err != nil {
			return false, again, err
		}
		due = snap.Version-h.FirstEntry >= worthOpening
	case idle <= history+overdue && snap.Version >= worthOpening:
		sooner(snap.Timestamp, history+2*overdue)
	}
	soonest = soonest.Add(2 * overdue)
	return due, now.Add(min(max(soonest.Sub(now), lookAgainMin), lookAgainMax)), nil
}

// keep opens a topic, does what is due, and closes it again if nobody has come to use it.
func (ts *Topics) keep(ctx context.Context, name string) error {
	t, err := ts.Topic(ctx, name)
	if err != nil {
		return err
	}
	given := t.given()
	err = t.retain(ctx, time.Now())
	for more := true; more && err == nil; {
		more, err = t.clean(ctx)
	}
	if err == nil {
		err = t.deleteOrphans(ctx)
	}
	if err == nil {
		t.committer.Tend()
		err = t.committer.Rest(ctx)
	}
	t.settle(ctx)
	if t.given() == given && !t.awaited() {
		// Who comes this very moment is told that we do not lead it, and comes again.
		if closed := t.close(ctx); err == nil {
			err = closed
		}
	}
	return err
}

// settle waits until no files are made of the topic's in the background, settleDeadline at
// most: who closes it meanwhile leaves them behind, which are orphans, for which the round
// would open the topic again the next day, and leave others.
func (t *Topic) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, settleDeadline)
	defer cancel()
	for t.making() {
		select {
		case <-time.After(settlePause):
		case <-ctx.Done():
			return
		case <-t.committer.Done():
			return
		}
	}
}

// making reports whether rows of other writers are being adopted, or files merged.
func (t *Topic) making() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.reviewing || len(t.merging) > 0
}

// given is how many offsets have been given out in all partitions.
func (t *Topic) given() (n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.partitions {
		n += p.next
	}
	return n
}

// awaited reports whether somebody waits for the topic's next version.
func (t *Topic) awaited() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.listeners) > 0
}

// clearDeleted removes what a deleted topic has left: data files, since its broker
// died before it deleted them, and the log behind the last checkpoint and entry.
// Those two stay for ever, so that nothing late can begin the log anew.
//
// Nobody leads a deleted topic. What is in its folder from before the moment at
// which the deletion was the newest entry belongs to incarnations that are over: one to
// come uploads its files after that. Whoever led one of those meets the deletion first.
//
// The txn actions of an incarnation (a next offset and a log start for each partition)
// stay in every snapshot of the log: Delta has no action that removes one, and the
// property that lets them expire (delta.setTransactionRetentionDuration) would take those of
// the living too. They are bounded by the topic's re-creations times its partitions,
// some 100 bytes each in a checkpoint.
func (ts *Topics) clearDeleted(ctx context.Context, log *delta.Log, snap *delta.Snapshot) (again time.Time, err error) {
	margin := log.Window()
	if snap.Proved.IsZero() {
		return time.Now().Add(lookAgainMax), nil // a store without a clock
	}
	young := false
	var keys []string
	_, err = object.All(ctx, ts.env.store, object.ListRequest{Prefix: log.Table() + "/data/"}, func(info object.Info) error {
		switch {
		case !info.Modified.Before(snap.Proved.Add(-margin)):
			young = true
		case len(keys) < maxExpired:
			keys = append(keys, info.Key)
		default:
			young = true // the next time
		}
		return nil
	})
	if err == nil && len(keys) > 0 {
		if _, err = ts.env.store.Delete(ctx, keys...); err == nil {
			ts.env.log.Info("files of a deleted topic removed", "topic", log.Table(), "files", len(keys))
		}
	}
	if err != nil {
		return again, storeError(err)
	}
	history := max(snap.Metadata.LogRetention(), log.Window())
	over := time.UnixMilli(snap.Timestamp).Add(history + overdue)
	if wait := time.Until(over); wait > 0 || young {
		return time.Now().Add(max(wait, lookAgainMin)), nil
	}
	h, err := log.History(ctx)
	if err == nil && h.FirstEntry < h.Newest && h.Newest == snap.Version {
		// No producer of it will come again; the state goes with the checkpoint, so that who
		// makes the topic anew need not look for the entries before it.
		err = writeState(ctx, ts.env.store, log.Table(), stateSnapshot{Version: snap.Version, note: note{Table: snap.Metadata.ID}})
		if err == nil {
			err = log.WriteCheckpoint(ctx, snap, snap.Proved)
		}
		if err == nil {
			_, err = log.Cleanup(ctx, snap, snap.Version, nil) // no live files to add again
		}
	}
	if err != nil {
		return again, fmt.Errorf("the log of a deleted topic: %w", storeError(err))
	}
	return time.Now().Add(lookAgainMax), nil
}
