package group

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// consumerType is the protocol type of consumers, the only one whose
// subscriptions are ours to read.
const consumerType = "consumer"

// commitHasNotFound is the API version of OffsetCommit from which an unknown
// group has an error of its own (KIP-848).
const commitHasNotFound = 9

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
func (m *Manager) CheckCommit(c Commit) error {
	if err := m.checkCommit(c); err != nil {
		return err
	}
	return nil
}

func (m *Manager) checkCommit(c Commit) *kerr.Error {
	if !isName(c.Group) { // an empty one is allowed, as in Kafka
		return kerr.InvalidGroupID
	}
	g, err := m.find(c.Group, c.Generation < 0)
	switch {
	case err != nil:
		return err
	case g == nil && !c.Transactional && c.Version >= commitHasNotFound:
		return kerr.GroupIDNotFound
	case g == nil:
		return kerr.IllegalGeneration
	}
	defer g.unlock()
	if err := g.checkCommit(c); err != nil {
		g.forgetIfUnused()
		return err
	}
	g.hasOffsets = true
	return nil
}

func (g *group) checkCommit(c Commit) *kerr.Error {
	instance := given(c.InstanceID)
	switch {
	case g.state == Dead:
		return kerr.CoordinatorNotAvailable
	case c.Generation < 0 && g.state == Empty:
		return nil // an admin, or a consumer that assigns partitions to itself
	case c.Generation < 0 && c.MemberID == "" && instance == "":
		// Transactional producers from before KIP-447 name no member.
		if !c.Transactional {
			return kerr.UnknownMemberID
		}
		return nil
	}
	m, err := g.check(c.MemberID, instance, c.Generation)
	switch {
	case err != nil:
		return err
	case c.Generation != g.generation:
		return kerr.IllegalGeneration
	case c.Transactional:
		return nil
	case g.state == CompletingRebalance:
		// The member has the generation from its JoinGroup's answer, and offsets of
		// partitions that may be another's now.
		return kerr.RebalanceInProgress
	}
	// In PreparingRebalance members commit before they give up partitions, and
	// cooperative ones (KIP-429) go on consuming.
	m.session.set(m.sessionTimeout)
	return nil
}

// CheckOffsetDelete tells whether offsets of a group may be deleted: nil or a
// *kerr.Error for the whole request (GROUP_ID_NOT_FOUND, NON_EMPTY_GROUP), and the
// topics whose partitions must be refused with GROUP_SUBSCRIBED_TO_TOPIC.
func (m *Manager) CheckOffsetDelete(group string, topics []string) (subscribed map[string]bool, err error) {
	g, refused := m.find(group, false)
	if g == nil {
		if refused == nil {
			refused = kerr.GroupIDNotFound
		}
		return nil, refused
	}
	defer g.unlock()
	switch {
	case g.state == Dead:
		return nil, kerr.GroupIDNotFound
	case g.state != Empty && g.protocolType != consumerType:
		return nil, kerr.NonEmptyGroup
	}
	subscribed = make(map[string]bool)
	for _, t := range topics {
		// Of consumers that cannot be understood, each topic may be in use.
		if g.known && g.subscribed[t] || !g.known && g.protocolType == consumerType {
			subscribed[t] = true
		}
	}
	return subscribed, nil
}

// subscriptions are the topics that the members of this generation subscribe to,
// false if that cannot be known.
func (g *group) subscriptions() (map[string]bool, bool) {
	if g.protocolType != consumerType {
		return nil, false
	}
	topics := make(map[string]bool)
	for _, m := range g.order {
		names, ok := subscription(m.metadata(g.protocol))
		if !ok {
			return nil, false
		}
		for _, t := range names {
			topics[t] = true
		}
	}
	return topics, true
}

// subscription reads the topics of a consumer's subscription. All versions begin
// as version 0 does, and later ones only append; so it is read as such, and a
// client newer than this broker is understood.
func subscription(metadata []byte) (topics []string, ok bool) {
	if len(metadata) < 2 || metadata[0]&0x80 != 0 { // a negative version
		return nil, false
	}
	v0 := append([]byte{0, 0}, metadata[2:]...)
	var s kmsg.ConsumerMemberMetadata
	if s.ReadFrom(v0) != nil {
		return nil, false
	}
	return s.Topics, true
}

// info is the group at this moment.
func (g *group) info() Info {
	return Info{
		Group: g.id, State: g.state, ProtocolType: g.protocolType, Generation: g.generation,
		Members: len(g.members), Since: g.since,
		subscribed: g.subscribed, subscribedKnown: g.known,
	}
}
