package storage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"sluice/protocol/record"
	"sluice/storage/check"
	"sluice/storage/check/checktest"
	"sluice/storage/object"
	"sluice/storage/object/dir"
	"sluice/storage/object/mem"
	"sluice/storage/rows"
)

// eager is a producer that waits for each answer.
var eager = Sender{Eager: true, Stalled: true}

// root is a store with a broker's storage on it, and the means to check what
// became of it.
type root struct {
	t     *testing.T
	store object.Store
	*Topics
	gaps    bool // engines delete records: offsets need not be dense
	damaged bool // the test damages what the check would find
}

func start(t *testing.T, store object.Store, options Options) *root {
	t.Helper()
	options.Log = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	topics, err := Open(t.Context(), store, options)
	if err != nil {
		t.Fatal(err)
	}
	r := &root{t: t, store: store, Topics: topics}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		topics.Close(ctx)
		if !r.damaged {
			checktest.Root(t, store, check.Options{Dense: !r.gaps})
		}
	})
	return r
}

func (r *root) create(name string, partitions int32) *Topic {
	r.t.Helper()
	if _, err := r.Create(r.t.Context(), name, partitions, nil, false); err != nil {
		r.t.Fatal(err)
	}
	return r.topic(name)
}

func (r *root) topic(name string) *Topic {
	r.t.Helper()
	topic, err := r.Topic(r.t.Context(), name)
	if err != nil {
		r.t.Fatal(err)
	}
	return topic
}

// produced is a batch of values as a producer sends it.
func produced(producer *record.Producer, values ...string) []byte {
	var b record.Builder
	b.Reset(nil, record.Params{Producer: producer})
	now := time.Now().UnixMilli()
	for i, v := range values {
		b.Append(int64(i), now, nil, []byte(v), record.Headers{})
	}
	return b.Finish()
}

func await(t *testing.T, w *Wait) Appended {
	t.Helper()
	select {
	case <-w.Done():
		return w.Result()
	case <-time.After(time.Minute):
		t.Fatal("an append was not answered")
		return Appended{}
	}
}

func mustAppend(t *testing.T, topic *Topic, partition int32, values ...string) int64 {
	t.Helper()
	result := await(t, topic.Append(partition, produced(nil, values...), eager))
	if result.Err != nil {
		t.Fatal(result.Err)
	}
	return result.BaseOffset
}

// consume reads a partition from an offset to its end and answers value by offset.
func consume(t *testing.T, topic *Topic, partition int32, from int64) map[int64]string {
	t.Helper()
	got := map[int64]string{}
	for offset := from; ; {
		read, err := topic.Read(t.Context(), partition, offset, 1<<20, true)
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
			if !batch.Intact() {
				t.Fatalf("batch at %d has a bad checksum", batch.BaseOffset())
			}
			if batch.LastOffset() < offset {
				t.Fatalf("asked for %d, got a batch that ends at %d", offset, batch.LastOffset())
			}
			for at, value := range values(t, batch) {
				if at >= offset {
					if old, twice := got[at]; twice {
						t.Fatalf("offset %d twice: %s, %s", at, old, value)
					}
					got[at] = value
				}
			}
			offset = batch.LastOffset() + 1
		}
	}
}

func values(t *testing.T, batch record.Batch) map[int64]string {
	t.Helper()
	d := record.GetDecompressor()
	defer d.Release()
	body, err := d.Body(batch, 64<<20)
	if err != nil {
		t.Fatal(err)
	}
	got := map[int64]string{}
	it := batch.Records(body)
	for it.Next() {
		r := it.Record()
		got[batch.BaseOffset()+int64(r.OffsetDelta)] = nameOf(t, r)
	}
	if err := it.Err(); err != nil {
		t.Fatal(err)
	}
	return got
}

// checkTable re-reads a topic's table by its files alone and compares it with what
// should be there: every offset from 0 once, with its value.
func checkTable(t *testing.T, store object.Store, topic string, want map[int32]map[int64]string) {
	t.Helper()
	env := newEnv(store, Options{})
	snap, err := env.newLog(topic).Open(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	got := map[int32]map[int64]string{}
	for _, a := range snap.Files {
		f := &file{key: topic + "/" + a.Path, size: a.Size}
		r, err := rows.Open(t.Context(), f.size, source(store, f))
		if err != nil {
			t.Fatal(err)
		}
		ranges, err := r.Ranges(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, rng := range ranges {
			batches, err := r.Read(t.Context(), rng.Partition, rng.First, rows.Limits{MaxBytes: 1 << 30})
			if err != nil {
				t.Fatal(err)
			}
			if got[rng.Partition] == nil {
				got[rng.Partition] = map[int64]string{}
			}
			for _, b := range batches {
				for at, v := range values(t, record.Batch(b.Data)) {
					if old, twice := got[rng.Partition][at]; twice {
						t.Errorf("row %d-%d twice: %s, %s", rng.Partition, at, old, v)
					}
					got[rng.Partition][at] = v
				}
			}
		}
	}
	for p, records := range want {
		if len(got[p]) != len(records) {
			t.Errorf("partition %d: %d rows in the table, want %d", p, len(got[p]), len(records))
		}
		for at, v := range records {
			if got[p][at] != v {
				t.Errorf("row %d-%d is %q, want %q", p, at, got[p][at], v)
			}
		}
	}
}

// empty removes all objects of a folder, as an operator may.
func empty(t *testing.T, store object.Store, folder string) {
	t.Helper()
	var keys []string
	_, err := object.All(t.Context(), store, object.ListRequest{Prefix: folder}, func(i object.Info) error {
		keys = append(keys, i.Key)
		return nil
	})
	if err == nil {
		_, err = store.Delete(t.Context(), keys...)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestWhatIsAppendedIsReadFromTheTailAndFromTheTable(t *testing.T) {
	store := mem.New()
	r := start(t, store, Options{})
	topic := r.create("orders", 3)
	want := map[int32]map[int64]string{0: {}, 1: {}, 2: {}}
	for i := range 60 {
		p := int32(i % 3)
		base := mustAppend(t, topic, p, fmt.Sprint("a", i), fmt.Sprint("b", i))
		want[p][base], want[p][base+1] = fmt.Sprint("a", i), fmt.Sprint("b", i)
	}
	for p, records := range want {
		for from := range int64(len(records)) {
			if got := consume(t, topic, p, from); len(got) != len(records)-int(from) {
				t.Fatalf("partition %d from %d: %d records", p, from, len(got))
			}
		}
	}
	checkTable(t, store, "orders", want)

	// A new broker has nothing in memory.
	r.Close(t.Context())
	r = start(t, store, Options{})
	topic = r.topic("orders")
	for p, records := range want {
		for from := range int64(len(records)) {
			for at, v := range consume(t, topic, p, from) {
				if records[at] != v {
					t.Fatalf("%d-%d is %q, want %q", p, at, v, records[at])
				}
			}
		}
	}
	if base := mustAppend(t, topic, 1, "next"); base != int64(len(want[1])) {
		t.Fatalf("the next offset is %d, want %d", base, len(want[1]))
	}
}

func TestALocalDirectoryServesTheSame(t *testing.T) {
	path := t.TempDir()
	open := func() object.Store {
		store, err := dir.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		return store
	}
	r := start(t, open(), Options{})
	topic := r.create("t", 1)
	want := map[int64]string{}
	for i := range 20 {
		want[mustAppend(t, topic, 0, fmt.Sprint(i))] = fmt.Sprint(i)
	}
	r.Close(t.Context())
	r = start(t, open(), Options{})
	if got := consume(t, r.topic("t"), 0, 0); len(got) != 20 {
		t.Fatalf("%d records", len(got))
	}
	checkTable(t, open(), "t", map[int32]map[int64]string{0: want})
}

func TestFiveBatchesInOneCommitKeepTheirOffsetsThroughARestart(t *testing.T) {
	store := mem.New()
	r := start(t, store, Options{CommitInterval: 200 * time.Millisecond})
	topic := r.create("t", 1)
	mustAppend(t, topic, 0, "begin") // the next pool waits for the interval
	var batches [][]byte
	for i := range 5 {
		batches = append(batches, produced(&record.Producer{ID: 7, Epoch: 0, Sequence: int32(2 * i)}, fmt.Sprint("a", i), fmt.Sprint("b", i)))
	}
	send := func(topic *Topic) (offsets []int64) {
		var waits []*Wait
		for _, b := range batches {
			waits = append(waits, topic.Append(0, append([]byte(nil), b...), Sender{}))
		}
		for _, w := range waits {
			result := await(t, w)
			if result.Err != nil {
				t.Fatal(result.Err)
			}
			offsets = append(offsets, result.BaseOffset)
		}
		return offsets
	}
	before := topic.Version()
	first := send(topic)
	if topic.Version() != before+1 {
		t.Fatalf("five batches took %d versions", topic.Version()-before)
	}
	if again := send(topic); fmt.Sprint(again) != fmt.Sprint(first) {
		t.Fatalf("a retry got %v, the first time %v", again, first)
	}
	r.Close(t.Context())
	r = start(t, store, Options{})
	topic = r.topic("t")
	if again := send(topic); fmt.Sprint(again) != fmt.Sprint(first) {
		t.Fatalf("a retry after a restart got %v, the first time %v", again, first)
	}
	if got := consume(t, topic, 0, 0); len(got) != 11 {
		t.Fatalf("%d records, want 11: %v", len(got), got)
	}
	for sequence, want := range map[int32]error{12: ErrOutOfOrderSequence, 4: ErrOutOfOrderSequence} {
		result := await(t, topic.Append(0, produced(&record.Producer{ID: 7, Sequence: sequence}, "x"), eager))
		if !errors.Is(result.Err, want) {
			t.Errorf("sequence %d: %v, want %v", sequence, result.Err, want)
		}
	}
	result := await(t, topic.Append(0, produced(&record.Producer{ID: 7, Epoch: 1, Sequence: 0}, "x"), eager))
	if result.Err != nil {
		t.Error("a new epoch begins with 0:", result.Err)
	}
	result = await(t, topic.Append(0, produced(&record.Producer{ID: 7, Epoch: 0, Sequence: 10}, "x"), eager))
	if !errors.Is(result.Err, ErrInvalidProducerEpoch) {
		t.Error("an old epoch:", result.Err)
	}
}

func TestTwoBrokersOnOneRootNeverLoseOrDoubleAnAckedRecord(t *testing.T) {
	store := mem.New()
	a := start(t, store, Options{})
	a.create("t", 2)
	b := start(t, store.Handle(), Options{})
	var mu sync.Mutex
	acked := map[int32]map[int64]string{0: {}, 1: {}}
	var group sync.WaitGroup
	deadline := time.Now().Add(5 * time.Second)
	lost := 0
	for w, r := range []*root{a, b, a, b} {
		group.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(w)))
			for i := 0; time.Now().Before(deadline); i++ {
				topic, err := r.Topic(t.Context(), "t")
				if err != nil {
					time.Sleep(50 * time.Millisecond)
					continue
				}
				p := int32(random.IntN(2))
				value := fmt.Sprintf("w%d-%d", w, i)
				result := await(t, topic.Append(p, produced(nil, value), eager))
				mu.Lock()
				if result.Err != nil {
					lost++
				} else {
					if old, twice := acked[p][result.BaseOffset]; twice {
						t.Errorf("offset %d-%d was acked for %s and for %s", p, result.BaseOffset, old, value)
					}
					acked[p][result.BaseOffset] = value
				}
				mu.Unlock()
			}
		})
	}
	group.Wait()
	a.Close(t.Context())
	b.Close(t.Context())
	t.Logf("%d and %d acked, %d refused", len(acked[0]), len(acked[1]), lost)
	c := start(t, store, Options{})
	for p, records := range acked {
		got := consume(t, c.topic("t"), p, 0)
		for at, v := range records {
			if got[at] != v {
				t.Errorf("acked %s at %d-%d, read %q", v, p, at, got[at])
			}
		}
	}
	if lost == 0 || len(acked[0]) == 0 {
		t.Error("the two brokers have not been in each other's way")
	}
}

func TestADeletedTopicIsGoneAndANewOneOfItsNameBeginsAnew(t *testing.T) {
	store := mem.New()
	r := start(t, store, Options{})
	old := r.create("t", 1)
	mustAppend(t, old, 0, "old", "old")
	id := old.Info().ID
	if err := r.Delete(t.Context(), "t", [16]byte{}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Topic(t.Context(), "t"); !errors.Is(err, ErrUnknownTopic) {
		t.Fatal(err)
	}
	if result := await(t, old.Append(0, produced(nil, "late"), eager)); !errors.Is(result.Err, ErrUnknownTopic) {
		t.Fatal(result.Err)
	}
	topic := r.create("t", 2)
	if topic.Info().ID == id {
		t.Fatal("the new topic has the old one's id")
	}
	if base := mustAppend(t, topic, 0, "new"); base != 0 {
		t.Fatal("the new topic begins at", base)
	}
	if err := r.Delete(t.Context(), "t", id); !errors.Is(err, ErrUnknownTopic) {
		t.Fatal("deleting the old id:", err)
	}
	r.Close(t.Context())
	r = start(t, store, Options{})
	if got := consume(t, r.topic("t"), 0, 0); len(got) != 1 || got[0] != "new" {
		t.Fatal(got)
	}
}

func TestTheCatalogueFindsTopicsThatItDoesNotKnow(t *testing.T) {
	store := mem.New()
	r := start(t, store, Options{})
	mustAppend(t, r.create("known", 1), 0, "x")
	r.Close(t.Context())
	// As if the broker had been killed before it could write the catalogue.
	empty(t, store, cataloguePath+"/")
	r = start(t, store, Options{})
	if got := consume(t, r.topic("known"), 0, 0); len(got) != 1 {
		t.Fatal(got)
	}
}

func TestNextOffsetsSurviveATableThatIsEmptied(t *testing.T) {
	store := mem.New()
	r := start(t, store, Options{})
	topic := r.create("t", 1)
	for range 3 {
		mustAppend(t, topic, 0, "x", "y")
	}
	if low, err := topic.DeleteRecords(t.Context(), 0, -1); err != nil || low != 6 {
		t.Fatal(low, err)
	}
	if _, err := topic.Read(t.Context(), 0, 2, 1000, true); !errors.Is(err, ErrOffsetOutOfRange) {
		t.Fatal("a deleted record is read:", err)
	}
	r.Close(t.Context())
	r = start(t, store, Options{})
	topic = r.topic("t")
	offsets, err := topic.Offsets(0)
	if err != nil || offsets.LogStart != 6 || offsets.HighWatermark != 6 {
		t.Fatal(offsets, err)
	}
	if base := mustAppend(t, topic, 0, "z"); base != 6 {
		t.Fatal(base)
	}
}

func TestManyVersionsAreCheckpointedAndOpenedFast(t *testing.T) {
	store := mem.New()
	r := start(t, store, Options{})
	topic := r.create("t", 1)
	want := map[int64]string{}
	for i := range 450 {
		result := await(t, topic.Append(0, produced(&record.Producer{ID: 9, Sequence: int32(i)}, fmt.Sprint(i)), eager))
		if result.Err != nil {
			t.Fatal(result.Err)
		}
		want[result.BaseOffset] = fmt.Sprint(i)
	}
	r.Close(t.Context())
	r = start(t, store, Options{})
	topic = r.topic("t")
	if got := consume(t, topic, 0, 0); len(got) != 450 {
		t.Fatal(len(got))
	}
	checkTable(t, store, "t", map[int32]map[int64]string{0: want})
	result := await(t, topic.Append(0, produced(&record.Producer{ID: 9, Sequence: 449}, "449"), eager))
	if result.Err != nil || result.BaseOffset != 449 {
		t.Fatal("the retry of the last batch:", result)
	}
	_, err := object.All(t.Context(), store, object.ListRequest{Prefix: "t/_delta_log/_last_checkpoint"}, func(object.Info) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	if at, err := topic.OffsetAtVersion(t.Context(), 0, 200); err != nil || at < 190 || at > 200 {
		t.Fatal("the offset at version 200:", at, err)
	}
}

func TestTheTailCacheKeepsWithinItsBoundAndReadersGoOnFromFiles(t *testing.T) {
	store := mem.New()
	r := start(t, store, Options{TailBytes: 20_000, BlockBytes: 50_000})
	topic := r.create("t", 2)
	big := string(make([]byte, 1000))
	for range 100 {
		mustAppend(t, topic, 0, big)
		mustAppend(t, topic, 1, big)
	}
	if r.env.tails.bytes > 20_000 {
		t.Fatal("the tail cache holds", r.env.tails.bytes)
	}
	for p := range int32(2) {
		if got := consume(t, topic, p, 0); len(got) != 100 {
			t.Fatal(len(got))
		}
	}
	r.env.blocks.mu.Lock()
	defer r.env.blocks.mu.Unlock()
	// The block that is being read stays, however large: that of a merged file is.
	if b := r.env.blocks; b.bytes > 50_000 && b.blocks.Len() > 1 {
		t.Fatal("the block cache holds", b.bytes, "bytes in", b.blocks.Len(), "blocks")
	}
}

func TestRecordsAreFoundByTime(t *testing.T) {
	r := start(t, mem.New(), Options{TailBytes: 1})
	topic := r.create("t", 1)
	begin := time.Now().Add(-time.Hour).UnixMilli()
	for i := range int64(10) {
		var b record.Builder
		b.Reset(nil, record.Params{})
		for j := range int64(10) {
			b.Append(j, begin+i*1000+j*10, nil, []byte("x"), record.Headers{})
		}
		if result := await(t, topic.Append(0, b.Finish(), eager)); result.Err != nil {
			t.Fatal(result.Err)
		}
	}
	for _, c := range []struct{ ms, offset, timestamp int64 }{
		{0, 0, begin}, {begin, 0, begin}, {begin + 1, 1, begin + 10}, {begin + 3050, 35, begin + 3050},
		{begin + 3091, 40, begin + 4000}, {begin + 9090, 99, begin + 9090}, {begin + 9091, -1, -1},
	} {
		offset, timestamp, err := topic.OffsetForTime(t.Context(), 0, c.ms)
		if err != nil || offset != c.offset || timestamp != c.timestamp {
			t.Errorf("at %d: %d, %d, %v; want %d, %d", c.ms-begin, offset, timestamp-begin, err, c.offset, c.timestamp-begin)
		}
	}
	if offset, timestamp, err := topic.MaxTimestamp(t.Context(), 0); err != nil || offset != 99 || timestamp != begin+9090 {
		t.Error(offset, timestamp, err)
	}
}

func TestShortLivedProducersLeaveABoundedState(t *testing.T) {
	ps := newProducers()
	now := time.Now()
	for i := range 100_000 {
		key := producerKey{0, int64(i)}
		ps.expire(now)
		ps.add(key, batch{first: 0, last: 0, base: int64(i), wait: nil}, now.UnixMilli()+int64(i))
		if len(ps.byID) > maxProducers+1 {
			t.Fatal(len(ps.byID), "producers are kept")
		}
	}
	if ps.byID[producerKey{0, 99_999}] == nil || ps.byID[producerKey{0, 85_000}] == nil {
		t.Error("an active producer was dropped before quieter ones")
	}
	if ps.expire(now.Add(25 * time.Hour)); len(ps.byID) != 0 {
		t.Error(len(ps.byID), "producers outlive their expiry")
	}
}

func TestNamesThatAreNoTopicsAreRefused(t *testing.T) {
	r := start(t, mem.New(), Options{})
	for _, name := range []string{"", ".", "..", "a/b", "../x", "a b", "ä", "_sluice", "_delta_log", string(make([]byte, 250))} {
		if _, err := r.Create(t.Context(), name, 1, nil, false); !errors.Is(err, ErrInvalidTopic) {
			t.Errorf("%q: %v", name, err)
		}
	}
	r.create("a.b", 1)
	if _, err := r.Create(t.Context(), "a_b", 1, nil, false); !errors.Is(err, ErrInvalidTopic) {
		t.Error("a name that collides:", err)
	}
}

func TestLookingAtATopicIsNotLeadingIt(t *testing.T) {
	store := mem.New()
	r := start(t, store, Options{})
	mustAppend(t, r.create("t", 1), 0, "x")
	if err := r.topic("t").Alter(t.Context(), func(own map[string]string) (map[string]string, error) {
		own["retention.ms"] = "1000"
		return own, nil
	}); err != nil {
		t.Fatal(err)
	}
	version := r.topic("t").Version()
	r.Close(t.Context())
	r = start(t, store, Options{})
	for range 2 { // not open, then open
		d, err := r.Describe(t.Context(), "t")
		if err != nil || d.Config["retention.ms"] != "1000" || d.Version != version || d.URL == "" {
			t.Error(d, err)
		}
		version = r.topic("t").Version()
	}
	if _, err := r.Describe(t.Context(), "other"); !errors.Is(err, ErrUnknownTopic) {
		t.Error(err)
	}
}

func TestConcurrentChangesOfAConfigAreAllKept(t *testing.T) {
	r := start(t, mem.New(), Options{})
	topic := r.create("t", 1)
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			err := topic.Alter(t.Context(), func(own map[string]string) (map[string]string, error) {
				n := 1 << 20
				if value := own["segment.bytes"]; value != "" {
					n, _ = strconv.Atoi(value)
				}
				own["segment.bytes"] = fmt.Sprint(n + 1)
				return own, nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if got := topic.Config()["segment.bytes"]; got != fmt.Sprint(1<<20+20) {
		t.Error("segment.bytes is", got)
	}
	refusal := errors.New("refused")
	if err := topic.Alter(t.Context(), func(map[string]string) (map[string]string, error) { return nil, refusal }); err != refusal {
		t.Error(err)
	}
}
