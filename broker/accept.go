package broker

import (
	"errors"
	"fmt"
	"net"
	"time"
)

// Accept fails with "too many open files" until others have closed theirs; in
// between it is tried at this pace, as net/http does.
const (
	acceptRetry    = 5 * time.Millisecond
	acceptRetryMax = time.Second
)

// accept serves the connections that come in on ln.
func (b *Broker) accept(l *Listener, ln net.Listener) error {
	retry := acceptRetry
	for {
		nc, err := ln.Accept()
		if err != nil {
			select {
			case <-b.stopping:
				return ErrClosed
			default:
			}
			if errors.Is(err, net.ErrClosed) {
				return fmt.Errorf("listener %s: %w", l.Name, err)
			}
			b.warnings.warn("cannot accept connections", "listener", l.Name, "error", err)
			select {
			case <-time.After(retry):
			case <-b.stopping:
				return ErrClosed
			}
			retry = min(2*retry, acceptRetryMax)
			continue
		}
		retry = acceptRetry
		b.metrics.accepted.Inc()
		c := newConn(b, l, nc)
		if err := b.conns.add(c); err != nil {
			nc.Close()
			b.metrics.refused.Inc()
			b.warnings.warn("connection refused", "listener", l.Name, "client", c.host, "error", err)
			continue
		}
		go c.serve()
	}
}
