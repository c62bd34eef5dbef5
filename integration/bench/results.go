//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"sluice/cmd/sluice/bench"
)

// results is what has been measured, by this run and by those before it: a run of this
// program replaces what it measures anew and keeps the rest.
type results struct {
	Sessions []session `json:"sessions"`
	Runs     []run     `json:"runs"`
}

const resultsFile = "results.json"

// loadResults reads what is in a folder; nothing is there before the first run.
func loadResults(folder string) (*results, error) {
	body, err := os.ReadFile(filepath.Join(folder, resultsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return &results{}, nil
	}
	if err != nil {
		return nil, err
	}
	r := &results{}
	return r, json.Unmarshal(body, r)
}

// begin adds a session, that of the runs to come.
func (r *results) begin(s session) { r.Sessions = append(r.Sessions, s) }

// put takes up a run of the newest session.
func (r *results) put(n run) {
	n.Session = len(r.Sessions) - 1
	i := slices.IndexFunc(r.Runs, func(old run) bool { return old.Key == n.Key })
	if i < 0 {
		r.Runs = append(r.Runs, n)
		return
	}
	r.Runs[i] = n
}

// get is the run of a key; nil: there is none.
func (r *results) get(key string) *run {
	i := slices.IndexFunc(r.Runs, func(n run) bool { return n.Key == key })
	if i < 0 {
		return nil
	}
	return &r.Runs[i]
}

// tidy drops sessions of which no run is left, and puts the runs in the order of the
// plan; runs that it does not know any more go.
func (r *results) tidy() {
	var runs []run
	var sessions []session
	for _, g := range plan {
		for _, b := range g.beds {
			for _, l := range g.loads {
				for _, s := range l.steps {
					n := r.get(key(g, b, s))
					if n == nil {
						continue
					}
					kept := *n
					at := slices.Index(sessions, r.Sessions[n.Session])
					if at < 0 {
						at, sessions = len(sessions), append(sessions, r.Sessions[n.Session])
					}
					kept.Session = at
					runs = append(runs, kept)
				}
			}
		}
	}
	r.Runs, r.Sessions = runs, sessions
}

// save writes the results, the tables and the plots. r stays as it is.
func (r *results) save(folder string) error {
	tidy := results{slices.Clone(r.Sessions), slices.Clone(r.Runs)}
	tidy.tidy()
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	body, err := tidy.marshal()
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, resultsFile), body, 0o644); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, "README.md"), []byte(tidy.report()), 0o644); err != nil {
		return err
	}
	return tidy.plots(folder)
}

// marshal writes a line for each session and run. Percentile curves are kept where they
// are drawn.
func (r *results) marshal() ([]byte, error) {
	var b bytes.Buffer
	lines := func(head string, n int, of func(int) any) error {
		b.WriteString(head)
		for i := range n {
			line, err := json.Marshal(of(i))
			if err != nil {
				return err
			}
			b.Write(line)
			if i < n-1 {
				b.WriteString(",\n")
			}
		}
		return nil
	}
	sessions := lines("{\"sessions\": [\n", len(r.Sessions), func(i int) any { return r.Sessions[i] })
	runs := lines("\n],\n\"runs\": [\n", len(r.Runs), func(i int) any {
		n := r.Runs[i]
		if !n.drawn() {
			n.Result.EndToEnd.Points = nil
		}
		return n
	})
	b.WriteString("\n]}\n")
	return b.Bytes(), errors.Join(sessions, runs)
}

// drawn says that the run's percentile curve is.
func (n run) drawn() bool { return n.in("versus") && n.Result.Rate > 0 }

// plots draws latency against rate, with what others got, and the percentiles of
// the brokers that are compared.
func (r *results) plots(folder string) error {
	var rates, compared []bench.Result
	for _, n := range r.Runs {
		switch {
		case n.in("open"), n.in("versus") && n.Result.Rate > 0 && n.Broker == "Kafka, fsync":
			rates = append(rates, n.Result)
		}
		if n.drawn() {
			compared = append(compared, n.Result)
		}
	}
	for name, some := range map[string][]bench.Result{"against-rate.svg": rates, "percentiles.svg": compared} {
		for _, p := range bench.Plots(some) {
			if p.Name != name {
				continue
			}
			file, err := os.Create(filepath.Join(folder, name))
			if err != nil {
				return err
			}
			if err := errors.Join(p.Write(file), file.Close()); err != nil {
				return err
			}
		}
	}
	return nil
}
