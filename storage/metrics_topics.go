package storage

import (
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/storage/object"
)

// What an operator wants to know of a topic's table: is it healthy, what does it
// cost. The numbers are made when somebody asks for them, from memory, and for open
// topics only: what is not used has neither changed nor cost anything.

// maxTopicSeries bounds the topics that are told of: beyond it only the first by
// name, so that a client that makes topics cannot fill a Prometheus.
const maxTopicSeries = 1000

// What requests cost in dollars at S3 Standard, us-east-1 (aws.amazon.com/s3/pricing,
// "Requests & data retrievals"): $0.005 per 1,000 PUT, COPY, POST and LIST, $0.0004 per
// 1,000 GET. DELETE is free. Other stores cost less, or nothing.
const (
	dollarsPerWrite = 0.005 / 1000 // and per LIST
	dollarsPerRead  = 0.0004 / 1000
)

// health is what there is to say of an open topic's table.
type health struct {
	files, smallFiles int
	bytes, rows       int64
	logEntries        int64 // since the last checkpoint
	tombstones        int
	// compactionDebt is the size of the files that compaction would merge next.
	compactionDebt int64
	// dirty is how much of a compacted topic could be cleaned.
	dirty int64
	// retentionLag is how much longer than retention.ms the oldest file with visible
	// records has been kept; 0 if nothing is due.
	retentionLag time.Duration
}

// health costs time in proportion to the live files, under t.mu.
func (t *Topic) health(now time.Time) health {
	c := t.committer.Health()
	h := health{logEntries: c.Version - max(c.Checkpoint, 0), tombstones: c.Tombstones}
	t.mu.Lock()
	defer t.mu.Unlock()
	target := t.settings.Load().TargetFileBytes
	for _, f := range t.index.files {
		h.files++
		h.bytes += f.size
		h.rows += f.span.Rows
		if f.size < target/2 {
			h.smallFiles++
		}
	}
	for _, f := range t.pick() {
		h.compactionDebt += f.size
	}
	if t.settings.Load().Compact {
		d := t.dirt(now.UnixMilli())
		h.dirty = d.dirtyBytes
	}
	h.retentionLag = t.retentionLag(now)
	return h
}

// retentionLag is how overdue retention is; t.mu is held.
func (t *Topic) retentionLag(now time.Time) (lag time.Duration) {
	s := t.settings.Load()
	if !s.Delete || s.RetentionMs < 0 {
		return 0
	}
	cutoff := now.UnixMilli() - s.RetentionMs
	for i, p := range t.partitions {
		visible := func(e extent) bool { return e.last >= p.logStart }
		list := t.index.partitions[i]
		if first := slices.IndexFunc(list, visible); first >= 0 {
			lag = max(lag, time.Duration(cutoff-list[first].file.newest())*time.Millisecond)
		}
	}
	return lag
}

// topicGauges is the prometheus.Collector of the open topics' tables.
type topicGauges struct {
	topics func() []*Topic

	files, smallFiles, bytes, rows *prometheus.Desc
	logEntries, tombstones         *prometheus.Desc
	debt, dirty, lag               *prometheus.Desc
	requests, cost                 *prometheus.Desc
}

func newTopicGauges(topics func() []*Topic) *topicGauges {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, append([]string{"topic"}, labels...), nil)
	}
	return &topicGauges{
		topics:     topics,
		files:      desc("sluice_topic_files", "Live data files of an open topic's table."),
		smallFiles: desc("sluice_topic_small_files", "Live data files below half of compaction's target size."),
		bytes:      desc("sluice_topic_bytes", "Bytes of the live data files."),
		rows:       desc("sluice_topic_rows", "Rows of the live data files, as the log says."),
		logEntries: desc("sluice_topic_log_entries", "Entries of the table's log since its last checkpoint."),
		tombstones: desc("sluice_topic_tombstones", "Removed files that the table still names."),
		debt:       desc("sluice_topic_compaction_debt_bytes", "Bytes of the files that compaction would merge next."),
		dirty:      desc("sluice_topic_dirty_bytes", "Bytes of a compacted topic (cleanup.policy=compact) that could be cleaned; 0 of others."),
		lag:        desc("sluice_topic_retention_lag_seconds", "How much longer than retention.ms the oldest file with visible records has been kept; 0 if nothing is due."),
		requests:   desc("sluice_topic_store_requests_total", "Requests to the store for the topic since it was opened, by kind (create, put, get, list, delete).", "kind"),
		cost:       desc("sluice_topic_store_cost_dollars_total", "What those requests would cost at the list prices of S3 Standard: $5 per million writes and lists, $0.40 per million reads."),
	}
}

// Describe is part of prometheus.Collector.
func (g *topicGauges) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{g.files, g.smallFiles, g.bytes, g.rows, g.logEntries, g.tombstones, g.debt, g.dirty, g.lag, g.requests, g.cost} {
		ch <- d
	}
}

// Collect is part of prometheus.Collector. It makes no store requests.
func (g *topicGauges) Collect(ch chan<- prometheus.Metric) {
	topics := g.topics()
	slices.SortFunc(topics, func(a, b *Topic) int { return strings.Compare(a.name, b.name) })
	now := time.Now()
	for _, t := range topics[:min(len(topics), maxTopicSeries)] {
		send := func(desc *prometheus.Desc, kind prometheus.ValueType, value float64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(desc, kind, value, append([]string{t.name}, labels...)...)
		}
		h := t.health(now)
		send(g.files, prometheus.GaugeValue, float64(h.files))
		send(g.smallFiles, prometheus.GaugeValue, float64(h.smallFiles))
		send(g.bytes, prometheus.GaugeValue, float64(h.bytes))
		send(g.rows, prometheus.GaugeValue, float64(h.rows))
		send(g.logEntries, prometheus.GaugeValue, float64(h.logEntries))
		send(g.tombstones, prometheus.GaugeValue, float64(h.tombstones))
		send(g.debt, prometheus.GaugeValue, float64(h.compactionDebt))
		send(g.dirty, prometheus.GaugeValue, float64(h.dirty))
		send(g.lag, prometheus.GaugeValue, h.retentionLag.Seconds())
		n := func(kind object.Kind, calls int64) float64 {
			send(g.requests, prometheus.CounterValue, float64(calls), string(kind))
			return float64(calls)
		}
		writes := n(object.KindCreate, t.calls.Creates.Load()) + n(object.KindPut, t.calls.Puts.Load()) + n(object.KindList, t.calls.Lists.Load())
		reads := n(object.KindGet, t.calls.Gets.Load())
		n(object.KindDelete, t.calls.Deletes.Load())
		send(g.cost, prometheus.CounterValue, writes*dollarsPerWrite+reads*dollarsPerRead)
	}
}
