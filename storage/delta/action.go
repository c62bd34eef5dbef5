// Package delta is the Delta Lake protocol: actions, log entries, snapshots,
// checkpoints, and the committer that owns a table's writing. It knows no Kafka.
//
// Rules are cited as [P] section, meaning delta-io/delta PROTOCOL.md.
package delta

import "encoding/json"

// Format is the file format of a table's data, always Parquet.
type Format struct {
	Provider string            `json:"provider"`
	Options  map[string]string `json:"options"` // never omitted: readers refuse a missing map
}

// Metadata is the metaData action [P Change Metadata]. It replaces the one before it.
type Metadata struct {
	ID               string            `json:"id"` // a UUID, constant for the life of a table (of a topic's incarnation)
	Name             string            `json:"name,omitempty"`
	Description      string            `json:"description,omitempty"`
	Format           Format            `json:"format"`
	SchemaString     string            `json:"schemaString"`
	PartitionColumns []string          `json:"partitionColumns"`
	Configuration    map[string]string `json:"configuration"`
	CreatedTime      int64             `json:"createdTime,omitempty"` // ms since 1970
}

// Add is the add action: a data file becomes part of the table [P Add File].
type Add struct {
	Path             string            `json:"path"` // relative to the table, percent-encoded
	PartitionValues  map[string]string `json:"partitionValues"`
	Size             int64             `json:"size"`
	ModificationTime int64             `json:"modificationTime"` // ms; ours rise with versions, others' may be garbage
	DataChange       bool              `json:"dataChange"`
	Stats            string            `json:"stats,omitempty"` // JSON; see Statistics
	Tags             map[string]string `json:"tags,omitempty"`  // lost when an engine rewrites the file

	// version is that of the entry that brought this action, set by Apply. It is 0
	// for what came from a checkpoint, which does not say: such a file counts as
	// added before anything that is still in the log (see readd).
	version int64
}

// Remove is the remove action: a data file leaves the table [P Remove File].
type Remove struct {
	Path                 string            `json:"path"`
	DeletionTimestamp    int64             `json:"deletionTimestamp,omitempty"` // ms
	DataChange           bool              `json:"dataChange"`
	ExtendedFileMetadata bool              `json:"extendedFileMetadata"`
	PartitionValues      map[string]string `json:"partitionValues"`
	Size                 int64             `json:"size"`
}

// Txn is the txn action: the latest version that an application has written
// [P Transaction Identifiers].
type Txn struct {
	AppID       string `json:"appId"`
	Version     int64  `json:"version"`
	LastUpdated int64  `json:"lastUpdated,omitempty"` // ms; absent in checkpoints of some writers
}

// CommitInfo says who made an entry and why [P Commit Provenance Information].
// It is not part of the table's state and is lost when its entry is cleaned up.
type CommitInfo struct {
	Timestamp           int64             `json:"timestamp"` // ms; rises with versions
	Operation           string            `json:"operation"`
	OperationParameters map[string]string `json:"operationParameters"`
	IsBlindAppend       bool              `json:"isBlindAppend"`
	EngineInfo          string            `json:"engineInfo,omitempty"`
	ReadVersion         *int64            `json:"readVersion,omitempty"`
	// InCommitTimestamp is for tables with the writer feature of that name: ms,
	// above that of the version before (Snapshot.NextTimestamp). 0 means none.
	InCommitTimestamp int64 `json:"inCommitTimestamp,omitempty"`
	// TxnID is unique to an attempt to commit. It alone tells our entry from another's.
	TxnID string `json:"txnId,omitempty"`
	// Sluice is the writer's own note, kept as it is: for a topic the producer
	// state of the batches in this entry.
	Sluice json.RawMessage `json:"sluice,omitempty"`
}
