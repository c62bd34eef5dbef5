package mem

import (
	"encoding/binary"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"time"

	"sluice/storage/object"
)

// Distribution is a log-normal distribution of durations, given by two
// quantiles. The zero Distribution is no latency.
type Distribution struct {
	Median time.Duration
	P99    time.Duration
	PerMiB time.Duration // added for each MiB that is written
}

// Profile gives the latency of each kind of request; a kind that is missing has none.
type Profile map[object.Kind]Distribution

// S3Standard resembles Amazon S3 Standard within a region: put median 42 ms and
// p99 166 ms (p99 240 ms at 4 MiB), a read's first byte after about 30 ms.
func S3Standard() Profile {
	put := Distribution{Median: 42 * time.Millisecond, P99: 166 * time.Millisecond, PerMiB: 18 * time.Millisecond}
	read := Distribution{Median: 30 * time.Millisecond, P99: 80 * time.Millisecond}
	return Profile{
		object.KindCreate: put, object.KindPut: put, object.KindDelete: put,
		object.KindGet: read, object.KindList: put,
	}
}

// S3Express resembles Amazon S3 Express One Zone: put median 9 ms, p99 18 ms,
// reads in single-digit milliseconds.
func S3Express() Profile {
	put := Distribution{Median: 9 * time.Millisecond, P99: 18 * time.Millisecond, PerMiB: 6 * time.Millisecond}
	read := Distribution{Median: 5 * time.Millisecond, P99: 10 * time.Millisecond}
	return Profile{
		object.KindCreate: put, object.KindPut: put, object.KindDelete: put,
		object.KindGet: read, object.KindList: put,
	}
}

// SetLatency gives each request of this handle a latency of its kind's
// distribution; nil is none. A latency depends on seed, kind, key and attempt
// only: a run repeats itself whatever the order of goroutines. A request is
// applied half way through it.
func (s *Store) SetLatency(p Profile, seed uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.latency, s.attempts = nil, nil
	if p != nil {
		s.latency = &latency{profile: p, seed: seed}
	}
}

type latency struct {
	profile Profile
	seed    uint64
}

// z99 is the 99th percentile of the standard normal distribution.
const z99 = 2.3263478740408408

func (l *latency) of(req Request) time.Duration {
	if l == nil {
		return 0
	}
	d := l.profile[req.Kind]
	if d.Median <= 0 {
		return 0
	}
	sigma := math.Log(float64(max(d.P99, d.Median))/float64(d.Median)) / z99
	t := float64(d.Median) * math.Exp(sigma*req.random(l.seed).NormFloat64())
	return time.Duration(t + float64(d.PerMiB)*float64(req.Size)/(1<<20))
}

// random returns a source that depends on the request and seed only.
func (req Request) random(seed uint64) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(req.Kind))
	h.Write([]byte(req.Key))
	var attempt [8]byte
	binary.LittleEndian.PutUint64(attempt[:], uint64(req.Attempt))
	h.Write(attempt[:])
	return rand.New(rand.NewPCG(seed, h.Sum64()))
}
