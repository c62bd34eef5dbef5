package broker_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"sluice/integration/history"
)

// simClient is a real client with the broker that it talks to at the moment.
type simClient struct {
	*kgo.Client
	s    *simulation
	name string

	mu    sync.Mutex
	at    int // index of the broker
	conns map[net.Conn]struct{}
}

// client makes a client at a broker.
func (s *simulation) client(name string, at int, options ...kgo.Opt) *simClient {
	c := &simClient{s: s, name: name, at: at, conns: map[net.Conn]struct{}{}}
	versions := kversion.Stable()
	versions.SetMaxKeyVersion(8, 9) // offsets are committed here by names of topics
	if *simLog != "" {
		options = append(options, kgo.WithLogger(clientLog{s.log, name}))
	}
	var err error
	c.Client, err = kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers("127.0.0.1:9092"), kgo.ClientID(name), kgo.Dialer(c.dial), kgo.MaxVersions(versions),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerLinger(0), kgo.MetadataMinAge(100 * time.Millisecond),
		kgo.FetchMaxWait(2 * time.Second), kgo.AlwaysRetryEOF(), kgo.UnknownTopicRetries(-1),
		kgo.RecordPartitioner(kgo.RoundRobinPartitioner()),
		// A broker that says nothing is left alone soon.
		kgo.RequestTimeoutOverhead(5 * time.Second), kgo.ProduceRequestTimeout(5 * time.Second),
	}, options...)...)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

func (c *simClient) node() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

// turnTo lets the client talk to another broker.
func (c *simClient) turnTo(to int) {
	c.mu.Lock()
	c.at = to
	old := c.conns
	c.conns = map[net.Conn]struct{}{}
	c.mu.Unlock()
	for conn := range old {
		conn.Close()
	}
}

func (c *simClient) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	at := c.node()
	conn, err := c.s.nodes[at].dial(ctx)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at != at {
		conn.Close()
		return nil, errRefused
	}
	c.conns[conn] = struct{}{}
	return conn, nil
}

func (s *simulation) makeTopics() {
	c := s.client("admin", 0)
	defer c.Close()
	admin := kadm.NewClient(c.Client)
	config := map[string]*string{"sluice.commit.interval.ms": kadm.StringPtr([]string{"0", "10", "50"}[s.random.IntN(3)])}
	for _, topic := range sortedTopics() {
		for {
			resp, err := admin.CreateTopic(s.t.Context(), simTopics[topic], 1, config, topic)
			if err == nil || errors.Is(resp.Err, kerr.TopicAlreadyExists) {
				break
			}
			time.Sleep(time.Second) // the brokers have just taken the catalogue from each other
		}
	}
}

// beginClients starts producers, of which one is not idempotent, a consumer that reads all
// there is, and a group of two or three.
func (s *simulation) beginClients() {
	ctx, cancel := context.WithCancel(s.t.Context())
	s.stop = cancel
	at := s.random.IntN(len(s.nodes))
	for i := range 1 + s.random.IntN(3) {
		name, random := fmt.Sprint("once", i), rand.New(rand.NewPCG(s.seed, uint64(100+i)))
		c := s.client(name, at)
		s.clients = append(s.clients, c)
		s.writers.Go(func() { c.produce(random, true) })
	}
	plain := s.client("plain", at, kgo.DisableIdempotentWrite())
	s.clients = append(s.clients, plain)
	s.writers.Go(func() { plain.produce(rand.New(rand.NewPCG(s.seed, 200)), false) })

	alone := s.client("alone", at, kgo.ConsumeTopics(sortedTopics()...), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	s.clients = append(s.clients, alone)
	s.readers.Go(func() { alone.consume(ctx, nil) })
	for i := range 2 + s.random.IntN(2) {
		m := &simMember{}
		m.client = s.client(fmt.Sprint("member", i), at, m.options(s)...)
		s.clients = append(s.clients, m.client)
		s.readers.Go(func() { m.client.consume(ctx, m) })
	}
}

// produce sends records until the simulation is quiet, a few at a time, and waits for what
// it has sent.
func (c *simClient) produce(random *rand.Rand, once bool) {
	s := c.s
	for n := 0; s.rest(random); {
		for range 1 + random.IntN(4) {
			topic := sortedTopics()[random.IntN(len(simTopics))]
			value := fmt.Sprint(c.name, " ", n)
			n++
			send := s.history.Sending(c.name, value, once)
			s.count("records sent", 1)
			c.Produce(context.Background(), record(topic, value), func(r *kgo.Record, err error) {
				if err != nil {
					s.count("records refused", 1) // and perhaps there all the same
					s.log.Info("refused", "value", value, "err", err)
					return
				}
				s.log.Info("acked", "value", value, "topic", r.Topic, "partition", r.Partition, "offset", r.Offset)
				send.Acked(history.Partition{Topic: r.Topic, Number: r.Partition}, r.Offset)
				s.count("acks", 1)
			})
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.patience)
	defer cancel()
	if err := c.Flush(ctx); err != nil {
		s.problem("%s has records that are not acked %v after the last fault", c.name, s.patience)
	}
}

// rest sleeps between two works of a producer: mostly briefly, now and then for long.
// It answers false when producers are to end.
func (s *simulation) rest(random *rand.Rand) bool {
	d := time.Duration(random.ExpFloat64() * float64(200*time.Millisecond))
	switch random.IntN(40) {
	case 0:
		d = time.Duration(random.ExpFloat64() * float64(20*time.Second))
	case 1, 2, 3, 4:
		d = time.Duration(random.ExpFloat64() * float64(2*time.Second))
	}
	for {
		select {
		case <-time.After(d):
		case <-s.quiet:
			return false
		}
		s.mu.Lock()
		s.energy--
		left := s.energy
		s.mu.Unlock()
		if left >= 0 {
			return true
		}
		d = time.Second
	}
}

// consume reads until ctx ends. A member commits where it is after each poll.
func (c *simClient) consume(ctx context.Context, m *simMember) {
	for {
		id, generation := "", int32(-1)
		if m != nil {
			id, generation = c.GroupMetadata()
		}
		fetches := c.PollFetches(ctx)
		if ctx.Err() != nil {
			return
		}
		fetches.EachError(func(topic string, p int32, err error) {
			c.s.count("errors of consumers", 1)
			c.s.log.Info("consumer", "client", c.name, "topic", topic, "partition", p, "err", err)
		})
		var records []history.Record
		fetches.EachRecord(func(r *kgo.Record) { records = append(records, seen(r)) })
		if len(records) == 0 {
			continue
		}
		c.s.history.Polled(c.name, records)
		c.s.count("records polled", len(records))
		who := c.name
		if m != nil {
			who = "the group"
		}
		c.s.isAt(who, records)
		if m != nil {
			m.commit(ctx, id, generation, records)
		}
	}
}

// isAt notes how far a consumer has read.
func (s *simulation) isAt(who string, records []history.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.positions[who] == nil {
		s.positions[who] = map[history.Partition]int64{}
	}
	for _, r := range records {
		s.positions[who][r.Partition] = max(s.positions[who][r.Partition], r.Offset+1)
	}
}

func seen(r *kgo.Record) history.Record {
	return history.Record{Partition: history.Partition{Topic: r.Topic, Number: r.Partition}, Offset: r.Offset, Value: string(r.Value)}
}

// simMember is a member of the group.
type simMember struct{ client *simClient }

func (m *simMember) options(s *simulation) []kgo.Opt {
	moved := func(_ context.Context, c *kgo.Client, partitions map[string][]int32) {
		name := c.OptValue(kgo.ClientID).(string)
		for topic, numbers := range partitions {
			for _, n := range numbers {
				s.history.Moved(name, history.Partition{Topic: topic, Number: n})
			}
		}
		s.count("assignments", 1)
	}
	balancer := kgo.CooperativeStickyBalancer()
	if s.seed%2 == 0 {
		balancer = kgo.RangeBalancer()
	}
	return []kgo.Opt{
		kgo.ConsumerGroup(simGroup), kgo.ConsumeTopics(sortedTopics()...), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.SessionTimeout(10 * time.Second), kgo.HeartbeatInterval(time.Second), kgo.RebalanceTimeout(10 * time.Second), kgo.Balancers(balancer),
		// Its loop waits on a mutex, which stops fake time.
		kgo.DisableAutoCommit(),
		kgo.OnPartitionsAssigned(moved), kgo.OnPartitionsRevoked(moved), kgo.OnPartitionsLost(moved),
		kgo.OnOffsetsFetched(func(_ context.Context, _ *kgo.Client, resp *kmsg.OffsetFetchResponse) error {
			m.fetched(s, resp)
			return nil
		}),
	}
}

// commit commits what was polled in the generation before the poll: if there is another
// one now, it is the broker's to refuse that.
func (m *simMember) commit(ctx context.Context, id string, generation int32, records []history.Record) {
	next := map[history.Partition]int64{}
	for _, r := range records {
		next[r.Partition] = r.Offset + 1
	}
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.MemberID, req.Generation = simGroup, id, generation
	for p, offset := range next {
		rt := kmsg.NewOffsetCommitRequestTopic()
		rt.Topic = p.Topic
		rp := kmsg.NewOffsetCommitRequestTopicPartition()
		rp.Partition, rp.Offset = p.Number, offset
		rt.Partitions = append(rt.Partitions, rp)
		req.Topics = append(req.Topics, rt)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	resp, err := req.RequestWith(ctx, m.client.Client)
	if err != nil {
		return
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			at := history.Partition{Topic: t.Topic, Number: p.Partition}
			if p.ErrorCode != 0 {
				m.client.s.count("offset commits refused", 1)
				continue
			}
			m.client.s.log.Info("committed", "member", m.client.name, "generation", generation, "partition", at.String(), "offset", next[at])
			m.client.s.history.OffsetCommitted(simGroup, at, next[at])
			m.client.s.count("offset commits", 1)
		}
	}
}

// fetched notes where a member was told to begin.
func (m *simMember) fetched(s *simulation, resp *kmsg.OffsetFetchResponse) {
	for _, g := range resp.Groups {
		for _, t := range g.Topics {
			for _, p := range t.Partitions {
				if p.ErrorCode == 0 && g.ErrorCode == 0 {
					s.log.Info("fetched", "topic", t.Topic, "partition", p.Partition, "offset", p.Offset)
					s.history.OffsetFetched(simGroup, history.Partition{Topic: t.Topic, Number: p.Partition}, p.Offset)
				}
			}
		}
	}
}

// clientLog lets a client write to the run's log.
type clientLog struct {
	log  *slog.Logger
	name string
}

func (l clientLog) Level() kgo.LogLevel { return kgo.LogLevelInfo }

func (l clientLog) Log(_ kgo.LogLevel, msg string, keyvals ...any) {
	l.log.Info(msg, append(keyvals, "client", l.name)...)
}
