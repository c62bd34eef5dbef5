package main

import (
	"encoding/json"
	"fmt"
	"os"
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
	if got := fields(b.ok("", "table", "history", "orders")); !strings.Contains(got, "WRITE 1 0 ") || !strings.HasSuffix(got, "CREATE TABLE 0 0 0 0 "+engine()) {
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

func TestRowsAreDeletedFromALiveTopic(t *testing.T) {
	store := filepath.Join(t.TempDir(), "data")
	b := start(t, store)
	defer b.end()
	b.ok("", "topic", "create", "orders")
	for range 3 {
		b.ok("alice:1\nbob:2\ncarol:3", "produce", "orders", "--key-separator", ":", "-q")
	}
	keys := func() string {
		return fields(b.ok("", "consume", "orders", "--follow=false", "--key-separator", ":"))
	}
	// A slow machine may commit what one producer sends in two versions.
	if got := b.ok("", "table", "optimize", "orders"); !strings.Contains(got, "became 1 file") {
		t.Errorf("optimize: %s", got)
	}
	if got := b.ok("", "table", "delete", "orders", "--key", "bob", "--dry-run"); !strings.Contains(got, "would delete 3 rows from 1 file") {
		t.Errorf("dry run: %s", got)
	}
	// The broker has them all in memory, and serves them no more.
	if got := b.ok("", "table", "delete", "orders", "--key", "bob"); !strings.Contains(got, "deleted 3 rows; 1 file rewritten in version") {
		t.Errorf("delete: %s", got)
	}
	if got := keys(); got != "alice:1 carol:3 alice:1 carol:3 alice:1 carol:3" {
		t.Errorf("left: %s", got)
	}
	if code, _, stderr := command(t, "", "table", "delete", "orders", "--key", "carol", "--purge", "--brokers", b.address); code != exitUsage || !strings.Contains(stderr, "say --yes") {
		t.Errorf("purge without --yes: %d %s", code, stderr)
	}
	if got := b.ok("", "table", "delete", "orders", "--key-base64", "Y2Fyb2w=", "--purge", "--yes"); !strings.Contains(got, "deleted 3 rows") || !strings.Contains(got, "files that had left the table") {
		t.Errorf("purge: %s", got)
	}
	if files, err := filepath.Glob(filepath.Join(store, "orders", "data", "*", "*.parquet")); err != nil || len(files) != 1 {
		t.Errorf("left: %v, %v", files, err)
	}
	// To the last one: the next offset stays.
	b.ok("", "table", "delete", "orders", "--offsets", "0:0-8", "--json")
	b.ok("dave:1", "produce", "orders", "--key-separator", ":", "-q")
	if got := keys(); got != "dave:1" {
		t.Errorf("left: %s", got)
	}
	if d := described(t, b.ok("", "table", "describe", "orders", "--json")); d.Partitions[0].Next != 10 || d.Rows != 1 {
		t.Errorf("%+v", d)
	}
	if got := b.ok("", "table", "vacuum", "orders", "--dry-run"); !strings.HasPrefix(got, "would delete 0 files") {
		t.Errorf("vacuum: %s", got)
	}
}

func TestWhichRowsToDeleteIsReadFromFlags(t *testing.T) {
	now := time.UnixMilli(1_000_000_000_000)
	file := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(file, []byte("a\r\n\nb c\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		flags deletion
		want  string // or part of the error
	}{
		"keys":       {deletion{keys: []string{"x", ""}, keys64: []string{"AP8="}, keyFiles: []string{file}}, `["x" "" "\x00\xff" "a" "b c"] [] 0`},
		"offsets":    {deletion{offsets: []string{"0:5", "3:7-9"}}, "[] [{0 5 5} {3 7 9}] 0"},
		"ms":         {deletion{before: "1234"}, "[] [] 1234"},
		"days":       {deletion{before: "1.5d"}, "[] [] 999870400000"},
		"hours":      {deletion{before: "1h"}, "[] [] 999996400000"},
		"RFC 3339":   {deletion{before: "2001-09-09T01:46:40Z"}, "[] [] 1000000000000"},
		"nothing":    {deletion{}, "in one way"},
		"two ways":   {deletion{before: "1h", keys: []string{"x"}}, "in one way"},
		"backwards":  {deletion{offsets: []string{"0:5-4"}}, "want PARTITION:FIRST-LAST"},
		"no offsets": {deletion{offsets: []string{"0"}}, "want PARTITION:FIRST-LAST"},
		"base64":     {deletion{keys64: []string{"?"}}, "--key-base64"},
		"no time":    {deletion{before: "yesterday"}, "want a time such as"},
		"an offset":  {deletion{before: "-5"}, "want a time such as"},
	} {
		s, err := c.flags.selection(now)
		got := fmt.Sprintf("%q %v %d", s.Keys, s.Offsets, s.Before)
		if err != nil {
			if got = err.Error(); !strings.Contains(got, c.want) || !isUsage(err) {
				t.Errorf("%s: %s", name, got)
			}
			continue
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}
