package bench

import (
	"encoding/binary"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Latency sums up a distribution.
type Latency struct {
	Count  int64         `json:"count"`
	P50    time.Duration `json:"p50_ns"`
	P90    time.Duration `json:"p90_ns"`
	P99    time.Duration `json:"p99_ns"`
	P999   time.Duration `json:"p999_ns"`
	Most   time.Duration `json:"max_ns"`
	Points []Point       `json:"percentiles,omitempty"` // in the result only
}

// Point is a place on the percentile curve.
type Point struct {
	Percentile float64       `json:"percentile"`
	Latency    time.Duration `json:"latency_ns"`
}

// Second is one second of a run, from its beginning on.
type Second struct {
	At       int           `json:"at"` // seconds
	Acked    int64         `json:"acked"`
	Consumed int64         `json:"consumed"`
	P50      time.Duration `json:"p50_ns"` // end to end, of what arrived in this second
	P99      time.Duration `json:"p99_ns"`
}

// histogram is an HDR histogram in microseconds, up to ten minutes, that several
// goroutines may record into.
type histogram struct {
	mu sync.Mutex
	h  *hdrhistogram.Histogram
}

const (
	longest   = 10 * time.Minute
	precision = 3 // significant digits
)

func newHistogram() *histogram {
	return &histogram{h: hdrhistogram.New(1, longest.Microseconds(), precision)}
}

// record takes up latencies. What is beyond ten minutes counts as ten minutes.
func (h *histogram) record(latencies ...time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, d := range latencies {
		_ = h.h.RecordValue(max(1, min(d, longest).Microseconds()))
	}
}

func (h *histogram) latency() Latency {
	h.mu.Lock()
	defer h.mu.Unlock()
	return sum(h.h)
}

// take is latency, and begins anew.
func (h *histogram) take() Latency {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := sum(h.h)
	h.h.Reset()
	return l
}

// curve is latency with the percentile curve.
func (h *histogram) curve() Latency {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := sum(h.h)
	for _, p := range []float64{1, 5, 10, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 99.95, 99.99, 99.999} {
		l.Points = append(l.Points, Point{p, micros(h.h.ValueAtPercentile(p))})
	}
	return l
}

func sum(h *hdrhistogram.Histogram) Latency {
	at := func(p float64) time.Duration { return micros(h.ValueAtPercentile(p)) }
	return Latency{Count: h.TotalCount(), P50: at(50), P90: at(90), P99: at(99), P999: at(99.9), Most: micros(h.Max())}
}

func micros(n int64) time.Duration { return time.Duration(n) * time.Microsecond }

// stamp puts a time in front of a value; the zero time is that of a record that
// does not count.
func stamp(value []byte, at time.Time) {
	nanos := uint64(0)
	if !at.IsZero() {
		nanos = uint64(at.UnixNano())
	}
	binary.BigEndian.PutUint64(value, nanos)
}

// stamped is the time in a value, in ns since 1970; 0 for one that does not count.
func stamped(value []byte) int64 {
	if len(value) < MinSize {
		return 0
	}
	return int64(binary.BigEndian.Uint64(value))
}
