package storage

import (
	"context"
	"fmt"
	"slices"
	"time"

	"sluice/storage/delta"
	"sluice/storage/rows"
)

// Retention: by retention.ms and retention.bytes the log start offsets move up,
// file by file as Kafka's do segment by segment, and files of which nothing is
// visible any more leave the table (unless sluice.table.retention=forever). One
// commit does both, so that SQL never lacks a row that consumers still get.

const (
	// retainDeadline bounds the retention of one topic.
	retainDeadline = time.Minute
	// maxExpired bounds the files that one entry removes.
	maxExpired = 10_000
)

// tend looks after the open topics until Close. It makes no request for a topic
// that needs nothing.
func (ts *Topics) tend() {
	ticker := time.NewTicker(retainEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ts.ctx.Done():
			return
		case now := <-ticker.C:
			for _, t := range ts.openTopics() {
				t.tend(ts.ctx, now)
			}
		}
	}
}

// openTopics are the topics that are open and sound.
func (ts *Topics) openTopics() (all []*Topic) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for name := range ts.open {
		if t := ts.opened(name); t != nil {
			all = append(all, t)
		}
	}
	return all
}

func (t *Topic) tend(ctx context.Context, now time.Time) {
	ctx, cancel := context.WithTimeout(ctx, retainDeadline)
	defer cancel()
	if t.yields() {
		return // the next time
	}
	if err := t.retain(ctx, now); err != nil && ctx.Err() == nil && t.reason() == nil {
		t.env.log.Warn("retention is put off", "topic", t.name, "err", err)
	}
	if err := t.sweepOrphans(ctx, now); err != nil && ctx.Err() == nil && t.reason() == nil {
		t.env.log.Warn("the sweep of orphans is put off", "topic", t.name, "err", err)
	}
	t.mu.Lock()
	t.compactAfter(0) // what failed, or waited for another writer
	t.mu.Unlock()
	t.committer.Tend()
}

// retain commits what retention asks for at the time now, if it does.
func (t *Topic) retain(ctx context.Context, now time.Time) error {
	t.mu.Lock()
	starts := t.retained(now)
	expired := t.invisible(starts)
	t.mu.Unlock()
	if len(starts) == 0 && len(expired) == 0 {
		return nil
	}
	removed, moved := 0, 0
	err := t.propose(ctx, func(snap *delta.Snapshot) (*delta.Entry, error) {
		e := &delta.Entry{Info: &delta.CommitInfo{Operation: "DELETE", OperationParameters: map[string]string{"reason": "retention"}}}
		ms := time.Now().UnixMilli()
		for n, start := range starts {
			if app := logStartApp(t.id, n); snap.Txns[app].Version < start {
				e.Txns = append(e.Txns, delta.Txn{AppID: app, Version: start, LastUpdated: ms})
			}
		}
		for _, f := range expired {
			if snap.Files[f.name] == nil {
				continue // compacted meanwhile: the next time
			}
			if snap.Metadata.Configuration[propertyAppendOnly] == "true" {
				break // an engine has said so: the rows stay, as with sluice.table.retention=forever
			}
			e.Removes = append(e.Removes, delta.Remove{
				Path: f.path, DeletionTimestamp: ms, DataChange: true, ExtendedFileMetadata: true,
				PartitionValues: map[string]string{}, Size: f.size,
			})
		}
		if removed, moved = len(e.Removes), len(e.Txns); removed+moved == 0 {
			return nil, nil
		}
		return e, nil
	})
	if err != nil {
		return fmt.Errorf("retention: %w", err)
	}
	if removed+moved > 0 {
		t.env.log.Info("retention", "topic", t.name, "partitions", moved, "files_removed", removed)
	}
	return nil
}

// retained are the new log start offsets of the partitions whose oldest files have
// outlived retention.ms or are beyond retention.bytes; t.mu is held.
func (t *Topic) retained(now time.Time) map[int32]int64 {
	s := t.settings.Load()
	starts := map[int32]int64{}
	if !s.Delete || len(t.index.unresolved) > 0 || s.RetentionMs < 0 && s.RetentionBytes < 0 {
		return starts
	}
	cutoff := now.UnixMilli() - s.RetentionMs
	for i, p := range t.partitions {
		n := int32(i)
		excess := int64(-1)
		if s.RetentionBytes >= 0 {
			excess = t.index.bytes(n) - s.RetentionBytes
		}
		start := p.logStart
		for _, e := range t.index.partitions[n] {
			if e.last < p.logStart {
				continue
			}
			// As in Kafka, no more goes for its size than leaves at least retention.bytes.
			size := e.bytes()
			if !(s.RetentionMs >= 0 && e.file.newest() < cutoff) && excess < size {
				break
			}
			excess -= size
			start = max(start, e.last+1)
		}
		if start = min(start, p.high); start > p.logStart {
			starts[n] = start
		}
	}
	return starts
}

// newest is the greatest timestamp of the file, or when it was written if its
// records have none, in ms.
func (f *file) newest() int64 {
	if f.span.MaxTimestamp >= 0 {
		return f.span.MaxTimestamp
	}
	return f.modified
}

// invisible are the files of which nothing is at or behind the log start offsets,
// once those of starts are in force; t.mu is held.
func (t *Topic) invisible(starts map[int32]int64) (files []*file) {
	if t.settings.Load().KeepTable || len(t.index.unresolved) > 0 {
		return nil
	}
	start := func(n int32) int64 {
		if n < 0 || int(n) >= len(t.partitions) {
			return 0 // not a partition of this topic: leave the file alone
		}
		return max(t.partitions[n].logStart, starts[n])
	}
	visible := func(r rows.Range) bool { return r.Last >= start(r.Partition) }
	for _, f := range t.index.files {
		if len(files) == maxExpired {
			break // the rest the next time
		}
		if len(f.ranges) > 0 && t.index.inserts[f.name] == nil && !slices.ContainsFunc(f.ranges, visible) {
			files = append(files, f)
		}
	}
	return files
}
