package broker

import (
	"bufio"
	"errors"
	"os"
	"time"
)

const (
	// stallTimeout and stallBytes are the pace that a client must keep while it sends a
	// large request and others wait for the memory that it holds: about half a Mbit/s.
	stallTimeout = time.Second
	stallBytes   = 64 << 10
)

// errStalled: a client announced a large request and sent it slowly or not at all.
// One that means well sends it again.
var errStalled = errors.New("a request stopped in its middle while others waited for its memory")

// steady reads the rest of a request that holds memory already. It fails with
// errStalled once its client is slower than stallBytes in stallTimeout while others wait
// for memory; when nobody does, it may take its time until end.
type steady struct {
	c    *conn
	r    *bufio.Reader
	req  *request
	end  time.Time
	mark time.Time // when the bytes of got began to come
	got  int
}

func newSteady(c *conn, r *bufio.Reader, req *request, size int) *steady {
	now := time.Now()
	return &steady{c: c, r: r, req: req, mark: now,
		end: now.Add(transferTimeout(c.broker.config.FrameTimeout, size, minRateIn))}
}

// Read is part of io.Reader.
func (s *steady) Read(b []byte) (int, error) {
	for {
		now := time.Now()
		s.c.deadline(min(s.end.Sub(now), s.mark.Add(stallTimeout).Sub(now)))
		n, err := s.r.Read(b)
		s.got += n
		if now = time.Now(); now.Sub(s.mark) >= stallTimeout {
			if s.got < stallBytes && (s.req.large.wanted() || s.req.held.wanted()) {
				return n, errStalled
			}
			s.mark, s.got = now, 0
		}
		late := errors.Is(err, os.ErrDeadlineExceeded) && s.c.reading.Err() == nil && now.Before(s.end)
		if n > 0 || !late {
			return n, err
		}
	}
}
