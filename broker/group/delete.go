package group

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Delete deletes groups that have no members, all at once, with their committed
// offsets (see Config.Keep), and waits until that is kept. The results are in the
// order of groups: nil or a *kerr.Error, NON_EMPTY_GROUP, GROUP_ID_NOT_FOUND or
// what Keep's error maps to. If ctx is done before, the answer is
// REQUEST_TIMED_OUT, and the deletion goes on.
func (m *Manager) Delete(ctx context.Context, groups ...string) []error {
	waits := make([]<-chan error, len(groups))
	for i, id := range groups {
		waits[i] = m.delete(id)
	}
	results := make([]error, len(groups))
	for i, wait := range waits {
		select {
		case results[i] = <-wait:
		case <-ctx.Done():
			results[i] = kerr.RequestTimedOut
		}
	}
	return results
}

// delete returns where the result will come; it may be there already.
func (m *Manager) delete(id string) <-chan error {
	wait := make(chan error, 1)
	g, err := m.find(id, false)
	if g == nil {
		if err == nil {
			err = kerr.GroupIDNotFound
		}
		wait <- err
		return wait
	}
	defer g.unlock()
	switch g.state {
	case Dead:
		wait <- kerr.GroupIDNotFound
	case Empty:
		g.delete(wait)
	default:
		wait <- kerr.NonEmptyGroup
	}
	return wait
}

// delete ends an empty group. It is Dead while that is being kept: who joins or
// commits meanwhile is told to come again. Ids given out are void.
func (g *group) delete(wait chan<- error) {
	since := g.since
	g.become(Dead)
	g.stopAlarms()
	tombstone := Record{Group: g.id, Deleted: true, Generation: g.generation, Since: g.since.UTC()}
	g.keepThis(tombstone, "", func(err error) {
		switch {
		case err != nil && !g.forgotten:
			g.become(Empty)
			g.since = since
			wait <- keepError(err)
		case err != nil: // closed meanwhile
			wait <- kerr.NotCoordinator
		default:
			g.forget()
			wait <- nil
		}
	})
}
