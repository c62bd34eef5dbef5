package group

import (
	"context"
	"errors"
	"log/slog"

	"github.com/twmb/franz-go/pkg/kerr"
)

// keeping is a group's queue of one record to keep. A record is the whole truth
// about its group, so a newer one replaces one that still waits for its turn: the
// queue is bounded however long Keep takes. The group's mu guards it.
type keeping struct {
	running bool // a goroutine is in Keep, or about to call it
	next    *Record
	// done are told the outcome of next, by what they follow: "" for the whole
	// group, an instance id for its take-over. Of two that follow the same, only
	// the newer still matters.
	done map[string]func(error)

	assigning bool  // the generation's assignment is being kept
	timeout   alarm // of that
	// emptied is closed when the record of the last empty generation is settled.
	emptied chan struct{}
}

// errSuperseded says that a newer record of the group was kept instead.
var errSuperseded = errors.New("group: a newer record took its place")

// errKeepTimeout says that Keep took longer than Config.KeepTimeout.
var errKeepTimeout = errors.New("group: keeping a record took too long")

// keepRecord keeps the group as it is now. done is called with mu held.
func (g *group) keepRecord(what string, done func(error)) {
	g.keepThis(g.record(nil), what, done)
}

func (g *group) keepThis(r Record, what string, done func(error)) {
	k := &g.keep
	k.next = &r
	if k.done == nil {
		k.done = make(map[string]func(error))
	}
	if older := k.done[what]; older != nil {
		older(errSuperseded)
	}
	k.done[what] = done
	if !k.running {
		k.running = true
		g.manager.keepers.Go(g.runKeep)
	}
}

// runKeep keeps records while there are some, then ends: an idle group has no
// goroutine. It takes mu itself, and lets go of it while Keep runs.
func (g *group) runKeep() {
	g.mu.Lock()
	defer g.unlock()
	for g.keep.next != nil {
		r, done := *g.keep.next, g.keep.done
		g.keep.next, g.keep.done = nil, nil
		g.unlock()
		err := g.manager.config.Keep(g.manager.ctx, r)
		g.mu.Lock()
		for _, f := range done {
			f(err)
		}
	}
	g.keep.running = false
}

// drop gives up what is queued, at Close.
func (k *keeping) drop() {
	for _, f := range k.done {
		f(kerr.NotCoordinator)
	}
	k.next, k.done = nil, nil
}

// keepAssignment keeps the generation with its assignment, then hands it out.
func (g *group) keepAssignment(assignment map[string][]byte) {
	generation := g.generation
	g.keep.assigning = true
	g.keep.timeout.set(g.manager.config.KeepTimeout)
	g.keepThis(g.record(assignment), "", func(err error) {
		// If another rebalance began meanwhile, that one answers everybody.
		if g.state != CompletingRebalance || g.generation != generation || !g.keep.assigning {
			return
		}
		g.keep.assigning = false
		g.keep.timeout.stop()
		if err != nil {
			g.assignmentFailed(err)
		} else {
			g.assignmentKept(assignment)
		}
	})
}

func (g *group) keepTimedOut() {
	if g.state == CompletingRebalance && g.keep.assigning {
		g.keep.assigning = false
		g.assignmentFailed(errKeepTimeout)
	}
}

// keepEmpty keeps that the group is empty. That it fails is no harm: after a
// restart the members of the last kept generation are back, and expire.
func (g *group) keepEmpty() {
	emptied := make(chan struct{})
	g.keep.emptied = emptied
	g.keepThis(g.record(nil), "", func(err error) {
		close(emptied)
		if err != nil && !errors.Is(err, errSuperseded) && !g.forgotten {
			g.logAt(slog.LevelWarn, "that the group is empty is not kept", slog.Any("error", err))
		}
	})
}

// record is the group with an assignment, or with the one that stands if that is
// nil.
func (g *group) record(assignment map[string][]byte) Record {
	r := Record{
		Group: g.id, Generation: g.generation, ProtocolType: g.protocolType,
		Protocol: g.protocol, Leader: g.leader, Since: g.since.UTC(),
	}
	for _, m := range g.order {
		assigned := m.assignment
		if assignment != nil {
			assigned = assignment[m.id]
		}
		r.Members = append(r.Members, RecordMember{
			ID: m.id, InstanceID: m.instanceID, ClientID: m.client.ID, ClientHost: m.client.Host,
			SessionTimeout: m.sessionTimeout, RebalanceTimeout: m.rebalanceTimeout,
			Metadata: m.metadata(g.protocol), Assignment: assigned,
		})
	}
	return r
}

// keepError is what a client is told when Keep fails, as Kafka maps the errors of
// its append (appendGroupMetadataErrorToResponseError).
func keepError(err error) *kerr.Error {
	var told *kerr.Error
	if !errors.As(err, &told) {
		// An outage, a timeout: the client looks for the coordinator and tries again.
		return kerr.CoordinatorNotAvailable
	}
	switch told {
	case kerr.UnknownTopicOrPartition, kerr.NotEnoughReplicas, kerr.NotEnoughReplicasAfterAppend, kerr.RequestTimedOut:
		return kerr.CoordinatorNotAvailable
	case kerr.NotLeaderForPartition, kerr.KafkaStorageError:
		return kerr.NotCoordinator
	case kerr.MessageTooLarge, kerr.RecordListTooLarge, kerr.InvalidFetchSize:
		return kerr.UnknownServerError
	}
	return told
}

// wait waits for c as long as a client may be kept waiting for Keep.
func (m *Manager) wait(ctx context.Context, c <-chan struct{}) {
	ctx, cancel := context.WithTimeout(ctx, m.config.KeepTimeout)
	defer cancel()
	select {
	case <-c:
	case <-ctx.Done():
	}
}
