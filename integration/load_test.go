//go:build integration

package integration

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// load is a producer that never stops writing to a topic, and a group of two that
// reads it, all of which may see their broker vanish and return and must not mind.
type load struct {
	t      *testing.T
	topic  string
	stop   context.CancelFunc // of the producer
	writer sync.WaitGroup
	acks   atomic.Int64 // how many records were acked

	mu     sync.Mutex
	acked  []record // in the order of acks; guarded by mu
	wrong  []error  // guarded by mu
	two    []*reader
	reader sync.WaitGroup
	end    context.CancelFunc // of the readers
}

// reader is a member of the load's group.
type reader struct {
	cl       *kgo.Client
	mu       sync.Mutex
	read     []record
	assigned []string // what it was told of its partitions
}

// batchEvery is the pace of the producer: some thousand records a second.
const (
	batchEvery   = 5 * time.Millisecond
	batchRecords = 10
)

// startLoad starts writing and reading.
func startLoad(t *testing.T, b *sluice, topic string) *load {
	t.Helper()
	l := &load{t: t, topic: topic}
	createTopic(t, connect(t, b), topic)

	ctx, end := context.WithCancel(t.Context())
	l.end = end
	t.Cleanup(func() { end(); l.reader.Wait() })
	for i := range 2 {
		r := &reader{}
		told := func(what string) func(context.Context, *kgo.Client, map[string][]int32) {
			return func(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
				r.mu.Lock()
				defer r.mu.Unlock()
				if len(partitions[topic]) > 0 {
					r.assigned = append(r.assigned, fmt.Sprint(what, " ", partitions[topic]))
				}
			}
		}
		r.cl = connect(t, b, kgo.ConsumerGroup("group-of-"+topic), kgo.ConsumeTopics(topic), kgo.ClientID(fmt.Sprint("member", i)),
			kgo.Balancers(kgo.CooperativeStickyBalancer()), kgo.AutoCommitInterval(200*time.Millisecond),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(500*time.Millisecond),
			kgo.OnPartitionsAssigned(told("assigned")), kgo.OnPartitionsRevoked(told("revoked")), kgo.OnPartitionsLost(told("lost")),
			kgo.AutoCommitCallback(func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
				l.committed(resp, err)
			}))
		l.two = append(l.two, r)
		l.reader.Go(func() { l.consume(ctx, r) })
	}
	l.balance()

	writing, stop := context.WithCancel(t.Context())
	l.stop = stop
	t.Cleanup(func() { stop(); l.writer.Wait() })
	cl := connect(t, b, kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()),
		kgo.ProducerBatchCompression(kgo.Lz4Compression()), kgo.MaxBufferedRecords(100_000))
	l.writer.Go(func() { l.produce(writing, cl) })
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

func (l *load) produce(ctx context.Context, cl *kgo.Client) {
	tick := time.NewTicker(batchEvery)
	defer tick.Stop()
	for n := 0; ; {
		select {
		case <-ctx.Done():
			// What is written is acked, however long the broker is away.
			if err := cl.Flush(l.t.Context()); err != nil {
				l.fail(fmt.Errorf("flush: %w", err))
			}
			return
		case <-tick.C:
		}
		for range batchRecords {
			kr := &kgo.Record{Key: fmt.Appendf(nil, "%d", n), Value: fmt.Appendf(nil, "record %d of the load", n)}
			n++
			cl.Produce(l.t.Context(), kr, func(kr *kgo.Record, err error) {
				if err != nil {
					l.fail(fmt.Errorf("record %s: %w", kr.Key, err))
					return
				}
				l.mu.Lock()
				l.acked = append(l.acked, fromKgo(kr))
				l.mu.Unlock()
				l.acks.Add(1)
			})
		}
	}
}

func (l *load) consume(ctx context.Context, r *reader) {
	for {
		fetches := r.cl.PollFetches(ctx)
		if ctx.Err() != nil {
			return
		}
		fetches.EachError(func(_ string, p int32, err error) {
			l.fail(fmt.Errorf("a reader, partition %d: %w", p, err))
		})
		r.mu.Lock()
		fetches.EachRecord(func(kr *kgo.Record) { r.read = append(r.read, fromKgo(kr)) })
		r.mu.Unlock()
	}
}

// committed takes the answer to an offset commit. That a broker went away is
// nothing to tell a user: the client commits again.
func (l *load) committed(resp *kmsg.OffsetCommitResponse, err error) {
	if err != nil || resp == nil {
		return
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if p.ErrorCode != 0 {
				l.fail(fmt.Errorf("commit of partition %d: %w", p.Partition, kerr.ErrorForCode(p.ErrorCode)))
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

// finish stops the writer and, when the readers have caught up, these too. It
// returns what was acked, after it has checked that nobody saw an error, that no
// partition moved, and that the readers read each acked record once, and nothing
// else.
func (l *load) finish(t *testing.T) map[id]record {
	t.Helper()
	l.stop()
	l.writer.Wait()
	l.mu.Lock()
	wrong := errors.Join(l.wrong...)
	acked := l.acked
	l.mu.Unlock()
	if wrong != nil {
		t.Fatalf("clients saw errors:\n%v", wrong)
	}
	want := index(t, acked)
	requireDense(t, want)

	var got []record
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		got = nil
		for _, r := range l.two {
			r.mu.Lock()
			requireInOrder(t, "a reader", r.read)
			got = append(got, r.read...)
			r.mu.Unlock()
		}
		if len(got) >= len(want) || time.Now().After(deadline) {
			break
		}
	}
	moved := [][]string{l.two[0].told(), l.two[1].told()}
	for _, r := range l.two {
		if err := r.cl.CommitUncommittedOffsets(t.Context()); err != nil {
			t.Errorf("commit: %v", err)
		}
	}
	l.end()
	l.reader.Wait()
	requireSame(t, "the group", want, got)
	// One was alone and gave two of the four away: that is all that may happen.
	told := 0
	for _, m := range moved {
		told += len(m)
		for _, what := range m {
			if strings.HasPrefix(what, "lost") {
				told += 100
			}
		}
	}
	if told > 4 {
		t.Errorf("partitions moved: %v", moved)
	}
	return want
}
