package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/storage/admin"
)

// described is what `table describe` tells, of the broker or of a store.
func described(t *testing.T, text string) (d admin.Description) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestATableIsDescribedWithAndWithoutABroker(t *testing.T) {
	store := filepath.Join(t.TempDir(), "data")
	b := start(t, store)
	b.ok("", "topic", "create", "orders", "--partitions", "2", "--config", "retention.ms=3600000")
	b.ok("", "produce", "orders", "1", "2", "3", "-q")

	got := b.ok("", "table", "describe", "orders")
	for _, want := range []string{"table       file://" + store + "/orders", "sluice: reader 1, writer 7", ", 3 rows", "retention.ms=3600000", "PARTITION  START  NEXT  ROWS  FILES"} {
		if !strings.Contains(got, want) {
			t.Errorf("table describe lacks %q:\n%s", want, got)
		}
	}
	if got := fields(b.ok("", "table", "history", "orders")); !strings.Contains(got, "WRITE 1 0 3 ") || !strings.HasSuffix(got, "CREATE TABLE 0 0 0 0 "+engine()) {
		t.Errorf("table history: %s", got)
	}
	if got := b.ok("", "table", "history", "orders", "--limit", "1", "--json"); strings.Count(got, `"version"`) != 1 {
		t.Errorf("table history --limit 1: %s", got)
	}
	live := described(t, b.ok("", "table", "describe", "orders", "--json"))
	b.end()

	code, stdout, stderr := command(t, "", "table", "describe", "orders", "--json", "--store", store)
	if code != exitOK {
		t.Fatal(stderr)
	}
	if at := described(t, stdout); at.Rows != 3 || at.ID != live.ID || at.Version != live.Version || at.Partitions[0].Next+at.Partitions[1].Next != 3 {
		t.Errorf("without a broker %+v, with one %+v", at, live)
	}
	for args, want := range map[string]string{
		"orders --store " + store + "x":       "there is no store in",
		"nowhere --store " + store:            "topic nowhere does not exist in file://",
		"orders --brokers " + "127.0.0.1:1":   "no broker answers",
		"orders --store mem://" + t.Name():    "in the broker's memory",
		"_sluice/topics --store " + store:     "not a topic's table",
		"../etc --store " + store:             "does not exist",
		"orders --store " + store + "/orders": "does not exist",
	} {
		code, _, stderr := command(t, "", append([]string{"table", "describe"}, strings.Fields(args)...)...)
		if code != exitFailure || !strings.Contains(stderr, want) {
			t.Errorf("table describe %s: exit code %d: %s", args, code, stderr)
		}
	}
}

func TestTheWritersOfATableAreSwitchedBothWays(t *testing.T) {
	b := start(t, memory(t))
	defer b.end()
	b.ok("", "produce", "orders", "1", "-q")
	if got := b.ok("", "table", "writers", "orders"); !strings.HasPrefix(got, "sluice\n") {
		t.Errorf("at first: %s", got)
	}
	if got := b.ok("", "table", "writers", "orders", "any"); !strings.Contains(got, "conditional puts") {
		t.Errorf("any: %s", got)
	}
	if d := described(t, b.ok("", "table", "describe", "orders", "--json")); d.Writers != "any" || d.MinWriterVersion != 2 {
		t.Errorf("%+v", d)
	}
	b.ok("", "table", "writers", "orders", "sluice")
	if d := described(t, b.ok("", "table", "describe", "orders", "--json")); d.Writers != "sluice" || d.MinWriterVersion != 7 {
		t.Errorf("%+v", d)
	}
}

func TestAYieldedTableTakesRecordsWhenItsTimeIsOver(t *testing.T) {
	b := start(t, memory(t))
	defer b.end()
	b.ok("", "produce", "orders", "1", "-q")
	began, over := time.Now(), make(chan string, 1)
	go func() {
		_, stdout, stderr := command(t, "", "table", "yield", "orders", "--for", "1s", "--brokers", b.address)
		over <- stdout + stderr
	}()
	for described(t, b.ok("", "table", "describe", "orders", "--json")).YieldUntil == nil {
		if time.Since(began) > time.Second {
			break // a slow machine: it is over already
		}
	}
	b.ok("", "produce", "orders", "2", "-q")
	if took := time.Since(began); took < time.Second {
		t.Errorf("the record was committed after %v", took)
	}
	if got := <-over; !strings.Contains(got, "commits to orders again") {
		t.Errorf("table yield: %s", got)
	}
}
