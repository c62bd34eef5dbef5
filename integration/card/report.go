package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// suite is a table of the report: a top-level test of package integration.
type suite struct {
	test, title, says string
	// columns are groups of checks that all rows have; none: rows list their checks.
	columns []string
}

// suites are the tables. A test that follows the form SUITE/STORE/ROW/CHECK needs
// only a line here.
var suites = []suite{
	{"TestClientCard", "Clients", "One script for all (script_test.go), a broker of its own for each row; engines: delta-rs, DuckDB and Polars read what the client wrote.",
		[]string{"create", "produce", "idempotent", "read", "group", "restart", "engines", "admin", "transactions", "SASL", "TLS", "KIP-848"}},
	{"TestToolCard", "Tools and frameworks", "What runs on top of a client, each as its users run it.", nil},
	{"TestEngineCard", "Engines", "What reads the tables, by one script for all (enginecard_test.go), with a broker of its own for each row; cleaned: a table after checkpoints, clean-up of the log, compaction, deleted rows and retention (past_test.go).",
		[]string{"log only", "checkpoint", "filter", "time travel", "stream", "while written", "rewritten", "cleaned", "snippet"}},
}

func suiteNames() []string {
	var names []string
	for _, s := range suites {
		names = append(names, s.test)
	}
	return names
}

// place is where a test said something: the file and line before its words.
var place = regexp.MustCompile(`^\s*[a-z_]+_test\.go:\d+: `)

// asides are lines of the tests that are no reason: what processes wrote, what was
// installed, what a check that found nothing wrong has counted.
var asides = regexp.MustCompile(`^\s*(process_test\.go:\d+: |[a-z_]+_test\.go:\d+: (installed |sluice check: \d))`)

// reason is what a test said that failed or skipped itself: the first line, and of
// a failure the second one.
func reason(output []string, action string) string {
	var words []string
	for i, line := range output {
		if !place.MatchString(line) || asides.MatchString(line) {
			continue
		}
		words = append(words, strings.TrimSpace(place.ReplaceAllString(line, "")))
		if action == "fail" && i+1 < len(output) && strings.HasPrefix(output[i+1], "        ") {
			words = append(words, strings.TrimSpace(output[i+1]))
		}
		break
	}
	why := strings.Join(words, " / ")
	return why[:min(len(why), 400)]
}

// load reads the rows that runs have left.
func load(dir string) ([]*result, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, err
	}
	var results []*result
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		r := new(result)
		if err := json.Unmarshal(text, r); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		results = append(results, r)
	}
	slices.SortFunc(results, func(a, b *result) int {
		key := func(r *result) string { return strings.ToLower(r.Name) + "\x00" + r.Store }
		return strings.Compare(key(a), key(b))
	})
	return results, nil
}

// notes are the reasons below a table, numbered; equal ones have one number.
type notes struct {
	numbers map[string]int
	all     []string
}

func (n *notes) mark(why string) string {
	if n.numbers == nil {
		n.numbers = map[string]int{}
	}
	if n.numbers[why] == 0 {
		n.all = append(n.all, why)
		n.numbers[why] = len(n.all)
	}
	return fmt.Sprintf("[%d]", n.numbers[why])
}

const preamble = `# What works with Sluice

Made by ` + "`go run ./integration/card`" + `: do not edit. Real clients and engines out of their
registries, each as a process of its own, against the built binary, on a local
directory and on MinIO, the core of them on versitygw too. [README.md](README.md) tells how, script_test.go what each
check is. Each row ends with ` + "`sluice check`" + ` of its tables.

**ok**: the checks passed, so many of those that apply. **FAILED**: Sluice does not do what the
client expects. **client**: the client has no such thing, or is at fault itself; the
note says which. **not yet**: Sluice does not offer it. **not run**: nobody looked.
`

func report(results []*result, before string) string {
	var out strings.Builder
	out.WriteString(preamble)
	for _, s := range suites {
		rows := slices.DeleteFunc(slices.Clone(results), func(r *result) bool { return r.Suite != s.test })
		if len(rows) == 0 {
			out.WriteString(section(before, s.title))
			continue
		}
		fmt.Fprintf(&out, "\n## %s\n%s\n\n", s.title, s.says)
		var n notes
		if s.columns == nil {
			listed(&out, rows, &n)
		} else {
			table(&out, s.columns, rows, &n)
		}
		if len(n.all) > 0 {
			out.WriteString("\n")
		}
		for i, why := range n.all {
			fmt.Fprintf(&out, "%d. %s\n", i+1, why)
		}
	}
	return out.String()
}

// section is the part of a report below a title, with it; nothing if it has none.
func section(report, title string) string {
	start := strings.Index(report, "\n## "+title+"\n")
	if start < 0 {
		return ""
	}
	if end := strings.Index(report[start+1:], "\n## "); end >= 0 {
		return report[start : start+1+end]
	}
	return report[start:]
}

// table has a column for each group of checks.
func table(out *strings.Builder, columns []string, rows []*result, n *notes) {
	fmt.Fprintf(out, "| what | store | %s | tables | took | at |\n", strings.Join(columns, " | "))
	fmt.Fprintf(out, "|%s\n", strings.Repeat("---|", len(columns)+5))
	for _, r := range rows {
		fmt.Fprintf(out, "| %s | %s |", r.Name, r.Store)
		for _, column := range columns {
			fmt.Fprintf(out, " %s |", cell(r, column, n))
		}
		if c, ok := r.Checks["row"]; ok {
			fmt.Fprintf(out, " %s %s |", word(c), n.mark(why("row", c)))
		} else {
			out.WriteString(" ok |")
		}
		fmt.Fprintf(out, " %.0f s | %s, %s |\n", r.Took, r.When.Format("2006-01-02"), r.Commit)
	}
}

// listed names each row's checks.
func listed(out *strings.Builder, rows []*result, n *notes) {
	fmt.Fprintf(out, "| what | store | passed | otherwise | took | at |\n|---|---|---|---|---|---|\n")
	for _, r := range rows {
		var passed, otherwise []string
		for _, name := range r.Order {
			if c := r.Checks[name]; c.Status == "pass" {
				passed = append(passed, name)
			} else {
				otherwise = append(otherwise, name+": "+word(c)+" "+n.mark(why(name, c)))
			}
		}
		fmt.Fprintf(out, "| %s | %s | %s | %s | %.0f s | %s, %s |\n", r.Name, r.Store, strings.Join(passed, "; "),
			strings.Join(otherwise, "; "), r.Took, r.When.Format("2006-01-02"), r.Commit)
	}
}

// cell is a group of checks of a row in a word or two.
func cell(r *result, column string, n *notes) string {
	passed, apply := 0, 0
	var words []string           // other than ok, as they come
	marks := map[string]string{} // their notes
	for _, name := range r.Order {
		group, _, _ := strings.Cut(name, "/")
		if group != column {
			continue
		}
		c := r.Checks[name]
		w := word(c)
		if w != "client" {
			apply++
		}
		if w == "ok" {
			passed++
			continue
		}
		if !slices.Contains(words, w) {
			words = append(words, w)
		}
		marks[w] += n.mark(why(name, c))
	}
	var parts []string
	switch {
	case apply > 1:
		parts = append(parts, fmt.Sprintf("ok %d/%d", passed, apply))
	case passed == 1:
		parts = append(parts, "ok")
	case len(words) == 0:
		return "not run"
	}
	for _, w := range words {
		parts = append(parts, w+" "+marks[w])
	}
	return strings.Join(parts, ", ")
}

// word is the status of a check as the preamble explains it. A test that skips
// itself says first which it is.
func word(c outcome) string {
	switch {
	case c.Status == "pass":
		return "ok"
	case c.Status == "fail":
		return "FAILED"
	case strings.HasPrefix(c.Why, "client: "):
		return "client"
	case strings.HasPrefix(c.Why, "not there yet: "):
		return "not yet"
	}
	return "not run"
}

// why is the note of a check that did not pass.
func why(name string, c outcome) string {
	said := c.Why
	for _, prefix := range []string{"client: ", "not there yet: ", "not run: "} {
		said = strings.TrimPrefix(said, prefix)
	}
	return name + ": " + said
}
