// Package group is the membership of Kafka's classic consumer groups: a state
// machine with timers for each group, as in the GroupMetadataManager of Kafka 4.
// It owns no storage and no sockets: what must outlive the broker leaves through
// Config.Keep and returns through Load, and a request waits within its context.
package group

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Manager coordinates all groups, from its Load to its Close: one term of being
// the coordinator. All methods are safe for concurrent use.
type Manager struct {
	config Config
	ctx    context.Context // of Keep; done at Close
	cancel context.CancelFunc
	// keepers counts the groups that are waiting for Keep.
	keepers sync.WaitGroup
	// bytes is what counts for Config.MaxTotalBytes; groups add and subtract.
	bytes atomic.Int64

	mu     sync.RWMutex // taken after a group's mu, never before one
	groups map[string]*group
	closed bool
}

// Client is who sent a request.
type Client struct {
	ID   string // client id of the request's header
	Host string // "/10.0.0.7" is Kafka's way to write it
}

// New returns a manager without groups. Call Load, then Adopt, before it serves.
func New(config Config) *Manager {
	ctx, cancel := context.WithCancel(context.Background())
	return &Manager{
		config: config.filled(),
		ctx:    ctx, cancel: cancel,
		groups: make(map[string]*group),
	}
}

// Close ends the term: timers stop, waiting members are told NOT_COORDINATOR, as
// is every request from now on, and no record is handed to Keep any more. It
// returns when running calls of Keep have returned; their ctx is done.
func (m *Manager) Close() {
	m.mu.Lock()
	groups := m.groups
	m.groups, m.closed = nil, true
	m.mu.Unlock()
	for _, g := range groups {
		g.mu.Lock()
		g.close()
		g.unlock()
	}
	// Only now, so that a Keep that fails for it makes no member rejoin.
	m.cancel()
	m.keepers.Wait()
}

// find returns a group that is locked, to be unlocked by the caller; nil without
// an error if there is none and create is not set.
func (m *Manager) find(id string, create bool) (*group, *kerr.Error) {
	for {
		g, err := m.lookup(id, create)
		if g == nil {
			return nil, err
		}
		g.mu.Lock()
		if !g.forgotten {
			return g, nil
		}
		// It left the map between the two locks: look again.
		g.unlock()
	}
}

func (m *Manager) lookup(id string, create bool) (*group, *kerr.Error) {
	m.mu.RLock()
	g, closed := m.groups[id], m.closed
	m.mu.RUnlock()
	switch {
	case closed:
		return nil, kerr.NotCoordinator
	case g != nil || !create:
		return g, nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, kerr.NotCoordinator
	}
	if g := m.groups[id]; g != nil {
		return g, nil
	}
	if len(m.groups) >= m.config.MaxGroups {
		return nil, kerr.PolicyViolation
	}
	return m.insert(id), nil
}

// insert makes an empty group; m.mu is held.
func (m *Manager) insert(id string) *group {
	g := newGroup(m, strings.Clone(id))
	m.groups[g.id] = g
	return g
}

// affords tells whether n more bytes are within the limit. Groups ask at the same
// time, so the limit may be passed by what a few requests bring.
func (m *Manager) affords(n int) bool {
	return n <= 0 || m.bytes.Load()+int64(n) <= int64(m.config.MaxTotalBytes)
}

// sorted is a snapshot of all groups, by name.
func (m *Manager) sorted() []*group {
	m.mu.RLock()
	groups := slices.Collect(maps.Values(m.groups))
	m.mu.RUnlock()
	slices.SortFunc(groups, func(a, b *group) int { return strings.Compare(a.id, b.id) })
	return groups
}
