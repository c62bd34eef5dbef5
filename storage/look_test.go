package storage

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice/protocol/record"
	"sluice/storage/object/mem"
)

func TestDeletedRecordsAreGapsInTheTailToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		r := start(t, store, Options{})
		r.gaps = true
		topic := r.open("t", 1)
		numbers(t, topic, 0, 30)
		if got := consume(t, topic, 0, 0); len(got) != 30 {
			t.Fatal(len(got))
		}
		e := newEngine(t, store.Handle(), "t")
		e.delete(func(offset int64) bool { return offset%3 == 0 || offset > 25 })
		look(t, topic)
		numbers(t, topic, 30, 33)
		for _, from := range []int64{0, 1, 3, 24, 25, 26, 29, 30} {
			got := consume(t, topic, 0, from)
			for offset := from; offset < 33; offset++ {
				want := offset >= 30 || offset%3 != 0 && offset <= 25
				if v, ok := got[offset]; ok != want || ok && v != fmt.Sprint(offset) {
					t.Errorf("from %d: offset %d is %q, %v", from, offset, v, ok)
				}
			}
		}
	})
}

func TestAReaderGoesOnBehindRecordsThatAreAllDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		r := start(t, store, Options{})
		r.gaps = true
		topic := r.open("t", 1)
		numbers(t, topic, 0, 20)
		e := newEngine(t, store.Handle(), "t")
		e.delete(func(offset int64) bool { return offset >= 10 })
		look(t, topic)
		for _, from := range []int64{10, 15, 19} {
			read, err := topic.Read(t.Context(), 0, from, 1000, false)
			if err != nil || len(read.Batches) != 1 || read.Bytes != len(read.Batches[0]) {
				t.Fatalf("%+v, %v", read, err)
			}
			b := record.Batch(read.Batches[0])
			if !b.Intact() || b.NumRecords() != 0 || b.BaseOffset() != from || b.LastOffset() != 19 {
				t.Errorf("from %d: %d records from %d to %d", from, b.NumRecords(), b.BaseOffset(), b.LastOffset())
			}
		}
		if read, err := topic.Read(t.Context(), 0, 20, 1000, true); err != nil || len(read.Batches) != 0 {
			t.Error("at the high watermark:", read, err)
		}
		if read, err := topic.Read(t.Context(), 0, 15, record.HeaderSize-1, false); err != nil || len(read.Batches) != 0 {
			t.Error("without room:", read, err)
		}
		e.delete(func(int64) bool { return true })
		look(t, topic)
		if got := consume(t, topic, 0, 0); len(got) != 0 {
			t.Error(got)
		}
		numbers(t, topic, 20, 21)
		if got := consume(t, topic, 0, 0); len(got) != 1 {
			t.Error(got)
		}
	})
}

func TestAFileThatAnotherWriterHasVacuumedIsLookedForElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		r := start(t, store, Options{TailBytes: 1})
		topic := r.open("t", 1)
		numbers(t, topic, 0, 20)
		r.env.blocks.written.forget()
		e := newEngine(t, store.Handle(), "t")
		e.vacuum(e.optimize())
		if got := consume(t, topic, 0, 0); len(got) != 20 {
			t.Error(len(got), "records")
		}
		e.vacuum(e.optimize())
		if _, _, err := topic.OffsetForTime(t.Context(), 0, 0); err != nil {
			t.Error(err)
		}
		e.vacuum(e.optimize())
		if _, _, err := topic.MaxTimestamp(t.Context(), 0); err != nil {
			t.Error(err)
		}
	})
}

func TestAParkedConsumerHearsOfAnotherWritersEntryWithinASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		r := start(t, store, Options{})
		r.gaps = true
		topic := r.open("t", 1)
		closed := r.create("closed", 1)
		numbers(t, topic, 0, 3)
		numbers(t, closed, 0, 3)
		time.Sleep(5 * time.Minute) // nobody uses it
		var looks atomic.Int64
		store.SetFaults(func(mem.Request) mem.Fault { looks.Add(1); return mem.Fault{} })
		time.Sleep(5 * time.Minute)
		if n := looks.Load(); n < 9 || n > 11 {
			t.Error("looks of one idle topic in 5 minutes:", n)
		}
		read, err := topic.Read(t.Context(), 0, 3, 1000, true)
		if err != nil || len(read.Batches) != 0 {
			t.Fatal(read, err)
		}
		changed := make(chan struct{}, 1)
		defer topic.Notify(changed)()
		newEngine(t, store.Handle(), "t").delete(func(offset int64) bool { return offset == 1 })
		began := time.Now()
		select {
		case <-changed:
			if d := time.Since(began); d > 1100*time.Millisecond {
				t.Error("after", d)
			}
		case <-time.After(time.Minute):
			t.Fatal("it was never told")
		}
		r.Close(t.Context())
	})
}

func TestTheNewestTimestampIsSoughtBehindTheLogStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, mem.New(), Options{TailBytes: 1})
		topic := r.create("t", 1)
		now := time.Now().UnixMilli()
		var b record.Builder
		b.Reset(nil, record.Params{})
		for i, ms := range []int64{now, now - 50, now - 10, now - 30} { // one file
			b.Append(int64(i), ms, nil, []byte("x"), record.Headers{})
		}
		if result := await(t, topic.Append(0, b.Finish(), eager)); result.Err != nil {
			t.Fatal(result.Err)
		}
		for start, want := range []int64{0, 2, 2, 3, -1} {
			if _, err := topic.DeleteRecords(t.Context(), 0, int64(start)); err != nil {
				t.Fatal(err)
			}
			if offset, _, err := topic.MaxTimestamp(t.Context(), 0); err != nil || offset != want {
				t.Errorf("from %d on it is at %d, %v; want %d", start, offset, err, want)
			}
		}
	})
}
