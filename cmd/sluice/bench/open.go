// Package bench loads a Kafka broker, any one, and measures what its users would
// see: how long a record takes to be acked, and to be consumed.
package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Open is an open-loop load: records leave at a fixed rate whether or not the
// broker keeps up. Each carries the time at which it was meant to be sent, so that a
// stall of broker or client counts in full (no coordinated omission).
type Open struct {
	Brokers    []string
	Topic      string // made anew, with Partitions; it must not exist
	Partitions int32
	Configs    map[string]*string // of the topic
	Rate       int                // records per second
	Size       int                // of a value in bytes, at least 8
	Duration   time.Duration      // measured, after WarmUp
	WarmUp     time.Duration
	Linger     time.Duration // of the producer
	Producers  int
	Codec      kgo.CompressionCodec
	// Progress, if not nil, is called each second.
	Progress func(Result)
}

// Result is what was measured. Latencies are from the intended time of sending.
type Result struct {
	Sent, Acked, Consumed int64 // records, warm-up included
	Failed                int64
	Elapsed               time.Duration
	Ack, EndToEnd         Latency
}

// Latency sums up a distribution.
type Latency struct {
	Count                     int64
	P50, P90, P99, P999, Most time.Duration
}

// tick is how often records are sent; the due ones of a tick leave together.
const tick = time.Millisecond

// maxBuffered records may wait in the producers; a broker that falls behind
// further makes the load wait, which the latencies show.
const maxBuffered = 1 << 20

// histogram is an HDR histogram in microseconds, up to ten minutes, that several
// goroutines may record into.
type histogram struct {
	mu sync.Mutex
	h  *hdrhistogram.Histogram
}

func newHistogram() *histogram {
	return &histogram{h: hdrhistogram.New(1, 10*time.Minute.Microseconds(), 3)}
}

func (h *histogram) record(d time.Duration, n int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	_ = h.h.RecordValues(max(1, d.Microseconds()), n) // beyond ten minutes is not counted
}

func (h *histogram) latency() Latency {
	h.mu.Lock()
	defer h.mu.Unlock()
	at := func(q float64) time.Duration { return time.Duration(h.h.ValueAtQuantile(q)) * time.Microsecond }
	return Latency{
		Count: h.h.TotalCount(), P50: at(50), P90: at(90), P99: at(99), P999: at(99.9),
		Most: time.Duration(h.h.Max()) * time.Microsecond,
	}
}

// run is one run of a load.
type run struct {
	Open
	began                         time.Time
	measure                       time.Time // what was meant to be sent before it is warm-up
	sent, acked, failed, consumed atomic.Int64
	ack, endToEnd                 *histogram
}

// Run makes the topic, runs the load and answers what was measured.
func (o Open) Run(ctx context.Context) (Result, error) {
	if o.Rate < 1 || o.Size < 8 || o.Producers < 1 || o.Duration <= 0 {
		return Result{}, errors.New("rate, producers and duration must be positive, and a value holds at least 8 bytes")
	}
	r := &run{Open: o, ack: newHistogram(), endToEnd: newHistogram()}
	consumer, err := r.prepare(ctx)
	if err != nil {
		return Result{}, err
	}
	defer consumer.Close()
	var producers []*kgo.Client
	for range o.Producers {
		p, err := kgo.NewClient(
			kgo.SeedBrokers(o.Brokers...), kgo.DefaultProduceTopic(o.Topic), kgo.ProducerLinger(o.Linger),
			kgo.ProducerBatchCompression(o.Codec), kgo.MaxBufferedRecords(maxBuffered/o.Producers),
			kgo.RecordPartitioner(kgo.RoundRobinPartitioner()), kgo.ClientID("sluice-bench"),
		)
		if err != nil {
			return Result{}, err
		}
		defer p.Close()
		if err := p.ProduceSync(ctx, r.value(time.Time{})).FirstErr(); err != nil {
			return Result{}, fmt.Errorf("first record: %w", err)
		}
		producers = append(producers, p)
	}
	r.began = time.Now()
	r.measure = r.began.Add(o.WarmUp)
	consuming, stop := context.WithCancel(ctx)
	defer stop()
	var group sync.WaitGroup
	group.Go(func() { r.consume(consuming, consumer) })
	group.Go(func() { r.report(consuming) })
	var sending sync.WaitGroup
	for i, p := range producers {
		sending.Go(func() { r.send(ctx, p, i) })
	}
	sending.Wait()
	for deadline := time.Now().Add(time.Minute); ctx.Err() == nil && time.Now().Before(deadline) && r.consumed.Load() < r.acked.Load(); {
		time.Sleep(10 * time.Millisecond)
	}
	stop()
	group.Wait()
	return r.result(), ctx.Err()
}

// prepare makes the topic and a consumer of it.
func (r *run) prepare(ctx context.Context) (*kgo.Client, error) {
	c, err := kgo.NewClient(
		kgo.SeedBrokers(r.Brokers...), kgo.ConsumeTopics(r.Topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.ClientID("sluice-bench"), kgo.FetchMaxWait(500*time.Millisecond),
	)
	if err != nil {
		return nil, err
	}
	answer, err := kadm.NewClient(c).CreateTopic(ctx, r.Partitions, 1, r.Configs, r.Topic)
	if err == nil {
		err = answer.Err
	}
	if errors.Is(err, kerr.TopicAlreadyExists) {
		err = fmt.Errorf("%w: a load wants a topic of its own; choose another name", err)
	}
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("topic %s: %w", r.Topic, err)
	}
	return c, nil
}

// value is a record that carries a time; the zero time marks one that does not count.
func (r *run) value(at time.Time) *kgo.Record {
	v := make([]byte, r.Size)
	if !at.IsZero() {
		binary.BigEndian.PutUint64(v, uint64(at.UnixNano()))
	}
	for i := 8; i < len(v); i++ { // text that compresses like text
		v[i] = "the quick brown fox jumps over the lazy dog 0123456789"[(i*7+int(v[7]))%54]
	}
	return kgo.SliceRecord(v)
}

// send sends this producer's share of the records, each when it is due.
func (r *run) send(ctx context.Context, p *kgo.Client, index int) {
	total := int64(float64(r.Rate) * (r.WarmUp + r.Duration).Seconds())
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	next := int64(index)
	for next < total {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		due := int64(time.Since(r.began).Seconds() * float64(r.Rate))
		for ; next < min(due, total); next += int64(r.Producers) {
			at := r.began.Add(time.Duration(float64(next) / float64(r.Rate) * float64(time.Second)))
			r.sent.Add(1)
			p.Produce(ctx, r.value(at), func(_ *kgo.Record, err error) {
				if err != nil {
					r.failed.Add(1)
					return
				}
				r.acked.Add(1)
				if !at.Before(r.measure) {
					r.ack.record(time.Since(at), 1)
				}
			})
		}
	}
	_ = p.Flush(ctx)
}

func (r *run) consume(ctx context.Context, c *kgo.Client) {
	for ctx.Err() == nil {
		fetches := c.PollFetches(ctx)
		now := time.Now()
		fetches.EachRecord(func(record *kgo.Record) {
			nanos := int64(binary.BigEndian.Uint64(record.Value))
			if nanos == 0 {
				return
			}
			r.consumed.Add(1)
			if at := time.Unix(0, nanos); !at.Before(r.measure) {
				r.endToEnd.record(now.Sub(at), 1)
			}
		})
	}
}

func (r *run) report(ctx context.Context) {
	if r.Progress == nil {
		return
	}
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			r.Progress(r.result())
		case <-ctx.Done():
			return
		}
	}
}

func (r *run) result() Result {
	return Result{
		Sent: r.sent.Load(), Acked: r.acked.Load(), Consumed: r.consumed.Load(), Failed: r.failed.Load(),
		Elapsed: time.Since(r.began), Ack: r.ack.latency(), EndToEnd: r.endToEnd.latency(),
	}
}
