package storage

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"sluice/protocol/record"
	"sluice/storage/delta"
	"sluice/storage/object"
	"sluice/storage/object/mem"
	"sluice/storage/rows"
)

// indexed is an index of partition 0 that holds files of the given first and last offsets.
func indexed(ranges ...[2]int64) *index {
	x := newIndex(1)
	for i, r := range ranges {
		tag := fmt.Sprintf("0:%d+%d", r[0], r[1]-r[0]+1)
		x.add(fmt.Sprint("t/", i), &delta.Add{Path: fmt.Sprint(i), Tags: map[string]string{rows.RangesTag: tag}}, 0)
	}
	return x
}

func names(extents []extent) string {
	var all []string
	for _, e := range extents {
		all = append(all, e.file.name)
	}
	return strings.Join(all, " ")
}

func TestAnOffsetIsFoundInAFileThatBeganLongBefore(t *testing.T) {
	x := indexed([2]int64{0, 100}, [2]int64{10, 20}, [2]int64{30, 40}, [2]int64{101, 110})
	for _, c := range []struct {
		offset int64
		want   string
	}{{0, "0 1 2"}, {15, "0 1 2"}, {25, "0 2"}, {50, "0"}, {101, "3"}, {111, ""}} {
		if got := names(x.from(0, c.offset, 1000, 1)); got != c.want {
			t.Errorf("offset %d is in files %q, want %q", c.offset, got, c.want)
		}
	}
	x.remove([]delta.Remove{{Path: "0"}, {Path: "1"}})
	if got := names(x.from(0, 15, 1000, 9)); got != "2 3" {
		t.Errorf("after removes: %q", got)
	}
	if end := x.end(0); end != 111 {
		t.Error("the end is", end)
	}
}

func TestFilesAreInTheOrderOfTheirRecordsWhateverReplacesThem(t *testing.T) {
	x := indexed([2]int64{0, 9}, [2]int64{10, 19}, [2]int64{20, 29}, [2]int64{30, 39})
	check := func(want string) {
		t.Helper()
		var got []string
		for _, f := range x.inOrder() {
			got = append(got, f.name)
		}
		if strings.Join(got, " ") != want || len(x.files) != len(got) {
			t.Errorf("%v, want %q", got, want)
		}
	}
	check("0 1 2 3")
	removes := []delta.Remove{{Path: "1"}, {Path: "2"}}
	place := x.place(removes)
	x.remove(removes)
	for i, path := range []string{"b", "a"} { // two files in one place
		tag := fmt.Sprintf("0:%d+10", 10+10*i)
		x.add("t/"+path, &delta.Add{Path: path, Tags: map[string]string{rows.RangesTag: tag}}, place)
	}
	check("0 b a 3")
	x.add("t/4", &delta.Add{Path: "4"}, 0)
	x.remove([]delta.Remove{{Path: "0"}, {Path: "unknown"}})
	check("b a 3 4")
}

// rewrite replaces all files of a topic's table by one for each part, as an engine
// would: without tags. part says where the record of an offset goes.
func rewrite(t *testing.T, store object.Store, name string, parts int, part func(offset int64) int) {
	t.Helper()
	env := newEnv(store, Options{})
	log := env.newLog(name)
	snap, err := log.Open(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	batches := make([][]rows.Batch, parts)
	for _, a := range snap.Files {
		f := &file{key: name + "/" + a.Path, size: a.Size}
		r, err := rows.Open(t.Context(), f.size, source(store, f))
		if err != nil {
			t.Fatal(err)
		}
		read, err := r.Read(t.Context(), 0, 0, rows.Limits{MaxBytes: 1 << 20, BatchBytes: 1})
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range read {
			p := part(b.First)
			batches[p] = append(batches[p], rows.Batch{BaseOffset: b.First, Data: b.Data})
		}
	}
	e := &delta.Entry{
		Version: snap.Version + 1,
		Info:    &delta.CommitInfo{Timestamp: snap.NextTimestamp(snap.Proved), Operation: "OPTIMIZE", TxnID: fmt.Sprint("optimize ", snap.Version)},
		Removes: removeAll(snap),
	}
	for i := range e.Removes {
		e.Removes[i].DataChange = false
	}
	for i := range batches {
		sortBatches(batches[i])
		f, err := env.encode(context.Background(), name, rows.Snappy, batches[i], 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := store.Put(t.Context(), name+"/"+f.Path, f.Body); err != nil {
			t.Fatal(err)
		}
		e.Adds = append(e.Adds, delta.Add{Path: f.Path, Size: int64(len(f.Body)), Stats: f.Stats})
	}
	if _, foreign, err := log.Commit(t.Context(), e, snap.Proved); err != nil || foreign != nil {
		t.Fatal(foreign, err)
	}
}

func sortBatches(batches []rows.Batch) {
	for i := 1; i < len(batches); i++ {
		for j := i; j > 0 && batches[j].BaseOffset < batches[j-1].BaseOffset; j-- {
			batches[j], batches[j-1] = batches[j-1], batches[j]
		}
	}
}

func TestFilesWhoseOffsetsAreInterleavedAreReadFromEveryOffset(t *testing.T) {
	for name, part := range map[string]func(int64) int{
		"a comb":     func(offset int64) int { return int(offset % 3) },
		"one in two": func(offset int64) int { return min(1, int(offset)/5%3) },
		"a long and two short ones": func(offset int64) int {
			switch {
			case offset >= 10 && offset < 20 && offset%2 == 0:
				return 1
			case offset >= 30 && offset < 40 && offset%2 == 0:
				return 2
			}
			return 0
		},
	} {
		t.Run(name, func(t *testing.T) {
			store := mem.New()
			r := start(t, store, Options{TailBytes: 1})
			topic := r.create("t", 1)
			for i := range 30 {
				mustAppend(t, topic, 0, fmt.Sprint(2*i), fmt.Sprint(2*i+1))
			}
			parts := 3
			if name == "one in two" {
				parts = 2
			}
			rewrite(t, store.Handle(), "t", parts, part)
			mustAppend(t, topic, 0, "60") // it meets the rewrite
			for _, from := range []int64{25, 0, 5, 59, 11, 35, 12, 39} {
				got := consume(t, topic, 0, from)
				if len(got) != int(61-from) {
					t.Errorf("from %d: %d records, want %d", from, len(got), 61-from)
				}
				for at, v := range got {
					if v != fmt.Sprint(at) {
						t.Errorf("offset %d holds %s", at, v)
					}
				}
			}
			if base := mustAppend(t, topic, 0, "61"); base != 61 {
				t.Error("the next offset is", base)
			}
		})
	}
}

func TestReadersOfFilesAreBounded(t *testing.T) {
	r := start(t, mem.New(), Options{TailBytes: 1, BlockBytes: 40_000})
	topic := r.create("t", 1)
	for range 100 {
		mustAppend(t, topic, 0, string(make([]byte, 1000)))
	}
	if got := consume(t, topic, 0, 0); len(got) != 100 {
		t.Fatal(len(got))
	}
	// A quarter of the cache, or a single reader: that of a compacted file is larger.
	c := r.env.blocks
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.readerBytes <= 0 || c.readerBytes > 10_000 && c.readers.Len() > 1 {
		t.Errorf("%d readers keep %d bytes", c.readers.Len(), c.readerBytes)
	}
}

func TestCommittedProducerStateOutlivesWhatIsPendingBehindIt(t *testing.T) {
	ps := newProducers()
	key := producerKey{0, 7}
	batchOf := func(epoch int16, sequence int32) record.Batch {
		return record.Batch(produced(&record.Producer{ID: 7, Epoch: epoch, Sequence: sequence}, "x"))
	}
	for i := range int32(8) {
		ps.add(key, batch{first: i, last: i, base: int64(i)}, 0)
	}
	for i := int32(8); i < 14; i++ { // on their way
		ps.add(key, batch{first: i, last: i, base: int64(i), wait: &Wait{}}, 0)
	}
	ps.add(key, batch{epoch: 1, first: 0, last: 0, base: 14, wait: &Wait{}}, 0)
	// Of all that, a checkpoint now keeps what is committed, and a broker that loads
	// it goes on from there.
	loaded := newProducers()
	loaded.learn(ps.notes(), 1)
	for sequence, want := range map[int32]bool{2: false, 3: true, 7: true, 8: false} {
		duplicate, err := loaded.check(key, batchOf(0, sequence))
		if (duplicate != nil) != want {
			t.Errorf("sequence %d: duplicate %v, %v", sequence, duplicate, err)
		}
		if sequence == 8 && err != nil {
			t.Error("the next one:", err)
		}
	}
	if _, err := loaded.check(key, batchOf(0, 9)); err == nil {
		t.Error("a sequence is skipped")
	}
}

func TestWhatFollowsARefusedFirstBatchWaitsForIt(t *testing.T) {
	store := mem.New()
	r := start(t, store, Options{PendingBytes: 2000})
	topic := r.create("t", 1)
	send := func(sequence int32, values ...string) error {
		return await(t, topic.Append(0, produced(&record.Producer{ID: 7, Sequence: sequence}, values...), eager)).Err
	}
	if err := send(0, strings.Repeat("x", 3000)); !errors.Is(err, ErrUnavailable) {
		t.Fatal(err)
	}
	if err := send(1, "second"); !errors.Is(err, ErrOutOfOrderSequence) {
		t.Error("the second batch goes before the first:", err)
	}
	for i, v := range []string{"first", "second"} {
		if err := send(int32(i), v); err != nil {
			t.Error(err)
		}
	}
}

func TestABatchCountsForMemoryAsItUnfolds(t *testing.T) {
	store := mem.New()
	r := start(t, store, Options{PendingBytes: 4 << 20})
	topic := r.create("t", 1)
	send := func(size int) error {
		var b record.Builder
		b.Reset(nil, record.Params{Codec: record.Zstd})
		b.Append(0, 1_700_000_000_000, nil, make([]byte, size), record.Headers{})
		return await(t, topic.Append(0, b.Finish(), eager)).Err
	}
	if err := send(1 << 20); err != nil {
		t.Fatal(err)
	}
	// Some kB on the wire: refused for good, as no more than half may be one batch.
	if err := send(3 << 20); !errors.Is(err, record.ErrTooLarge) {
		t.Error(err)
	}
	if n := r.env.pending.Load(); n != 0 {
		t.Errorf("%d bytes are pending", n)
	}
}
