// Package offsets keeps the committed offsets and the memberships of consumer
// groups in a Delta table, <root>/_sluice/consumer_offsets, tied to the versions
// of the topics' tables.
package offsets

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"sluice/storage/delta"
	"sluice/storage/keyed"
	"sluice/storage/object"
)

// Offset is one committed offset.
type Offset struct {
	Topic       string
	TopicID     [16]byte // keeps a re-created topic from inheriting it
	Partition   int32
	Offset      int64
	LeaderEpoch int32 // -1: not given
	Metadata    string
	// TableVersion is the newest version of the topic's table when the offset
	// was committed, -1 if the topic was not open.
	TableVersion int64
	Committed    time.Time
	// Expires is set by the retention_time of old clients; zero means that the
	// broker's retention counts.
	Expires time.Time
}

// same reports whether committing b after a would change nothing but the time.
func same(a, b Offset) bool {
	return a.Offset == b.Offset && a.LeaderEpoch == b.LeaderEpoch && a.Metadata == b.Metadata &&
		a.TopicID == b.TopicID && a.Expires.Equal(b.Expires)
}

// Offsets are the groups' committed offsets and memberships. Safe for concurrent use.
type Offsets struct {
	table   *keyed.Table[key, row]
	options Options

	// mu guards the view of the table by group, and what is on its way into it.
	mu          sync.Mutex
	offsets     map[string]map[key]Offset
	memberships map[string][]byte
	pending     map[key]pending
	takenBack   func()
}

// pending is the newest change of a key that is on its way.
type pending struct {
	offset  Offset
	deleted bool
	wait    *Wait
}

// Options are the settings of the offsets table.
type Options struct {
	// Retention is how long the offsets of an empty group are kept
	// (offsets.retention.minutes, default 7 days).
	Retention time.Duration
	// CommitInterval is the time between two versions under load.
	CommitInterval time.Duration
	// Budget is shared with the topics.
	Budget *delta.Budget
	Memory *delta.Memory // bounds what the table takes, shared with the topics
	Window time.Duration // see delta.Options
	Engine string        // names the writer in commitInfo
	Log    *slog.Logger
}

// Wait is the coming end of a commit.
type Wait = keyed.Wait

// Errors of a Wait that a caller decides by; others mean that the store does not
// answer as it should.
var (
	// ErrFenced: another broker has taken the table over, and coordinates the groups.
	ErrFenced = delta.ErrFenced
	// ErrClosed: the broker is shutting down.
	ErrClosed = delta.ErrStopping
)

const (
	tablePath        = "_sluice/consumer_offsets"
	defaultRetention = 7 * 24 * time.Hour
)

// Open loads the table, or makes it, and takes it over.
func Open(ctx context.Context, store object.Store, options Options) (*Offsets, error) {
	if options.Retention <= 0 {
		options.Retention = defaultRetention
	}
	table, err := keyed.Open(ctx, store, tablePath, keyed.Form[key, row]{
		Name: "consumer_offsets", Schema: schema,
		Key:      (*row).key,
		Sequence: func(r *row) *int64 { return &r.Sequence },
		Dead:     func(r *row) bool { return r.Deleted },
	}, keyed.Options{
		Committer: delta.CommitterOptions{
			Interval: func() time.Duration { return options.CommitInterval },
			Budget:   options.Budget, Engine: options.Engine, Log: options.Log,
		},
		Window: options.Window, Memory: options.Memory, Log: options.Log,
	})
	if err != nil {
		return nil, err
	}
	o := &Offsets{
		table: table, options: options,
		offsets: map[string]map[key]Offset{}, memberships: map[string][]byte{}, pending: map[key]pending{},
	}
	table.OnChange(func(rows []row, all bool) {
		o.mu.Lock()
		if all {
			clear(o.offsets)
			clear(o.memberships)
		}
		for i := range rows {
			o.take(&rows[i])
		}
		takenBack := o.takenBack
		o.mu.Unlock()
		if all && takenBack != nil {
			takenBack()
		}
	})
	table.Each(func(_ key, r *row) { o.take(r) })
	return o, nil
}

// take brings the view up to a committed row; o.mu is held.
func (o *Offsets) take(r *row) {
	k := r.key()
	switch {
	case r.Kind == kindMembership && r.Deleted:
		delete(o.memberships, k.group)
	case r.Kind == kindMembership:
		o.memberships[k.group] = []byte(value(r.Membership, ""))
	case r.Deleted:
		delete(o.offsets[k.group], k)
		if len(o.offsets[k.group]) == 0 {
			delete(o.offsets, k.group)
		}
	default:
		if o.offsets[k.group] == nil {
			o.offsets[k.group] = map[key]Offset{}
		}
		o.offsets[k.group][k] = r.offset()
	}
}

// Term is the time from when this broker took the table over until another does. What
// a coordinator decides by the memberships of a term is committed in that term or
// fails with ErrFenced: another one may have moved the group on since.
type Term struct {
	o      *Offsets
	number int64
}

// Term is the newest one. It is over as soon as another broker writes; the next
// write but a few seconds then begins another, see OnTakenBack.
func (o *Offsets) Term() Term { return Term{o, o.table.Term()} }

// OnTakenBack names the function that is called when another broker had the table and
// this one has taken it back: Memberships and all offsets are read anew, Term is the
// new one, and nothing is committed in it before f returns.
func (o *Offsets) OnTakenBack(f func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.takenBack = f
}

// confirmEvery is how old what Fetch and Group answer may be: much less than a group takes to
// go to another coordinator and commit there. Who asks for many groups one after the other
// still causes ten requests a second at most.
const confirmEvery = 100 * time.Millisecond

// Confirm makes sure that Fetch and Group know what was committed until a moment ago, which
// takes a GET unless there was a commit since. ErrFenced says that another broker
// coordinates the groups; this one is about to take them back.
func (o *Offsets) Confirm(ctx context.Context) error { return o.table.Confirm(ctx, confirmEvery) }

// OnLost names the function that is called when another broker has taken the table over.
// It must not block.
func (o *Offsets) OnLost(f func()) { o.table.OnLost(f) }

// Commit commits offsets of a group. It never blocks; concurrent commits of all
// groups share one version. Offsets that have not changed are not written again
// unless half of their retention is over.
func (t Term) Commit(group string, commits []Offset) *Wait {
	o := t.o
	o.mu.Lock()
	defer o.mu.Unlock()
	var rows []row
	var join *Wait // the newest commit on its way that says the same as one of ours
	for _, c := range commits {
		k := key{group, c.Topic, c.Partition}
		if p, ok := o.pending[k]; ok && !ended(p.wait) {
			if !p.deleted && same(p.offset, c) {
				join = p.wait
				continue
			}
		} else if old, ok := o.offsets[group][k]; ok && same(old, c) && c.Committed.Sub(old.Committed) < o.options.Retention/2 {
			continue
		}
		rows = append(rows, offsetRow(group, c))
	}
	if len(rows) == 0 && join != nil {
		return join
	}
	// Changes are committed in order: the end of this one implies that of join.
	wait := o.table.PutIn(t.number, rows...)
	for i := range rows {
		o.pending[rows[i].key()] = pending{offset: rows[i].offset(), wait: wait}
	}
	o.sweep(len(rows))
	return wait
}

// sweep drops pending changes that have ended, once there are many beside the n newest.
func (o *Offsets) sweep(n int) {
	if len(o.pending) > 2*n+1024 {
		maps.DeleteFunc(o.pending, func(_ key, p pending) bool { return ended(p.wait) })
	}
}

func ended(w *Wait) bool {
	select {
	case <-w.Done():
		return true
	default:
		return false
	}
}

// Fetch answers a group's committed offset of a partition. The topic's id must
// be the one that it was committed for.
func (o *Offsets) Fetch(group, topic string, topicID [16]byte, partition int32) (Offset, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	offset, ok := o.offsets[group][key{group, topic, partition}]
	if !ok || offset.TopicID != topicID {
		return Offset{}, false
	}
	return offset, true
}

// Group lists all committed offsets of a group, sorted by topic and partition.
func (o *Offsets) Group(group string) []Offset {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := slices.Collect(maps.Values(o.offsets[group]))
	slices.SortFunc(all, func(a, b Offset) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return all
}

// Size is how many committed offsets Group lists, and the bytes of their metadata.
func (o *Offsets) Size(group string) (count, metadata int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, offset := range o.offsets[group] {
		metadata += len(offset.Metadata)
	}
	return len(o.offsets[group]), metadata
}

// SizeOf is how many bytes the metadata have that a group committed for partitions of a
// topic, each as often as it is named.
func (o *Offsets) SizeOf(group, topic string, partitions []int32) (metadata int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	of := o.offsets[group]
	for _, partition := range partitions {
		metadata += len(of[key{group, topic, partition}].Metadata)
	}
	return metadata
}

// Groups lists the names of all groups that have offsets, sorted.
func (o *Offsets) Groups() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Sorted(maps.Keys(o.offsets))
}

// OfAnother reports whether the group has offsets for a topic of that name with another id.
func (o *Offsets) OfAnother(group, topic string, id [16]byte) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for k, offset := range o.offsets[group] {
		if k.topic == topic && offset.TopicID != id {
			return true
		}
	}
	return false
}

// KeepGroup keeps the membership record of a group (an encoded group.Record);
// nil forgets it.
func (t Term) KeepGroup(group string, record []byte) *Wait {
	if record == nil {
		return t.o.table.PutIn(t.number, gone(key{group: group}))
	}
	text := string(record)
	return t.o.table.PutIn(t.number, row{GroupID: group, Kind: kindMembership, CommitTimestamp: time.Now().UnixMicro(), Membership: &text})
}

// Memberships are the groups' newest membership records.
func (o *Offsets) Memberships() map[string][]byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	return maps.Clone(o.memberships)
}

// DeleteGroup forgets a group's offsets and membership.
func (t Term) DeleteGroup(group string) *Wait {
	return t.o.forget(func(k key, _ Offset) bool { return k.group == group }, group, func(rows ...row) *Wait {
		return t.o.table.PutIn(t.number, rows...)
	})
}

// DeleteOffsets forgets single partitions of a group.
func (o *Offsets) DeleteOffsets(group, topic string, partitions []int32) *Wait {
	return o.forget(func(k key, _ Offset) bool {
		return k.group == group && k.topic == topic && slices.Contains(partitions, k.partition)
	}, "", o.table.Put)
}

// DeleteTopic forgets a topic's offsets in all groups.
func (o *Offsets) DeleteTopic(topic string) *Wait {
	return o.forget(func(k key, _ Offset) bool { return k.topic == topic }, "", o.table.Put)
}

// Expire forgets the offsets that have outlived their retention: of groups without
// members, counted from when the group became empty or, if later, from their
// commit (KIP-211). emptySince answers for a group when it lost its last
// member, and false if it has members; the zero time means long ago.
func (o *Offsets) Expire(now time.Time, emptySince func(group string) (time.Time, bool)) *Wait {
	empty := map[string]time.Time{}
	for _, group := range o.Groups() { // asked without our lock: groups have their own
		if since, ok := emptySince(group); ok {
			empty[group] = since
		}
	}
	return o.forget(func(k key, offset Offset) bool {
		if !offset.Expires.IsZero() {
			return now.After(offset.Expires)
		}
		since, ok := empty[k.group]
		if !ok {
			return false
		}
		if offset.Committed.After(since) {
			since = offset.Committed
		}
		return now.Sub(since) >= o.options.Retention
	}, "", o.table.Put)
}

// forget deletes the offsets that match, and the membership of a group if one is
// named, by put.
func (o *Offsets) forget(match func(key, Offset) bool, membership string, put func(...row) *Wait) *Wait {
	o.mu.Lock()
	defer o.mu.Unlock()
	var rows []row
	if _, ok := o.memberships[membership]; ok {
		rows = append(rows, gone(key{group: membership}))
	}
	// A commit on its way is deleted too: it comes first, since changes keep their
	// order. What it says counts, not what it is about to replace.
	coming := map[key]Offset{}
	for k, p := range o.pending {
		if !p.deleted && !ended(p.wait) {
			coming[k] = p.offset
		}
	}
	for _, offsets := range o.offsets {
		for k, offset := range offsets {
			if newer, ok := coming[k]; ok {
				offset = newer
				delete(coming, k)
			}
			if match(k, offset) {
				rows = append(rows, gone(k))
			}
		}
	}
	for k, offset := range coming {
		if match(k, offset) {
			rows = append(rows, gone(k))
		}
	}
	wait := put(rows...)
	for i := range rows {
		// A commit that comes now must not be skipped for what is still to be seen.
		o.pending[rows[i].key()] = pending{deleted: true, wait: wait}
	}
	o.sweep(len(rows))
	return wait
}

// Version is the table's newest version.
func (o *Offsets) Version() int64 { return o.table.Version() }

// Close commits what is pending, within ctx, and stops.
func (o *Offsets) Close(ctx context.Context) error { return o.table.Close(ctx) }
