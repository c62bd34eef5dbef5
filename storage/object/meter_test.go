package object_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/storage/object"
	"sluice/storage/object/mem"
	"sluice/storage/object/objecttest"
)

func TestAMeteredStoreKeepsTheContract(t *testing.T) {
	s := object.NewMeter(mem.New(), prometheus.NewRegistry())
	objecttest.Run(t, func(*testing.T) object.Store { return s })
}

// gather returns the values of all counters and the counts of all histograms.
func gather(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += "," + l.GetValue()
			}
			values[name] = m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return values
}

func TestAMeterCountsCallsByKindAndOutcome(t *testing.T) {
	reg := prometheus.NewRegistry()
	inner := mem.New()
	s := object.NewMeter(inner, reg)
	ctx := t.Context()
	s.Create(ctx, "k", make([]byte, 100))
	s.Create(ctx, "k", make([]byte, 100))
	s.Put(ctx, "k", make([]byte, 10))
	s.Get(ctx, "k", object.Range{Length: 4})
	s.Get(ctx, "none", object.Range{})
	s.Get(ctx, "../none", object.Range{})
	s.List(ctx, object.ListRequest{})
	s.Delete(ctx, "a", "b", "c")
	inner.SetFaults(func(mem.Request) mem.Fault {
		return mem.Fault{Outcome: mem.Refuse, Err: fmt.Errorf("policy: %w", object.ErrDenied)}
	})
	s.Put(ctx, "k", make([]byte, 10))
	inner.SetFaults(func(mem.Request) mem.Fault { return mem.Fault{Outcome: mem.Lose, Err: errors.New("reset")} })
	s.Create(ctx, "k2", make([]byte, 10))
	given, cancel := context.WithCancel(ctx)
	cancel()
	s.Put(given, "k", make([]byte, 10))
	late, cancel := context.WithTimeout(ctx, 0)
	defer cancel()
	s.Put(late, "k", make([]byte, 10))

	got := gather(t, reg)
	for name, want := range map[string]float64{
		"sluice_store_requests_total,create,ok":     1,
		"sluice_store_requests_total,create,exists": 1,
		"sluice_store_requests_total,create,error":  1,
		"sluice_store_requests_total,put,ok":        1,
		"sluice_store_requests_total,put,denied":    1,
		"sluice_store_requests_total,put,canceled":  1,
		"sluice_store_requests_total,put,error":     1,
		"sluice_store_requests_total,get,ok":        1,
		"sluice_store_requests_total,get,not_found": 1,
		"sluice_store_requests_total,get,error":     1,
		"sluice_store_requests_total,list,ok":       1,
		"sluice_store_requests_total,delete,ok":     1,
		"sluice_store_request_duration_seconds,get": 3,
		"sluice_store_written_bytes_total":          110,
		"sluice_store_read_bytes_total":             4,
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
	if len(got) != 30+5+2 {
		t.Errorf("%d series: %v", len(got), got)
	}
	if s.URL() != inner.URL() {
		t.Errorf("URL is %s", s.URL())
	}
}

func TestMetersShareARegistryOrNone(t *testing.T) {
	reg := prometheus.NewRegistry()
	for range 2 {
		object.NewMeter(mem.New(), reg).Put(t.Context(), "k", nil)
	}
	if n := gather(t, reg)["sluice_store_requests_total,put,ok"]; n != 2 {
		t.Errorf("two meters counted %v puts", n)
	}
	if _, err := object.NewMeter(mem.New(), nil).Put(t.Context(), "k", nil); err != nil {
		t.Error(err)
	}
}
