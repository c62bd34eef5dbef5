package group

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// recordFormat is written into each record as "v". A reader refuses a higher one:
// a group that is half understood would hand out partitions twice.
const recordFormat = 1

// ErrRecord says that bytes are not a membership record of a format known here.
var ErrRecord = errors.New("group: not a membership record")

// Record is what must outlive the broker about one group: who was in its last
// completed generation and what each member was assigned. The newest record of a
// group is the whole truth, older ones are history. The byte slices of a Record
// that was handed out are shared and must not be written to.
type Record struct {
	Group        string
	Deleted      bool // the group is gone, with its committed offsets
	Generation   int32
	ProtocolType string // "consumer", "connect", ...; empty if no member ever joined
	Protocol     string // the assignor that the members agreed on; empty without members
	Leader       string // a member id
	Since        time.Time
	Members      []RecordMember
}

// RecordMember is one member of a Record.
type RecordMember struct {
	ID               string
	InstanceID       string // KIP-345; empty for a dynamic member
	ClientID         string
	ClientHost       string
	SessionTimeout   time.Duration
	RebalanceTimeout time.Duration
	Metadata         []byte // its subscription, for Record.Protocol
	Assignment       []byte // as the leader sent it; empty: assigned nothing
}

// The JSON names are a contract with SQL users and with older brokers: add, never
// rename. Bytes are base64 (encoding/json's way), times are RFC 3339 in UTC, a
// zero time is left out.
type recordJSON struct {
	Format       int          `json:"v"`
	Group        string       `json:"group"`
	Deleted      bool         `json:"deleted,omitempty"`
	Generation   int32        `json:"generation"`
	ProtocolType string       `json:"protocol_type"`
	Protocol     string       `json:"protocol"`
	Leader       string       `json:"leader"`
	Since        string       `json:"since,omitempty"`
	Members      []memberJSON `json:"members"`
}

type memberJSON struct {
	ID                 string `json:"id"`
	InstanceID         string `json:"instance_id,omitempty"`
	ClientID           string `json:"client_id"`
	ClientHost         string `json:"client_host"`
	SessionTimeoutMs   int64  `json:"session_timeout_ms"`
	RebalanceTimeoutMs int64  `json:"rebalance_timeout_ms"`
	Metadata           []byte `json:"metadata"`
	Assignment         []byte `json:"assignment"`
}

// Encode returns the record as one JSON object; the README describes it. The
// same record always gives the same bytes.
func (r Record) Encode() []byte {
	j := recordJSON{
		Format: recordFormat, Group: r.Group, Deleted: r.Deleted, Generation: r.Generation,
		ProtocolType: r.ProtocolType, Protocol: r.Protocol, Leader: r.Leader,
		Members: make([]memberJSON, 0, len(r.Members)), // [], never null
	}
	if !r.Since.IsZero() {
		j.Since = r.Since.UTC().Format(time.RFC3339Nano)
	}
	for _, m := range r.Members {
		j.Members = append(j.Members, memberJSON{
			ID: m.ID, InstanceID: m.InstanceID, ClientID: m.ClientID, ClientHost: m.ClientHost,
			SessionTimeoutMs:   m.SessionTimeout.Milliseconds(),
			RebalanceTimeoutMs: m.RebalanceTimeout.Milliseconds(),
			Metadata:           m.Metadata, Assignment: m.Assignment,
		})
	}
	// Strings, integers and bytes only: Marshal has nothing to refuse.
	b, _ := json.Marshal(j)
	return b
}

// Decode reads what Encode wrote. Fields that it does not know are skipped, so
// that a newer broker may add some. The error wraps ErrRecord.
func Decode(b []byte) (Record, error) {
	var j recordJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return Record{}, fmt.Errorf("%w: %v", ErrRecord, err)
	}
	if j.Format != recordFormat {
		return Record{}, fmt.Errorf("%w: format %d", ErrRecord, j.Format)
	}
	r := Record{
		Group: j.Group, Deleted: j.Deleted, Generation: j.Generation,
		ProtocolType: j.ProtocolType, Protocol: j.Protocol, Leader: j.Leader,
	}
	if j.Since != "" {
		since, err := time.Parse(time.RFC3339Nano, j.Since)
		if err != nil {
			return Record{}, fmt.Errorf("%w: %v", ErrRecord, err)
		}
		r.Since = since.UTC()
	}
	for _, m := range j.Members {
		r.Members = append(r.Members, RecordMember{
			ID: m.ID, InstanceID: m.InstanceID, ClientID: m.ClientID, ClientHost: m.ClientHost,
			SessionTimeout:   millis(m.SessionTimeoutMs),
			RebalanceTimeout: millis(m.RebalanceTimeoutMs),
			Metadata:         m.Metadata, Assignment: m.Assignment,
		})
	}
	return r, nil
}

// millis bounds a number of milliseconds to what the protocol can say (an
// int32), so that no product of it overflows.
func millis(ms int64) time.Duration {
	return time.Duration(min(max(ms, 0), 1<<31-1)) * time.Millisecond
}
