//go:build integration

package integration

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// kills is how often a broker is killed in a test.
const kills = 5

// A broker is killed while records are written and read. What was acked is there
// once, at the offset that was acked; the group goes on without an error; a table's
// reader and a consumer agree on every record.
func TestAKilledBrokerLosesAndDoublesNothing(t *testing.T) {
	eachStore(t, func(t *testing.T, s store) {
		b := startSluice(t, s)
		l := startLoad(t, b, "killed")
		for i := range kills {
			l.progress(1500)
			// In the middle of whatever it does, at another moment each time.
			time.Sleep(time.Duration(i*7) * time.Millisecond)
			b.kill()
			start := time.Now()
			b.restart(t)
			ready := time.Since(start)
			l.progress(1)
			t.Logf("killed after %d acks: ready in %s, first ack in %s", l.acks.Load(),
				ready.Round(time.Millisecond), time.Since(start).Round(time.Millisecond))
		}
		l.progress(1500)
		requireEverywhere(t, b, l.topic, "group-of-"+l.topic, l.finish(t))
	})
}

// requireEverywhere checks that records are in the log as a new consumer reads it,
// in the order they were written, before and after a restart of the broker, that
// the group has committed them, and that engines read the same.
func requireEverywhere(t *testing.T, b *sluice, topic, group string, want map[id]record) {
	t.Helper()
	t.Logf("%d records", len(want))
	requireWritten(t, "a new consumer", b, topic, want)
	b.stop(t)
	b.restart(t)
	requireWritten(t, "a new consumer of a new broker", b, topic, want)
	requireCommitted(t, b, topic, group, want)
	for _, engine := range []string{"deltalake", "duckdb"} {
		requireSame(t, engine, want, rows(t, b.store, engine, topic))
	}
}

// requireWritten reads the topic from its start and checks that each partition has
// the load's records in the order in which they were written: their keys count up.
func requireWritten(t *testing.T, who string, b *sluice, topic string, want map[id]record) {
	t.Helper()
	cl := connect(t, b, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var got []record
	for len(got) < len(want) {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("%s, after %d of %d records: %v", who, len(got), len(want), err)
		}
		fetches.EachRecord(func(kr *kgo.Record) { got = append(got, fromKgo(kr)) })
	}
	requireSame(t, who, want, got)
	last := map[int32]int{}
	for _, r := range got {
		n, err := strconv.Atoi(string(r.key))
		if err != nil {
			t.Fatal(err)
		}
		if before, ok := last[r.partition]; ok && n <= before {
			t.Fatalf("%s: partition %d has record %d behind %d", who, r.partition, n, before)
		}
		last[r.partition] = n
	}
	if len(last) != partitions {
		t.Fatalf("%s: %s", who, fmt.Sprint(last))
	}
}
