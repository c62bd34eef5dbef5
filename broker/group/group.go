package group

import (
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// group is one group. mu guards all of it and is never held while waiting; the
// methods of a group expect it to be held, if they do not say otherwise.
type group struct {
	manager *Manager
	id      string
	mu      sync.Mutex

	state    State
	previous State     // before state; a rebalance out of Empty is the initial one
	since    time.Time // when state began; zero if it is as it was made
	// forgotten is set when the group has left the manager's map: whoever still
	// holds it must look again.
	forgotten bool
	// hasOffsets is set if the group has committed offsets, or may have: it then
	// stays without a member ever having joined.
	hasOffsets bool

	generation int32
	// resumed is set from Load until a generation is kept again: members may have a
	// younger one, of a rebalance that the restart cut short.
	resumed      bool
	protocolType string
	protocol     string // chosen when a join phase ends; empty without members
	leader       string // a member id; empty if and only if there are no members

	members map[string]*member // by member id
	order   []*member          // the same, by time of joining
	static  map[string]*member // the static ones, by instance id
	// pending are ids that were given out and have not joined yet (KIP-394); each
	// expires with its session timeout.
	pending  map[string]*alarm
	joined   int            // members with a waiting JoinGroup
	unsynced int            // members that are to sync with this generation
	support  map[string]int // by protocol name: how many members know it
	size     int            // bytes of all members' subscriptions

	// subscribed are the topics of the generation; known is false when they are
	// not: no generation yet, another protocol type, or metadata that does not parse.
	// The map is made anew for each generation and shared with Infos.
	subscribed map[string]bool
	known      bool

	joinEnd alarm // ends the join phase; in an initial rebalance, its delay
	syncEnd alarm // ends the sync phase: who has not synced is removed
	// The initial rebalance is extended while members come, within the rebalance
	// timeout: delay is the running part, remaining is what is left after it.
	delay, remaining time.Duration
	newMember        bool // one came during this part

	keep keeping
	// lines wait for unlock to log them: a log can be as slow as its disk.
	lines []func()
}

func newGroup(m *Manager, id string) *group {
	g := &group{
		manager: m, id: id, state: Empty,
		members: make(map[string]*member),
		static:  make(map[string]*member),
		pending: make(map[string]*alarm),
		support: make(map[string]int),
	}
	g.joinEnd = alarm{group: g, ring: g.endJoinPhase}
	g.syncEnd = alarm{group: g, ring: g.endSyncPhase}
	g.keep.timeout = alarm{group: g, ring: g.keepTimedOut}
	return g
}

// unlock lets go of mu, then logs what happened under it.
func (g *group) unlock() {
	lines := g.lines
	g.lines = nil
	g.mu.Unlock()
	for _, log := range lines {
		log()
	}
}

// log logs at Info with what the group is at this moment.
func (g *group) log(message string, attrs ...any) { g.logAt(slog.LevelInfo, message, attrs...) }

func (g *group) logAt(level slog.Level, message string, attrs ...any) {
	attrs = append([]any{
		slog.String("group", g.id), slog.Int64("generation", int64(g.generation)), slog.Int("members", len(g.members)),
	}, attrs...)
	g.lines = append(g.lines, func() {
		g.manager.config.Log.Log(g.manager.ctx, level, message, attrs...)
	})
}

func (g *group) become(s State) {
	g.previous, g.state, g.since = g.state, s, time.Now()
}

// close ends the group with its manager.
func (g *group) close() {
	g.forgotten = true
	g.become(Dead)
	g.stopAlarms()
	for _, m := range g.order {
		g.answerJoin(m, joinAnswer{err: kerr.NotCoordinator, memberID: m.id})
		g.answerSync(m, syncAnswer{err: kerr.NotCoordinator})
	}
	g.keep.drop()
}

func (g *group) stopAlarms() {
	g.joinEnd.stop()
	g.syncEnd.stop()
	g.keep.timeout.stop()
	for _, m := range g.order {
		m.session.stop()
	}
	for id := range g.pending {
		g.removePending(id)
	}
}

// forget takes the group out of the manager.
func (g *group) forget() {
	g.forgotten = true
	g.stopAlarms()
	g.manager.mu.Lock()
	defer g.manager.mu.Unlock()
	delete(g.manager.groups, g.id)
}

// forgetIfUnused forgets a group that a request made and nobody joined.
func (g *group) forgetIfUnused() {
	if g.state == Empty && g.since.IsZero() && !g.hasOffsets && len(g.pending) == 0 && !g.forgotten {
		g.forget()
	}
}

// joins stands for the generation in check: a JoinGroup has none.
const joins = math.MaxInt32

// check validates who sends a request: KIP-345 fences the former holder of an
// instance id.
//
// A restart can have cut short the rebalance that a request comes from: its
// generation and the member ids given out in it were never kept. To its members it
// goes on, as if there had been no restart. They join again, by which those that
// the record knows keep what they have and the others become new members. Told
// ILLEGAL_GENERATION they would give up their partitions as lost; FENCED_INSTANCE_ID,
// which a static member's new id looks like before the kept id is heard of, is fatal
// to clients.
func (g *group) check(memberID, instanceID string, generation int32) (*member, *kerr.Error) {
	if g.resumed && g.generation < generation && generation < joins {
		return nil, kerr.RebalanceInProgress
	}
	if instanceID != "" {
		switch m := g.static[instanceID]; {
		case m == nil, m.id != memberID && m.unheard && generation > g.generation:
			return nil, kerr.UnknownMemberID
		case m.id != memberID:
			return nil, kerr.FencedInstanceID
		}
	}
	m := g.members[memberID]
	if m == nil {
		return nil, kerr.UnknownMemberID
	}
	m.unheard = false
	return m, nil
}

// add makes m a member. The caller has checked that g supports its protocols.
func (g *group) add(m *member, protocolType string) {
	if len(g.members) == 0 {
		g.protocolType = protocolType
	}
	if g.leader == "" {
		g.leader = m.id
	}
	m.session = alarm{group: g, ring: func() { g.expire(m) }}
	g.members[m.id] = m
	g.order = append(g.order, m)
	if m.isStatic() {
		g.static[m.instanceID] = m
	}
	g.count(m, 1)
}

// update gives m new terms.
func (g *group) update(m *member, terms joinTerms) {
	g.count(m, -1)
	m.joinTerms = terms
	g.count(m, 1)
}

// count adds m to what is summed up over the members, or takes it out.
func (g *group) count(m *member, sign int) {
	g.size += sign * m.size()
	g.manager.bytes.Add(int64(sign * (m.size() + overhead)))
	for _, p := range m.protocols {
		if g.support[p.name] += sign; g.support[p.name] == 0 {
			delete(g.support, p.name)
		}
	}
}

// give sets a member's assignment.
func (g *group) give(m *member, assignment []byte) {
	g.manager.bytes.Add(int64(len(assignment) - len(m.assignment)))
	m.assignment = assignment
}

// remove takes members out; their waiting requests are told UNKNOWN_MEMBER_ID, so
// that a client that is still there starts over.
func (g *group) remove(gone ...*member) {
	for _, m := range gone {
		g.answerJoin(m, joinAnswer{err: kerr.UnknownMemberID})
		g.answerSync(m, syncAnswer{err: kerr.UnknownMemberID})
		g.synced(m)
		m.session.stop()
		delete(g.members, m.id)
		if m.isStatic() {
			delete(g.static, m.instanceID)
		}
		g.give(m, nil)
		g.count(m, -1)
	}
	g.order = slices.DeleteFunc(g.order, func(m *member) bool { return g.members[m.id] != m })
	if g.members[g.leader] == nil {
		g.leader = ""
		if len(g.order) > 0 {
			g.leader = g.order[0].id
		}
	}
}

func (g *group) removePending(id string) {
	if a := g.pending[id]; a != nil {
		a.stop()
		delete(g.pending, id)
		g.manager.bytes.Add(-overhead)
	}
}

// rename gives a static member a new id (KIP-345): what waits for the old one is
// fenced, and a leader stays leader.
func (g *group) rename(m *member, id string) {
	g.answerJoin(m, joinAnswer{err: kerr.FencedInstanceID, memberID: m.id})
	g.answerSync(m, syncAnswer{err: kerr.FencedInstanceID})
	delete(g.members, m.id)
	if g.leader == m.id {
		g.leader = id
	}
	m.id, m.unheard = id, false
	g.members[id] = m
}

// supports tells whether a member with these protocols fits in: every member must
// know one of them. A member that rejoins counts with what it said before.
func (g *group) supports(protocolType string, protocols []kmsg.JoinGroupRequestProtocol) bool {
	if g.state == Empty {
		return protocolType != "" && len(protocols) > 0
	}
	return protocolType == g.protocolType &&
		slices.ContainsFunc(protocols, func(p kmsg.JoinGroupRequestProtocol) bool {
			return g.support[p.Name] == len(g.members)
		})
}

// choose elects the protocol: each member votes for the first of its list that
// all know; a tie goes to whom the longest-standing member voted for.
func (g *group) choose() string {
	votes := make(map[string]int)
	var best string
	for _, m := range g.order {
		if vote := g.voteOf(m); vote != "" {
			votes[vote]++
		}
	}
	for _, m := range g.order {
		if vote := g.voteOf(m); votes[vote] > votes[best] {
			best = vote
		}
	}
	return best
}

func (g *group) voteOf(m *member) string {
	for _, p := range m.protocols {
		if g.support[p.name] == len(g.members) {
			return p.name
		}
	}
	return ""
}

// rebalanceTimeout is that of the slowest member.
func (g *group) rebalanceTimeout() (d time.Duration) {
	for _, m := range g.order {
		d = max(d, m.rebalanceTimeout)
	}
	return d
}

// awaitJoin makes a JoinGroup wait. A request that it replaces is a lost one of
// the same member: it is answered, so that nothing waits behind it for ever.
func (g *group) awaitJoin(m *member) <-chan joinAnswer {
	g.answerJoin(m, joinAnswer{err: kerr.RebalanceInProgress, memberID: m.id})
	m.joining = make(chan joinAnswer, 1)
	g.joined++
	return m.joining
}

// answerJoin answers the JoinGroup that waits, if one does.
func (g *group) answerJoin(m *member, a joinAnswer) {
	if m.joining != nil {
		m.joining <- a
		m.joining = nil
		g.joined--
	}
}

// answerSync answers the SyncGroup that waits, if one does.
func (g *group) answerSync(m *member, a syncAnswer) bool {
	if m.syncing == nil {
		return false
	}
	m.syncing <- a
	m.syncing = nil
	return true
}

// current tells a member about the generation; only its leader gets the members.
func (g *group) current(m *member) joinAnswer {
	a := joinAnswer{
		memberID: m.id, generation: g.generation,
		protocolType: g.protocolType, protocol: g.protocol, leader: g.leader,
	}
	if m.id == g.leader {
		for _, o := range g.order {
			member := kmsg.NewJoinGroupResponseMember()
			member.MemberID = o.id
			member.InstanceID = nullable(o.instanceID)
			member.ProtocolMetadata = o.metadata(g.protocol)
			a.members = append(a.members, member)
		}
	}
	return a
}

// nullable is the protocol's way to leave a string out.
func nullable(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// given is a string that a request may leave out; empty counts as left out.
func given(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
