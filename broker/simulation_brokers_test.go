package broker_test

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"sluice/broker"
	"sluice/broker/group"
	"sluice/offsets"
	"sluice/storage"
	"sluice/storage/object/mem"
)

// simNode is a machine of the simulation on which a broker runs.
type simNode struct {
	s      *simulation
	number int

	mu     sync.Mutex
	life   *simLife  // nil while it is down
	line   *mem.Line // of the newest process, which may not be up yet
	share  float64   // of its requests to the store that fail
	nobody bool      // no client gets through to it
}

// simLife is one process of a broker.
type simLife struct {
	s       *simulation
	broker  *broker.Broker
	topics  *storage.Topics
	offsets *offsets.Offsets
	line    *mem.Line
	listen  *pipes
	served  chan struct{}
	dead    chan struct{} // closed when it is killed

	mu      sync.Mutex
	resumed chan struct{} // nil unless its connections stand still; guarded by mu
	conns   map[net.Conn]struct{}
}

// start starts the broker unless it is up; it tries until the store lets it, or what
// is in the store never will.
func (n *simNode) start() {
	if n.alive() != nil {
		return
	}
	began := time.Now()
	for try := 1; ; try++ {
		if time.Since(began) > n.s.patience {
			n.s.problem("broker %d can not be started for %v", n.number, n.s.patience)
			return
		}
		if try > 10 {
			n.trouble(0) // an operator looks after it
		}
		store := n.s.store.Handle()
		n.s.mu.Lock()
		n.s.counts["starts"]++
		line := n.s.weather.Line(n.s.seed, uint64(10_000+n.s.counts["starts"]))
		n.s.mu.Unlock()
		n.mu.Lock()
		n.line = line
		line.Trouble(n.share)
		n.mu.Unlock()
		store.SetFaults(line.Fault)
		life := &simLife{s: n.s, line: line, listen: newPipes(), served: make(chan struct{}), dead: make(chan struct{}), conns: map[net.Conn]struct{}{}}
		if life.open(store, n.number) == nil {
			n.mu.Lock()
			n.life = life
			n.mu.Unlock()
			return
		}
		time.Sleep(time.Second)
	}
}

// open makes the parts of a broker as cmd/sluice does, and lets it serve.
func (l *simLife) open(handle *mem.Store, number int) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	log := l.s.log.With("broker", number)
	store := l.s.through(handle)
	var err error
	l.topics, err = storage.Open(ctx, store, storage.Options{CommitInterval: interval, Window: simWindow, Log: log, TailBytes: 20_000, BlockBytes: 100_000, DiskDir: l.s.disk, DiskBytes: 200_000})
	if err != nil {
		return err
	}
	l.offsets, err = offsets.Open(ctx, store, offsets.Options{CommitInterval: interval, Window: simWindow, Log: log})
	if err == nil {
		l.offsets.OnLost(l.topics.Suspect)
		err = l.serve(log.With("part", "broker"))
		if err == nil {
			return nil
		}
		l.offsets.Close(ctx)
	}
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	l.topics.Close(gone)
	return err
}

func (l *simLife) serve(log *slog.Logger) error {
	groups, err := broker.NewGroups(group.Config{InitialRebalanceDelay: 100 * time.Millisecond, Log: log}, l.offsets)
	if err != nil {
		return err
	}
	// All brokers have one name: to clients they are one that comes and goes.
	config := broker.DefaultConfig()
	config.ClusterID = "AAAAAAAAAAAAAAAAAAAAAA"
	config.Listeners = []broker.Listener{{Name: "PLAINTEXT", Host: "127.0.0.1", Port: 9092}}
	l.broker, err = broker.New(config, l.topics, l.offsets, groups, log)
	if err != nil {
		return err
	}
	go func() { _ = l.broker.ServeListener("PLAINTEXT", l.listen); close(l.served) }()
	return nil
}

// close ends the process, which has until ctx to commit and answer what was begun.
func (l *simLife) close(ctx context.Context) {
	_ = errors.Join(l.broker.Shutdown(ctx), l.offsets.Close(ctx), l.topics.Close(ctx))
	<-l.served
}

// alive is the process, nil if there is none.
func (n *simNode) alive() *simLife {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.life
}

// take is alive, of which there is none from now on.
func (n *simNode) take() *simLife {
	n.resume()
	n.mu.Lock()
	defer n.mu.Unlock()
	life := n.life
	n.life = nil
	return life
}

// kill ends the broker's process as SIGKILL does: no request of it reaches the store
// from now on, no answer its clients, whose connections break. What was under way may
// still land.
func (n *simNode) kill() {
	life := n.take()
	if life == nil {
		return
	}
	n.s.count("kills", 1)
	life.line.Cut()
	close(life.dead)
	life.hangUp()
	// Its goroutines have to end some time: not before long, and without the store.
	n.s.endings.Go(func() {
		time.Sleep(time.Second)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		life.close(ctx)
	})
}

// end stops the broker in order.
func (n *simNode) end(within time.Duration) {
	life := n.take()
	if life == nil {
		return
	}
	n.s.count("orderly ends", 1)
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	life.close(ctx)
}

// pause stops the broker as SIGSTOP does, as far as others see: nothing gets in or out.
// Its timers go on and find that.
func (n *simNode) pause() {
	if life := n.alive(); life != nil && life.line.Pause() {
		n.s.count("pauses", 1)
		life.mu.Lock()
		life.resumed = make(chan struct{})
		life.mu.Unlock()
	}
}

// hang lets no request of the broker through to its store.
func (n *simNode) hang() {
	if life := n.alive(); life != nil && life.line.Pause() {
		n.s.count("brokers without store", 1)
	}
}

// resume ends pause and hang.
func (n *simNode) resume() {
	life := n.alive()
	if life == nil {
		return
	}
	life.mu.Lock()
	if life.resumed != nil {
		close(life.resumed)
		life.resumed = nil
	}
	life.mu.Unlock()
	life.line.Resume()
}

// cut breaks all connections of clients, and refuses new ones until heal.
func (n *simNode) cut() {
	n.s.count("brokers without clients", 1)
	n.mu.Lock()
	n.nobody = true
	life := n.life
	n.mu.Unlock()
	if life != nil {
		life.hangUp()
	}
}

func (n *simNode) heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.nobody = false
}

// trouble sets the share of the broker's requests to the store that fail.
func (n *simNode) trouble(share float64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.share = share
	if n.line != nil {
		n.line.Trouble(share)
	}
}

// dial connects a client, at its end of the pipe, with the broker.
func (n *simNode) dial(ctx context.Context) (net.Conn, error) {
	n.mu.Lock()
	life, nobody := n.life, n.nobody
	n.mu.Unlock()
	if life == nil || nobody {
		return nil, errRefused
	}
	client, server := net.Pipe()
	conn := &simConn{Conn: server, life: life}
	life.mu.Lock()
	life.conns[conn] = struct{}{}
	life.mu.Unlock()
	select {
	case life.listen.conns <- conn:
		return client, nil
	case <-life.listen.closed:
	case <-life.dead:
	case <-ctx.Done():
	}
	client.Close()
	conn.Close()
	return nil, errRefused
}

var errRefused = errors.New("connection refused")

// hangUp breaks all connections.
func (l *simLife) hangUp() {
	l.mu.Lock()
	conns := slices.Collect(maps.Keys(l.conns))
	l.mu.Unlock()
	for _, c := range conns {
		c.Close()
	}
}

// simConn is a broker's end of a connection. It stands still with the broker.
type simConn struct {
	net.Conn
	life *simLife
}

func (c *simConn) Read(p []byte) (int, error) {
	c.stand()
	n, err := c.Conn.Read(p)
	c.stand()
	return n, err
}

func (c *simConn) Write(p []byte) (int, error) {
	c.stand()
	return c.Conn.Write(p)
}

func (c *simConn) Close() error {
	c.life.mu.Lock()
	delete(c.life.conns, c)
	c.life.mu.Unlock()
	return c.Conn.Close()
}

// stand waits while the broker stands still.
func (c *simConn) stand() {
	c.life.mu.Lock()
	resumed := c.life.resumed
	c.life.mu.Unlock()
	if resumed == nil {
		return
	}
	select {
	case <-resumed:
	case <-c.life.dead:
	}
}
