package storage

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"sluice/storage/object/mem"
)

// simBroker is a broker of the simulation: a Topics on a handle of its own.
type simBroker struct {
	s      *simulation
	number int

	mu    sync.Mutex
	life  *simLife  // nil while it is down
	line  *mem.Line // of the newest process, which may not be up yet
	share float64   // of its requests that fail
}

// simLife is one process of a broker.
type simLife struct {
	*Topics
	store  *mem.Store
	line   *mem.Line
	random *rand.Rand
	dead   chan struct{} // closed when it is killed: nothing gets in or out
	closed chan struct{} // closed when it was stopped
}

func newSimBroker(s *simulation, number int) *simBroker {
	return &simBroker{s: s, number: number}
}

// start starts the broker unless it is up; it tries until the store lets it.
func (b *simBroker) start() {
	b.mu.Lock()
	up := b.life != nil
	b.mu.Unlock()
	if up {
		return
	}
	for try := 1; ; try++ {
		if try > 10 {
			b.trouble(0) // an operator looks after it
		}
		life := &simLife{store: b.s.store.Handle(), dead: make(chan struct{}), closed: make(chan struct{})}
		b.s.mu.Lock()
		b.s.counts["starts"]++
		life.random = rand.New(rand.NewPCG(b.s.seed, uint64(10_000+b.s.counts["starts"])))
		life.line = b.s.weather.Line(b.s.seed, uint64(20_000+b.s.counts["starts"]))
		b.s.mu.Unlock()
		life.store.SetFaults(life.line.Fault)
		b.mu.Lock()
		b.line = life.line
		b.line.Trouble(b.share)
		b.mu.Unlock()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		ts, err := Open(ctx, life.store, Options{
			Window: simWindow, CommitInterval: 5 * time.Millisecond, Log: b.s.log.With("broker", b.number),
			TailBytes: 20_000, BlockBytes: 100_000, DiskDir: b.s.disk, DiskBytes: 200_000,
		})
		cancel()
		if err == nil {
			if life.random.IntN(2) == 0 {
				ts.env.cleanLimits.keys = 2 + life.random.IntN(20)
			}
			life.Topics = ts
			b.mu.Lock()
			b.life = life
			b.mu.Unlock()
			return
		}
		time.Sleep(time.Second)
	}
}

// kill ends the broker's process: no request of it reaches the store from now on,
// and no answer its clients. What was under way may still land.
func (b *simBroker) kill() {
	b.resume()
	b.mu.Lock()
	life := b.life
	b.life = nil
	b.mu.Unlock()
	if life == nil {
		return
	}
	b.s.count("kills")
	life.line.Cut()
	close(life.dead)
	// Its goroutines have to end some time: not before long, and without the store.
	b.s.clients.Go(func() {
		time.Sleep(time.Second)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		life.Close(ctx)
	})
}

// stop closes the broker, which has so long to commit what is pending.
func (b *simBroker) stop(within time.Duration) {
	b.resume()
	b.mu.Lock()
	life := b.life
	b.life = nil
	b.mu.Unlock()
	if life == nil {
		return
	}
	b.s.count("stops")
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	life.Close(ctx)
	close(life.closed)
}

// pause freezes the broker: none of its requests leaves until resume.
func (b *simBroker) pause() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.line.Pause() {
		b.s.count("pauses")
	}
}

func (b *simBroker) resume() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.line != nil {
		b.line.Resume()
	}
}

// trouble sets the share of the broker's requests that fail.
func (b *simBroker) trouble(share float64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.share = share
	if b.line != nil {
		b.line.Trouble(share)
	}
}

// broker is the process that a client turns to for a topic; nil if that is down.
func (s *simulation) broker(name string, random *rand.Rand) *simLife {
	s.mu.Lock()
	n := s.leads[name]
	if !s.ended && random.IntN(20) == 0 { // its metadata are stale
		n = random.IntN(len(s.brokers))
	}
	b := s.brokers[n]
	s.mu.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.life
}

// topic answers a client's topic at the broker that it thinks leads it.
func (s *simulation) topic(name string, random *rand.Rand) (*simLife, *Topic, *simTopic) {
	life := s.broker(name, random)
	if life == nil {
		return nil, nil, nil
	}
	ctx, cancel := life.request(10 * time.Second)
	defer cancel()
	topic, err := life.Topic(ctx, name)
	if err != nil {
		s.expected("opening "+name, err)
		return nil, nil, nil
	}
	return life, topic, s.known(name, topic.Info())
}

// request is the context of a client's request, which ends with its broker.
func (l *simLife) request(d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	go func() {
		select {
		case <-l.dead:
		case <-ctx.Done():
		}
		cancel()
	}()
	return ctx, cancel
}

// known is what clients know of a topic.
func (s *simulation) known(name string, info TopicInfo) *simTopic {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.topics[info.ID]
	if k == nil {
		k = &simTopic{
			name: name, id: info.ID, partitions: 1, acked: map[simPlace]string{}, seen: map[simPlace]string{},
			attempts: map[string]int{}, once: map[string]bool{}, logStart: map[int32][2]int64{}, shown: map[int32]int64{},
			first: map[string]time.Time{}, deletable: map[simPlace]bool{}, erased: map[simPlace]bool{}, forgotten: map[string]bool{}, inserted: map[string]bool{},
		}
		s.topics[info.ID] = k
	}
	return k
}
