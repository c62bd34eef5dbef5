package group

import (
	"bytes"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// member is one member of a group; the group's mu guards it.
type member struct {
	id         string
	instanceID string // KIP-345; empty for a dynamic member
	client     Client

	joinTerms
	assignment []byte // of the group's generation; never written to

	// isNew is set until the member's first join phase ends. Its client knows no
	// member id yet and cannot heartbeat, so waiting is no sign of life.
	isNew bool
	// unheard is set from Load until the member's first request.
	unheard bool
	// unsynced is set from the end of a join phase until the member syncs.
	unsynced bool
	// joining and syncing are the waiting requests, nil for none. They have room
	// for the answer, so that a requester who has gone away holds nobody up.
	joining chan joinAnswer
	syncing chan syncAnswer
	session alarm
}

// joinTerms are what a member says anew in each JoinGroup.
type joinTerms struct {
	sessionTimeout   time.Duration
	rebalanceTimeout time.Duration
	protocols        []protocol // by preference, no name twice
}

// protocol is an assignor that a member supports, with its subscription for it.
type protocol struct {
	name     string
	metadata []byte // never written to
}

// termsOf are the terms of a request, which share its bytes: who keeps them keeps a clone.
func termsOf(req *kmsg.JoinGroupRequest) joinTerms {
	t := joinTerms{
		sessionTimeout:   millis(int64(req.SessionTimeoutMillis)),
		rebalanceTimeout: millis(int64(req.RebalanceTimeoutMillis)),
		protocols:        make([]protocol, 0, len(req.Protocols)),
	}
	if req.Version < 1 || req.RebalanceTimeoutMillis < 0 {
		t.rebalanceTimeout = t.sessionTimeout // v0 has no field for it
	}
	seen := make(map[string]bool, len(req.Protocols))
	for _, p := range req.Protocols {
		if !seen[p.Name] {
			seen[p.Name] = true
			t.protocols = append(t.protocols, protocol{p.Name, p.Metadata})
		}
	}
	return t
}

// clone copies the terms, since the bytes of a request may be a reused buffer.
func (t joinTerms) clone() joinTerms {
	protocols := make([]protocol, len(t.protocols))
	for i, p := range t.protocols {
		protocols[i] = protocol{strings.Clone(p.name), bytes.Clone(p.metadata)}
	}
	t.protocols = protocols
	return t
}

// size is what the terms count for Config.MaxBytes.
func (t joinTerms) size() (n int) {
	for _, p := range t.protocols {
		n += len(p.name) + len(p.metadata)
	}
	return n
}

func (t joinTerms) sameProtocols(u joinTerms) bool {
	return slices.EqualFunc(t.protocols, u.protocols, func(a, b protocol) bool {
		return a.name == b.name && bytes.Equal(a.metadata, b.metadata)
	})
}

// metadata is the subscription for a protocol.
func (t joinTerms) metadata(name string) []byte {
	for _, p := range t.protocols {
		if p.name == name {
			return p.metadata
		}
	}
	return nil
}

func (m *member) isStatic() bool { return m.instanceID != "" }

// isWaiting tells whether a waiting request stands for the member's heartbeats.
func (m *member) isWaiting() bool {
	return !m.isNew && (m.joining != nil || m.syncing != nil)
}

// newMemberID makes an id that nobody can guess, since it is what other requests
// are admitted by; it begins with a name for people to recognise.
func newMemberID(name string) string {
	const maxPrefix = 255
	name = strings.ToValidUTF8(name, "?")
	if len(name) > maxPrefix {
		name = strings.ToValidUTF8(name[:maxPrefix], "")
	}
	return name + "-" + uuid.NewString()
}

// isName tells whether a string from a client can be shown to other clients and
// kept as JSON.
func isName(s string) bool { return len(s) <= maxName && utf8.ValidString(s) }

// joinAnswer is the answer to a JoinGroup, whatever its API version.
type joinAnswer struct {
	err          *kerr.Error // nil: joined
	memberID     string
	generation   int32
	protocolType string
	protocol     string
	leader       string
	members      []kmsg.JoinGroupResponseMember // for the leader only
	// skipAssignment tells a leader that the assignment stands (KIP-814).
	skipAssignment bool
}

// syncAnswer is the answer to a SyncGroup.
type syncAnswer struct {
	err          *kerr.Error
	protocolType string
	protocol     string
	assignment   []byte
}
