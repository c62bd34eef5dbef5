package broker_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"sluice/broker"
	"sluice/broker/group"
	"sluice/offsets"
	"sluice/storage"
	"sluice/storage/check"
	"sluice/storage/check/checktest"
	"sluice/storage/object/mem"
)

// Whole brokers on fake time: a memory store that takes its time, connections in
// memory, real clients. What takes minutes takes milliseconds here, and latencies are
// exact.

// pipes is a listener whose connections are pipes.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9092} }

func (p *pipes) dial(ctx context.Context) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.conns <- server:
		return client, nil
	case <-p.closed:
	case <-ctx.Done():
	}
	client.Close()
	server.Close()
	return nil, errors.New("connection refused")
}

// world is a store, and the broker that runs on it at the moment.
type world struct {
	t     *testing.T
	store *mem.Store
	// requests counts the requests to the store, gets those that read.
	requests, gets atomic.Int64
	fault          atomic.Pointer[mem.Faults] // besides the latency of puts

	mu     sync.Mutex
	listen *pipes
	stop   func()
}

// Latencies of the store: those of a MinIO near by.
const (
	putLatency = 4 * time.Millisecond
	getLatency = time.Millisecond
	interval   = 50 * time.Millisecond
)

func newWorld(t *testing.T) *world {
	w := &world{t: t, store: mem.New()}
	w.store.SetFaults(func(r mem.Request) mem.Fault {
		w.requests.Add(1)
		if f := w.fault.Load(); f != nil {
			if fault := (*f)(r); fault != (mem.Fault{}) {
				return fault
			}
		}
		if r.Size > 0 {
			return mem.Fault{Delay: putLatency}
		}
		w.gets.Add(1)
		return mem.Fault{Delay: getLatency}
	})
	w.start()
	return w
}

// start starts a broker.
func (w *world) start() {
	ctx, log := context.Background(), slog.New(slog.DiscardHandler)
	topics, err := storage.Open(ctx, w.store, storage.Options{CommitInterval: interval, Log: log})
	if err != nil {
		w.t.Fatal(err)
	}
	committed, err := offsets.Open(ctx, w.store, offsets.Options{CommitInterval: interval, Log: log})
	if err != nil {
		w.t.Fatal(err)
	}
	groups, err := broker.NewGroups(group.Config{Log: log}, committed)
	if err != nil {
		w.t.Fatal(err)
	}
	config := broker.DefaultConfig()
	config.ClusterID = "AAAAAAAAAAAAAAAAAAAAAA"
	config.Listeners = []broker.Listener{{Name: "PLAINTEXT", Host: "127.0.0.1", Port: 9092}}
	b, err := broker.New(config, topics, committed, groups, log)
	if err != nil {
		w.t.Fatal(err)
	}
	listen := newPipes()
	served := make(chan struct{})
	go func() { _ = b.ServeListener("PLAINTEXT", listen); close(served) }()
	w.mu.Lock()
	w.listen = listen
	w.stop = func() {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		_ = errors.Join(b.Shutdown(ctx), committed.Close(ctx), topics.Close(ctx))
		<-served
	}
	w.mu.Unlock()
}

func (w *world) restart() {
	w.stop()
	w.start()
}

// client makes a real client; the caller closes it.
func (w *world) client(options ...kgo.Opt) *kgo.Client {
	w.t.Helper()
	c, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers("127.0.0.1:9092"),
		kgo.Dialer(func(ctx context.Context, _, _ string) (net.Conn, error) {
			w.mu.Lock()
			listen := w.listen
			w.mu.Unlock()
			return listen.dial(ctx)
		}),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.ProducerLinger(0),
		kgo.MetadataMinAge(100 * time.Millisecond),
	}, options...)...)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (w *world) create(topic string, partitions int32) {
	w.t.Helper()
	c := w.client()
	defer c.Close()
	if _, err := kadm.NewClient(c).CreateTopic(context.Background(), partitions, 1, nil, topic); err != nil {
		w.t.Fatal(err)
	}
}

// inWorld runs a test in a bubble of fake time.
func inWorld(t *testing.T, test func(t *testing.T, w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		test(t, w)
		w.stop()
		checktest.Root(t, w.store, check.Options{Dense: true})
		// What clients and broker leave behind ends by itself.
		time.Sleep(time.Hour)
	})
}

func record(topic, value string) *kgo.Record { return &kgo.Record{Topic: topic, Value: []byte(value)} }

func TestALoneRecordTakesTwoPutsAndReachesAParkedConsumerAtOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.create("t", 1)
		producer, consumer := w.client(), w.client(kgo.ConsumeTopics("t"))
		defer producer.Close()
		defer consumer.Close()
		if err := producer.ProduceSync(t.Context(), record("t", "first")).FirstErr(); err != nil {
			t.Fatal(err)
		}
		consumer.PollFetches(t.Context())
		time.Sleep(time.Second)

		gets := w.gets.Load()
		for i := range 20 {
			began := time.Now()
			producer.Produce(t.Context(), record("t", fmt.Sprint(i)), nil)
			if got := consumer.PollFetches(t.Context()).Records(); len(got) != 1 || string(got[0].Value) != fmt.Sprint(i) {
				t.Fatal("consumed", got)
			}
			if took := time.Since(began); took > 2*putLatency+time.Millisecond {
				t.Errorf("record %d took %v from its producer to its consumer, two puts take %v", i, took, 2*putLatency)
			}
			time.Sleep(time.Second)
		}
		if n := w.gets.Load() - gets; n != 0 {
			t.Errorf("a live consumer cost %d reads of the store", n)
		}
	})
}

func TestUnderOpenLoadAVersionComesEachInterval(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.create("t", 4)
		producer := w.client(kgo.ProducerLinger(5*time.Millisecond), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
		defer producer.Close()
		if err := producer.ProduceSync(t.Context(), record("t", "first")).FirstErr(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		before := w.requests.Load()
		var worst atomic.Int64
		const seconds = 10
		for i := range seconds * 1000 {
			began := time.Now()
			producer.Produce(t.Context(), record("t", fmt.Sprint(i)), func(_ *kgo.Record, err error) {
				if err != nil {
					t.Error(err)
				}
				if took := int64(time.Since(began)); took > worst.Load() {
					worst.Store(took)
				}
			})
			time.Sleep(time.Millisecond)
		}
		if err := producer.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		// Producers whose window is full may have commits early: up to three times as many.
		if n := w.requests.Load() - before; n > 3*2*seconds*int64(time.Second/interval)+50 {
			t.Errorf("%d requests to the store in %d s", n, seconds)
		}
		// A record may find its producer's window full, and wait for the next interval.
		if limit := 2*interval + 2*putLatency; worst.Load() > int64(limit) {
			t.Errorf("an ack took %v, want at most %v", time.Duration(worst.Load()), limit)
		}
	})
}

// franz-go keeps what failed until metadata tell a leader epoch, once they have told one; nobody
// else has the topic opened.
func TestAProducerThatHasMissedItsBrokerGoesOn(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.create("t", 1)
		producer := w.client(kgo.MetadataMinAge(5 * time.Second))
		defer producer.Close()
		send := func(ctx context.Context) error { return producer.ProduceSync(ctx, record("t", "x")).FirstErr() }
		for range 3 {
			if err := send(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Minute) // metadata are loaded anew
			w.stop()
			if err := send(t.Context()); err == nil {
				t.Fatal("by whom?")
			}
			w.start()
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			if err := send(ctx); err != nil {
				t.Fatal("after the broker is back:", err)
			}
			cancel()
		}
	})
}

func TestAnIdleTopicWithAParkedConsumerCostsNoRequests(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.create("t", 3)
		consumer := w.client(kgo.ConsumeTopics("t"))
		defer consumer.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		consumer.PollFetches(ctx)
		cancel()
		before := w.requests.Load()
		ctx, cancel = context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		consumer.PollFetches(ctx)
		if n := w.requests.Load() - before; n != 0 {
			t.Errorf("an idle hour cost %d requests to the store", n)
		}
	})
}

// member is a group member that notes what it is assigned and what it consumes.
type member struct {
	*kgo.Client
	mu       sync.Mutex
	assigned map[int32]bool
	moves    int
	consumed []string
	errs     []error
	done     chan struct{}
	cancel   context.CancelFunc
}

func (w *world) join(name string, options ...kgo.Opt) *member {
	m := &member{assigned: map[int32]bool{}, done: make(chan struct{})}
	change := func(to bool) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, moved map[string][]int32) {
			m.mu.Lock()
			defer m.mu.Unlock()
			for _, p := range moved["t"] {
				if m.assigned[p] != to {
					m.moves++
				}
				m.assigned[p] = to
			}
		}
	}
	m.Client = w.client(append([]kgo.Opt{
		kgo.ConsumerGroup(name), kgo.ConsumeTopics("t"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.SessionTimeout(10 * time.Second), kgo.HeartbeatInterval(time.Second),
		// Its loop waits on a mutex, which stops fake time.
		kgo.DisableAutoCommit(),
		kgo.OnPartitionsAssigned(change(true)), kgo.OnPartitionsRevoked(change(false)), kgo.OnPartitionsLost(change(false)),
	}, options...)...)
	var ctx context.Context
	ctx, m.cancel = context.WithCancel(w.t.Context())
	go func() {
		defer close(m.done)
		for ctx.Err() == nil {
			fetches := m.PollFetches(ctx)
			m.mu.Lock()
			fetches.EachRecord(func(r *kgo.Record) { m.consumed = append(m.consumed, string(r.Value)) })
			fetches.EachError(func(_ string, _ int32, err error) {
				if ctx.Err() == nil {
					m.errs = append(m.errs, err)
				}
			})
			m.mu.Unlock()
		}
	}()
	return m
}

func (m *member) leave() {
	m.cancel()
	<-m.done
	m.Close()
}

// partitions are those that the member has.
func (m *member) partitions() (mine []int32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for p, have := range m.assigned {
		if have {
			mine = append(mine, p)
		}
	}
	slices.Sort(mine)
	return mine
}

// covered checks that the members share the partitions 0 to n-1.
func covered(t *testing.T, n int, members ...*member) {
	t.Helper()
	var all []int32
	for _, m := range members {
		mine := m.partitions()
		if len(mine) == 0 {
			t.Error("a member has no partition")
		}
		all = append(all, mine...)
	}
	slices.Sort(all)
	if len(slices.Compact(slices.Clone(all))) != n || len(all) != n {
		t.Errorf("the members have %v of %d partitions", all, n)
	}
}

func TestAGroupRebalancesAsMembersComeLeaveAndDie(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.create("t", 6)
		a := w.join("g")
		defer a.leave()
		time.Sleep(10 * time.Second)
		covered(t, 6, a)
		b, c := w.join("g"), w.join("g")
		time.Sleep(10 * time.Second)
		covered(t, 6, a, b, c)
		b.leave()
		time.Sleep(10 * time.Second)
		covered(t, 6, a, c)
		// A member that is gone without a word: its session has to end.
		dead := w.join("g", kgo.InstanceID("static")) // static members do not leave on close
		time.Sleep(10 * time.Second)
		covered(t, 6, a, c, dead)
		dead.leave()
		time.Sleep(30 * time.Second)
		covered(t, 6, a, c)
		c.leave()
	})
}

func TestABrokersRestartMovesNoPartitionAndLosesNothing(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.create("t", 4)
		producer := w.client()
		defer producer.Close()
		a, b := w.join("g"), w.join("g")
		defer a.leave()
		defer b.leave()
		time.Sleep(20 * time.Second)
		covered(t, 4, a, b)
		before := a.moves + b.moves
		const records = 300
		var sent sync.WaitGroup
		for i := range records {
			if i == 100 || i == 200 {
				w.restart()
			}
			sent.Add(1)
			producer.Produce(t.Context(), record("t", fmt.Sprint(i)), func(_ *kgo.Record, err error) {
				defer sent.Done()
				if err != nil {
					t.Error(err)
				}
			})
			time.Sleep(20 * time.Millisecond)
		}
		sent.Wait()
		time.Sleep(20 * time.Second)
		covered(t, 4, a, b)
		if moves := a.moves + b.moves; moves != before {
			t.Errorf("%d partitions moved", moves-before)
		}
		a.mu.Lock()
		b.mu.Lock()
		defer a.mu.Unlock()
		defer b.mu.Unlock()
		consumed := append(slices.Clone(a.consumed), b.consumed...)
		slices.Sort(consumed)
		if n := len(slices.Compact(slices.Clone(consumed))); n != records || len(consumed) != records {
			t.Errorf("%d records consumed, %d of them different; %d were acked", len(consumed), n, records)
		}
		if errs := append(a.errs, b.errs...); len(errs) > 0 {
			t.Errorf("the members saw errors: %v", errs)
		}
	})
}

func TestAnOutageOfTheStoreIsLatencyAndThenRecovery(t *testing.T) {
	for _, outage := range []time.Duration{10 * time.Second, 2 * time.Minute} {
		t.Run(outage.String(), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.create("t", 2)
				// Idempotent, as is the default: a retry must not write twice.
				producer := w.client(kgo.RecordDeliveryTimeout(10*time.Minute), kgo.ProduceRequestTimeout(10*time.Second))
				defer producer.Close()
				if err := producer.ProduceSync(t.Context(), record("t", "first")).FirstErr(); err != nil {
					t.Fatal(err)
				}
				outcomes := []mem.Outcome{mem.Refuse, mem.Lose, mem.Hang, mem.HangApplied}
				var n atomic.Int64
				down := mem.Faults(func(r mem.Request) mem.Fault {
					return mem.Fault{Outcome: outcomes[n.Add(1)%int64(len(outcomes))]}
				})
				const records = 100
				var acked atomic.Int64
				var last atomic.Int64 // when the last ack came
				began := time.Now()
				w.fault.Store(&down)
				time.AfterFunc(outage, func() { w.fault.Store(nil) })
				for i := range records {
					producer.Produce(t.Context(), record("t", fmt.Sprint(i)), func(_ *kgo.Record, err error) {
						if err != nil {
							t.Error(err)
							return
						}
						acked.Add(1)
						last.Store(int64(time.Since(began)))
					})
					time.Sleep(50 * time.Millisecond)
				}
				if err := producer.Flush(t.Context()); err != nil {
					t.Fatal(err)
				}
				if acked.Load() != records {
					t.Fatalf("%d of %d acked", acked.Load(), records)
				}
				if late := time.Duration(last.Load()) - outage; late > 15*time.Second {
					t.Errorf("the last ack came %v after the store was back", late)
				}
				w.restart() // nothing from memory
				consumer := w.client(kgo.ConsumeTopics("t"))
				defer consumer.Close()
				seen := map[string]int{}
				for len(seen) < records+1 {
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					fetches := consumer.PollFetches(ctx)
					cancel()
					if fetches.Empty() {
						break
					}
					fetches.EachRecord(func(r *kgo.Record) { seen[string(r.Value)]++ })
				}
				for i := range records {
					if seen[fmt.Sprint(i)] != 1 {
						t.Errorf("record %d was read %d times", i, seen[fmt.Sprint(i)])
					}
				}
			})
		})
	}
}

func TestManyTopicsAreListedWithoutOpeningThem(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		for i := range 300 {
			w.create(fmt.Sprintf("topic-%03d", i), 1)
		}
		w.restart()
		c := w.client()
		defer c.Close()
		before := w.requests.Load()
		topics, err := kadm.NewClient(c).ListTopics(t.Context())
		if err != nil || len(topics) != 300 {
			t.Fatal(len(topics), err)
		}
		if n := w.requests.Load() - before; n != 0 {
			t.Errorf("Metadata of 300 topics cost %d requests to the store", n)
		}
		if names := topics.Names(); !strings.HasPrefix(names[0], "topic-000") {
			t.Error(names[0])
		}
	})
}

func TestAClosedLoopIsAsQuickWithTheLingerOfItsClient(t *testing.T) {
	for _, linger := range []time.Duration{0, 5 * time.Millisecond, 10 * time.Millisecond} { // none, Java's and franz-go's own
		inWorld(t, func(t *testing.T, w *world) {
			w.create("t", 1)
			producer := w.client(kgo.ProducerLinger(linger))
			defer producer.Close()
			var worst time.Duration
			for i := range 200 {
				began, acked := time.Now(), make(chan error, 1)
				producer.Produce(t.Context(), record("t", fmt.Sprint(i)), func(_ *kgo.Record, err error) { acked <- err })
				if err := <-acked; err != nil {
					t.Fatal(err)
				}
				if i > 0 { // the first opens the table
					worst = max(worst, time.Since(began))
				}
			}
			// An early commit comes a fifth of the interval after the one before.
			if limit := linger + interval/5 + 2*putLatency + 2*time.Millisecond; worst > limit {
				t.Errorf("with a linger of %v an ack took %v, want at most %v", linger, worst, limit)
			}
		})
	}
}
