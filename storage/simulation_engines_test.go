package storage

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/parquet-go/parquet-go"

	"sluice/storage/delta"
	"sluice/storage/object"
	"sluice/storage/object/mem"
	"sluice/storage/rows"
)

// Other writers of the tables: an engine, and an operator's commands.

// engine writes to tables now and then, as engines do: it rewrites some files, and in
// tables that are open to it inserts and deletes rows.
func (s *simulation) engine(random *rand.Rand) {
	for s.rest(random) {
		time.Sleep(time.Duration(random.ExpFloat64() * float64(5*time.Second)))
		name, err := simName(random), error(nil)
		switch random.IntN(4) {
		case 0, 1:
			err = s.optimize(name, random)
		case 2:
			err = s.insert(name, random)
		case 3:
			err = s.erase(name, random)
		}
		if err != nil {
			s.fail("engine: %v", err)
		}
	}
}

// table is a table as an engine finds it; nil if there is none, or another was made of it.
func (s *simulation) table(name string) (store *mem.Store, log *delta.Log, snap *delta.Snapshot, known *simTopic) {
	store = s.store.Handle()
	log = delta.NewLog(store, name, delta.Options{Window: simWindow})
	snap, err := log.Open(context.Background(), nil)
	if err != nil || snap.Metadata.Configuration[propertyDeleted] == "true" {
		return nil, nil, nil, nil // not made yet, or cleaned up meanwhile
	}
	return store, log, snap, s.known(name, TopicInfo{Name: name, ID: parseID(snap.Metadata.ID)})
}

// engineEntry is the entry of an engine behind a snapshot.
func (s *simulation) engineEntry(snap *delta.Snapshot, operation string) *delta.Entry {
	return &delta.Entry{Version: snap.Version + 1, Info: &delta.CommitInfo{
		Timestamp: snap.NextTimestamp(time.Now()), Operation: operation, TxnID: s.value("engine"),
	}}
}

// optimize rewrites files as OPTIMIZE or a Z-order do: without tags, the offsets interleaved.
func (s *simulation) optimize(name string, random *rand.Rand) error {
	ctx := context.Background()
	store, log, snap, _ := s.table(name)
	if snap == nil || len(snap.Files) < 4 {
		return nil
	}
	e := s.engineEntry(snap, "OPTIMIZE")
	parts := make([][]rows.Batch, 1+random.IntN(3))
	for _, remove := range removeAll(snap) {
		if random.IntN(3) == 0 || len(e.Removes) > 40 {
			continue
		}
		f := &file{key: name + "/" + remove.Path, size: remove.Size}
		r, err := rows.Open(ctx, f.size, source(store, f))
		if err != nil {
			return nil // deleted with its topic
		}
		ranges, err := r.Ranges(ctx)
		if err != nil {
			return err
		}
		placed := int64(0)
		for _, rng := range ranges {
			if rng.Last < snap.Txns[nextOffsetApp(snap.Metadata.ID, rng.Partition)].Version {
				placed += rng.Rows
			}
		}
		if placed < r.Rows() {
			continue // inserted: not to be written from batches
		}
		for _, rng := range ranges {
			batches, err := r.Read(ctx, rng.Partition, rng.First, rows.Limits{MaxBytes: 1 << 28, BatchBytes: 1})
			if err != nil {
				return err
			}
			for _, b := range batches {
				p := random.IntN(len(parts))
				parts[p] = append(parts[p], rows.Batch{Partition: rng.Partition, BaseOffset: b.First, Data: b.Data})
			}
		}
		remove.DataChange = false
		e.Removes = append(e.Removes, remove)
	}
	for _, part := range parts {
		if len(part) == 0 {
			continue
		}
		slices.SortFunc(part, func(a, b rows.Batch) int {
			if a.Partition != b.Partition {
				return int(a.Partition - b.Partition)
			}
			return int(a.BaseOffset - b.BaseOffset)
		})
		file, err := rows.NewEncoder(rows.Options{Codec: rows.Snappy}).Encode(name, part)
		if err != nil {
			return err
		}
		add := delta.Add{Path: newPath(), Size: int64(len(file.Body)), Stats: file.Stats, PartitionValues: map[string]string{}}
		if _, err := store.Put(ctx, name+"/"+add.Path, file.Body); err != nil {
			return err
		}
		e.Adds = append(e.Adds, add)
	}
	// An engine whose snapshot is outdated begins anew.
	if _, foreign, err := log.Commit(ctx, e, snap.Proved); err == nil && foreign == nil {
		s.count("rewrites by an engine")
	}
	return nil
}

// openTo reports whether an engine may change the rows of a table.
func (s *simulation) openTo(snap *delta.Snapshot, name string) bool {
	return snap != nil && s.kinds[name].open && snap.Protocol.MinWriterVersion == 2
}

// insert adds rows that have no place yet, or such that is not theirs.
func (s *simulation) insert(name string, random *rand.Rand) error {
	var list []tableRow
	var names []string
	for range 1 + random.IntN(5) {
		key := s.value("ins")
		row := bare(key, key+"="+s.value("insert"))
		switch random.IntN(4) {
		case 0:
			row.Partition = new(int32(random.IntN(3)))
		case 1:
			row.Partition, row.Offset = new(int32(random.IntN(3))), new(int64(1)<<40+int64(random.IntN(3)))
		case 2:
			row.Timestamp = new(time.Now().UnixMicro())
		}
		list, names = append(list, row), append(names, string(row.Value))
	}
	// Without a place of the table's, rows can be added behind any version.
	for range 20 {
		store, log, snap, k := s.table(name)
		if !s.openTo(snap, name) {
			return nil
		}
		add, err := putRows(store, name, list)
		if err != nil {
			return err
		}
		e := s.engineEntry(snap, "WRITE")
		add.DataChange, add.ModificationTime = true, e.Info.Timestamp
		e.Adds = []delta.Add{add}
		s.sending(k, true, names)
		_, foreign, err := log.Commit(context.Background(), e, snap.Proved)
		if errors.Is(err, delta.ErrMoved) {
			return nil // it may stand, or not
		}
		if err != nil {
			return err
		}
		if foreign == nil {
			s.log.Info("inserted", "topic", name, "version", e.Version, "values", names)
			s.mu.Lock()
			defer s.mu.Unlock()
			for _, v := range names {
				k.inserted[v] = true
			}
			s.counts["rows inserted"] += len(names)
			return nil
		}
		s.refused(k, names)
	}
	return nil
}

// putRows puts a data file as engines write it.
func putRows(store object.Store, name string, list []tableRow) (delta.Add, error) {
	var body bytes.Buffer
	if err := parquet.Write(&body, list); err != nil {
		return delta.Add{}, err
	}
	path := newPath()
	_, err := store.Put(context.Background(), name+"/"+path, body.Bytes())
	return delta.Add{Path: path, Size: int64(body.Len()), PartitionValues: map[string]string{}}, err
}

// erase deletes some rows that are records, as DELETE does.
func (s *simulation) erase(name string, random *rand.Rand) error {
	ctx := context.Background()
	store, log, snap, k := s.table(name)
	if !s.openTo(snap, name) {
		return nil
	}
	e := s.engineEntry(snap, "DELETE")
	var gone []simPlace
	for _, remove := range removeAll(snap) {
		if random.IntN(3) > 0 || len(e.Removes) == 3 {
			continue
		}
		o, err := store.Get(ctx, name+"/"+remove.Path, object.Range{})
		if err != nil {
			return nil // deleted with its topic
		}
		all, err := parquet.Read[tableRow](bytes.NewReader(o.Body), int64(len(o.Body)))
		if err != nil {
			return err
		}
		left := slices.DeleteFunc(all, func(r tableRow) bool {
			// parquet-go may write a null as an empty value: tombstones go with the others.
			if r.Partition == nil || r.Offset == nil || r.Value != nil && random.IntN(3) > 0 {
				return false
			}
			if *r.Offset >= snap.Txns[nextOffsetApp(snap.Metadata.ID, *r.Partition)].Version {
				return false // hidden
			}
			gone = append(gone, simPlace{*r.Partition, *r.Offset})
			return true
		})
		if len(left) > 0 {
			add, err := putRows(store, name, left)
			if err != nil {
				return err
			}
			add.DataChange, add.ModificationTime = true, e.Info.Timestamp
			e.Adds = append(e.Adds, add)
		}
		e.Removes = append(e.Removes, remove)
	}
	if len(gone) == 0 {
		return nil
	}
	s.mu.Lock()
	for _, place := range gone {
		k.deletable[place] = true
	}
	s.mu.Unlock()
	// An engine whose snapshot is outdated begins anew.
	if _, foreign, err := log.Commit(ctx, e, snap.Proved); err == nil && foreign == nil {
		s.log.Info("deleted by an engine", "topic", name, "version", e.Version, "places", gone)
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, place := range gone {
			k.erased[place] = true
		}
		s.counts["rows deleted by an engine"] += len(gone)
	}
	return nil
}

// SimCommands are the operator's commands on a table, by name: package admin imports
// this one, so that the tests beside this package set them.
var SimCommands = map[string]func(ctx context.Context, store object.Store, topic string, window time.Duration, keys [][]byte) error{}

// operator runs commands on tables beside the brokers, and stops some half-way.
func (s *simulation) operator(random *rand.Rand) {
	for s.rest(random) {
		time.Sleep(time.Duration(random.ExpFloat64() * float64(5*time.Second)))
		name, command := simName(random), []string{"optimize", "optimize", "vacuum", "purge", "delete"}[random.IntN(5)]
		_, _, snap, k := s.table(name)
		if snap == nil || SimCommands[command] == nil {
			continue
		}
		var keys [][]byte
		var gone []simPlace
		if command == "delete" {
			if !s.kinds[name].open {
				continue
			}
			keys, gone = s.forget(k, random)
		}
		line, store := s.weather.Line(random.Uint64(), 0), s.store.Handle()
		store.SetFaults(line.Fault)
		if share := random.Float64() * 0.3; !s.over() {
			line.Trouble(share)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		patience := time.AfterFunc(time.Duration(random.ExpFloat64()*float64(20*time.Second)), func() {
			line.Cut()
			cancel()
		})
		err := SimCommands[command](ctx, store, name, simWindow, keys)
		patience.Stop()
		cancel()
		s.log.Info("command", "topic", name, "command", command, "keys", keys, "err", err)
		switch {
		case err == nil:
			s.count("commands: " + command)
			s.mu.Lock()
			for _, place := range gone {
				k.erased[place] = true
			}
			s.mu.Unlock()
		case errors.Is(err, delta.ErrCorrupt), errors.Is(err, rows.ErrCorrupt), errors.Is(err, object.ErrNotFound):
			s.fail("%s of %s: %v", command, name, err)
		}
	}
}

// forget chooses a key to delete, and the records of it that are known.
func (s *simulation) forget(k *simTopic, random *rand.Rand) (keys [][]byte, gone []simPlace) {
	key := []string{"k0", "k1"}[random.IntN(2)]
	s.mu.Lock()
	defer s.mu.Unlock()
	k.forgotten[key] = true
	for place, v := range k.acked {
		if of, _ := parseValue(v); of == key {
			gone = append(gone, place)
		}
	}
	return [][]byte{[]byte(key)}, gone
}
