package storage

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/storage/object/mem"
)

// topicSeries gathers what is told of topics: by name, and by name and kind.
func topicSeries(t *testing.T, reg *prometheus.Registry, topic string) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name, mine := f.GetName(), false
			for _, label := range m.GetLabel() {
				mine = mine || label.GetName() == "topic" && label.GetValue() == topic
				if label.GetName() == "kind" {
					name += "/" + label.GetValue()
				}
			}
			if mine {
				got[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	return got
}

func TestMetricsTellHowATableStandsAndWhatItCosts(t *testing.T) {
	reg := prometheus.NewRegistry()
	r := start(t, mem.New(), Options{Registerer: reg})
	if _, err := r.Create(t.Context(), "orders", 2, map[string]string{"retention.ms": "3600000"}, false); err != nil {
		t.Fatal(err)
	}
	if got := topicSeries(t, reg, "orders"); len(got) != 0 {
		t.Errorf("a topic that is not open has series: %v", got)
	}
	topic := r.topic("orders")
	for range 3 {
		mustAppend(t, topic, 0, "a", "b")
		mustAppend(t, topic, 1, "c")
	}
	got := topicSeries(t, reg, "orders")
	for name, want := range map[string]float64{
		"sluice_topic_files": 6, "sluice_topic_small_files": 6, "sluice_topic_rows": 9,
		"sluice_topic_log_entries": 7, "sluice_topic_tombstones": 0, "sluice_topic_compaction_debt_bytes": 0,
		"sluice_topic_retention_lag_seconds": 0,
		// A take-over and six versions; a data file for each of those.
		"sluice_topic_store_requests_total/create": 7, "sluice_topic_store_requests_total/put": 6,
		"sluice_topic_store_requests_total/delete": 0,
	} {
		if value, ok := got[name]; !ok || value != want {
			t.Errorf("%s is %v, want %v", name, value, want)
		}
	}
	writes := 13 + got["sluice_topic_store_requests_total/list"]
	reads := got["sluice_topic_store_requests_total/get"]
	if want, cost := writes*5e-6+reads*0.4e-6, got["sluice_topic_store_cost_dollars_total"]; cost < want*0.999 || cost > want*1.001 || reads == 0 {
		t.Errorf("costs %v, want %v for %v writes and %v reads", cost, want, writes, reads)
	}
	if got["sluice_topic_bytes"] < 1000 {
		t.Errorf("%v bytes", got["sluice_topic_bytes"])
	}

	// The records are an hour and ten minutes old, and nobody has removed them.
	if h := topic.health(time.Now().Add(70 * time.Minute)); h.retentionLag < 9*time.Minute || h.retentionLag > 11*time.Minute {
		t.Errorf("retention lags by %v", h.retentionLag)
	}
	if err := topic.retain(t.Context(), time.Now().Add(70*time.Minute)); err != nil {
		t.Fatal(err)
	}
	if h := topic.health(time.Now().Add(70 * time.Minute)); h.retentionLag != 0 || h.files != 0 || h.tombstones != 6 {
		t.Errorf("after retention: %+v", h)
	}

	if err := r.Delete(t.Context(), "orders", [16]byte{}); err != nil {
		t.Fatal(err)
	}
	if got := topicSeries(t, reg, "orders"); len(got) != 0 {
		t.Errorf("a deleted topic has series: %v", got)
	}
}
