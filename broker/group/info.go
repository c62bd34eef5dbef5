package group

import "time"

// State is a state of a classic group, by Kafka's name.
type State string

// The states of a group. Its life is a walk in
// Empty -> PreparingRebalance -> CompletingRebalance -> Stable -> PreparingRebalance ...
// and ends in Dead.
const (
	Empty               State = "Empty"               // no members; may have offsets
	PreparingRebalance  State = "PreparingRebalance"  // waits for all members to join
	CompletingRebalance State = "CompletingRebalance" // waits for the leader's assignment
	Stable              State = "Stable"              // each member has its assignment
	Dead                State = "Dead"                // deleted, or the manager is closed
)

// Info is what other parts of the broker need to know of a group, at one moment.
type Info struct {
	Group        string
	State        State
	ProtocolType string // empty for a simple group, which only commits offsets
	Generation   int32
	Members      int       // without those that were only given an id
	Since        time.Time // when State began; zero for a simple group

	subscribed      map[string]bool // topics; valid if subscribedKnown
	subscribedKnown bool
}

// EmptySince is when the last member left; false while there are members, and
// for a simple group.
func (i Info) EmptySince() (time.Time, bool) { return i.Since, i.State == Empty && !i.Since.IsZero() }

// OffsetUnusedSince is the moment from which the retention of a committed offset
// counts (KIP-211). In an empty group it is when the group became empty, or the
// offset's commit if an admin made that later. It is the offset's commit too for
// simple groups, and for topics that a stable group of consumers does not subscribe
// to. False means that the offset is in use and does not expire.
func (i Info) OffsetUnusedSince(topic string, committed time.Time) (time.Time, bool) {
	switch {
	case i.ProtocolType == "":
		return committed, true
	case i.State == Empty:
		if i.Since.After(committed) {
			return i.Since, true
		}
		return committed, true
	case i.State == Stable && i.ProtocolType == consumerType && i.subscribedKnown && !i.subscribed[topic]:
		return committed, true
	}
	return time.Time{}, false
}

// Info tells about one group, false if it is not known.
func (m *Manager) Info(group string) (Info, bool) {
	g, _ := m.find(group, false)
	if g == nil {
		return Info{}, false
	}
	defer g.unlock()
	return g.info(), true
}

// Infos tells about all groups, sorted by name: for the expiry of offsets. A group
// that is Empty and has no offsets left should be deleted with Delete.
func (m *Manager) Infos() []Info {
	groups := m.sorted()
	infos := make([]Info, 0, len(groups))
	for _, g := range groups {
		g.mu.Lock()
		if !g.forgotten {
			infos = append(infos, g.info())
		}
		g.unlock()
	}
	return infos
}
