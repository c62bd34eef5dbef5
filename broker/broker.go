// Package broker is the TCP server that speaks the Kafka protocol: listeners,
// connections, one table of APIs and one file for each API.
package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"sluice/offsets"
	"sluice/storage"
)

// ErrClosed is what Serve and ServeListener return after a Shutdown.
var ErrClosed = errors.New("broker closed")

// Broker answers Kafka requests. It is its configuration plus topics, offsets
// and groups; it holds no state of its own about them.
type Broker struct {
	config   Config
	topics   *storage.Topics
	offsets  *offsets.Offsets
	groups   *Groups
	log      *slog.Logger
	warnings *warnings
	metrics  *metrics

	apis  []api
	byKey []*api

	listeners     []*Listener // owned by the broker; ports are filled in by ServeListener
	produceMemory *budget
	largeMemory   *budget // the part of produceMemory that large requests may have
	otherMemory   *budget
	answerMemory  *budget
	turns         chan struct{} // held while a large request is decoded or a large answer made; see turn
	sending       chan struct{} // held while a part of a large answer is copied into a socket; see writeBulk

	// life ends when Shutdown has given up waiting: requests that are begun
	// outlive their connection, not this.
	life context.Context
	kill context.CancelFunc

	// background is what requests have begun and do not wait for; it ends with life.
	background         sync.WaitGroup
	makingOffsetsTopic atomic.Bool

	mu sync.Mutex // guards what follows and the ports of listeners
	// stopping is closed by Shutdown: nothing more is read, parked fetches answer.
	stopping chan struct{}
	stopped  bool
	serving  int // listeners that accept
	sockets  map[net.Listener]struct{}
	conns    *connections
}

// New makes a broker of its parts. Its Shutdown closes the groups; offsets and
// topics stay the caller's. log is where operators look. The error is about a
// setting in config.
func New(config Config, topics *storage.Topics, offsets *offsets.Offsets, groups *Groups, log *slog.Logger) (*Broker, error) {
	if _, err := storage.TopicDefaults(config.Broker); err != nil {
		return nil, err
	}
	if len(config.Listeners) == 0 {
		return nil, fmt.Errorf("%w: none given", ErrListener)
	}
	b := &Broker{
		config: config, topics: topics, offsets: offsets, groups: groups,
		log: log, warnings: newWarnings(log), metrics: newMetrics(),
		apis:          table(),
		produceMemory: newBudget(config.ProduceMemory),
		largeMemory:   newBudget(max(1, config.ProduceMemory/4*3)),
		otherMemory:   newBudget(config.OtherMemory),
		answerMemory:  newBudget(config.AnswerMemory),
		turns:         make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)),
		sending:       make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)),
		stopping:      make(chan struct{}),
		sockets:       map[net.Listener]struct{}{},
		conns:         newConnections(config.MaxConnections, config.MaxConnectionsPerIP),
	}
	b.byKey = byKey(b.apis)
	for _, l := range config.Listeners {
		b.listeners = append(b.listeners, &l)
	}
	b.life, b.kill = context.WithCancel(context.Background())
	return b, nil
}

// Serve listens at all of the configuration's listeners until Shutdown is called
// (ErrClosed) or one of them fails, which ends the others. ctx bounds the binding.
func (b *Broker) Serve(ctx context.Context) error {
	var config net.ListenConfig
	bound := make([]net.Listener, 0, len(b.listeners))
	closeAll := func() {
		for _, ln := range bound {
			ln.Close()
		}
	}
	for _, l := range b.listeners {
		ln, err := config.Listen(ctx, "tcp", l.Bind)
		if err != nil {
			closeAll()
			return fmt.Errorf("listener %s: %w", l.Name, err)
		}
		bound = append(bound, ln)
	}
	var group errgroup.Group
	for i, l := range b.listeners {
		group.Go(func() error {
			defer closeAll()
			return b.ServeListener(l.Name, bound[i])
		})
	}
	return group.Wait() // the first error: the others follow from it
}

// ServeListener accepts connections from ln, as the listener of that name, until
// Shutdown is called (ErrClosed) or ln fails. It closes ln.
func (b *Broker) ServeListener(name string, ln net.Listener) error {
	defer ln.Close()
	l := b.listener(name)
	if l == nil {
		return fmt.Errorf("%w: no listener is named %s", ErrListener, name)
	}
	b.mu.Lock()
	if b.stopped {
		b.mu.Unlock()
		return ErrClosed
	}
	if tcp, ok := ln.Addr().(*net.TCPAddr); ok && l.Port == 0 {
		l.Port = int32(tcp.Port)
	}
	b.sockets[ln] = struct{}{}
	b.serving++
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		delete(b.sockets, ln)
		b.serving--
		b.mu.Unlock()
	}()

	b.log.Info("listening", "listener", l.Name, "address", ln.Addr().String(), "advertised", l.address())
	return b.accept(l, ln)
}

// listener finds a listener by its name; nil if there is none.
func (b *Broker) listener(name string) *Listener {
	for _, l := range b.listeners {
		if l.Name == name {
			return l
		}
	}
	return nil
}

// Shutdown stops the broker in order: no new connections, no new requests; what
// was begun is committed and answered, parked fetches answer at once with what
// they have, and members that wait for a rebalance are sent to another broker.
// When ctx ends first, the connections that are left are cut, and its error
// is returned. Offsets and topics are the caller's to close afterwards.
func (b *Broker) Shutdown(ctx context.Context) error {
	b.mu.Lock()
	if !b.stopped {
		b.stopped = true
		close(b.stopping)
		for ln := range b.sockets {
			ln.Close()
		}
	}
	b.mu.Unlock()
	b.conns.drain()
	b.groups.Close()

	err := b.conns.wait(ctx)
	b.kill()
	if err != nil {
		b.conns.cut()
		<-b.conns.idle // soon: every socket is closed and every context done
	}
	b.background.Wait() // no request is left that could begin more
	return err
}
