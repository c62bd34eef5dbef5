package group

import (
	"log/slog"

	"github.com/twmb/franz-go/pkg/kerr"
)

// prepare starts a rebalance: members are told to join again, by their heartbeats
// or by the answer to a waiting SyncGroup.
func (g *group) prepare(why string, attrs ...any) {
	if g.state == CompletingRebalance {
		for _, m := range g.order {
			g.give(m, nil)
		}
		g.answerSyncs(kerr.RebalanceInProgress)
	}
	for _, m := range g.order {
		g.synced(m)
	}
	g.syncEnd.stop()
	g.keep.timeout.stop()
	g.keep.assigning = false

	g.become(PreparingRebalance)
	g.log("group rebalances", append([]any{slog.String("why", why)}, attrs...)...)
	switch {
	case g.previous == Empty:
		g.delay = g.manager.config.InitialRebalanceDelay
		g.remaining = max(g.rebalanceTimeout()-g.delay, 0)
		g.joinEnd.set(g.delay)
	case g.allJoined():
		g.nextGeneration()
	default:
		g.joinEnd.set(g.rebalanceTimeout())
	}
}

func (g *group) allJoined() bool {
	return g.joined == len(g.members) && len(g.pending) == 0
}

// endJoinPhaseIfAllJoined does so, except for an initial rebalance, which waits
// for its delay.
func (g *group) endJoinPhaseIfAllJoined() {
	if g.state == PreparingRebalance && g.previous != Empty && g.allJoined() {
		g.nextGeneration()
	}
}

// endJoinPhase runs when the join phase's time is over, or a part of the initial
// delay: that goes on while members come, up to the rebalance timeout.
func (g *group) endJoinPhase() {
	if g.state != PreparingRebalance {
		return
	}
	if g.previous == Empty && g.newMember && g.remaining > 0 {
		g.newMember = false
		step := min(g.manager.config.InitialRebalanceDelay, g.remaining)
		g.remaining = max(g.remaining-g.delay, 0)
		g.delay = step
		g.joinEnd.set(step)
		return
	}
	g.nextGeneration()
}

// nextGeneration ends the join phase. Dynamic members that did not rejoin are out;
// static ones stay, since that is what they are for, until their session ends.
func (g *group) nextGeneration() {
	g.joinEnd.stop()
	g.newMember = false
	var late []*member
	for _, m := range g.order {
		if m.joining == nil && !m.isStatic() {
			late = append(late, m)
		}
	}
	if len(late) > 0 {
		g.log("members did not rejoin and are removed", slog.Int("removed", len(late)))
		g.remove(late...)
	}
	if len(g.members) > 0 && !g.electLeader() {
		// Only static members, all away: go on when one is back or all have expired.
		g.joinEnd.set(g.rebalanceTimeout())
		return
	}

	g.generation++
	if len(g.members) == 0 {
		g.protocol = ""
		g.subscribed, g.known = g.subscriptions()
		g.become(Empty)
		g.log("group is empty")
		g.keepEmpty()
		return
	}
	g.protocol = g.choose()
	g.subscribed, g.known = g.subscriptions()
	g.become(CompletingRebalance)
	g.log("group has a new generation", slog.String("protocol", g.protocol), slog.String("leader", g.leader))
	for _, m := range g.order {
		g.answerJoin(m, g.current(m))
		m.session.set(m.sessionTimeout)
		m.isNew = false
		m.unsynced = true
	}
	g.unsynced = len(g.order)
	g.syncEnd.set(g.rebalanceTimeout())
}

// electLeader keeps the leader if it rejoined, or takes the first that did; false
// if nobody did.
func (g *group) electLeader() bool {
	if g.members[g.leader].joining != nil {
		return true
	}
	for _, m := range g.order {
		if m.joining != nil {
			g.leader = m.id
			return true
		}
	}
	return false
}

// endSyncPhase removes the members that joined a generation and did not sync in
// time (KAFKA-9935), among them a leader that died while it assigned.
func (g *group) endSyncPhase() {
	if g.state != CompletingRebalance && g.state != Stable {
		return
	}
	var late []*member
	for _, m := range g.order {
		if m.unsynced {
			late = append(late, m)
		}
	}
	if len(late) == 0 {
		return
	}
	g.remove(late...)
	g.prepare("members did not sync and are removed", slog.Int("removed", len(late)))
}

// synced notes that a member has synced, or need not any more.
func (g *group) synced(m *member) {
	if !m.unsynced {
		return
	}
	m.unsynced = false
	if g.unsynced--; g.unsynced == 0 {
		g.syncEnd.stop()
	}
}

// expire runs when a member's session is over.
func (g *group) expire(m *member) {
	if g.members[m.id] != m || g.state == Dead {
		return
	}
	if m.isWaiting() {
		// Its session starts anew with the answer.
		return
	}
	g.log("member is removed, its session has ended", slog.String("member", m.id))
	g.remove(m)
	switch {
	case g.state == Stable || g.state == CompletingRebalance:
		g.prepare("a member's session has ended", slog.String("member", m.id))
	case g.state == PreparingRebalance && g.allJoined():
		g.nextGeneration()
	}
}

// expirePending runs when an id that was given out has not joined in time.
func (g *group) expirePending(id string) {
	g.removePending(id)
	if g.state == PreparingRebalance && g.allJoined() {
		g.nextGeneration()
	}
	g.forgetIfUnused()
}
