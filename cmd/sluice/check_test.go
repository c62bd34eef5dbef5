package main

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/storage/check"
)

func TestCheckTellsSoundTablesFromBrokenOnes(t *testing.T) {
	t.Setenv("SLUICE_STORE", "")
	t.Setenv("SLUICE_BROKERS", "")
	store := filepath.Join(t.TempDir(), "data")
	b := start(t, store)
	b.ok("", "produce", "orders", "1", "2", "3", "-q")
	b.ok("", "consume", "orders", "--count", "3", "--group", "g")

	// While the broker runs, which tells where its store is.
	if got := b.ok("", "check", "orders"); !strings.Contains(got, "orders  ok  version") || !strings.Contains(got, "3 rows in") {
		t.Errorf("check orders: %s", got)
	}
	for _, table := range []string{"orders  ok", "_sluice/topics  ok", "_sluice/consumer_offsets  ok"} {
		if got := b.ok("", "check", "--all", "--dense"); !strings.Contains(got, table) {
			t.Errorf("check --all lacks %q: %s", table, got)
		}
	}
	b.end()

	t.Setenv("SLUICE_STORE", store)
	code, stdout, stderr := command(t, "", "check", "--all", "--json")
	var report struct {
		Sound bool
		check.RootReport
	}
	if err := json.Unmarshal([]byte(stdout), &report); err != nil || code != exitOK || !report.Sound || report.Counts.Rows < 3 {
		t.Errorf("exit code %d, %v: %s%s", code, err, stdout, stderr)
	}

	if err := filepath.WalkDir(filepath.Join(store, "orders", "data"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			err = os.Remove(path)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr = command(t, "", "check", "orders", "--quick")
	if code != exitFailure || !strings.Contains(stdout, "NOT SOUND") || !strings.Contains(stdout, "the file is not there\n    Restore the file") || !strings.Contains(stderr, "found") {
		t.Errorf("exit code %d: %s%s", code, stdout, stderr)
	}
	code, stdout, _ = command(t, "", "check", "orders", "--json")
	if err := json.Unmarshal([]byte(stdout), &report); err != nil || code != exitFailure || report.Sound || len(report.Problems()) == 0 {
		t.Errorf("exit code %d, %v: %s", code, err, stdout)
	}
}

func TestWhatCannotBeCheckedIsNeitherSoundNorBroken(t *testing.T) {
	t.Setenv("SLUICE_STORE", "")
	t.Setenv("SLUICE_BROKERS", "")
	for args, want := range map[string]string{
		"--all --store /does/not/exist": "there is no store in",
		"none --store " + t.TempDir():   "topic none does not exist in",
		"--all --brokers 127.0.0.1:1":   "no broker answers",
		"x --brokers 127.0.0.1:1":       "no broker answers",
	} {
		code, _, stderr := command(t, "", append([]string{"check"}, strings.Fields(args)...)...)
		if code != exitUsage || !strings.Contains(stderr, want) || strings.Contains(stderr, "--help") {
			t.Errorf("check %s: exit code %d: %s", args, code, stderr)
		}
	}
}
