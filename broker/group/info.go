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
// counts (KIP-211): when the group became empty, if a simple group committed it or
// a live consumer group is no longer subscribed to the topic, when it was committed.
// False means that the offset is in use and does not expire.
func (i Info) OffsetUnusedSince(topic string, committed time.Time) (time.Time, bool) {
	return time.Time{}, false
}

// Info tells about one group, false if it is not known.
func (m *Manager) Info(group string) (Info, bool) { return Info{}, false }

// Infos tells about all groups, sorted by name: for the expiry of offsets. A group
// that is Empty and has no offsets left should be deleted with Delete.
func (m *Manager) Infos() []Info { return nil }
