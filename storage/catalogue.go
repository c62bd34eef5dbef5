package storage

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"sluice/storage/delta"
	"sluice/storage/keyed"
)

// The catalogue is a Delta table of its own, _sluice/topics: what Metadata needs
// of every topic, so that thousands of topics need not be opened for it. The
// topics' tables are the truth; see Topics.reconcile.

const cataloguePath = "_sluice/topics"

// catalogueRow is a row of the catalogue.
type catalogueRow struct {
	Sequence   int64  `parquet:"sequence"`
	Name       string `parquet:"name"`
	ID         string `parquet:"id"`
	Partitions int32  `parquet:"partitions"`
	State      string `parquet:"state"` // stateLive or stateDeleted
	Changed    int64  `parquet:"changed,timestamp(microsecond:utc)"`
}

const (
	stateLive = "live"
	// stateDeleted rows stay, so that a start need not open the tables of deleted topics.
	stateDeleted = "deleted"
)

const catalogueSchema = `{"type":"struct","fields":[` +
	`{"name":"sequence","type":"long","nullable":true,"metadata":{}},` +
	`{"name":"name","type":"string","nullable":true,"metadata":{}},` +
	`{"name":"id","type":"string","nullable":true,"metadata":{}},` +
	`{"name":"partitions","type":"integer","nullable":true,"metadata":{}},` +
	`{"name":"state","type":"string","nullable":true,"metadata":{}},` +
	`{"name":"changed","type":"timestamp","nullable":true,"metadata":{}}]}`

func openCatalogue(ctx context.Context, env *env) (*keyed.Table[string, catalogueRow], error) {
	return keyed.Open(ctx, env.store, cataloguePath, keyed.Form[string, catalogueRow]{
		Name: "topics", Schema: catalogueSchema,
		Key:      func(r *catalogueRow) string { return r.Name },
		Sequence: func(r *catalogueRow) *int64 { return &r.Sequence },
		Dead:     func(*catalogueRow) bool { return false },
	}, keyed.Options{
		Committer: delta.CommitterOptions{Engine: env.options.Engine, Log: env.log},
		Window:    env.options.Window, Memory: env.memory, Log: env.log,
	})
}

// info is the row as a TopicInfo, and whether the topic lives.
func (r *catalogueRow) info() (TopicInfo, bool) {
	id, err := uuid.Parse(r.ID)
	return TopicInfo{Name: r.Name, ID: id, Partitions: r.Partitions, LeaderEpoch: -1}, err == nil && r.State == stateLive
}

func liveRow(info TopicInfo) catalogueRow {
	return catalogueRow{
		Name: info.Name, ID: uuid.UUID(info.ID).String(), Partitions: info.Partitions,
		State: stateLive, Changed: time.Now().UnixMicro(),
	}
}

func deletedRow(name string, info TopicInfo) catalogueRow {
	row := liveRow(info)
	row.Name, row.State = name, stateDeleted
	return row
}

// errNoTopic says of a Delta table that it was not made by Sluice.
var errNoTopic = errors.New("not a topic's table")

// readCatalogueRow makes the catalogue's row of a topic from its table.
func readCatalogueRow(ctx context.Context, env *env, name string) (catalogueRow, error) {
	snap, err := env.newLog(name).Open(ctx, nil)
	if err != nil {
		return catalogueRow{}, err
	}
	defer snap.Release()
	return snapshotRow(name, snap)
}

func snapshotRow(name string, snap *delta.Snapshot) (catalogueRow, error) {
	properties, err := parseProperties(snap.Metadata.Configuration)
	if err != nil {
		return catalogueRow{}, err
	}
	id, err := uuid.Parse(snap.Metadata.ID)
	if err != nil {
		return catalogueRow{}, fmt.Errorf("%w: metaData.id %q is not a UUID", errNoTopic, snap.Metadata.ID)
	}
	info := TopicInfo{Name: name, ID: id, Partitions: properties.partitions}
	if properties.deleted {
		return deletedRow(name, info), nil
	}
	return liveRow(info), nil
}
