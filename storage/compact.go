package storage

import (
	"context"
	"errors"
	"math"
	"time"

	"sluice/storage/delta"
	"sluice/storage/rows"
	"sluice/storage/upkeep"
)

// Compaction: a busy topic gains a file with each version. In the background,
// neighbouring small files are merged into larger ones, by a proposal to the
// committer that changes no row (dataChange=false): appends never wait for it and
// never conflict with it. Readers that hold the old files may go on reading them
// for as long as the table promises (sluice.table.deleted.files.ms).
//
// It keeps nothing but what the table says: a compaction that is interrupted leaves
// files that nobody names, and is done again.

const (
	// compactEvery is how many entries pass between two looks for files to merge.
	compactEvery = 16
	// compactRest is how long a topic's compaction rests after its work, as a multiple
	// of the time that it took: its share of a core, and of what the store can
	// transfer, stays below a quarter. All topics share one place (env.rewriting).
	compactRest = 3
	// compactRestPiled is the same where files have piled up (upkeep.MaxInputs): a table
	// that gets hundreds of versions a second must not end up with tens of thousands.
	compactRestPiled = 1
	// compactRetry is how long it rests after a failure.
	compactRetry = time.Minute
	// compactOutdated is how long it rests when others have changed its files.
	compactOutdated = time.Second
	// compactDeadline bounds one rewriting, with compactPerMiB for each MiB of files.
	compactDeadline = 2 * time.Minute
	compactPerMiB   = time.Second
	// maxPicks bounds the choices at one look; the next one goes on.
	maxPicks = 16
)

// compactLater starts a compaction if entries enough have come since it was last looked
// for files to merge, and there may be some; t.mu is held.
func (t *Topic) compactLater() {
	if t.sinceCheck++; t.sinceCheck >= compactEvery && len(t.index.unresolved) > 0 {
		t.sinceCheck = 0
		t.startCompaction(0) // it finds out what they hold
	} else if t.sinceCheck >= compactEvery {
		t.compactAfter(0)
	}
}

// compactAfter starts a compaction, to begin after a while, if there is something to
// merge; t.mu is held.
func (t *Topic) compactAfter(rest time.Duration) {
	t.sinceCheck = 0
	if !t.compacting && len(t.pick()) > 0 {
		t.startCompaction(rest)
	}
}

// startCompaction starts a compaction unless one is under way; t.mu is held.
func (t *Topic) startCompaction(rest time.Duration) {
	if !t.compacting && t.gone == nil {
		t.compacting = true
		t.env.background.Go(func() { t.compact(rest) })
	}
}

// pick chooses the files to merge next; t.mu is held.
func (t *Topic) pick() []*file {
	if t.yields() {
		return nil // another writer is at work
	}
	s := t.settings.Load()
	all := t.index.inOrder()
	sizes := make([]int64, len(all))
	for range maxPicks {
		for i, f := range all {
			// What has been cleaned would be dirty again: its tag would be lost.
			clean := s.Compact && len(f.marks) > 0 || t.cleaning[f]
			if sizes[i] = f.size; f.alone || clean || t.index.unresolved[f.name] != nil || t.index.inserts[f.name] != nil {
				sizes[i] = math.MaxInt64
			}
		}
		from, to := upkeep.Pick(sizes, s.TargetFileBytes)
		files := all[from:to]
		f := t.index.apart(files)
		if f == nil {
			return files
		}
		f.alone = true // an engine has sorted the table in its own way
	}
	return nil
}

// compact merges until nothing is left to merge, or the topic ends: then nothing new
// begins, as nobody would commit it.
func (t *Topic) compact(rest time.Duration) {
	for more := true; ; {
		if rest > 0 {
			select {
			case <-time.After(rest):
			case <-t.env.ctx.Done():
				more = false
			case <-t.committer.Done():
				more = false
			}
		}
		if !more {
			t.mu.Lock()
			t.compacting = false
			t.mu.Unlock()
			return
		}
		rest, more = t.compactOnce()
	}
}

// compactOnce does one rewriting when its turn has come. It says how long to rest,
// and whether to look again then.
func (t *Topic) compactOnce() (rest time.Duration, more bool) {
	select {
	case t.env.rewriting <- struct{}{}:
	case <-t.env.ctx.Done():
		return 0, false
	case <-t.committer.Done():
		return 0, false
	}
	began := time.Now()
	files, err := t.ready()
	defer t.mergingEnds()
	var adds []delta.Add
	ctx, cancel := context.WithTimeout(t.env.ctx, compactDeadline+compactPerMiB*time.Duration(bytesOf(files)>>20))
	defer cancel()
	if len(files) > 0 {
		adds, _, err = t.rewrite(ctx, files, upkeep.Rewriting{})
	}
	<-t.env.rewriting // the commit needs no memory, and may have to wait for an engine
	if err == nil && len(files) > 0 {
		err = t.exchange(ctx, files, adds, &delta.CommitInfo{
			Operation: "OPTIMIZE", OperationParameters: map[string]string{"predicate": "[]", "auto": "true"},
		}, false)
	}
	rest = time.Since(began)
	if len(files) < upkeep.MaxInputs {
		rest *= compactRest
	} else {
		rest *= compactRestPiled
	}
	switch {
	case len(files) == 0 && err == nil:
		return 0, false
	case len(files) == 0:
		return compactRetry, false // who reads the topic hears of the error
	case errors.Is(err, errOutdated):
		rest = max(rest, compactOutdated)
	case err != nil:
		rest = max(rest, t.leaveOut(files, err))
	case len(adds) >= len(files):
		t.notAgain(adds)
	}
	return rest, true
}

// ready chooses the files to merge next, having read what files hold that do not say
// so in the log: those of other writers, and ours of very many partitions. The error
// is of these: they are left out.
func (t *Topic) ready() ([]*file, error) {
	ctx, cancel := context.WithTimeout(t.env.ctx, loadDeadline)
	defer cancel()
	err := t.resolve(ctx)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.gone != nil {
		return nil, nil
	}
	files := t.pick()
	for _, f := range files {
		t.merging[f] = true
	}
	return files, err
}

// mergingEnds lets a cleaning have the files that were to be merged.
func (t *Topic) mergingEnds() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.merging)
}

// notAgain leaves files alone that were made of no more than as many: merging them
// again would go on for ever.
func (t *Topic) notAgain(adds []delta.Add) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range adds {
		if f := t.index.files[delta.FileName(adds[i].Path)]; f != nil {
			f.alone = true
		}
	}
}

func bytesOf(files []*file) (total int64) {
	for _, f := range files {
		total += f.size
	}
	return total
}

// leaveOut takes up that files could not be merged, and says when to go on.
func (t *Topic) leaveOut(files []*file, err error) time.Duration {
	if t.env.ctx.Err() != nil || t.reason() != nil {
		return 0
	}
	bad, ok := errors.AsType[*upkeep.FileError](err)
	switch {
	case ok && isDamage(err):
		files = files[bad.Index : bad.Index+1]
		t.env.log.Warn("a data file is left out of compaction", "topic", t.name, "file", files[0].key, "err", err)
	case isDamage(err):
		t.env.log.Error("data files are left out of compaction", "topic", t.name, "files", len(files), "err", err)
	default:
		t.env.log.Warn("compaction is put off", "topic", t.name, "files", len(files), "err", err)
		return compactRetry
	}
	// The others go on around them.
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range files {
		f.alone = true
	}
	return 0
}

// isDamage says that files will not be read better the next time.
func isDamage(err error) bool {
	for _, sentinel := range []error{upkeep.ErrDiffers, rows.ErrCorrupt, rows.ErrUnsupported, delta.ErrCorrupt} {
		if errors.Is(err, sentinel) {
			return true
		}
	}
	return false
}
