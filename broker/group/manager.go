// Package group is the membership of Kafka's classic consumer groups: a state
// machine with timers for each group, as in the GroupMetadataManager of Kafka 4.
// It owns no storage and no sockets: what must outlive the broker leaves through
// Config.Keep and returns through Load, and a request waits within its context.
package group

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Manager coordinates all groups, from its Load to its Close: one term of being
// the coordinator. All methods are safe for concurrent use.
type Manager struct{}

// New returns a manager without groups. Call Load, then Adopt, before it serves.
func New(config Config) *Manager { return nil }

// Load restores groups from their records, as following them would have left
// them; of several records of one group the last counts. Members keep their ids,
// generation and assignments; their sessions start anew. It is called once, before
// the manager serves.
func (m *Manager) Load(records []Record) {}

// Adopt makes known groups that have committed offsets. Those without a
// membership become empty groups without a protocol type, as Kafka shows simple
// groups; CheckCommit does the same for new ones.
func (m *Manager) Adopt(groups ...string) {}

// Close ends the term: timers stop, waiting members are told NOT_COORDINATOR, as
// is every request from now on, and no record is handed to Keep any more. It
// returns when running calls of Keep have returned; their ctx is done.
func (m *Manager) Close() {}

// Client is who sent a request.
type Client struct {
	ID   string // client id of the request's header
	Host string // "/10.0.0.7" is Kafka's way to write it
}

// Join answers a JoinGroup request, versions 0 to 9, when the group's join phase
// has ended. If ctx is done before, the answer is REBALANCE_IN_PROGRESS, and the
// member stays until its session ends, as in Kafka: its client may come back.
func (m *Manager) Join(ctx context.Context, client Client, req *kmsg.JoinGroupRequest) *kmsg.JoinGroupResponse {
	return nil
}

// Sync answers a SyncGroup request, versions 0 to 5, when the leader's assignment
// is kept. ctx is as for Join.
func (m *Manager) Sync(ctx context.Context, req *kmsg.SyncGroupRequest) *kmsg.SyncGroupResponse {
	return nil
}

// Heartbeat answers a Heartbeat request, versions 0 to 4.
func (m *Manager) Heartbeat(req *kmsg.HeartbeatRequest) *kmsg.HeartbeatResponse { return nil }

// Leave answers a LeaveGroup request, versions 0 to 5. When the last member
// leaves it waits until that is kept, or ctx or Config.KeepTimeout ends; the
// member has left in any case.
func (m *Manager) Leave(ctx context.Context, req *kmsg.LeaveGroupRequest) *kmsg.LeaveGroupResponse {
	return nil
}

// Describe describes one group for a DescribeGroups response of the given API
// version, 0 to 6; an unknown group is Dead, from version 6 on also
// GROUP_ID_NOT_FOUND. AuthorizedOperations is left at its default.
func (m *Manager) Describe(version int16, group string) kmsg.DescribeGroupsResponseGroup {
	return kmsg.DescribeGroupsResponseGroup{}
}

// List lists groups for a ListGroups response, sorted by name. Filters are those
// of the request, in any case; none means all. All groups here are "classic".
func (m *Manager) List(states, types []string) []kmsg.ListGroupsResponseGroup { return nil }

// Delete deletes groups that have no members, all at once, with their committed
// offsets (see Config.Keep), and waits until that is kept. The results are in the
// order of groups: nil or a *kerr.Error, NON_EMPTY_GROUP, GROUP_ID_NOT_FOUND or
// what Keep's error maps to. If ctx is done before, the answer is
// REQUEST_TIMED_OUT, and the deletion goes on.
func (m *Manager) Delete(ctx context.Context, groups ...string) []error { return nil }

// Commit is who wants to commit offsets. Build it from the request's fields as
// they are; MemberID is empty and Generation -1 for a simple consumer or an admin.
type Commit struct {
	Group         string
	MemberID      string
	InstanceID    *string
	Generation    int32
	Transactional bool  // TxnOffsetCommit
	Version       int16 // of the API; OffsetCommit has other errors from 9 on
}

// CheckCommit tells whether an offset commit is allowed, and counts as a sign of
// life of the member: nil or a *kerr.Error. A commit without a member to an
// unknown group makes the group known, see Adopt.
func (m *Manager) CheckCommit(c Commit) error { return nil }

// CheckOffsetDelete tells whether offsets of a group may be deleted: nil or a
// *kerr.Error for the whole request (GROUP_ID_NOT_FOUND, NON_EMPTY_GROUP), and the
// topics whose partitions must be refused with GROUP_SUBSCRIBED_TO_TOPIC.
func (m *Manager) CheckOffsetDelete(group string, topics []string) (subscribed map[string]bool, err error) {
	return nil, nil
}
