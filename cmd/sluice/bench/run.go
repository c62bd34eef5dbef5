package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// run is one run of a load.
type run struct {
	Load
	producers []*kgo.Client
	consumers []*kgo.Client

	began                         time.Time
	measure                       time.Time // what was meant to be sent before it is warm-up
	sent, acked, failed, consumed atomic.Int64
	// Acked and consumed in the measured time, and when that ended.
	measuredAcks, measuredReads atomic.Int64
	lastRead                    atomic.Int64 // when a consumer got records, ns since 1970
	ack, endToEnd, second       *histogram

	series []Second // owned by watch
}

func newRun(l Load) *run {
	return &run{Load: l, ack: newHistogram(), endToEnd: newHistogram(), second: newHistogram()}
}

// drained is how long consumers may take to read what is left when the sending ends.
const drained = time.Minute

// topicsAtOnce is how many topics one request makes: a broker has 15 s for it.
const topicsAtOnce = 25

// prepare makes the topics and the clients, and waits until all work.
func (r *run) prepare(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	if r.Workload == Read {
		err = r.measureTopic(ctx)
	} else {
		err = r.makeTopics(ctx)
	}
	if err != nil {
		return err
	}
	for range r.Consumers {
		c, err := r.consumer()
		if err != nil {
			return err
		}
		r.consumers = append(r.consumers, c)
	}
	if r.Workload == Read {
		return nil
	}
	for range r.Producers {
		p, err := r.producer()
		if err != nil {
			return err
		}
		r.producers = append(r.producers, p)
		s := &slab{load: &r.Load}
		var first []*kgo.Record
		for _, topic := range r.topics() {
			first = append(first, s.record(topic, time.Time{}))
		}
		if err := p.ProduceSync(ctx, first...).FirstErr(); err != nil {
			return fmt.Errorf("first record: %w", err)
		}
	}
	return nil
}

func (r *run) makeTopics(ctx context.Context) error {
	c, err := kgo.NewClient(kgo.SeedBrokers(r.Brokers...), kgo.ClientID("sluice-bench"))
	if err != nil {
		return err
	}
	defer c.Close()
	admin := kadm.NewClient(c)
	for some := range slices.Chunk(r.topics(), topicsAtOnce) {
		answers, err := admin.CreateTopics(ctx, r.Partitions, 1, r.Configs, some...)
		if err != nil {
			return fmt.Errorf("making topics: %w", err)
		}
		for name, answer := range answers {
			if errors.Is(answer.Err, kerr.TopicAlreadyExists) {
				return fmt.Errorf("topic %s: %w: a load wants a topic of its own; choose another name", name, answer.Err)
			}
			if answer.Err != nil {
				return fmt.Errorf("topic %s: %w: %s", name, answer.Err, answer.ErrMessage)
			}
		}
	}
	return nil
}

// measureTopic counts what is in the topic that is to be read.
func (r *run) measureTopic(ctx context.Context) error {
	c, err := kgo.NewClient(kgo.SeedBrokers(r.Brokers...), kgo.ClientID("sluice-bench"))
	if err != nil {
		return err
	}
	defer c.Close()
	admin := kadm.NewClient(c)
	starts, err := admin.ListStartOffsets(ctx, r.topics()...)
	if err == nil {
		err = starts.Error()
	}
	if err != nil {
		return fmt.Errorf("topic %s: %w", r.Topic, err)
	}
	ends, err := admin.ListEndOffsets(ctx, r.topics()...)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return fmt.Errorf("topic %s: %w", r.Topic, err)
	}
	ends.Each(func(end kadm.ListedOffset) {
		if start, ok := starts.Lookup(end.Topic, end.Partition); ok {
			r.acked.Add(end.Offset - start.Offset)
		}
	})
	if r.acked.Load() == 0 {
		return fmt.Errorf("topic %s has no records to read", r.Topic)
	}
	return nil
}

func (r *run) close() {
	for _, c := range append(r.producers, r.consumers...) {
		c.CloseAllowingRebalance()
	}
}

// run sends and reads.
func (r *run) run(ctx context.Context) (Result, error) {
	r.began = time.Now()
	r.measure = r.began.Add(r.WarmUp)
	reading, stop := context.WithCancel(ctx)
	defer stop()
	var group sync.WaitGroup
	if !r.catchUp() {
		r.startReading(reading, &group)
	}
	group.Go(func() { r.watch(reading) })
	var before, after cost
	costs := make(chan cost, 1)
	group.Go(func() { // what the broker has used when the warm-up ends
		select {
		case <-time.After(time.Until(r.measure)):
		case <-reading.Done():
		}
		costs <- r.Watch.cost(ctx)
	})
	var sending sync.WaitGroup
	for i, p := range r.producers {
		sending.Go(func() { r.send(ctx, p, i) })
	}
	sending.Wait()
	ended := time.Now()
	before = <-costs
	reads := ended
	if r.catchUp() {
		before = r.Watch.cost(ctx)
		reads = time.Now()
		r.measure = time.Time{} // everything counts
		r.startReading(reading, &group)
	}
	r.drain(ctx)
	after = r.Watch.cost(ctx)
	stop()
	group.Wait()
	result := r.result()
	result.Elapsed = ended.Sub(r.began)
	measured := r.began.Add(r.WarmUp)
	records := r.measuredAcks.Load()
	result.Produced = float64(records) / ended.Sub(measured).Seconds()
	if r.catchUp() {
		measured, records = reads, r.measuredReads.Load()
	}
	if read := time.Unix(0, r.lastRead.Load()).Sub(measured).Seconds(); read > 0 && r.Consumers > 0 {
		result.Read = float64(r.measuredReads.Load()) / read / float64(r.Consumers)
	}
	if r.Workload == Read {
		result.Produced, result.Elapsed = 0, time.Unix(0, r.lastRead.Load()).Sub(reads)
	}
	result.Series, result.Ack, result.EndToEnd = r.series, r.ack.curve(), r.endToEnd.curve()
	result.Usage = r.Watch.usage(before, after, records)
	result.ClientCPU = after.own - before.own
	return result, ctx.Err()
}

// catchUp says that reading is measured for itself, when nothing is sent any more.
func (r *run) catchUp() bool { return r.Workload == Backlog || r.Workload == Read }

// drain waits until everything that was acked has been consumed, or long enough.
func (r *run) drain(ctx context.Context) {
	last, at := int64(-1), time.Now()
	for ctx.Err() == nil && r.consumed.Load() < r.acked.Load()*int64(r.Consumers) {
		if n := r.consumed.Load(); n != last {
			last, at = n, time.Now()
		} else if time.Since(at) > drained {
			return // it will not come; the numbers tell
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (r *run) startReading(ctx context.Context, group *sync.WaitGroup) {
	for _, c := range r.consumers {
		group.Go(func() { r.consume(ctx, c) })
	}
}

func (r *run) consume(ctx context.Context, c *kgo.Client) {
	var latencies []time.Duration
	for ctx.Err() == nil {
		fetches := c.PollFetches(ctx)
		now := time.Now()
		measure := r.measure.UnixNano()
		if r.measure.IsZero() {
			measure = 1
		}
		count := int64(0)
		latencies = latencies[:0]
		fetches.EachRecord(func(record *kgo.Record) {
			if r.Workload == Read { // whatever it carries
				count++
				return
			}
			at := stamped(record.Value)
			if at == 0 {
				return
			}
			count++
			if at >= measure {
				latencies = append(latencies, time.Duration(now.UnixNano()-at))
			}
		})
		r.endToEnd.record(latencies...)
		r.second.record(latencies...)
		if r.Workload == Read {
			r.measuredReads.Add(count)
		} else {
			r.measuredReads.Add(int64(len(latencies)))
		}
		if count > 0 {
			r.lastRead.Store(now.UnixNano())
		}
		r.consumed.Add(count)
	}
}

// promise takes the answer to a record.
func (r *run) promise(record *kgo.Record, err error) {
	if err != nil {
		r.failed.Add(1)
		return
	}
	r.acked.Add(1)
	if at := stamped(record.Value); at >= r.began.Add(r.WarmUp).UnixNano() {
		r.measuredAcks.Add(1)
		r.ack.record(time.Duration(time.Now().UnixNano() - at))
	}
}

// watch tells the progress and keeps the series, a second at a time.
func (r *run) watch(ctx context.Context) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	var acked, consumed int64
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		s := r.second.take()
		a, c := r.acked.Load(), r.consumed.Load()
		r.series = append(r.series, Second{
			At: int(time.Since(r.began).Seconds()), Acked: a - acked, Consumed: c - consumed, P50: s.P50, P99: s.P99,
		})
		acked, consumed = a, c
		r.Watch.sample()
		if r.Progress != nil {
			r.Progress(r.result())
		}
	}
}

func (r *run) result() Result {
	return Result{
		Name: r.Name, Workload: r.Workload, Rate: r.Rate, Size: r.Size, Topics: r.Topics, Partition: r.Partitions,
		Producers: r.Producers, Consumers: r.Consumers, Client: r.Client.Name, Linger: r.Client.Linger, InFlight: r.Client.InFlight, Codec: string(r.Codec), Acks: r.Acks,
		Sent: r.sent.Load(), Acked: r.acked.Load(), Consumed: r.consumed.Load(), Failed: r.failed.Load(),
		Elapsed: time.Since(r.began), Ack: r.ack.latency(), EndToEnd: r.endToEnd.latency(),
	}
}
