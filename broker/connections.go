package broker

import (
	"context"
	"errors"
	"net"
	"sync"
)

var errTooMany = errors.New("too many connections")

// connections are the open ones. Safe for concurrent use.
type connections struct {
	max, maxPerIP int

	mu    sync.Mutex
	open  map[*conn]struct{}
	perIP map[string]int
	// draining says that no more are taken; idle is closed once there are none.
	draining bool
	idle     chan struct{}
}

func newConnections(limit, perIP int) *connections {
	return &connections{
		max: limit, maxPerIP: perIP,
		open:  map[*conn]struct{}{},
		perIP: map[string]int{},
		idle:  make(chan struct{}),
	}
}

// add takes a connection in, errTooMany or ErrClosed if it must be closed.
func (cs *connections) add(c *conn) error {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	switch {
	case cs.draining:
		return ErrClosed
	case len(cs.open) >= cs.max || cs.perIP[c.host] >= cs.maxPerIP:
		return errTooMany
	}
	cs.open[c] = struct{}{}
	cs.perIP[c.host]++
	return nil
}

// remove forgets a connection that has ended.
func (cs *connections) remove(c *conn) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	delete(cs.open, c)
	if cs.perIP[c.host]--; cs.perIP[c.host] == 0 {
		delete(cs.perIP, c.host)
	}
	if cs.draining && len(cs.open) == 0 {
		close(cs.idle)
	}
}

// drain takes no more connections and stops the reading of those that are open.
func (cs *connections) drain() {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.draining {
		return
	}
	cs.draining = true
	if len(cs.open) == 0 {
		close(cs.idle)
	}
	for c := range cs.open {
		c.stopReading()
	}
}

// wait returns when all connections have ended after a drain, or with the
// error of ctx.
func (cs *connections) wait(ctx context.Context) error {
	select {
	case <-cs.idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// cut closes what is open.
func (cs *connections) cut() {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for c := range cs.open {
		c.close(ErrClosed)
	}
}

// count is the number of open connections and of the requests that wait in them.
func (cs *connections) count() (open, queued int) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for c := range cs.open {
		queued += len(c.arrived) + len(c.answers)
	}
	return len(cs.open), queued
}

// hostOf is the IP address of a peer as text; what an in-memory connection says
// otherwise.
func hostOf(addr net.Addr) string {
	if tcp, ok := addr.(*net.TCPAddr); ok {
		return tcp.IP.String()
	}
	return addr.String()
}
