//go:build integration

package integration

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// tool is what runs on top of a client: a row of the card, with checks of its own.
type tool struct {
	name string
	// run makes the checks. Without one the row says why nobody looked.
	run    func(r *toolRow)
	notRun string
}

// tools are Kafka's own and the frameworks that people run on it.
var tools = []tool{
	{name: "kcat 1.7.1 (librdkafka 2.0.2)", run: func(r *toolRow) {
		s := r.b.store
		s.url += "-kcat" // it wants a broker with a setting of its own
		r.check("five codecs, a group of two, leaves and continues", func(t *testing.T) { kcatReadsBack(t, s) })
	}},
	{name: "Console tools " + kafkaTools, run: (*toolRow).consoleTools},
	{name: "Kafka Streams " + kafkaTools, run: (*toolRow).streams},
	{name: "Kafka Connect " + kafkaTools, run: (*toolRow).connect},
	{name: "Spark " + sparkVersion, run: (*toolRow).spark},
	{name: "Flink " + flinkVersion, run: (*toolRow).flink},
	{name: "Pathway " + pathwayVersion, run: (*toolRow).pathway},
	{name: "rsyslog " + rsyslogVersion, run: (*toolRow).rsyslog},
	{name: "Telegraf " + strings.TrimPrefix(telegrafVersion, "v"), run: (*toolRow).telegrafShips},
	{name: "kafkatop " + kafkatopVersion + " (lag)", run: (*toolRow).kafkatop},
	{name: "Vector", notRun: "no registry has it: not Debian, PyPI nor npm, and crates.io not its program"},
	{name: "Fluent Bit", notRun: "no registry has it: not Debian of release 12, PyPI nor npm"},
	{name: "kafka_exporter, kminion", notRun: "the Go module proxy answers that their modules are not available; they ask for lag as kafkatop does"},
	{name: "Burrow, prometheus-kafka-consumer-group-exporter",
		notRun: "they consume Kafka's internal topic __consumer_offsets in place of asking for offsets; Sluice's is a Delta table, _sluice/consumer_offsets"},
}

// TestToolCard runs each tool against a broker of its own. They take minutes: only
// where the whole card is made.
func TestToolCard(t *testing.T) {
	if os.Getenv("SLUICE_TEST_CARD") != "full" {
		t.Skip("only for the whole report card: go run ./integration/card")
	}
	eachStore(t, func(t *testing.T, s store) {
		for _, tool := range tools {
			t.Run(tool.name, func(t *testing.T) {
				if tool.run == nil {
					t.Skip("not run: " + tool.notRun)
				}
				t.Parallel()
				s := s
				s.url = strings.TrimRight(s.url, "/") + "/" + strings.Map(plainName, t.Name())
				tool.run(&toolRow{t: t, b: startSluice(t, s), failed: map[string]bool{}})
			})
		}
	})
}

// toolRow is a tool with its broker.
type toolRow struct {
	t      *testing.T // the row's, which outlives its checks
	b      *sluice
	failed map[string]bool
}

// check runs one check.
func (r *toolRow) check(name string, f func(t *testing.T), needs ...string) {
	r.t.Run(name, func(t *testing.T) {
		defer func() { r.failed[name] = t.Failed() || t.Skipped() }()
		for _, need := range needs {
			if r.failed[need] {
				t.Skipf("not run: %q did not pass", need)
			}
		}
		f(t)
	})
}

// values writes lines to partition 0 of a topic, without keys.
func (r *toolRow) values(t *testing.T, topic string, lines ...string) {
	t.Helper()
	cl := connect(t, r.b)
	for _, line := range lines {
		if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: []byte(line)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

// kafkaTools is the version of tools/pom.xml.
const kafkaTools = "4.3.1"

// toolsPath is the class path of Kafka's tools, Streams and Connect, and of the
// programs in tools/.
func toolsPath(t *testing.T) string {
	t.Helper()
	dir := maven(t, "kafka-tools", filepath.Join("tools", "pom.xml"), filepath.Join("tools", "WordCount.java"))
	return dir + string(os.PathListSeparator) + filepath.Join(dir, "*")
}

// maven is a folder with the dependencies of a pom and the classes of programs that
// use them.
func maven(t *testing.T, name, pom string, programs ...string) string {
	t.Helper()
	pins := pinned(t, pom)
	for _, program := range programs {
		pins += pinned(t, program)
	}
	return installed(t, name, pins, func(t *testing.T, dir string) {
		sh(t, dir, nil, "mvn", "--batch-mode", "--quiet", "--file", filepath.Join(source, pom),
			"dependency:copy-dependencies", "-DoutputDirectory="+dir)
		for _, program := range programs {
			sh(t, dir, nil, "javac", "-nowarn", "-cp", filepath.Join(dir, "*"), "-d", dir, filepath.Join(source, program))
		}
	})
}

// startJava starts a class of Kafka's tools.
func (r *toolRow) startJava(t *testing.T, class string, args ...string) *process {
	t.Helper()
	command := []string{"java", "-Xmx512m", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
		"-Dlog4j2.level=WARN", "-cp", toolsPath(t), class}
	return start(t, class[strings.LastIndexByte(class, '.')+1:], nil, append(command, args...)...)
}

// java runs a class of Kafka's tools with text as its standard input, to its end, and
// returns what it printed, by lines.
func (r *toolRow) java(t *testing.T, text, class string, args ...string) []string {
	t.Helper()
	p := r.startJava(t, class, args...)
	if _, err := p.in.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	p.in.Close()
	if code := p.wait(clientTimeout); code != 0 {
		t.Fatalf("%s: exit code %d: %s", p.name, code, p.complaint())
	}
	return p.out.sofar()
}

// requireLine wants a line with all of these words, between spaces, in this order.
func requireLine(t *testing.T, lines []string, words ...string) {
	t.Helper()
	for _, line := range lines {
		fields := strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" \t,=", r) })
		at := 0
		for _, word := range words {
			i := slices.Index(fields[at:], word)
			if i < 0 {
				at = -1
				break
			}
			at += i + 1
		}
		if at >= 0 {
			return
		}
	}
	t.Fatalf("no line with %q in: %s", words, strings.Join(lines, " | "))
}
