//go:build integration

package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Versions of what has no file of pins: Debian's of release 12, PyPI's, the Go proxy's.
const (
	rsyslogVersion  = "8.2302 (librdkafka 2.0.2)"
	kafkatopVersion = "1.16"
	telegrafVersion = "v1.37.2"
)

// telegraf is Telegraf with the plugins of ship, built as its custom_builder does: by
// tags. With all of them it would be a build of many minutes.
func telegraf(t *testing.T) string {
	t.Helper()
	tags := "custom inputs.kafka_consumer inputs.tail outputs.kafka outputs.file parsers.value serializers.template"
	dir := installed(t, "telegraf", telegrafVersion+tags, func(t *testing.T, dir string) {
		sh(t, dir, []string{"GOBIN=" + dir, "GOFLAGS=", "CGO_ENABLED=0"}, "go", "install", "-trimpath", "-ldflags=-s -w",
			"-tags", tags, "github.com/influxdata/telegraf/cmd/telegraf@"+telegrafVersion)
	})
	return filepath.Join(dir, "telegraf")
}

// rsyslog ships lines of a file to a topic (omkafka) and records of the topic to a
// file (imkafka).
func (r *toolRow) rsyslog() {
	debian(r.t, "rsyslog-kafka")
	r.ships(func(t *testing.T, dir, from, topic, to string) *process {
		config := filepath.Join(dir, "rsyslog.conf")
		write(t, config, fmt.Sprintf(`
global(workDirectory=%[1]q)
module(load="imfile" mode="polling" pollingInterval="1")
module(load="imkafka")
module(load="omkafka")
template(name="record" type="string" string="%%msg%%")
template(name="line" type="string" string="%%rawmsg%%\n")
input(type="imfile" file=%[2]q tag="file" ruleset="to-topic")
ruleset(name="to-topic") {
  action(type="omkafka" broker=[%[3]q] topic=%[4]q template="record" resubmitOnFailure="on" keepFailedMessages="on" failedMsgFile="%[1]s/failed"
    action.resumeRetryCount="-1" confParam=["compression.codec=lz4", "enable.idempotence=true"])
}
input(type="imkafka" broker=[%[3]q] topic=%[4]q consumergroup="rsyslog" ruleset="to-file" confParam=["auto.offset.reset=earliest"])
ruleset(name="to-file") { action(type="omfile" file=%[5]q template="line") }
`, dir, from, r.b.address, topic, to))
		return start(t, "rsyslog", nil, "/usr/sbin/rsyslogd", "-n", "-f", config, "-i", filepath.Join(dir, "pid"))
	})
}

// telegrafShips does the same with Telegraf's plugins for Kafka, which are Sarama.
func (r *toolRow) telegrafShips() {
	r.ships(func(t *testing.T, dir, from, topic, to string) *process {
		config := filepath.Join(dir, "telegraf.conf")
		write(t, config, fmt.Sprintf(`
[agent]
  interval = "200ms"
  flush_interval = "200ms"
  omit_hostname = true
  statefile = "%[1]s/state"
[[inputs.tail]]
  files = [%[2]q]
  initial_read_offset = "beginning"
  watch_method = "poll"
  name_override = "lines"
  data_format = "value"
  data_type = "string"
[[outputs.kafka]]
  namepass = ["lines"]
  brokers = [%[3]q]
  topic = %[4]q
  version = "3.6.0"
  idempotent_writes = true
  compression_codec = 3
  data_format = "template"
  template = '{{ .Field "value" }}'
[[inputs.kafka_consumer]]
  name_override = "records"
  brokers = [%[3]q]
  topics = [%[4]q]
  version = "3.6.0"
  consumer_group = "telegraf"
  offset = "oldest"
  data_format = "value"
  data_type = "string"
[[outputs.file]]
  namepass = ["records"]
  files = [%[5]q]
  data_format = "template"
  template = "{{ .Field \"value\" }}\n"
`, dir, from, r.b.address, topic, to))
		return start(t, "telegraf", nil, telegraf(t), "--config", config)
	})
}

// ships runs a program that ships the lines of a file to a topic, and the records of
// that topic to a file: in is out, and at least once past a restart of the broker and of
// the program.
func (r *toolRow) ships(run func(t *testing.T, dir, from, topic, to string) *process) {
	const topic = "shipped"
	dir := r.t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	createTopic(r.t, connect(r.t, r.b), topic)
	var lines []string
	grow := func(t *testing.T, n int) {
		t.Helper()
		f, err := os.OpenFile(from, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for range n {
			line := fmt.Sprintf("line %d of what is shipped", len(lines))
			lines = append(lines, line)
			fmt.Fprintln(f, line)
		}
	}
	var p *process
	running := func(t *testing.T) {
		t.Helper()
		select {
		case <-p.ended:
			t.Fatalf("it has ended: %s", p.complaint())
		default:
		}
	}
	// distinct leaves out what came again: past a restart they promise at least once.
	distinct := func(lines []string) []string { return slices.Compact(slices.Sorted(slices.Values(lines))) }
	// arrive waits until look tells of all lines, and of no others.
	arrive := func(t *testing.T, where string, again bool, look func() []string) {
		t.Helper()
		var got []string
		eventually(t, func() (string, bool) {
			running(t)
			if got = look(); again {
				got = distinct(got)
			}
			return fmt.Sprintf("%d of %d lines are in %s", len(got), len(lines), where), len(got) >= len(lines)
		})
		requireLines(t, lines, got)
	}
	records := func(t *testing.T, again bool) {
		t.Helper()
		cl := connect(t, r.b, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		var all []string
		arrive(t, "the topic", again, func() []string {
			ctx, cancel := soon(t)
			defer cancel()
			cl.PollFetches(ctx).EachRecord(func(k *kgo.Record) { all = append(all, strings.TrimSpace(string(k.Value))) })
			return all
		})
	}
	file := func(t *testing.T, again bool) {
		t.Helper()
		arrive(t, "the file", again, func() []string {
			text, _ := os.ReadFile(to) // not there yet
			return strings.FieldsFunc(string(text), func(c rune) bool { return c == '\n' })
		})
	}
	r.check("a file to a topic", func(t *testing.T) {
		grow(t, 500)
		p = run(r.t, dir, from, topic, to)
		records(t, false)
	})
	r.check("the topic to a file", func(t *testing.T) { file(t, false) }, "a file to a topic")
	r.check("goes on past a restart of the broker", func(t *testing.T) {
		r.b.stop(r.t)
		r.b.restart(r.t)
		grow(t, 500)
		records(t, true)
		file(t, true)
	}, "the topic to a file")
	r.check("goes on where it stopped", func(t *testing.T) {
		p.terminate()
		p.wait(clientTimeout)
		if err := os.Remove(to); err != nil {
			t.Fatal(err)
		}
		// Of the file it may begin again, or not; of the topic it has committed.
		cl := connect(t, r.b, kgo.RecordPartitioner(kgo.ManualPartitioner()))
		produceOne(t, cl, topic, record{partition: 1, value: []byte("the last"), timestamp: noTimestamp})
		p = run(r.t, dir, from, topic, to)
		eventually(t, func() (string, bool) {
			text, _ := os.ReadFile(to)
			return "the record that came meanwhile is not there", slices.Contains(strings.Split(string(text), "\n"), "the last")
		})
	}, "goes on past a restart of the broker")
}

// requireLines compares lines but for their order.
func requireLines(t *testing.T, want, got []string) {
	t.Helper()
	w, g := slices.Sorted(slices.Values(want)), slices.Sorted(slices.Values(got))
	for i := range min(len(w), len(g)) {
		if w[i] != g[i] {
			t.Fatalf("%d lines, want %d: %q, want %q", len(g), len(w), g[i], w[i])
		}
	}
	if len(w) != len(g) {
		t.Fatalf("%d lines, want %d", len(g), len(w))
	}
}

// kafkatop asks for the lag of groups as monitors do: committed offsets against the ends
// of partitions.
func (r *toolRow) kafkatop() {
	const topic, group = "lagging", "behind"
	lag := func(t *testing.T, least, most int64) {
		t.Helper()
		p := start(t, "kafkatop", nil, filepath.Join(filepath.Dir(venv(t, "python-kafkatop", "kafkatop=="+kafkatopVersion)), "kafkatop"),
			"--kafka-broker", r.b.address, "--summary-json", "--all", "--poll-period", "1", "--poll-iterations", "1")
		if code := p.wait(clientTimeout); code != 0 {
			t.Fatalf("exit code %d: %s", code, p.complaint())
		}
		var groups map[string]struct {
			Topics map[string]struct {
				Partitions int
				Most       int64 `json:"lag_max"`
				Least      int64 `json:"lag_min"`
			}
		}
		if err := json.Unmarshal([]byte(p.out.String()), &groups); err != nil {
			t.Fatalf("%v: %s", err, p.out)
		}
		if got := groups[group].Topics[topic]; got.Partitions != partitions || got.Least != least || got.Most != most {
			t.Fatalf("%+v, want %d to %d", got, least, most)
		}
	}
	cl := connect(r.t, r.b, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	createTopic(r.t, cl, topic)
	commit := func(t *testing.T, at ...int64) {
		t.Helper()
		commits := kadm.Offsets{}
		for p, offset := range at {
			commits.Add(kadm.Offset{Topic: topic, Partition: int32(p), At: offset, LeaderEpoch: -1})
		}
		if err := kadm.NewClient(cl).CommitAllOffsets(t.Context(), group, commits); err != nil {
			t.Fatal(err)
		}
	}
	r.check("the lag of a group is the true one", func(t *testing.T) {
		for _, rec := range sample("lag", 100, partitions) { // 25 in each
			produceOne(t, cl, topic, rec)
		}
		commit(t, 25, 20, 10, 0)
		lag(t, 0, 25)
	})
	r.check("and follows commits and a restart", func(t *testing.T) {
		commit(t, 25, 22, 20, 18)
		r.b.stop(r.t)
		r.b.restart(r.t)
		produceOne(t, cl, topic, sample("one", 1, 1)[0]) // to partition 0
		lag(t, 1, 7)
	}, "the lag of a group is the true one")
}
