//go:build integration

package integration

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Versions of what has no file of pins: tools/spark.xml and tools/flink.xml have the
// same.
const (
	sparkVersion   = "3.5.7"
	flinkVersion   = "2.0.1, connector 4.0.1"
	pathwayVersion = "0.33.0"
)

// written is a sample that franz-go wrote to a topic, which it made.
func (r *toolRow) written(t *testing.T, topic, tag string) []record {
	t.Helper()
	cl := connect(t, r.b, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	records := sample(tag, 100, partitions)
	for i := range records {
		ack, err := cl.ProduceSync(t.Context(), records[i].kgo(topic)).First()
		if err != nil {
			t.Fatal(err)
		}
		records[i].offset = ack.Offset
	}
	return records
}

// requireCopy waits until a topic has what was written, once each, wherever and
// whenever it was written there.
func (r *toolRow) requireCopy(t *testing.T, topic string, want []record) {
	t.Helper()
	cl := connect(t, r.b, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	var got []record
	eventually(t, func() (string, bool) {
		ctx, cancel := soon(t)
		defer cancel()
		cl.PollFetches(ctx).EachRecord(func(k *kgo.Record) {
			rec := record{key: k.Key, value: k.Value}
			for _, h := range k.Headers {
				rec.headers = append(rec.headers, header{h.Key, h.Value})
			}
			got = append(got, rec)
		})
		return topic + " has too few records", len(got) >= len(want)
	})
	requireContent(t, want, got)
}

// spark reads a topic as a batch and copies it as a stream, which goes on where its
// checkpoint is.
func (r *toolRow) spark() {
	const from, to = "spark-from", "spark-to"
	jars := func(t *testing.T) string {
		return maven(t, "spark-kafka", filepath.Join("tools", "spark.xml"))
	}
	run := func(t *testing.T, args ...string) *process {
		t.Helper()
		interpreter := venv(t, "python-spark", "--no-binary pyspark\npyspark=="+sparkVersion+"\nsetuptools==80.9.0")
		p := start(t, "spark", []string{"SPARK_KAFKA_JARS=" + jars(t), "SPARK_LOCAL_IP=127.0.0.1"},
			append([]string{interpreter, script("tools", "spark.py")}, args...)...)
		if code := p.wait(2 * clientTimeout); code != 0 {
			t.Fatalf("exit code %d: %s", code, p.complaint())
		}
		return p
	}
	cl := connect(r.t, r.b)
	createTopic(r.t, cl, from)
	createTopic(r.t, cl, to)
	checkpoint := filepath.Join(r.t.TempDir(), "checkpoint")
	var all []record
	r.check("a batch reads a topic", func(t *testing.T) {
		all = r.written(t, from, "first")
		m := &member{process: run(t, "batch", r.b.address, from), parse: parseConsumed}
		got, _ := m.told()
		requireSame(t, "Spark", index(t, all), got)
	})
	r.check("a stream copies it", func(t *testing.T) {
		run(t, "copy", r.b.address, from, to, checkpoint)
		r.requireCopy(t, to, all)
	}, "a batch reads a topic")
	r.check("it goes on from its checkpoint", func(t *testing.T) {
		r.b.stop(r.t)
		r.b.restart(r.t)
		all = append(all, r.written(t, from, "second")...)
		run(t, "copy", r.b.address, from, to, checkpoint)
		r.requireCopy(t, to, all)
	}, "a stream copies it")
}

// flink copies a topic with a job that ends and with one that does not, which
// commits its group's offsets with its checkpoints.
func (r *toolRow) flink() {
	const from, group = "flink-from", "flink"
	run := func(t *testing.T, to, group, bounded string) *process {
		t.Helper()
		dir := maven(t, "flink", filepath.Join("tools", "flink.xml"), filepath.Join("tools", "FlinkCopy.java"))
		return start(t, "flink", nil, "java", "-Xmx768m", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
			"--add-opens=java.base/java.util=ALL-UNNAMED", "--add-opens=java.base/java.lang=ALL-UNNAMED",
			"-cp", dir+string(os.PathListSeparator)+filepath.Join(dir, "*"), "FlinkCopy", r.b.address, from, to, group, bounded)
	}
	for _, topic := range []string{from, "flink-once", "flink-on"} {
		createTopic(r.t, connect(r.t, r.b), topic)
	}
	var all []record
	r.check("a bounded job copies a topic", func(t *testing.T) {
		all = r.written(t, from, "first")
		p := run(t, "flink-once", "flink-bounded", "bounded")
		if code := p.wait(clientTimeout); code != 0 {
			t.Fatalf("exit code %d: %s", code, p.complaint())
		}
		r.requireCopy(t, "flink-once", all)
	})
	copies := func(t *testing.T) {
		p := run(t, "flink-on", group, "unbounded")
		r.requireCopy(t, "flink-on", all)
		eventually(t, func() (string, bool) {
			sum := int64(0)
			offsets, err := kadm.NewClient(connect(t, r.b)).FetchOffsets(t.Context(), group)
			offsets.Each(func(o kadm.OffsetResponse) { sum += o.At })
			return "its group has not committed all", err == nil && sum == int64(len(all))
		})
		p.kill()
	}
	r.check("an unbounded one commits with its checkpoints", copies, "a bounded job copies a topic")
	r.check("another goes on from there", func(t *testing.T) {
		all = append(all, r.written(t, from, "second")...)
		copies(t)
	}, "an unbounded one commits with its checkpoints")
	r.check("exactly once", func(t *testing.T) { t.Skip("not there yet: transactions are not served, nor advertised") })
}

// pathway counts words of a topic into another.
func (r *toolRow) pathway() {
	const from, to = "pathway-from", "pathway-to"
	cl := connect(r.t, r.b)
	createTopic(r.t, cl, from)
	createTopic(r.t, cl, to)
	r.check("counts words of a topic into another", func(t *testing.T) {
		r.values(t, from, slices.Repeat([]string{`{"word":"a"}`, `{"word":"b"}`, `{"word":"a"}`}, 30)...)
		p := start(t, "pathway", []string{"PYTHONUNBUFFERED=1"}, venv(t, "python-pathway", "pathway=="+pathwayVersion),
			script("tools", "words.py"), r.b.address, from, to)
		if code := p.wait(clientTimeout); code != 0 {
			t.Fatalf("exit code %d: %s", code, p.complaint())
		}
		counts := map[string]int{}
		cl := connect(t, r.b, kgo.ConsumeTopics(to), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		eventually(t, func() (string, bool) {
			ctx, cancel := soon(t)
			defer cancel()
			cl.PollFetches(ctx).EachRecord(func(k *kgo.Record) {
				var row struct {
					Word        string
					Count, Diff int
				}
				if err := json.Unmarshal(k.Value, &row); err != nil {
					t.Fatalf("%s: %v", k.Value, err)
				}
				counts[row.Word] += row.Count * row.Diff // an update takes the old count back
			})
			return "the counts are wrong", counts["a"] == 60 && counts["b"] == 30
		})
	})
}
