package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/cmd/sluice/bench"
)

func TestEachWorkloadOfBenchReadsBackWhatItSends(t *testing.T) {
	b := start(t, memory(t))
	defer b.end()
	folder := t.TempDir()
	for _, args := range [][]string{
		{"open", "--rate", "1000,2000", "--partitions", "1,3"},
		{"article", "--rate", "20000", "--warm-up", "0s"},
		{"max", "--client", "java"},
		{"fanout", "--rate", "500", "--topics", "2"},
		{"backlog", "--topic", "kept"},
		{"read", "--topic", "kept"},
		{"sync"},
		{"omb", "--rate", "200", "--partitions", "1,4"},
	} {
		t.Run(args[0], func(t *testing.T) {
			var stdout, stderr strings.Builder
			args := append([]string{"bench", "--brokers", b.address, "--json", "--out", folder, "--pid", "1"}, args...)
			for _, quick := range [][]string{{"--duration", "300ms"}, {"--warm-up", "50ms"}} {
				if !strings.Contains(strings.Join(args, " "), quick[0]) {
					args = append(args, quick...)
				}
			}
			if code := run(t.Context(), args, strings.NewReader(""), &stdout, &stderr); code != exitOK {
				t.Fatal(stderr.String())
			}
			var results []bench.Result
			if err := json.Unmarshal([]byte(stdout.String()), &results); err != nil {
				t.Fatal(err)
			}
			for _, r := range results {
				if r.Workload == bench.Read {
					if r.Acked == 0 || r.Consumed != r.Acked || r.Read <= 0 {
						t.Errorf("%+v", r)
					}
					continue
				}
				if r.Sent == 0 || r.Acked != r.Sent || r.Consumed != r.Acked*int64(r.Consumers) || r.Failed > 0 {
					t.Errorf("%+v", r)
				}
				if r.Ack.Count == 0 || r.EndToEnd.Count == 0 || r.EndToEnd.P50 <= 0 || r.EndToEnd.P99 < r.EndToEnd.P50 {
					t.Errorf("latencies %+v, %+v", r.Ack, r.EndToEnd)
				}
			}
			for _, name := range []string{"results.json", "percentiles.svg"} {
				if _, err := os.Stat(filepath.Join(folder, name)); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestWrongFlagsOfBenchAreUsageErrors(t *testing.T) {
	for _, args := range [][]string{{"bench", "nothing"}, {"bench", "--client", "nobody"}} {
		var stderr strings.Builder
		if code := run(t.Context(), args, strings.NewReader(""), &strings.Builder{}, &stderr); code != exitUsage {
			t.Errorf("%v: exit code %d: %s", args, code, stderr.String())
		}
	}
}

func TestBenchHasNothingToReadInAnEmptyTopic(t *testing.T) {
	b := start(t, memory(t))
	defer b.end()
	var stdout, stderr strings.Builder
	if code := run(t.Context(), []string{"topic", "create", "empty", "--brokers", b.address}, strings.NewReader(""), &stdout, &stderr); code != exitOK {
		t.Fatal(stderr.String())
	}
	code := run(t.Context(), []string{"bench", "read", "--topic", "empty", "--brokers", b.address}, strings.NewReader(""), &stdout, &stderr)
	if code == exitOK || !strings.Contains(stderr.String(), "topic empty has no records") {
		t.Errorf("exit code %d: %s", code, stderr.String())
	}
}
