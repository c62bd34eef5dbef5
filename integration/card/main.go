// Command card runs the checks of the report card and writes REPORT.md:
//
//	go run ./integration/card                     # all of it: an hour or more
//	go run ./integration/card -run '/Java'        # rows by name, on each store
//	go run ./integration/card -run 'directory/Sarama'
//
// A row is a client, a tool or an engine on a store; a check is a subtest of it. What
// a run did not cover keeps the outcome of the run before, out of integration/.cache:
// so the card can be made in pieces. A table of which no row is kept there stays as it
// is in REPORT.md. SLUICE_TEST_MINIO saves the build of MinIO.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// outcome is how a check ended.
type outcome struct {
	Status string // pass, fail or skip
	Why    string // of fail and skip: what the test said
}

// result is a row of the card.
type result struct {
	Suite, Store, Name string
	Took               float64 // s
	When               time.Time
	Commit             string
	Checks             map[string]outcome // by name: GROUP or GROUP/CHECK
	Order              []string           // of the checks, as they ran
}

func main() {
	run := flag.String("run", "", "rows to run: a pattern of STORE/NAME, as go test -run has them; all without")
	only := flag.Bool("write", false, "run nothing, write the report from what earlier runs left")
	parallel := flag.Int("parallel", 4, "rows at once")
	flag.Parse()
	if err := card(*run, *parallel, *only); err != nil {
		fmt.Fprintln(os.Stderr, "card:", err)
		os.Exit(1)
	}
}

func card(run string, parallel int, only bool) error {
	out, err := exec.Command("go", "list", "-f", "{{.Dir}}", "sluice/integration").Output()
	if err != nil {
		return fmt.Errorf("not in the module of sluice: %w", err)
	}
	dir := strings.TrimSpace(string(out))
	kept := filepath.Join(dir, ".cache", "card")
	if err := os.MkdirAll(kept, 0o755); err != nil {
		return err
	}
	if !only {
		if err := test(dir, run, parallel, kept); err != nil {
			return err
		}
	}
	results, err := load(kept)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, "REPORT.md")
	before, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.WriteFile(path, []byte(report(results, string(before))), 0o644)
}

// test runs the suites and keeps each row's outcomes as a file. Failed checks are
// outcomes, not errors.
func test(dir, run string, parallel int, kept string) error {
	pattern := "^(" + strings.Join(suiteNames(), "|") + ")$"
	if run != "" {
		pattern += "/" + strings.TrimPrefix(run, "/")
		if strings.HasPrefix(run, "/") {
			pattern = strings.Replace(pattern, "$/", "$/.*/", 1)
		}
	}
	cmd := exec.Command("go", "test", "-tags", "integration", "-count=1", "-timeout", "4h", "-json",
		"-parallel", fmt.Sprint(parallel), "-run", pattern, ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "SLUICE_TEST_CARD=full")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	commit, err := exec.Command("git", "-C", dir, "describe", "--always", "--dirty").Output()
	if err != nil {
		commit = []byte("unknown")
	}
	rows := 0
	err = collect(out, func(r *result) error {
		rows++
		r.When, r.Commit = time.Now().UTC(), strings.TrimSpace(string(commit))
		return keep(kept, r)
	})
	failed := cmd.Wait() // also when a check failed, which is no error here
	if err == nil && rows == 0 {
		err = fmt.Errorf("no row ran: %w", failed)
	}
	return err
}

// keep writes a row's outcomes for this run's report and those of later runs.
func keep(dir string, r *result) error {
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	name := strings.NewReplacer("/", "_", " ", "_").Replace(r.Suite + "-" + r.Store + "-" + r.Name + ".json")
	return os.WriteFile(filepath.Join(dir, name), text, 0o644)
}

// event is a line of go test -json (go doc test2json).
type event struct {
	Action, Test, Output string
	Elapsed              float64 // s
}

// collect makes rows of the events and hands each over when it has ended:
// SUITE/STORE/ROW is a row, what is below it are checks. A check with checks of its
// own is left out unless it failed by itself, and so is the row.
func collect(from io.Reader, keep func(*result) error) error {
	results := map[string]*result{}
	said := map[string][]string{} // by test
	parents := map[string]bool{}
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return fmt.Errorf("%q: %w", lines.Text(), err)
		}
		parts := strings.SplitN(e.Test, "/", 4)
		if len(parts) < 3 {
			if e.Action == "output" && e.Test == "" {
				fmt.Print(e.Output)
			}
			continue
		}
		key := strings.Join(parts[:3], "/")
		r := results[key]
		if r == nil {
			r = &result{Suite: parts[0], Store: parts[1], Name: strings.ReplaceAll(parts[2], "_", " "), Checks: map[string]outcome{}}
			results[key] = r
		}
		switch e.Action {
		case "output":
			said[e.Test] = append(said[e.Test], e.Output)
		case "run":
			if at := strings.LastIndexByte(e.Test, '/'); at >= 0 {
				parents[e.Test[:at]] = true
			}
		case "pass", "fail", "skip":
			why := reason(said[e.Test], e.Action)
			if len(parts) == 3 {
				r.Took = e.Elapsed
				fmt.Printf("%s  %s %s, %.0f s\n", e.Action, r.Store, r.Name, r.Took)
				if e.Action == "skip" || e.Action == "fail" && why != "" {
					r.Checks["row"] = outcome{Status: e.Action, Why: why} // what is no check's
					r.Order = append(r.Order, "row")
				}
				if err := keep(r); err != nil {
					return err
				}
				continue
			}
			if parents[e.Test] && (e.Action == "pass" || why == "") {
				continue
			}
			name := strings.ReplaceAll(parts[3], "_", " ")
			r.Checks[name] = outcome{Status: e.Action, Why: why}
			r.Order = append(r.Order, name)
		}
	}
	return lines.Err()
}
