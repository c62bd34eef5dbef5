package check

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// The actions of a log entry, as encoding/json reads them. Pointers tell a field
// that is missing, over which some readers refuse whole tables, from a zero.

type protocol struct {
	MinReaderVersion int      `json:"minReaderVersion"`
	MinWriterVersion int      `json:"minWriterVersion"`
	ReaderFeatures   []string `json:"readerFeatures"`
	WriterFeatures   []string `json:"writerFeatures"`
}

// open reports whether any engine may write the table.
func (p protocol) open() bool { return !slices.Contains(p.WriterFeatures, "sluice") }

type metadata struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Format *struct {
		Provider string            `json:"provider"`
		Options  map[string]string `json:"options"`
	} `json:"format"`
	SchemaString     string            `json:"schemaString"`
	PartitionColumns []string          `json:"partitionColumns"`
	Configuration    map[string]string `json:"configuration"`
	CreatedTime      int64             `json:"createdTime"` // ms
}

// deleted reports whether the table is that of a deleted topic.
func (m metadata) deleted() bool { return m.Configuration["sluice.deleted"] == "true" }

type txn struct {
	AppID   string `json:"appId"`
	Version *int64 `json:"version"`
}

type add struct {
	Path             string            `json:"path"`
	PartitionValues  map[string]any    `json:"partitionValues"`
	Size             *int64            `json:"size"`
	ModificationTime *int64            `json:"modificationTime"`
	DataChange       *bool             `json:"dataChange"`
	Stats            string            `json:"stats"`
	Tags             map[string]string `json:"tags"`
	DeletionVector   json.RawMessage   `json:"deletionVector"`
}

type remove struct {
	Path              string          `json:"path"`
	DeletionTimestamp int64           `json:"deletionTimestamp"` // ms
	DataChange        *bool           `json:"dataChange"`
	DeletionVector    json.RawMessage `json:"deletionVector"`
}

// commitInfo is free in form [P Commit Provenance Information]; these are the
// fields that Sluice's own entries have.
type commitInfo struct {
	Timestamp  int64           `json:"timestamp"` // ms
	Operation  string          `json:"operation"`
	EngineInfo string          `json:"engineInfo"`
	TxnID      string          `json:"txnId"`
	Sluice     json.RawMessage `json:"sluice"`
}

// entry is one version's actions.
type entry struct {
	version   int64
	info      *commitInfo
	protocol  []protocol // the protocol allows one
	metadata  []metadata // the protocol allows one
	txns      []txn
	adds      []add
	removes   []remove
	oddities  []string // actions that the protocol does not know
	infoFirst bool
	sound     bool // it could be read; otherwise oddities says why not
}

// parseEntry reads the bytes of an entry: one JSON object per line, each with one
// action.
func parseEntry(version int64, body []byte) (*entry, error) {
	e := &entry{version: version}
	lines := 0
	for number, text := range bytes.Split(body, []byte{'\n'}) {
		if text = bytes.TrimSpace(text); len(text) == 0 {
			continue
		}
		lines++
		var actions map[string]json.RawMessage
		if err := json.Unmarshal(text, &actions); err != nil {
			return nil, fmt.Errorf("line %d: %w", number+1, err)
		}
		present := 0
		for name, raw := range actions {
			if string(raw) == "null" {
				continue
			}
			present++
			if err := e.action(name, raw, lines); err != nil {
				return nil, fmt.Errorf("line %d: %s: %w", number+1, name, err)
			}
		}
		if present != 1 {
			e.oddities = append(e.oddities, fmt.Sprintf("line %d with %d actions", number+1, present))
		}
	}
	if lines == 0 {
		return nil, fmt.Errorf("it has no actions")
	}
	return e, nil
}

func (e *entry) action(name string, raw json.RawMessage, line int) (err error) {
	switch name {
	case "commitInfo":
		e.info, e.infoFirst = &commitInfo{}, line == 1
		// Of another writer it may be of any form: what does not fit is left out.
		_ = json.Unmarshal(raw, e.info)
	case "protocol":
		e.protocol = append(e.protocol, protocol{})
		err = json.Unmarshal(raw, &e.protocol[len(e.protocol)-1])
	case "metaData":
		e.metadata = append(e.metadata, metadata{})
		err = json.Unmarshal(raw, &e.metadata[len(e.metadata)-1])
	case "txn":
		e.txns = append(e.txns, txn{})
		err = json.Unmarshal(raw, &e.txns[len(e.txns)-1])
	case "add":
		e.adds = append(e.adds, add{})
		err = json.Unmarshal(raw, &e.adds[len(e.adds)-1])
	case "remove":
		e.removes = append(e.removes, remove{})
		err = json.Unmarshal(raw, &e.removes[len(e.removes)-1])
	default:
		e.oddities = append(e.oddities, fmt.Sprintf("action %.40q", name))
	}
	return err
}

// nameOf is what identifies a file: its path without percent encoding [P Add File].
func nameOf(path string) string {
	if name, err := url.PathUnescape(path); err == nil {
		return name
	}
	return path
}

// keyOf is the object of a file; ok is false for one outside the table's folder.
func keyOf(root, table, path string) (key string, ok bool) {
	name := nameOf(path)
	if strings.Contains(name, "://") {
		name = strings.Replace(strings.Replace(name, "s3a://", "s3://", 1), "s3n://", "s3://", 1)
		name, ok = strings.CutPrefix(name, strings.TrimSuffix(root, "/")+"/"+table+"/")
		return table + "/" + name, ok
	}
	return table + "/" + strings.TrimPrefix(name, "/"), true
}
