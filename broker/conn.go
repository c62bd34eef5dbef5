package broker

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"sluice/protocol"
)

const (
	// arrivedSize bounds the requests of a connection that are read but not begun.
	// It is small: what waits there is behind a request that runs alone.
	arrivedSize = 16
	// readBuffer holds small requests, so that each costs one read of the socket.
	readBuffer = 4 << 10
	// freeFrame is up to which size a request of an API other than Produce needs
	// no share of the memory budget, which many small ones would only contend for.
	freeFrame = 4 << 10
	// smallFrame is up to which size a request takes its share of the memory budget
	// when it is here: who stops in the middle of one holds back nobody.
	smallFrame = 16 << 10
	// decodedPerByte is what a byte of a request without records may cost once it is
	// decoded (protocol.DecodeBody).
	decodedPerByte = 10
	// minRateIn and minRateOut are the rates in bytes/s below which a client is taken
	// for one that holds memory on purpose, see transferTimeout. A producer's requests
	// take up memory that others wait for.
	minRateIn  = 1 << 20
	minRateOut = 128 << 10
	// keepBuffer is up to which capacity a buffer for answers is used again.
	keepBuffer = 64 << 10
)

// conn is one connection. A request passes three goroutines in order of arrival:
//
//	read   takes it off the socket, within the bounds of memory
//	start  begins it, if its API is pipelined
//	write  waits for its outcome, or runs it, and writes the answer
//
// so that answers leave in the order of the requests although many are under way.
// A request that is not pipelined runs alone: what came before is answered, what
// comes after is begun later. A Fetch is the exception: it may be parked, and
// what is produced on the same connection may be what it waits for.
type conn struct {
	broker   *Broker
	nc       net.Conn
	listener *Listener
	host     string
	log      *slog.Logger

	// ctx ends with the connection; reading ends before, when no more requests
	// are taken.
	ctx      context.Context
	cancel   context.CancelCauseFunc
	reading  context.Context
	stopRead context.CancelFunc

	arrived chan *call // read -> start
	answers chan *call // start -> write

	unanswered atomic.Int32  // requests read whose answer is not written
	answered   chan struct{} // told, with room for one, that there is one less
	pace       pace
}

// call is a request on its way through a connection.
type call struct {
	*request
	begun answer // of a pipelined request
	err   error  // why it could not be begun
	// done is closed when a request that runs alone is answered; nil for a
	// pipelined one.
	done chan struct{}
}

func newConn(b *Broker, l *Listener, nc net.Conn, host string) *conn {
	c := &conn{
		broker: b, nc: nc, listener: l, host: host,
		arrived:  make(chan *call, arrivedSize),
		answers:  make(chan *call, b.config.MaxInFlight),
		answered: make(chan struct{}, 1),
	}
	c.log = b.log.With("listener", l.Name, "client", nc.RemoteAddr().String())
	c.ctx, c.cancel = context.WithCancelCause(b.life)
	c.reading, c.stopRead = context.WithCancel(c.ctx)
	return c
}

// serve runs the connection until it ends and all that it began is finished.
func (c *conn) serve() {
	c.log.Debug("connection opened")
	var group sync.WaitGroup
	group.Go(c.start)
	group.Go(c.write)
	c.read()
	close(c.arrived)
	group.Wait()
	c.close(nil)
	c.broker.conns.remove(c)
	c.log.Debug("connection closed", "cause", context.Cause(c.ctx))
}

// close cuts the connection: what is parked on it returns. The first cause counts.
func (c *conn) close(cause error) {
	c.cancel(cause)
	c.nc.Close()
}

// stopReading ends read, between two requests or within one; what was read is
// still answered.
func (c *conn) stopReading() {
	c.stopRead()
	c.nc.SetReadDeadline(time.Unix(1, 0))
}

// deadline gives the next reads d. It does not undo stopReading: of the two one
// comes second, and sees the other.
func (c *conn) deadline(d time.Duration) {
	c.nc.SetReadDeadline(time.Now().Add(d))
	if c.reading.Err() != nil {
		c.nc.SetReadDeadline(time.Unix(1, 0))
	}
}

// read takes requests off the socket until the connection ends or stopReading.
func (c *conn) read() {
	r := bufio.NewReaderSize(c.nc, readBuffer)
	for {
		call, err := c.next(r)
		if err != nil {
			c.endReading(err)
			return
		}
		c.unanswered.Add(1)
		c.arrived <- call // start takes all that comes, at the latest after close
	}
}

// endReading ends the connection for what read met, except for stopReading,
// after which it ends by itself.
func (c *conn) endReading(err error) {
	switch {
	case c.ctx.Err() != nil: // closed from here
	case c.reading.Err() != nil: // stopReading
	case errors.Is(err, errGarbage):
		c.broker.metrics.garbage.Inc()
		c.broker.warnings.warn("connection closed: "+errGarbage.Error(), "listener", c.listener.Name, "client", c.host, "error", err)
		c.close(err)
	case errors.Is(err, errStalled):
		c.broker.warnings.warn("connection closed: "+errStalled.Error(), "listener", c.listener.Name, "client", c.host)
		c.close(err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.close(fmt.Errorf("client too slow or idle: %w", err))
	default:
		c.close(fmt.Errorf("client gone: %w", err))
	}
}

// next reads one request. It waits for the memory that the request takes up
// before it reads the body: at the bound, clients are slowed down.
func (c *conn) next(r *bufio.Reader) (*call, error) {
	if err := c.awaitFrame(r); err != nil {
		return nil, err
	}
	received := time.Now()
	c.deadline(c.broker.config.FrameTimeout)
	p, err := protocol.ReadPreamble(r, int(c.broker.config.MaxFrame))
	if errors.Is(err, protocol.ErrBadFrame) || errors.Is(err, protocol.ErrFrameTooLarge) {
		return nil, fmt.Errorf("%w: %w", errGarbage, err)
	} else if err != nil {
		return nil, err
	}
	req := &request{listener: c.listener, clientHost: c.host, received: received}
	if req.api, req.unsupported, err = c.broker.judge(p); err != nil {
		return nil, err
	}
	if err = c.take(r, p, req); err != nil {
		req.release()
		return nil, err
	}
	call := &call{request: req}
	if req.api.start == nil {
		call.done = make(chan struct{})
	}
	if req.api.key == kmsg.Produce {
		req.sender = c.pace.arrived(received)
	}
	return call, nil
}

// take reads the rest of a request and decodes it. Memory is for those who send, not for
// those who announce: a small request takes its share when it is here; a large one
// when its first bytes are, and loses its connection if it stops while others wait.
func (c *conn) take(r *bufio.Reader, p protocol.Preamble, req *request) error {
	c.deadline(transferTimeout(c.broker.config.FrameTimeout, p.Size, minRateIn))
	var from io.Reader = r
	if p.Size > smallFrame {
		if _, err := r.Peek(readBuffer); err != nil {
			return err
		}
		if err := c.reserve(req, p.Size); err != nil {
			return err
		}
		from = newSteady(c, r, req, p.Size)
	}
	frame, err := p.ReadRest(from)
	if err != nil {
		return err
	}
	if p.Size <= smallFrame {
		if err := c.reserve(req, p.Size); err != nil {
			return err
		}
	}
	c.broker.metrics.received.Add(float64(4 + p.Size))
	if p.Size > smallFrame && req.api.key != kmsg.Produce { // decoding it takes a while
		c.broker.turns <- struct{}{}
		defer func() { <-c.broker.turns }()
	}
	return req.decode(frame)
}

// reserve takes what a request of size bytes needs of the broker's budgets, and
// waits for it.
func (c *conn) reserve(r *request, size int) (err error) {
	n := int64(size)
	switch {
	case r.api.key == kmsg.Produce:
		if size > smallFrame {
			n = min(n, c.broker.largeMemory.limit)
			if r.large, err = c.broker.largeMemory.acquire(c.reading, c.host, n); err != nil {
				return err
			}
		}
		r.held, err = c.broker.produceMemory.acquire(c.reading, c.host, n)
	case size > freeFrame:
		// It would run alone: read ahead, it would hold its memory for as long as what is
		// before it likes to wait.
		if r.api.start == nil {
			if err = c.quiet(); err != nil {
				return err
			}
		}
		r.held, err = c.broker.otherMemory.acquire(c.reading, c.host, decodedPerByte*n)
	}
	return err
}

// quiet waits until all requests that were read are answered.
func (c *conn) quiet() error {
	for c.unanswered.Load() > 0 {
		select {
		case <-c.answered:
		case <-c.reading.Done():
			return c.reading.Err()
		}
	}
	return nil
}

// transferTimeout is how long size bytes may take on their way: a base for the
// round trips, and what a slow but honest link needs.
func transferTimeout(base time.Duration, size, minRate int) time.Duration {
	return base + time.Duration(size)*time.Second/time.Duration(minRate)
}

// awaitFrame waits for the first byte of a request. The idle timeout does not
// run while requests of the connection are unanswered.
func (c *conn) awaitFrame(r *bufio.Reader) error {
	for {
		c.deadline(c.broker.config.IdleTimeout)
		_, err := r.Peek(1)
		if errors.Is(err, os.ErrDeadlineExceeded) && c.reading.Err() == nil && c.unanswered.Load() > 0 {
			continue
		}
		return err
	}
}

// start begins pipelined requests in the order of arrival and passes all on to write.
func (c *conn) start() {
	defer close(c.answers)
	// The last one that is not pipelined. Not the call itself, which would keep its bytes
	// for as long as its connection is idle.
	var alone struct {
		done  chan struct{}
		fetch bool
	}
	for call := range c.arrived {
		pipelined := call.api.start != nil
		if alone.done != nil && !(pipelined && alone.fetch) {
			<-alone.done
			alone.done = nil
		}
		if pipelined {
			call.begun, call.err = c.begin(call.request)
		} else {
			alone.done, alone.fetch = call.done, call.api.key == kmsg.Fetch
		}
		c.answers <- call // write takes all that comes, also when the client is gone
	}
}

// begin begins a pipelined request. That the client has gone meanwhile is no
// reason not to: it may have sent acks=0 and closed.
func (c *conn) begin(r *request) (_ answer, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = c.panicked(r, p)
		}
	}()
	return r.api.start(c.broker, c.broker.life, r)
}

// write answers requests in order. It takes all that comes: when the connection
// is gone it still waits for what was begun, whose memory is in use until then.
func (c *conn) write() {
	for call := range c.answers {
		response, err := c.outcome(call)
		if call.api.key == kmsg.Produce {
			call.release()                           // its answer is small, and others wait
			c.pace.done(time.Now(), response != nil) // before the client can know
		}
		if err == nil && response != nil && c.ctx.Err() == nil {
			err = c.send(call.request, response)
		}
		if err != nil {
			c.close(err)
		}
		call.release()
		call.answer.release()
		c.unanswered.Add(-1)
		select {
		case c.answered <- struct{}{}:
		default:
		}
		if call.done != nil {
			close(call.done)
		}
	}
}

// outcome waits for a pipelined request or runs another one.
func (c *conn) outcome(call *call) (response kmsg.Response, err error) {
	defer func() {
		if p := recover(); p != nil {
			response, err = nil, c.panicked(call.request, p)
		}
	}()
	switch {
	case call.err != nil:
		return nil, call.err
	case call.begun != nil:
		response, err = call.begun(c.broker.life)
	case c.ctx.Err() != nil:
		return nil, context.Cause(c.ctx)
	default:
		response, err = call.api.handle(c.broker, c.ctx, call.request)
	}
	c.broker.metrics.observe(call.request, response, err)
	if err != nil && c.ctx.Err() == nil {
		c.log.Debug("request ends the connection", "api", call.api.key.Name(), "error", err)
	}
	return response, err
}

// errPanic: a handler has a bug. The client may come back; others are not concerned.
var errPanic = errors.New("panic in a handler")

func (c *conn) panicked(r *request, p any) error {
	c.broker.metrics.panics.Inc()
	c.log.Error("panic in a handler", "api", r.api.key.Name(), "version", r.version, "panic", p, "stack", string(debug.Stack()))
	return fmt.Errorf("%w: %v", errPanic, p)
}
