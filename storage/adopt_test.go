package storage

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice/protocol/record"
	"sluice/storage/delta"
	"sluice/storage/object/mem"
)

// eventually waits for what happens in the background.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not seen:", what)
		}
	}
}

// highs waits until the high watermarks of a topic add up.
func highs(t *testing.T, topic *Topic, total int64) {
	t.Helper()
	eventually(t, fmt.Sprint("high watermarks of ", total), func() bool {
		sum := int64(0)
		for n := range topic.Info().Partitions {
			o, err := topic.Offsets(n)
			if err != nil {
				t.Fatal(err)
			}
			sum += o.HighWatermark
		}
		return sum == total
	})
}

// agree checks that the table has exactly the rows that consumers get, each with a
// place, a topic and headers.
func agree(t *testing.T, topic *Topic, e *engine) (all map[string]int) {
	t.Helper()
	all = map[string]int{}
	records := 0
	for n := range topic.Info().Partitions {
		for _, v := range consume(t, topic, n, 0) {
			all[v]++
			records++
		}
	}
	table := map[string]int{}
	rows := e.rows()
	for _, r := range rows {
		if r.Partition == nil || r.Offset == nil || r.Topic == nil || *r.Topic != e.name || r.Timestamp == nil || r.TimestampType == nil {
			t.Errorf("a row without a place: %+v", r)
		}
		table[string(r.Value)]++
	}
	if !maps.Equal(all, table) || records != len(rows) {
		t.Errorf("consumers get %d records, the table has %d rows", records, len(rows))
	}
	return all
}

func TestInsertedRowsBecomeRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		r := start(t, store, Options{})
		topic := r.open("t", 3)
		numbers(t, topic, 0, 5)
		e := newEngine(t, store.Handle(), "t")
		one, ms := int32(1), int64(1_700_000_000_123_456)
		version := e.insert(
			bare("k1", "a"), bare("k2", "b"), tableRow{Value: []byte("c")}, tableRow{Value: []byte("d")},
			tableRow{Partition: &one, Value: []byte("e"), Timestamp: &ms, Headers: []tableHeader{{Key: new("h"), Value: []byte("v")}}},
			at(0, 3, "copied"), at(0, 5, "next"), at(0, 1<<40, "far"), at(77, 0, "beyond"), at(-1, -1, "negative"),
		)
		look(t, topic)
		highs(t, topic, 15)
		got := agree(t, topic, e)
		for _, v := range []string{"0", "1", "2", "3", "4", "a", "b", "c", "d", "e", "copied", "next", "far", "beyond", "negative"} {
			if got[v] != 1 {
				t.Errorf("%s was delivered %d times", v, got[v])
			}
		}
		for i := range 5 { // what there was stays where it was
			if v := consume(t, topic, 0, 0)[int64(i)]; v != fmt.Sprint(i) {
				t.Errorf("offset %d holds %s", i, v)
			}
		}
		snap := e.snapshot()
		for _, row := range e.rows() {
			switch v := string(row.Value); v {
			case "a", "b":
				if want := partitionOf(row.Key, 3); *row.Partition != want {
					t.Errorf("%s is in partition %d, want %d", v, *row.Partition, want)
				}
				if entry, _, err := e.log.ReadEntry(t.Context(), version); err != nil || *row.Timestamp != entry.Info.Timestamp*1000 {
					t.Error("the timestamp of", v, "is", *row.Timestamp, err)
				}
			case "e":
				if *row.Partition != 1 || *row.Timestamp != ms/1000*1000 || len(row.Headers) != 1 || *row.Headers[0].Key != "h" || string(row.Headers[0].Value) != "v" {
					t.Errorf("%+v", row)
				}
			case "copied", "next", "far":
				if *row.Partition != 0 {
					t.Errorf("%s is in partition %d", v, *row.Partition)
				}
			}
		}
		if next := snap.Txns[nextOffsetApp(topic.id, 0)].Version; next != topic.partitions[0].next {
			t.Error("the table's next offset is", next)
		}
		mustAppend(t, topic, 0, "after")
		agree(t, topic, e)
	})
}

func TestAnInsertThatABrokerDidNotLiveToAdoptIsAdoptedByTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		r := start(t, store, Options{})
		numbers(t, r.open("t", 1), 0, 5)
		r.Close(t.Context())
		e := newEngine(t, store.Handle(), "t")
		e.insert(bare("k", "a"), at(0, 2, "copied"), at(0, 9, "b"))
		e.insert(bare("k", "c"))
		for range 3 { // killed again and again while it adopts
			r = start(t, store, Options{})
			var dead atomic.Bool
			store.SetFaults(func(q mem.Request) mem.Fault {
				if dead.Load() || q.Size > 0 && strings.Contains(q.Key, "t/data/") {
					dead.Store(true)
					return mem.Fault{Outcome: mem.Refuse}
				}
				return mem.Fault{}
			})
			r.topic("t")
			eventually(t, "an adoption", dead.Load)
			r.Close(t.Context())
			store.SetFaults(nil)
		}
		r = start(t, store, Options{})
		r.gaps = true
		topic := r.topic("t")
		highs(t, topic, 9)
		got := consume(t, topic, 0, 0)
		if len(agree(t, topic, e)) != 9 || got[2] != "2" {
			t.Error(got)
		}
		for offset, v := range []string{"0", "1", "2", "3", "4", "a", "copied", "b", "c"} {
			if got[int64(offset)] != v {
				t.Errorf("offset %d holds %s, want %s", offset, got[int64(offset)], v)
			}
		}
	})
}

func TestInsertsAndProducersDoNotDisturbEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		r := start(t, store, Options{CommitInterval: time.Millisecond})
		topic := r.open("t", 2)
		topic.committer.Look(t.Context())
		e := newEngine(t, store.Handle(), "t")
		store.SetFaults(func(q mem.Request) mem.Fault { return mem.Fault{Delay: time.Millisecond} })
		const producers, batches, inserts = 4, 60, 12
		var group sync.WaitGroup
		want := map[string]int{}
		for p := range producers {
			for i := range batches {
				want[fmt.Sprintf("p%d-%d", p, i)] = 1
			}
			group.Go(func() {
				var waits []*Wait
				for i := range batches {
					w := topic.Append(int32(p%2), produced(&record.Producer{ID: int64(p + 1), Sequence: int32(i)}, fmt.Sprintf("p%d-%d", p, i)), Sender{})
					if waits = append(waits, w); i%5 == 4 {
						time.Sleep(3 * time.Millisecond)
					}
				}
				for i, w := range waits {
					if res := await(t, w); res.Err != nil {
						t.Errorf("producer %d batch %d: %v", p, i, res.Err)
					}
				}
			})
		}
		// A consumer of each partition at the tail must miss nothing.
		seen := make([][]string, 2)
		stop := make(chan struct{})
		for n := range int32(2) {
			group.Go(func() {
				for offset, last := int64(0), false; ; {
					read, err := topic.Read(t.Context(), n, offset, 1<<20, true)
					if err != nil {
						t.Error(err)
						return
					}
					for _, data := range read.Batches {
						b := record.Batch(data)
						all := values(t, b)
						for _, at := range slices.Sorted(maps.Keys(all)) {
							if at >= offset {
								seen[n] = append(seen[n], all[at])
							}
						}
						offset = b.LastOffset() + 1
					}
					if len(read.Batches) > 0 {
						continue
					}
					if last {
						return
					}
					select {
					case <-stop:
						last = true
					case <-time.After(time.Millisecond):
					}
				}
			})
		}
		for i := range inserts {
			var rows []tableRow
			for j := range 10 {
				v := fmt.Sprintf("i%d-%d", i, j)
				want[v] = 1
				rows = append(rows, bare(v, v))
			}
			e.insert(rows...)
			if i%4 == 3 {
				e.optimize()
			}
		}
		total := int64(producers*batches + inserts*10)
		eventually(t, "all records", func() bool {
			topic.committer.Look(t.Context())
			n := 0
			topic.mu.Lock()
			for _, f := range topic.index.files {
				for _, rng := range f.ranges {
					n += int(rng.Rows)
				}
			}
			idle := !topic.reviewing && topic.partitions[0].high == topic.partitions[0].next && topic.partitions[1].high == topic.partitions[1].next
			topic.mu.Unlock()
			return idle && n == int(total)
		})
		close(stop)
		group.Wait()
		if got := agree(t, topic, e); !maps.Equal(got, want) {
			t.Errorf("%d values, want %d", len(got), len(want))
		}
		live := map[string]int{}
		for _, all := range seen {
			for _, v := range all {
				live[v]++
			}
		}
		if !maps.Equal(live, want) {
			t.Errorf("the consumers at the tail got %d values, want %d", len(live), len(want))
		}
	})
}

func TestAMergeKeepsItsRowsAndInsertsOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		r := start(t, store, Options{TailBytes: 1})
		topic := r.open("t", 1)
		numbers(t, topic, 0, 10)
		e := newEngine(t, store.Handle(), "t")
		e.rewrite("MERGE", func(rows []tableRow) []tableRow {
			slices.SortFunc(rows, func(a, b tableRow) int { return int(*b.Offset - *a.Offset) })
			return append(slices.Insert(rows[1:], 4, bare("k", "new")), bare("k", "newer")) // 9 is deleted
		})
		look(t, topic)
		highs(t, topic, 12)
		got := consume(t, topic, 0, 0)
		if _, ok := got[9]; ok || got[10] != "new" || got[11] != "newer" || len(got) != 11 {
			t.Error(got)
		}
		agree(t, topic, e)
	})
}

func TestWhileInsertedRowsAreRefusedTheTopicStands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		r := start(t, store, Options{})
		topic := r.open("t", 1, "sluice.table.inserts", "refuse")
		other := r.open("other", 1)
		numbers(t, topic, 0, 3)
		e := newEngine(t, store.Handle(), "t")
		stands := func(topic *Topic, what ...string) {
			t.Helper()
			eventually(t, "that the topic stands", func() bool { _, err := topic.Read(t.Context(), 0, 0, 1000, true); return err != nil })
			if result := await(t, topic.Append(0, produced(nil, "x"), eager)); !errors.Is(result.Err, ErrStopped) {
				t.Error("an append is answered", result)
			}
			_, err := topic.Read(t.Context(), 0, 0, 1000, true)
			for _, s := range append(what, ErrStopped.Error(), "sluice.table.inserts is refuse") {
				if err == nil || !strings.Contains(err.Error(), s) {
					t.Errorf("%v lacks %s", err, s)
				}
			}
		}
		version := e.insert(bare("k", "a"))
		look(t, topic)
		stands(topic, fmt.Sprint("version ", version), "part-")
		numbers(t, other, 0, 1)
		// Taken out again, it goes on.
		e.rewrite("DELETE", func(rows []tableRow) []tableRow {
			return slices.DeleteFunc(rows, func(r tableRow) bool { return r.Offset == nil })
		})
		look(t, topic)
		if got := consume(t, topic, 0, 0); len(got) != 3 {
			t.Error(got)
		}
		numbers(t, topic, 3, 4)
		// And so it does once they are to be adopted, at the next broker too.
		e.insert(bare("k", "b"))
		look(t, topic)
		r.Close(t.Context())
		r = start(t, store, Options{})
		r.gaps = true
		topic = r.topic("t")
		stands(topic)
		if err := topic.Alter(t.Context(), func(map[string]string) (map[string]string, error) {
			return map[string]string{"sluice.table.writers": "any"}, nil
		}); err != nil {
			t.Fatal(err)
		}
		highs(t, topic, 5)
		if got := consume(t, topic, 0, 0); got[4] != "b" {
			t.Error(got)
		}
		agree(t, topic, e)
	})
}

func TestRowsThatCannotBeRecordsStayHiddenAndNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		r := start(t, store, Options{})
		topic := r.open("t", 1, "max.message.bytes", "1000")
		numbers(t, topic, 0, 3)
		e := newEngine(t, store.Handle(), "t")
		e.insert(bare("k", "small"), bare("k", strings.Repeat("x", 2000)))
		early := int64(-1e17)
		e.insert(tableRow{Value: []byte("early"), Timestamp: &early})
		e.insert(bare("k", "good"))
		look(t, topic)
		highs(t, topic, 4)
		if got := consume(t, topic, 0, 0); got[3] != "good" {
			t.Error(got)
		}
		if err := topic.Alter(t.Context(), func(own map[string]string) (map[string]string, error) {
			own["max.message.bytes"] = "10000"
			return own, nil
		}); err != nil {
			t.Fatal(err)
		}
		highs(t, topic, 6)
		if got := consume(t, topic, 0, 4); got[4] != "small" || len(got[5]) != 2000 {
			t.Error(got)
		}
	})
}

func TestAnAdoptionThatFailsLeavesAGapAndNoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		r := start(t, store, Options{})
		topic := r.open("t", 1)
		numbers(t, topic, 0, 3)
		e := newEngine(t, store.Handle(), "t")
		// The file leaves the table while it is adopted: its rows are in another one then.
		gate, reached := make(chan struct{}), make(chan struct{}, 9)
		var blocked atomic.Bool
		store.SetFaults(func(q mem.Request) mem.Fault {
			if q.Size > 0 && strings.Contains(q.Key, "t/data/") && blocked.CompareAndSwap(false, true) {
				reached <- struct{}{}
				<-gate
			}
			return mem.Fault{}
		})
		e.insert(bare("k", "a"), bare("k", "b"))
		look(t, topic)
		<-reached
		w := topic.Append(0, produced(nil, "behind"), eager)
		if res := await(t, w); res.Err != nil || res.BaseOffset != 5 {
			t.Fatal(res)
		}
		if o, _ := topic.Offsets(0); o.HighWatermark != 3 {
			t.Error("the high watermark does not wait for what is adopted:", o)
		}
		e.optimize()
		close(gate)
		highs(t, topic, 8)
		got := consume(t, topic, 0, 0)
		if _, ok := got[3]; ok || len(got) != 6 || got[5] != "behind" {
			t.Error(got)
		}
		agree(t, topic, e)
	})
}

func TestAdoptedRowsThatAreCommittedBeforeOlderBatchesAreNotSkipped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		r := start(t, store, Options{})
		topic := r.open("t", 1)
		numbers(t, topic, 0, 3)
		e := newEngine(t, store.Handle(), "t")
		e.insert(bare("k", "a"), bare("k", "b"))
		// The batch's file takes longer than the insert's and the adoption's entry.
		store.SetFaults(func(q mem.Request) mem.Fault {
			if q.Size > 2000 && strings.Contains(q.Key, "t/data/") {
				return mem.Fault{Delay: 20 * time.Second}
			}
			return mem.Fault{}
		})
		var values []string
		for i := range 500 {
			values = append(values, fmt.Sprintf("%d-%d", i, i*i))
		}
		older := topic.Append(0, produced(nil, values...), eager)
		time.Sleep(100 * time.Millisecond)
		look(t, topic)
		time.Sleep(5 * time.Second)
		if o, _ := topic.Offsets(0); o.HighWatermark != 3 {
			t.Fatal("the high watermark is", o.HighWatermark)
		}
		store.SetFaults(nil)
		await(t, older)
		numbers(t, topic, 505, 506)
		got := consume(t, topic, 0, 0)
		if len(got) != 506 || got[3] != values[0] || got[503] != "a" || got[504] != "b" || got[505] != "505" {
			t.Error(len(got), got[3], got[503], got[504], got[505])
		}
		agree(t, topic, e)
	})
}

func TestALargeInsertIsAdoptedInParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		r := start(t, store, Options{TailBytes: 1})
		topic := r.open("t", 4)
		e := newEngine(t, store.Handle(), "t")
		const n = 20_000
		rows := make([]tableRow, n)
		for i := range rows {
			rows[i] = bare(fmt.Sprint("k", i%100), fmt.Sprintf("%06d%s", i, strings.Repeat("x", 500)))
		}
		e.insert(rows...)
		look(t, topic)
		highs(t, topic, n)
		if files := len(e.snapshot().Files); files < 2 {
			t.Error("all in", files, "file")
		}
		last := map[string]string{}
		for p := range int32(4) {
			got := consume(t, topic, p, 0)
			for _, offset := range slices.Sorted(maps.Keys(got)) {
				v := got[offset][:6]
				key := v[4:]
				if v <= last[key] {
					t.Fatalf("%s comes after %s of its key", v, last[key])
				}
				last[key] = v
			}
		}
		if all := agree(t, topic, e); len(all) != n {
			t.Error(len(all), "records")
		}
	})
}

// whetherItRuns is a test of what others do to a topic of five records while the broker runs,
// and while none does: meanwhile has it done, and answers the topic as it is open then.
func whetherItRuns(t *testing.T, partitions int32, test func(t *testing.T, topic *Topic, e *engine, meanwhile func(others func()) *Topic)) {
	for _, runs := range []bool{true, false} {
		t.Run(map[bool]string{true: "while the broker runs", false: "while none runs"}[runs], func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := mem.New()
				r := start(t, store, Options{TailBytes: 1})
				r.damaged = true // the log tells of a file that is removed twice
				topic := r.open("t", partitions)
				numbers(t, topic, 0, 5)
				test(t, topic, newEngine(t, store.Handle(), "t"), func(others func()) *Topic {
					if runs {
						others()
						return topic
					}
					r.Close(t.Context())
					others()
					r = start(t, store, Options{TailBytes: 1})
					r.damaged = true
					return r.topic("t")
				})
			})
		})
	}
}

func TestWhatARewritingHasTwiceIsTakenOutAgain(t *testing.T) {
	whetherItRuns(t, 2, func(t *testing.T, topic *Topic, e *engine, meanwhile func(func()) *Topic) {
		e.insert(bare("k", "a"), bare("l", "b"), at(0, 3, "copied"))
		optimize := e.optimizeLater()
		look(t, topic)
		highs(t, topic, 8)
		mustAppend(t, topic, 1, "later")
		before := agree(t, topic, e)
		topic = meanwhile(optimize)
		look(t, topic)
		time.Sleep(time.Minute)
		highs(t, topic, 9)
		if after := agree(t, topic, e); !maps.Equal(before, after) || len(after) != 9 {
			t.Errorf("%v, and before %v", after, before)
		}
		mustAppend(t, topic, 0, "goes on")
		agree(t, topic, e)
	})
}

func TestWhatIsRewrittenOnceMoreBeforeItsCopiesAreTakenOutHasThemStill(t *testing.T) {
	whetherItRuns(t, 1, func(t *testing.T, topic *Topic, e *engine, meanwhile func(func()) *Topic) {
		e.insert(bare("k", "a"), bare("l", "b"))
		optimize := e.optimizeLater()
		look(t, topic)
		highs(t, topic, 7)
		topic = meanwhile(func() {
			optimize()
			e.delete(func(offset int64) bool { return offset == 0 })
		})
		look(t, topic)
		time.Sleep(time.Minute)
		highs(t, topic, 7)
		if got := agree(t, topic, e); len(got) != 6 || got["a"] != 1 || got["b"] != 1 {
			t.Error(got)
		}
	})
}

func TestWhatTwoRewritingsHaveIsDeliveredOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		r := start(t, store, Options{TailBytes: 1})
		topic := r.open("t", 2)
		numbers(t, topic, 0, 5)
		e := newEngine(t, store.Handle(), "t")
		e.insert(bare("k", "a"), bare("l", "b"))
		late := e.optimizeLater()
		e.optimize()
		late()
		look(t, topic)
		time.Sleep(time.Minute)
		highs(t, topic, 7)
		if got := agree(t, topic, e); len(got) != 7 || got["a"] != 1 || got["b"] != 1 {
			t.Error(got)
		}
	})
}

func TestOurOwnFilesWithoutTagsHoldNoInserts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const partitions = 1000 // the tag of so many would be too long
		r := start(t, mem.New(), Options{TailBytes: 1, CommitInterval: 100 * time.Millisecond})
		topic := r.open("t", partitions)
		var waits []*Wait
		for n := range int32(partitions) {
			waits = append(waits, topic.Append(n, produced(nil, fmt.Sprint(n)), Sender{}))
		}
		for _, w := range waits {
			if result := await(t, w); result.Err != nil {
				t.Fatal(result.Err)
			}
		}
		untagged := 0
		topic.mu.Lock()
		for _, f := range topic.index.files {
			if !f.tagged {
				untagged++
			}
		}
		topic.mu.Unlock()
		if untagged == 0 {
			t.Error("every file has a tag: this tests nothing")
		}
		time.Sleep(time.Minute)
		highs(t, topic, partitions)
		if got := consume(t, topic, 7, 0); got[0] != "7" {
			t.Error(got)
		}
	})
}

func TestKeysGoToThePartitionsThatKafkasClientsChoose(t *testing.T) {
	// From Kafka's UtilsTest.testMurmur2.
	for key, want := range map[string]int32{
		"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536,
		"a-little-bit-longer-string": -1486304829, "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
		"abc": 479470107,
	} {
		if got := int32(murmur2([]byte(key))); got != want {
			t.Errorf("%s: %d, want %d", key, got, want)
		}
	}
}

func TestAForeignChangeThatCannotBeFollowedStopsThatTopicOnly(t *testing.T) {
	file := func(e *engine, body string) delta.Add {
		add := e.file(bare("k", "v"))
		add.Size = int64(len(body))
		if _, err := e.store.Put(e.t.Context(), e.name+"/"+add.Path, []byte(body)); err != nil {
			e.t.Fatal(err)
		}
		return add
	}
	metadata := func(change func(m *delta.Metadata)) func(*engine, *delta.Snapshot, *delta.Entry) {
		return func(_ *engine, snap *delta.Snapshot, entry *delta.Entry) {
			m := snap.Metadata
			m.Configuration = maps.Clone(m.Configuration)
			change(&m)
			entry.Metadata = &m
		}
	}
	for name, c := range map[string]struct {
		change func(*engine, *delta.Snapshot, *delta.Entry)
		says   []string
	}{
		"a column more": {metadata(func(m *delta.Metadata) {
			m.SchemaString = strings.Replace(m.SchemaString, `"fields":[`, `"fields":[{"name":"extra","type":"long","nullable":true,"metadata":{}},`, 1)
		}), []string{`"extra"`, "RESTORE"}},
		"a column of another type": {metadata(func(m *delta.Metadata) {
			m.SchemaString = strings.Replace(m.SchemaString, `"offset","type":"long"`, `"offset","type":"string"`, 1)
		}), []string{"offset", "RESTORE"}},
		"partition columns":             {metadata(func(m *delta.Metadata) { m.PartitionColumns = []string{"partition"} }), []string{"partitioned", "RESTORE"}},
		"column mapping":                {metadata(func(m *delta.Metadata) { m.Configuration["delta.columnMapping.mode"] = "name" }), []string{"column mapping"}},
		"next offsets that are dropped": {metadata(func(m *delta.Metadata) { m.Configuration["delta.setTransactionRetentionDuration"] = "interval 1 days" }), []string{"UNSET"}},
		"deletion vectors": {func(_ *engine, _ *delta.Snapshot, entry *delta.Entry) {
			entry.Protocol = &delta.Protocol{MinReaderVersion: 3, MinWriterVersion: 7, ReaderFeatures: []string{"deletionVectors"}, WriterFeatures: []string{"deletionVectors"}}
		}, []string{"deletionVectors", "DROP FEATURE"}},
		"a later writer": {func(_ *engine, _ *delta.Snapshot, entry *delta.Entry) {
			entry.Protocol = &delta.Protocol{MinReaderVersion: 1, MinWriterVersion: 5}
		}, []string{"columnMapping", "DROP FEATURE"}},
		"a file that is no Parquet": {func(e *engine, _ *delta.Snapshot, entry *delta.Entry) {
			entry.Adds = []delta.Add{file(e, "offset,value\n1,x\n and so on")}
		}, []string{"part-", "RESTORE"}},
		"a file outside the table": {func(_ *engine, _ *delta.Snapshot, entry *delta.Entry) {
			entry.Adds = []delta.Add{{Path: "s3://elsewhere/part-0.parquet", Size: 100, DataChange: true}}
		}, []string{"elsewhere", "RESTORE"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := mem.New()
				r := start(t, store, Options{})
				first := r
				topic, other := r.open("t", 1), r.open("other", 1)
				numbers(t, topic, 0, 3)
				e := newEngine(t, store.Handle(), "t")
				var before *delta.Snapshot
				e.commit("ALTER TABLE", func(snap *delta.Snapshot, entry *delta.Entry) {
					before = snap
					c.change(e, snap, entry)
				})
				_ = topic.committer.Look(t.Context())
				for _, broker := range []string{"the one that sees it", "the next one"} {
					var err error
					eventually(t, "that it stands", func() bool {
						var topic *Topic
						if topic, err = r.Topic(t.Context(), "t"); err == nil {
							_, err = topic.Read(t.Context(), 0, 0, 1000, true)
						}
						return err != nil && strings.Contains(err.Error(), ErrStopped.Error())
					})
					for _, s := range c.says {
						if !strings.Contains(err.Error(), s) {
							t.Errorf("%s: %v lacks %q", broker, err, s)
						}
					}
					mustAppend(t, other, 0, "goes on")
					r.Close(t.Context())
					r.damaged = name == "deletion vectors"
					r = start(t, store, Options{})
					r.gaps = true
					other = r.topic("other")
				}
				if name == "deletion vectors" {
					first.damaged, r.damaged = true, true
					return // no reader gets past that entry
				}
				// Taken back, the topic goes on.
				e.commit("RESTORE", func(snap *delta.Snapshot, entry *delta.Entry) {
					entry.Metadata, entry.Protocol = &before.Metadata, &before.Protocol
					for name, a := range snap.Files {
						if before.Files[name] == nil {
							entry.Removes = append(entry.Removes, delta.Remove{Path: a.Path, DataChange: true})
						}
					}
				})
				eventually(t, "that it goes on", func() bool {
					topic, err := r.Topic(t.Context(), "t")
					if err != nil {
						return false
					}
					_ = topic.committer.Look(t.Context())
					read, err := topic.Read(t.Context(), 0, 0, 1000, true)
					return err == nil && len(read.Batches) > 0
				})
			})
		})
	}
}
