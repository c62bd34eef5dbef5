//go:build integration

package integration

import (
	"encoding/json"
	"os"
	"os/exec"
	"testing"
)

// checkTables ends a test that wrote to a store: `sluice check` reads every table
// again, by a path of its own, and must find no error, however the broker ended.
func checkTables(t *testing.T, s store) {
	if s.wake != nil {
		s.wake(t)
	}
	args := []string{"check", "--all", "--json", "--store", s.url}
	if !s.gaps {
		args = append(args, "--dense")
	}
	cmd := exec.Command(binary, args...)
	cmd.Dir, cmd.Env = t.TempDir(), append(os.Environ(), s.env...)
	out, err := cmd.Output()
	var report struct {
		Tables []struct {
			Problems []struct {
				Severity, Table, File, What string
				Version                     *int64
				Partition                   *int32
			}
		}
		Counts struct{ Versions, Files, Rows int64 }
	}
	if parseErr := json.Unmarshal(out, &report); parseErr != nil {
		t.Errorf("sluice check: %v: %s", err, out)
		if exit, ok := err.(*exec.ExitError); ok {
			t.Logf("%s", exit.Stderr)
		}
		return
	}
	for _, table := range report.Tables {
		for _, p := range table.Problems {
			line, _ := json.Marshal(p)
			if p.Severity == "error" {
				t.Errorf("sluice check: %s", line)
			} else {
				t.Logf("sluice check: %s", line)
			}
		}
	}
	if err != nil && !t.Failed() {
		t.Errorf("sluice check: %v", err)
	}
	t.Logf("sluice check: %d tables, %d versions, %d rows in %d files", len(report.Tables), report.Counts.Versions, report.Counts.Rows, report.Counts.Files)
}
