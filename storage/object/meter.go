package object

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// outcomes are the values of the label outcome, in the order of outcomeOf.
var outcomes = [...]string{"ok", "exists", "not_found", "denied", "canceled", "error"}

// outcomeOf returns the index in outcomes of how a call ended.
func outcomeOf(err error) int {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, ErrExists):
		return 1
	case errors.Is(err, ErrNotFound):
		return 2
	case errors.Is(err, ErrDenied):
		return 3
	case errors.Is(err, context.Canceled): // by the caller, as the slower of two hedged puts: nothing went wrong
		return 4
	}
	return 5
}

// durationBuckets reach from a local disk's page cache to a store in trouble,
// in seconds.
var durationBuckets = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}

// NewMeter returns s with its calls counted in reg:
//
//	sluice_store_requests_total{kind,outcome}      calls by how they ended
//	sluice_store_request_duration_seconds{kind}    their latency, repeats within the store included;
//	                                               of a Stage, until it returns
//	sluice_store_written_bytes_total               bytes of objects written, each Create and Put that was answered ok
//	sluice_store_read_bytes_total                  bytes of objects read
//
// A call is one request unless the store repeats it, Delete's chunks aside.
// Several meters may share a registry; their counts add up. A nil reg counts
// for nobody.
func NewMeter(s Store, reg prometheus.Registerer) Store {
	requests := register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sluice_store_requests_total",
		Help: "Calls of the object store by kind (create, put, get, list, delete) and outcome (ok, exists, not_found, denied, canceled, error).",
	}, []string{"kind", "outcome"}))
	durations := register(reg, prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "sluice_store_request_duration_seconds",
		Help:    "Latency of calls of the object store by kind.",
		Buckets: durationBuckets,
	}, []string{"kind"}))
	m := &meter{
		Store: s,
		written: register(reg, prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sluice_store_written_bytes_total",
			Help: "Bytes of objects written to the object store.",
		})),
		read: register(reg, prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sluice_store_read_bytes_total",
			Help: "Bytes of objects read from the object store.",
		})),
		kinds: map[Kind]kindMeter{},
	}
	for _, kind := range Kinds() {
		k := kindMeter{duration: durations.WithLabelValues(string(kind))}
		for i, outcome := range outcomes {
			k.requests[i] = requests.WithLabelValues(string(kind), outcome)
		}
		m.kinds[kind] = k
	}
	return m
}

// register registers c, or returns what is registered in its place already.
func register[C prometheus.Collector](reg prometheus.Registerer, c C) C {
	if reg == nil {
		return c
	}
	err := reg.Register(c)
	var already prometheus.AlreadyRegisteredError
	if errors.As(err, &already) {
		if existing, ok := already.ExistingCollector.(C); ok {
			return existing
		}
	}
	// Any other error is a metric of this name but of another shape, which only a
	// mistake in this program makes: it is counted for nobody.
	return c
}

// meter is a Store that counts its calls. URL is that of the store within.
type meter struct {
	Store
	kinds         map[Kind]kindMeter // never changed
	written, read prometheus.Counter
}

type kindMeter struct {
	requests [len(outcomes)]prometheus.Counter
	duration prometheus.Observer
}

func (m *meter) count(kind Kind, start time.Time, err error) {
	k := m.kinds[kind]
	k.duration.Observe(time.Since(start).Seconds())
	k.requests[outcomeOf(err)].Inc()
}

func (m *meter) Create(ctx context.Context, key string, body []byte, after ...string) (time.Time, error) {
	start := time.Now()
	now, err := m.Store.Create(ctx, key, body, after...)
	m.count(KindCreate, start, err)
	if err == nil {
		m.written.Add(float64(len(body)))
	}
	return now, err
}

func (m *meter) Put(ctx context.Context, key string, body []byte) (time.Time, error) {
	start := time.Now()
	now, err := m.Store.Put(ctx, key, body)
	m.count(KindPut, start, err)
	if err == nil {
		m.written.Add(float64(len(body)))
	}
	return now, err
}

func (m *meter) Stage(ctx context.Context, key string, body []byte) (time.Time, <-chan struct{}, error) {
	start := time.Now()
	now, settled, err := m.Store.Stage(ctx, key, body)
	m.count(KindPut, start, err)
	if err == nil {
		m.written.Add(float64(len(body)))
	}
	return now, settled, err
}

func (m *meter) Get(ctx context.Context, key string, r Range) (Object, error) {
	start := time.Now()
	o, err := m.Store.Get(ctx, key, r)
	m.count(KindGet, start, err)
	m.read.Add(float64(len(o.Body)))
	return o, err
}

func (m *meter) List(ctx context.Context, req ListRequest) (Listing, error) {
	start := time.Now()
	l, err := m.Store.List(ctx, req)
	m.count(KindList, start, err)
	return l, err
}

func (m *meter) Delete(ctx context.Context, keys ...string) (time.Time, error) {
	start := time.Now()
	now, err := m.Store.Delete(ctx, keys...)
	m.count(KindDelete, start, err)
	return now, err
}
