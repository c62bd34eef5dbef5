package admin

import (
	"context"
	"errors"
	"time"

	"sluice/storage/delta"
	"sluice/storage/object"
)

// Version is one entry of a table's log.
type Version struct {
	Version   int64     `json:"version"`
	Time      time.Time `json:"time"` // by the clock of its writer
	Operation string    `json:"operation"`
	// Parameters are those of the operation, as its writer put them.
	Parameters   map[string]string `json:"parameters,omitempty"`
	FilesAdded   int               `json:"files_added"`
	FilesRemoved int               `json:"files_removed"`
	Bytes        int64             `json:"bytes"` // of the files added
	// Rows are those of the files added, -1 if their writer did not say.
	Rows int64 `json:"rows"`
	// DataChange says that the rows of the table are others, not only its files.
	DataChange bool   `json:"data_change"`
	Engine     string `json:"engine"`
}

// History reads the newest entries of the log, newest first: limit of them, or as many as
// the log has. each returns false to end it.
func (t *Table) History(ctx context.Context, limit int64, each func(Version) bool) error {
	if err := t.sync(ctx); err != nil {
		return err
	}
	version := t.snap.Version
	for ; version >= 0 && limit > 0; version, limit = version-1, limit-1 {
		e, _, err := t.log.ReadEntry(ctx, version)
		if errors.Is(err, object.ErrNotFound) {
			return nil // cleaned up
		}
		if err != nil {
			return err
		}
		if !each(describeEntry(e)) {
			return nil
		}
	}
	return nil
}

func describeEntry(e *delta.Entry) Version {
	v := Version{Version: e.Version, FilesAdded: len(e.Adds), FilesRemoved: len(e.Removes)}
	if e.Info != nil {
		v.Operation, v.Parameters, v.Engine = e.Info.Operation, e.Info.OperationParameters, e.Info.EngineInfo
		if ms := max(e.Info.Timestamp, e.Info.InCommitTimestamp); ms > 0 {
			v.Time = time.UnixMilli(ms).UTC()
		}
	}
	for i := range e.Adds {
		a := &e.Adds[i]
		v.Bytes += a.Size
		v.DataChange = v.DataChange || a.DataChange
		s, _ := delta.ParseStatistics(a.Stats) // NumRecords is -1 where they cannot be read
		if s.NumRecords < 0 || v.Rows < 0 {
			v.Rows = -1
			continue
		}
		v.Rows += s.NumRecords
	}
	for i := range e.Removes {
		v.DataChange = v.DataChange || e.Removes[i].DataChange
	}
	return v
}
