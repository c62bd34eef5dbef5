//go:build integration

package integration

import (
	"context"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

var (
	soakCommits = flag.Int64("soak.commits", 0, "commits of TestATableStaysHealthyOverManyCommits; 0 is the quick form, which judges no latencies")
	soakEvery   = flag.Duration("soak.every", 4*time.Millisecond, "time between two records of it")
)

// What must hold of a table that has been written to for long.
const (
	soakQuick = 3000
	// soakLatency is what p99 from produce to consume may be in the last tenth of the
	// run, over that of the first.
	soakLatency = 1.2
	// soakFiles bounds the live files: some of each of compaction's sizes, and what comes
	// while it works and rests.
	soakFiles = 400
	// soakActionBytes bounds the checkpoint by the actions in it.
	soakActionBytes = 400
	soakOpen        = 2 * time.Second
	// soakCount is what an engine's count may take over that of an optimized copy.
	soakCount = 2
)

// A topic is written to and read, a record a commit, for as long as asked: the last
// ones arrive as soon as the first ones did, and the table is as easy to read.
//
//	go test -tags integration ./integration -run TestATableStaysHealthy -v -timeout 1h -soak.commits 100000
func TestATableStaysHealthyOverManyCommits(t *testing.T) {
	commits, judged := *soakCommits, true
	if commits == 0 {
		commits, judged = soakQuick, false
	}
	const topic = "soak"
	s := directory(t)
	b := startSluice(t, s, "--config", "sluice.commit.interval.ms=0", "--log-level", "info")
	if resp, err := kadm.NewClient(connect(t, b)).CreateTopic(t.Context(), 1, 1, nil, topic); err != nil || resp.Err != nil {
		t.Fatal(err, resp.Err)
	}
	tenths := soak(t, b, topic, commits)

	first, last := tenths[0].percentile(99), tenths[9].percentile(99)
	t.Logf("p99 from produce to consume: %v in the first tenth, %v in the last", first, last)
	if judged && float64(last) > soakLatency*float64(first) {
		t.Errorf("the last tenth is slower than the first by more than %v times", soakLatency)
	}
	state := topicState(t, b, topic)
	actions := state["sluice_topic_files"] + state["sluice_topic_tombstones"] + 10
	if files := state["sluice_topic_files"]; files > soakFiles {
		t.Errorf("%v live files, at most %d are healthy", files, soakFiles)
	}
	version, ok := checkpointOf(t, s, topic)
	if !ok {
		t.Fatal("no checkpoint")
	}
	checkpoint, err := os.Stat(filepath.Join(s.url, topic, "_delta_log", fmt.Sprintf("%020d.checkpoint.parquet", version)))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("checkpoint of version %d: %d bytes for about %v actions; %v entries behind it", version, checkpoint.Size(), actions, state["sluice_topic_log_entries"])
	if limit := soakActionBytes * (actions + 1000); float64(checkpoint.Size()) > limit {
		t.Errorf("the checkpoint has %d bytes, more than %v", checkpoint.Size(), limit)
	}

	b.stop(t)
	began := time.Now()
	b.restart(t)
	cl := connect(t, b, kgo.DefaultProduceTopic(topic))
	if err := cl.ProduceSync(t.Context(), kgo.StringRecord("after a restart")).FirstErr(); err != nil {
		t.Fatal(err)
	}
	opened := time.Since(began)
	t.Logf("from the start of the broker to the first record acked: %v", opened)
	if judged && opened > soakOpen {
		t.Errorf("served after %v, more than %v", opened, soakOpen)
	}
	b.stop(t)
	requireCountIsQuick(t, s, topic, judged)
}

// latencies are those of the records of a tenth of a run.
type latencies []time.Duration

func (l latencies) percentile(p int) time.Duration {
	if len(l) == 0 {
		return 0
	}
	slices.Sort(l)
	return l[min(len(l)-1, len(l)*p/100)]
}

// soak writes a record every soakEvery, whether or not those before are acked, until
// the topic's table has grown by that many versions, and reads them. It answers the
// latencies by tenths, from the time at which a record was meant to be sent.
func soak(t *testing.T, b *sluice, topic string, commits int64) (tenths [10]latencies) {
	t.Helper()
	reader := connect(t, b, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	writer := connect(t, b, kgo.DefaultProduceTopic(topic), kgo.ProducerLinger(0), kgo.MaxBufferedRecords(100_000))
	var all latencies // by offset; owned by the reader until it is done
	var group sync.WaitGroup
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	written := make(chan int, 1) // how many, once it is known
	group.Go(func() {
		want := -1
		for want < 0 || len(all) < want {
			select {
			case want = <-written:
				continue
			default:
			}
			wait, done := context.WithTimeout(ctx, time.Second)
			fetches := reader.PollFetches(wait)
			done()
			now := time.Now()
			fetches.EachRecord(func(r *kgo.Record) {
				if r.Offset != int64(len(all)) {
					t.Errorf("offset %d follows %d", r.Offset, len(all)-1)
				}
				due, err := strconv.ParseInt(string(r.Key), 10, 64)
				if err != nil {
					t.Errorf("key %q: %v", r.Key, err)
				}
				all = append(all, now.Sub(time.Unix(0, due)))
			})
			if ctx.Err() != nil {
				t.Errorf("read %d of %d records in time", len(all), want)
				return
			}
		}
	})
	n, next := 0, int64(0)
	used, before := b.cpu(t), int64(0) // at the look before
	value := make([]byte, 100)
	began := time.Now()
	for due := began; ; n++ {
		due = due.Add(*soakEvery)
		time.Sleep(time.Until(due))
		writer.Produce(ctx, &kgo.Record{Key: strconv.AppendInt(nil, due.UnixNano(), 10), Value: value}, func(_ *kgo.Record, err error) {
			if err != nil {
				t.Error(err)
			}
		})
		// The version is looked at ten times, and often at the end.
		if int64(n) < next {
			continue
		}
		state := topicState(t, b, topic)
		version := int64(state["sluice_topic_table_version"])
		next = int64(n) + min(max((commits-version)/2, 50), commits/10)
		cpu := b.cpu(t)
		t.Logf("%6d records in %v: version %d, %v files, %v tombstones, debt %v bytes, %v entries since the checkpoint, memory %s, %v of CPU a version",
			n, time.Since(began).Round(time.Second), version, state["sluice_topic_files"], state["sluice_topic_tombstones"],
			state["sluice_topic_compaction_debt_bytes"], state["sluice_topic_log_entries"], b.resident(),
			((cpu - used) / time.Duration(max(1, version-before))).Round(time.Microsecond))
		used, before = cpu, version
		if version >= commits || t.Failed() {
			break
		}
	}
	if err := writer.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	written <- n + 1
	group.Wait()
	for i := range tenths {
		tenths[i] = all[len(all)*i/10 : len(all)*(i+1)/10]
		t.Logf("tenth %d: p50 %v, p99 %v, max %v", i+1, tenths[i].percentile(50), tenths[i].percentile(99), tenths[i].percentile(100))
	}
	return tenths
}

// resident is what the process has in memory.
func (p *process) resident() string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return err.Error()
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			return strings.TrimSpace(rest)
		}
	}
	return "unknown"
}

// cpu is the processor time that the process has used.
func (p *process) cpu(t *testing.T) time.Duration {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	// utime and stime are the fields 14 and 15 (proc(5)); the second, the name, ends in ')'.
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	ticks := int64(0)
	for _, field := range fields[11:13] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / 100 // USER_HZ
}

// topicState is what /metrics tells of an open topic.
func topicState(t *testing.T, b *sluice, topic string) map[string]float64 {
	t.Helper()
	resp, err := http.Get("http://" + b.http + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	state := map[string]float64{}
	for line := range strings.Lines(string(text)) {
		name, rest, _ := strings.Cut(line, "{")
		labels, value, ok := strings.Cut(rest, "} ")
		if ok && strings.Contains(","+labels+",", `,topic="`+topic+`",`) {
			n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			state[name] += n
		}
	}
	return state
}

// requireCountIsQuick lets DuckDB count the rows of a table, and of a copy that
// delta-rs has optimized.
func requireCountIsQuick(t *testing.T, s store, topic string, judged bool) {
	t.Helper()
	copied := topic + "-optimized"
	link(t, filepath.Join(s.url, topic), filepath.Join(s.url, copied))
	p := start(t, "count", []string{"PYTHONDONTWRITEBYTECODE=1"}, python(t, "engines"), script("engines", "count.py"), s.table(topic), s.table(copied))
	if code := p.wait(10 * time.Minute); code != 0 {
		t.Fatalf("counting: exit code %d", code)
	}
	counts, times := map[string]string{}, map[string]float64{}
	scanLines(p.out.String(), func(line []byte) {
		if f := strings.Split(string(line), "\t"); len(f) == 4 && f[0] == "count" {
			counts[f[1]] = f[2]
			times[f[1]], _ = strconv.ParseFloat(f[3], 64)
		}
	})
	live, optimized := times["live"], times["optimized"]
	t.Logf("DuckDB counts %s rows in %.0f ms, %.0f ms of the optimized copy", counts["live"], live*1000, optimized*1000)
	if counts["live"] == "" || counts["live"] != counts["optimized"] {
		t.Fatalf("%s rows live, %s in the copy", counts["live"], counts["optimized"])
	}
	if judged && live > soakCount*optimized {
		t.Errorf("a count takes %.1f times as long as over the optimized copy", live/optimized)
	}
}

// link makes a copy of a folder by hard links, as quick as a snapshot. What is
// overwritten in place is copied.
func link(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		switch {
		case d.IsDir():
			return os.MkdirAll(target, 0o755)
		case d.Name() == "_last_checkpoint":
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			return os.WriteFile(target, text, 0o644)
		}
		return os.Link(path, target)
	})
	if err != nil {
		t.Fatal(err)
	}
}
