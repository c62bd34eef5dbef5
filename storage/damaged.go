package storage

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"sluice/storage/delta"
	"sluice/storage/rows"
)

// deleteDamaged deletes a topic whose table nobody can open, since entries of its log are
// missing: its folder was removed while it was written to, say, and what was written since is all
// that is left. Its name is reserved. As of any other topic the deletion is an entry of the
// log, behind all that is there, so that who still leads it meets that; a checkpoint takes the place of
// what is missing. The data files go as those of a deleted topic do that its broker has left (clearDeleted).
func (ts *Topics) deleteDamaged(ctx context.Context, info TopicInfo) error {
	snap, damage := ts.env.newLog(info.Name).Open(ctx, nil)
	switch {
	case damage == nil:
		snap.Release()
		return fmt.Errorf("%w: the table of %s can be opened again", ErrUnavailable, info.Name)
	case !errors.Is(damage, delta.ErrIncomplete):
		return storeError(damage)
	}
	if err := ts.restartDeleted(ctx, info); err != nil {
		return err
	}
	if err := ts.catalogue.Put(deletedRow(info.Name, info)).Get(ctx); err != nil {
		return storeError(err)
	}
	ts.env.log.Warn("a topic is deleted whose table could not be opened any more",
		"topic", info.Name, "table", ts.env.tableURL(info.Name), "err", damage)
	return nil
}

// restartDeleted has a damaged log begin anew as that of a deleted topic: by an entry, a state
// and a checkpoint.
func (ts *Topics) restartDeleted(ctx context.Context, info TopicInfo) error {
	log := ts.env.newLog(info.Name)
	settings, err := ParseSettings(nil, nil)
	if err != nil {
		return err
	}
	id := uuid.UUID(info.ID).String()
	e := &delta.Entry{
		Info: &delta.CommitInfo{
			Timestamp: time.Now().UnixMilli(), Operation: "DELETE TOPIC", OperationParameters: map[string]string{},
			EngineInfo: ts.env.options.Engine, TxnID: uuid.NewString(),
		},
		Protocol: protocol(settings.AnyWriter),
		Metadata: &delta.Metadata{
			ID: id, Name: info.Name, Format: delta.Format{Provider: "parquet", Options: map[string]string{}},
			SchemaString: rows.SchemaString, PartitionColumns: []string{}, CreatedTime: time.Now().UnixMilli(),
			Configuration: configuration(map[string]string{}, info.Partitions, nil, settings),
		},
	}
	e.Metadata.Configuration[propertyDeleted] = "true"
	snap, err := log.Restart(ctx, e)
	if err != nil {
		return storeError(err)
	}
	// No producer of it will come again; without it who makes the topic anew would look for the
	// entries before.
	if err := writeState(ctx, ts.env.store, info.Name, stateSnapshot{Version: snap.Version, note: note{Table: id}}); err != nil {
		return storeError(err)
	}
	return storeError(log.WriteCheckpoint(ctx, snap, snap.Proved))
}

// restartIfDeleted does the same for a topic that was deleted while its log was damaged and
// the topic still open, so that nobody had met the damage. False says that it was not.
func (ts *Topics) restartIfDeleted(ctx context.Context, name string) (bool, error) {
	row, ok := ts.catalogue.Get(name)
	if !ok || row.State != stateDeleted {
		return false, nil
	}
	info, _ := row.info()
	return true, ts.restartDeleted(ctx, info)
}
