package storage

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"sluice/protocol/record"
	"sluice/storage/object/mem"
)

// onDisk are options with which batches leave memory at once and lie on the disk.
func onDisk(t *testing.T) Options {
	return Options{TailBytes: 1, DiskDir: t.TempDir(), DiskBytes: 1 << 20}
}

// filled makes a topic of two partitions with values of some 200 bytes, n batches in
// each, the most of which are on the disk.
func filled(t *testing.T, r *root, n int) (*Topic, []map[int64]string) {
	t.Helper()
	topic := r.create("t", 2)
	want := []map[int64]string{{}, {}}
	for i := range n {
		for p := range int32(2) {
			value := fmt.Sprintf("%d-%d-%s", p, i, strings.Repeat("x", 200))
			base := mustAppend(t, topic, p, value, value)
			want[p][base], want[p][base+1] = value, value
			settle(r.env.tails.disk)
		}
	}
	return topic, want
}

// settle waits until a disk cache has written what it writes by itself.
func settle(d *diskCache) { d.group.Wait() }

func agreeWith(t *testing.T, topic *Topic, want []map[int64]string) {
	t.Helper()
	for p, want := range want {
		if got := consume(t, topic, int32(p), 0); !maps.Equal(got, want) {
			t.Fatalf("partition %d: %d records are read, want %d", p, len(got), len(want))
		}
	}
}

func TestWhatHasLeftMemoryIsReadFromTheDiskAsItWasProduced(t *testing.T) {
	r := start(t, mem.New(), onDisk(t))
	topic, want := filled(t, r, 40)
	agreeWith(t, topic, want)
	m := r.env.metrics
	if hits, misses := testutil.ToFloat64(m.diskHits), testutil.ToFloat64(m.diskMisses); hits < 2 || misses > 0 {
		t.Errorf("%v hits and %v misses", hits, misses)
	}
	if left, err := os.ReadDir(r.env.options.DiskDir); err != nil || len(left) > 0 {
		t.Error("files with names:", left, err)
	}
	// From any offset, in pieces of any size, each batch is what a Fetch got when it was new.
	whole, err := topic.Read(t.Context(), 0, 0, 1<<20, true)
	if err != nil {
		t.Fatal(err)
	}
	log := bytes.Join(whole.Batches, nil)
	size := len(whole.Batches[0])
	end := record.Batch(whole.Batches[len(whole.Batches)-1]).LastOffset() + 1
	if end < 70 {
		t.Error("one read ends at", end)
	}
	for offset := range end {
		for _, room := range []int{1, size, size + 1, 3 * size, 1 << 20} {
			read, err := topic.Read(t.Context(), 0, offset, room, true)
			if err != nil {
				t.Fatal(err)
			}
			got := bytes.Join(read.Batches, nil)
			at := bytes.Index(log, got)
			if at < 0 || read.Bytes != len(got) || len(got) > max(room, size+2) || record.Batch(got).BaseOffset() != offset/2*2 {
				t.Fatalf("at %d up to %d bytes: %d batches, %d bytes at %d", offset, room, len(read.Batches), len(got), at)
			}
			if read, err := topic.Read(t.Context(), 0, offset, room, false); err != nil || read.Bytes > room {
				t.Fatalf("at %d up to %d bytes: %d, %v", offset, room, read.Bytes, err)
			}
			read.Release()
		}
	}
}

func TestRecordsThatAnEngineDeletesLeaveTheDiskCache(t *testing.T) {
	store := mem.New()
	r := start(t, store, onDisk(t))
	topic := r.open("t", 1)
	numbers(t, topic, 0, 30)
	settle(r.env.tails.disk)
	newEngine(t, store.Handle(), "t").delete(func(offset int64) bool { return offset%3 == 0 })
	look(t, topic)
	got := consume(t, topic, 0, 0)
	for offset := range int64(30) {
		if _, there := got[offset]; there == (offset%3 == 0) {
			t.Errorf("offset %d is there: %v", offset, there)
		}
	}
	r.gaps = true
}

func TestATopicThatIsNotLedHereAnyMoreLeavesTheDiskCache(t *testing.T) {
	r := start(t, mem.New(), onDisk(t))
	topic, _ := filled(t, r, 20)
	if err := r.Delete(t.Context(), "t", topic.Info().ID); err != nil {
		t.Fatal(err)
	}
	for _, p := range topic.partitions {
		if s := &p.tail.spilled; s.runs.len()+s.waiting.len() > 0 {
			t.Errorf("%d runs, %d batches", s.runs.len(), s.waiting.len())
		}
	}
}

func TestReadersGoOnFromFilesWhereTheDiskFails(t *testing.T) {
	for name, damage := range map[string]func(f *os.File) error{
		"cannot be read":    func(f *os.File) error { return f.Truncate(100) },
		"has other bytes":   func(f *os.File) error { _, err := f.WriteAt(make([]byte, 1000), 0); return err },
		"has other offsets": func(f *os.File) error { _, err := f.WriteAt([]byte{1, 2, 3}, 0); return err },
		"cannot be written": (*os.File).Close,
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, mem.New(), onDisk(t))
			topic, want := filled(t, r, 20)
			disk := r.env.tails.disk
			if err := damage((*disk.files.at(0)).file); err != nil {
				t.Fatal(err)
			}
			agreeWith(t, topic, want)
			for i := range 20 {
				value := fmt.Sprint("later ", i, strings.Repeat("x", 200))
				want[1][mustAppend(t, topic, 1, value)] = value
			}
			settle(disk)
			agreeWith(t, topic, want)
			if !disk.off || disk.files.len() > 0 || disk.bytes > 0 || disk.queue.len() > 0 {
				t.Errorf("the cache goes on with %d files", disk.files.len())
			}
		})
	}
}

func TestABrokerWithoutADiskServes(t *testing.T) {
	options := onDisk(t)
	options.DiskDir += "/none"
	r := start(t, mem.New(), options)
	topic := r.create("t", 1)
	mustAppend(t, topic, 0, "a")
	if got := consume(t, topic, 0, 0); len(got) != 1 || r.env.tails.disk != nil {
		t.Error(got)
	}
}

// diskBatch is a batch of a partition with some offsets; its bytes tell which.
func diskBatch(partition int, first int64, records, size int) tailBatch {
	var b record.Builder
	b.Reset(nil, record.Params{})
	for i := range int64(records) {
		b.Append(i, 0, []byte(fmt.Sprint(partition, " ", first)), make([]byte, size), record.Headers{})
	}
	data := b.Finish()
	record.Batch(data).SetBaseOffset(first)
	return tailBatch{first, first + int64(records) - 1, data}
}

func newTestDisk(t *testing.T, limit int64, tail int) *diskCache {
	t.Helper()
	d, err := openDiskCache(t.TempDir(), newDiskBounds(limit, 0, tail), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.close)
	return d
}

func TestTheDiskCacheKeepsWithinItsBoundsWhileItIsRead(t *testing.T) {
	const limit, partitions = 200_000, 5
	d := newTestDisk(t, limit, 20_000)
	parts := make([]spilled, partitions)
	var ends [partitions]int64
	var mu sync.Mutex // of ends
	ctx, cancel := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	served := make([]int, 2)
	for n := range served {
		readers.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(n)))
			for ctx.Err() == nil {
				p := random.IntN(partitions)
				mu.Lock()
				end := ends[p]
				mu.Unlock()
				offset := random.Int64N(end + 1)
				batches, _, buf, ok := d.read(&parts[p], offset, end, 1+random.IntN(10_000), true)
				next := offset
				for i, data := range batches {
					b := record.Batch(data)
					if b.BaseOffset() > next || b.LastOffset() < next || i > 0 && b.BaseOffset() != next || !b.Intact() {
						t.Errorf("partition %d at %d: a batch of %d to %d", p, next, b.BaseOffset(), b.LastOffset())
					}
					if !bytes.Contains(data, []byte(fmt.Sprint(p, " ", b.BaseOffset()))) {
						t.Errorf("partition %d at %d: another's batch", p, next)
					}
					next = b.LastOffset() + 1
				}
				buf.Release()
				if ok && len(batches) > 0 {
					served[n]++
				}
			}
		})
	}
	random := rand.New(rand.NewPCG(2, 2))
	for i := range 1500 {
		p := random.IntN(partitions)
		mu.Lock()
		b := diskBatch(p, ends[p], 1+random.IntN(3), random.IntN(300))
		d.add(&parts[p], b)
		ends[p] = b.last + 1
		mu.Unlock()
		d.mu.Lock()
		if d.bytes > limit || d.files.len() > d.bounds.files || d.waiting > d.bounds.waiting {
			t.Fatalf("%d bytes in %d files, %d wait", d.bytes, d.files.len(), d.waiting)
		}
		d.mu.Unlock()
		if i%300 == 299 {
			d.forget(&parts[p])
		}
		if i%20 == 0 {
			settle(d)
		}
	}
	cancel()
	readers.Wait()
	settle(d)
	if slices.Min(served) == 0 {
		t.Error("reads served:", served)
	}
	runs, listed := 0, 0
	for i := range parts {
		runs += parts[i].runs.len()
	}
	for i := range d.files.len() {
		listed += len((*d.files.at(i)).runs)
	}
	if d.written < 2*limit || runs > listed {
		t.Errorf("%d bytes were written; %d runs in the index, %d in files", d.written, runs, listed)
	}
	d.dropOldest(0)
	for i := range parts {
		if parts[i].runs.len() > 0 || d.bytes != 0 {
			t.Error("runs without a file")
		}
	}
}

func TestManySmallRunsMakeShortFiles(t *testing.T) {
	d := newTestDisk(t, 1<<20, 1<<20)
	d.bounds.fileRuns = 10
	parts := make([]spilled, 50)
	for offset := range int64(100) {
		for p := range parts {
			d.add(&parts[p], diskBatch(p, offset, 1, 300))
		}
		settle(d)
	}
	runs := 0
	for p := range parts {
		runs += parts[p].runs.len()
	}
	// A write may be beyond the bound, by a run for each partition.
	if most := d.bounds.files * (d.bounds.fileRuns + len(parts)); runs == 0 || runs > most || d.files.len() > d.bounds.files {
		t.Errorf("%d runs in %d files", runs, d.files.len())
	}
}

func TestWhatTheDiskIsTooSlowForIsAGapThatNoReaderPasses(t *testing.T) {
	d := newTestDisk(t, 1<<20, 80_000)
	d.writing = true // by a disk that stands still
	var p spilled
	end := int64(0)
	for ; d.dropped == 0; end++ {
		d.add(&p, diskBatch(0, end, 1, 1000))
	}
	if d.waiting > d.bounds.waiting || d.waiting < d.bounds.waiting-2000 {
		t.Fatalf("%d bytes wait, %d may", d.waiting, d.bounds.waiting)
	}
	d.write()
	for range 100 {
		d.add(&p, diskBatch(0, end, 1, 1000))
		settle(d)
		end++
	}
	next := int64(0)
	for {
		batches, _, _, ok := d.read(&p, next, end, 10_000, true)
		if !ok {
			break
		}
		next = record.Batch(batches[len(batches)-1]).LastOffset() + 1
	}
	if _, _, _, ok := d.read(&p, next+1, end, 10_000, true); !ok || next == 0 || next > end-2 {
		t.Errorf("read to %d of %d; behind it: %v", next, end, ok)
	}
	if _, _, _, ok := d.read(&p, 0, 1, 10_000, true); ok && p.runs.at(0).last > 0 {
		t.Error("a run beyond the limit is read")
	}
}

func TestADiskThatHasLittleLeftIsLeftAlone(t *testing.T) {
	d := newTestDisk(t, 1<<20, 20_000)
	d.bounds.share = 1 << 62 // of what is free nothing is left
	var p spilled
	for offset := range int64(100) {
		d.add(&p, diskBatch(0, offset, 1, 1000))
	}
	settle(d)
	if d.fds.free() >= 0 && (!d.off || d.files.len() > 0) {
		t.Error("it is used all the same")
	}
}
