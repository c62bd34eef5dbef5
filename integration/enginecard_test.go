//go:build integration

package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TestEngineCard has each engine read the tables of a broker of its own while they
// are written, and one that has been through all that Sluice does to tables. The card
// is made of its outcomes (card/main.go). Without SLUICE_TEST_CARD=full only the core
// runs.
func TestEngineCard(t *testing.T) {
	cardStores(t, func(t *testing.T, s store, wanted func(core bool) bool) {
		for _, e := range engines {
			if !wanted(e.core) {
				continue
			}
			t.Run(e.name+" "+e.version, func(t *testing.T) {
				if e.command == nil {
					t.Skip("not run: " + e.notRun)
				}
				t.Parallel()
				s := s
				s.url = strings.TrimRight(s.url, "/") + "/" + strings.Map(plainName, t.Name())
				s.gaps = true // rows are deleted
				b := startSluice(t, s)
				r := &engineRow{t: t, engine: e, b: b, topic: "of-engine", failed: map[string]bool{}}
				r.run()
			})
		}
	})
}

// engineRow is an engine going through the script, with a broker of its own.
type engineRow struct {
	engine
	t       *testing.T // the row's, which outlives its checks
	b       *sluice
	session *session
	topic   string
	failed  map[string]bool // checks that did not pass, for those that build on them

	want     map[id]record // what was acked
	folder   string        // what the engine keeps of its stream
	streamed map[id]bool   // what the stream has told
	first    map[id]record // what was acked by
	version  int64         // this version
	at       time.Time     // and this time
}

// check runs one check, unless one that it builds on did not pass or the engine
// lacks what it is about.
func (r *engineRow) check(name string, f func(t *testing.T), needs ...string) {
	r.t.Helper()
	r.t.Run(name, func(t *testing.T) {
		defer func() { r.failed[name] = t.Failed() || t.Skipped() }()
		group, _, _ := strings.Cut(name, "/")
		for _, lacks := range []string{name, group} {
			if why := r.lacks[lacks]; why != "" {
				t.Skip("client: " + why)
			}
		}
		for _, need := range needs {
			if r.failed[need] {
				t.Skipf("not run: %q did not pass", need)
			}
		}
		f(t)
	})
}

// run goes through the script. What happens to the tables between two checks
// happens whether they pass or not.
func (r *engineRow) run() {
	t := r.t
	r.session = r.open(t, r.b.store)
	r.write(t)
	r.check("log only/rows", r.seesAll)
	r.check("log only/sums", r.aggregates)
	r.check("stream/from the start", r.streams)

	r.checkpoint(t)
	r.check("checkpoint/rows", r.seesAll)
	r.check("checkpoint/sums", r.aggregates)
	r.check("filter", r.filters)
	r.check("time travel/by version", func(t *testing.T) {
		requireSame(t, r.name, r.first, r.session.records(t, "version", r.table(), strconv.FormatInt(r.version, 10)))
	})
	r.check("time travel/by time", func(t *testing.T) {
		requireSame(t, r.name, r.first, r.session.records(t, "time", r.table(), strconv.FormatInt(r.at.UnixMilli(), 10)))
	})
	r.check("stream/what came since", r.streams, "stream/from the start")
	r.check("while written", r.growsAndNeverShrinks)

	r.b.stop(t)
	r.b.restart(t)
	r.rewrite(t)
	r.check("rewritten/rows", r.seesAll)
	r.check("rewritten/sums", r.aggregates)
	r.check("stream/past a rewriting", r.streams, "stream/from the start", "stream/what came since")
	r.check("snippet", r.runsSnippet)

	past, want := pastOf(t, r.b.store)
	r.check("cleaned/rows", func(t *testing.T) { requireSame(t, r.name, want, r.session.records(t, "rows", past)) })
	r.check("cleaned/sums", func(t *testing.T) { r.requireSummaries(t, past, want) })
	r.check("stream/of a cleaned table", func(t *testing.T) {
		requireSame(t, r.name, want, r.session.records(t, "stream", past, t.TempDir()))
	})
}

func (r *engineRow) table() string { return r.b.store.table(r.topic) }

// write writes all kinds of records with each codec: librdkafka with one, franz-go
// with the others, and the timestamps at the edges of what is taken.
func (r *engineRow) write(t *testing.T) {
	createWith(t, r.b, r.topic, map[string]string{"retention.ms": "-1", "message.timestamp.after.max.ms": strconv.FormatInt(math.MaxInt64, 10)})
	all := librdkafka.produce(t, r.b, r.topic, "lz4", librdkafka.sample("lz4", 60, partitions))
	for _, codec := range allCodecs {
		all = append(all, writeWith(t, r.b, r.topic, codec, sample(codec, 60, partitions))...)
	}
	// franz-go knows the time in nanoseconds, up to 2262; librdkafka none before 1970.
	at := func(text string) int64 {
		when, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			t.Fatal(err)
		}
		return when.UnixMilli()
	}
	var edges []record
	for i, ms := range []int64{at("1900-01-01T00:00:00Z"), at("1969-12-31T23:59:59.998Z"), 0, at("2261-12-31T23:59:59.999Z"), noTimestamp} {
		edges = append(edges, record{partition: int32(i % partitions), timestamp: ms})
	}
	all = append(all, writeWith(t, r.b, r.topic, "none", edges)...)
	all = append(all, librdkafka.produce(t, r.b, r.topic, "none", []record{{partition: 1, timestamp: at("9999-12-31T23:59:59.999Z")}})...)
	r.want = index(t, all)
	requireDense(t, r.want)

	r.folder, r.streamed = filepath.Join(t.TempDir(), "stream"), map[id]bool{}
	r.first = index(t, all)
	r.version, r.at = r.b.version(t, r.topic), time.Now()
	// What comes is later, for those too that know an object's age in whole seconds.
	time.Sleep(1100 * time.Millisecond)
}

// version is the newest version of a topic's table.
func (b *sluice) version(t *testing.T, topic string) int64 {
	t.Helper()
	p := start(t, "sluice table describe", b.store.env, binary, "table", "describe", topic, "--json", "--brokers", b.address)
	if code := p.wait(engineTimeout); code != 0 {
		t.Fatalf("exit code %d: %s", code, p.complaint())
	}
	var table struct{ Version int64 }
	if err := json.Unmarshal([]byte(p.out.String()), &table); err != nil {
		t.Fatal(err)
	}
	return table.Version
}

// checkpoint writes one record a commit until the broker has written a checkpoint.
func (r *engineRow) checkpoint(t *testing.T) {
	t.Helper()
	if _, ok := checkpointOf(t, r.b.store, r.topic); ok {
		t.Fatal("a checkpoint after a few commits: the checks before tell nothing of a log without one")
	}
	t.Logf("a checkpoint at version %d", untilCheckpoint(t, r.b, r.topic, 0, r.want))
}

// untilCheckpoint writes one record a commit until there is a checkpoint at or after
// a version, adds what it wrote to want, and returns the checkpoint's version.
func untilCheckpoint(t *testing.T, b *sluice, topic string, from int64, want map[id]record) int64 {
	t.Helper()
	cl := connect(t, b, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0))
	deadline := time.Now().Add(5 * time.Minute)
	for i := 0; ; i++ {
		if time.Now().After(deadline) {
			t.Fatalf("no checkpoint after %d more records", i)
		}
		r := produceOne(t, cl, topic, sample("one", i+1, partitions)[i])
		want[r.id()] = r
		if version, ok := checkpointOf(t, b.store, topic); i%20 == 0 && ok && version >= from {
			return version
		}
	}
}

// rewrite deletes rows, has the files optimized, and writes one record more.
func (r *engineRow) rewrite(t *testing.T) {
	t.Helper()
	r.b.table(t, "delete", r.topic, "--offsets", "1:3-6")
	for offset := range int64(4) {
		delete(r.want, id{1, 3 + offset})
	}
	r.b.table(t, "optimize", r.topic)
	last := produceOne(t, connect(t, r.b, kgo.RecordPartitioner(kgo.ManualPartitioner())), r.topic, sample("last", 4, partitions)[3])
	r.want[last.id()] = last
}

// table runs a command of `sluice table` for a topic and returns what it printed.
func (b *sluice) table(t *testing.T, command, topic string, args ...string) string {
	t.Helper()
	p := start(t, "sluice table "+command, b.store.env, append([]string{binary, "table", command, topic, "--brokers", b.address}, args...)...)
	if code := p.wait(engineTimeout); code != 0 {
		t.Fatalf("sluice table %s: exit code %d: %s", command, code, p.complaint())
	}
	return p.out.String()
}

// seesAll: each row, equal to what was acked.
func (r *engineRow) seesAll(t *testing.T) {
	requireSame(t, r.name, r.want, r.session.records(t, "rows", r.table()))
}

// aggregates: counts, sums and edges by the engine itself.
func (r *engineRow) aggregates(t *testing.T) { r.requireSummaries(t, r.table(), r.want) }

func (r *engineRow) requireSummaries(t *testing.T, table string, want map[id]record) {
	t.Helper()
	got := r.session.summaries(t, table)
	for p, w := range summaries(table[strings.LastIndexByte(table, '/')+1:], want) {
		if got[p] != w {
			t.Errorf("%s: %+v, want %+v", r.name, got[p], w)
		}
	}
	if len(got) > partitions {
		t.Errorf("%s: %d partitions", r.name, len(got))
	}
}

// filters reads the end of a partition: engines leave out files by their
// statistics, and must not leave out too many.
func (r *engineRow) filters(t *testing.T) {
	from := int64(0)
	for at := range r.want {
		if at.partition == 1 {
			from = max(from, at.offset-10)
		}
	}
	want := map[id]record{}
	for at, rec := range r.want {
		if at.partition == 1 && at.offset >= from {
			want[at] = rec
		}
	}
	requireSame(t, r.name, want, r.session.records(t, "since", r.table(), "1", strconv.FormatInt(from, 10)))
}

// streams reads what has come since the stream was read before: each record once,
// whatever became of the files meanwhile.
func (r *engineRow) streams(t *testing.T) {
	want := map[id]record{}
	for at, rec := range r.want {
		if !r.streamed[at] {
			want[at] = rec
		}
	}
	got := r.session.records(t, "stream", r.table(), r.folder)
	for _, rec := range got {
		r.streamed[rec.id()] = true
	}
	requireSame(t, r.name, want, got)
}

// growsAndNeverShrinks looks at a topic while it is written: each look sees a whole
// prefix of each partition, never less than before, and all that was acked by then.
func (r *engineRow) growsAndNeverShrinks(t *testing.T) {
	const topic, looks = "grows", 8
	cl := connect(t, r.b, kgo.RecordPartitioner(kgo.RoundRobinPartitioner()), kgo.DefaultProduceTopic(topic))
	createTopic(t, cl, topic)
	var acked atomic.Int64
	stop, stopped := make(chan struct{}), make(chan error)
	go func() {
		var wrong error
		for wrong == nil {
			select {
			case <-stop:
				stopped <- wrong
				return
			case <-time.After(5 * time.Millisecond):
			}
			for i := range 20 {
				cl.Produce(t.Context(), &kgo.Record{Value: fmt.Appendf(nil, "record %d", i)}, func(_ *kgo.Record, err error) {
					wrong = errors.Join(wrong, err)
				})
			}
			err := cl.Flush(t.Context())
			if wrong = errors.Join(wrong, err); wrong == nil {
				acked.Add(20)
			}
		}
		stopped <- wrong
	}()
	ended := false
	defer func() {
		close(stop)
		if !ended {
			<-stopped
		}
	}()
	before, told := map[int32]int64{}, int64(0)
	for range looks {
		for acked.Load() <= told { // something new
			select {
			case err := <-stopped:
				ended = true
				t.Fatal(err)
			case <-time.After(time.Millisecond):
			}
		}
		told = acked.Load()
		count := int64(0)
		for p, sum := range r.session.summaries(t, r.b.store.table(topic)) {
			sum.requireWhole(t, r.name)
			if sum.count < before[p] {
				t.Errorf("%s: partition %d shrank from %d to %d", r.name, p, before[p], sum.count)
			}
			before[p] = sum.count
			count += sum.count
		}
		if count < told {
			t.Errorf("%s sees %d records, %d were acked", r.name, count, told)
		}
	}
}

// runsSnippet runs what `sluice table sql` prints, and it shows records.
func (r *engineRow) runsSnippet(t *testing.T) {
	const topic = "of.snippet-1"
	createTopic(t, connect(t, r.b), topic)
	writeWith(t, r.b, topic, "none", sample("snippet", 40, partitions))
	name := strings.ToLower(strings.Fields(r.name)[0])
	p := r.snippet(t, r.b.store, r.b.table(t, "sql", topic, "--engine", name))
	if code := p.wait(engineTimeout); code != 0 {
		t.Fatalf("exit code %d: %s", code, p.complaint())
	}
	if said := p.out.String(); !strings.Contains(said, "snippet 4, ") { // the second record of partition 0
		t.Fatalf("it shows no records: %s", p.out.tail(5))
	}
}
