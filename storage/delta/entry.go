package delta

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
)

// Entry is one log entry: the actions of one version.
type Entry struct {
	Version  int64
	Info     *CommitInfo // nil in entries of writers that leave it out
	Protocol *Protocol
	Metadata *Metadata
	Txns     []Txn
	Adds     []Add // in offset order: Spark streams index them as written
	Removes  []Remove
}

// TxnID is the id of the attempt that wrote the entry, "" if its writer left it out.
func (e *Entry) TxnID() string {
	if e.Info == nil {
		return ""
	}
	return e.Info.TxnID
}

// actionLine is one line of an entry. The protocol puts one action on each; a
// line with several is read all the same.
type actionLine struct {
	Info     *CommitInfo `json:"commitInfo,omitempty"`
	Protocol *Protocol   `json:"protocol,omitempty"`
	Metadata *Metadata   `json:"metaData,omitempty"`
	Txn      *Txn        `json:"txn,omitempty"`
	Remove   *Remove     `json:"remove,omitempty"`
	Add      *Add        `json:"add,omitempty"`
}

// Marshal writes the entry in the bytes of the log: one action per line,
// commitInfo first (in-commit timestamps ask for that). The same entry gives the
// same bytes, which Commit relies on. An entry that the protocol forbids is
// ErrIllegal [P Delta Log Entries].
func (e *Entry) Marshal() ([]byte, error) {
	if err := e.check(); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	out.Grow(1024 * (1 + len(e.Adds) + len(e.Removes)))
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	lines := make([]actionLine, 0, 3)
	if e.Info != nil {
		info := *e.Info
		if info.OperationParameters == nil {
			info.OperationParameters = noValues
		}
		lines = append(lines, actionLine{Info: &info})
	}
	if e.Protocol != nil {
		lines = append(lines, actionLine{Protocol: e.Protocol})
	}
	if e.Metadata != nil {
		m := e.Metadata.complete()
		lines = append(lines, actionLine{Metadata: &m})
	}
	for _, line := range lines {
		if err := enc.Encode(line); err != nil {
			return nil, fmt.Errorf("%w: version %d: %w", ErrIllegal, e.Version, err)
		}
	}
	for i := range e.Txns {
		if err := enc.Encode(actionLine{Txn: &e.Txns[i]}); err != nil {
			return nil, fmt.Errorf("%w: version %d: %w", ErrIllegal, e.Version, err)
		}
	}
	for i := range e.Removes {
		remove := e.Removes[i]
		if remove.PartitionValues == nil {
			remove.PartitionValues = noValues
		}
		if err := enc.Encode(actionLine{Remove: &remove}); err != nil {
			return nil, fmt.Errorf("%w: version %d: %w", ErrIllegal, e.Version, err)
		}
	}
	for i := range e.Adds {
		add := e.Adds[i]
		if add.PartitionValues == nil {
			add.PartitionValues = noValues
		}
		if err := enc.Encode(actionLine{Add: &add}); err != nil {
			return nil, fmt.Errorf("%w: version %d: %w", ErrIllegal, e.Version, err)
		}
	}
	return out.Bytes(), nil
}

// noValues marshals to {}: kernel-rs refuses a whole table over a missing or
// null partitionValues. It never leaves this file: an empty map of an action in
// memory may be nil.
var noValues = map[string]string{}

// complete is m with everything that readers insist on.
func (m Metadata) complete() Metadata {
	if m.Format.Provider == "" {
		m.Format.Provider = "parquet"
	}
	if m.Format.Options == nil {
		m.Format.Options = map[string]string{}
	}
	if m.PartitionColumns == nil {
		m.PartitionColumns = []string{}
	}
	if m.Configuration == nil {
		m.Configuration = map[string]string{}
	}
	return m
}

// check holds what the protocol asks of one entry.
func (e *Entry) check() error {
	illegal := func(what, name string) error {
		return fmt.Errorf("%w: version %d: %s %q", ErrIllegal, e.Version, what, name)
	}
	if e.Version < 0 {
		return illegal("negative", strconv.FormatInt(e.Version, 10))
	}
	if e.Version == 0 && (e.Protocol == nil || e.Metadata == nil) {
		return fmt.Errorf("%w: version 0 without protocol and metaData", ErrIllegal)
	}
	if e.Info == nil && e.Protocol == nil && e.Metadata == nil && len(e.Txns)+len(e.Adds)+len(e.Removes) == 0 {
		return fmt.Errorf("%w: version %d without actions", ErrIllegal, e.Version)
	}
	seen := make(map[string]struct{}, len(e.Txns)+len(e.Adds)+len(e.Removes))
	for i := range e.Txns {
		id := e.Txns[i].AppID
		if id == "" {
			return illegal("txn without appId", id)
		}
		if _, twice := seen[id]; twice {
			return illegal("two txn actions of", id)
		}
		seen[id] = struct{}{}
	}
	clear(seen)
	// A path may appear once among adds and removes together: tables of reader
	// version 1 have no deletion vectors that could tell two uses apart.
	path := func(path string) error {
		if path == "" {
			return illegal("file action without path", path)
		}
		name := FileName(path)
		if _, twice := seen[name]; twice {
			return illegal("two actions on", path)
		}
		seen[name] = struct{}{}
		return nil
	}
	for i := range e.Adds {
		if err := path(e.Adds[i].Path); err != nil {
			return err
		}
	}
	for i := range e.Removes {
		if err := path(e.Removes[i].Path); err != nil {
			return err
		}
	}
	return nil
}

// ParseEntry reads the bytes of a log entry, of whatever writer: commitInfo on
// any line or none, explicit nulls, unknown actions and fields ignored. Bytes
// that are no entry are ErrCorrupt; so are none at all, since a writer without
// atomic puts shows an empty object first and its actions later.
func ParseEntry(version int64, data []byte) (*Entry, error) {
	e := &Entry{Version: version}
	lines := 0
	for number := 1; len(data) > 0; number++ {
		var text []byte
		if end := bytes.IndexByte(data, '\n'); end >= 0 {
			text, data = data[:end], data[end+1:]
		} else {
			text, data = data, nil
		}
		text = bytes.TrimSpace(text)
		if len(text) == 0 {
			continue
		}
		lines++
		if err := e.parseLine(text); err != nil {
			return nil, fmt.Errorf("version %d line %d: %w", version, number, err)
		}
	}
	if lines == 0 {
		return nil, fmt.Errorf("version %d: %w: empty entry", version, ErrCorrupt)
	}
	return e, nil
}

func (e *Entry) parseLine(text []byte) error {
	var line struct {
		actionLine
		Add *struct {
			Add
			DeletionVector json.RawMessage `json:"deletionVector"`
		} `json:"add"`
	}
	if err := json.Unmarshal(text, &line); err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if line.Info != nil {
		e.Info = line.Info
	}
	if line.Protocol != nil {
		e.Protocol = line.Protocol
	}
	if line.Metadata != nil {
		e.Metadata = line.Metadata
	}
	if line.Txn != nil {
		e.Txns = append(e.Txns, *line.Txn)
	}
	if remove := line.Remove; remove != nil {
		if remove.Path == "" {
			return fmt.Errorf("%w: remove without path", ErrCorrupt)
		}
		e.Removes = append(e.Removes, *remove)
	}
	if line.Add != nil {
		add := line.Add.Add
		if add.Path == "" {
			return fmt.Errorf("%w: add without path", ErrCorrupt)
		}
		// Illegal below reader version 3. Reading on would bring deleted rows back.
		if len(line.Add.DeletionVector) > 0 && string(line.Add.DeletionVector) != "null" {
			return &UnsupportedError{Feature: "deletionVectors"}
		}
		e.Adds = append(e.Adds, add)
	}
	return nil
}
