package group

import "time"

// Load restores groups from their records, as following them would have left
// them; of several records of one group the last counts. Members keep their ids,
// generation and assignments; their sessions start anew. It is called once, before
// the manager serves.
func (m *Manager) Load(records []Record) {
	newest := make(map[string]Record, len(records))
	for _, r := range records {
		newest[r.Group] = r
	}
	for id, r := range newest {
		if r.Deleted {
			continue
		}
		if g := m.adopt(id); g != nil {
			g.load(r)
			g.unlock()
		}
	}
}

// Adopt makes known groups that have committed offsets. Those without a
// membership become empty groups without a protocol type, as Kafka shows simple
// groups; CheckCommit does the same for new ones.
func (m *Manager) Adopt(groups ...string) {
	for _, id := range groups {
		if g := m.adopt(id); g != nil {
			g.unlock()
		}
	}
}

// adopt returns a group, locked, whatever the limit; nil after Close.
func (m *Manager) adopt(id string) *group {
	m.mu.Lock()
	if !m.closed && m.groups[id] == nil {
		m.insert(id)
	}
	m.mu.Unlock()
	g, _ := m.find(id, true)
	if g != nil {
		g.hasOffsets = true
	}
	return g
}

// load fills a group that was just made. What a record may not say (it came
// through storage) is passed over: a member twice, a leader that is no member.
func (g *group) load(r Record) {
	g.generation, g.protocolType, g.resumed = r.Generation, r.ProtocolType, true
	for _, rm := range r.Members {
		if rm.ID == "" || g.members[rm.ID] != nil || rm.InstanceID != "" && g.static[rm.InstanceID] != nil {
			continue
		}
		m := &member{
			id: rm.ID, instanceID: rm.InstanceID, client: Client{ID: rm.ClientID, Host: rm.ClientHost},
			joinTerms: joinTerms{
				sessionTimeout:   max(rm.SessionTimeout, g.manager.config.MinSessionTimeout),
				rebalanceTimeout: rm.RebalanceTimeout,
				// Of a member's protocols only the chosen one was kept. One that knows
				// more and rejoins looks changed, and causes a rebalance, as in Kafka.
				protocols: []protocol{{r.Protocol, rm.Metadata}},
			},
			unheard: true,
		}
		if m.rebalanceTimeout <= 0 {
			m.rebalanceTimeout = m.sessionTimeout
		}
		g.add(m, r.ProtocolType)
		g.give(m, rm.Assignment)
		m.session.set(m.sessionTimeout)
	}
	if g.members[r.Leader] != nil {
		g.leader = r.Leader
	}
	if len(g.members) > 0 {
		g.protocol = r.Protocol
		g.become(Stable)
	}
	g.previous, g.since = g.state, r.Since
	if g.since.IsZero() && r.ProtocolType != "" {
		g.since = time.Now()
	}
	g.subscribed, g.known = g.subscriptions()
	if len(g.members) > g.manager.config.MaxSize {
		g.prepare("the group is over its size") // KIP-389
	}
}
