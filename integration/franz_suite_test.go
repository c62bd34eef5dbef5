//go:build integration

package integration

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	// franzModule is the client whose tests run; go.mod has its version.
	franzModule = "github.com/twmb/franz-go"
	// franzRecords is how many records go through each chain of groups, unless
	// SLUICE_TEST_FRANZ_RECORDS says otherwise. The suite's own default is 500000,
	// which takes a minute or two per chain.
	franzRecords = "20000"
	// franzTimeout bounds one run of the suite, at 500000 records on a busy machine.
	franzTimeout = 20 * time.Minute
)

// Why a part of franz-go's suite does not apply.
const (
	noTransactions = "transactions (KIP-98) are not served"
	noGroup848     = "consumer groups of KIP-848 are not served, nor advertised"
	noShareGroups  = "share groups (KIP-932) are not served, nor advertised"
	noSASL         = "SASL is not served, and the test wants brokers with SCRAM users"
	produceFrom0   = "for brokers that advertise no Produce 0-2; like Kafka we do, for old librdkafka (KAFKA-18659)"
)

// franzLeftOut are the tests that are not run.
var franzLeftOut = map[string]string{
	"TestTxnEtl": noTransactions,
}

// franzSkipped are the tests that skip themselves, by what the broker advertises or
// the environment lacks. These and no others may: a test that begins to run, or
// another that skips itself, fails ours until this list is right again.
var franzSkipped = map[string]string{
	"TestGroupETL/range/848":                   noGroup848,
	"TestGroupETL/sticky/848":                  noGroup848,
	"TestGroupETL/sticky/848/static":           noGroup848,
	"TestGroupSimple/848":                      noGroup848,
	"Test848RegexBrokerResolves":               noGroup848,
	"TestShareGroup":                           noShareGroups,
	"TestShareGroupETL":                        noShareGroups,
	"TestShareGroupAckOnClose":                 noShareGroups,
	"TestShareGroupOffsetsAdmin":               noShareGroups,
	"TestConsumeRegexShareSkipsInternal":       noShareGroups,
	"TestSCRAMAuth":                            noSASL,
	"TestSCRAMAuthBadCredentials":              noSASL,
	"TestIssueProduceBrokerTooOldFailsRecords": produceFrom0,
}

// franz-go's own tests, as they come with its module, pass against sluice: its client
// is the strictest reader of the protocol that there is in Go, and its chains of
// groups lose or double a record if anybody does.
func TestTheSuiteOfFranzGoPasses(t *testing.T) {
	module := franzCopy(t)
	eachStore(t, func(t *testing.T, s store) {
		b := startSluice(t, s)
		results := franzTests(t, module, b.address, "-skip", skipping(franzLeftOut))
		results.report(t)
		for test, why := range franzLeftOut {
			t.Logf("left out: %s: %s", test, why)
		}
		for _, test := range slices.Sorted(maps.Keys(results.skipped)) {
			if franzSkipped[test] == "" {
				t.Errorf("%s skipped itself: %s", test, results.skipped[test])
			}
			t.Logf("skipped: %s: %s", test, franzSkipped[test])
		}
		for test := range franzSkipped {
			if _, ok := results.skipped[test]; !ok {
				t.Errorf("%s does not skip itself any more", test)
			}
		}
		b.logsNoErrors(t)
	})
}

// The chains of groups, with each of the client's connections cut within 1.5 s: its
// retries, rewound sequence numbers and rejoined groups must lose and double nothing.
func TestTheGroupsOfFranzGoSurviveDyingConnections(t *testing.T) {
	module := franzCopy(t)
	eachStore(t, func(t *testing.T, s store) {
		b := startSluice(t, s, "--log-level", "info")
		t.Setenv("KGO_TEST_CHAOS", "1")
		franzTests(t, module, b.address, "-run", "^TestGroupETL$").report(t)
		b.logsNoErrors(t)
	})
}

// logsNoErrors wants that nothing went wrong in the broker's own eyes.
func (b *sluice) logsNoErrors(t *testing.T) {
	t.Helper()
	for _, line := range b.err.sofar() {
		if strings.Contains(line, "level=ERROR") {
			t.Error(line)
		}
	}
}

// franzCopy copies the module out of the module cache, where nothing can be built:
// it holds no write permission.
func franzCopy(t *testing.T) string {
	t.Helper()
	list := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", franzModule)
	list.Dir = source
	out, err := list.Output()
	if err != nil {
		t.Fatalf("%s is not in the module cache: %v", franzModule, err)
	}
	dir := filepath.Join(t.TempDir(), "franz-go")
	if err := os.CopyFS(dir, os.DirFS(string(bytes.TrimSpace(out)))); err != nil {
		t.Fatal(err)
	}
	return dir
}

// skipping is a pattern of exactly these tests.
func skipping(tests map[string]string) string {
	return "^(" + strings.Join(slices.Sorted(maps.Keys(tests)), "|") + ")$"
}

// franzResults are the outcomes of a run, by name of the test.
type franzResults struct {
	passed  map[string]time.Duration
	failed  map[string]string // what they wrote
	skipped map[string]string
	code    int    // the exit code of go test
	rest    string // what belongs to no test, as errors of the build
}

// franzTests runs tests of the module against a broker.
func franzTests(t *testing.T, module, address string, choice ...string) franzResults {
	t.Helper()
	records := os.Getenv("SLUICE_TEST_FRANZ_RECORDS")
	if records == "" {
		records = franzRecords
	}
	env := []string{"KGO_SEEDS=" + address, "KGO_TEST_RECORDS=" + records, "KGO_LOG_LEVEL=none", "GOFLAGS=", "GOWORK=off"}
	command := append([]string{"go", "-C", module, "test", "-json", "-vet=off", "-count=1", "-timeout", franzTimeout.String()}, choice...)
	p := start(t, "go test", env, append(command, "./pkg/kgo")...)
	results := franzResults{passed: map[string]time.Duration{}, failed: map[string]string{}, skipped: map[string]string{}}
	results.code = p.wait(franzTimeout + buildTimeout)

	wrote := map[string]string{}
	scanLines(p.out.String(), func(line []byte) {
		var e struct { // go doc test2json
			Action, Test, Output string
			Elapsed              float64 // s
		}
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		switch e.Action {
		case "output", "build-output":
			wrote[e.Test] += e.Output
		case "pass":
			results.passed[e.Test] = time.Duration(e.Elapsed * float64(time.Second))
		case "fail":
			results.failed[e.Test] = wrote[e.Test]
		case "skip":
			results.skipped[e.Test] = wrote[e.Test]
		}
	})
	results.rest = wrote[""]
	delete(results.passed, "") // the package
	delete(results.failed, "")
	return results
}

// report fails the test with those that failed, and tells what took longest.
func (r franzResults) report(t *testing.T) {
	t.Helper()
	for _, test := range slices.Sorted(maps.Keys(r.failed)) {
		t.Errorf("%s failed:\n%s", test, r.failed[test])
	}
	if r.code != 0 && len(r.failed) == 0 || len(r.passed) == 0 {
		t.Errorf("go test ended with exit code %d:\n%s", r.code, r.rest)
	}
	longest := slices.SortedFunc(maps.Keys(r.passed), func(a, b string) int { return int(r.passed[b] - r.passed[a]) })
	t.Logf("%d passed, %d failed, %d skipped", len(r.passed), len(r.failed), len(r.skipped))
	for _, test := range longest[:min(len(longest), 8)] {
		t.Logf("%6.1f s  %s", r.passed[test].Seconds(), test)
	}
}
