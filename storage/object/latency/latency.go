// Package latency makes a store as slow as another one: what a broker does on
// Amazon S3 can be measured anywhere.
package latency

import (
	"context"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"sluice/storage/object"
)

// Distribution is a log-normal distribution of durations, given by two
// quantiles. The zero Distribution is no latency.
type Distribution struct {
	Median time.Duration
	P99    time.Duration
	PerMiB time.Duration // added for each MiB that is written or read
}

// Profile gives the latency of each kind of request; a kind that is missing has none.
type Profile map[object.Kind]Distribution

// S3Standard resembles Amazon S3 Standard within a region: put median 42 ms and
// p99 166 ms (p99 240 ms at 4 MiB), a read's first byte after about 30 ms.
func S3Standard() Profile {
	put := Distribution{Median: 42 * time.Millisecond, P99: 166 * time.Millisecond, PerMiB: 18 * time.Millisecond}
	read := Distribution{Median: 30 * time.Millisecond, P99: 80 * time.Millisecond, PerMiB: 12 * time.Millisecond}
	return Profile{
		object.KindCreate: put, object.KindPut: put, object.KindDelete: put,
		object.KindGet: read, object.KindList: put,
	}
}

// S3Express resembles Amazon S3 Express One Zone: put median 9 ms, p99 18 ms,
// reads in single-digit milliseconds.
func S3Express() Profile {
	put := Distribution{Median: 9 * time.Millisecond, P99: 18 * time.Millisecond, PerMiB: 6 * time.Millisecond}
	read := Distribution{Median: 5 * time.Millisecond, P99: 10 * time.Millisecond, PerMiB: 5 * time.Millisecond}
	return Profile{
		object.KindCreate: put, object.KindPut: put, object.KindDelete: put,
		object.KindGet: read, object.KindList: put,
	}
}

// Profiles are the profiles by name.
var Profiles = map[string]func() Profile{"s3-standard": S3Standard, "s3-express": S3Express}

// New answers a store on top of another one whose requests take at least as long as
// the profile's. The latencies of each kind are a fixed sequence for a seed. A
// request reaches the store within half way through it.
func New(store object.Store, profile Profile, seed uint64) object.Store {
	s := &delayed{Store: store, profile: profile, random: map[object.Kind]*rand.Rand{}}
	for i, kind := range object.Kinds() {
		s.random[kind] = rand.New(rand.NewPCG(seed, uint64(i)))
	}
	return s
}

// delayed is a Store that takes its time. URL is that of the store within.
type delayed struct {
	object.Store
	profile Profile

	mu     sync.Mutex
	random map[object.Kind]*rand.Rand
}

// z99 is the 99th percentile of the standard normal distribution.
const z99 = 2.3263478740408408

// draw is the next latency of a kind, without its bytes.
func (s *delayed) draw(kind object.Kind) time.Duration {
	d := s.profile[kind]
	if d.Median <= 0 {
		return 0
	}
	s.mu.Lock()
	normal := s.random[kind].NormFloat64()
	s.mu.Unlock()
	sigma := math.Log(float64(max(d.P99, d.Median))/float64(d.Median)) / z99
	return time.Duration(float64(d.Median) * math.Exp(sigma*normal))
}

// transfer is what bytes add to a request.
func (s *delayed) transfer(kind object.Kind, bytes int) time.Duration {
	return time.Duration(float64(s.profile[kind].PerMiB) * float64(bytes) / (1 << 20))
}

// travel runs a request half way through its latency, which what it takes itself
// counts towards. The context's end leaves it open whether it took effect, as
// with any store.
func (s *delayed) travel(ctx context.Context, kind object.Kind, written int, request func() (read int)) error {
	began := time.Now()
	total := s.draw(kind) + s.transfer(kind, written)
	if err := wait(ctx, total/2); err != nil {
		return err
	}
	total += s.transfer(kind, request())
	return wait(ctx, total-time.Since(began))
}

func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *delayed) Create(ctx context.Context, key string, body []byte, after ...string) (now time.Time, err error) {
	late := s.travel(ctx, object.KindCreate, len(body), func() int { now, err = s.Store.Create(ctx, key, body, after...); return 0 })
	return now, first(late, err)
}

func (s *delayed) Put(ctx context.Context, key string, body []byte) (now time.Time, err error) {
	late := s.travel(ctx, object.KindPut, len(body), func() int { now, err = s.Store.Put(ctx, key, body); return 0 })
	return now, first(late, err)
}

// Stage is Put: the stores that a latency is that of have nothing quicker.
func (s *delayed) Stage(ctx context.Context, key string, body []byte) (time.Time, <-chan struct{}, error) {
	now, err := s.Put(ctx, key, body)
	return now, nil, err
}

func (s *delayed) Get(ctx context.Context, key string, r object.Range) (o object.Object, err error) {
	late := s.travel(ctx, object.KindGet, 0, func() int { o, err = s.Store.Get(ctx, key, r); return len(o.Body) })
	return o, first(late, err)
}

func (s *delayed) List(ctx context.Context, req object.ListRequest) (l object.Listing, err error) {
	late := s.travel(ctx, object.KindList, 0, func() int { l, err = s.Store.List(ctx, req); return 0 })
	return l, first(late, err)
}

func (s *delayed) Delete(ctx context.Context, keys ...string) (now time.Time, err error) {
	late := s.travel(ctx, object.KindDelete, 0, func() int { now, err = s.Store.Delete(ctx, keys...); return 0 })
	return now, first(late, err)
}

// first is the answer's error unless the caller gave up before it came.
func first(late, err error) error {
	if late != nil {
		return late
	}
	return err
}
