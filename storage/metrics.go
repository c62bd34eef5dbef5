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
	blockHits, blockMisses prometheus.Counter
	cleaned                prometheus.Counter
}

// newMetrics makes the metrics and registers them, if r is not nil.
func newMetrics(r prometheus.Registerer) *metrics {
	reads := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sluice_cache_reads_total",
		Help: "Reads of the tail cache (batches as produced) and of the block cache (batches rebuilt from files), by outcome.",
	}, []string{"cache", "outcome"})
	m := &metrics{
		phases: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "sluice_commit_phase_seconds",
			Help: "Latency of the phases of a commit: pool (waiting for company), encode, upload, turn (waiting for the log), log.",
			// 0.1 ms to 19 s; close enough to each other to tell a median
			Buckets: prometheus.ExponentialBuckets(0.0001, math.Sqrt2, 36),
		}, []string{"phase"}),
		tailHits: reads.WithLabelValues("tail", "hit"), tailMisses: reads.WithLabelValues("tail", "miss"),
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
