package broker

import (
	"context"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const (
	// storeCheckEvery is how long an answer of the store counts for /readyz: probes
	// of many kinds must not cost store requests.
	storeCheckEvery = 10 * time.Second
	// storeCheckTimeout is how long the store may take to be called reachable.
	storeCheckTimeout = 5 * time.Second
)

// Handler serves what operators and their probes look at, on a port of its own:
//
//	/healthz  200 while the process works
//	/readyz   200 while all listeners accept and the store answers, otherwise 503 and why
//	/metrics  Prometheus, from gatherer
//
// checkStore asks the store for something small; it is called at most once in 10 s.
func (b *Broker) Handler(gatherer prometheus.Gatherer, checkStore func(context.Context) error) http.Handler {
	check := newStoreCheck(checkStore)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Write([]byte("ok\n"))
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if !b.accepting() {
			http.Error(w, "not serving", http.StatusServiceUnavailable)
			return
		}
		if err := check.reachable(r.Context()); err != nil {
			http.Error(w, "store: "+err.Error(), http.StatusServiceUnavailable)
			return
		}
		w.Write([]byte("ready\n"))
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(gatherer, promhttp.HandlerOpts{}))
	return mux
}

// accepting reports whether clients can come in at every listener.
func (b *Broker) accepting() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.stopped && b.serving >= len(b.listeners)
}

// storeCheck remembers what the store answered. Safe for concurrent use.
type storeCheck struct {
	ask func(context.Context) error

	// turn is held by the one who asks, so that the others wait for its answer; it
	// guards at and err.
	turn chan struct{}
	at   time.Time
	err  error
}

func newStoreCheck(ask func(context.Context) error) *storeCheck {
	return &storeCheck{ask: ask, turn: make(chan struct{}, 1)}
}

func (c *storeCheck) reachable(ctx context.Context) error {
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if !c.at.IsZero() && time.Since(c.at) < storeCheckEvery {
		return c.err
	}
	// The answer is for all who ask, so the first one's leaving does not end the question.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeCheckTimeout)
	defer cancel()
	c.err = c.ask(ctx)
	c.at = time.Now()
	return c.err
}
