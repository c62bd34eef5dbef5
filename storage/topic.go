// Package storage keeps topics in Delta tables: partitions, offsets, append,
// read, watermarks. Kafka meets Delta here (and in package offsets), nowhere else.
//
// A record's way in: Topic.Append checks its batch, gives it its place and hands
// it to the table's committer (package delta), which calls back to encode a pool of
// batches as one file (encodePool), to complete the log entry (completeEntry), and
// when the entry stands in the log (applied). Its way out: Topic.Read, from the tail
// cache or from files that the index finds.
package storage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sluice/storage/delta"
	"sluice/storage/object"
	"sluice/storage/upkeep"
)

// TopicInfo is what the catalogue knows of a topic without opening its table.
type TopicInfo struct {
	Name       string
	ID         [16]byte // the table's metaData.id
	Partitions int32
	// LeaderEpoch is -1 as long as the topic is not open here and nobody has asked for it
	// (Topics.LearnEpochs).
	LeaderEpoch int32
}

// Topic is one open topic, led by this broker until another one takes it over.
// Safe for concurrent use.
type Topic struct {
	env      *env
	log      *delta.Log
	id       string // the table's metaData.id
	name     string
	defaults map[string]string
	closed   func(reason error) // tells Topics that this Topic is of no use any more
	calls    *object.Calls      // of the store, from the opening on
	uncount  func()             // ends their count

	epoch     int32 // our leader epoch
	lastEpoch int32 // the one before we took over
	committer *delta.Committer[*appended]

	foreign  int64 // the newest version of another writer's making; the committer's goroutine owns it
	version  atomic.Int64
	settings atomic.Pointer[Settings]
	used     atomic.Int64 // when somebody last read or appended, ms since 1970
	opened   int64        // when it was opened, the same
	// suspected says that another broker may lead, which is to be looked up for who waits.
	suspected atomic.Bool

	// mu guards what follows. It is never held across I/O.
	mu         sync.Mutex
	info       TopicInfo
	config     map[string]string
	partitions []*partition
	index      *index
	producers  *producers
	gone       error // why nothing works any more
	halted     error // why nothing works for now; see foreign.go
	listeners  map[chan<- struct{}]int
	looked     time.Time // when the log was last looked at
	looking    bool      // a look is under way
	unread     time.Time // when it was last logged that records cannot be read
	compacting bool
	moved      map[string]bool     // files that have left the table and their inserted rows not, by delta.FileName; see stale.go
	reviewing  bool                // other writers' files are being looked into
	adopted    map[string]struct{} // files of inserted rows that are about to be committed, by delta.FileName
	keyless    int                 // inserted rows without key or partition so far: they go round
	sinceCheck int                 // entries since it was last looked for files to compact
	// merging and cleaning are the files that are being rewritten: the one leaves
	// those of the other alone.
	merging, cleaning map[*file]bool

	resolving chan struct{} // capacity 1, held by who reads unresolved files

	sweep upkeep.Sweep // owned by Topics.tend
}

// partition is a partition's offsets and the cached end of its log. Guarded by
// Topic.mu, but for tail.
type partition struct {
	next int64 // the next offset to give out; what is appended is below it
	// pooled is the end of the appended batches that are committed, reserved what
	// has been given out to inserted rows and is not below it yet, in order.
	pooled   int64
	reserved []*reservation
	high     int64 // the high watermark: what is committed is below it
	logStart int64
	tail     tail
}

// openTopic loads a topic's table and takes it over.
func openTopic(ctx context.Context, env *env, info TopicInfo, defaults map[string]string, closed func(error)) (t *Topic, err error) {
	began := time.Now()
	calls, uncount := env.store.Watch(info.Name)
	defer func() {
		if err != nil {
			uncount()
		}
	}()
	log := env.newLog(info.Name)
	var tail []*delta.Entry
	snap, err := log.Open(ctx, func(e *delta.Entry) { tail = append(tail, e) })
	if errors.Is(err, delta.ErrNoTable) {
		return nil, fmt.Errorf("%w: the table of %s is not in the store any more, or neither its version 0 nor a whole checkpoint is: put it back as it was, and it goes on, or delete the topic", ErrStopped, info.Name)
	}
	if err != nil {
		return nil, storeError(unsupported(err))
	}
	defer func() {
		if err != nil {
			snap.Release()
		}
	}()
	if err := followable(snap.Protocol, snap.Metadata); err != nil {
		return nil, err
	}
	properties, err := parseProperties(snap.Metadata.Configuration)
	if err != nil {
		return nil, storeError(err)
	}
	if properties.deleted {
		return nil, fmt.Errorf("%w: %s", ErrUnknownTopic, info.Name)
	}
	t = &Topic{
		env: env, log: log, id: snap.Metadata.ID, name: info.Name, defaults: defaults, closed: closed,
		calls: calls, uncount: uncount,
		index: newIndex(properties.partitions), listeners: map[chan<- struct{}]int{},
		resolving: make(chan struct{}, 1), adopted: map[string]struct{}{}, moved: map[string]bool{},
		opened:    began.UnixMilli(),
		reviewing: true, // not before it is ours
		merging:   map[*file]bool{}, cleaning: map[*file]bool{},
	}
	if err := t.configure(&snap.Metadata); err != nil {
		return nil, err
	}
	if t.producers, err = loadProducers(ctx, log, snap, properties.partitions, tail); err != nil {
		return nil, storeError(err)
	}
	if err := t.loadFiles(ctx, snap, tail); err != nil {
		// A file that is gone may have left the table since, with a deleted topic.
		newest := snap.Clone()
		if moved := log.Follow(ctx, newest, nil); errors.Is(moved, delta.ErrMoved) || newest.Version > snap.Version {
			return nil, fmt.Errorf("%w: %s was written to while it was opened", ErrNotLeader, t.name)
		}
		return nil, err
	}
	t.lastEpoch = int32(delta.Epoch(snap))
	t.epoch = t.lastEpoch
	t.version.Store(snap.Version)
	if err := t.takeOver(ctx, snap); err != nil {
		return nil, err
	}
	t.mu.Lock()
	t.reviewing = false
	t.reviewLater()
	t.compactAfter(compactOpened) // it may have thousands of small files
	t.mu.Unlock()
	env.log.Info("topic opened", "topic", t.name, "version", t.version.Load(), "leader_epoch", t.epoch, "took", time.Since(began).Round(time.Microsecond))
	return t, nil
}

// loadFiles takes up the files of a snapshot, whose last entries are tail, and the offsets.
func (t *Topic) loadFiles(ctx context.Context, snap *delta.Snapshot, tail []*delta.Entry) error {
	// By time: the order in which the records were committed.
	adds := slices.SortedFunc(maps.Values(snap.Files), func(a, b *delta.Add) int {
		if c := cmp.Compare(a.ModificationTime, b.ModificationTime); c != 0 {
			return c
		}
		return cmp.Or(compareStarts(startOf(a), startOf(b)), cmp.Compare(a.Path, b.Path)) // of one entry
	})
	for _, a := range adds {
		t.addFile(a, 0)
	}
	t.restoreOffsets(snap)
	t.markForeign(snap, tail)
	if err := t.findStale(ctx, snap, tail); err != nil {
		return err
	}
	return t.resolve(ctx)
}

// restoreOffsets sets each partition's next offset and log start offset. The
// txn actions tell; the files whose tags say what they hold are looked at too, as a
// second witness. Those of other writers may hold rows that never were records.
func (t *Topic) restoreOffsets(snap *delta.Snapshot) {
	for i, p := range t.partitions {
		n := int32(i)
		p.next = max(snap.Txns[nextOffsetApp(t.id, n)].Version, t.index.end(n))
		p.high, p.pooled = p.next, p.next
		p.logStart = snap.Txns[logStartApp(t.id, n)].Version
	}
}

// takeOver starts the committer and raises the leader epoch. An entry of the
// leader before, made since snap was loaded, would change what was loaded: then
// somebody is leading the topic, and the caller may try again.
func (t *Topic) takeOver(ctx context.Context, snap *delta.Snapshot) error {
	t.committer = delta.Start(t.log, snap, delta.Hooks[*appended]{
		Encode:  t.encodePool,
		Entry:   t.completeEntry,
		Check:   t.checkForeign,
		Applied: t.applied,
		Failed:  t.failed,
		Stopped: t.stopped,
		Beside:  t.beside,
	}, delta.CommitterOptions{
		Interval:  t.interval,
		Hold:      t.held,
		Budget:    t.env.budget,
		Engine:    t.env.options.Engine,
		Courteous: true,
		Observe:   t.env.metrics.observe,
		Log:       t.env.log,
	})
	loaded := snap.Version
	epoch, err := delta.TakeOver(ctx, t.committer, nil)
	if err != nil {
		t.committer.Close(ctx)
		return storeError(err)
	}
	t.mu.Lock()
	t.epoch = int32(epoch)
	t.mu.Unlock()
	if v := t.version.Load(); v != loaded+1 {
		t.committer.Close(ctx)
		return fmt.Errorf("%w: %s was written to while it was opened", ErrNotLeader, t.name)
	}
	return nil
}

// configure takes up a metaData action: settings and partitions. t.mu is held, or
// t is not shared yet.
func (t *Topic) configure(m *delta.Metadata) error {
	properties, err := parseProperties(m.Configuration)
	if err != nil {
		return storeError(err)
	}
	settings, err := ParseSettings(properties.config, t.defaults)
	if err != nil {
		return fmt.Errorf("%w: table property: %w", ErrStopped, err)
	}
	t.settings.Store(&settings)
	t.unstick()
	t.log.SetMaxEntries(settings.HistoryVersions)
	t.config = properties.config
	for int32(len(t.partitions)) < properties.partitions {
		t.partitions = append(t.partitions, &partition{})
		if len(t.index.partitions) < len(t.partitions) {
			t.index.partitions = append(t.index.partitions, nil)
		}
	}
	t.info.Name, t.info.Partitions = t.name, int32(len(t.partitions))
	t.info.ID = parseID(m.ID)
	return nil
}

// interval is the time between versions under load.
func (t *Topic) interval() time.Duration {
	if d := t.settings.Load().CommitInterval; d >= 0 {
		return d
	}
	return t.env.options.CommitInterval
}

// addFile takes a file into the index, if its name allows that; t.mu is held, or t is
// not shared yet.
func (t *Topic) addFile(a *delta.Add, order int64) bool {
	key, err := t.log.DataKey(a.Path)
	if err != nil {
		t.unreadable(delta.FileName(a.Path), err)
		return false
	}
	t.index.add(key, a, order)
	return true
}

// Info is the topic as it is now.
func (t *Topic) Info() TopicInfo {
	t.mu.Lock()
	defer t.mu.Unlock()
	info := t.info
	info.LeaderEpoch = t.epoch
	return info
}

// TableURL is where engines find the topic's table.
func (t *Topic) TableURL() string { return t.env.tableURL(t.name) }

// Version is the newest version of the topic's table that is known here.
func (t *Topic) Version() int64 { return t.version.Load() }

// Settings is the topic's configuration in effect.
func (t *Topic) Settings() Settings { return *t.settings.Load() }

// Config is the topic's own configuration: the keys that differ from the defaults.
func (t *Topic) Config() map[string]string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.config)
}

// Alter changes the topic's own configuration to what change makes of it, as one
// commit, or none if it makes no difference. change gets a copy; it may be called
// again if another writer's entry comes first, and its error is returned as it is.
// ErrInvalidConfig names a key whose value is not legal.
func (t *Topic) Alter(ctx context.Context, change func(own map[string]string) (map[string]string, error)) error {
	return t.proposeNow(ctx, func(snap *delta.Snapshot) (*delta.Entry, error) {
		properties, err := parseProperties(snap.Metadata.Configuration)
		if err != nil {
			return nil, err
		}
		config, err := change(maps.Clone(properties.config))
		if err != nil || maps.Equal(config, properties.config) {
			return nil, err
		}
		settings, err := ParseSettings(config, t.defaults)
		if err != nil {
			return nil, err
		}
		if config[configYieldUntil] != properties.config[configYieldUntil] {
			if err := checkYield(settings, time.Now()); err != nil {
				return nil, err
			}
		}
		e := metadataEntry("SET TBLPROPERTIES", snap.Metadata)
		e.Metadata.Configuration = configuration(snap.Metadata.Configuration, properties.partitions, config, settings)
		if p := protocol(settings.AnyWriter); p.MinWriterVersion != snap.Protocol.MinWriterVersion {
			e.Protocol = p
		}
		return e, nil
	})
}

// metadataEntry is an entry that changes a table's metaData.
func metadataEntry(operation string, m delta.Metadata) *delta.Entry {
	return &delta.Entry{
		Info:     &delta.CommitInfo{Operation: operation, OperationParameters: map[string]string{}},
		Metadata: &m,
	}
}

// addPartitions raises the number of partitions to total.
func (t *Topic) addPartitions(ctx context.Context, total int32) error {
	return t.propose(ctx, func(snap *delta.Snapshot) (*delta.Entry, error) {
		properties, err := parseProperties(snap.Metadata.Configuration)
		if err != nil {
			return nil, err
		}
		if total <= properties.partitions {
			return nil, fmt.Errorf("%w: %s has %d partitions, %d are asked for; the number can only grow", ErrInvalidPartition, t.name, properties.partitions, total)
		}
		e := metadataEntry("ADD PARTITIONS", snap.Metadata)
		e.Metadata.Configuration = configuration(snap.Metadata.Configuration, total, properties.config, *t.settings.Load())
		return e, nil
	})
}

// delete commits that the topic is no more and deletes its data files.
func (t *Topic) delete(ctx context.Context) error {
	var keys []string
	err := t.proposeNow(ctx, func(snap *delta.Snapshot) (*delta.Entry, error) {
		keys = keys[:0]
		e := metadataEntry("DELETE TOPIC", snap.Metadata)
		e.Metadata.Configuration = maps.Clone(snap.Metadata.Configuration)
		e.Metadata.Configuration[propertyDeleted] = "true"
		delete(e.Metadata.Configuration, propertyAppendOnly)
		e.Removes = removeAll(snap)
		for i := range e.Removes {
			if key, err := t.log.DataKey(e.Removes[i].Path); err == nil {
				keys = append(keys, key)
			}
		}
		return e, nil
	})
	if err != nil {
		return err
	}
	<-t.committer.Done() // applied has ended it
	if _, err := t.env.store.Delete(ctx, keys...); err != nil {
		t.env.log.Warn("data files of a deleted topic stay behind", "topic", t.name, "files", len(keys), "err", err)
	}
	return nil
}

// DeleteRecords moves the log start offset up (KIP-107). before -1 means the
// high watermark. It returns the new log start offset.
func (t *Topic) DeleteRecords(ctx context.Context, n int32, before int64) (int64, error) {
	t.mu.Lock()
	p, err := t.partition(n)
	if err != nil {
		t.mu.Unlock()
		return -1, err
	}
	if before == -1 {
		before = p.high
	}
	start, high := p.logStart, p.high
	t.mu.Unlock()
	if before < 0 || before > high {
		return -1, fmt.Errorf("%w: %d is beyond the high watermark %d", ErrOffsetOutOfRange, before, high)
	}
	if before <= start {
		return start, nil
	}
	err = t.propose(ctx, func(snap *delta.Snapshot) (*delta.Entry, error) {
		app := logStartApp(t.id, n)
		if snap.Txns[app].Version >= before {
			return nil, nil
		}
		return &delta.Entry{
			Info: &delta.CommitInfo{Operation: "DELETE RECORDS", OperationParameters: map[string]string{"partition": fmt.Sprint(n), "before": fmt.Sprint(before)}},
			Txns: []delta.Txn{{AppID: app, Version: before, LastUpdated: time.Now().UnixMilli()}},
		}, nil
	})
	return before, err
}

func (t *Topic) propose(ctx context.Context, f func(*delta.Snapshot) (*delta.Entry, error)) error {
	return t.proposeBy(ctx, t.committer.Propose, f)
}

// proposeNow is propose for what does not wait until the table is the broker's again.
func (t *Topic) proposeNow(ctx context.Context, f func(*delta.Snapshot) (*delta.Entry, error)) error {
	return t.proposeBy(ctx, t.committer.ProposeNow, f)
}

type entryMaker = func(*delta.Snapshot) (*delta.Entry, error)

func (t *Topic) proposeBy(ctx context.Context, propose func(context.Context, entryMaker) error, f entryMaker) error {
	if err := t.reason(); err != nil {
		return err
	}
	err := propose(ctx, func(snap *delta.Snapshot) (*delta.Entry, error) {
		e, err := f(snap)
		if err != nil {
			err = refusal{err}
		}
		return e, err
	})
	if no, ok := errors.AsType[refusal](err); ok {
		return no.error
	}
	return storeError(err)
}

// refusal tells the error of a proposal's maker from one of the log.
type refusal struct{ error }

// partition finds a partition; t.mu is held.
func (t *Topic) partition(n int32) (*partition, error) {
	if t.gone != nil {
		return nil, t.gone
	}
	if t.halted != nil {
		return nil, t.halted
	}
	if n < 0 || int(n) >= len(t.partitions) {
		return nil, fmt.Errorf("%w: %s-%d", ErrUnknownPartition, t.name, n)
	}
	return t.partitions[n], nil
}

func (t *Topic) reason() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.gone
}

// Notify sends on ch, without blocking, whenever the topic has a new version or
// is of no use any more, until cancel is called.
func (t *Topic) Notify(ch chan<- struct{}) (cancel func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.listeners[ch]++
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.listeners[ch]--; t.listeners[ch] <= 0 {
			delete(t.listeners, ch)
		}
	}
}

// notify tells the listeners; t.mu is held.
func (t *Topic) notify() {
	for ch := range t.listeners {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

// end makes the topic useless for the given reason and tells all who wait.
func (t *Topic) end(reason error) {
	t.mu.Lock()
	first := t.gone == nil
	if first {
		t.gone = reason
		t.notify()
	}
	partitions := t.partitions
	t.mu.Unlock()
	if !first {
		return
	}
	for _, p := range partitions {
		t.env.tails.close(&p.tail)
	}
	t.uncount()
	t.closed(reason)
}

// abandon ends a topic whose table is gone: nothing more is committed. One entry may be
// on its way.
func (t *Topic) abandon() {
	t.end(t.errDeleted())
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = t.committer.Close(ctx) // what is pending fails
}

// close commits what is pending and ends the topic.
func (t *Topic) close(ctx context.Context) error {
	err := t.committer.Close(ctx)
	t.end(ErrClosed)
	return err
}
