package group

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// API versions from which a JoinGroup means more.
const (
	joinNeedsMemberID     = 4 // KIP-394: a dynamic member joins with an id given before
	joinCanSkipAssignment = 9 // KIP-814
)

// maxReason is how much of a client's reason to rejoin is logged (KIP-800).
const maxReason = 255

// Join answers a JoinGroup request, versions 0 to 9, when the group's join phase
// has ended. If ctx is done before, the answer is REBALANCE_IN_PROGRESS, and the
// member stays until its session ends, as in Kafka: its client may come back.
func (m *Manager) Join(ctx context.Context, client Client, req *kmsg.JoinGroupRequest) *kmsg.JoinGroupResponse {
	resp := req.ResponseKind().(*kmsg.JoinGroupResponse)
	a := m.join(ctx, client, req)
	resp.MemberID = a.memberID
	if a.err != nil {
		resp.ErrorCode = a.err.Code
		resp.Generation = -1
		return resp
	}
	resp.Generation = a.generation
	resp.ProtocolType, resp.Protocol = &a.protocolType, &a.protocol
	resp.LeaderID = a.leader
	resp.Members = a.members
	resp.SkipAssignment = a.skipAssignment
	return resp
}

func (m *Manager) join(ctx context.Context, client Client, req *kmsg.JoinGroupRequest) joinAnswer {
	if err := m.checkJoin(req); err != nil {
		return joinAnswer{err: err, memberID: req.MemberID}
	}
	client.ID = strings.ToValidUTF8(client.ID, "?")
	if len(client.ID) > maxName {
		client.ID = strings.ToValidUTF8(client.ID[:maxName], "")
	}
	// Only a member without an id may found a group: an id comes from a group.
	g, err := m.find(req.Group, req.MemberID == "")
	if err == nil && g == nil {
		err = kerr.UnknownMemberID
	}
	if err != nil {
		return joinAnswer{err: err, memberID: req.MemberID}
	}
	wait := g.join(client, req)
	g.forgetIfUnused()
	g.unlock()
	select {
	case a := <-wait:
		return a
	case <-ctx.Done():
		return joinAnswer{err: kerr.RebalanceInProgress, memberID: req.MemberID}
	}
}

// checkJoin refuses what no group would take.
func (m *Manager) checkJoin(req *kmsg.JoinGroupRequest) *kerr.Error {
	if req.Group == "" || !isName(req.Group) {
		return kerr.InvalidGroupID
	}
	session := time.Duration(req.SessionTimeoutMillis) * time.Millisecond
	if session < m.config.MinSessionTimeout || session > m.config.MaxSessionTimeout {
		return kerr.InvalidSessionTimeout
	}
	if !isName(req.ProtocolType) {
		return kerr.InconsistentGroupProtocol
	}
	for _, p := range req.Protocols {
		if !isName(p.Name) {
			return kerr.InconsistentGroupProtocol
		}
	}
	if !isName(given(req.InstanceID)) {
		return kerr.InvalidRequest
	}
	return nil
}

// join returns where the answer will come; it may be there already.
func (g *group) join(client Client, req *kmsg.JoinGroupRequest) <-chan joinAnswer {
	if g.state == Dead {
		return refuseJoin(kerr.CoordinatorNotAvailable, req.MemberID)
	}
	if !g.hasRoom(req.MemberID) {
		// KIP-389: the last to rejoin leave a group that is over its size.
		if m := g.members[req.MemberID]; m != nil {
			g.remove(m)
			g.endJoinPhaseIfAllJoined()
		}
		return refuseJoin(kerr.GroupMaxSizeReached, "")
	}
	if !g.supports(req.ProtocolType, req.Protocols) {
		return refuseJoin(kerr.InconsistentGroupProtocol, req.MemberID)
	}
	terms := termsOf(req)
	more, extra := terms.size(), 0
	if m := g.members[req.MemberID]; m != nil {
		more -= m.size()
	} else if m := g.static[given(req.InstanceID)]; m != nil {
		more -= m.size()
	} else if g.pending[req.MemberID] == nil {
		extra = overhead
	}
	switch {
	case g.size+more > g.manager.config.MaxBytes:
		return refuseJoin(kerr.GroupMaxSizeReached, req.MemberID)
	case !g.manager.affords(more + extra):
		return refuseJoin(kerr.PolicyViolation, req.MemberID)
	}
	terms = terms.clone()
	if req.MemberID == "" {
		return g.joinNew(client, req, terms)
	}
	return g.joinAgain(client, req, terms)
}

func refuseJoin(err *kerr.Error, memberID string) <-chan joinAnswer {
	return joinAtOnce(joinAnswer{err: err, memberID: memberID})
}

func joinAtOnce(a joinAnswer) <-chan joinAnswer {
	wait := make(chan joinAnswer, 1)
	wait <- a
	return wait
}

// hasRoom tells whether the group's size allows the join. While it rebalances,
// who waits counts: members may be more than that if the limit was lowered.
func (g *group) hasRoom(memberID string) bool {
	limit := g.manager.config.MaxSize
	switch m := g.members[memberID]; g.state {
	case PreparingRebalance:
		return m != nil && m.joining != nil || g.joined < limit
	case CompletingRebalance, Stable:
		return m != nil || len(g.members) < limit
	default:
		return true
	}
}

// joinNew is a join without a member id.
func (g *group) joinNew(client Client, req *kmsg.JoinGroupRequest, terms joinTerms) <-chan joinAnswer {
	if instance := given(req.InstanceID); instance != "" {
		id := newMemberID(instance)
		if m := g.static[instance]; m != nil {
			return g.takeOver(m, id, client, req, terms)
		}
		return g.joinAs(id, client, req, terms)
	}
	id := newMemberID(client.ID)
	if req.Version < joinNeedsMemberID {
		return g.joinAs(id, client, req, terms)
	}
	// KIP-394: hand out the id first, so that a client that gave up waiting and
	// asks again does not leave a member behind each time.
	if len(g.pending) >= g.manager.config.MaxSize {
		return refuseJoin(kerr.GroupMaxSizeReached, "")
	}
	expiry := &alarm{group: g, ring: func() { g.expirePending(id) }}
	expiry.set(terms.sessionTimeout)
	g.pending[id] = expiry
	g.manager.bytes.Add(overhead)
	return refuseJoin(kerr.MemberIDRequired, id)
}

// joinAgain is a join with a member id.
func (g *group) joinAgain(client Client, req *kmsg.JoinGroupRequest, terms joinTerms) <-chan joinAnswer {
	instance := given(req.InstanceID)
	if g.pending[req.MemberID] != nil && instance == "" {
		g.removePending(req.MemberID)
		return g.joinAs(strings.Clone(req.MemberID), client, req, terms)
	}
	m, err := g.check(req.MemberID, instance, joins)
	if err != nil {
		return refuseJoin(err, req.MemberID)
	}
	switch g.state {
	case PreparingRebalance:
	case CompletingRebalance:
		// With the same metadata its answer got lost: tell it again.
		if m.sameProtocols(terms) {
			return joinAtOnce(g.current(m))
		}
	default:
		// A leader may know of changes that its metadata does not show, such as new
		// partitions. A follower without news only needs the generation, to sync.
		if m.id != g.leader && m.sameProtocols(terms) {
			return joinAtOnce(g.current(m))
		}
	}
	g.update(m, terms)
	wait := g.awaitJoin(m)
	g.rebalance("a member rejoins", m, req)
	return wait
}

// joinAs adds a member under an id that it got just now or before.
func (g *group) joinAs(id string, client Client, req *kmsg.JoinGroupRequest, terms joinTerms) <-chan joinAnswer {
	m := &member{
		id: id, instanceID: strings.Clone(given(req.InstanceID)), client: client,
		joinTerms: terms, isNew: true,
	}
	if g.state == PreparingRebalance && g.previous == Empty {
		g.newMember = true
	}
	g.add(m, strings.Clone(req.ProtocolType))
	wait := g.awaitJoin(m)
	m.session.set(newMemberJoinTimeout)
	g.rebalance("a member joins", m, req)
	return wait
}

// takeOver is the join of a static member whose client restarted without its
// member id (KIP-345). In a stable group nothing needs to move: the new id takes
// over the assignment, once it is kept, unless the vote on the protocol changes.
func (g *group) takeOver(m *member, id string, client Client, req *kmsg.JoinGroupRequest, terms joinTerms) <-chan joinAnswer {
	before, leader := *m, g.leader
	g.rename(m, id)
	g.update(m, terms)
	m.client, m.isNew = client, false
	m.session.set(m.sessionTimeout)
	wait := g.awaitJoin(m)
	switch g.state {
	case Stable:
		if g.choose() == g.protocol {
			generation := g.generation
			g.keepRecord(m.instanceID, func(err error) {
				g.takenOver(m, id, generation, &before, leader, req.Version, err)
			})
			return wait
		}
		g.rebalance("a static member changed its protocols", m, req)
	case CompletingRebalance:
		// The leader may be assigning to the old id.
		g.rebalance("a static member has a new id", m, req)
	default:
		g.endJoinPhaseIfAllJoined()
	}
	return wait
}

// takenOver follows the keeping of a take-over. If a rebalance came between, it
// answers the member instead.
func (g *group) takenOver(m *member, id string, generation int32, before *member, leader string, version int16, err error) {
	if g.members[id] != m || g.state != Stable || g.generation != generation || m.joining == nil {
		return
	}
	if err != nil {
		// The old id is what a restart would find: go back to it.
		g.answerJoin(m, joinAnswer{err: keepError(err)})
		g.rename(m, before.id)
		g.update(m, before.joinTerms)
		m.client = before.client
		m.session.set(m.sessionTimeout)
		return
	}
	a := g.current(m)
	switch {
	case version >= joinCanSkipAssignment:
		a.skipAssignment = m.id == g.leader
	default:
		// Before KIP-814 a leader could not be told to leave the assignment alone:
		// naming its old id as leader makes it sync as a follower.
		a.leader, a.members = leader, nil
	}
	g.answerJoin(m, a)
	m.session.set(m.sessionTimeout)
}

// rebalance starts one if the group's state calls for it; otherwise the join
// phase that runs may be over now.
func (g *group) rebalance(why string, m *member, req *kmsg.JoinGroupRequest) {
	attrs := []any{slog.String("member", m.id)}
	if reason := given(req.Reason); reason != "" { // KIP-800
		attrs = append(attrs, slog.String("reason", reason[:min(len(reason), maxReason)]))
	}
	if g.state == PreparingRebalance {
		g.endJoinPhaseIfAllJoined()
	} else {
		g.prepare(why, attrs...)
	}
}
