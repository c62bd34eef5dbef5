package broker

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func TestReadinessFollowsTheListenersAndTheStore(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		synctest.Wait()
		var down error
		asked := 0
		handler := w.broker.Handler(prometheus.NewRegistry(), func(context.Context) error { asked++; return down })
		status := func(path string) int {
			rec := httptest.NewRecorder()
			handler.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, path, nil))
			return rec.Code
		}
		for range 100 {
			if status("/readyz") != 200 {
				t.Fatal("it is not ready")
			}
		}
		if asked != 1 {
			t.Errorf("the store was asked %d times", asked)
		}
		down = errors.New("no route")
		time.Sleep(storeCheckEvery)
		if status("/readyz") != 503 || status("/healthz") != 200 {
			t.Error("an unreachable store shows wrongly")
		}
		down = nil
		time.Sleep(storeCheckEvery)
		w.closeClients()
		w.stop()
		if status("/readyz") != 503 || status("/healthz") != 200 {
			t.Error("a stopped broker shows wrongly")
		}
		w.start()
	})
}

func TestMetricsTellWhatWasDone(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		registry := prometheus.NewRegistry()
		if err := w.broker.Register(registry); err != nil {
			t.Fatal(err)
		}
		w.produce(w.client(), "t", 0, 10)
		w.fetch("nowhere", 0, 0, 0)
		handler := w.broker.Handler(registry, func(context.Context) error { return nil })
		rec := httptest.NewRecorder()
		handler.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		text := rec.Body.String()
		for _, want := range []string{
			`sluice_requests_total{api="Produce"} 1`,
			`sluice_request_errors_total{api="Fetch",error="UNKNOWN_TOPIC_OR_PARTITION"} 1`,
			`sluice_request_duration_seconds_count{api="Produce"} 1`,
			`sluice_topics 1`,
			`sluice_topic_table_version{topic="t"}`,
			`sluice_request_memory_bytes{budget="produce"} 0`,
		} {
			if !strings.Contains(text, want) {
				t.Errorf("%s is missing in\n%s", want, text)
			}
		}
	})
}
