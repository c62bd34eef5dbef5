package broker

import (
	"errors"
	"reflect"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// maxTopicSeries bounds the per-topic series: beyond it only the first topics by
// name are told, so that a client that makes topics cannot fill a Prometheus.
const maxTopicSeries = 5000

// latencyBuckets are in seconds: from a cache hit to a store that is down.
var latencyBuckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}

// metrics are the numbers of one broker. They are counted from the start, whether
// or not anybody collects them.
type metrics struct {
	requests *prometheus.CounterVec // by api
	errors   *prometheus.CounterVec // by api and error
	latency  *prometheus.HistogramVec
	produce  prometheus.Observer
	fetch    prometheus.Observer
	received prometheus.Counter
	sent     prometheus.Counter
	accepted prometheus.Counter
	refused  prometheus.Counter
	garbage  prometheus.Counter
	panics   prometheus.Counter
}

func newMetrics() *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_requests_total", Help: "Requests answered, by API."}, []string{"api"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_request_errors_total", Help: "Kafka errors in answers, by API and error; one answer can hold many."}, []string{"api", "error"}),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "sluice_request_duration_seconds", Help: "From the arrival of a Produce or Fetch to its answer; a Fetch that waits for records included.",
			Buckets: latencyBuckets}, []string{"api"}),
		received: counter("sluice_received_bytes_total", "Bytes of requests."),
		sent:     counter("sluice_sent_bytes_total", "Bytes of answers."),
		accepted: counter("sluice_connections_total", "Connections accepted."),
		refused:  counter("sluice_connections_refused_total", "Connections closed at once, as there were too many."),
		garbage:  counter("sluice_garbage_total", "Connections closed for what they sent."),
		panics:   counter("sluice_panics_total", "Requests that met a bug."),
	}
	m.produce = m.latency.WithLabelValues(kmsg.Produce.Name())
	m.fetch = m.latency.WithLabelValues(kmsg.Fetch.Name())
	return m
}

// Register adds the broker's metrics to a registry.
func (b *Broker) Register(registry prometheus.Registerer) error {
	m := b.metrics
	all := []prometheus.Collector{
		m.requests, m.errors, m.latency, m.received, m.sent, m.accepted, m.refused, m.garbage, m.panics, b.gauges(),
	}
	var err error
	for _, c := range all {
		err = errors.Join(err, registry.Register(c))
	}
	return err
}

// observe counts an answer, which is nil for acks=0 or if err is set.
func (m *metrics) observe(r *request, response kmsg.Response, err error) {
	name := r.api.key.Name()
	m.requests.WithLabelValues(name).Inc()
	switch r.api.key {
	case kmsg.Produce:
		m.produce.Observe(time.Since(r.received).Seconds())
	case kmsg.Fetch:
		m.fetch.Observe(time.Since(r.received).Seconds())
	}
	if err != nil {
		m.errors.WithLabelValues(name, "closed").Inc()
		return
	}
	eachError(response, func(code int16) {
		text := "UNKNOWN"
		if e := kerr.TypedErrorForCode(code); e != nil {
			text = e.Message
		}
		m.errors.WithLabelValues(name, text).Inc()
	})
}

// eachError calls f with every error code but 0 of a response. The large and
// frequent ones are looked through by hand.
func eachError(response kmsg.Response, f func(code int16)) {
	some := func(code int16) {
		if code != 0 {
			f(code)
		}
	}
	switch resp := response.(type) {
	case nil:
	case *kmsg.ProduceResponse:
		for i := range resp.Topics {
			for j := range resp.Topics[i].Partitions {
				some(resp.Topics[i].Partitions[j].ErrorCode)
			}
		}
	case *fetchResponse:
		some(resp.ErrorCode)
		for i := range resp.topics {
			for j := range resp.topics[i].partitions {
				some(fetchErrorCode(resp.topics[i].partitions[j].err))
			}
		}
	case *kmsg.MetadataResponse:
		for i := range resp.Topics {
			some(resp.Topics[i].ErrorCode)
		}
	default:
		errorsWithin(reflect.ValueOf(response), some)
	}
}

// errorsWithin finds the fields called ErrorCode at any depth.
func errorsWithin(v reflect.Value, f func(code int16)) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			errorsWithin(v.Elem(), f)
		}
	case reflect.Slice:
		for i := range v.Len() {
			errorsWithin(v.Index(i), f)
		}
	case reflect.Struct:
		for _, field := range errorFields(v.Type()) {
			if field := v.Field(field); field.Kind() == reflect.Slice {
				errorsWithin(field, f)
			} else {
				f(int16(field.Int()))
			}
		}
	}
}

// errorFieldsOf remembers errorFields by type: an answer may have thousands of structs.
var errorFieldsOf sync.Map // reflect.Type -> []int

// errorFields are the fields of a struct that are an ErrorCode, or lists with some within.
func errorFields(t reflect.Type) []int {
	if known, ok := errorFieldsOf.Load(t); ok {
		return known.([]int)
	}
	var fields []int
	for i := range t.NumField() {
		field := t.Field(i)
		list := field.Type.Kind() == reflect.Slice && field.Type.Elem().Kind() == reflect.Struct
		if field.Name == "ErrorCode" || list && len(errorFields(field.Type.Elem())) > 0 {
			fields = append(fields, i)
		}
	}
	errorFieldsOf.Store(t, fields)
	return fields
}

// gauges are read from the broker when somebody collects.
type gauges struct {
	broker      *Broker
	connections *prometheus.Desc
	queued      *prometheus.Desc
	memory      *prometheus.Desc
	limit       *prometheus.Desc
	topics      *prometheus.Desc
	partitions  *prometheus.Desc
	version     *prometheus.Desc
}

func (b *Broker) gauges() *gauges {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &gauges{
		broker:      b,
		connections: desc("sluice_connections", "Open connections."),
		queued:      desc("sluice_requests_queued", "Requests that were read and not answered yet."),
		memory:      desc("sluice_request_memory_bytes", "Memory budget in use by requests.", "budget"),
		limit:       desc("sluice_request_memory_limit_bytes", "The memory budget's size.", "budget"),
		topics:      desc("sluice_topics", "Topics."),
		partitions:  desc("sluice_partitions", "Partitions of all topics."),
		version:     desc("sluice_topic_table_version", "Newest known version of an open topic's Delta table.", "topic"),
	}
}

// Describe is part of prometheus.Collector.
func (g *gauges) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{g.connections, g.queued, g.memory, g.limit, g.topics, g.partitions, g.version} {
		ch <- d
	}
}

// Collect is part of prometheus.Collector. It makes no store requests.
func (g *gauges) Collect(ch chan<- prometheus.Metric) {
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	open, queued := g.broker.conns.count()
	gauge(g.connections, float64(open))
	gauge(g.queued, float64(queued))
	gauge(g.memory, float64(g.broker.produceMemory.used.Load()), "produce")
	gauge(g.memory, float64(g.broker.otherMemory.used.Load()), "other")
	gauge(g.memory, float64(g.broker.answerMemory.used.Load()), "answers")
	gauge(g.limit, float64(g.broker.produceMemory.limit), "produce")
	gauge(g.limit, float64(g.broker.answerMemory.limit), "answers")
	gauge(g.limit, float64(g.broker.otherMemory.limit), "other")

	topics, partitions := g.broker.topics.Totals()
	gauge(g.topics, float64(topics))
	gauge(g.partitions, float64(partitions))

	series, all := 0, g.broker.topics.All()
	for i := range all {
		if series == maxTopicSeries {
			break
		}
		if topic, ok := g.broker.topics.OpenTopic(all[i].Name); ok {
			gauge(g.version, float64(topic.Version()), all[i].Name)
			series++
		}
	}
}
