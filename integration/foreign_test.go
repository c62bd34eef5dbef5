//go:build integration

package integration

import (
	"context"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// An engine optimizes, sorts, deletes, vacuums and inserts while producers and
// consumers are at work: each remaining record once and in order, deleted ones are
// gaps, inserted rows are records.
func TestAnEngineWritesALiveTopic(t *testing.T) {
	eachStore(t, func(t *testing.T, s store) {
		s.gaps = true
		b := startSluice(t, s)
		const topic = "live"
		cl := connect(t, b, kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
		anyWriter := "any"
		if resp, err := kadm.NewClient(cl).CreateTopic(t.Context(), partitions, 1, map[string]*string{"sluice.table.writers": &anyWriter}, topic); err != nil || resp.Err != nil {
			t.Fatal(err, resp.Err)
		}
		produced := produceSteadily(t, cl)
		live := followTopic(t, b, topic)

		engine := start(t, "deltalake live", append([]string{"PYTHONDONTWRITEBYTECODE=1"}, s.env...),
			python(t, "engines"), script("engines", "live.py"), s.table(topic))
		answers := 0
		do := func(command string, args ...any) {
			t.Helper()
			line := fmt.Sprintf(command, args...)
			fmt.Fprintln(engine.in, line)
			answers++
			for deadline := time.Now().Add(engineTimeout); strings.Count(engine.out.String(), "done ") < answers; time.Sleep(20 * time.Millisecond) {
				select {
				case <-engine.ended:
					t.Fatalf("%s: the engine has ended:\n%s", line, engine.err)
				default:
				}
				if time.Now().After(deadline) {
					t.Fatalf("%s is not done:\n%s", line, engine.err)
				}
			}
		}
		deleted := func(at id) bool { return at.partition == 1 && at.offset >= 3 && at.offset < 13 }
		inserted := 0
		insert := func(n int) {
			t.Helper()
			do("insert i%d %d", inserted, n)
			inserted += n
		}
		live(200) // among them those to delete: they have reached the consumer
		insert(20)
		do("optimize")
		insert(30)
		// delta-rs gives a delete up if somebody appends meanwhile.
		const gone = "partition = 1 and offset >= 3 and offset < 13"
		yield := exec.CommandContext(t.Context(), binary, "table", "yield", topic, "--for", "5s", "--brokers", b.address)
		if err := yield.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(500 * time.Millisecond)
		do("delete %s", gone)
		if err := yield.Wait(); err != nil {
			t.Error("yield:", err)
		}
		// delta-rs overlooks what comes while it sorts: rows that it has read before they
		// were adopted would be among those that it writes.
		for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			adopted := slices.DeleteFunc(live(0), func(v string) bool { return !strings.HasPrefix(v, "i") })
			if len(adopted) == inserted {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%d of %d inserted rows are records", len(adopted), inserted)
			}
		}
		do("zorder")
		do("vacuum")
		insert(10)
		engine.in.Close()
		if code := engine.wait(engineTimeout); code != 0 {
			t.Errorf("the engine ended with exit code %d:\n%s", code, engine.err)
		}
		t.Logf("%s", strings.ReplaceAll(strings.TrimSpace(engine.out.String()), "\n", ", "))

		acked := produced()
		if len(acked) < 100 {
			t.Fatal("too few records:", len(acked))
		}
		// All that was ever there reaches the consumer at the tail, but for what was deleted
		// before it came: nothing here, as it keeps up.
		values := live(len(acked) + inserted)
		want := map[string]int{}
		for _, v := range acked {
			want[v]++
		}
		for _, v := range values {
			if strings.HasPrefix(v, "i") {
				want[v]++
			}
		}
		got := map[string]int{}
		for _, v := range values {
			got[v]++
		}
		if !maps.Equal(want, got) || len(values) != len(acked)+inserted {
			t.Errorf("at the tail: %d values, %d of them different; %d were produced and %d inserted", len(values), len(got), len(acked), inserted)
		}
		// And a new one, out of the table, gets what the engines see.
		rest := map[id]record{}
		for _, r := range readTopic(t, b, topic) {
			if _, twice := rest[r.id()]; twice {
				t.Errorf("%v was read twice", r.id())
			}
			if deleted(r.id()) {
				t.Errorf("%v was deleted", r.id())
			}
			rest[r.id()] = r
		}
		if n := len(acked) + inserted - len(rest); n != 10 {
			t.Errorf("%d records are gone, 10 were deleted", n)
		}
		for at, v := range acked {
			if r, ok := rest[at]; ok != !deleted(at) || ok && string(r.value) != v {
				t.Errorf("%v was acked as %q, and is %q", at, v, r.value)
			}
		}
		requireEngines(t, s, topic, rest)
	})
}

// produceSteadily produces a record every few ms until stop, which answers what was
// acked where.
func produceSteadily(t *testing.T, cl *kgo.Client) (stop func() map[id]string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var mu sync.Mutex
	acked := map[id]string{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ctx.Err() == nil; i++ {
			value := fmt.Sprint("p", i)
			cl.Produce(t.Context(), &kgo.Record{Value: []byte(value)}, func(r *kgo.Record, err error) {
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Error(err)
					return
				}
				acked[id{r.Partition, r.Offset}] = value
			})
			time.Sleep(5 * time.Millisecond)
		}
	}()
	return func() map[id]string {
		t.Helper()
		cancel()
		<-done
		if err := cl.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		return acked
	}
}

// followTopic consumes a topic from its start. The values are answered once there are n
// of them, each partition's in order.
func followTopic(t *testing.T, b *sluice, topic string) (values func(n int) []string) {
	t.Helper()
	cl := connect(t, b, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	var mu sync.Mutex
	var all []string
	next := map[int32]int64{}
	go func() {
		for t.Context().Err() == nil {
			fetches := cl.PollFetches(t.Context())
			mu.Lock()
			fetches.EachRecord(func(r *kgo.Record) {
				if r.Offset < next[r.Partition] {
					t.Errorf("partition %d: offset %d after %d", r.Partition, r.Offset, next[r.Partition]-1)
				}
				next[r.Partition] = r.Offset + 1
				all = append(all, string(r.Value))
			})
			mu.Unlock()
		}
	}()
	return func(n int) []string {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			mu.Lock()
			got := slices.Clone(all)
			mu.Unlock()
			if len(got) >= n || time.Now().After(deadline) {
				return got
			}
		}
	}
}

// readTopic reads all records of a topic up to where it ends now.
func readTopic(t *testing.T, b *sluice, topic string) (all []record) {
	t.Helper()
	cl := connect(t, b)
	ends, err := kadm.NewClient(cl).ListEndOffsets(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ends.Each(func(end kadm.ListedOffset) {
		cl := connect(t, b, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {end.Partition: kgo.NewOffset().AtStart()}}))
		for next := int64(0); next < end.Offset; {
			fetches := cl.PollFetches(ctx)
			if err := fetches.Err(); err != nil {
				t.Fatal(err)
			}
			fetches.EachRecord(func(r *kgo.Record) {
				if r.Offset < next {
					t.Errorf("partition %d: offset %d after %d", r.Partition, r.Offset, next-1)
				}
				next = r.Offset + 1
				read := record{partition: r.Partition, offset: r.Offset, timestamp: r.Timestamp.UnixMilli(), key: r.Key, value: r.Value}
				for _, h := range r.Headers {
					read.headers = append(read.headers, header{h.Key, h.Value})
				}
				all = append(all, read)
			})
		}
	})
	return all
}
