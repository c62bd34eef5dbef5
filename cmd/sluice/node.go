package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/broker"
	"sluice/broker/group"
	"sluice/offsets"
	"sluice/storage"
	"sluice/storage/delta"
	"sluice/storage/object"
)

// openTimeout bounds the start on a store that answers slowly or not at all.
const openTimeout = time.Minute

// node is a broker and all that is below it.
type node struct {
	store   object.Store
	probe   string // what the start-up probe found, for people
	metrics *prometheus.Registry
	topics  *storage.Topics
	offsets *offsets.Offsets
	groups  *broker.Groups // closed by the broker's Shutdown
	broker  *broker.Broker

	unlock func()
	log    *slog.Logger
}

// openNode opens the store and what lies in it, from the bottom up. memory is
// the memory limit of this process in bytes, 0 for none.
func openNode(ctx context.Context, s settings, u storeURL, memory int64, log *slog.Logger) (_ *node, err error) {
	n := &node{metrics: newRegistry(), log: log, unlock: func() {}}
	defer func() {
		if err != nil {
			n.abandon()
		}
	}()

	store, err := reachStore(ctx, s, u, log)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	n.unlock, n.probe = store.unlock, store.probe
	n.store = object.NewMeter(store.Store, n.metrics)
	if s.broker.ClusterID == "" {
		if s.broker.ClusterID, err = clusterID(ctx, n.store); err != nil {
			return nil, err
		}
	}
	b := newBounds(s, u, memory)
	if b.disk.dir == "" && b.disk.bytes > 0 {
		log.Info("no disk cache: there is no directory for temporary files, or it lies in memory; sluice.cache.dir names a better one")
	}
	if n.topics, err = storage.Open(ctx, n.store, b.topics(s, n)); err != nil {
		return nil, damaged(fmt.Errorf("topics: %w", err), "Put back what was there, or move _sluice/topics away: it is made anew from the topics' own tables.")
	}
	if n.offsets, err = offsets.Open(ctx, n.store, b.offsets(s, n)); err != nil {
		return nil, damaged(fmt.Errorf("offsets: %w", err), "Put back what was there. Without _sluice/consumer_offsets all groups begin anew.")
	}
	n.offsets.OnLost(n.topics.Suspect)
	if n.groups, err = openGroups(s, b, n.offsets, log); err != nil {
		return nil, err
	}
	s.broker.Broker["log.dirs"] = n.store.URL() // where tools look for it
	if n.broker, err = broker.New(b.broker(s.broker), n.topics, n.offsets, n.groups, log); err != nil {
		return nil, err
	}
	return n, n.broker.Register(n.metrics)
}

// damaged says what to do about a table of the broker's own whose bytes are of no use.
func damaged(err error, todo string) error {
	if errors.Is(err, delta.ErrCorrupt) {
		return advise(err, "%s", todo)
	}
	return err
}

// openGroups restores the groups as they were.
func openGroups(s settings, b bounds, o *offsets.Offsets, log *slog.Logger) (*broker.Groups, error) {
	return broker.NewGroups(group.Config{
		MinSessionTimeout: s.minSessionTimeout, MaxSessionTimeout: s.maxSessionTimeout,
		InitialRebalanceDelay: s.rebalanceDelay, MaxSize: s.maxGroupSize,
		MaxBytes: int(b.group), MaxTotalBytes: int(b.groups),
		Log: log,
	}, o)
}

// expireEvery is how often committed offsets are looked through for those that
// nobody uses any more (offsets.retention.check.interval.ms of Kafka).
const expireEvery = 10 * time.Minute

// startExpiry forgets committed offsets that have outlived their retention, and
// groups of which nothing is left, now and then, until stop is called or ctx ends.
// stop returns when the last look is over.
func (n *node) startExpiry(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(expireEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case now := <-tick.C:
				n.expireAt(ctx, now)
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

func (n *node) expireAt(ctx context.Context, now time.Time) {
	wait := n.offsets.Expire(now, func(name string) (time.Time, bool) {
		info, known := n.groups.Manager().Info(name)
		if !known || info.ProtocolType == "" {
			return time.Time{}, true // never had members: the time of the commit counts
		}
		return info.EmptySince()
	})
	select {
	case <-ctx.Done():
		return
	case <-wait.Done():
	}
	if err := wait.Err(); err != nil {
		n.log.Warn("expired offsets stay until the next time", "error", err)
		return
	}
	for _, info := range n.groups.Manager().Infos() {
		if info.State == group.Empty && len(n.offsets.Group(info.Group)) == 0 {
			n.groups.Manager().Delete(ctx, info.Group) // refused if a member has come meanwhile
		}
	}
}

// shutdown ends the node in order, from the top down: what was begun is committed
// and answered within ctx.
func (n *node) shutdown(ctx context.Context) error {
	err := n.broker.Shutdown(ctx)
	n.broker = nil
	if err != nil {
		n.log.Warn("connections were cut", "error", err)
	}
	err = errors.Join(n.offsets.Close(ctx), n.topics.Close(ctx))
	n.offsets, n.topics = nil, nil
	if errors.Is(err, context.DeadlineExceeded) {
		return advise(fmt.Errorf("the store did not take all that was pending within %s", drainTimeout),
			"Nothing that was acknowledged is lost. Clients repeat the rest when a broker serves again.")
	}
	return err
}

// abandon gives up what is open, in no more than a moment: after a failed start,
// and after shutdown, when only the lock is left.
func (n *node) abandon() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if n.broker != nil {
		n.broker.Shutdown(ctx)
	}
	if n.offsets != nil {
		n.offsets.Close(ctx)
	}
	if n.topics != nil {
		n.topics.Close(ctx)
	}
	n.unlock()
}
