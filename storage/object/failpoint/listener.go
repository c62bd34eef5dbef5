package failpoint

import (
	"encoding/binary"
	"net"
	"sync"
)

// What is answered to clients, as names of points: ack is the answer to a Produce
// request, offsets.ack that to an OffsetCommit.
const (
	ack        = "ack"
	offsetsAck = "offsets.ack"
)

// Listen answers a listener whose connections report to c when they answer: Before
// the answer is written, and After, when the kernel has it.
func Listen(l net.Listener, c *Counter) net.Listener { return &listener{l, c} }

type listener struct {
	net.Listener
	counter *Counter
}

func (l *listener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &conn{Conn: nc, counter: l.counter, awaited: map[uint32]string{}}, nil
}

// preamble is the length of a frame, API key, version and correlation id of a request.
const preamble = 4 + 2 + 2 + 4

// conn follows the frames that a client sends, and the answers.
type conn struct {
	net.Conn
	counter *Counter

	head [preamble]byte // of the request under way; owned by the reader
	have int            // bytes in head
	body uint32         // bytes of it still to come

	mu      sync.Mutex
	awaited map[uint32]string // the point, by correlation id; guarded by mu
}

// Read follows what the client sends. Only one goroutine reads.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	for rest := b[:n]; len(rest) > 0; {
		if c.body > 0 {
			skip := min(uint64(c.body), uint64(len(rest)))
			c.body -= uint32(skip)
			rest = rest[skip:]
			continue
		}
		took := copy(c.head[c.have:], rest)
		c.have += took
		rest = rest[took:]
		if c.have == preamble {
			c.begin()
		}
	}
	return n, err
}

// begin takes up the head of a request.
func (c *conn) begin() {
	size := binary.BigEndian.Uint32(c.head[:])
	c.have, c.body = 0, max(size, preamble-4)-(preamble-4)
	what := ""
	switch binary.BigEndian.Uint16(c.head[4:]) {
	case 0:
		what = ack
	case 8:
		what = offsetsAck
	default:
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	// A Produce request with acks=0 is never answered.
	if len(c.awaited) < 1000 {
		c.awaited[binary.BigEndian.Uint32(c.head[8:])] = what
	}
}

// Write reports answers. The broker begins each with a Write of its own.
func (c *conn) Write(b []byte) (int, error) {
	what := ""
	if len(b) >= 8 {
		id := binary.BigEndian.Uint32(b[4:])
		c.mu.Lock()
		what = c.awaited[id]
		delete(c.awaited, id)
		c.mu.Unlock()
	}
	if what == "" {
		return c.Conn.Write(b)
	}
	c.counter.Reach(what, Before)
	n, err := c.Conn.Write(b)
	if err == nil {
		c.counter.Reach(what, After)
	}
	return n, err
}
