package storage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"sluice/storage/delta"
	"sluice/storage/object"
)

// Producer state is committed with the data, in the entry's commitInfo (a note),
// and as a whole beside each checkpoint (a state snapshot): the log may be cleaned
// up to a state snapshot and no further. Loading is the newest state snapshot plus
// the notes of the entries behind it.

// note is what Sluice puts into the commitInfo of an entry with records.
type note struct {
	// Table is the incarnation that the producers are of.
	Table     string         `json:"table"`
	Producers []producerNote `json:"producers,omitempty"`
}

// producerNote is one batch of a producer: partition, producer id, epoch, first and
// last sequence, base offset, time of arrival (ms), LogAppendTime (ms, or -1).
type producerNote [8]int64

// stateSnapshot is the content of _sluice/state/<version>.
type stateSnapshot struct {
	Version int64 `json:"version"`
	note
}

const stateFolder = "_sluice/state/"

func stateKey(table string, version int64) string {
	return fmt.Sprintf("%s/%s%020d", table, stateFolder, version)
}

// learn takes up the batches of a note. Those it holds already are skipped: a
// state snapshot may be newer than the entry.
func (ps *producers) learn(notes []producerNote, partitions int32) {
	for _, n := range notes {
		key := producerKey{int32(n[0]), n[1]}
		if n[0] < 0 || n[0] >= int64(partitions) {
			continue
		}
		if p := ps.byID[key]; p != nil && (int16(n[2]) < p.epoch ||
			int16(n[2]) == p.epoch && n[5] <= p.batches[len(p.batches)-1].base) {
			continue
		}
		ps.add(key, batch{epoch: int16(n[2]), first: int32(n[3]), last: int32(n[4]), base: n[5], timestamp: n[7]}, n[6])
	}
}

// notes lists the committed batches.
func (ps *producers) notes() (all []producerNote) {
	for key, p := range ps.byID {
		for _, b := range p.batches {
			if b.wait == nil {
				all = append(all, producerNote{int64(key.partition), key.id, int64(b.epoch), int64(b.first), int64(b.last), b.base, p.touched, b.timestamp})
			}
		}
	}
	return all
}

// entryNotes are the producer notes of an entry, if it has any of that incarnation.
func entryNotes(e *delta.Entry, tableID string) []producerNote {
	if e.Info == nil || len(e.Info.Sluice) == 0 {
		return nil
	}
	var n note
	if json.Unmarshal(e.Info.Sluice, &n) != nil || n.Table != tableID {
		return nil
	}
	return n.Producers
}

// writeState keeps the producer state as of a version and drops older ones.
func writeState(ctx context.Context, store object.Store, table string, s stateSnapshot) error {
	body, err := json.Marshal(s)
	if err != nil {
		return err
	}
	key := stateKey(table, s.Version)
	if _, err := store.Put(ctx, key, body); err != nil {
		return err
	}
	var old []string
	_, err = object.All(ctx, store, object.ListRequest{Prefix: table + "/" + stateFolder}, func(info object.Info) error {
		if info.Key < key {
			old = append(old, info.Key)
		}
		return nil
	})
	// The one before stays: somebody may be loading it.
	if err != nil || len(old) < 2 {
		return err
	}
	_, err = store.Delete(ctx, old[:len(old)-1]...)
	return err
}

// loadProducers rebuilds the producer state as of snap. tail are the entries that
// were read anyway, the newest ones in order.
func loadProducers(ctx context.Context, log *delta.Log, snap *delta.Snapshot, partitions int32, tail []*delta.Entry) (*producers, error) {
	ps := newProducers()
	from, err := loadState(ctx, log, snap, partitions, ps)
	if err != nil {
		return nil, err
	}
	begins := snap.Version + 1
	if len(tail) > 0 {
		begins = tail[0].Version
	}
	for version := from; version < begins; version++ {
		e, _, err := log.ReadEntry(ctx, version)
		if errors.Is(err, object.ErrNotFound) {
			continue // cleaned up by an engine; what it said of producers is lost
		}
		if err != nil {
			return nil, err
		}
		ps.learn(entryNotes(e, snap.Metadata.ID), partitions)
	}
	for _, e := range tail {
		if e.Version >= from {
			ps.learn(entryNotes(e, snap.Metadata.ID), partitions)
		}
	}
	return ps, nil
}

// loadState reads the newest state snapshot up to snap and answers the first
// version that it does not cover.
func loadState(ctx context.Context, log *delta.Log, snap *delta.Snapshot, partitions int32, ps *producers) (from int64, err error) {
	var newest string
	var version int64
	prefix := log.Table() + "/" + stateFolder
	_, err = object.All(ctx, log.Store(), object.ListRequest{Prefix: prefix}, func(info object.Info) error {
		n, err := strconv.ParseInt(strings.TrimPrefix(info.Key, prefix), 10, 64)
		if err == nil && n >= 0 && n <= snap.Version {
			newest, version = info.Key, n
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	if newest == "" {
		// No checkpoint of ours yet, so nothing is cleaned up: begin where the log does.
		return max(0, snap.Version-maxReplay), nil
	}
	o, err := log.Store().Get(ctx, newest, object.Range{Length: maxStateBytes + 1})
	if err != nil {
		return 0, err
	}
	s, err := parseState(version, o.Body)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", newest, err)
	}
	if s.Table == snap.Metadata.ID {
		ps.learn(s.Producers, partitions)
	}
	return s.Version + 1, nil
}

// maxStateBytes is far above what maxProducers take.
const maxStateBytes = 64 << 20

// parseState reads the state snapshot of a version. One that speaks of another would
// have entries skipped, or be read from where there never were any.
func parseState(version int64, body []byte) (s stateSnapshot, err error) {
	switch {
	case len(body) > maxStateBytes:
		err = fmt.Errorf("more than %d bytes", maxStateBytes)
	case json.Unmarshal(body, &s) != nil:
		err = errors.New("malformed")
	case s.Version != version:
		err = fmt.Errorf("of version %d", s.Version)
	}
	if err != nil {
		return stateSnapshot{}, fmt.Errorf("%w: state snapshot: %w", delta.ErrCorrupt, err)
	}
	return s, nil
}

// maxReplay bounds the entries read for producer state where there is no state
// snapshot. Ours come with every checkpoint, so there are never that many.
const maxReplay = 10_000
