package storage

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice/protocol/record"
	"sluice/storage/check"
	"sluice/storage/check/checktest"
	"sluice/storage/delta"
	"sluice/storage/object"
	"sluice/storage/object/mem"
)

// entry is a record of a compacted topic in tests; an empty value is a tombstone.
type entry struct{ key, value string }

func keyedBatch(entries ...entry) []byte {
	var b record.Builder
	b.Reset(nil, record.Params{})
	for i, e := range entries {
		var key, value []byte
		if e.key != "" {
			key = []byte(e.key)
		}
		if e.value != "" {
			value = []byte(e.value)
		}
		b.Append(int64(i), time.Now().UnixMilli(), key, value, record.Headers{})
	}
	return b.Finish()
}

// put appends entries as one batch and answers the offset of the first.
func (t *compacted) put(partition int32, entries ...entry) int64 {
	t.Helper()
	result := await(t.T, t.topic.Append(partition, keyedBatch(entries...), eager))
	if result.Err != nil {
		t.Fatal(result.Err)
	}
	for i, e := range entries {
		if t.log[partition] == nil {
			t.log[partition] = map[int64]written{}
		}
		t.log[partition][result.BaseOffset+int64(i)] = written{e, time.Now()}
	}
	return result.BaseOffset
}

// compacted is a compacted topic and all that was ever written to it.
type compacted struct {
	*testing.T
	store  *mem.Store
	limits *limits // nil: as they are
	topics *Topics
	topic  *Topic
	log    []map[int64]written
}

// limits are how much is cleaned at a time, and how large the files become, in tests.
type limits struct {
	cleanLimits
	target int64
}

// use opens the topic.
func (t *compacted) use() {
	t.Helper()
	t.topic = (&root{t: t.T, store: t.store, Topics: t.topics}).topic("t")
	if t.limits != nil {
		s := *t.topic.settings.Load()
		s.TargetFileBytes = t.limits.target
		t.topic.settings.Store(&s)
	}
}

type written struct {
	entry
	at time.Time
}

// compactedTopic makes a topic whose records are cleaned at the next look.
func compactedTopic(t *testing.T, partitions int32, config map[string]string) *compacted {
	t.Helper()
	return compactedWithin(t, nil, partitions, config)
}

// compactedWithin is compactedTopic with other limits of what is cleaned at a time.
func compactedWithin(t *testing.T, limits *limits, partitions int32, config map[string]string) *compacted {
	t.Helper()
	c := &compacted{T: t, limits: limits, store: mem.New(), log: make([]map[int64]written, partitions)}
	c.open()
	t.Cleanup(func() {
		c.topics.Close(context.Background())
		checktest.Root(t, c.store, check.Options{Dense: true})
	})
	all := map[string]string{"cleanup.policy": "compact", "segment.ms": "1", "min.cleanable.dirty.ratio": "0.01"}
	maps.Copy(all, config)
	(&root{t: t, store: c.store, Topics: c.topics}).createWith("t", partitions, all)
	c.use()
	return c
}

// open starts a broker whose consumers read from files.
func (t *compacted) open() {
	t.Helper()
	topics, err := Open(t.Context(), t.store, Options{TailBytes: 1})
	if err != nil {
		t.Fatal(err)
	}
	if t.topics = topics; t.limits != nil {
		topics.env.cleanLimits = t.limits.cleanLimits
	}
}

func (t *compacted) restart() {
	t.Helper()
	t.topics.Close(t.Context())
	t.open()
	t.use()
}

func (t *compacted) alter(config map[string]string) {
	t.Helper()
	defer t.use()
	err := t.topic.Alter(t.Context(), func(own map[string]string) (map[string]string, error) {
		maps.Copy(own, config)
		return own, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// read consumes a partition from an offset on, and compares each record with what
// was written there.
func (t *compacted) read(partition int32, from int64) map[int64]entry {
	t.Helper()
	got := map[int64]entry{}
	for offset := from; ; {
		read, err := t.topic.Read(t.Context(), partition, offset, 1<<20, true)
		if err != nil {
			t.Fatal(err)
		}
		if len(read.Batches) == 0 {
			if offset != read.HighWatermark {
				t.Fatalf("nothing to read at %d below the high watermark %d", offset, read.HighWatermark)
			}
			return got
		}
		for _, data := range read.Batches {
			batch := record.Batch(data)
			body, err := new(record.Decompressor).Body(batch, 64<<20)
			if err != nil || !batch.Intact() {
				t.Fatal("a bad batch:", err)
			}
			it := batch.Records(body)
			for it.Next() {
				r := it.Record()
				at, e := batch.BaseOffset()+int64(r.OffsetDelta), entry{string(r.Key), string(r.Value)}
				if want := t.log[partition][at]; e != want.entry {
					t.Fatalf("offset %d-%d has %v, was %v", partition, at, e, want.entry)
				}
				if at >= from {
					got[at] = e
				}
			}
			if batch.LastOffset() < offset {
				t.Fatalf("asked for %d, got a batch that ends at %d", offset, batch.LastOffset())
			}
			offset = batch.LastOffset() + 1
		}
	}
}

// offsets is what a consumer from the start sees, as text.
func (t *compacted) offsets(partition int32) string {
	return fmt.Sprint(slices.Sorted(maps.Keys(t.read(partition, logStart(t.T, t.topic, partition)))))
}

// final is what is left of a log when each key's latest record is applied.
func final(records map[int64]entry) map[string]string {
	all := map[string]string{}
	for _, at := range slices.Sorted(maps.Keys(records)) {
		if e := records[at]; e.value == "" {
			delete(all, e.key)
		} else {
			all[e.key] = e.value
		}
	}
	return all
}

// check compares what consumers of each partition see with what was written.
func (t *compacted) check(retention time.Duration) {
	t.Helper()
	for p, log := range t.log {
		got := t.read(int32(p), 0)
		all, latest := map[int64]entry{}, map[string]int64{}
		newest := int64(-1)
		for at, w := range log {
			all[at] = w.entry
			newest = max(newest, at)
			if last, ok := latest[w.key]; !ok || at > last {
				latest[w.key] = at
			}
		}
		if want, saw := final(all), final(got); !maps.Equal(want, saw) {
			t.Fatalf("partition %d: a consumer ends with %v, want %v", p, saw, want)
		}
		if _, ok := got[newest]; newest >= 0 && !ok {
			t.Fatalf("partition %d: the newest record, %d, is gone", p, newest)
		}
		for key, at := range latest {
			if _, ok := got[at]; !ok && (log[at].value != "" || time.Since(log[at].at) < retention) {
				t.Fatalf("partition %d: record %d, the latest of %s, is gone after %s", p, at, key, time.Since(log[at].at))
			}
		}
		if len(log) > 0 { // from the middle of a gap too; a cleaning may have come between
			tail := t.read(int32(p), newest/2)
			for at := range tail {
				if _, ok := got[at]; !ok {
					t.Fatalf("partition %d: record %d was not there before", p, at)
				}
			}
			if _, ok := tail[newest]; !ok {
				t.Fatalf("partition %d: the newest record, %d, is gone", p, newest)
			}
		}
	}
}

func TestACompactedTopicShowsWhatWasWrittenLast(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { randomUpdates(t, seed) })
		})
	}
}

func randomUpdates(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	const partitions = 3
	retention := time.Duration(1+rng.IntN(120)) * time.Minute
	// Little at a time, so that one cleaning takes several entries, and several
	// cleanings have to follow each other.
	var little *limits
	if seed%2 == 1 {
		little = &limits{cleanLimits{keys: 1 + rng.IntN(6), bytes: 1 + rng.Int64N(20_000)}, 1 + rng.Int64N(6000)}
	}
	c := compactedWithin(t, little, partitions, map[string]string{
		"sluice.table.writers":      "any",
		"delete.retention.ms":       strconv.FormatInt(retention.Milliseconds(), 10),
		"min.cleanable.dirty.ratio": []string{"0", "0.3", "0.9"}[rng.IntN(3)],
		"min.compaction.lag.ms":     []string{"0", "0", "60000"}[rng.IntN(3)],
		"max.compaction.lag.ms":     []string{"600000", "9223372036854775807"}[rng.IntN(2)],
	})
	for range 150 {
		switch rng.IntN(20) {
		case 0:
			c.restart()
		case 1:
			c.check(retention)
		case 2:
			time.Sleep(time.Duration(rng.IntN(60)) * time.Minute)
		case 3: // the store refuses log entries for a while, and loses answers
			c.store.SetFaults(func(r mem.Request) mem.Fault {
				if r.Kind == object.KindCreate && strings.HasPrefix(r.Key, "t/_delta_log/") && r.Attempt < 3 {
					return mem.Fault{Outcome: []mem.Outcome{mem.Refuse, mem.Lose}[r.Attempt%2]}
				}
				return mem.Fault{}
			})
		case 4:
			c.store.SetFaults(nil)
		case 5: // an engine rewrites the table, and drops the tags
			c.store.SetFaults(nil)
			newEngine(t, c.store, "t").optimize()
		default:
			p := rng.Int32N(partitions)
			var entries []entry
			for range 1 + rng.IntN(8) {
				e := entry{key: fmt.Sprint("k", rng.IntN(8)), value: fmt.Sprint("v", rng.IntN(1000))}
				if rng.IntN(4) == 0 {
					e.value = ""
				}
				entries = append(entries, e)
			}
			c.put(p, entries...)
			time.Sleep(time.Duration(rng.IntN(40)) * time.Second)
		}
	}
	c.store.SetFaults(nil)
	c.check(retention)
	// Left alone, it comes to rest with one record of each key, and no tombstone but the newest.
	time.Sleep(10*time.Minute + 3*retention)
	c.alter(map[string]string{"min.cleanable.dirty.ratio": "0", "min.compaction.lag.ms": "0", "sluice.table.writers": "sluice"})
	time.Sleep(10*time.Minute + 3*retention)
	c.check(retention)
	for p := range c.log {
		got := c.read(int32(p), 0)
		newest := slices.Max(slices.Collect(maps.Keys(c.log[p])))
		keys := map[string]bool{}
		for at, e := range got {
			if keys[e.key] || e.value == "" && at != newest {
				t.Errorf("partition %d: %v at %d is left over", p, e, at)
			}
			keys[e.key] = true
		}
	}
	time.Sleep(4 * 24 * time.Hour) // what left the table is deleted, orphans have been looked for
	requests := 0
	c.store.SetFaults(func(mem.Request) mem.Fault { requests++; return mem.Fault{} })
	time.Sleep(24 * time.Hour)
	if requests != 0 {
		t.Error("a topic at rest costs", requests, "requests")
	}
}

func TestFilesThatAnEngineHasInterleavedAreCleanedThoughTheirKeysDoNotFit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := compactedWithin(t, &limits{cleanLimits: cleanLimits{keys: 3, bytes: 1 << 20}, target: 1 << 20}, 1, map[string]string{"sluice.table.writers": "any"})
		for i := range 20 {
			c.put(0, entry{fmt.Sprint("k", i%10), fmt.Sprint("v", i)})
		}
		e := newEngine(t, c.store, "t")
		e.commit("OPTIMIZE", func(snap *delta.Snapshot, entry *delta.Entry) {
			parts := make([][]tableRow, 3)
			entry.Removes = removeAll(snap)
			for _, r := range entry.Removes {
				for _, row := range e.read(r.Path) {
					parts[*row.Offset%3] = append(parts[*row.Offset%3], row)
				}
			}
			for _, part := range parts {
				entry.Adds = append(entry.Adds, e.file(part...))
			}
		})
		time.Sleep(10 * time.Minute)
		if got := c.offsets(0); got != "[10 11 12 13 14 15 16 17 18 19]" {
			t.Error("there are", got)
		}
		version := c.topic.Version()
		time.Sleep(time.Hour)
		if v := c.topic.Version(); v > version+1 || version > 60 {
			t.Error("it took", version, "versions, and went on to", v)
		}
	})
}

func TestATombstoneStaysForItsTimeAfterItWasFirstCleaned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := compactedTopic(t, 1, map[string]string{"delete.retention.ms": "3600000", "segment.ms": "300000"})
		c.put(0, entry{"a", "1"}, entry{"a", ""}, entry{"b", "1"})
		time.Sleep(290 * time.Second)
		if got := c.offsets(0); got != "[0 1 2]" {
			t.Fatal("cleaned early:", got)
		}
		time.Sleep(30 * time.Second)
		if got := c.offsets(0); got != "[1 2]" {
			t.Fatal("not cleaned:", got)
		}
		// It is cleaned again meanwhile, from another broker too: that changes nothing.
		for i := range 5 {
			c.put(0, entry{"b", fmt.Sprint(i)})
			time.Sleep(6 * time.Minute)
			c.restart()
		}
		time.Sleep(28 * time.Minute)
		if got := c.offsets(0); got != "[1 7]" {
			t.Fatal("two minutes before its time:", got)
		}
		time.Sleep(3 * time.Minute)
		if got := c.offsets(0); got != "[7]" {
			t.Fatal("after its time:", got)
		}
	})
}

func TestRecordsAreCleanedNeitherTooEarlyNorTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := compactedTopic(t, 1, map[string]string{
			"min.compaction.lag.ms": "3600000", "max.compaction.lag.ms": "7200000", "min.cleanable.dirty.ratio": "1",
		})
		c.put(0, entry{"a", "1"})
		time.Sleep(time.Minute)
		c.put(0, entry{"a", "2"}, entry{"b", "1"})
		time.Sleep(110 * time.Minute)
		if got := c.offsets(0); got != "[0 1 2]" {
			t.Fatal("the ratio is never above 1:", got)
		}
		time.Sleep(10 * time.Minute)
		if got := c.offsets(0); got != "[1 2]" {
			t.Fatal("after max.compaction.lag.ms:", got)
		}
		c.alter(map[string]string{"min.cleanable.dirty.ratio": "0"})
		c.put(0, entry{"a", "3"})
		time.Sleep(59 * time.Minute)
		if got := c.offsets(0); got != "[1 2 3]" {
			t.Fatal("before min.compaction.lag.ms:", got)
		}
		time.Sleep(2 * time.Minute)
		if got := c.offsets(0); got != "[2 3]" {
			t.Fatal("after min.compaction.lag.ms:", got)
		}
	})
}

func TestALittleDirtDoesNotMakeAVersionEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := compactedTopic(t, 1, map[string]string{"segment.ms": "604800000", "min.cleanable.dirty.ratio": "0.5"})
		before := c.topic.Version()
		for i := range 600 {
			c.put(0, entry{"k", strconv.Itoa(i)})
			time.Sleep(10 * time.Second)
		}
		// 100 minutes at one cleaning in 5 at most, and one merge of 24 small files at a time.
		if upkeep := c.topic.Version() - before - 600; upkeep < 5 || upkeep > 50 {
			t.Error(upkeep, "versions of upkeep")
		}
	})
}

func TestATopicChangesItsPolicyWhileItIsUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := compactedTopic(t, 1, map[string]string{"cleanup.policy": "delete", "retention.ms": "-1"})
		c.put(0, entry{"", "no key"}, entry{"a", "1"}, entry{"a", "2"})
		time.Sleep(time.Hour)
		if got := c.offsets(0); got != "[0 1 2]" {
			t.Fatal("not compacted yet:", got)
		}
		c.alter(map[string]string{"cleanup.policy": "compact"})
		c.put(0, entry{"b", "1"})
		time.Sleep(time.Hour)
		if got := c.offsets(0); got != "[2 3]" { // Kafka drops what has no key, too
			t.Fatal("compacted:", got)
		}
		c.alter(map[string]string{"cleanup.policy": "delete"})
		for i := range 60 {
			c.put(0, entry{"a", strconv.Itoa(i)})
		}
		time.Sleep(time.Hour)
		if got := len(c.read(0, 0)); got != 62 {
			t.Fatal("not compacted any more:", got, "records")
		}
		c.alter(map[string]string{"cleanup.policy": "compact,delete", "retention.ms": "7200000"})
		time.Sleep(30 * time.Minute)
		if got := c.offsets(0); got != "[3 63]" {
			t.Fatal("compacted again:", got)
		}
		time.Sleep(3 * time.Hour)
		if got := c.offsets(0); logStart(t, c.topic, 0) == 0 || got != "[]" {
			t.Fatal("over:", got)
		}
	})
}

func TestATopicThatNobodyUsesIsCleanedToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := compactedTopic(t, 1, map[string]string{"delete.retention.ms": "3600000"})
		c.put(0, entry{"a", "1"}, entry{"b", ""}, entry{"a", "2"})
		c.topics.Close(t.Context())
		c.open()
		time.Sleep(3 * 24 * time.Hour)
		c.use()
		if got := c.offsets(0); got != "[2]" {
			t.Error(got)
		}
	})
}

func TestALargeFileOfWhichNothingGoesIsLeftAsItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := compactedWithin(t, &limits{cleanLimits{keys: 1000, bytes: 1 << 20}, 3000}, 2, nil)
		for p := range int32(2) {
			var entries []entry
			rng := rand.New(rand.NewPCG(uint64(p), 1))
			for i := range 60 {
				entries = append(entries, entry{fmt.Sprint("k", i), strings.Repeat(strconv.FormatUint(rng.Uint64(), 36), 4)})
			}
			c.put(p, entries...)
		}
		time.Sleep(time.Minute)
		before := c.names()
		c.put(1, entry{"k1", "new"})
		time.Sleep(time.Minute)
		after := c.names()
		if before[0] == "" || before[0] != after[0] || before[1] == after[1] {
			t.Errorf("the first files of the partitions were %v, are %v", before, after)
		}
		if n := len(c.read(1, 0)); n != 60 {
			t.Error(n, "records in partition 1")
		}
	})
}

// names are those of the first file of each partition.
func (t *compacted) names() (all []string) {
	t.topic.mu.Lock()
	defer t.topic.mu.Unlock()
	for _, list := range t.topic.index.partitions {
		all = append(all, list[0].file.name)
	}
	return all
}

func TestABrokerThatDiesWhileItCleansLosesNothing(t *testing.T) {
	for _, at := range []string{"t/data/", "t/_delta_log/"} {
		for passes := range 4 { // puts of that kind until the broker dies
			t.Run(fmt.Sprint(at, passes), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { dieWhileCleaning(t, at, passes) })
			})
		}
	}
}

func dieWhileCleaning(t *testing.T, at string, passes int) {
	// Several entries a cleaning, and few keys.
	c := compactedWithin(t, &limits{cleanLimits{keys: 6, bytes: 5000}, 4000}, 2, map[string]string{"segment.ms": "60000"})
	for i := range 16 {
		c.put(int32(i%2), entry{fmt.Sprint("k", i%3), fmt.Sprint(i)}, entry{fmt.Sprint("d", i%5), ""})
	}
	var puts atomic.Int32
	c.store.SetFaults(func(r mem.Request) mem.Fault {
		if strings.HasPrefix(r.Key, at) && (r.Kind == object.KindPut || r.Kind == object.KindCreate) && int(puts.Add(1)) > passes {
			return mem.Fault{Outcome: mem.HangApplied}
		}
		return mem.Fault{}
	})
	time.Sleep(80 * time.Second)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	c.topics.Close(ctx)
	if int(puts.Load()) <= passes {
		t.Fatal("only", puts.Load(), "puts")
	}
	c.store.SetFaults(nil)
	c.open()
	c.use()
	c.check(24 * time.Hour)
	time.Sleep(10 * time.Minute)
	c.check(24 * time.Hour)
	if got := len(c.read(0, 0)); got > 3+5+1 {
		t.Error(got, "records are left")
	}
}

func TestAMillionUpdatesOfAThousandKeysBecomeAThousandRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := compactedTopic(t, 1, map[string]string{"segment.ms": "604800000", "min.cleanable.dirty.ratio": "0.5"})
		const keys, batches = 1000, 1000
		latest := map[string]string{}
		appended := int64(0)
		var wait *Wait
		for n := range batches {
			var b record.Builder
			b.Reset(nil, record.Params{})
			for i := range keys {
				key, value := fmt.Sprint("connector-", (i*7919+n)%keys), fmt.Sprintf(`{"offset":%d,"file":"input-%d.txt"}`, n, i)
				b.Append(int64(i), time.Now().UnixMilli(), []byte(key), []byte(value), record.Headers{})
				latest[key] = value
			}
			batch := b.Finish()
			appended += int64(len(batch))
			wait = c.topic.Append(0, batch, Sender{})
			time.Sleep(100 * time.Millisecond)
		}
		if result := await(t, wait); result.Err != nil {
			t.Fatal(result.Err)
		}
		time.Sleep(10 * time.Minute)
		if size := c.topic.Size(0); size > appended/200 {
			t.Errorf("%d bytes are left of %d", size, appended)
		}
		got := map[string]string{}
		records := 0
		for offset := int64(0); offset < keys*batches; {
			read, err := c.topic.Read(t.Context(), 0, offset, 1<<20, true)
			if err != nil || len(read.Batches) == 0 {
				t.Fatal(offset, err)
			}
			for _, data := range read.Batches {
				batch := record.Batch(data)
				for it := batch.Records(batch.Payload()); it.Next(); records++ {
					got[string(it.Record().Key)] = string(it.Record().Value)
				}
				offset = batch.LastOffset() + 1
			}
		}
		if !maps.Equal(got, latest) || records != keys {
			t.Errorf("%d records, %d keys", records, len(got))
		}
	})
}
