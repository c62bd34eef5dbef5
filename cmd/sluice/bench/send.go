package bench

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	// tick is how often an open loop sends; the due records of a tick leave together.
	tick = time.Millisecond
	// articleBurst and articleStamp are those of the article's producer: so many
	// messages are sent in one go, of which so many share a time.
	articleBurst = 10_000
	articleStamp = 100
)

// send sends a producer's share of the records.
func (r *run) send(ctx context.Context, p *kgo.Client, index int) {
	s := &sender{run: r, producer: p, slab: slab{load: &r.Load}, topics: r.topics(), next: index}
	switch r.Workload {
	case Open:
		s.open(ctx, index)
	case Article:
		s.article(ctx, index)
	case Max, Backlog:
		s.max(ctx)
	case Sync:
		s.sync(ctx)
	}
	_ = p.Flush(ctx)
}

// sender is a producer at work.
type sender struct {
	*run
	producer *kgo.Client
	slab     slab
	topics   []string
	next     int // topic
}

// produce sends one record that was due at a time.
func (s *sender) produce(ctx context.Context, at time.Time) {
	topic := s.topics[s.next%len(s.topics)]
	s.next++
	s.sent.Add(1)
	s.producer.Produce(ctx, s.slab.record(topic, at), s.promise)
}

// total is the number of records of a run at a fixed rate.
func (s *sender) total() int64 {
	return int64(float64(s.Rate) * (s.WarmUp + s.Duration).Seconds())
}

// due is when the n-th record of all producers is to be sent.
func (s *sender) due(n int64) time.Time {
	return s.began.Add(time.Duration(float64(n) / float64(s.Rate) * float64(time.Second)))
}

// open sends each record when it is due.
func (s *sender) open(ctx context.Context, index int) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	total := s.total()
	for n := int64(index); n < total; {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		due := int64(time.Since(s.began).Seconds() * float64(s.Rate))
		for ; n < min(due, total) && ctx.Err() == nil; n += int64(s.Producers) {
			s.produce(ctx, s.due(n))
		}
	}
}

// article sends a burst when the last record of the one before was due.
func (s *sender) article(ctx context.Context, index int) {
	total := s.total()
	for n := int64(index) * articleBurst; n < total; n += articleBurst * int64(s.Producers) {
		select {
		case <-time.After(time.Until(s.due(n))):
		case <-ctx.Done():
			return
		}
		var at time.Time
		for i := int64(0); i < articleBurst && n+i < total && ctx.Err() == nil; i++ {
			if i%articleStamp == 0 {
				at = time.Now()
			}
			s.produce(ctx, at)
		}
	}
}

// max sends whenever the producer's buffer has room.
func (s *sender) max(ctx context.Context) {
	end := s.began.Add(s.WarmUp + s.Duration)
	for now := time.Now(); now.Before(end) && ctx.Err() == nil; now = time.Now() {
		for range 64 {
			s.produce(ctx, now)
		}
	}
}

// sync sends a record when the one before is acked.
func (s *sender) sync(ctx context.Context) {
	end := s.began.Add(s.WarmUp + s.Duration)
	for now := time.Now(); now.Before(end) && ctx.Err() == nil; now = time.Now() {
		topic := s.topics[s.next%len(s.topics)]
		s.next++
		s.sent.Add(1)
		result := s.producer.ProduceSync(ctx, s.slab.record(topic, now))[0]
		s.promise(result.Record, result.Err)
	}
}
