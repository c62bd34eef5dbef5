//go:build integration

package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// engineTimeout bounds one command to an engine, its start on a busy machine included.
const engineTimeout = 5 * time.Minute

// engine is what reads Delta tables: a row of the card, and a program that takes
// the commands of engines/README.md.
type engine struct {
	name, version string
	core          bool // runs without SLUICE_TEST_CARD=full too
	// command installs the program and is what starts it on a store.
	command func(t *testing.T, s store) (env, command []string)
	// lacks says why the engine has not what a check, or a group of checks, is about.
	lacks map[string]string
	// snippet runs what `sluice table sql` prints for the engine, and returns what it
	// said.
	snippet func(t *testing.T, s store, text string) *process
	// Without a command the row says why nobody looked.
	notRun string
}

// session is a running engine. Like a notebook or a server it stays while tables
// grow.
type session struct {
	*process
	engine engine
	seen   int // lines of the answers before
}

// open starts an engine on a store. It ends with the test.
func (e engine) open(t *testing.T, s store) *session {
	t.Helper()
	env, command := e.command(t, s)
	return &session{process: start(t, e.name, append(env, s.env...), command...), engine: e}
}

// ask has the engine obey a command and returns the lines of its answer.
func (s *session) ask(t *testing.T, command ...string) []string {
	t.Helper()
	if _, err := fmt.Fprintln(s.in, strings.Join(command, "\t")); err != nil {
		t.Fatalf("%s: %v", s.engine.name, err)
	}
	for deadline := time.Now().Add(engineTimeout); ; time.Sleep(2 * time.Millisecond) {
		lines := s.out.sofar()
		for i, line := range lines[s.seen:] {
			switch word, rest, _ := strings.Cut(line, "\t"); word {
			case "done":
				answer := lines[s.seen : s.seen+i]
				s.seen += i + 1
				return answer
			case "failed":
				s.seen += i + 1
				t.Fatalf("%s can not %s: %s", s.engine.name, strings.Join(command, " "), rest)
			}
		}
		select {
		case <-s.ended:
			t.Fatalf("%s has ended by itself: %s", s.engine.name, s.err.tail(3))
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s has not answered %s", s.engine.name, strings.Join(command, " "))
		}
	}
}

// records has the engine obey a command that prints records.
func (s *session) records(t *testing.T, command ...string) []record {
	t.Helper()
	var records []record
	for _, line := range s.ask(t, command...) {
		r, err := parseRecord(strings.TrimPrefix(line, "record\t"))
		if err != nil {
			t.Fatalf("%s: %q: %v", s.engine.name, line, err)
		}
		records = append(records, r)
	}
	return records
}

// rows is a table as an engine sees it.
func rows(t *testing.T, s store, e engine, table string) []record {
	t.Helper()
	session := e.open(t, s)
	defer session.kill()
	return session.records(t, "rows", s.table(table))
}

// requireEngines checks that engines of three makes see these records.
func requireEngines(t *testing.T, s store, table string, want map[id]record) {
	t.Helper()
	for _, e := range []engine{deltaRs, duckDB, polars} {
		requireSame(t, e.name, want, rows(t, s, e, table))
	}
}

// summary is what an engine aggregates over the rows of a partition.
type summary struct {
	topic                string
	partition            int32
	timestampType        int
	count, min, max, sum int64 // of offsets
	oldest, newest       int64 // timestamps, ms
	nullKeys             int64
	emptyValues          int64
	headers              int64
}

func parseSummary(t *testing.T, line string) summary {
	t.Helper()
	var s summary
	if _, err := fmt.Sscanf(line, "partition\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d",
		&s.topic, &s.partition, &s.timestampType, &s.count, &s.min, &s.max, &s.sum,
		&s.oldest, &s.newest, &s.nullKeys, &s.emptyValues, &s.headers); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	return s
}

// summaries are what an engine should aggregate over these records.
func summaries(topic string, records map[id]record) map[int32]summary {
	all := map[int32]summary{}
	for at, r := range records {
		s, ok := all[at.partition]
		if !ok {
			s = summary{topic: topic, partition: at.partition, min: math.MaxInt64, oldest: math.MaxInt64, newest: math.MinInt64}
		}
		s.count++
		s.sum += at.offset
		s.min, s.max = min(s.min, at.offset), max(s.max, at.offset)
		if r.timestamp != noTimestamp {
			s.oldest, s.newest = min(s.oldest, r.timestamp), max(s.newest, r.timestamp)
		}
		if r.key == nil {
			s.nullKeys++
		}
		if r.value != nil && len(r.value) == 0 {
			s.emptyValues++
		}
		s.headers += int64(len(r.headers))
		all[at.partition] = s
	}
	return all
}

// summaries are what the engine aggregates, by partition.
func (s *session) summaries(t *testing.T, table string) map[int32]summary {
	t.Helper()
	all := map[int32]summary{}
	for _, line := range s.ask(t, "partitions", table) {
		sum := parseSummary(t, line)
		all[sum.partition] = sum
	}
	return all
}

// requireWhole checks that the offsets are 0 to count-1, each once.
func (s summary) requireWhole(t *testing.T, engine string) {
	t.Helper()
	if s.min != 0 || s.max != s.count-1 || s.sum != s.count*(s.count-1)/2 {
		t.Fatalf("%s: partition %d has holes or doubles: %+v", engine, s.partition, s)
	}
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
