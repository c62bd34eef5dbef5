package group

import (
	"bytes"
	"context"
	"log/slog"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// syncNamesProtocol is the API version from which a SyncGroup must name its
// protocol type and protocol (KIP-559).
const syncNamesProtocol = 5

// Sync answers a SyncGroup request, versions 0 to 5, when the leader's assignment
// is kept. ctx is as for Join.
func (m *Manager) Sync(ctx context.Context, req *kmsg.SyncGroupRequest) *kmsg.SyncGroupResponse {
	resp := req.ResponseKind().(*kmsg.SyncGroupResponse)
	a := m.sync(ctx, req)
	resp.MemberAssignment = a.assignment
	if resp.MemberAssignment == nil {
		resp.MemberAssignment = []byte{} // not nullable
	}
	if a.err != nil {
		resp.ErrorCode = a.err.Code
		return resp
	}
	resp.ProtocolType, resp.Protocol = &a.protocolType, &a.protocol
	return resp
}

func (m *Manager) sync(ctx context.Context, req *kmsg.SyncGroupRequest) syncAnswer {
	switch {
	case req.Group == "":
		return syncAnswer{err: kerr.InvalidGroupID}
	case req.Version >= syncNamesProtocol && (req.ProtocolType == nil || req.Protocol == nil):
		return syncAnswer{err: kerr.InconsistentGroupProtocol}
	}
	g, err := m.find(req.Group, false)
	if err == nil && g == nil {
		err = kerr.UnknownMemberID
	}
	if err != nil {
		return syncAnswer{err: err}
	}
	wait := g.sync(req)
	g.unlock()
	select {
	case a := <-wait:
		return a
	case <-ctx.Done():
		return syncAnswer{err: kerr.RebalanceInProgress}
	}
}

// sync returns where the answer will come; it may be there already.
func (g *group) sync(req *kmsg.SyncGroupRequest) <-chan syncAnswer {
	wait := make(chan syncAnswer, 1)
	m, err := g.checkSync(req)
	if err != nil {
		wait <- syncAnswer{err: err}
		return wait
	}
	g.synced(m)
	if g.state == Stable {
		m.session.set(m.sessionTimeout)
		wait <- g.assigned(m)
		return wait
	}
	// A request that this one replaces is a lost one of the same member.
	g.answerSync(m, syncAnswer{err: kerr.RebalanceInProgress})
	m.syncing = wait
	if m.id == g.leader && !g.keep.assigning {
		g.assign(req.GroupAssignment)
	}
	return wait
}

// checkSync returns the member if it may sync now: the group is Stable or
// CompletingRebalance, and they agree on the generation and the protocol.
func (g *group) checkSync(req *kmsg.SyncGroupRequest) (*member, *kerr.Error) {
	if g.state == Dead {
		return nil, kerr.CoordinatorNotAvailable
	}
	m, err := g.check(req.MemberID, given(req.InstanceID), req.Generation)
	switch {
	case err != nil:
		return nil, err
	case req.Generation != g.generation:
		return nil, kerr.IllegalGeneration
	case req.ProtocolType != nil && *req.ProtocolType != g.protocolType,
		req.Protocol != nil && *req.Protocol != g.protocol:
		return nil, kerr.InconsistentGroupProtocol
	case g.state == PreparingRebalance:
		return nil, kerr.RebalanceInProgress
	}
	return m, nil
}

// assign takes the leader's assignment: it counts when it is kept.
func (g *group) assign(parts []kmsg.SyncGroupRequestGroupAssignment) {
	assignment := make(map[string][]byte, len(parts))
	var size int
	for _, p := range parts {
		// What is assigned to others than members is of no use to anybody.
		if m := g.members[p.MemberID]; m != nil && len(p.MemberAssignment) > 0 {
			size += len(p.MemberAssignment) - len(assignment[m.id])
			assignment[m.id] = bytes.Clone(p.MemberAssignment)
		}
	}
	if len(assignment) < len(g.members) {
		g.log("leader assigned nothing to some members", slog.Int("without", len(g.members)-len(assignment)))
	}
	switch {
	case size > g.manager.config.MaxBytes:
		g.assignmentFailed(kerr.MessageTooLarge)
	case !g.manager.affords(size):
		g.assignmentFailed(kerr.PolicyViolation)
	default:
		g.keepAssignment(assignment)
	}
}

// assignmentKept ends the rebalance: now, and not before, members learn what they
// are assigned.
func (g *group) assignmentKept(assignment map[string][]byte) {
	for _, m := range g.order {
		g.give(m, assignment[m.id])
	}
	g.answerSyncs(nil)
	g.become(Stable)
	g.resumed = false
}

// assignmentFailed tells all who wait, and has everybody join again.
func (g *group) assignmentFailed(err error) {
	told := keepError(err)
	g.logAt(slog.LevelWarn, "the assignment is not kept", slog.Any("error", err), slog.String("told", told.Message))
	for _, m := range g.order {
		g.give(m, nil)
	}
	g.answerSyncs(told)
	g.prepare("the assignment was not kept")
}

// answerSyncs answers all waiting SyncGroups, with an error or the assignments.
// Sessions start anew for them, since waiting stood for their heartbeats.
func (g *group) answerSyncs(err *kerr.Error) {
	for _, m := range g.order {
		a := syncAnswer{err: err}
		if err == nil {
			a = g.assigned(m)
		}
		if g.answerSync(m, a) {
			m.session.set(m.sessionTimeout)
		}
	}
}

func (g *group) assigned(m *member) syncAnswer {
	return syncAnswer{protocolType: g.protocolType, protocol: g.protocol, assignment: m.assignment}
}
