package group

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ledger is a Keep that takes time, may fail, and shows what was kept.
type ledger struct {
	mu     sync.Mutex
	takes  time.Duration
	fails  error
	newest map[string]Record
	all    []Record
}

func (l *ledger) keep(ctx context.Context, r Record) error {
	l.mu.Lock()
	takes := l.takes
	l.mu.Unlock()
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		return ctx.Err()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fails != nil {
		return l.fails
	}
	// Through its encoding, as the store has it.
	r, err := Decode(r.Encode())
	if err != nil {
		return err
	}
	l.newest[r.Group] = r
	l.all = append(l.all, r)
	return nil
}

func (l *ledger) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fails = err
}

func (l *ledger) slow(takes time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.takes = takes
}

func (l *ledger) record(group string) Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.newest[group]
}

func (l *ledger) records() []Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Values(l.newest))
}

// world is a manager, its ledger and the clients of one group, on fake time.
type world struct {
	*testing.T
	manager atomic.Pointer[Manager]
	ledger  *ledger
	config  Config
}

func (w *world) m() *Manager { return w.manager.Load() }

// inWorld runs a test in a bubble of fake time. That the bubble ends shows that
// Close leaves no goroutine.
func inWorld(t *testing.T, config Config, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := &ledger{takes: 20 * time.Millisecond, newest: make(map[string]Record)}
		config.Log = slog.New(slog.DiscardHandler)
		if config.Keep == nil {
			config.Keep = l.keep
		}
		w := &world{T: t, ledger: l, config: config}
		w.manager.Store(New(config))
		defer func() { w.m().Close() }()
		test(w)
	})
}

// restart closes the manager and starts another on what was kept.
func (w *world) restart() {
	w.m().Close()
	m := New(w.config)
	m.Load(w.ledger.records())
	w.manager.Store(m)
}

func (w *world) state(want State) {
	w.Helper()
	synctest.Wait()
	i, _ := w.m().Info("g")
	if i.State != want {
		w.Fatalf("the group is %q, want %q", i.State, want)
	}
}

func (w *world) equal(what string, got, want any) {
	w.Helper()
	if got != want {
		w.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

// consumer is a client of group "g" with what its requests say.
type consumer struct {
	w         *world
	client    Client
	id        string
	instance  *string
	gen       int32
	version   int16 // of JoinGroup
	kind      string
	protocols []kmsg.JoinGroupRequestProtocol
	session   time.Duration
	rebalance time.Duration

	joined     *kmsg.JoinGroupResponse
	assignment string
}

func (w *world) consumer(name string) *consumer {
	return &consumer{
		w: w, client: Client{ID: name, Host: "/127.0.0.1"}, version: 9, kind: "consumer", gen: -1,
		protocols: protocols("range", "topic"), session: 10 * time.Second, rebalance: time.Minute,
	}
}

func (w *world) static(instance string) *consumer {
	c := w.consumer("client")
	c.instance = &instance
	return c
}

// protocols are pairs of a name and the one topic of its subscription.
func protocols(pairs ...string) (ps []kmsg.JoinGroupRequestProtocol) {
	for i := 0; i < len(pairs); i += 2 {
		p := kmsg.NewJoinGroupRequestProtocol()
		p.Name = pairs[i]
		s := kmsg.NewConsumerMemberMetadata()
		s.Version, s.Topics = 3, []string{pairs[i+1]}
		p.Metadata = s.AppendTo(nil)
		ps = append(ps, p)
	}
	return ps
}

// joinOnce sends one JoinGroup and waits for the answer.
func (c *consumer) joinOnce() error { return c.joinWithin(context.Background()) }

func (c *consumer) joinWithin(ctx context.Context) error {
	req := kmsg.NewPtrJoinGroupRequest()
	req.SetVersion(c.version)
	req.Group, req.MemberID, req.InstanceID = "g", c.id, c.instance
	req.ProtocolType, req.Protocols = c.kind, c.protocols
	req.SessionTimeoutMillis = int32(c.session.Milliseconds())
	req.RebalanceTimeoutMillis = int32(c.rebalance.Milliseconds())
	resp := c.w.m().Join(ctx, c.client, req)
	c.joined = resp
	err := kerr.ErrorForCode(resp.ErrorCode)
	if err == nil || err == kerr.MemberIDRequired {
		c.id = resp.MemberID
	}
	if err == nil {
		c.gen = resp.Generation
	}
	return err
}

// join joins as clients do, with the id that it is told to use.
func (c *consumer) join() error {
	err := c.joinOnce()
	if err == kerr.MemberIDRequired {
		err = c.joinOnce()
	}
	return err
}

// later runs a request that waits; the result comes through the channel.
func later(f func() error) <-chan error {
	result := make(chan error, 1)
	go func() { result <- f() }()
	synctest.Wait()
	return result
}

func (c *consumer) leads() bool { return c.joined != nil && c.joined.LeaderID == c.id }

// sync syncs; a leader assigns to each member its own id's name, so that each can
// tell its assignment from others.
func (c *consumer) sync() error { return c.syncWithin(context.Background()) }

func (c *consumer) syncWithin(ctx context.Context) error {
	req := kmsg.NewPtrSyncGroupRequest()
	req.SetVersion(5)
	req.Group, req.MemberID, req.Generation, req.InstanceID = "g", c.id, c.gen, c.instance
	req.ProtocolType, req.Protocol = c.joined.ProtocolType, c.joined.Protocol
	if c.leads() && !c.joined.SkipAssignment {
		for _, m := range c.joined.Members {
			a := kmsg.NewSyncGroupRequestGroupAssignment()
			a.MemberID, a.MemberAssignment = m.MemberID, []byte("for "+m.MemberID)
			req.GroupAssignment = append(req.GroupAssignment, a)
		}
	}
	resp := c.w.m().Sync(ctx, req)
	if resp.MemberAssignment == nil {
		c.w.Error("a SyncGroup was answered with null bytes")
	}
	err := kerr.ErrorForCode(resp.ErrorCode)
	if err == nil {
		c.assignment = string(resp.MemberAssignment)
	}
	return err
}

func (c *consumer) heartbeat() error {
	req := kmsg.NewPtrHeartbeatRequest()
	req.SetVersion(4)
	req.Group, req.MemberID, req.Generation, req.InstanceID = "g", c.id, c.gen, c.instance
	return kerr.ErrorForCode(c.w.m().Heartbeat(req).ErrorCode)
}

func (c *consumer) leave() error {
	m := kmsg.NewLeaveGroupRequestMember()
	m.MemberID, m.InstanceID = c.id, c.instance
	return c.w.leave(m)[0]
}

func (w *world) leave(members ...kmsg.LeaveGroupRequestMember) (errs []error) {
	req := kmsg.NewPtrLeaveGroupRequest()
	req.SetVersion(5)
	req.Group, req.Members = "g", members
	resp := w.m().Leave(context.Background(), req)
	if resp.ErrorCode != 0 {
		return []error{kerr.ErrorForCode(resp.ErrorCode)}
	}
	for _, m := range resp.Members {
		errs = append(errs, kerr.ErrorForCode(m.ErrorCode))
	}
	return errs
}

func (c *consumer) commit() error {
	return c.w.m().CheckCommit(Commit{
		Group: "g", MemberID: c.id, InstanceID: c.instance, Generation: c.gen, Version: 8,
	})
}

// all runs a request of several consumers at the same time, and wants them all to
// succeed.
func (w *world) all(f func(*consumer) error, cs ...*consumer) {
	w.Helper()
	results := make([]<-chan error, len(cs))
	for i, c := range cs {
		results[i] = later(func() error { return f(c) })
	}
	for i, r := range results {
		if err := <-r; err != nil {
			w.Fatalf("consumer %d: %v", i, err)
		}
	}
}

// stable brings consumers into one stable generation.
func (w *world) stable(cs ...*consumer) {
	w.Helper()
	w.all((*consumer).join, cs...)
	w.all((*consumer).sync, cs...)
	w.state(Stable)
	for _, c := range cs {
		w.equal("assignment", c.assignment, "for "+c.id)
	}
}

// stay sends heartbeats of consumers for a time, and wants them all to be fine.
func (w *world) stay(d time.Duration, cs ...*consumer) {
	w.Helper()
	for ; d > 0; d -= 3 * time.Second {
		time.Sleep(min(d, 3*time.Second))
		for _, c := range cs {
			if err := c.heartbeat(); err != nil {
				w.Fatalf("heartbeat of %s: %v", c.id, err)
			}
		}
	}
}
