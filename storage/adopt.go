package storage

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sluice/protocol/record"
	"sluice/storage/delta"
	"sluice/storage/rows"
)

// Adoption: rows that another writer inserts become records of the topic. They are
// hidden from consumers until then; an entry of ours takes the file out of the table and
// puts the same rows in again with their offsets (dataChange=false: streams that follow
// the table have had them). A broker that is killed before that leaves the file as it
// was, and the next leader adopts it.
//
// An inserted row gets its offset when it is read, as a produced batch does when it
// arrives, under Topic.mu: no offset is given out twice. The entries may then be
// committed in either order, which the table does not mind (each raises the next offset and
// never lowers it), but a consumer would: it would pass offsets that are filled later. So
// the high watermark waits at what is reserved until its entry stands. Produced batches
// behind it are committed and acknowledged meanwhile. If the adoption fails, what was
// reserved is a gap, as an aborted transaction leaves, and the rows get offsets
// anew; so a failure does not cost the topic, as that of a batch does, whose producer
// counts on its place.

const (
	// adoptBytes is about how much of a file is in memory at a time, as records.
	adoptBytes = 8 << 20
	// adoptDeadline bounds the making of the new files, lest a clean-up takes them for orphans.
	adoptDeadline = 10 * time.Minute
	// reviewMin and reviewMax bound the pause after a review that failed.
	reviewMin = time.Second
	reviewMax = time.Minute
	// uploadDeadline bounds an attempt to put a file, uploadPause is the longest time between two.
	uploadDeadline = 30 * time.Second
	uploadPause    = 2 * time.Second
)

// reservation are offsets of a partition for inserted rows. Guarded by Topic.mu.
type reservation struct {
	base, end int64
	settled   bool // they are committed, or never will be
}

// advance moves a partition's high watermark up to the first offset that may yet be
// committed; t.mu is held.
func (t *Topic) advance(p *partition) {
	for len(p.reserved) > 0 && p.pooled >= p.reserved[0].base {
		r := p.reserved[0]
		if !r.settled {
			p.high = r.base
			return
		}
		// The tail has no gaps: what it holds before these rows, which are in files only,
		// has to go, that of batches committed after them included.
		t.env.tails.drop(&p.tail, r.end)
		p.pooled = max(p.pooled, r.end)
		p.reserved = p.reserved[1:]
	}
	p.high = p.pooled
}

// reviewLater looks in the background into what other writers have added; t.mu is held.
func (t *Topic) reviewLater() {
	if t.reviewing || t.gone != nil || len(t.index.unresolved) == 0 && t.adoptable() == nil {
		return
	}
	t.reviewing = true
	t.env.background.Go(t.review)
}

// adoptable is the next file with rows to adopt; t.mu is held.
func (t *Topic) adoptable() *file {
	refuse := t.settings.Load().RefuseInserts
	return t.index.nextInsert(func(f *file) bool {
		s, stale := t.index.stale[f.name]
		return f.stuck == nil && !s.unclear && (stale && s.inserts || !refuse)
	})
}

// unstick has rows tried again that could not be adopted; t.mu is held.
func (t *Topic) unstick() {
	for _, f := range t.index.inserts {
		f.stuck = nil
	}
}

// review reads the footers of other writers' files and adopts the rows that they have
// inserted, until there are no more.
func (t *Topic) review() {
	ctx := t.env.ctx
	for pause := reviewMin; ; {
		err := t.upToDate(ctx, func() error { return t.resolve(ctx) })
		t.mu.Lock()
		f := t.adoptable()
		if t.gone != nil || err == nil && f == nil && len(t.index.unresolved) == 0 {
			t.reviewing = false
			t.mu.Unlock()
			return
		}
		t.mu.Unlock()
		if err == nil && f != nil {
			err = t.upToDate(ctx, func() error { return t.adopt(f) })
		}
		stuck := errors.Is(err, errStuck)
		switch {
		case err == nil, errors.Is(err, errOutdated):
			pause = reviewMin
			continue
		case stuck:
			t.env.log.Error("rows that another writer inserted are not delivered", "topic", t.name, "file", f.path, "err", err,
				"hint", "change the topic's configuration or the rows; the other rows of the file wait with them")
			t.mu.Lock()
			f.stuck = err
			t.mu.Unlock()
			continue
		case f != nil && unreadableFile(err):
			t.mu.Lock()
			if t.index.files[f.name] == f {
				delete(t.index.inserts, f.name)
				t.unreadable(f.name, err)
			}
			t.mu.Unlock()
			continue
		case ctx.Err() == nil && t.reason() == nil && !errors.Is(err, ErrClosed):
			t.env.log.Warn("another writer's files are not taken up yet", "topic", t.name, "in", pause, "err", err)
		}
		select {
		case <-time.After(pause):
			pause = min(2*pause, reviewMax)
		case <-ctx.Done():
			return
		case <-t.committer.Done():
			return
		}
	}
}

// operationAdopt names an adoption in the table's history.
const operationAdopt = "ADOPT"

// errStuck: rows that cannot be records of the topic. They stay in the table, hidden.
var errStuck = errors.New("cannot be a record of the topic")

// adoption is the adoption of one file.
type adoption struct {
	t        *Topic
	f        *file
	found    examined
	adds     []delta.Add
	keys     []string        // of the new files in the store
	next     map[int32]int64 // the next offsets behind the adopted rows
	reserved map[*reservation]*partition
	rows     int
	// copies: rows with a place that others have are left out, and with staleInserts those
	// without one; see stale.go.
	copies, staleInserts bool
}

// adopt makes records of the rows of a file that are none. errStuck if they cannot be,
// errOutdated if the file has left the table.
func (t *Topic) adopt(f *file) (err error) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.env.ctx, adoptDeadline)
	defer cancel()
	select { // one at a time in a broker: each takes memory
	case t.env.adopting <- struct{}{}:
		defer func() { <-t.env.adopting }()
	case <-ctx.Done():
		return ctx.Err()
	}
	reader, err := t.env.blocks.reader(ctx, t.env.store, f)
	if err != nil {
		return err
	}
	t.mu.Lock()
	s, copies := t.index.stale[f.name]
	t.mu.Unlock()
	a := &adoption{copies: copies, staleInserts: s.inserts, t: t, f: f, next: map[int32]int64{}, reserved: map[*reservation]*partition{}}
	if a.found, err = t.examine(ctx, f, reader); err != nil {
		return err
	}
	if a.found.inserts == 0 { // copies whose originals have left the table
		t.mu.Lock()
		t.index.resolve(f, a.found.ranges)
		t.mu.Unlock()
		return nil
	}
	defer a.settle()
	for row := int64(0); row < reader.Rows(); {
		n, err := a.window(ctx, reader, row)
		if err != nil {
			a.discard()
			return err
		}
		row += n
	}
	err = a.commit()
	if errors.Is(err, errOutdated) {
		a.discard()
	}
	if err != nil {
		return err
	}
	t.env.log.Info("rows inserted by another writer are records now", "topic", t.name, "file", f.path,
		"rows", a.rows, "took", time.Since(began).Round(time.Millisecond))
	return nil
}

// window makes new files of the rows of one window: one of those that stand for
// records, one of the others.
func (a *adoption) window(ctx context.Context, reader *rows.Reader, row int64) (n int64, err error) {
	w, err := reader.Window(ctx, row, adoptBytes)
	if err != nil {
		return 0, err
	}
	defer w.Close()
	if len(w.Rows) == 0 {
		return 0, fmt.Errorf("%w: %s ends at row %d", delta.ErrCorrupt, a.f.key, row)
	}
	inserted, left := make([]bool, len(w.Rows)), make([]bool, len(w.Rows))
	for i := range w.Rows {
		kept := a.keeps(row+int64(i), &w.Rows[i])
		left[i] = !kept && a.drops(&w.Rows[i])
		if inserted[i] = !kept && !left[i]; !inserted[i] {
			continue
		}
		if err := a.check(&w.Rows[i]); err != nil {
			return 0, fmt.Errorf("row %d of %s: %w", row+int64(i), a.f.path, err)
		}
	}
	nowhere := rows.Place{Partition: -1}
	fresh, kept := make([]rows.Place, len(w.Rows)), make([]rows.Place, len(w.Rows))
	a.t.mu.Lock()
	for i, x := range w.Rows {
		fresh[i], kept[i] = nowhere, nowhere
		switch {
		case inserted[i]:
			fresh[i] = a.place(&x)
		case !left[i]:
			kept[i] = rows.Place{Partition: int32(x.Partition), Offset: x.Offset, Timestamp: x.Timestamp, Type: x.Type}
		}
	}
	a.reserve(fresh)
	a.t.mu.Unlock()
	if err := a.file(ctx, w, kept, false); err != nil {
		return 0, err
	}
	return int64(len(w.Rows)), a.file(ctx, w, fresh, true)
}

// keeps reports whether a row stands for a record. Windows come in order of the file.
func (a *adoption) keeps(row int64, x *rows.Row) bool {
	if a.found.scattered {
		limits := a.f.limits
		return x.Partition >= 0 && x.Partition < int64(len(limits)) && x.Offset >= 0 && x.Offset < limits[x.Partition]
	}
	kept := a.found.kept
	for len(kept) > 0 && kept[0].Row+kept[0].Rows <= row {
		kept = kept[1:]
	}
	a.found.kept = kept
	return len(kept) > 0 && kept[0].Row <= row
}

// drops reports whether a row that stands for no record is a copy which nobody inserted.
func (a *adoption) drops(x *rows.Row) bool {
	if !a.copies {
		return false
	}
	limits := a.f.limits
	placed := x.Partition >= 0 && x.Partition < int64(len(limits)) && x.Offset >= 0 && x.Offset < limits[x.Partition]
	return placed || a.staleInserts
}

// check says why an inserted row cannot be a record (errStuck), by the rules that
// produced records are held to. How far its time is from now does not matter: history
// may be inserted.
func (a *adoption) check(x *rows.Row) error {
	s := a.t.settings.Load()
	switch size := record.HeaderSize + x.Size; {
	case size > s.MaxMessageBytes:
		return fmt.Errorf("%w: it takes %d bytes and max.message.bytes is %d", errStuck, size, s.MaxMessageBytes)
	case s.Compact && x.Key == nil:
		return fmt.Errorf("%w: it has no key and cleanup.policy is compact", errStuck)
	case x.Timestamp != record.NoTimestamp && (x.Timestamp < record.MinTimestamp || x.Timestamp > record.MaxTimestamp):
		return fmt.Errorf("%w: its timestamp, %d ms, is not within the years 1900 to 9999", errStuck, x.Timestamp)
	}
	return nil
}

// place gives an inserted row the next offset of the partition that it names, of its
// key's as Kafka's clients choose it, or of each in turn; t.mu is held.
func (a *adoption) place(x *rows.Row) rows.Place {
	t := a.t
	place := rows.Place{Partition: int32(x.Partition), Timestamp: x.Timestamp}
	switch n := len(t.partitions); {
	case x.Partition >= 0 && x.Partition < int64(n):
	case x.Key != nil:
		place.Partition = partitionOf(x.Key, n)
	default:
		place.Partition = int32(t.keyless % n)
		t.keyless++
	}
	if place.Timestamp == record.NoTimestamp {
		place.Timestamp = a.f.committed
	}
	p := t.partitions[place.Partition]
	place.Offset = p.next
	p.next++
	a.rows++
	return place
}

// reserve has the high watermarks wait for rows that got their places; t.mu is held
// since they did.
func (a *adoption) reserve(places []rows.Place) {
	first := map[int32]*reservation{}
	for _, place := range places {
		if place.Partition < 0 {
			continue
		}
		r := first[place.Partition]
		if r == nil {
			p := a.t.partitions[place.Partition]
			r = &reservation{base: place.Offset}
			first[place.Partition] = r
			a.reserved[r] = p
			p.reserved = append(p.reserved, r)
		}
		r.end = place.Offset + 1
		a.next[place.Partition] = r.end
	}
	for n := range first {
		a.t.advance(a.t.partitions[n])
	}
}

// settle lets the high watermarks go on: what was reserved is committed, or is a gap.
func (a *adoption) settle() {
	t := a.t
	t.mu.Lock()
	defer t.mu.Unlock()
	for r, p := range a.reserved {
		r.settled = true
		t.advance(p)
	}
	t.notify()
}

// file makes a data file of the rows of a window that have a place, if there are any.
func (a *adoption) file(ctx context.Context, w *rows.Window, places []rows.Place, inserted bool) error {
	batches, err := w.Batches(places)
	if err != nil || len(batches) == 0 {
		return err
	}
	t, size := a.t, int64(0)
	for i := range batches {
		size += int64(len(batches[i].Data))
	}
	file, err := t.env.encode(ctx, t.name, codecOf(t.settings.Load().ParquetCompression), batches, size)
	if err != nil {
		return err
	}
	key, err := t.log.DataKey(file.Path)
	if err != nil {
		return err
	}
	a.keys = append(a.keys, key)
	if err := t.env.upload(ctx, key, file.Body); err != nil {
		return err
	}
	t.env.blocks.written.add(key, file.Body)
	add := delta.Add{Path: file.Path, PartitionValues: map[string]string{}, Size: int64(len(file.Body)), Stats: file.Stats, Tags: file.Tags}
	if !inserted { // it has the place and the time of the file that it comes from
		add.ModificationTime = a.f.modified
	} else {
		t.mu.Lock()
		t.adopted[delta.FileName(file.Path)] = struct{}{}
		t.mu.Unlock()
	}
	a.adds = append(a.adds, add)
	return nil
}

// commit puts the new files in the old one's place.
func (a *adoption) commit() error {
	t := a.t
	defer func() {
		t.mu.Lock()
		for i := range a.adds {
			delete(t.adopted, delta.FileName(a.adds[i].Path))
		}
		t.mu.Unlock()
	}()
	// Not bounded: while it is not known whether the entry stands, the reserved
	// offsets must be waited for.
	return t.propose(t.env.ctx, func(snap *delta.Snapshot) (*delta.Entry, error) {
		if snap.Files[a.f.name] == nil {
			return nil, errOutdated
		}
		now := snap.NextTimestamp(time.Now())
		e := &delta.Entry{
			Info: &delta.CommitInfo{Operation: operationAdopt, OperationParameters: map[string]string{"file": a.f.path, "rows": fmt.Sprint(a.rows)}},
			Adds: a.adds,
			Removes: []delta.Remove{{
				Path: a.f.path, DeletionTimestamp: now, ExtendedFileMetadata: true, PartitionValues: map[string]string{}, Size: a.f.size,
			}},
		}
		for i := range e.Adds {
			if e.Adds[i].ModificationTime == 0 {
				e.Adds[i].ModificationTime = now
			}
		}
		for n, next := range a.next {
			e.Txns = append(e.Txns, t.nextTxn(snap, n, next, now))
		}
		return e, nil
	})
}

// discard deletes new files that will not be part of the table.
func (a *adoption) discard() {
	ctx, cancel := context.WithTimeout(a.t.env.ctx, uploadDeadline)
	defer cancel()
	if _, err := a.t.env.store.Delete(ctx, a.keys...); err != nil && ctx.Err() == nil {
		a.t.env.log.Warn("data files stay behind", "topic", a.t.name, "files", len(a.keys), "err", err)
	}
}

// placeOf is the place of a file of our own entry in the order of the files: that of
// what it replaces, or behind all others; t.mu is held.
func (t *Topic) placeOf(a *delta.Add, replaced int64) int64 {
	if _, ok := t.adopted[delta.FileName(a.Path)]; ok {
		return 0
	}
	return replaced
}

// markForeign says of the files without tags in a topic that is being opened where
// they come from, as far as the entries behind the checkpoint tell. What was
// given out before they came is not known: below the next offsets, copies are told by
// their place.
func (t *Topic) markForeign(snap *delta.Snapshot, tail []*delta.Entry) {
	if len(t.index.unresolved) == 0 {
		return
	}
	limits := t.limits(snap)
	for n, p := range t.partitions {
		limits[n] = max(limits[n], p.next)
	}
	for _, f := range t.index.unresolved {
		f.limits, f.committed = limits, commitTime(nil, f.modified)
	}
	for _, e := range tail {
		for i := range e.Adds {
			if f := t.index.unresolved[delta.FileName(e.Adds[i].Path)]; f != nil {
				f.version, f.committed = e.Version, commitTime(e.Info, f.modified)
			}
		}
	}
}

// upload puts a data file, again and again until ctx ends.
func (e *env) upload(ctx context.Context, key string, body []byte) error {
	for pause := uploadPause / 64; ; pause = min(2*pause, uploadPause) {
		attempt, cancel := context.WithTimeout(ctx, uploadDeadline)
		_, err := e.store.Put(attempt, key, body)
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return fmt.Errorf("upload of %s: %w", key, err)
		}
	}
}
