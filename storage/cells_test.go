package storage

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"sluice/protocol/record"
	"sluice/storage/object"
	"sluice/storage/object/mem"
	"sluice/storage/rows"
)

// random is a value that Snappy does not shrink.
func random(r *rand.Rand, size int) string {
	b := make([]byte, size)
	for i := range b {
		b[i] = ' ' + byte(r.Uint32()&63)
	}
	return string(b)
}

// fill appends values, many at a time, so that they come into few and large files.
func fill(t *testing.T, topic *Topic, values []string) {
	t.Helper()
	var waits []*Wait
	for len(values) > 0 {
		n, bytes := 0, 0
		for n < len(values) && (n == 0 || bytes+len(values[n]) < 900_000) {
			bytes += len(values[n])
			n++
		}
		waits = append(waits, topic.Append(0, produced(nil, values[:n]...), Sender{}))
		values = values[n:]
	}
	for _, w := range waits {
		if result := await(t, w); result.Err != nil {
			t.Fatal(result.Err)
		}
	}
}

func TestALargeFileIsReadOnceHoweverLittleIsTakenAtATime(t *testing.T) {
	store := mem.New()
	r := start(t, store, Options{CommitInterval: time.Second})
	values := make([]string, 12_000)
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range values {
		values[i] = random(rnd, 1000)
	}
	topic := r.createWith("t", 1, map[string]string{"max.message.bytes": "10000000"})
	mustAppend(t, topic, 0, values[:8000]...)
	fill(t, topic, values[8000:])
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}

	reg := prometheus.NewRegistry()
	r = start(t, object.NewMeter(store, reg), Options{})
	topic = r.topic("t")
	c := r.env.blocks
	before, stored := readBytes(t, reg), 0.0
	largest := int64(0)
	for _, f := range topic.index.ordered {
		stored += float64(f.size)
		largest = max(largest, f.size)
	}
	if largest < blockBytes {
		t.Fatal("the largest file has", largest, "bytes")
	}
	for offset := int64(0); offset < int64(len(values)); {
		read, err := topic.Read(t.Context(), 0, offset, 1, true) // a batch at a time
		if err != nil || len(read.Batches) != 1 {
			t.Fatal(len(read.Batches), err)
		}
		offset = record.Batch(read.Batches[0]).LastOffset() + 1
		read.Release()
		if c.running.Wait(); offset > 0 && c.unread > c.limit/2+blockBytes {
			t.Fatal(c.unread, "bytes were loaded ahead")
		}
	}
	if n := readBytes(t, reg) - before; n > 1.2*stored {
		t.Errorf("%.0f bytes were read of %.0f", n, stored)
	}
	// All but the first block were there when they were needed.
	if n := testutil.ToFloat64(c.metrics.blockMisses); n > 2 {
		t.Errorf("the reader waited for %v blocks", n)
	}
	if c.unread != 0 {
		t.Errorf("%d bytes nobody has read", c.unread)
	}
}

// What follows an answer is loaded once that is sent, however little it took: not before,
// since the loads would compete with it for the processors.
func TestWhatTheNextReadTakesIsLoadedWhenOneIsDone(t *testing.T) {
	store := mem.New()
	r := start(t, store, Options{CommitInterval: time.Second})
	values := make([]string, 40)
	rnd := rand.New(rand.NewPCG(7, 8))
	for i := range values {
		values[i] = random(rnd, 900_000)
	}
	fill(t, r.create("t", 1), values)
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	r = start(t, store, Options{BlockBytes: 8 * blockBytes})
	topic, c := r.topic("t"), r.env.blocks
	read, err := topic.Read(t.Context(), 0, 0, 1, true)
	if err != nil || len(read.Batches) != 1 {
		t.Fatal(len(read.Batches), err)
	}
	c.running.Wait()
	// Its own, and one beside that the answer might have needed.
	if n := c.blocks.Len(); n > 2 {
		t.Errorf("%d blocks were loaded before the answer was sent", n)
	}
	read.Release()
	c.running.Wait()
	// And those that follow.
	if n := c.blocks.Len(); n < 4 {
		t.Errorf("%d blocks were loaded", n)
	}
}

func TestRecordsThatAreLargerInOnePlaceThanInOthersAreAllRead(t *testing.T) {
	store := mem.New()
	r := start(t, store, Options{CommitInterval: time.Second})
	rnd := rand.New(rand.NewPCG(3, 4))
	var values []string
	for range 3000 {
		values = append(values, random(rnd, 10))
	}
	for range 25 {
		values = append(values, random(rnd, 700_000))
	}
	for range 3000 {
		values = append(values, random(rnd, 10))
	}
	fill(t, r.create("t", 1), values)
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	r = start(t, store, Options{})
	for _, from := range []int64{0, 2990, 3003, 3015, 3025, 6000} {
		if got := consume(t, r.topic("t"), 0, from); len(got) < len(values)-int(from) {
			t.Errorf("%d records from %d on", len(got), from)
		}
	}
}

// readBytes is how many bytes were read from a store.
func readBytes(t *testing.T, reg *prometheus.Registry) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "sluice_store_read_bytes_total" {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	return 0
}

// A large file with gaps in its offsets, as a cleaning leaves them, and with another
// partition beside: from wherever it is read, each record comes once and in order.
func TestCellsOfALargeFileWithGapsLeaveNothingOut(t *testing.T) {
	store := mem.New()
	rnd := rand.New(rand.NewPCG(5, 6))
	encoder := rows.NewEncoder(rows.Options{})
	if err := encoder.Begin("t", 0); err != nil {
		t.Fatal(err)
	}
	var offsets []int64 // of partition 1
	for n := range int32(3) {
		for offset := int64(1000); offset < 1_000_000; {
			values := make([]string, 20+rnd.IntN(50))
			for i := range values {
				values[i] = random(rnd, 2000)
				if n == 1 {
					offsets = append(offsets, offset+int64(i))
				}
			}
			if err := encoder.Add(&rows.Batch{Partition: n, BaseOffset: offset, Data: produced(nil, values...)}); err != nil {
				t.Fatal(err)
			}
			offset += int64(len(values)) + rnd.Int64N(20_000)
		}
	}
	made := encoder.Finish()
	if _, err := store.Create(t.Context(), "t/f", made.Body); err != nil {
		t.Fatal(err)
	}
	ranges, ok := rows.ParseRanges(made.Tags)
	if !ok || len(made.Body) < 3*blockBytes {
		t.Fatal(ok, len(made.Body))
	}
	e := extent{ranges[1].First, ranges[1].Last, ranges[1].Rows, &file{key: "t/f", size: int64(len(made.Body))}, ranges[1].Last}

	c := newBlockCache(64<<20, newMetrics(nil))
	defer c.close(t.Context())
	for _, from := range []int{0, 1, len(offsets) / 3, len(offsets) / 2, len(offsets) - 1} {
		// Begin at a record, or just before one: in a gap, or at the record before.
		at, next := offsets[from]-int64(from%2), from
		if from%2 == 1 && offsets[from]-1 == offsets[from-1] {
			next--
		}
		for at <= e.last {
			b, err := c.find(t.Context(), store, 1, at, []extent{e})
			if err != nil {
				t.Fatal(err)
			}
			for _, batch := range b.batches {
				it := record.Batch(batch.Data).Records(record.Batch(batch.Data).Payload())
				for it.Next() {
					offset := batch.First + int64(it.Record().OffsetDelta)
					if offset < at {
						continue
					}
					if offset != offsets[next] {
						t.Fatalf("from %d: offset %d, want %d", from, offset, offsets[next])
					}
					next++
				}
			}
			if b.next <= at {
				t.Fatalf("from %d: the block at %d ends at %d", from, at, b.next)
			}
			at = b.next
		}
		if next != len(offsets) {
			t.Errorf("from %d: %d of %d records", from, next, len(offsets))
		}
	}
}
