package broker

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"sluice/broker/group"
)

// house is a broker whose APIs are a test's own, on fake time.
type house struct {
	t      *testing.T
	broker *Broker
	pipes  *pipes
	served chan error
}

// newHouse starts a broker that serves ApiVersions and the given rows.
func newHouse(t *testing.T, change func(*Config), rows ...api) *house {
	t.Helper()
	config := DefaultConfig()
	config.ClusterID = "AAAAAAAAAAAAAAAAAAAAAA"
	config.Listeners = []Listener{{Name: "PLAINTEXT", Host: "localhost", Port: 9092}}
	if change != nil {
		change(&config)
	}
	silent := slog.New(slog.DiscardHandler)
	b, err := New(config, nil, nil, &Groups{now: coordination{manager: group.New(group.Config{Log: silent})}}, silent)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		full := b.byKey[row.key]
		full.start, full.handle = row.start, row.handle
	}
	h := &house{t: t, broker: b, pipes: newPipes(), served: make(chan error, 1)}
	go func() { h.served <- b.ServeListener("PLAINTEXT", h.pipes) }()
	synctest.Wait()
	return h
}

// close shuts the broker down, which must be possible at any time.
func (h *house) close() {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := h.broker.Shutdown(ctx); err != nil {
		h.t.Errorf("shutdown: %v", err)
	}
	if err := <-h.served; !errors.Is(err, ErrClosed) {
		h.t.Errorf("serve: %v", err)
	}
}

// peer is a client that sends what it is told, byte for byte. What it writes is
// queued; what the broker sends is read at once, as from a socket.
type peer struct {
	t     *testing.T
	nc    net.Conn
	out   chan []byte
	taken atomic.Int32 // frames that the broker has taken off the socket
	in    chan []byte  // frames; closed with the connection
	once  sync.Once
}

func (h *house) dial() *peer {
	h.t.Helper()
	nc, err := h.pipes.dial()
	if err != nil {
		h.t.Fatal(err)
	}
	p := &peer{t: h.t, nc: nc, out: make(chan []byte, 10_000), in: make(chan []byte, 10_000)}
	go func() {
		for b := range p.out {
			if _, err := nc.Write(b); err != nil {
				return
			}
			p.taken.Add(1)
		}
	}()
	go func() {
		defer close(p.in)
		for {
			var size [4]byte
			if _, err := io.ReadFull(nc, size[:]); err != nil {
				return
			}
			b := make([]byte, binary.BigEndian.Uint32(size[:]))
			if _, err := io.ReadFull(nc, b); err != nil {
				return
			}
			p.in <- b
		}
	}()
	h.t.Cleanup(p.hangUp)
	return p
}

func (p *peer) hangUp() {
	p.once.Do(func() {
		close(p.out)
		p.nc.Close()
	})
}

// frameOf is a request as on the wire.
func frameOf(correlation int32, req kmsg.Request) []byte {
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("test")).AppendRequest(nil, req, correlation)
}

func (p *peer) send(correlation int32, req kmsg.Request) { p.write(frameOf(correlation, req)) }

func (p *peer) write(b []byte) {
	p.out <- b
	synctest.Wait()
}

// expect wants the next answer to be that to the request of that number.
func (p *peer) expect(correlation int32) []byte {
	p.t.Helper()
	synctest.Wait()
	select {
	case b, ok := <-p.in:
		if !ok {
			p.t.Fatalf("the connection is closed instead of answer %d", correlation)
		}
		if got := int32(binary.BigEndian.Uint32(b)); got != correlation {
			p.t.Fatalf("answer %d instead of %d", got, correlation)
		}
		return b[4:]
	default:
		p.t.Fatalf("no answer %d", correlation)
		return nil
	}
}

func (p *peer) expectNothing() {
	p.t.Helper()
	synctest.Wait()
	select {
	case b, ok := <-p.in:
		if !ok {
			p.t.Fatal("the connection is closed")
		}
		p.t.Fatalf("answer %d", binary.BigEndian.Uint32(b))
	default:
	}
}

// expectClosed wants the connection to be closed without another byte.
func (p *peer) expectClosed() {
	p.t.Helper()
	synctest.Wait()
	select {
	case b, ok := <-p.in:
		if ok {
			p.t.Fatalf("answer %d", binary.BigEndian.Uint32(b))
		}
	default:
		p.t.Fatal("the connection is open")
	}
}

func (p *peer) expectOpen() { p.t.Helper(); p.expectNothing() }

func produceRequest() *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = 9, -1, 1000
	return req
}

func versioned(req kmsg.Request, version int16) kmsg.Request {
	req.SetVersion(version)
	return req
}

func joinRequest() kmsg.Request      { return versioned(kmsg.NewPtrJoinGroupRequest(), 5) }
func heartbeatRequest() kmsg.Request { return versioned(kmsg.NewPtrHeartbeatRequest(), 4) }
func fetchRequest() kmsg.Request     { return versioned(kmsg.NewPtrFetchRequest(), 12) }
func versionsRequest() kmsg.Request  { return versioned(kmsg.NewPtrApiVersionsRequest(), 0) }

// slow is an API whose requests are begun and finished one by one by the test,
// which looks at its fields only while all else is blocked.
type slow struct {
	mu     sync.Mutex
	begun  []*request
	finish []chan error
	ended  int // handlers that returned
}

// start is a pipelined API of this kind.
func (s *slow) start() func(*Broker, context.Context, *request) (answer, error) {
	return func(_ *Broker, _ context.Context, r *request) (answer, error) {
		done := s.begin(r)
		return func(ctx context.Context) (kmsg.Response, error) {
			defer func() {
				s.mu.Lock()
				s.ended++
				s.mu.Unlock()
			}()
			select {
			case err := <-done:
				return r.body.ResponseKind(), err
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}, nil
	}
}

// handle is one that runs alone.
func (s *slow) handle() func(*Broker, context.Context, *request) (kmsg.Response, error) {
	start := s.start()
	return func(b *Broker, ctx context.Context, r *request) (kmsg.Response, error) {
		wait, err := start(b, ctx, r)
		if err != nil {
			return nil, err
		}
		return wait(ctx)
	}
}

func (s *slow) begin(r *request) chan error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begun = append(s.begun, r)
	done := make(chan error, 1)
	s.finish = append(s.finish, done)
	return done
}

func (s *slow) expectBegun(t *testing.T, n int) {
	t.Helper()
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.begun) != n {
		t.Fatalf("%d requests are begun, want %d", len(s.begun), n)
	}
}
