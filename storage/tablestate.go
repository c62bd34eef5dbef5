package storage

import (
	"fmt"

	"sluice/storage/delta"
)

// TableState is what a topic's table says of the topic at a version, for tools
// that look at the table without leading the topic.
type TableState struct {
	ID      string            // the table's metaData.id, which is the topic id
	Deleted bool              // the topic is; its log stays
	Config  map[string]string // the topic's own configs
	// Settings are those that Config gives with Sluice's defaults: the broker's
	// own defaults do not stand in the table.
	Settings   Settings
	Partitions []PartitionState
}

// PartitionState is where a partition begins and goes on.
type PartitionState struct {
	LogStart int64 // the log start offset
	Next     int64 // the next offset to give out, as committed
}

// ReadTableState reads it from a snapshot. ErrStopped says that the table is no topic's, or
// asks more of a writer than Sluice knows.
func ReadTableState(snap *delta.Snapshot) (TableState, error) {
	properties, err := parseProperties(snap.Metadata.Configuration)
	if err != nil {
		return TableState{}, storeError(err)
	}
	if err := snap.Protocol.CanWrite(writerFeatures...); err != nil {
		return TableState{}, storeError(err)
	}
	settings, err := ParseSettings(properties.config, nil)
	if err != nil {
		return TableState{}, fmt.Errorf("%w: table property: %w", ErrStopped, err)
	}
	s := TableState{
		ID: snap.Metadata.ID, Deleted: properties.deleted, Config: properties.config, Settings: settings,
		Partitions: make([]PartitionState, properties.partitions),
	}
	for i := range s.Partitions {
		n := int32(i)
		s.Partitions[i] = PartitionState{
			LogStart: snap.Txns[logStartApp(s.ID, n)].Version,
			Next:     snap.Txns[nextOffsetApp(s.ID, n)].Version,
		}
	}
	return s, nil
}
