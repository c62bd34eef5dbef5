package broker

import (
	"context"
	"fmt"
	"sync"

	"sluice/broker/group"
	"sluice/offsets"
)

// Groups are the consumer groups as this broker coordinates them: a manager for each
// term of the offsets' table, since what one knows is worth nothing once another broker
// has moved the groups on. Safe for concurrent use.
type Groups struct {
	config    group.Config
	committed *offsets.Offsets

	mu     sync.RWMutex
	now    coordination
	closed bool
}

// coordination is one term of being the coordinator.
type coordination struct {
	manager *group.Manager
	term    offsets.Term
}

// NewGroups continues the groups whose memberships and offsets committed holds,
// now and whenever its table was taken back from another broker, and keeps what
// changes. config.Keep is set here, config.Log must be. An error wraps
// group.ErrRecord: a membership that this broker does not understand.
func NewGroups(config group.Config, committed *offsets.Offsets) (*Groups, error) {
	g := &Groups{config: config, committed: committed}
	first, err := g.begin()
	if err != nil {
		return nil, err
	}
	g.now = first
	committed.OnTakenBack(g.renew)
	return g, nil
}

// begin makes a term of what is committed.
func (g *Groups) begin() (coordination, error) {
	term := g.committed.Term()
	config := g.config
	config.Keep = func(ctx context.Context, r group.Record) error {
		if r.Deleted {
			return offsetsCommitted(ctx, term.DeleteGroup(r.Group))
		}
		return offsetsCommitted(ctx, term.KeepGroup(r.Group, r.Encode()))
	}
	memberships := g.committed.Memberships()
	records := make([]group.Record, 0, len(memberships))
	for name, encoded := range memberships {
		r, err := group.Decode(encoded)
		if err != nil {
			return coordination{}, fmt.Errorf("membership of group %s: %w", name, err)
		}
		records = append(records, r)
	}
	manager := group.New(config)
	manager.Load(records)
	manager.Adopt(g.committed.Groups()...)
	return coordination{manager, term}, nil
}

// renew ends the term and begins the next: members are told NOT_COORDINATOR, come
// again, and go on where the other broker left them. If it can't, the old term
// stays, in which nothing is committed any more.
func (g *Groups) renew() {
	next, err := g.begin()
	if err != nil {
		g.config.Log.Error("groups can't be continued, they stand still", "err", err)
		return
	}
	g.mu.Lock()
	over := g.now.manager
	if g.closed {
		over = next.manager
	} else {
		g.now = next
	}
	g.mu.Unlock()
	over.Close()
}

// current is the newest term.
func (g *Groups) current() coordination {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.now
}

// Manager is that of the newest term.
func (g *Groups) Manager() *group.Manager { return g.current().manager }

// Close ends the last term; see group.Manager.
func (g *Groups) Close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.Manager().Close()
}
