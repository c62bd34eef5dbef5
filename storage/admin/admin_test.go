package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/protocol/record"
	"sluice/storage"
	"sluice/storage/delta"
	"sluice/storage/object"
	"sluice/storage/object/mem"
	"sluice/storage/rows"
)

// A place is where a record is.
type place struct {
	partition int32
	offset    int64
}

// live is a topic that a broker of this test writes and reads.
type live struct {
	t      *testing.T
	store  object.Store
	topics *storage.Topics

	mu   sync.Mutex
	sent map[place]string // key and value of what was acknowledged
}

func begin(t *testing.T, store object.Store, partitions int32, config map[string]string) *live {
	t.Helper()
	l := &live{t: t, store: store, sent: map[place]string{}}
	l.restart()
	if _, err := l.topics.Create(t.Context(), "t", partitions, config, false); err != nil {
		t.Fatal(err)
	}
	return l
}

// restart lets another broker take the topic over.
func (l *live) restart() {
	l.t.Helper()
	var err error
	if l.topics, err = storage.Open(l.t.Context(), l.store, storage.Options{
		CommitInterval: 10 * time.Millisecond,
		Log:            slog.New(slog.NewTextHandler(l.t.Output(), &slog.HandlerOptions{Level: slog.LevelError})),
	}); err != nil {
		l.t.Fatal(err)
	}
}

func (l *live) end() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	l.topics.Close(ctx)
}

func (l *live) topic() *storage.Topic {
	l.t.Helper()
	topic, err := l.topics.Topic(l.t.Context(), "t")
	if err != nil {
		l.t.Fatal(err)
	}
	return topic
}

// produce appends a batch of records with the key and a value made of it.
func (l *live) produce(partition int32, key string, at time.Time, n int) int64 {
	l.t.Helper()
	var b record.Builder
	b.Reset(nil, record.Params{})
	for i := range n {
		b.Append(int64(i), at.UnixMilli(), []byte(key), fmt.Appendf(nil, "%s-%d", key, i), record.Headers{})
	}
	w := l.topic().Append(partition, b.Finish(), storage.Sender{Eager: true})
	<-w.Done()
	result := w.Result()
	if result.Err != nil {
		l.t.Fatal(result.Err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range n {
		l.sent[place{partition, result.BaseOffset + int64(i)}] = fmt.Sprintf("%s=%s-%d", key, key, i)
	}
	return result.BaseOffset
}

func (l *live) open(options Options) *Table {
	l.t.Helper()
	table, err := Open(l.t.Context(), l.store, "t", options)
	if err != nil {
		l.t.Fatal(err)
	}
	return table
}

// table reads the topic's table by its log and files alone.
func (l *live) table() map[place]string {
	l.t.Helper()
	got := map[place]string{}
	t := l.open(Options{})
	all, err := t.allRanges(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	for name, a := range t.snap.Files {
		r, err := t.reader(l.t.Context(), a)
		if err != nil {
			l.t.Fatal(err)
		}
		for _, rng := range all[name] {
			batches, err := r.Read(l.t.Context(), rng.Partition, rng.First, rows.Limits{MaxBytes: 1 << 30})
			if err != nil {
				l.t.Fatal(err)
			}
			for _, b := range batches {
				l.add(got, rng.Partition, b.Data, -1)
			}
		}
	}
	return got
}

// consumed reads the topic from its start, as a consumer does.
func (l *live) consumed() map[place]string {
	l.t.Helper()
	topic, got := l.topic(), map[place]string{}
	for p := range topic.Info().Partitions {
		offsets, err := topic.Offsets(p)
		if err != nil {
			l.t.Fatal(err)
		}
		for at := offsets.LogStart; at < offsets.HighWatermark; {
			read, err := topic.Read(l.t.Context(), p, at, 1<<20, true)
			if err != nil {
				l.t.Fatal(err)
			}
			if len(read.Batches) == 0 {
				l.t.Fatalf("nothing at %d-%d, below the high watermark %d", p, at, offsets.HighWatermark)
			}
			for _, data := range read.Batches {
				l.add(got, p, data, at)
				at = record.Batch(data).LastOffset() + 1
			}
		}
	}
	return got
}

func (l *live) add(to map[place]string, partition int32, batch record.Batch, from int64) {
	l.t.Helper()
	d := record.GetDecompressor()
	defer d.Release()
	body, err := d.Body(batch, 64<<20)
	if err != nil {
		l.t.Fatal(err)
	}
	for it := batch.Records(body); it.Next(); {
		r := it.Record()
		at := place{partition, batch.BaseOffset() + int64(r.OffsetDelta)}
		if at.offset < from {
			continue
		}
		if old, twice := to[at]; twice {
			l.t.Fatalf("%v twice: %s", at, old)
		}
		to[at] = fmt.Sprintf("%s=%s", r.Key, r.Value)
	}
}

// holds checks that consumers and the table have what was sent, but for what gone says.
func (l *live) holds(gone func(at place, record string) bool) {
	l.t.Helper()
	want := maps.Clone(l.sent)
	maps.DeleteFunc(want, gone)
	for who, got := range map[string]map[place]string{"the table": l.table(), "a consumer": l.consumed()} {
		if maps.Equal(got, want) {
			continue
		}
		for at, r := range want {
			if got[at] != r {
				l.t.Errorf("%s lacks %v %s, and has %q", who, at, r, got[at])
			}
		}
		for at, r := range got {
			if want[at] == "" {
				l.t.Errorf("%s still has %v %s", who, at, r)
			}
		}
		l.t.FailNow()
	}
}

func nothing(place, string) bool { return false }

// follow has the broker meet the newest entry, as the commands do.
func (l *live) follow() {
	l.t.Helper()
	version := l.open(Options{}).snap.Version
	if _, err := l.topic().OffsetAtVersion(l.t.Context(), 0, version); err != nil {
		l.t.Fatal(err)
	}
	if known := l.topic().Version(); known < version {
		l.t.Fatalf("the broker does not follow: version %d of %d", known, version)
	}
}

func mustDelete(t *testing.T, table *Table, s Selection) Deleted {
	t.Helper()
	d, err := table.Delete(t.Context(), s, false)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestRowsAreDeletedInThreeWays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := begin(t, mem.New(), 2, nil)
		defer l.end()
		now := time.Now()
		for i := range 20 {
			l.produce(int32(i%2), fmt.Sprint("k", i%5), now.Add(-time.Duration(20-i)*time.Hour), 3)
		}
		table := l.open(Options{})
		for name, s := range map[string]Selection{
			"two ways":     {Keys: [][]byte{[]byte("a")}, Before: 1},
			"none":         {},
			"no partition": {Offsets: []OffsetRange{{2, 0, 1}}},
			"backwards":    {Offsets: []OffsetRange{{0, 5, 4}}},
		} {
			if _, err := table.Delete(t.Context(), s, false); !errors.Is(err, ErrSelection) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if d, err := table.Delete(t.Context(), Selection{Keys: [][]byte{[]byte("k3")}}, true); err != nil || d.Rows != 12 || d.Files != 4 || len(d.Versions) != 0 {
			t.Errorf("dry run: %+v, %v", d, err)
		}
		l.holds(nothing)

		if d := mustDelete(t, table, Selection{Keys: [][]byte{[]byte("k3"), []byte("none")}}); d.Rows != 12 || d.Files != 4 || len(d.Versions) != 1 {
			t.Errorf("by key: %+v", d)
		}
		l.follow()
		k3 := func(_ place, r string) bool { return r[:2] == "k3" }
		l.holds(k3)

		// The newest records of a partition: its next offset stays.
		if d := mustDelete(t, table, Selection{Offsets: []OffsetRange{{1, 27, 100}, {1, 0, 0}, {1, 26, 28}}}); d.Rows != 5 {
			t.Errorf("by offsets: %+v", d)
		}
		l.follow()
		gone := func(at place, r string) bool {
			return k3(at, r) || at.partition == 1 && (at.offset == 0 || at.offset >= 26 && at.offset < 30)
		}
		l.holds(gone)
		if base := l.produce(1, "new", now, 1); base != 30 {
			t.Errorf("the next record has offset %d", base)
		}

		if d := mustDelete(t, table, Selection{Before: now.Add(-9 * time.Hour).UnixMilli()}); d.Rows == 0 {
			t.Errorf("by time: %+v", d)
		}
		l.follow()
		old := func(at place, r string) bool { return gone(at, r) || at.offset < 18-3*int64(at.partition) }
		l.holds(old)

		l.end()
		l.restart()
		l.holds(old)
		if d := mustDelete(t, table, Selection{Keys: [][]byte{[]byte("k3")}}); d.Rows != 0 || len(d.Versions) != 0 {
			t.Errorf("again: %+v", d)
		}
	})
}

// Appends, compactions, an optimization and a deletion at the same time, in both modes: the rows
// are gone that were there when it began, and nothing else.
func TestRowsAreDeletedWhileTheTopicIsWritten(t *testing.T) {
	for _, writers := range []string{"sluice", "any"} {
		t.Run(writers, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := mem.New()
				store.SetFaults(func(r mem.Request) mem.Fault { return mem.Fault{Delay: time.Duration(r.Size%7) * time.Millisecond} })
				l := begin(t, store, 2, map[string]string{"sluice.table.writers": writers})
				defer l.end()
				for i := range 200 {
					l.produce(int32(i%2), fmt.Sprint("k", i%10), time.Now(), 2)
				}
				before := maps.Clone(l.sent)
				stop, producers := make(chan struct{}), sync.WaitGroup{}
				for p := range int32(2) {
					producers.Go(func() {
						for i := 0; ; i++ {
							select {
							case <-stop:
								return
							default:
								l.produce(p, fmt.Sprint("k", i%10), time.Now(), 1)
								time.Sleep(20 * time.Millisecond)
							}
						}
					})
				}
				producers.Go(func() {
					if _, err := l.open(Options{}).Optimize(t.Context(), DefaultTarget); err != nil && !errors.Is(err, ErrBusy) {
						t.Error(err)
					}
				})
				table := l.open(Options{})
				d := mustDelete(t, table, Selection{Keys: [][]byte{[]byte("k7")}})
				close(stop)
				producers.Wait()
				if d.Rows < 40 || len(d.Versions) == 0 {
					t.Errorf("%+v", d)
				}
				l.follow()
				kept := l.table()
				for at, r := range before {
					if deleted := r[:2] == "k7"; deleted == (kept[at] != "") {
						t.Errorf("%v %s: deleted %t", at, r, !deleted)
					}
				}
				// What of k7 came while the deletion began may be gone or not; all else is there.
				l.holds(func(at place, r string) bool { return r[:2] == "k7" && kept[at] == "" })
			})
		})
	}
}

// Files that are replaced under the deletion's hands are found again under their new names.
func TestADeletionFollowsRowsThatOthersMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := begin(t, mem.New(), 1, nil)
		defer l.end()
		for i := range 10 {
			l.produce(0, fmt.Sprint("k", i%2), time.Now(), 2)
		}
		other, moved := l.open(Options{}), 0
		table := l.open(Options{Progress: func(done, _ int64, what string) {
			if what == "files looked at" && done == 5 && moved < 2 {
				moved++
				if _, err := other.Optimize(t.Context(), DefaultTarget); err != nil {
					t.Error(err)
				}
				if _, err := other.Purge(t.Context(), false); err != nil { // and the files vanish
					t.Error(err)
				}
			}
		}})
		d := mustDelete(t, table, Selection{Keys: [][]byte{[]byte("k1")}})
		if d.Rows != 10 || moved == 0 {
			t.Errorf("%+v, %d times moved", d, moved)
		}
		l.follow()
		l.holds(func(_ place, r string) bool { return r[:2] == "k1" })
	})
}

func TestSmallFilesBecomeOneAndNoRowChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := begin(t, mem.New(), 3, nil)
		defer l.end()
		for i := range 15 {
			l.produce(int32(i%3), "k", time.Now(), 10)
			time.Sleep(time.Second)
		}
		table := l.open(Options{})
		newest := int64(0)
		for _, a := range table.snap.Files {
			newest = max(newest, a.ModificationTime)
		}
		o, err := table.Optimize(t.Context(), DefaultTarget)
		if err != nil || o.FilesRemoved != 15 || o.FilesAdded != 1 || o.Rows != 150 || len(o.Versions) != 1 {
			t.Fatalf("%+v, %v", o, err)
		}
		for _, a := range table.snap.Files {
			if a.ModificationTime != newest || a.DataChange {
				t.Errorf("%+v", a)
			}
			if ranges, _ := rows.ParseRanges(a.Tags); len(ranges) != 3 {
				t.Error(ranges)
			}
		}
		l.follow()
		l.holds(nothing)
		if o, err := table.Optimize(t.Context(), DefaultTarget); err != nil || len(o.Versions) != 0 {
			t.Errorf("again: %+v, %v", o, err)
		}
		l.end()
		l.restart()
		l.holds(nothing)
	})
}

// A topic that is written to has new small files all the time.
func TestAnOptimizationDoesNotRunAfterNewFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := begin(t, mem.New(), 1, nil)
		defer l.end()
		for range 5 {
			l.produce(0, "k", time.Now(), 1)
		}
		passes := 0
		table := l.open(Options{Progress: func(done, total int64, _ string) {
			if done < total {
				passes++
				l.produce(0, "k", time.Now(), 1)
				l.produce(0, "k", time.Now(), 1)
			}
		}})
		o, err := table.Optimize(t.Context(), DefaultTarget)
		if err != nil || o.FilesRemoved != 5 || o.FilesAdded != 1 || passes != 1 {
			t.Errorf("%+v, %v, %d groups", o, err, passes)
		}
		l.follow()
		l.holds(nothing)
	})
}

// A row may name an offset that nobody has given out. Commands that move it before it is adopted
// must not make a record of it, behind which all others would come.
func TestInsertedRowsGetNoPlaceByACommand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := begin(t, mem.New(), 1, map[string]string{"sluice.table.writers": "any"})
		for range 4 {
			l.produce(0, "k", time.Now(), 1)
		}
		l.end() // nobody leads
		table := l.open(Options{})
		var b record.Builder
		b.Reset(nil, record.Params{})
		for i, key := range []string{"inserted", "deleted"} {
			b.Append(int64(i), time.Now().UnixMilli(), []byte(key), []byte("x"), record.Headers{})
		}
		file, err := rows.NewEncoder(rows.Options{}).Encode("t", []rows.Batch{{BaseOffset: 1 << 40, Data: b.Finish()}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.store.Put(t.Context(), "t/data/inserted.parquet", file.Body); err != nil {
			t.Fatal(err)
		}
		if _, err := table.commit(t.Context(), func(*delta.Snapshot) (*delta.Entry, error) {
			return &delta.Entry{Info: &delta.CommitInfo{Operation: "WRITE"}, Adds: []delta.Add{{
				Path: "data/inserted.parquet", Size: int64(len(file.Body)), PartitionValues: map[string]string{},
				DataChange: true, ModificationTime: time.Now().UnixMilli(),
			}}}, nil
		}); err != nil {
			t.Fatal(err)
		}
		if o, err := table.Optimize(t.Context(), DefaultTarget); err != nil || o.FilesRemoved != 4 || o.Rows != 4 {
			t.Errorf("%+v, %v", o, err)
		}
		if d := mustDelete(t, table, Selection{Keys: [][]byte{[]byte("deleted")}}); d.Rows != 1 {
			t.Errorf("%+v", d)
		}
		l.restart()
		defer l.end()
		l.topic()
		time.Sleep(10 * time.Second) // the row is adopted
		l.sent[place{0, 4}] = "inserted=x"
		if at := l.produce(0, "k", time.Now(), 1); at != 5 {
			t.Error("the next record is at", at)
		}
		l.holds(nothing)
	})
}

func TestGroupsAreNeighboursThatBecomeFewerFiles(t *testing.T) {
	file := func(time, size int64, tags map[string]string) *delta.Add {
		return &delta.Add{Path: fmt.Sprint(time, "-", size), ModificationTime: time, Size: size, Tags: tags}
	}
	clean := map[string]string{cleanTag: "*"}
	for name, c := range map[string]struct {
		files []*delta.Add
		want  []int
	}{
		"a lone file":            {[]*delta.Add{file(1, 5, nil)}, nil},
		"large ones":             {[]*delta.Add{file(1, 90, nil), file(2, 80, nil)}, nil},
		"two halves of more":     {[]*delta.Add{file(1, 60, nil), file(2, 60, nil)}, nil},
		"a large one between":    {[]*delta.Add{file(1, 5, nil), file(2, 5, nil), file(3, 99, nil), file(4, 5, nil)}, []int{2}},
		"cleaned ones are left":  {[]*delta.Add{file(1, 5, nil), file(2, 5, clean), file(3, 5, clean), file(4, 5, nil)}, nil},
		"more than a group":      {slices.Repeat([]*delta.Add{file(1, 50, nil), file(2, 50, nil)}, 9), []int{16, 2}},
		"a version is not split": {append(slices.Repeat([]*delta.Add{file(1, 50, nil)}, 15), file(2, 50, nil), file(2, 51, nil), file(3, 9, nil), file(4, 9, nil)), []int{17, 2}},
	} {
		var got []int
		for _, g := range groups(c.files, 100, groupLimit(100, 0)) {
			got = append(got, len(g))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: groups of %v, want %v", name, got, c.want)
		}
	}
	// Where others were faster, less is taken at a time: down to one file's worth.
	many := make([]*delta.Add, 160)
	for i := range many {
		many[i] = file(int64(i), 10, nil)
	}
	for idle, want := range []int{2, 4, 8, 16, 16} {
		if got := len(groups(many, 100, groupLimit(100, idle))); got != want {
			t.Errorf("after %d attempts in vain: %d groups, want %d", idle, got, want)
		}
	}
}

func TestATopicThatIsMadeAnewIsNotTouched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := begin(t, mem.New(), 1, nil)
		defer l.end()
		l.produce(0, "k", time.Now(), 1)
		table := l.open(Options{})
		if err := l.topics.Delete(t.Context(), "t", l.topic().Info().ID); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), l.store, "t", Options{}); !errors.Is(err, storage.ErrUnknownTopic) {
			t.Errorf("a deleted topic: %v", err)
		}
		if _, err := table.Optimize(t.Context(), DefaultTarget); !errors.Is(err, ErrReplaced) {
			t.Errorf("deleted meanwhile: %v", err)
		}
		if _, err := l.topics.Create(t.Context(), "t", 1, nil, false); err != nil {
			t.Fatal(err)
		}
		if _, err := table.Delete(t.Context(), Selection{Keys: [][]byte{[]byte("k")}}, false); !errors.Is(err, ErrReplaced) {
			t.Errorf("made anew meanwhile: %v", err)
		}
	})
}

func TestATableIsDescribedAlsoWhereOnlyFootersTell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := begin(t, mem.New(), 2, nil)
		defer l.end()
		for i := range 6 {
			l.produce(int32(i%2), "k", time.Now(), 5)
		}
		table := l.open(Options{})
		// An engine's rewriting: the tags are gone.
		if _, err := table.commit(t.Context(), func(s *delta.Snapshot) (*delta.Entry, error) {
			e := &delta.Entry{Info: &delta.CommitInfo{Operation: "ENGINE"}}
			for _, a := range s.Files {
				again := *a
				again.Tags, again.Stats = nil, ""
				e.Adds = append(e.Adds, again)
			}
			return e, nil
		}); err != nil {
			t.Fatal(err)
		}
		d, err := table.Describe(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if d.Rows != 30 || d.Files != 6 || d.SmallFiles != 6 || d.Partitions[1].Rows != 15 || d.Partitions[1].Next != 15 || d.Writers != "sluice" || d.Log.OldestVersion != 0 {
			t.Errorf("%+v", d)
		}
		var operations []string
		if err := table.History(t.Context(), 3, func(v Version) bool {
			operations = append(operations, fmt.Sprintf("%s %d %d", v.Operation, v.FilesAdded, v.Rows))
			return true
		}); err != nil || !slices.Equal(operations, []string{"ENGINE 6 -1", "WRITE 1 5", "WRITE 1 5"}) {
			t.Errorf("%v, %v", operations, err)
		}
	})
}
