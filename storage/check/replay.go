package check

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"sluice/storage/object"
)

// maxEntryBytes bounds an entry that is read.
const maxEntryBytes = 256 << 20

const (
	doRestoreLog = "Nothing may be written to the table before this is understood: keep a copy of its _delta_log, stop the broker, restore the log from a backup or from the store's object versions."
	doReport     = "This is a defect of whoever wrote that version (commitInfo.engineInfo): please report it with this output."
)

// replayer follows the log.
type replayer struct {
	*checker
	state     *state
	txnIDs    map[string]int64 // the versions that they were seen in
	timestamp int64            // of the entry before, ms
	// open says that any engine may write the table, as of the entry at hand.
	open bool
	// spoken are the files that the entries of the log, without checkpoints, have in
	// the table, by name.
	spoken map[string]bool
}

// strict is the severity of a rule that Sluice keeps, and that an engine may break
// without harm to rows where all may write.
func (r *replayer) strict() Severity {
	if r.open {
		return Warning
	}
	return Error
}

// replay reads the log from its oldest usable point up to the tip, and compares each
// checkpoint with the entries before it.
func (c *checker) replay() error {
	l := c.listing
	begin := l.begin()
	r := &replayer{checker: c, txnIDs: map[string]int64{}, open: true, spoken: map[string]bool{}}
	switch {
	case begin == 0 && l.first == 0:
		r.state = newState()
	case begin < 0:
		c.report(Error, wholeTable, doRestoreLog, "the log begins with version %d and has no complete checkpoint: nothing can be read", l.first)
		return nil
	}
	c.strays(begin)
	var versions []int64
	for v := begin; v <= l.tip; v++ {
		versions = append(versions, v)
	}
	err := ordered(c.ctx, len(versions), parallel, func(ctx context.Context, i int) (*entry, error) {
		return c.readEntry(ctx, versions[i])
	}, func(i int, e *entry) error {
		c.progress("log", int64(i), int64(len(versions)))
		return r.follow(versions[i], e)
	})
	if err != nil {
		return err
	}
	c.progress("log", int64(len(versions)), int64(len(versions)))
	if c.state = r.state; c.state != nil {
		if err := r.checkSpoken(begin); err != nil {
			return err
		}
	}
	if r.state == nil {
		c.report(Error, atVersion(l.tip), doRestoreLog, "the newest version cannot be told from the log")
	}
	return nil
}

// strays notes what lies before the log's beginning. A writer that was stopped for
// long can leave an entry or a checkpoint where cleanup had been
// (storage/delta/README.md): no reader looks there.
func (c *checker) strays(begin int64) {
	for version, parts := range c.listing.checkpoints {
		if version < begin && parts.complete() != nil && c.listing.stray(version) {
			c.report(Info, atVersion(version), "Nothing: readers begin at a newer checkpoint.",
				"a checkpoint from before the log's beginning, %d, which an overtaken writer has put late", begin)
		}
	}
	stray, gap := 0, false
	previous := int64(-1)
	for v := c.listing.first; v >= 0 && v < begin; v++ {
		if _, ok := c.listing.entries[v]; !ok {
			continue
		}
		stray++
		gap = gap || previous >= 0 && v != previous+1
		previous = v
	}
	if gap || stray > 0 && previous+1 != begin {
		c.report(Info, atVersion(c.listing.first), "Nothing: readers begin at the checkpoint, and cleanup takes them when they are old enough.",
			"%s before the oldest checkpoint, %d, with gaps", plural(stray, "entry"), begin)
	}
}

// readEntry reads one entry; nil if it is not there or no entry, which is reported
// by follow.
func (c *checker) readEntry(ctx context.Context, version int64) (*entry, error) {
	info, ok := c.listing.entries[version]
	if !ok {
		return nil, nil
	}
	o, err := c.store.Get(ctx, info.Key, object.Range{Length: maxEntryBytes + 1})
	if errors.Is(err, object.ErrNotFound) {
		return nil, errCleaned
	}
	if err != nil {
		return nil, err
	}
	e, err := parseEntry(version, o.Body)
	if len(o.Body) > maxEntryBytes {
		err = fmt.Errorf("more than %d bytes", maxEntryBytes)
	}
	if err != nil {
		return &entry{version: version, oddities: []string{err.Error()}}, nil
	}
	e.sound = true
	return e, nil
}

// follow takes up one version, whose entry is nil if it is missing.
func (r *replayer) follow(version int64, e *entry) error {
	parts, checkpointed := r.listing.checkpoints[version]
	switch {
	case e == nil && checkpointed && r.state == nil:
		r.report(Warning, atVersion(version), "Nothing, if an engine cleaned up the log; Sluice keeps this entry.", "the entry of the oldest checkpoint is not there")
	case e == nil:
		r.report(Error, atVersion(version), doRestoreLog, "the entry is missing, and entries or a checkpoint follow")
		r.state = nil
	case !e.sound:
		r.report(Error, atVersion(version), doRestoreLog, "the entry cannot be read: %s", strings.Join(e.oddities, ", "))
		r.state = nil
	default:
		r.Counts.Versions++
		if len(e.protocol) > 0 {
			r.open = e.protocol[0].open()
		}
		r.checkEntry(e)
		r.speak(e)
		if r.state != nil {
			r.apply(e)
		}
	}
	if !checkpointed {
		return nil
	}
	return r.meetCheckpoint(version, parts)
}

// meetCheckpoint compares a checkpoint with the replay, or goes on from it where
// the entries before do not tell.
func (r *replayer) meetCheckpoint(version int64, parts checkpointParts) error {
	const do = "Delete this checkpoint if an older one and all entries after that are there, or if version 0 is; the next one will be written in its time."
	objects := parts.complete()
	if objects == nil {
		r.report(Warning, atVersion(version), do, "the checkpoint has %d of %d parts: readers pass over it", len(parts.parts), parts.of)
		return nil
	}
	r.Counts.Checkpoints++
	found, err := readCheckpoint(r.ctx, r.store, version, objects)
	if errors.Is(err, errUnreadable) {
		r.report(Error, atVersion(version), do, "the checkpoint cannot be read: %v", err)
		return nil
	}
	if err != nil {
		return err
	}
	if r.state == nil {
		r.state, r.open = found, found.protocol.open()
		return nil
	}
	const most = 5
	differences := differ(r.state, found)
	if n := len(differences) - most; n > 0 {
		differences = append(differences[:most], fmt.Sprintf("and %d more", n))
	}
	if differences != nil {
		r.report(Error, atVersion(version), do, "the checkpoint is not what the entries say: %s", strings.Join(differences, "; "))
	}
	return nil
}

// checkEntry judges an entry by itself and by those before it.
func (r *replayer) checkEntry(e *entry) {
	at := atVersion(e.version)
	for _, odd := range e.oddities {
		r.report(r.strict(), at, doReport, "%s: some readers refuse the table over it", odd)
	}
	r.checkInfo(e)
	if len(e.protocol) > 1 || len(e.metadata) > 1 {
		r.report(Error, at, doReport, "%d protocol and %d metaData actions; one of each is allowed", len(e.protocol), len(e.metadata))
	}
	if e.version == 0 && (len(e.protocol) == 0 || len(e.metadata) == 0) {
		r.report(Error, at, doRestoreLog, "version 0 without protocol and metaData")
	}
	seen := map[string]bool{}
	for _, t := range e.txns {
		if t.AppID == "" || t.Version == nil {
			r.report(Error, at, doReport, "a txn action without appId or version")
		}
		if seen[t.AppID] {
			r.report(Error, at, doReport, "two txn actions of %q", t.AppID)
		}
		seen[t.AppID] = true
	}
	r.checkFileActions(e)
}

func (r *replayer) checkInfo(e *entry) {
	at := atVersion(e.version)
	if e.info == nil {
		r.report(r.strict(), at, doReport, "no commitInfo: readers cannot tell when and by whom it was made")
		return
	}
	if !e.infoFirst {
		r.report(Info, at, "Nothing.", "commitInfo is not the first action")
	}
	if e.info.Timestamp <= r.timestamp {
		r.report(r.strict(), at, doReport, "its timestamp %d does not rise above %d: readers that order versions by time mix them up", e.info.Timestamp, r.timestamp)
	}
	r.timestamp = max(r.timestamp, e.info.Timestamp)
	if e.info.TxnID == "" {
		if strings.HasPrefix(e.info.EngineInfo, "sluice") {
			r.report(Error, at, doReport, "an entry of Sluice without a txnId")
		}
		return
	}
	if other, twice := r.txnIDs[e.info.TxnID]; twice {
		r.report(Error, at, doReport, "the txnId of version %d: one commit stands in the log twice", other)
	}
	r.txnIDs[e.info.TxnID] = e.version
}

// checkFileActions judges the adds and removes of an entry by themselves.
func (r *replayer) checkFileActions(e *entry) {
	at := atVersion(e.version)
	seen := map[string]bool{}
	var changes, rearranges bool
	file := func(path string, dataChange *bool, vector []byte) {
		if path == "" || dataChange == nil {
			r.report(Error, at.of(path), doReport, "a file action without path or dataChange")
		}
		if name := nameOf(path); seen[name] {
			r.report(Error, at.of(path), doReport, "the path stands in it twice")
		} else {
			seen[name] = true
		}
		if len(vector) > 0 && string(vector) != "null" {
			r.report(Error, at.of(path), "Rewrite the file without deletion vectors (REORG TABLE ... APPLY (PURGE)) by the engine that made it.", "a deletion vector, which readers of version 1 do not see")
		}
		if dataChange != nil && *dataChange {
			changes = true
		} else {
			rearranges = true
		}
	}
	for _, a := range e.adds {
		file(a.Path, a.DataChange, a.DeletionVector)
		if a.PartitionValues == nil || a.Size == nil || a.ModificationTime == nil {
			r.report(Error, at.of(a.Path), doReport, "an add without partitionValues, size or modificationTime: delta-kernel refuses the table over it")
		}
	}
	for _, m := range e.removes {
		file(m.Path, m.DataChange, m.DeletionVector)
		if m.DeletionTimestamp == 0 {
			r.report(r.strict(), at.of(m.Path), doReport, "a remove without deletionTimestamp: nobody can tell when its file may go")
		}
	}
	if changes && rearranges {
		r.report(r.strict(), at, doReport, "file actions with dataChange=true and with false: streams take up the false ones too")
	}
}

// apply moves the state on by one entry.
func (r *replayer) apply(e *entry) {
	s, at := r.state, atVersion(e.version)
	before := s.metadata
	if len(e.protocol) > 0 {
		s.protocol = e.protocol[0]
	}
	if len(e.metadata) > 0 {
		r.checkMetadata(at, before, e.metadata[0])
		s.metadata = e.metadata[0]
	}
	if r.producers != nil {
		r.producers.follow(s, before.ID, e)
	}
	for _, t := range e.txns {
		if t.Version == nil {
			continue
		}
		r.checkTxn(at, t)
		s.txns[t.AppID] = *t.Version
	}
	r.checkRearranged(e)
	for _, m := range e.removes {
		name := nameOf(m.Path)
		if f, live := s.files[name]; live {
			s.tombstones[name] = tombstone{path: f.path, deleted: m.DeletionTimestamp}
		} else if !slices.ContainsFunc(e.adds, func(a add) bool { return nameOf(a.Path) == name }) {
			severity := r.strict() // delta-rs does so when it overlooks another's rewriting
			if e.info != nil && strings.HasPrefix(e.info.EngineInfo, "sluice") {
				severity = Error
			}
			r.report(severity, at.of(m.Path), doReport, "it removes a file that is not in the table")
		}
		delete(s.files, name)
	}
	if before.deleted() && s.metadata.ID == before.ID && len(e.adds) > 0 {
		r.report(Error, at, doReport, "files are added to the table of a deleted topic")
	}
	for _, a := range e.adds {
		r.applyAdd(at, a)
	}
	if s.metadata.deleted() && len(s.files) > 0 {
		r.report(Error, at, doReport, "the topic is deleted and %s in its table", plural(len(s.files), "file"))
	}
	s.version = e.version
}

func (r *replayer) applyAdd(at place, a add) {
	s, name := r.state, nameOf(a.Path)
	f := liveFile{path: a.Path, stats: a.Stats, tags: a.Tags}
	if a.Size != nil {
		f.size = *a.Size
	}
	if a.ModificationTime != nil {
		f.modified = *a.ModificationTime
	}
	old, live := s.files[name]
	_, left := s.tombstones[name]
	switch {
	case live && a.DataChange != nil && *a.DataChange:
		r.report(r.strict(), at.of(a.Path), doReport, "a file that is in the table is added again with dataChange=true: streams read its rows twice")
	case live && old.size != f.size:
		r.report(Error, at.of(a.Path), doReport, "a file that is in the table is added again with %d bytes instead of %d", f.size, old.size)
	case left:
		r.report(Warning, at.of(a.Path), "Nothing, if somebody restored an older version.", "a file that had left the table is added again")
	}
	delete(s.tombstones, name)
	s.files[name] = f
}

// checkTxn judges a txn action by the one before it.
func (r *replayer) checkTxn(at place, t txn) {
	old, known := r.state.txns[t.AppID]
	for _, prefix := range []string{nextOffsetPrefix, logStartPrefix} {
		id, partition, ok := topicTxn(t.AppID, prefix)
		switch {
		case !ok:
		case id != r.state.metadata.ID:
			r.report(Error, at.in(partition), doReport, "%s is of the topic %s, the table's is %s", strings.TrimSuffix(prefix, "/"), id, r.state.metadata.ID)
		case partition >= r.state.partitions():
			r.report(Error, at.in(partition), doReport, "%s of a partition that the topic does not have", strings.TrimSuffix(prefix, "/"))
		case known && *t.Version < old:
			r.report(Error, at.in(partition), doReport, "%s falls from %d to %d", strings.TrimSuffix(prefix, "/"), old, *t.Version)
		}
	}
	if t.AppID == epochApp && known && *t.Version <= old {
		r.report(Error, at, doReport, "the leader epoch goes from %d to %d: it must rise", old, *t.Version)
	}
}

// checkMetadata judges a change of metaData.
func (r *replayer) checkMetadata(at place, old, now metadata) {
	if r.keyed() || old.ID == "" {
		return
	}
	if old.ID != now.ID && !old.deleted() {
		r.report(Error, at, doReport, "the table's id changes from %s to %s, though the topic was not deleted", old.ID, now.ID)
	}
	before, after := (&state{metadata: old}).partitions(), (&state{metadata: now}).partitions()
	if old.ID == now.ID && after < before {
		r.report(Error, at, doReport, "the number of partitions falls from %d to %d", before, after)
	}
}

// checkRearranged compares the rows that a commit of nothing but dataChange=false
// takes out with those that it brings in [P Add File and Remove File]: it promises
// to change none. Files of other writers may be adopted with fewer or more rows than
// their statistics say, and are left out.
func (r *replayer) checkRearranged(e *entry) {
	if len(e.adds) == 0 || len(e.removes) == 0 || r.keyed() {
		return
	}
	in, out := int64(0), int64(0)
	for _, a := range e.adds {
		n, ok := numRecords(a.Stats)
		if a.DataChange == nil || *a.DataChange || !ok {
			return
		}
		in += n
		if old, live := r.state.files[nameOf(a.Path)]; live {
			n, _ := numRecords(old.stats)
			out += n
		}
	}
	for _, m := range e.removes {
		f := r.state.files[nameOf(m.Path)]
		n, ok := numRecords(f.stats)
		if m.DataChange == nil || *m.DataChange || !ok || f.tags[rangesTag] == "" {
			return
		}
		out += n
	}
	if in != out {
		r.report(Error, atVersion(e.version), "Read the table at the version before to see which rows are missing; they can be restored from there as long as its files exist.",
			"a commit that says it changes no row takes %d rows out and brings %d in", out, in)
	}
}
