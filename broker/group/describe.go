package group

import (
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// describeHasNotFound is the API version of DescribeGroups from which an unknown
// group is an error and not only Dead (KIP-1043).
const describeHasNotFound = 6

// classic is the type of all groups here, by Kafka's name (KIP-848 has others).
const classic = "classic"

// Describe describes one group for a DescribeGroups response of the given API
// version, 0 to 6; an unknown group is Dead, from version 6 on also
// GROUP_ID_NOT_FOUND. AuthorizedOperations is left at its default.
func (m *Manager) Describe(version int16, group string) kmsg.DescribeGroupsResponseGroup {
	d := kmsg.NewDescribeGroupsResponseGroup()
	d.Group = group
	g, err := m.find(group, false)
	switch {
	case err != nil:
		d.ErrorCode = err.Code
		return d
	case g == nil:
		d.State = string(Dead)
		if version >= describeHasNotFound {
			d.ErrorCode = kerr.GroupIDNotFound.Code
			d.ErrorMessage = nullable("Group " + group + " not found.")
		}
		return d
	}
	defer g.unlock()
	d.State, d.ProtocolType = string(g.state), g.protocolType
	if g.state == Stable {
		d.Protocol = g.protocol
	}
	for _, m := range g.order {
		r := kmsg.NewDescribeGroupsResponseGroupMember()
		r.MemberID, r.InstanceID = m.id, nullable(m.instanceID)
		r.ClientID, r.ClientHost = m.client.ID, m.client.Host
		r.ProtocolMetadata, r.MemberAssignment = []byte{}, []byte{} // not nullable
		if g.state == Stable {
			// Before that, there is no protocol to choose the metadata by.
			r.ProtocolMetadata = append(r.ProtocolMetadata, m.metadata(g.protocol)...)
		}
		r.MemberAssignment = append(r.MemberAssignment, m.assignment...)
		d.Members = append(d.Members, r)
	}
	return d
}

// Size is how many members a group has, and how many bytes their subscriptions and
// assignments take, which Describe copies. 0 for a group that is not known.
func (m *Manager) Size(group string) (members, bytes int) {
	g, err := m.find(group, false)
	if err != nil || g == nil {
		return 0, 0
	}
	defer g.unlock()
	bytes = g.size
	for _, m := range g.order {
		bytes += len(m.assignment)
	}
	return len(g.order), bytes
}

// Count is how many groups List lists at most.
func (m *Manager) Count() int {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return len(m.groups)
}

// List lists groups for a ListGroups response, sorted by name. Filters are those
// of the request, in any case; none means all. All groups here are "classic".
func (m *Manager) List(states, types []string) []kmsg.ListGroupsResponseGroup {
	listed := []kmsg.ListGroupsResponseGroup{}
	if !passes(types, classic) {
		return listed
	}
	for _, g := range m.sorted() {
		g.mu.Lock()
		l := kmsg.NewListGroupsResponseGroup()
		l.Group, l.ProtocolType = g.id, g.protocolType
		l.GroupState, l.GroupType = string(g.state), classic
		skip := g.forgotten
		g.unlock()
		if !skip && passes(states, l.GroupState) {
			listed = append(listed, l)
		}
	}
	return listed
}

func passes(filter []string, s string) bool {
	return len(filter) == 0 || slices.ContainsFunc(filter, func(f string) bool {
		return strings.EqualFold(strings.TrimSpace(f), s)
	})
}
