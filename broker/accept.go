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
	came := newArrivals(b.config.MaxConnectionsPerIP)
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
			if !b.rest(retry) {
				return ErrClosed
			}
			retry = min(2*retry, acceptRetryMax)
			continue
		}
		retry = acceptRetry
		b.metrics.accepted.Inc()
		host := hostOf(nc.RemoteAddr())
		pause, err := came.add(host, time.Now())
		if err == nil {
			c := newConn(b, l, nc, host)
			if err = b.conns.add(c); err == nil {
				go c.serve()
			}
		}
		if err != nil {
			turnAway(nc)
			b.metrics.refused.Inc()
			b.warnings.warn("connection refused", "listener", l.Name, "client", host, "error", err)
		}
		if pause > 0 && !b.rest(pause) {
			return ErrClosed
		}
	}
}

// turnAway closes a connection that is not served, with a reset: a close in good order keeps
// the kernel busy with it for a minute.
func turnAway(nc net.Conn) {
	if tcp, ok := nc.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // an error is that of Close
	}
	nc.Close()
}

// rest waits; false says that the broker stops.
func (b *Broker) rest(d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-b.stopping:
		return false
	}
}
