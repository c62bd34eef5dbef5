package group

import (
	"context"
	"log/slog"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// leaveNamesSeveral is the API version from which a LeaveGroup lists members, by
// id or by instance id (KIP-345).
const leaveNamesSeveral = 3

// Heartbeat answers a Heartbeat request, versions 0 to 4.
func (m *Manager) Heartbeat(req *kmsg.HeartbeatRequest) *kmsg.HeartbeatResponse {
	resp := req.ResponseKind().(*kmsg.HeartbeatResponse)
	if err := m.heartbeat(req); err != nil {
		resp.ErrorCode = err.Code
	}
	return resp
}

func (m *Manager) heartbeat(req *kmsg.HeartbeatRequest) *kerr.Error {
	if req.Group == "" {
		return kerr.InvalidGroupID
	}
	g, err := m.find(req.Group, false)
	if g == nil {
		if err == nil {
			err = kerr.UnknownMemberID
		}
		return err
	}
	defer g.unlock()
	if g.state == Dead {
		return kerr.CoordinatorNotAvailable
	}
	member, err := g.check(req.MemberID, given(req.InstanceID), req.Generation)
	switch {
	case err != nil:
		return err
	case req.Generation != g.generation:
		return kerr.IllegalGeneration
	}
	// Heartbeats may begin with the JoinGroup's answer, before the group is stable.
	member.session.set(member.sessionTimeout)
	if g.state == PreparingRebalance {
		return kerr.RebalanceInProgress
	}
	return nil
}

// Leave answers a LeaveGroup request, versions 0 to 5. When the last member
// leaves it waits until that is kept, or ctx or Config.KeepTimeout ends; the
// member has left in any case.
func (m *Manager) Leave(ctx context.Context, req *kmsg.LeaveGroupRequest) *kmsg.LeaveGroupResponse {
	resp := req.ResponseKind().(*kmsg.LeaveGroupResponse)
	leaving := req.Members
	if req.Version < leaveNamesSeveral {
		leaving = []kmsg.LeaveGroupRequestMember{{MemberID: req.MemberID}}
	}
	results, err := m.leave(ctx, req.Group, leaving)
	switch {
	case err != nil:
		resp.ErrorCode = err.Code
	case req.Version < leaveNamesSeveral:
		resp.ErrorCode = results[0].ErrorCode
	default:
		resp.Members = results
	}
	return resp
}

func (m *Manager) leave(ctx context.Context, id string, leaving []kmsg.LeaveGroupRequestMember) ([]kmsg.LeaveGroupResponseMember, *kerr.Error) {
	if id == "" {
		return nil, kerr.InvalidGroupID
	}
	g, err := m.find(id, false)
	if err != nil {
		return nil, err
	}
	results := make([]kmsg.LeaveGroupResponseMember, len(leaving))
	for i, l := range leaving {
		results[i] = kmsg.NewLeaveGroupResponseMember()
		results[i].MemberID, results[i].InstanceID = l.MemberID, l.InstanceID
		results[i].ErrorCode = kerr.UnknownMemberID.Code
	}
	if g == nil {
		return results, nil
	}
	if g.state == Dead {
		g.unlock()
		return nil, kerr.CoordinatorNotAvailable
	}
	emptied := g.leave(leaving, results)
	g.unlock()
	if emptied != nil {
		m.wait(ctx, emptied)
	}
	return results, nil
}

// leave removes members and fills in the results. If the group is empty now, it
// returns what is closed when that is kept.
func (g *group) leave(leaving []kmsg.LeaveGroupRequestMember, results []kmsg.LeaveGroupResponseMember) <-chan struct{} {
	var left int
	for i, l := range leaving {
		err := g.leaveOne(l)
		if err == nil {
			left++
			results[i].ErrorCode = 0
		} else {
			results[i].ErrorCode = err.Code
		}
	}
	if left == 0 {
		return nil
	}
	switch g.state {
	case Stable, CompletingRebalance:
		g.prepare("members left", slog.Int("left", left))
	case PreparingRebalance:
		g.endJoinPhaseIfAllJoined()
	case Empty: // only ids that had not joined
		g.forgetIfUnused()
		return nil
	}
	if g.state == Empty {
		return g.keep.emptied
	}
	return nil
}

func (g *group) leaveOne(l kmsg.LeaveGroupRequestMember) *kerr.Error {
	instance := given(l.InstanceID)
	if l.MemberID == "" {
		// An administrator removes a static member by its instance id alone.
		m := g.static[instance]
		if m == nil {
			return kerr.UnknownMemberID
		}
		g.remove(m)
		return nil
	}
	if g.pending[l.MemberID] != nil {
		g.removePending(l.MemberID)
		return nil
	}
	m, err := g.check(l.MemberID, instance, -1)
	if err != nil {
		return err
	}
	g.remove(m)
	return nil
}
