package delta

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/parquet-go/parquet-go"

	"sluice/storage/object"
)

// The classic checkpoint, V1 [P Checkpoints]: one row per action, each action an
// optional group. Fields that the protocol requires are required columns; an
// empty optional string or zero optional number is null.
type checkpointRow struct {
	Txn      *checkpointTxn      `parquet:"txn"`
	Add      *checkpointAdd      `parquet:"add"`
	Remove   *checkpointRemove   `parquet:"remove"`
	Metadata *checkpointMetadata `parquet:"metaData"`
	Protocol *checkpointProtocol `parquet:"protocol"`
}

type checkpointTxn struct {
	AppID       string `parquet:"appId"`
	Version     int64  `parquet:"version"`
	LastUpdated *int64 `parquet:"lastUpdated"`
}

type checkpointAdd struct {
	Path             string            `parquet:"path"`
	PartitionValues  map[string]string `parquet:"partitionValues"`
	Size             int64             `parquet:"size"`
	ModificationTime int64             `parquet:"modificationTime"`
	DataChange       bool              `parquet:"dataChange"` // always false [P Action Reconciliation]
	Tags             map[string]string `parquet:"tags,optional"`
	Stats            *string           `parquet:"stats"`
}

// checkpointRemove is a tombstone: no stats, no tags.
type checkpointRemove struct {
	Path                 string            `parquet:"path"`
	DeletionTimestamp    int64             `parquet:"deletionTimestamp"`
	DataChange           bool              `parquet:"dataChange"`
	ExtendedFileMetadata bool              `parquet:"extendedFileMetadata"`
	PartitionValues      map[string]string `parquet:"partitionValues"`
	Size                 int64             `parquet:"size"`
}

type checkpointMetadata struct {
	ID               string            `parquet:"id"`
	Name             *string           `parquet:"name"`
	Description      *string           `parquet:"description"`
	Format           checkpointFormat  `parquet:"format"`
	SchemaString     string            `parquet:"schemaString"`
	PartitionColumns []string          `parquet:"partitionColumns,list"`
	Configuration    map[string]string `parquet:"configuration"`
	CreatedTime      *int64            `parquet:"createdTime"`
}

type checkpointFormat struct {
	Provider string            `parquet:"provider"`
	Options  map[string]string `parquet:"options"`
}

// checkpointProtocol has its feature lists null unless the versions are 3 and 7.
type checkpointProtocol struct {
	MinReaderVersion int32    `parquet:"minReaderVersion"`
	MinWriterVersion int32    `parquet:"minWriterVersion"`
	ReaderFeatures   []string `parquet:"readerFeatures,optional,list"`
	WriterFeatures   []string `parquet:"writerFeatures,optional,list"`
}

// checkpointBatch is how many rows are handed to the Parquet writer at a time.
const checkpointBatch = 1024

// WriteCheckpoint writes the classic checkpoint of s and then moves
// _last_checkpoint to it. now is the store's clock: tombstones older than
// delta.deletedFileRetentionDuration are left out. s is read, and must not change
// meanwhile; at the end its field Checkpoint is set. A checkpoint of that version
// that is there already, of whatever writer, is left alone: replacing it under a
// reader of its ranges would tear it.
//
// ErrUnsupported refuses a table of which a checkpoint would lose actions.
func (l *Log) WriteCheckpoint(ctx context.Context, s *Snapshot, now time.Time) error {
	if s.Version < 0 {
		return fmt.Errorf("checkpoint %s: %w", l.table, ErrNoTable)
	}
	if err := s.Protocol.CanWrite(KnownFeatures...); err != nil {
		return fmt.Errorf("checkpoint version %d of %s: %w", s.Version, l.table, err)
	}
	hint, body, err := encodeCheckpoint(s, now)
	if err == nil {
		err = l.createCheckpoint(ctx, s.Version, body)
		if errors.Is(err, object.ErrExists) {
			hint.SizeInBytes, err = 0, nil
		} else if err == nil {
			l.sawSound(s.Version)
		}
	}
	if err == nil {
		s.Checkpoint = max(s.Checkpoint, s.Version)
		err = l.moveHint(ctx, hint)
	}
	if err != nil {
		return fmt.Errorf("checkpoint version %d of %s: %w", s.Version, l.table, err)
	}
	return nil
}

// checkpointPuts bounds the attempts to write one: the next one is not far.
const checkpointPuts = 5

// createCheckpoint puts body if nothing is there. After an unclear attempt
// "exists" may mean ourselves, which is as good as another's.
func (l *Log) createCheckpoint(ctx context.Context, version int64, body []byte) error {
	for attempt := 0; ; attempt++ {
		_, err := l.store.Create(ctx, CheckpointKey(l.table, version), body)
		if err == nil || attempt == checkpointPuts-1 ||
			errors.Is(err, object.ErrExists) || errors.Is(err, object.ErrDenied) || errors.Is(err, object.ErrBadKey) {
			return err
		}
		if waitErr := l.pause(ctx, attempt); waitErr != nil {
			return err
		}
	}
}

// encodeCheckpoint is the Parquet file of s and the hint that goes with it. The
// same snapshot gives the same rows in the same order.
func encodeCheckpoint(s *Snapshot, now time.Time) (lastCheckpoint, []byte, error) {
	var body bytes.Buffer
	w := parquet.NewGenericWriter[checkpointRow](&body,
		parquet.Compression(&parquet.Snappy),
		parquet.DataPageVersion(1), // V2 is the library's default, and not read by all engines
		parquet.CreatedBy("sluice", "", ""),
	)
	rows := make([]checkpointRow, 0, checkpointBatch)
	hint := lastCheckpoint{Version: s.Version}
	write := func(row checkpointRow) (err error) {
		hint.Size++
		rows = append(rows, row)
		if len(rows) == checkpointBatch {
			_, err = w.Write(rows)
			rows = rows[:0]
		}
		return err
	}
	if err := write(checkpointRow{Protocol: s.Protocol.row()}); err != nil {
		return hint, nil, err
	}
	if err := write(checkpointRow{Metadata: s.Metadata.row()}); err != nil {
		return hint, nil, err
	}
	for _, id := range slices.Sorted(maps.Keys(s.Txns)) {
		txn := s.Txns[id]
		row := &checkpointTxn{AppID: id, Version: txn.Version, LastUpdated: nonZero(txn.LastUpdated)}
		if err := write(checkpointRow{Txn: row}); err != nil {
			return hint, nil, err
		}
	}
	cutoff := s.tombstoneCutoff(now)
	for _, name := range slices.Sorted(maps.Keys(s.Tombstones)) {
		if remove := s.Tombstones[name]; remove.DeletionTimestamp >= cutoff {
			if err := write(checkpointRow{Remove: remove.row()}); err != nil {
				return hint, nil, err
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Files)) {
		hint.NumOfAddFiles++
		if err := write(checkpointRow{Add: s.Files[name].row()}); err != nil {
			return hint, nil, err
		}
	}
	if _, err := w.Write(rows); err != nil {
		return hint, nil, err
	}
	if err := w.Close(); err != nil {
		return hint, nil, err
	}
	hint.SizeInBytes = int64(body.Len())
	return hint, body.Bytes(), nil
}

func (p *Protocol) row() *checkpointProtocol {
	row := &checkpointProtocol{MinReaderVersion: int32(p.MinReaderVersion), MinWriterVersion: int32(p.MinWriterVersion)}
	if p.MinReaderVersion >= 3 {
		row.ReaderFeatures = *present(p.ReaderFeatures)
	}
	if p.MinWriterVersion >= 7 {
		row.WriterFeatures = *present(p.WriterFeatures)
	}
	return row
}

func (m *Metadata) row() *checkpointMetadata {
	c := m.complete()
	return &checkpointMetadata{
		ID: c.ID, Name: nonZero(c.Name), Description: nonZero(c.Description),
		Format:       checkpointFormat{Provider: c.Format.Provider, Options: c.Format.Options},
		SchemaString: c.SchemaString, PartitionColumns: c.PartitionColumns,
		Configuration: c.Configuration, CreatedTime: nonZero(c.CreatedTime),
	}
}

func (a *Add) row() *checkpointAdd {
	return &checkpointAdd{
		Path: a.Path, PartitionValues: orNil(a.PartitionValues), Size: a.Size,
		ModificationTime: a.ModificationTime, Stats: nonZero(a.Stats), Tags: a.Tags,
	}
}

func (r *Remove) row() *checkpointRemove {
	return &checkpointRemove{
		Path: r.Path, DeletionTimestamp: r.DeletionTimestamp, DataChange: r.DataChange,
		ExtendedFileMetadata: r.ExtendedFileMetadata, PartitionValues: orNil(r.PartitionValues), Size: r.Size,
	}
}

// orNil is nil for an empty map: written as the same, but quicker, without a copy.
func orNil(m map[string]string) map[string]string {
	if len(m) == 0 {
		return nil
	}
	return m
}

// nonZero is nil, which becomes null, for the zero value.
func nonZero[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}
