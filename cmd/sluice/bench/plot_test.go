package bench

import (
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestPlotsAreDocumentsWithALineForEachRun(t *testing.T) {
	var results []Result
	for _, name := range []string{"Sluice", "a <broker> & more"} {
		for i, rate := range []int{250_000, 10_000} {
			results = append(results, Result{
				Name: name, Workload: Open, Rate: rate, Size: 18,
				EndToEnd: Latency{Count: 1, P50: time.Millisecond * time.Duration(1+i), P99: time.Second, Points: []Point{{50, time.Millisecond}, {99, time.Second}}},
				Series:   []Second{{At: 1, P99: time.Millisecond}, {At: 2, P99: time.Second}},
				Usage:    &Usage{Requests: 100, Puts: 50, Seconds: 10},
			})
		}
	}
	var names []string
	for _, p := range Plots(results) {
		names = append(names, p.Name)
		var b strings.Builder
		if err := p.Write(&b); err != nil {
			t.Fatal(err)
		}
		for d := xml.NewDecoder(strings.NewReader(b.String())); ; {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", p.Name, err)
			}
		}
		if strings.Contains(b.String(), "NaN") || strings.Contains(b.String(), "Inf") {
			t.Errorf("%s has numbers that are none", p.Name)
		}
	}
	if want := []string{"percentiles.svg", "over-time.svg", "against-rate.svg", "cost.svg"}; !slices.Equal(names, want) {
		t.Errorf("plots %v", names)
	}
	if len(Plots(nil)) > 0 {
		t.Error("a plot of nothing")
	}
}

func TestRoundNumbersMarkAnAxis(t *testing.T) {
	for _, s := range []scale{{0, 7, false}, {0, 130, false}, {3, 4000, true}, {5, 5.5, false}} {
		ticks := s.ticks()
		if len(ticks) < 2 || len(ticks) > 12 {
			t.Errorf("%+v: %v", s, ticks)
		}
		for _, tick := range ticks {
			if part := s.part(tick.at); part < -1e-9 || part > 1+1e-9 {
				t.Errorf("%+v: tick %v lies outside", s, tick)
			}
		}
	}
	if short(250_000) != "250k" || short(1e6) != "1M" || short(0.5) != "0.5" {
		t.Error(short(250_000), short(1e6), short(0.5))
	}
}
