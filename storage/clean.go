package storage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"sluice/storage/delta"
	"sluice/storage/rows"
	"sluice/storage/upkeep"
)

// Cleaning is cleanup.policy=compact: of each key the latest record stays, at its
// offset. It is Kafka's log cleaner on files. A cleaning reads the keys of what is
// dirty into a bounded map, then rewrites the files from the log's start on without
// the records that a newer one supersedes; in each new file's tag it remembers what
// has been cleaned, and when its tombstones may go (upkeep.Marks). Rows leave the
// table, so its entries have dataChange=true: they are honest rewrites, which
// readers that follow the table must be told to skip (see README.md).
//
// One topic is cleaned at a time, since the map of keys is large; beside it runs the
// merging of small files (compact.go), which leaves clean files alone.

const (
	// cleanNext is the pause before a cleaning goes on that has not done all: one whose
	// files others have changed must not run hot.
	cleanNext = time.Second
	// cleanRetry is how long a topic whose cleaning has failed is left alone, and
	// cleanDamaged if it was for a file that will not be read better soon.
	cleanRetry   = time.Minute
	cleanDamaged = time.Hour
	// cleanBytes is how much one entry rewrites, or enough for two files if that is more:
	// a large topic is cleaned in several.
	// The older records come first, so that wherever it stops nothing is clean
	// before all that is older.
	cleanBytes = 128 << 20
	// maxCleaned bounds the files that one entry replaces, which are open together.
	maxCleaned = 512
	// cleanDeadline bounds the making of one entry, so that the files of none wait
	// long in the store for being committed.
	cleanDeadline = 5 * time.Minute
)

// cleanLimits bound what a cleaning does at a time: the constants, but for tests.
type cleanLimits struct {
	keys  int   // in its map
	bytes int64 // rewritten by one entry
}

// clean looks after the compacted topics that are open until Close. It makes no
// request for a topic that has nothing to clean.
func (ts *Topics) clean() {
	timer := time.NewTimer(cleanEvery)
	defer timer.Stop()
	later := map[*Topic]time.Time{}
	for {
		select {
		case <-ts.ctx.Done():
			return
		case <-timer.C:
		}
		maps.DeleteFunc(later, func(_ *Topic, at time.Time) bool { return time.Now().After(at) })
		next := cleanEvery
		for _, t := range ts.dirtiest() {
			if _, ok := later[t]; ok {
				continue
			}
			more, err := t.clean(ts.ctx)
			if err != nil && ts.ctx.Err() == nil && t.reason() == nil {
				rest := cleanRetry
				if isDamage(err) {
					rest = cleanDamaged
				}
				later[t] = time.Now().Add(rest)
				t.env.log.Warn("cleaning is put off", "topic", t.name, "for", rest, "err", err)
			}
			if more {
				next = cleanNext
			}
		}
		timer.Reset(next)
	}
}

// dirtiest are the open topics that are due for a cleaning, the dirtiest first.
func (ts *Topics) dirtiest() []*Topic {
	ratios := map[*Topic]float64{}
	now := time.Now().UnixMilli()
	for _, t := range ts.openTopics() {
		s := t.settings.Load()
		if !s.Compact {
			continue
		}
		t.mu.Lock()
		d := t.dirt(now)
		unresolved := len(t.index.unresolved) > 0
		t.mu.Unlock()
		if d.due(s, now) || unresolved {
			ratios[t] = d.ratio()
		}
	}
	return slices.SortedFunc(maps.Keys(ratios), func(a, b *Topic) int {
		return cmp.Or(cmp.Compare(ratios[b], ratios[a]), cmp.Compare(a.name, b.name))
	})
}

// clean cleans the topic if that is due. more says that its keys did not all fit
// into one cleaning.
func (t *Topic) clean(ctx context.Context) (more bool, err error) {
	if t.yields() {
		return false, nil // another writer is at work
	}
	if err := t.resolve(ctx); err != nil { // files that an engine has made
		return false, err
	}
	s, now := t.settings.Load(), time.Now().UnixMilli()
	t.mu.Lock()
	d := t.dirt(now)
	if !s.Compact || t.gone != nil || len(t.index.unresolved) > 0 || !d.due(s, now) {
		t.mu.Unlock()
		return false, nil
	}
	for _, f := range d.dirty {
		t.cleaning[f] = true
	}
	t.mu.Unlock()
	defer func() {
		t.mu.Lock()
		clear(t.cleaning)
		t.mu.Unlock()
	}()

	began, keys := time.Now(), t.env.cleanLimits.keys
	begin := func() *cleaning {
		return &cleaning{t: t, Cleaning: upkeep.NewCleaning(now, s.DeleteRetentionMs, d.partitions, keys)}
	}
	all := slices.Clone(d.partitions)
	run := begin()
	dirty, err := run.learn(ctx, &d)
	if err == nil && run.full && !d.advances() {
		d.partitions = all
		d.narrow(int64(keys))
		run = begin()
		dirty, err = run.learn(ctx, &d)
		run.full = true
	}
	if err != nil {
		return false, fmt.Errorf("reading keys: %w", err)
	}
	clean, err := run.affected(ctx, &d, now)
	if err != nil {
		return false, fmt.Errorf("looking for old records: %w", err)
	}
	files := slices.Concat(clean, dirty)
	for len(files) > 0 {
		n := firstGroup(files, max(t.env.cleanLimits.bytes, 2*s.TargetFileBytes))
		err := run.replace(ctx, files[:n])
		if errors.Is(err, errOutdated) {
			return true, nil // by retention, or by an engine; what is behind must not become clean before them
		}
		if err != nil {
			return false, err
		}
		files = files[n:]
	}
	kept, removed := run.Counts()
	t.env.log.Info("topic cleaned", "topic", t.name, "records_removed", removed, "records_kept", kept,
		"files", len(clean)+len(dirty), "took", time.Since(began).Round(time.Millisecond))
	return run.full, nil
}

// cleaning is a cleaning under way.
type cleaning struct {
	*upkeep.Cleaning
	t    *Topic
	full bool // there was no room for all keys
}

// work does a part of the cleaning and rests after it.
func (c *cleaning) work(ctx context.Context, part func(ctx context.Context) error) error {
	began := time.Now()
	if err := c.turn(ctx, part); err != nil {
		return err
	}
	return c.rest(ctx, time.Since(began))
}

// turn does a part in its turn among all rewriting of the broker.
func (c *cleaning) turn(ctx context.Context, part func(ctx context.Context) error) error {
	env := c.t.env
	select {
	case env.rewriting <- struct{}{}:
		defer func() { <-env.rewriting }()
	case <-ctx.Done():
		return ctx.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, cleanDeadline)
	defer cancel()
	return part(ctx)
}

// rest leaves the store and the CPU to others after some work, as compaction does.
func (c *cleaning) rest(ctx context.Context, work time.Duration) error {
	select {
	case <-time.After(compactRest * work):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-c.t.committer.Done():
		return c.t.reason()
	}
}

// learn reads the keys of the dirty files, and answers those whose keys all fit.
func (c *cleaning) learn(ctx context.Context, d *dirt) (files []*file, err error) {
	for i, f := range d.dirty {
		if !c.full {
			if err := c.work(ctx, func(ctx context.Context) error { return c.learnFile(ctx, d, f, i == 0) }); err != nil {
				return nil, err
			}
		}
		if c.full && i > 0 {
			for _, r := range f.ranges {
				c.End(r.Partition, r.First-1)
			}
			continue
		}
		files = append(files, f)
	}
	return files, nil
}

// learnFile reads the keys of a file's dirty records. If they do not all fit and it is
// the first one, the cleaning ends within it, so that even a file of too many keys becomes
// clean bit by bit; else before it.
func (c *cleaning) learnFile(ctx context.Context, d *dirt, f *file, first bool) error {
	reader, err := rows.Open(ctx, f.size, c.t.env.blocks.once(c.t.env.store, f))
	if err != nil {
		return err
	}
	for _, r := range f.ranges {
		switch {
		case r.Partition < 0 || int(r.Partition) >= len(d.partitions):
			continue
		case c.full && !first:
			return nil
		case c.full:
			c.End(r.Partition, r.First-1)
			continue
		}
		part := &d.partitions[r.Partition]
		err := reader.Keys(ctx, r.Partition, max(r.First, part.Dirty), min(r.Last, part.Through), func(offset int64, key []byte) bool {
			if c.full = !c.Learn(r.Partition, offset, key); c.full {
				c.End(r.Partition, offset-1)
			}
			return !c.full
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// affected are the clean files that have to be rewritten: those with tombstones
// whose time is over, those with records that a dirty one supersedes, and the small
// ones, which become larger that way. A large file of which nothing goes is left as it is.
func (c *cleaning) affected(ctx context.Context, d *dirt, now int64) (files []*file, err error) {
	for _, f := range d.clean {
		hit := f.marks.Expired(now)
		if !hit && len(d.dirty) > 0 {
			if hit = f.size < c.t.settings.Load().TargetFileBytes/2; !hit {
				err = c.work(ctx, func(ctx context.Context) (err error) { hit, err = c.superseded(ctx, f); return err })
			}
		}
		if err != nil {
			return nil, err
		}
		if hit {
			files = append(files, f)
		}
	}
	return files, nil
}

// superseded reports whether a file holds a record that goes.
func (c *cleaning) superseded(ctx context.Context, f *file) (hit bool, err error) {
	reader, err := rows.Open(ctx, f.size, c.t.env.blocks.once(c.t.env.store, f))
	if err != nil {
		return false, err
	}
	for _, r := range f.ranges {
		err := reader.Keys(ctx, r.Partition, r.First, r.Last, func(offset int64, key []byte) bool {
			hit = c.Superseded(r.Partition, offset, key)
			return !hit
		})
		if err != nil || hit {
			return hit, err
		}
	}
	return false, nil
}

// firstGroup is how many of the files one entry replaces, of most bytes in all.
func firstGroup(files []*file, most int64) int {
	size := int64(0)
	for i, f := range files {
		if size += f.size; i > 0 && (size > most || i == maxCleaned) {
			return i
		}
	}
	return len(files)
}

// replace puts what stays of files in their place.
func (c *cleaning) replace(ctx context.Context, files []*file) error {
	began := time.Now()
	_, before := c.Counts()
	var adds []delta.Add
	err := c.turn(ctx, func(ctx context.Context) (err error) {
		adds, _, err = c.t.rewrite(ctx, files, upkeep.Rewriting{Keep: c.Keep, Tags: func(ranges []rows.Range) map[string]string {
			return map[string]string{upkeep.CleanTag: c.Marks(ranges).Tag(ranges)}
		}})
		return err
	})
	if err == nil { // at once: files must not wait long for being committed
		bounded, cancel := context.WithTimeout(ctx, cleanDeadline)
		err = c.t.exchange(bounded, files, adds, &delta.CommitInfo{
			Operation: "DELETE", OperationParameters: map[string]string{"reason": "compaction"},
		}, true)
		cancel()
	}
	if err != nil {
		return fmt.Errorf("rewriting %d files: %w", len(files), err)
	}
	_, removed := c.Counts()
	c.t.env.metrics.cleaned.Add(float64(removed - before))
	return c.rest(ctx, time.Since(began))
}
