//go:build integration

package integration

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// partitions of every topic in these tests: two members have two each.
const partitions = 4

// Each client writes with all its codecs as an idempotent producer, two of it
// share the partitions and read every record back as it was, leave, and continue
// where they were. Then the broker restarts, and they read the same out of the
// tables, in new batches.
func TestClientsReadWhatTheyWrote(t *testing.T) {
	b := startSluice(t, directory(t))
	var mu sync.Mutex
	written := map[string]map[id]record{} // by client; guarded by mu
	t.Run("in a group of two", func(t *testing.T) {
		for _, c := range clients {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				records := readBack(t, b, c, topicOf(c))
				mu.Lock()
				defer mu.Unlock()
				written[c.name] = records
			})
		}
	})
	b.stop(t)
	b.restart(t)
	t.Run("out of the table", func(t *testing.T) {
		for _, c := range clients {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				topics := []client{c}
				if c.plain == nil && c.name != clients[0].name { // it tells all that a record has
					topics = append(topics, clients[0])
				}
				for _, of := range topics {
					alone := members{c.consume(t, b, topicOf(of), "cold-"+c.name+"-"+of.name)}
					got := alone.read(t, len(written[of.name]))
					alone.leave()
					requireSame(t, c.name+" reads "+of.name, written[of.name], got)
				}
			})
		}
	})
}

func topicOf(c client) string { return "from-" + c.name }

// readBack has a client write and read a topic, and returns what is in it.
func readBack(t *testing.T, b *sluice, c client, topic string) map[id]record {
	t.Helper()
	group := "group-of-" + c.name
	c.create(t, b, topic, partitions)
	two := members{c.consume(t, b, topic, group), c.consume(t, b, topic, group)}
	two.balance(t, partitions)

	var first []record
	for _, codec := range c.codecs {
		acked := c.produce(t, b, topic, codec, c.sample(codec, 60, partitions))
		requireCodec(t, b, topic, codec, acked)
		first = append(first, acked...)
	}
	if !c.choosesNothing {
		records := c.sample("anywhere", 20, partitions)
		for i := range records {
			records[i].partition = anyPartition
		}
		first = append(first, c.produce(t, b, topic, "lz4", records)...)
	}
	all := index(t, first)
	requireDense(t, all)
	requireSame(t, c.name, all, two.read(t, len(all)))
	requireOnePartitionEach(t, two)
	two.leave()
	requireCommitted(t, b, topic, group, all)

	// The members come back and find only what came since.
	second := c.produce(t, b, topic, "none", c.sample("later", 40, partitions))
	two = members{c.consume(t, b, topic, group), c.consume(t, b, topic, group)}
	two.balance(t, partitions)
	second = append(second, c.produce(t, b, topic, "gzip", c.sample("latest", 40, partitions))...)
	got := two.read(t, len(second))
	two.leave()
	requireSame(t, c.name+" after its restart", index(t, second), got)
	all = index(t, append(first, second...))
	requireDense(t, all)
	requireCommitted(t, b, topic, group, all)
	return all
}

// requireOnePartitionEach checks that no partition's records went to two members.
func requireOnePartitionEach(t *testing.T, ms members) {
	t.Helper()
	owner := map[int32]*member{}
	for _, m := range ms {
		records, _ := m.told()
		if len(records) == 0 {
			t.Errorf("%s has read nothing", m.name)
		}
		for _, r := range records {
			if other := owner[r.partition]; other != nil && other != m {
				t.Fatalf("two members have read partition %d", r.partition)
			}
			owner[r.partition] = m
		}
	}
}

// requireCommitted checks with another client that the group's committed offsets
// are behind the last records.
func requireCommitted(t *testing.T, b *sluice, topic, group string, records map[id]record) {
	t.Helper()
	want := map[int32]int64{}
	for key := range records {
		want[key.partition] = max(want[key.partition], key.offset+1)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	offsets, err := kadm.NewClient(connect(t, b)).FetchOffsets(ctx, group)
	if err != nil {
		t.Fatal(err)
	}
	for p, next := range want {
		if got, ok := offsets.Lookup(topic, p); !ok || got.At != next {
			t.Errorf("group %s: partition %d is committed at %d, want %d", group, p, got.At, next)
		}
	}
}

// requireCodec checks that the batches of records arrived compressed with the
// codec: librdkafka and others silently send them as they are where ApiVersions
// does not say what they expect.
func requireCodec(t *testing.T, b *sluice, topic, codec string, records []record) {
	t.Helper()
	want := map[string]uint8{"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}[codec]
	wanted := index(t, records)
	from := map[int32]kgo.Offset{}
	for at := range wanted {
		from[at.partition] = kgo.NewOffset().AtStart()
	}
	cl := connect(t, b, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for left := len(wanted); left > 0; {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("%d records not found: %v", left, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if _, ok := wanted[id{r.Partition, r.Offset}]; !ok {
				return
			}
			if left--; r.Attrs.CompressionType() != want {
				t.Fatalf("%d/%d: the batch has codec %d, written with %s (%d)",
					r.Partition, r.Offset, r.Attrs.CompressionType(), codec, want)
			}
		})
	}
}

// connect is a franz-go client of the broker that ends with the test.
func connect(t *testing.T, b *sluice, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(b.address)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}
