//go:build integration

package integration

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"sluice/integration/history"
)

// load is a producer that never stops writing to a topic, and a group of two that
// reads it, all of which may see their broker vanish and return and must not mind.
type load struct {
	t       *testing.T
	b       *sluice
	topic   string
	history *history.History   // what they do and see
	stop    context.CancelFunc // of the producer
	writer  sync.WaitGroup
	acks    atomic.Int64 // how many records were acked
	away    bool         // the broker is away so often that members may find nobody to join

	mu     sync.Mutex
	acked  []record        // in the order of acks; guarded by mu
	next   map[int32]int64 // where the readers are; guarded by mu
	wrong  []error         // guarded by mu
	took   []time.Duration // from each record's timestamp to a reader, in the order read; guarded by mu
	two    []*reader
	reader sync.WaitGroup
	end    context.CancelFunc // of the readers
}

// reader is a member of the load's group.
type reader struct {
	cl       *kgo.Client
	mu       sync.Mutex
	assigned []string // what it was told of its partitions
}

// pace is how much the producer of a load writes, and what becomes of its broker.
type pace struct {
	every   time.Duration
	records int  // each time
	keys    int  // how many keys there are; 0: each record has its own
	away    bool // the broker will be away very often
	// beside is a second broker on the store, which the clients know too and turn to when
	// the first one answers nothing for some seconds; nil: there is none.
	beside *sluice
}

// steady is some thousand records a second.
var steady = pace{every: 5 * time.Millisecond, records: 10}

func (l *load) group() string { return "group-of-" + l.topic }

// startLoad starts writing and reading.
func startLoad(t *testing.T, b *sluice, topic string) *load {
	t.Helper()
	createTopic(t, connect(t, b), topic)
	return startLoadOf(t, b, topic, steady)
}

// startLoadOf starts writing to a topic at a pace, and reading.
func startLoadOf(t *testing.T, b *sluice, topic string, p pace) *load {
	t.Helper()
	// By default this client asks for metadata each 5 s at most, and a record that was refused
	// twice waits for that: the recovery of the broker could not be told from it.
	patience := []kgo.Opt{kgo.MetadataMinAge(250 * time.Millisecond)}
	if p.away {
		// This client takes a connection that ends at its first request for a wrong
		// configuration, and gives up.
		patience = append(patience, kgo.AlwaysRetryEOF())
	}
	if p.beside != nil {
		// The kernel accepts connections for a process that stands still. This client tries one
		// for each request that it has, one after the other, for the overhead each: 15 have been seen.
		patience = append(patience, kgo.SeedBrokers(b.address, p.beside.address),
			kgo.RequestTimeoutOverhead(time.Second), kgo.ProduceRequestTimeout(3*time.Second))
	}
	l := &load{t: t, b: b, topic: topic, away: p.away, history: history.New(), next: map[int32]int64{}}

	ctx, end := context.WithCancel(t.Context())
	l.end = end
	t.Cleanup(func() { end(); l.reader.Wait() })
	for i := range 2 {
		r, name := &reader{}, fmt.Sprint("member", i)
		told := func(what string) func(context.Context, *kgo.Client, map[string][]int32) {
			return func(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
				r.mu.Lock()
				defer r.mu.Unlock()
				if len(partitions[topic]) > 0 {
					for _, p := range partitions[topic] {
						l.history.Moved(name, l.partition(p))
					}
					r.assigned = append(r.assigned, fmt.Sprint(what, " ", partitions[topic]))
				}
			}
		}
		r.cl = connect(t, b, append(patience, kgo.ConsumerGroup(l.group()), kgo.ConsumeTopics(topic), kgo.ClientID(name),
			kgo.Balancers(kgo.CooperativeStickyBalancer()), kgo.AutoCommitInterval(200*time.Millisecond),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(500*time.Millisecond),
			kgo.OnPartitionsAssigned(told("assigned")), kgo.OnPartitionsRevoked(told("revoked")), kgo.OnPartitionsLost(told("lost")),
			kgo.AutoCommitCallback(func(_ *kgo.Client, req *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
				l.committed(req, resp, err)
			}))...)
		l.two = append(l.two, r)
		l.reader.Go(func() { l.consume(ctx, name, r.cl) })
	}
	l.balance()

	writing, stop := context.WithCancel(t.Context())
	l.stop = stop
	t.Cleanup(func() { stop(); l.writer.Wait() })
	partitioner := kgo.RoundRobinPartitioner()
	if p.keys > 0 {
		partitioner = kgo.StickyKeyPartitioner(nil) // a key's records are in one partition
	}
	cl := connect(t, b, append(patience, kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(partitioner),
		kgo.ProducerBatchCompression(kgo.Lz4Compression()), kgo.MaxBufferedRecords(100_000))...)
	l.writer.Go(func() { l.produce(writing, cl, p) })
	return l
}

// balance waits until both readers have partitions.
func (l *load) balance() {
	l.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		owned := 0
		for _, r := range l.two {
			own := 0
			for _, told := range r.told() {
				what, list, _ := strings.Cut(told, " ")
				if n := len(strings.Fields(list)); what == "assigned" {
					own += n
				} else {
					own -= n
				}
			}
			if own > 0 && own < partitions {
				owned += own
			}
		}
		if owned == partitions {
			return
		}
		if time.Now().After(deadline) {
			l.t.Fatal("the readers do not share the partitions")
		}
	}
}

func (r *reader) told() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.assigned...)
}

// fail notes what no client should see.
func (l *load) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wrong = append(l.wrong, err)
}

// partition is a partition of the load's topic, as its history names it.
func (l *load) partition(n int32) history.Partition {
	return history.Partition{Topic: l.topic, Number: n}
}

// seen is a record as the history compares it, with all that it is.
func (l *load) seen(r record) history.Record {
	return history.Record{Partition: l.partition(r.partition), Offset: r.offset, Value: identity(r)}
}

// identity tells a record from all others of a load: their values differ.
func identity(r record) string { return fmt.Sprintf("%s = %s at %d", r.key, r.value, r.timestamp) }

func (l *load) produce(ctx context.Context, cl *kgo.Client, p pace) {
	tick := time.NewTicker(p.every)
	defer tick.Stop()
	for n := 0; ; {
		select {
		case <-ctx.Done():
			// What is written is acked when the broker is back.
			ctx, cancel := context.WithTimeout(l.t.Context(), time.Minute)
			defer cancel()
			if err := cl.Flush(ctx); err != nil {
				l.fail(fmt.Errorf("flush: %w", err))
			}
			return
		case <-tick.C:
		}
		for range p.records {
			key := n
			if p.keys > 0 {
				key %= p.keys
			}
			kr := &kgo.Record{Key: fmt.Appendf(nil, "%d", key), Value: fmt.Appendf(nil, "record %d of the load", n),
				Timestamp: time.UnixMilli(time.Now().UnixMilli())}
			n++
			send := l.history.Sending("producer", identity(fromKgo(kr)), true)
			cl.Produce(l.t.Context(), kr, func(kr *kgo.Record, err error) {
				if err != nil {
					l.fail(fmt.Errorf("record %s: %w", kr.Key, err))
					return
				}
				send.Acked(l.partition(kr.Partition), kr.Offset)
				l.mu.Lock()
				l.acked = append(l.acked, fromKgo(kr))
				l.mu.Unlock()
				l.acks.Add(1)
			})
		}
	}
}

func (l *load) consume(ctx context.Context, name string, cl *kgo.Client) {
	for {
		fetches := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			return
		}
		fetches.EachError(func(_ string, p int32, err error) {
			if session, ok := errors.AsType[*kgo.ErrGroupSession](err); ok && l.away && !errors.As(session.Err, new(*kerr.Error)) {
				return // nobody was there when it wanted to join; it goes on trying
			}
			l.fail(fmt.Errorf("a reader, partition %d: %w", p, err))
		})
		now := time.Now()
		var records []history.Record
		l.mu.Lock()
		fetches.EachRecord(func(kr *kgo.Record) {
			records = append(records, l.seen(fromKgo(kr)))
			l.next[kr.Partition] = max(l.next[kr.Partition], kr.Offset+1)
			l.took = append(l.took, now.Sub(kr.Timestamp))
		})
		l.mu.Unlock()
		l.history.Polled(name, records)
	}
}

// count is how many records were read.
func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.took)
}

// delays are how long the records took that were read after the first so many.
func (l *load) delays(from int) []time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.took[from:])
}

// committed takes the answer to an offset commit. That a broker went away is
// nothing to tell a user: the client commits again.
func (l *load) committed(req *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
	if err != nil || resp == nil {
		return
	}
	refused := map[int32]bool{}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if p.ErrorCode != 0 {
				refused[p.Partition] = true
				// A client commits again after a retriable one.
				if err := kerr.ErrorForCode(p.ErrorCode); !kerr.IsRetriable(err) {
					l.fail(fmt.Errorf("commit of partition %d: %w", p.Partition, err))
				}
			}
		}
	}
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			if !refused[p.Partition] {
				l.history.OffsetCommitted(l.group(), l.partition(p.Partition), p.Offset)
			}
		}
	}
}

func fromKgo(kr *kgo.Record) record {
	r := record{partition: kr.Partition, offset: kr.Offset, timestamp: kr.Timestamp.UnixMilli(), key: kr.Key, value: kr.Value}
	for _, h := range kr.Headers {
		r.headers = append(r.headers, header{h.Key, h.Value})
	}
	return r
}

// progress waits until n more records are acked.
func (l *load) progress(n int64) {
	l.t.Helper()
	want := l.acks.Load() + n
	for deadline := time.Now().Add(time.Minute); l.acks.Load() < want; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			l.t.Fatalf("%d records acked, waiting for %d", l.acks.Load(), want)
		}
	}
}

// finish stops the writer and, when the readers have caught up and committed, these
// too. It checks that nobody saw an error.
func (l *load) finish(t *testing.T) {
	t.Helper()
	l.stop()
	l.writer.Wait()
	ends, err := kadm.NewClient(connect(t, l.b)).ListEndOffsets(t.Context(), l.topic)
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		behind := ""
		l.mu.Lock()
		ends.Each(func(o kadm.ListedOffset) {
			if l.next[o.Partition] < o.Offset {
				behind += fmt.Sprintf(" partition %d: %d of %d", o.Partition, l.next[o.Partition], o.Offset)
			}
		})
		l.mu.Unlock()
		if behind == "" {
			break
		}
		if time.Now().After(deadline) {
			t.Errorf("the readers have not read all:%s", behind)
			break
		}
	}
	for _, r := range l.two {
		if err := r.cl.CommitUncommittedOffsets(t.Context()); err != nil {
			t.Errorf("commit: %v", err)
		}
	}
	l.end()
	l.reader.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := errors.Join(l.wrong...); err != nil {
		t.Errorf("clients saw errors:\n%v", err)
	}
}

// requireUnmoved checks that no partition went from one reader to the other since
// they shared them.
func (l *load) requireUnmoved(t *testing.T) {
	t.Helper()
	moved := [][]string{l.two[0].told(), l.two[1].told()}
	// One was alone and gave two of the four away: that is all that may happen. They
	// leave in the end.
	told := 0
	for _, m := range moved {
		for _, what := range m {
			switch {
			case strings.HasPrefix(what, "lost"):
				told += 100
			default:
				told++
			}
		}
	}
	if told > 4 {
		t.Errorf("partitions moved: %v", moved)
	}
}
