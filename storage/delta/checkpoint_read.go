package delta

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"sluice/storage/object"
)

// readCheckpoint builds the snapshot of a checkpoint, of one part or several.
// ErrCorrupt means that these bytes are of no use, errCleaned that a part is gone.
func (l *Log) readCheckpoint(ctx context.Context, files logCheckpointFiles) (s *Snapshot, err error) {
	s = NewSnapshot()
	s.Version, s.room = files.version, l.room()
	whole := s
	defer func() {
		if err != nil {
			whole.Release()
		}
	}()
	memory := l.opts.Memory
	state := checkpointState{memory: memory, room: memory.table}
	left := memory.maxCheckpoint()
	for _, part := range files.parts {
		if left -= part.size; left < 0 {
			return nil, fmt.Errorf("checkpoint of version %d: %w: more than %d bytes", files.version, ErrTooLarge, memory.maxCheckpoint())
		}
		err := func() error {
			// The size may have changed since the LIST; never take more than allowed.
			o, done, err := memory.Get(ctx, l.store, part.key, memory.maxCheckpoint())
			defer done()
			if errors.Is(err, object.ErrNotFound) {
				return errCleaned
			}
			if err != nil {
				return err
			}
			return state.read(ctx, s, o.Body)
		}()
		if err != nil {
			return nil, fmt.Errorf("checkpoint of version %d: %w", files.version, err)
		}
	}
	if err := state.finish(s); err != nil {
		return nil, fmt.Errorf("checkpoint of version %d: %w", files.version, err)
	}
	l.sawSound(files.version)
	return s, nil
}

// checkpointState is what the parts of a checkpoint have in common: what must be seen
// exactly once over all, and how many bytes of memory are left for what they unfold to.
type checkpointState struct {
	memory               *Memory
	protocols, metadatas int
	room                 int64
}

func (c *checkpointState) finish(s *Snapshot) error {
	if c.protocols != 1 || c.metadatas != 1 {
		return fmt.Errorf("%w: %d protocol and %d metaData actions", ErrCorrupt, c.protocols, c.metadatas)
	}
	if err := s.Protocol.CanRead(); err != nil {
		return err
	}
	s.Metadata = s.Metadata.complete()
	return s.Metadata.canRead()
}

// read adds the actions of one Parquet file to s. The bytes may be anybody's:
// columns are found by name, those we do not know are not read, and what the
// Parquet library makes of hostile ones is caught.
func (c *checkpointState) read(ctx context.Context, s *Snapshot, body []byte) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v\n%s", ErrCorrupt, r, debug.Stack())
		}
	}()
	file, claims, err := openParquet(body, c.room)
	if err != nil {
		return err
	}
	if claims.unfolded > unfoldAlone {
		done, err := c.memory.unfold(ctx)
		if err != nil {
			return err
		}
		defer done()
	}
	budget := newCheckpointBudget(len(body), c.room)
	budget.room = s.room
	for _, group := range file.RowGroups() {
		r := &checkpointGroupReader{root: file.Root(), chunks: group.ColumnChunks(), rows: int(group.NumRows()), budget: budget}
		if err := c.readGroup(s, r); err != nil {
			return err
		}
	}
	c.room = min(c.room, budget.bytes)
	return nil
}

func (c *checkpointState) readGroup(s *Snapshot, r *checkpointGroupReader) error {
	r.texts(func(int, string) { r.fail(&UnsupportedError{Feature: "v2Checkpoint"}) }, "sidecar", "path")
	c.readProtocol(s, r)
	c.readMetadata(s, r)
	readTxns(s, r)
	readAdds(s, r)
	readRemoves(s, r)
	return r.err
}

func (c *checkpointState) readProtocol(s *Snapshot, r *checkpointGroupReader) {
	p := &s.Protocol
	r.longs(func(_ int, n int64) { p.MinReaderVersion = int(n); c.protocols++ }, "protocol", "minReaderVersion")
	r.longs(func(_ int, n int64) { p.MinWriterVersion = int(n) }, "protocol", "minWriterVersion")
	r.lists(func(_ int, name string) { p.ReaderFeatures = append(p.ReaderFeatures, name) }, "protocol", "readerFeatures")
	r.lists(func(_ int, name string) { p.WriterFeatures = append(p.WriterFeatures, name) }, "protocol", "writerFeatures")
}

func (c *checkpointState) readMetadata(s *Snapshot, r *checkpointGroupReader) {
	m := &s.Metadata
	r.texts(func(_ int, id string) { m.ID = id; c.metadatas++ }, "metaData", "id")
	r.texts(func(_ int, name string) { m.Name = name }, "metaData", "name")
	r.texts(func(_ int, text string) { m.Description = text }, "metaData", "description")
	r.texts(func(_ int, name string) { m.Format.Provider = name }, "metaData", "format", "provider")
	r.texts(func(_ int, schema string) { m.SchemaString = schema }, "metaData", "schemaString")
	r.longs(func(_ int, ms int64) { m.CreatedTime = ms }, "metaData", "createdTime")
	r.lists(func(_ int, name string) { m.PartitionColumns = append(m.PartitionColumns, name) }, "metaData", "partitionColumns")
	r.maps(func(_ int, key, value string) { setValue(&m.Format.Options, key, value) }, "metaData", "format", "options")
	r.maps(func(_ int, key, value string) { setValue(&m.Configuration, key, value) }, "metaData", "configuration")
}

func readTxns(s *Snapshot, r *checkpointGroupReader) {
	txns := make([]*Txn, r.rows)
	r.texts(func(row int, id string) { txns[row] = &Txn{AppID: id}; r.takes(2 * pairBytes) }, "txn", "appId")
	r.longs(func(row int, n int64) {
		if t := txns[row]; t != nil {
			t.Version = n
		}
	}, "txn", "version")
	r.longs(func(row int, ms int64) {
		if t := txns[row]; t != nil {
			t.LastUpdated = ms
		}
	}, "txn", "lastUpdated")
	for _, t := range txns {
		if t != nil {
			s.Txns[t.AppID] = *t
		}
	}
}

func readAdds(s *Snapshot, r *checkpointGroupReader) {
	adds := make([]*Add, r.rows)
	r.texts(func(row int, path string) { adds[row] = &Add{Path: path}; r.takes(actionBytes) }, "add", "path")
	r.texts(func(int, string) { r.fail(&UnsupportedError{Feature: "deletionVectors"}) }, "add", "deletionVector", "storageType")
	number := func(into func(*Add) *int64, name string) {
		r.longs(func(row int, n int64) {
			if a := adds[row]; a != nil {
				*into(a) = n
			}
		}, "add", name)
	}
	number(func(a *Add) *int64 { return &a.Size }, "size")
	number(func(a *Add) *int64 { return &a.ModificationTime }, "modificationTime")
	missing := false // statistics
	r.texts(func(row int, stats string) {
		if a := adds[row]; a != nil {
			a.Stats = stats
		}
	}, "add", "stats")
	values := func(into func(*Add) *map[string]string, name string) {
		r.maps(func(row int, key, value string) {
			if a := adds[row]; a != nil {
				setValue(into(a), key, value)
			}
		}, "add", name)
	}
	values(func(a *Add) *map[string]string { return &a.PartitionValues }, "partitionValues")
	values(func(a *Add) *map[string]string { return &a.Tags }, "tags")
	for _, a := range adds {
		missing = missing || a != nil && a.Stats == ""
	}
	if missing {
		readParsedStats(adds, r)
	}
	if r.err != nil {
		return
	}
	for _, a := range adds {
		if a != nil {
			s.Files[FileName(a.Path)] = a
		}
	}
}

func readRemoves(s *Snapshot, r *checkpointGroupReader) {
	removes := make([]*Remove, r.rows)
	with := func(row int, set func(*Remove)) {
		if remove := removes[row]; remove != nil {
			set(remove)
		}
	}
	r.texts(func(row int, path string) { removes[row] = &Remove{Path: path}; r.takes(actionBytes) }, "remove", "path")
	r.longs(func(row int, ms int64) { with(row, func(t *Remove) { t.DeletionTimestamp = ms }) }, "remove", "deletionTimestamp")
	r.longs(func(row int, n int64) { with(row, func(t *Remove) { t.Size = n }) }, "remove", "size")
	r.bools(func(row int, b bool) { with(row, func(t *Remove) { t.DataChange = b }) }, "remove", "dataChange")
	r.bools(func(row int, b bool) { with(row, func(t *Remove) { t.ExtendedFileMetadata = b }) }, "remove", "extendedFileMetadata")
	r.maps(func(row int, key, value string) {
		with(row, func(t *Remove) { setValue(&t.PartitionValues, key, value) })
	}, "remove", "partitionValues")
	for _, remove := range removes {
		if remove != nil {
			s.Tombstones[FileName(remove.Path)] = remove
		}
	}
}

func setValue(m *map[string]string, key, value string) {
	if *m == nil {
		*m = make(map[string]string)
	}
	(*m)[key] = value
}
