//go:build integration

package integration

import (
	"testing"
	"time"
)

const (
	// restSlack is how many goroutines more than at its start a broker may have that nobody
	// uses any more: connections of its HTTP server and to its store, which stay for a while,
	// and work in the background. A leak is one for each request, fault or connection.
	restSlack = 10
	// restWithin is how soon they must have ended: connections to a store, of which a load may
	// have taken many, are kept for 90 s.
	restWithin = 2 * time.Minute
)

// goroutines is how many the broker has.
func (b *sluice) goroutines(t *testing.T) int {
	t.Helper()
	return int(b.metric(t, "go_goroutines"))
}

// requireRested closes all clients of the broker and waits until it has about as many
// goroutines as it had when none had come yet: two more for each table that it has opened
// since, and restSlack.
func (b *sluice) requireRested(t *testing.T, resting int) {
	t.Helper()
	b.mu.Lock()
	clients := b.clients
	b.clients = nil
	b.mu.Unlock()
	busy := b.goroutines(t)
	for _, cl := range clients {
		cl.Close()
	}
	allowed := resting + 2*int(b.metric(t, "sluice_topics")) + restSlack
	began := time.Now()
	n := b.goroutines(t)
	for ; n > allowed && time.Since(began) < restWithin; n = b.goroutines(t) {
		time.Sleep(100 * time.Millisecond)
	}
	t.Logf("goroutines: %d at the start, %d with clients, %d without after %v", resting, busy, n, time.Since(began).Round(time.Millisecond))
	if n > allowed {
		t.Errorf("the broker has %d goroutines without clients, %d at its start", n, resting)
	}
}
