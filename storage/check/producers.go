package check

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/storage/object"
)

// The producers' state: the batches of idempotent producers in each entry's
// commitInfo, and snapshots of it beside checkpoints (storage/README.md).

// batch is one batch of a producer: partition, producer id, epoch, first and last
// sequence, base offset, time of arrival (ms), LogAppendTime (ms, or -1).
type batch []int64

const batchFields = 8

// count is how many records the batch has: sequences wrap (KIP-98).
func (b batch) count() int64 {
	if n := b[4] - b[3] + 1; n > 0 {
		return n
	}
	return b[4] - b[3] + 1 + 1<<31
}

// same reports whether two notes are of the same batch.
func (b batch) same(o batch) bool { return slices.Equal(b[:6], o[:6]) }

func (b batch) String() string {
	return fmt.Sprintf("producer %d, epoch %d, sequences %d to %d at offset %d", b[1], b[2], b[3], b[4], b[5])
}

// note is what stands in commitInfo.sluice and in a state snapshot.
type note struct {
	Version   int64   `json:"version"` // of a state snapshot
	Table     string  `json:"table"`
	Producers []batch `json:"producers"`
}

type producerKey struct{ partition, id int64 }

// producerReplay follows the producers' state along the log.
type producerReplay struct {
	*checker
	states map[int64]object.Info // snapshots by version, up to the tip
	from   int64                 // the replay takes up the entries behind this version
	until  int64                 // up to the newest snapshot, that of this version
	newest *note
	// batches are the last ones of each producer, as replayed; nil if there is nothing
	// to compare them with.
	batches map[producerKey][]batch
}

const (
	stateFolder = "/_sluice/state/"
	maxState    = 256 << 20 // bytes of a state snapshot
	// keptBatches is how many batches a producer's state holds.
	keptBatches = 5
	// stateProducers is how many producers a topic's state may hold before the quiet
	// ones leave early; keptFor is how long they stay otherwise, less an hour for clocks.
	stateProducers = 18_000
	keptFor        = 23 * time.Hour
)

// newProducerReplay lists the state snapshots and loads what the replay begins with.
func newProducerReplay(c *checker) (*producerReplay, error) {
	r := &producerReplay{checker: c, states: map[int64]object.Info{}, from: -1, until: -1}
	prefix := c.Table + stateFolder
	var versions []int64
	_, err := object.All(c.ctx, c.store, object.ListRequest{Prefix: prefix}, func(info object.Info) error {
		v, err := strconv.ParseInt(strings.TrimPrefix(info.Key, prefix), 10, 64)
		if err == nil && v <= c.listing.tip {
			r.states[v] = info
			versions = append(versions, v)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list its state snapshots: %w", err)
	}
	if len(versions) == 0 {
		return r, nil
	}
	r.until = versions[len(versions)-1]
	if r.newest, err = r.load(r.until); err != nil || r.newest == nil {
		return r, err
	}
	switch {
	case c.listing.begin() == 0 && c.listing.unbroken(0, r.until): // the log tells all
		r.batches = map[producerKey][]batch{}
	// Entries up to the checkpoint that the replay begins with are not taken up, though
	// some may still stand there.
	case len(versions) > 1 && versions[len(versions)-2] >= c.listing.begin() && c.listing.unbroken(versions[len(versions)-2]+1, r.until):
		r.from = versions[len(versions)-2]
		older, err := r.load(r.from)
		if err != nil || older == nil {
			return r, err
		}
		r.batches = map[producerKey][]batch{}
		if older.Table == r.newest.Table {
			r.learn(older.Producers)
		}
	}
	return r, nil
}

// load reads a state snapshot; nil if it is gone or no snapshot, which is reported.
func (r *producerReplay) load(version int64) (*note, error) {
	o, err := r.store.Get(r.ctx, r.states[version].Key, object.Range{Length: maxState})
	if errors.Is(err, object.ErrNotFound) {
		delete(r.states, version) // newer ones have been written
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	n := &note{Version: -1}
	if err := json.Unmarshal(o.Body, n); err != nil || n.Version != version || slices.ContainsFunc(n.Producers, func(b batch) bool { return len(b) < batchFields }) {
		r.report(Error, atVersion(version), "Delete it if an older one is there and all entries after that; idempotent producers may have to begin anew.", "the snapshot of the producers' state (_sluice/state) cannot be read")
		return nil, nil
	}
	return n, nil
}

func (r *producerReplay) learn(batches []batch) {
	for _, b := range batches {
		key := producerKey{b[0], b[1]}
		all := append(r.batches[key], b)
		if n := len(all) - keptBatches; n > 0 {
			all = slices.Clone(all[n:])
		}
		r.batches[key] = all
	}
}

// follow takes up the batches of an entry. s is the table before its txn actions
// and files, but with its metaData; before is the id that the topic had.
func (r *producerReplay) follow(s *state, before string, e *entry) {
	if s.metadata.ID != before && e.version > r.from { // else what it began with is of a later topic
		clear(r.batches)
	}
	if e.info == nil || len(e.info.Sluice) == 0 {
		return
	}
	at := atVersion(e.version)
	var n note
	if err := json.Unmarshal(e.info.Sluice, &n); err != nil || slices.ContainsFunc(n.Producers, func(b batch) bool { return len(b) < batchFields }) {
		r.report(Error, at, doReport, "commitInfo.sluice cannot be read: the state of idempotent producers is lost with it")
		return
	}
	if n.Table != s.metadata.ID {
		r.report(Error, at, doReport, "commitInfo.sluice is of the topic %s, the table's is %s", n.Table, s.metadata.ID)
		return
	}
	for _, b := range n.Producers {
		partition := int32(b[0])
		before := s.next(partition)
		after := before
		app := nextOffsetPrefix + s.metadata.ID + "/" + strconv.Itoa(int(partition))
		for _, t := range e.txns {
			if t.AppID == app && t.Version != nil {
				after = *t.Version
			}
		}
		// Adopted rows that got later offsets may have been committed before.
		overtaken := b[5] < before && e.holds(partition, b[5], b[5]+b.count()-1)
		if b[5] < before && !overtaken || b[5]+b.count() > after {
			r.report(Error, at.in(partition), doReport, "%v: the entry's records are at %d to %d", b, before, after-1)
		}
	}
	if r.batches != nil && e.version > r.from && e.version <= r.until {
		r.learn(n.Producers)
	}
}

// holds reports whether a file of the entry says that it has rows of all these offsets.
func (e *entry) holds(partition int32, first, last int64) bool {
	for i := range e.adds {
		spans, _ := parseRanges(e.adds[i].Tags[rangesTag])
		for _, s := range spans {
			if s.partition == partition && s.first <= first && s.last >= last {
				return true
			}
		}
	}
	return false
}

// finish compares the newest state snapshot with the replay, and asks whether the log
// reaches back to it.
func (r *producerReplay) finish() error {
	s := r.checker.state
	if s.metadata.deleted() {
		return nil
	}
	const do = "Retries of idempotent producers that span this point may be refused or doubled. Keep the log, and report this."
	checkpoint := r.listing.newestCheckpoint()
	if checkpoint > r.until {
		ours, err := r.byUs(checkpoint)
		switch {
		case err != nil:
			return err
		case ours:
			r.report(Error, atVersion(checkpoint), do, "no snapshot of the producers' state (_sluice/state) stands beside the newest checkpoint; the newest is of version %d", r.until)
		case !r.listing.unbroken(r.until+1, checkpoint):
			r.report(Error, atVersion(r.until), do, "the log is cleaned up beyond the newest snapshot of the producers' state")
		}
	}
	if r.newest == nil || r.newest.Table != s.metadata.ID {
		return nil // of the topic that was there before
	}
	held := map[producerKey]batch{}
	for _, b := range r.newest.Producers {
		held[producerKey{b[0], b[1]}] = b // the newest of a producer comes last
		if next := s.next(int32(b[0])); b[5]+b.count() > next {
			r.report(Error, atVersion(r.until).in(int32(b[0])), do, "the producers' state has %v; the next offset is %d", b, next)
		}
		if r.batches == nil {
			continue
		}
		if all := r.batches[producerKey{b[0], b[1]}]; !slices.ContainsFunc(all, b.same) {
			r.report(Error, atVersion(r.until).in(int32(b[0])), do, "the producers' state has %v; the log does not", b)
		}
	}
	if len(held) >= stateProducers {
		return nil // the quiet ones have left
	}
	now := r.listing.now
	if now.IsZero() {
		now = time.Now()
	}
	for key, all := range r.batches {
		last := all[len(all)-1]
		if last[6] < now.Add(-keptFor).UnixMilli() || key.partition >= int64(s.partitions()) {
			continue
		}
		if b, ok := held[key]; !ok || !b.same(last) {
			r.report(Error, atVersion(r.until).in(int32(key.partition)), do, "the producers' state lacks %v", last)
		}
	}
	return nil
}

// byUs reports whether Sluice has written a checkpoint: engines write some too, and
// no state beside it.
func (r *producerReplay) byUs(version int64) (ours bool, err error) {
	objects := r.listing.checkpoints[version].complete()
	err = withParquet(r.ctx, r.store, objects[0], true, createdBySluice(&ours))
	if errors.Is(err, object.ErrNotFound) {
		return false, errCleaned
	}
	if errors.Is(err, errUnreadable) {
		return false, nil // said already
	}
	return ours, err
}
