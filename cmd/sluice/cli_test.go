package main

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// command runs the program.
func command(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs strings.Builder
	code = run(t.Context(), args, strings.NewReader(stdin), &out, &errs)
	return code, out.String(), errs.String()
}

func TestWrongUseExitsWithTwoAndPointsToHelp(t *testing.T) {
	for args, want := range map[string]string{
		"frobnicate":                           "unknown command",
		"serve --frobnicate":                   "unknown flag: --frobnicate",
		"serve extra":                          "unknown command",
		"serve --http nonsense":                "want host:port",
		"serve --config nonsense":              "not of the form key=value",
		"serve --properties /does/not/exist":   "no such file",
		"serve --store s3://":                  "names no bucket",
		"topic frobnicate":                     "unknown command",
		"topic create":                         "requires at least 1 arg",
		"topic create x --partitions 0":        "at least one partition",
		"topic alter x":                        "nothing to change",
		"topic alter x --config a=1 --reset a": "in --config and in --reset",
		"group reset g":                        "at least one of the flags",
		"group reset g --to yesterday":         "is no position",
		"group reset g --to-version -1":        "begin with 0",
		"group reset g --to 1 --to-version 1":  "none of the others can be",
		"consume x --from yesterday":           "is no position",
		"consume x --group g --partition 1":    "none of the others can be",
		"consume x --group g --follow=false":   "a group follows",
		"produce x --compression brotli":       "want none, gzip",
		"produce x --header nonsense":          "not of the form key=value",
		"produce x v --brokers ,":              "--brokers is empty",
		"table sql x --engine excel":           "want one of duckdb, pathway",
		"table history x --limit 0":            "one version at least",
		"table describe x --store s3://":       "names no bucket",
		"table writers x everybody":            "want any or sluice",
		"table yield x --for 11m":              "want between 1s and 10m",
		"check":                                "name a topic",
		"check x --all":                        "give either",
		"check x --store s3://":                "names no bucket",
		"health --http off":                    "nothing to ask",
	} {
		code, stdout, stderr := command(t, "", strings.Fields(args)...)
		if code != exitUsage || stdout != "" || !strings.Contains(stderr, want) || !strings.Contains(stderr, "--help' for usage.") {
			t.Errorf("sluice %s: exit code %d, %q, want %q", args, code, stderr, want)
		}
	}
}

func TestWithoutABrokerClientsSayWhatToDo(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().String()
	ln.Close() // nobody listens there now
	code, _, stderr := command(t, "", "topic", "list", "--brokers", address)
	if code != exitFailure || !strings.Contains(stderr, "no broker answers at "+address) || !strings.Contains(stderr, "sluice serve") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	if strings.Contains(stderr, "Usage") {
		t.Errorf("an error at run time shows the usage: %s", stderr)
	}
}

func TestPortInUseSaysWhatToDo(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	code, stdout, stderr := command(t, "", "serve", "--store", t.TempDir(), "--http", "off", "--listeners", "PLAINTEXT://"+ln.Addr().String())
	if code != exitFailure || stdout != "" || !strings.Contains(stderr, "address already in use") || !strings.Contains(stderr, "choose another port: --listeners") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

func TestInterruptedCommandExitsAsShellsReportIt(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errs strings.Builder
	if code := run(ctx, []string{"topic", "list"}, strings.NewReader(""), &out, &errs); code != exitInterrupted {
		t.Errorf("exit code %d: %s", code, errs.String())
	}
}

func TestHealthFollowsReadiness(t *testing.T) {
	h := newHTTPServer(prometheus.NewRegistry(), false)
	server := httptest.NewServer(h.server.Handler)
	defer server.Close()
	address := strings.TrimPrefix(server.URL, "http://")

	if code, _, stderr := command(t, "", "health", "--http", address); code != exitFailure || !strings.Contains(stderr, "not ready") {
		t.Errorf("before: exit code %d: %s", code, stderr)
	}
	h.ready.Store(true)
	if code, _, stderr := command(t, "", "health", "--http", address); code != exitOK {
		t.Errorf("after: exit code %d: %s", code, stderr)
	}
	server.Close()
	if code, _, _ := command(t, "", "health", "--http", address); code != exitFailure {
		t.Errorf("without a server: exit code %d", code)
	}
}

func TestProfilesAreServedOnRequestOnly(t *testing.T) {
	for with, want := range map[bool]int{false: http.StatusNotFound, true: http.StatusOK} {
		server := httptest.NewServer(newHTTPServer(prometheus.NewRegistry(), with).server.Handler)
		resp, err := http.Get(server.URL + "/debug/pprof/")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		server.Close()
		if resp.StatusCode != want {
			t.Errorf("with %t: %s", with, resp.Status)
		}
	}
}

func TestVersionIsPrinted(t *testing.T) {
	if code, stdout, _ := command(t, "", "version"); code != exitOK || !strings.HasPrefix(stdout, "sluice devel") {
		t.Errorf("exit code %d: %s", code, stdout)
	}
}
