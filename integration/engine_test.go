//go:build integration

package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// engines are the Delta engines that run in CI, three implementations of the
// protocol: delta-rs, delta-kernel-rs, and Polars on the first. Modules in engines/.
var engines = []string{"deltalake", "duckdb", "polars"}

// engineTimeout bounds one query, start of Python on a busy machine included.
const engineTimeout = 2 * time.Minute

// read starts an engine on a table.
func read(t *testing.T, s store, engine, command, table string) *process {
	t.Helper()
	env := append([]string{"PYTHONDONTWRITEBYTECODE=1", "POLARS_MAX_THREADS=2"}, s.env...)
	return start(t, engine+" "+command, env, python(t, "engines"), script("engines", "read.py"), engine, command, s.table(table))
}

// rows is a table as an engine sees it.
func rows(t *testing.T, s store, engine, table string) []record {
	t.Helper()
	p := read(t, s, engine, "rows", table)
	if code := p.wait(engineTimeout); code != 0 {
		t.Fatalf("%s can not read %s: exit code %d", engine, table, code)
	}
	var records []record
	scanLines(p.out.String(), func(line []byte) {
		r, err := parseRecord(strings.TrimPrefix(string(line), "record\t"))
		if err != nil {
			t.Fatalf("%s: %v", engine, err)
		}
		records = append(records, r)
	})
	return records
}

// summary is what an engine aggregates over the rows of a partition.
type summary struct {
	topic                string
	partition            int32
	timestampType        int
	count, min, max, sum int64
}

func parseSummary(t *testing.T, line string) summary {
	t.Helper()
	var s summary
	if _, err := fmt.Sscanf(line, "partition\t%s\t%d\t%d\t%d\t%d\t%d\t%d",
		&s.topic, &s.partition, &s.timestampType, &s.count, &s.min, &s.max, &s.sum); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	return s
}

// requireWhole checks that the offsets are 0 to count-1, each once.
func (s summary) requireWhole(t *testing.T, engine string) {
	t.Helper()
	if s.min != 0 || s.max != s.count-1 || s.sum != s.count*(s.count-1)/2 {
		t.Fatalf("%s: partition %d has holes or doubles: %+v", engine, s.partition, s)
	}
}

// requireRows checks that every engine sees exactly these records, by rows and by
// its own aggregates.
func requireRows(t *testing.T, s store, topic string, want map[id]record) {
	t.Helper()
	counts := map[int32]int64{}
	for at := range want {
		counts[at.partition]++
	}
	for _, engine := range engines {
		requireSame(t, engine, want, rows(t, s, engine, topic))
		p := read(t, s, engine, "partitions", topic)
		if code := p.wait(engineTimeout); code != 0 {
			t.Fatalf("%s can not aggregate %s: exit code %d", engine, topic, code)
		}
		seen := 0
		scanLines(p.out.String(), func(line []byte) {
			sum := parseSummary(t, string(line))
			if sum.topic != topic || sum.timestampType != 0 || sum.count != counts[sum.partition] {
				t.Errorf("%s: %+v, want %d rows", engine, sum, counts[sum.partition])
			}
			sum.requireWhole(t, engine)
			seen++
		})
		if seen != len(counts) {
			t.Errorf("%s: %d partitions, want %d", engine, seen, len(counts))
		}
	}
}

// What a client wrote is what each engine reads, row for row: from the log alone,
// and with a checkpoint.
func TestEnginesReadWhatClientsWrote(t *testing.T) {
	eachStore(t, func(t *testing.T, s store) {
		b := startSluice(t, s)
		const topic = "read-by-engines"
		c := librdkafka
		c.create(t, b, topic, partitions)
		var written []record
		for _, codec := range allCodecs {
			written = append(written, c.produce(t, b, topic, codec, c.sample(codec, 60, partitions))...)
		}
		want := index(t, written)
		requireRows(t, s, topic, want)
		if _, ok := checkpointOf(t, s, topic); ok {
			t.Fatal("a checkpoint after a few commits: this tests nothing without one")
		}

		// One record a commit, until the broker has written a checkpoint.
		cl := connect(t, b, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0))
		deadline := time.Now().Add(2 * time.Minute)
		version := int64(-1)
		for i := 0; version < 100; i++ {
			if time.Now().After(deadline) {
				t.Fatalf("no checkpoint after %d more records", i)
			}
			r := sample("one", i+1, partitions)[i]
			p := produceOne(t, cl, topic, r)
			want[p.id()] = p
			if i%20 == 0 {
				version, _ = checkpointOf(t, s, topic)
			}
		}
		t.Logf("a checkpoint at version %d", version)
		requireDense(t, want)
		requireRows(t, s, topic, want)

		// And after a restart, which loads it.
		b.stop(t)
		b.restart(t)
		p := produceOne(t, connect(t, b, kgo.RecordPartitioner(kgo.ManualPartitioner())), topic, sample("last", 4, partitions)[3])
		want[p.id()] = p
		requireDense(t, want)
		requireRows(t, s, topic, want)
	})
}

// produceOne writes a record and returns it with its place.
func produceOne(t *testing.T, cl *kgo.Client, topic string, r record) record {
	t.Helper()
	kr := &kgo.Record{Topic: topic, Partition: r.partition, Key: r.key, Value: r.value, Timestamp: time.UnixMilli(r.timestamp)}
	for _, h := range r.headers {
		kr.Headers = append(kr.Headers, kgo.RecordHeader{Key: h.name, Value: h.value})
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := cl.ProduceSync(ctx, kr).FirstErr(); err != nil {
		t.Fatal(err)
	}
	r.partition, r.offset = kr.Partition, kr.Offset
	return r
}

// checkpointOf is the version of a table's last checkpoint.
func checkpointOf(t *testing.T, s store, table string) (int64, bool) {
	t.Helper()
	text, ok := s.object(t, table+"/_delta_log/_last_checkpoint")
	if !ok {
		return -1, false
	}
	var hint struct {
		Version int64 `json:"version"`
	}
	if err := json.Unmarshal(text, &hint); err != nil {
		t.Fatal(err)
	}
	return hint.Version, true
}

// While records are written, an engine sees at each look a whole prefix of every
// partition, and never less than before.
func TestEnginesSeeATableGrowAndNeverShrink(t *testing.T) {
	eachStore(t, func(t *testing.T, s store) {
		b := startSluice(t, s)
		const topic = "grows"
		cl := connect(t, b, kgo.RecordPartitioner(kgo.RoundRobinPartitioner()), kgo.DefaultProduceTopic(topic))
		createTopic(t, cl, topic)
		// Rows to see from the first look on.
		for range partitions {
			produceOne(t, connect(t, b, kgo.RecordPartitioner(kgo.ManualPartitioner())), topic, record{timestamp: time.Now().UnixMilli()})
		}
		var watchers []*process
		for _, engine := range engines {
			watchers = append(watchers, read(t, s, engine, "watch", topic))
		}
		looks := func(p *process) int { return strings.Count(p.out.String(), "seen\n") }
		const wanted = 8
		deadline := time.Now().Add(engineTimeout)
		written := 0
		for done := false; !done; {
			for range 50 {
				cl.Produce(t.Context(), &kgo.Record{Value: fmt.Appendf(nil, "record %d", written)}, func(_ *kgo.Record, err error) {
					if err != nil {
						t.Error(err)
					}
				})
				written++
			}
			if err := cl.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			done = true
			for _, p := range watchers {
				done = done && looks(p) >= wanted
			}
			if time.Now().After(deadline) {
				t.Fatalf("the engines have not looked %d times", wanted)
			}
		}
		for i, p := range watchers {
			fmt.Fprintln(p.in)
			if code := p.wait(engineTimeout); code != 0 {
				t.Fatalf("%s ended with exit code %d", p.name, code)
			}
			before := map[int32]int64{}
			grown := 0
			scanLines(p.out.String(), func(line []byte) {
				if string(line) == "seen" {
					return
				}
				sum := parseSummary(t, string(line))
				sum.requireWhole(t, engines[i])
				if sum.count < before[sum.partition] {
					t.Errorf("%s: partition %d shrank from %d to %d", engines[i], sum.partition, before[sum.partition], sum.count)
				}
				if sum.count > before[sum.partition] {
					grown++
				}
				before[sum.partition] = sum.count
			})
			if grown < wanted/2 {
				t.Errorf("%s saw the table grow %d times in %d looks", engines[i], grown, looks(p))
			}
		}
		t.Logf("%d records while the engines looked", written)
	})
}

func createTopic(t *testing.T, cl *kgo.Client, topic string) {
	t.Helper()
	resp, err := kadm.NewClient(cl).CreateTopic(t.Context(), partitions, 1, nil, topic)
	if err == nil {
		err = resp.Err
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Lag is a join of the tables of offsets and records: engines/lag.sql, in DuckDB.
func TestLagIsAnSQLJoin(t *testing.T) {
	eachStore(t, func(t *testing.T, s store) {
		b := startSluice(t, s)
		const topic = "lags"
		cl := connect(t, b, kgo.RecordPartitioner(kgo.ManualPartitioner()))
		createTopic(t, cl, topic)
		for i := range 40 {
			produceOne(t, cl, topic, sample("lag", i+1, partitions)[i])
		}
		admin := kadm.NewClient(cl)
		commit := func(group string, at ...int64) {
			t.Helper()
			var offsets kadm.Offsets
			for p, offset := range at {
				offsets.AddOffset(topic, int32(p), offset, -1)
			}
			if err := admin.CommitAllOffsets(t.Context(), group, offsets); err != nil {
				t.Fatal(err)
			}
		}
		commit("slow", 1, 1, 1, 1)
		commit("slow", 2, 3, 4, 10)
		commit("quick", 10, 10)
		commit("gone", 5)
		if _, err := admin.DeleteGroups(t.Context(), "gone"); err != nil {
			t.Fatal(err)
		}

		p := start(t, "lag.sql", append([]string{"PYTHONDONTWRITEBYTECODE=1"}, s.env...), python(t, "engines"),
			script("engines", "lag.py"), s.table("_sluice/consumer_offsets"), s.table(topic))
		if code := p.wait(engineTimeout); code != 0 {
			t.Fatalf("exit code %d", code)
		}
		type lag struct {
			group, topic         string
			partition            int32
			committed, end, lag  int64
			tableVersionPositive bool
		}
		var got []lag
		scanLines(p.out.String(), func(line []byte) {
			var l lag
			var version int64
			if _, err := fmt.Sscanf(string(line), "lag\t%s\t%s\t%d\t%d\t%d\t%d\t%d", &l.group, &l.topic, &l.partition,
				&l.committed, &l.end, &l.lag, &version); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			l.tableVersionPositive = version > 0
			got = append(got, l)
		})
		want := []lag{
			{"quick", topic, 0, 10, 10, 0, true}, {"quick", topic, 1, 10, 10, 0, true},
			{"slow", topic, 0, 2, 10, 8, true}, {"slow", topic, 1, 3, 10, 7, true},
			{"slow", topic, 2, 4, 10, 6, true}, {"slow", topic, 3, 10, 10, 0, true},
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("lag by SQL:\n%v\nwant\n%v", got, want)
		}
	})
}
