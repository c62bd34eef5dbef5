//go:build integration

package integration

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	abuseLong = flag.Bool("abuse.long", false, "the hostile clients of TestHostileClientsTakeNothingDown come in thousands, and stay longer")
	abuseRows = flag.String("abuse.rows", "", "a regular expression: only rows of TestHostileClientsTakeNothingDown whose name matches; beside -count, for their medians")
)

const (
	// abuseMemory is what a hostile client may make the broker take, in bytes: the
	// container that it must not be killed in.
	abuseMemory = 512 << 20
	// abuseGoMemory is what the binary makes of a container of that size (85 %,
	// cmd/sluice/memory.go); it divides its budgets by it.
	abuseGoMemory = abuseMemory / 100 * 85
	// abusePartitions is how many partitions the broker may have in all.
	abusePartitions = 2000
	// abuseSlower bounds how much slower a neighbour may become, as a factor of
	// abuseQuiet or of its own quiet p99, whichever is greater. The goal is 2. On two
	// cores with a load of 25 from other work 40 has been seen, where the same row is 2 without;
	// what this finds is a neighbour that is starved, and the table tells the rest.
	abuseSlower = 25
	abuseQuiet  = 200 * time.Millisecond
)

// abuse is a broker with little memory, and a neighbour: clients that write and read
// meanwhile and must not be disturbed.
type abuse struct {
	t     *testing.T
	b     *sluice
	n     *load
	table []string
}

// attack is one row of the table. It returns what was done and how it was answered.
type attack struct {
	name string
	do   func(a *abuse) string
}

// many is a number of the quick form, times ten in the long one.
func many(n int) int {
	if *abuseLong {
		return 10 * n
	}
	return n
}

// hold is how long those stay who do nothing but take up room.
func hold() time.Duration {
	if *abuseLong {
		return 20 * time.Second
	}
	return 2 * time.Second
}

// TestHostileClientsTakeNothingDown is the table of abuse: after each row the broker
// lives, a neighbour has gone on at about the same pace, and the peak of the resident
// memory stayed below abuseMemory; in the end the neighbour has lost nothing and what the
// attackers took is given back.
func TestHostileClientsTakeNothingDown(t *testing.T) {
	rows, err := regexp.Compile(*abuseRows)
	if err != nil {
		t.Fatal(err)
	}
	s := directory(t)
	s.env = append(s.env, fmt.Sprint("GOMEMLIMIT=", abuseGoMemory))
	b := startSluice(t, s, "--log-level", "info", "--config", fmt.Sprint("sluice.max.partitions=", abusePartitions))
	a := &abuse{t: t, b: b, n: startLoad(t, b, "neighbour")}
	a.n.progress(2000) // warm
	quiet := a.quiet(hold())
	resting := a.metric("go_goroutines")
	t.Logf("quiet: p99 %s, RSS %d MiB, %.0f goroutines", quiet, a.peak()>>20, resting)

	for _, row := range slices.Concat(socketAttacks, requestAttacks) {
		if !rows.MatchString(row.name) {
			continue
		}
		t.Run(row.name, func(t *testing.T) { a.row(t, row) })
		if !a.lives() {
			t.Fatalf("%s ended the broker", row.name)
		}
	}
	a.n.finish(t)
	a.n.requireUnmoved(t)
	a.restores(resting)
	b.logsNoPanic(t)
	records := a.n.acks.Load()
	a.n.check(t)
	t.Logf("%d records of the neighbour\n%-37s | %-7s | %5s | %9s | %s\n%s", records,
		"row", "p99", "x", "peak RSS", "what was done", strings.Join(a.table, "\n"))
}

// row runs one attack beside the neighbour.
func (a *abuse) row(t *testing.T, row attack) {
	a.t = t
	quiet := a.quiet(hold() / 2)
	a.resetPeak()
	from := a.n.count()
	did := a.attack(row.name)
	a.report(t, row.name, did, quiet, from)
}

// The attackers are a process of their own, of a lower priority than the broker and its
// neighbour: in life they have machines of their own, and here they must not take from the
// neighbour what the broker leaves him.
const (
	hostileRow    = "SLUICE_TEST_HOSTILE_ROW"
	hostileBroker = "SLUICE_TEST_HOSTILE_BROKER" // its addresses of Kafka and HTTP, and its store
	hostileTells  = "SLUICE_TEST_HOSTILE_TELLS"  // the file for what was done
	hostileNice   = "10"
)

// attack runs the row of that name against the broker and answers what it did.
func (a *abuse) attack(name string) string {
	a.t.Helper()
	tells := filepath.Join(a.t.TempDir(), "did")
	cmd := exec.CommandContext(a.t.Context(), "nice", "-n", hostileNice, os.Args[0], "-test.run", "^TestHostileRow$", "-test.v", fmt.Sprint("-abuse.long=", *abuseLong))
	cmd.Env = append(os.Environ(), "SLUICE_BINARY="+binary, hostileRow+"="+name, hostileTells+"="+tells,
		hostileBroker+"="+strings.Join([]string{a.b.address, a.b.http, a.b.store.url}, " "))
	if out, err := cmd.CombinedOutput(); err != nil {
		a.t.Errorf("%v\n%s", err, out)
	}
	did, err := os.ReadFile(tells)
	if err != nil {
		a.t.Fatal(err)
	}
	return string(did)
}

// TestHostileRow is the attackers' process.
func TestHostileRow(t *testing.T) {
	name := os.Getenv(hostileRow)
	if name == "" {
		t.Skip("a process of TestHostileClientsTakeNothingDown")
	}
	at := strings.Fields(os.Getenv(hostileBroker))
	a := &abuse{t: t, b: &sluice{address: at[0], http: at[1], store: store{url: at[2]}}}
	for _, row := range slices.Concat(socketAttacks, requestAttacks) {
		if row.name == name {
			if err := os.WriteFile(os.Getenv(hostileTells), []byte(row.do(a)), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// quiet is the neighbour's p99 right now: the machine has other work, which comes and goes.
func (a *abuse) quiet(within time.Duration) time.Duration {
	began := a.n.count()
	time.Sleep(within)
	return percentile(a.n.delays(began), 99)
}

// report ends a row in which the neighbour had read so many records when it began.
func (a *abuse) report(t *testing.T, name, did string, quiet time.Duration, from int) {
	t.Helper()
	if !a.lives() {
		t.Fatalf("the broker has ended:\n%s", a.b.err.tail(30))
	}
	a.goesOn(a.n.count() + 500)
	p99, peak := percentile(a.n.delays(from), 99), a.peak()
	slower := float64(p99) / float64(quiet)
	a.table = append(a.table, fmt.Sprintf("%-37s | %-7s | %5.1f | %5d MiB | %s", name, p99.Round(time.Millisecond), slower, peak>>20, did))
	t.Logf("%s: %s; the neighbour's p99 %s (alone %s, x %.1f), peak RSS %d MiB", name, did, p99, quiet, slower, peak>>20)
	if peak > abuseMemory {
		t.Errorf("%d MiB of resident memory, %d are allowed", peak>>20, abuseMemory>>20)
	}
	if limit := abuseSlower * max(quiet, abuseQuiet); p99 > limit {
		t.Errorf("the neighbour waits %s (p99), alone %s", p99, quiet)
	}
	if n := a.metric("sluice_panics_total"); n != 0 {
		t.Errorf("%.0f requests met a bug:\n%s", n, a.b.err.tail(30))
	}
}

// goesOn waits until the neighbour has read so many records.
func (a *abuse) goesOn(n int) {
	a.t.Helper()
	for deadline := time.Now().Add(time.Minute); a.n.count() < n; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			a.t.Fatalf("the neighbour has read %d records and waits for %d", a.n.count(), n)
		}
	}
}

// lives reports whether the broker has not ended.
func (a *abuse) lives() bool {
	select {
	case <-a.b.ended:
		return false
	default:
		return true
	}
}

// restores waits until what the attackers took is given back: goroutines, memory
// of requests, connections.
func (a *abuse) restores(goroutines float64) {
	a.t.Helper()
	var left []string
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		left = nil
		for _, name := range []string{"produce", "other", "answers"} {
			if n := a.metric(`sluice_request_memory_bytes{budget="` + name + `"}`); n != 0 {
				left = append(left, fmt.Sprintf("%.0f bytes of %s memory", n, name))
			}
		}
		if n := a.metric("sluice_requests_queued"); n != 0 {
			left = append(left, fmt.Sprintf("%.0f requests", n))
		}
		// The neighbour's own connections come and go; each has three goroutines. Topics
		// that the attackers made have one or two each.
		if n := a.metric("go_goroutines"); n > goroutines+50+3*a.metric("sluice_topics") {
			left = append(left, fmt.Sprintf("%.0f goroutines, %.0f before", n, goroutines))
		}
		if left == nil {
			return
		}
	}
	a.t.Errorf("left behind: %s", strings.Join(left, ", "))
}

// metric is a number that the broker tells.
func (a *abuse) metric(name string) float64 {
	a.t.Helper()
	return a.b.metric(a.t, name)
}

// peak is the most memory that the broker had, in bytes: resident, but for the pages of
// its binary, which a container drops before it kills.
func (a *abuse) peak() int64 {
	a.t.Helper()
	return a.b.memory(a.t, "VmHWM") - a.b.memory(a.t, "RssFile")
}

// resetPeak has the peak begin anew (proc(5), clear_refs).
func (a *abuse) resetPeak() {
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", a.b.cmd.Process.Pid), []byte("5"), 0)
}

// percentile of durations; 0 for none.
func percentile(all []time.Duration, p int) time.Duration {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[(len(all)-1)*p/100]
}

func (b *sluice) logsNoPanic(t *testing.T) {
	t.Helper()
	for _, line := range b.err.sofar() {
		if strings.Contains(line, "panic") || strings.HasPrefix(line, "goroutine ") {
			t.Error(line)
		}
	}
}
