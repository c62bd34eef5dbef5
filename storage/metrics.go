package storage

import (
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/storage/delta"
)

// metrics are storage's Prometheus metrics.
type metrics struct {
	phases                 *prometheus.HistogramVec
	tailHits, tailMisses   prometheus.Counter
	diskHits, diskMisses   prometheus.Counter
	blockHits, blockMisses prometheus.Counter
	cleaned                prometheus.Counter
}

// registerDisk registers the disk cache's own metrics.
func registerDisk(r prometheus.Registerer, d *diskCache) {
	of := func(value *int64) func() float64 {
		return func() float64 {
			d.mu.Lock()
			defer d.mu.Unlock()
			return float64(*value)
		}
	}
	r.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "sluice_cache_disk_bytes",
			Help: "What the disk cache takes up on the disk.",
		}, of(&d.bytes)),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "sluice_cache_disk_written_bytes_total",
			Help: "Bytes of batches written to the disk cache.",
		}, of(&d.written)),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "sluice_cache_disk_dropped_bytes_total",
			Help: "Bytes of batches left out of the disk cache, since the disk was too slow for them.",
		}, of(&d.dropped)),
	)
}

// newMetrics makes the metrics and registers them, if r is not nil.
func newMetrics(r prometheus.Registerer) *metrics {
	reads := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sluice_cache_reads_total",
		Help: "Reads of the tail cache (batches as produced), of the disk cache (the same, on the broker's disk) and of the block cache (batches rebuilt from files), by outcome.",
	}, []string{"cache", "outcome"})
	m := &metrics{
		phases: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "sluice_commit_phase_seconds",
			Help: "Latency of the phases of a commit: pool (waiting for company), encode, upload, turn (waiting for the log), log.",
			// 0.1 ms to 19 s; close enough to each other to tell a median
			Buckets: prometheus.ExponentialBuckets(0.0001, math.Sqrt2, 36),
		}, []string{"phase"}),
		tailHits: reads.WithLabelValues("tail", "hit"), tailMisses: reads.WithLabelValues("tail", "miss"),
		diskHits: reads.WithLabelValues("disk", "hit"), diskMisses: reads.WithLabelValues("disk", "miss"),
		blockHits: reads.WithLabelValues("block", "hit"), blockMisses: reads.WithLabelValues("block", "miss"),
		cleaned: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sluice_cleaned_records_total",
			Help: "Records that have left compacted topics (cleanup.policy=compact) for their keys.",
		}),
	}
	if r != nil {
		r.MustRegister(reads, m.phases, m.cleaned)
	}
	return m
}

func (m *metrics) observe(p delta.Phase, d time.Duration) {
	m.phases.WithLabelValues(string(p)).Observe(d.Seconds())
}
