//go:build integration

package integration

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// partitions of every topic in these tests: two members have two each.
const partitions = 4

// Each client writes with all its codecs as an idempotent producer, two of it
// share the partitions and read every record back as it was, leave, and continue
// where they were.
func TestClientsReadBackWhatTheyWroteInAGroupOfTwo(t *testing.T) {
	b := startSluice(t, directory(t))
	for _, c := range clients {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			topic, group := "from-"+c.name, "group-of-"+c.name
			c.create(t, b, topic, partitions)
			two := members{c.consume(t, b, topic, group), c.consume(t, b, topic, group)}
			two.balance(t, partitions)

			var written []record
			for _, codec := range c.codecs {
				acked := c.produce(t, b, topic, codec, c.sample(codec, 60, partitions))
				requireCodec(t, b, topic, codec, acked)
				written = append(written, acked...)
			}
			// Without a partition the client's own partitioner chooses.
			if c.name != "kafkajs" {
				records := c.sample("anywhere", 20, partitions)
				for i := range records {
					records[i].partition = anyPartition
				}
				written = append(written, c.produce(t, b, topic, "lz4", records)...)
			}
			first := index(t, written)
			requireDense(t, first)
			requireSame(t, c.name, first, two.read(t, len(first)))
			requireOnePartitionEach(t, two)
			two.leave()
			requireCommitted(t, b, topic, group, first)

			// The members come back and find only what came since.
			records := c.produce(t, b, topic, "none", c.sample("later", 40, partitions))
			second := index(t, records)
			two = members{c.consume(t, b, topic, group), c.consume(t, b, topic, group)}
			two.balance(t, partitions)
			more := c.produce(t, b, topic, "gzip", c.sample("latest", 40, partitions))
			for _, r := range more {
				second[r.id()] = r
			}
			got := two.read(t, len(second))
			two.leave()
			requireSame(t, c.name+" after its restart", second, got)
			for key, r := range second {
				first[key] = r
			}
			requireDense(t, first)
			requireCommitted(t, b, topic, group, first)
		})
	}
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
