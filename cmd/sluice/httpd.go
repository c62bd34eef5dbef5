package main

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/pprof"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// httpTimeout bounds the reading of a request and of its headers: nothing here
// takes a body.
const httpTimeout = 10 * time.Second

// httpServer answers /metrics, /healthz and /readyz. Health makes no request to
// the store: probes must not cost anything, and a store that is out for a moment
// is no reason to restart a broker that will serve again by itself.
type httpServer struct {
	server *http.Server
	ready  atomic.Bool // Kafka clients are served
}

func newHTTPServer(metrics prometheus.Gatherer, withPprof bool) *httpServer {
	h := &httpServer{}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Write([]byte("ok\n"))
	})
	mux.HandleFunc("GET /readyz", h.readyz)
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(map[string]string{"version": version()})
	})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Write([]byte("sluice " + version() + "\n\n/metrics\n/healthz\n/readyz\n/version\n"))
	})
	if withPprof {
		// A profile shows memory, and that may hold records: only on request.
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	h.server = &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: httpTimeout,
		ReadTimeout:       httpTimeout,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
	return h
}

// readyz is 503 before the broker serves and once it drains, so that a load
// balancer or a rollout looks elsewhere.
func (h *httpServer) readyz(w http.ResponseWriter, _ *http.Request) {
	if !h.ready.Load() {
		http.Error(w, "not ready", http.StatusServiceUnavailable)
		return
	}
	w.Write([]byte("ready\n"))
}

// serve answers on ln until close; it returns at once.
func (h *httpServer) serve(ln net.Listener, failed func(error)) {
	go func() {
		if err := h.server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			failed(err)
		}
	}()
}

func (h *httpServer) close() { h.server.Close() }

// newRegistry holds the metrics of the Go runtime and of this process; the
// packages that do the work add theirs.
func newRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name:        "sluice_build_info",
			Help:        "1; the version is a label.",
			ConstLabels: prometheus.Labels{"version": version()},
		}, func() float64 { return 1 }),
	)
	return r
}
