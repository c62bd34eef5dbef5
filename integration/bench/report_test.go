//go:build linux

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/cmd/sluice/bench"
)

// everything is a run of each step of the plan.
func everything() *results {
	r := &results{}
	r.begin(session{When: time.Unix(0, 0), Command: "of old"})
	r.put(run{Key: "gone/since/then"})
	r.begin(session{When: time.Unix(1e9, 0).UTC(), Command: "this", Commit: "abc", Kafka: "4.4.0"})
	for _, g := range plan {
		for _, b := range g.beds {
			for _, l := range g.loads {
				for _, s := range l.steps {
					n := run{Key: key(g, b, s), Broker: b.title, Command: "sluice bench " + s.name}
					n.Result.Name, n.Result.Produced, n.Result.Read = b.title, 1e6, 2e6
					n.Result.Ack.P50 = time.Millisecond
					n.Result.Usage = &bench.Usage{CPUPerMillion: 0.25, PeakRSS: 100 << 20, Seconds: 10, CPU: 1, DataPut: time.Millisecond, LogPut: time.Millisecond}
					if strings.Contains(s.args, "--rate") {
						n.Result.Rate, n.Result.EndToEnd = 10_000, bench.Latency{Count: 1, P50: time.Millisecond, P99: 3 * time.Second}
					}
					r.put(n)
				}
			}
		}
	}
	return r
}

func TestEachStepOfThePlanHasANameOfItsOwn(t *testing.T) {
	seen := map[string]bool{}
	for _, g := range plan {
		for _, b := range g.beds {
			for _, l := range g.loads {
				for _, s := range l.steps {
					if k := key(g, b, s); seen[k] {
						t.Error(k, "twice")
					} else {
						seen[k] = true
					}
				}
			}
		}
	}
	for _, rows := range [][]row{speeds, latencies, costs} {
		for _, row := range rows {
			for _, step := range row.steps {
				if !seen["versus/directory/"+step] {
					t.Errorf("the row %q is of a step that there is not: %s", row.what, step)
				}
			}
		}
	}
}

func TestResultsAreKeptAndReportedWithWhatMadeThem(t *testing.T) {
	folder := t.TempDir()
	if err := everything().save(folder); err != nil {
		t.Fatal(err)
	}
	r, err := loadResults(folder)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Sessions) != 1 || r.Sessions[0].Command != "this" || r.get("gone/since/then") != nil {
		t.Errorf("%d sessions, and what the plan does not know: %v", len(r.Sessions), r.get("gone/since/then"))
	}
	report, err := os.ReadFile(filepath.Join(folder, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| produce 100 B | 1.00 M/s | 1.00 M/s | 1.00 M/s | 1.00 M/s | 1.00 x |", "1.00 ms / 3.00 s", "0.50 x their sum", "Kafka 4.4.0", "| peak of resident memory | 100 MiB |"} {
		if !strings.Contains(string(report), want) {
			t.Errorf("the report says nothing of %q", want)
		}
	}
	for _, bad := range []string{"NaN", "Inf", "%!"} {
		if strings.Contains(string(report), bad) {
			t.Errorf("the report has %q", bad)
		}
	}
	// A run measured anew takes the place of the old one, and nothing else does.
	r.begin(session{Command: "later"})
	again := *r.get("floor/minio/open-10000")
	again.Result.Produced = 5
	r.put(again)
	r.tidy()
	if n := r.get("floor/minio/open-10000"); n.Result.Produced != 5 || r.Sessions[n.Session].Command != "later" {
		t.Errorf("%+v", n)
	}
	if n := r.get("versus/kafka/java-100"); r.Sessions[n.Session].Command != "this" {
		t.Errorf("%+v", n)
	}
}

func TestTheSummaryStandsBetweenItsMarks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "README.md")
	if err := os.WriteFile(path, []byte("before\n"+summaryBegins+"old\n"+summaryEnds+"after\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	var last string
	for range 2 {
		if err := everything().tell(path); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(string(text), "before\n"+summaryBegins) || !strings.HasSuffix(string(text), summaryEnds+"after\n") ||
			strings.Contains(string(text), "old\n") || last != "" && string(text) != last {
			t.Fatal(string(text))
		}
		last = string(text)
	}
	if err := (&results{}).tell(filepath.Join("..", "..", "go.mod")); err == nil {
		t.Error("no marks, and no error")
	}
}
