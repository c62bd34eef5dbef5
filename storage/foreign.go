package storage

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"sluice/storage/delta"
	"sluice/storage/object"
	"sluice/storage/rows"
)

// Other writers' entries: which of them a topic can follow, and what becomes of their
// files. What it cannot follow stops the topic, and only that one, with an error that
// says what to do. A change of the table itself (protocol, schema) ends the topic, since the
// next commit might break the table; a file whose rows cannot be served halts
// it: it takes nothing and answers nothing until the file has left the table.

// checkForeign decides whether the topic can go on after an entry of somebody else.
func (t *Topic) checkForeign(e *delta.Entry, snap *delta.Snapshot) error {
	t.mu.Lock()
	epoch := int64(t.epoch)
	t.mu.Unlock()
	t.foreign = e.Version
	switch {
	case delta.Fenced(e, epoch):
		return delta.ErrFenced
	case e.Metadata != nil && e.Metadata.ID != t.id, e.Metadata != nil && e.Metadata.Configuration[propertyDeleted] == "true":
		return fmt.Errorf("%w: the topic was deleted or replaced by another writer", delta.ErrFenced)
	}
	t.mu.Lock()
	t.noteStale(e, snap.Files, t.pending)
	t.mu.Unlock()
	if e.Metadata == nil && e.Protocol == nil {
		return nil
	}
	protocol, metadata := snap.Protocol, snap.Metadata
	if e.Protocol != nil {
		protocol = *e.Protocol
	}
	if e.Metadata != nil {
		metadata = *e.Metadata
	}
	if err := followable(protocol, metadata); err != nil {
		return fmt.Errorf("version %d: %w", e.Version, err)
	}
	return nil
}

// followable says why no topic can be served from a table like this (ErrStopped).
func followable(protocol delta.Protocol, m delta.Metadata) error {
	const restore = "take it back (ALTER TABLE, or RESTORE the version before) and the topic goes on"
	if err := protocol.CanWrite(writerFeatures...); err != nil {
		return unsupported(err)
	}
	if err := rows.CheckSchema(m.SchemaString); err != nil {
		return fmt.Errorf("%w: the table's schema was changed: %w; %s", ErrStopped, err, restore)
	}
	if len(m.PartitionColumns) > 0 {
		return fmt.Errorf("%w: the table was partitioned by %.200q, which a topic's is not; %s", ErrStopped, m.PartitionColumns, restore)
	}
	if mode := m.Configuration["delta.columnMapping.mode"]; mode != "" && mode != "none" {
		return fmt.Errorf("%w: column mapping was turned on (%.32q); %s", ErrStopped, mode, restore)
	}
	// The next offsets are txn actions: engines would drop those of quiet partitions.
	if _, ok := m.Configuration["delta.setTransactionRetentionDuration"]; ok {
		return fmt.Errorf("%w: delta.setTransactionRetentionDuration is set, with which engines drop the topic's next offsets; "+
			"unset it (ALTER TABLE ... UNSET TBLPROPERTIES) and the topic goes on", ErrStopped)
	}
	return nil
}

// unsupported says what to do where a table asks for more than Sluice knows. Other
// errors stay as they are.
func unsupported(err error) error {
	if !errors.Is(err, delta.ErrUnsupported) {
		return err
	}
	return fmt.Errorf("%w: %w; drop the feature (ALTER TABLE ... DROP FEATURE), or copy the rows into a new topic", ErrStopped, err)
}

// addFiles takes up the files of an entry, of which snap is the table; t.mu is held. The
// tags of other writers' files do not count, and ours of very many partitions have none:
// what they hold is looked at.
func (t *Topic) addFiles(e *delta.Entry, snap *delta.Snapshot, place int64, foreign bool) {
	var limits []int64
	for _, a := range e.Adds {
		order := place
		if foreign {
			a.Tags = nil
		} else {
			order = t.placeOf(&a, place)
		}
		if !t.addFile(&a, order) {
			continue
		}
		if f := t.index.unresolved[delta.FileName(a.Path)]; f != nil && f.limits == nil {
			if limits == nil {
				limits = t.limits(snap)
			}
			f.limits, f.version, f.committed = limits, e.Version, commitTime(e.Info, a.ModificationTime)
		}
	}
}

// limits are the next offsets as of a snapshot: no row of its files at or above
// those can stand for a record. t.mu is held.
func (t *Topic) limits(snap *delta.Snapshot) []int64 {
	limits := make([]int64, len(t.partitions))
	for n := range limits {
		limits[n] = snap.Txns[nextOffsetApp(t.id, int32(n))].Version
	}
	return limits
}

// unreadable halts the topic for the sake of a file; t.mu is held.
func (t *Topic) unreadable(name string, reason error) {
	if f := t.index.files[name]; f != nil {
		f.alone = true
	}
	t.index.unreadable[name] = fmt.Errorf("%w: the data file %.300q of another writer cannot be read: %w; "+
		"take it out of the table (RESTORE the version before it) or have it rewritten in plain Parquet, and the topic goes on", ErrStopped, name, reason)
	t.judge()
}

// unreadableFile tells that reading a file again is of no use.
func unreadableFile(err error) bool {
	return errors.Is(err, rows.ErrCorrupt) || errors.Is(err, rows.ErrUnsupported) ||
		errors.Is(err, delta.ErrCorrupt) && !errors.Is(err, errGone) ||
		errors.Is(err, delta.ErrUnsupported) || errors.Is(err, object.ErrBadKey)
}

// judge decides anew whether the topic is halted; t.mu is held.
func (t *Topic) judge() {
	before := t.halted
	t.halted = nil
	for _, err := range t.index.unreadable {
		t.halted = err // any will do
	}
	if f := t.index.nextInsert(func(f *file) bool { _, stale := t.index.stale[f.name]; return !stale }); f != nil && t.settings.Load().RefuseInserts {
		t.halted = fmt.Errorf("%w: another writer inserted rows %s and sluice.table.inserts is refuse; "+
			"either set it to adopt, or take the rows out again (RESTORE, or DELETE them), and the topic goes on", ErrStopped, f.origin())
	}
	switch {
	case t.halted != nil && before == nil:
		t.env.log.Error("topic stopped", "topic", t.name, "err", t.halted)
		t.notify()
	case t.halted == nil && before != nil:
		t.env.log.Info("topic goes on", "topic", t.name)
		t.notify()
	}
}

// origin says where rows came from, for a person.
func (f *file) origin() string {
	if f.version < 0 {
		return fmt.Sprintf("(file %.300q)", f.path)
	}
	return fmt.Sprintf("with version %d (file %.300q)", f.version, f.path)
}

// nextInsert is the oldest of the files with inserted rows that ok accepts, nil if
// there is none.
func (x *index) nextInsert(ok func(*file) bool) (first *file) {
	for _, f := range x.inserts {
		if ok(f) && (first == nil || f.order < first.order || f.order == first.order && f.name < first.name) {
			first = f
		}
	}
	return first
}

// forgetTails drops what the tail and disk caches hold of records that an entry may have
// deleted: another writer's, or our own cleaning; t.mu is held. Rewritten ones go with them,
// which costs a reader of those a look into the new file.
func (t *Topic) forgetTails(e *delta.Entry, foreign bool) {
	if !foreign && len(e.Adds) == 0 { // retention, of what is below the log start offset
		return
	}
	removes := e.Removes
	ends := map[int32]int64{}
	for i := range removes {
		f := t.index.files[delta.FileName(removes[i].Path)]
		if f == nil || !removes[i].DataChange {
			continue
		}
		for _, r := range f.ranges {
			ends[r.Partition] = max(ends[r.Partition], r.Last+1)
		}
		if t.index.unresolved[f.name] != nil { // it may hold anything
			for n, p := range t.partitions {
				ends[int32(n)] = p.next
			}
		}
	}
	for n, end := range ends {
		if n >= 0 && int(n) < len(t.partitions) {
			t.env.tails.drop(&t.partitions[n].tail, end)
			t.env.tails.forgetDisk(&t.partitions[n].tail)
		}
	}
}

// examined is what a file holds.
type examined struct {
	ranges  []rows.Range   // of the rows that stand for records
	kept    []rows.Stretch // these rows in order of the file, nil if they are all rows
	inserts int64          // how many others there are
	// scattered: kept is not known, and a row stands for a record if it could.
	scattered bool
}

// maxStretches bounds what is compared of files that overlap; of more, doubles are
// not looked for: they stay hidden.
const maxStretches = 1 << 20

// examine finds which rows of a file without tags stand for records. A row does if
// its offset had been given out before the file came, unless a file before it, or a row
// before it in the file, has the same place: then it was copied. All others are inserts.
func (t *Topic) examine(ctx context.Context, f *file, own *rows.Reader) (examined, error) {
	ranges, err := own.Ranges(ctx)
	if err != nil {
		return examined{}, err
	}
	all, plain := int64(0), true
	for _, r := range ranges {
		all += r.Rows
		plain = plain && int(r.Partition) < len(f.limits) && r.Last < f.limits[r.Partition]
	}
	t.mu.Lock()
	others := t.index.overlapping(f, ranges)
	t.mu.Unlock()
	if plain && all == own.Rows() && len(others) == 0 {
		return examined{ranges: ranges}, nil
	}
	stretches, err := own.Stretches(ctx)
	if errors.Is(err, rows.ErrUnsupported) {
		return f.scattered(ranges, own.Rows()), nil
	}
	if err != nil {
		return examined{}, err
	}
	taken := map[int32][]rows.Stretch{}
	count := 0
	for _, o := range others {
		r, err := t.env.blocks.reader(ctx, t.env.store, o)
		if err != nil {
			return examined{}, err
		}
		theirs, err := r.Stretches(ctx)
		if errors.Is(err, rows.ErrUnsupported) {
			continue
		}
		if err != nil {
			return examined{}, err
		}
		if count += len(theirs); count > maxStretches {
			break
		}
		for _, s := range theirs {
			taken[s.Partition] = append(taken[s.Partition], s)
		}
	}
	return f.sift(stretches, taken, own.Rows()), nil
}

// scattered is what can be said of a file with too many stretches.
func (f *file) scattered(ranges []rows.Range, total int64) examined {
	e := examined{inserts: total, scattered: true}
	for _, r := range ranges {
		if int(r.Partition) < len(f.limits) && r.First < f.limits[r.Partition] {
			r.Last = min(r.Last, f.limits[r.Partition]-1)
			e.ranges = append(e.ranges, r)
			e.inserts -= r.Rows
		}
	}
	return e
}

// sift parts the rows of a file that stand for records from the others. stretches are
// its own, sorted by place; taken are other files'.
func (f *file) sift(stretches []rows.Stretch, taken map[int32][]rows.Stretch, total int64) examined {
	e := examined{kept: []rows.Stretch{}, inserts: total}
	for _, list := range taken {
		slices.SortFunc(list, func(a, b rows.Stretch) int { return int(min(max(a.First-b.First, -1), 1)) })
	}
	keep := func(s rows.Stretch) {
		e.kept = append(e.kept, s)
		e.inserts -= s.Rows
		last := s.First + s.Rows - 1
		if i := len(e.ranges) - 1; i >= 0 && e.ranges[i].Partition == s.Partition {
			e.ranges[i].Last = last
			e.ranges[i].Rows += s.Rows
		} else {
			e.ranges = append(e.ranges, rows.Range{Partition: s.Partition, First: s.First, Last: last, Rows: s.Rows})
		}
	}
	for _, s := range stretches {
		if int(s.Partition) >= len(f.limits) {
			continue
		}
		s.Rows = min(s.Rows, f.limits[s.Partition]-s.First)
		list := taken[s.Partition]
		for s.Rows > 0 {
			// What ends before s is of no interest to the stretches behind it either.
			for len(list) > 0 && list[0].First+list[0].Rows <= s.First {
				list = list[1:]
			}
			free := s.Rows
			if len(list) > 0 {
				free = min(free, max(0, list[0].First-s.First))
			}
			if free > 0 {
				keep(rows.Stretch{Partition: s.Partition, First: s.First, Row: s.Row, Rows: free})
			}
			skip := free
			if len(list) > 0 && free < s.Rows { // list[0] holds what follows
				skip = min(s.Rows, list[0].First+list[0].Rows-s.First)
			}
			s.First, s.Row, s.Rows = s.First+skip, s.Row+skip, s.Rows-skip
		}
		taken[s.Partition] = list
	}
	slices.SortFunc(e.kept, func(a, b rows.Stretch) int { return int(min(max(a.Row-b.Row, -1), 1)) })
	return e
}

// overlapping are the other files that may hold places of the given ranges, but for
// those that are not looked into yet.
func (x *index) overlapping(f *file, ranges []rows.Range) (files []*file) {
	seen := map[*file]bool{f: true}
	for _, r := range ranges {
		if r.Partition < 0 || int(r.Partition) >= len(x.partitions) {
			continue
		}
		for _, e := range x.from(r.Partition, r.First, r.Last+1, math.MaxInt) {
			if !seen[e.file] {
				seen[e.file] = true
				files = append(files, e.file)
			}
		}
	}
	return files
}

// commitTime is when another writer's entry was committed, in ms: what it says, or what
// the file says if that may be a time (some engines write seconds or microseconds).
func commitTime(info *delta.CommitInfo, modified int64) int64 {
	if info != nil && info.Timestamp > 0 {
		return info.Timestamp
	}
	now := time.Now()
	if t := time.UnixMilli(modified); t.Year() >= 2000 && t.Before(now.Add(24*time.Hour)) {
		return modified
	}
	return now.UnixMilli()
}
