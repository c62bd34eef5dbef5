package storage

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"sluice/protocol/record"
	"sluice/storage/object"
	"sluice/storage/object/mem"
)

func (r *root) createWith(name string, partitions int32, config map[string]string) *Topic {
	r.t.Helper()
	if _, err := r.Create(r.t.Context(), name, partitions, config, false); err != nil {
		r.t.Fatal(err)
	}
	return r.topic(name)
}

// appendAt appends a record with a timestamp, and fills it up to size bytes that
// do not compress.
func appendAt(t *testing.T, topic *Topic, partition int32, at time.Time, size int) int64 {
	t.Helper()
	value := make([]byte, size)
	for i := range value {
		value[i] = byte(uint64(i+1) * 0x9e3779b97f4a7c15 >> 56)
	}
	var b record.Builder
	b.Reset(nil, record.Params{})
	b.Append(0, at.UnixMilli(), nil, value, record.Headers{})
	result := await(t, topic.Append(partition, b.Finish(), eager))
	if result.Err != nil {
		t.Fatal(result.Err)
	}
	return result.BaseOffset
}

func logStart(t *testing.T, topic *Topic, partition int32) int64 {
	t.Helper()
	offsets, err := topic.Offsets(partition)
	if err != nil {
		t.Fatal(err)
	}
	return offsets.LogStart
}

func TestRecordsLeaveWhenTheirTimeIsOver(t *testing.T) {
	store := mem.New()
	r := start(t, store, Options{})
	now := time.Now()
	topic := r.createWith("t", 2, map[string]string{"retention.ms": "3600000"})
	for i := range 10 {
		appendAt(t, topic, 0, now.Add(-2*time.Hour+time.Duration(i)*10*time.Minute), 100)
	}
	appendAt(t, topic, 1, now.Add(-5*time.Hour), 100)
	appendAt(t, topic, 1, now, 100)
	if err := topic.retain(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	// Those of 2:00 to 1:10 ago in partition 0 are over; 1:00 is not.
	if got := fmt.Sprint(logStart(t, topic, 0), logStart(t, topic, 1), liveFiles(topic)); got != "6 1 5" {
		t.Fatal("log starts and files:", got)
	}
	if _, err := topic.Read(t.Context(), 0, 3, 1000, true); !errors.Is(err, ErrOffsetOutOfRange) {
		t.Error("a record that is over is read:", err)
	}
	version := topic.Version()
	if err := topic.retain(t.Context(), now); err != nil || topic.Version() != version {
		t.Error("nothing to do made a version:", err)
	}
	// Everything goes; the offsets go on, through a restart too.
	if err := topic.retain(t.Context(), now.Add(3*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if n := liveFiles(topic); n != 0 {
		t.Error(n, "files are left")
	}
	r.Close(t.Context())
	r = start(t, store, Options{})
	topic = r.topic("t")
	if got := fmt.Sprint(logStart(t, topic, 0), logStart(t, topic, 1)); got != "10 2" {
		t.Error("log starts after a restart:", got)
	}
	if at := appendAt(t, topic, 0, now, 10); at != 10 {
		t.Error("the next offset is", at)
	}
}

func TestOldRecordsLeaveWhenThereAreTooManyBytes(t *testing.T) {
	r := start(t, mem.New(), Options{})
	topic := r.createWith("t", 1, map[string]string{"retention.bytes": "25000", "retention.ms": "-1"})
	for range 10 {
		appendAt(t, topic, 0, time.Now(), 4000)
	}
	if err := topic.retain(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	if size := topic.Size(0); size < 25000 || size > 31000 {
		t.Error(size, "bytes are left")
	}
}

func TestATableThatIsKeptKeepsItsRows(t *testing.T) {
	store := mem.New()
	r := start(t, store, Options{})
	topic := r.createWith("t", 1, map[string]string{"retention.ms": "1000", "sluice.table.retention": "forever"})
	appendAt(t, topic, 0, time.Now().Add(-time.Hour), 10)
	if err := topic.retain(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	if logStart(t, topic, 0) != 1 || liveFiles(topic) != 1 {
		t.Error("log start", logStart(t, topic, 0), "files", liveFiles(topic))
	}
	kept := r.createWith("u", 1, map[string]string{"retention.ms": "1000", "cleanup.policy": "compact"})
	var b record.Builder
	b.Reset(nil, record.Params{})
	b.Append(0, time.Now().Add(-time.Hour).UnixMilli(), []byte("k"), nil, record.Headers{})
	if result := await(t, kept.Append(0, b.Finish(), eager)); result.Err != nil {
		t.Fatal(result.Err)
	}
	if err := kept.retain(t.Context(), time.Now()); err != nil || logStart(t, kept, 0) != 0 {
		t.Error("a compacted topic lost a record by its age:", err)
	}
}

func TestUpkeepRunsByItselfAndFreesTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		topics, err := Open(t.Context(), store, Options{})
		if err != nil {
			t.Fatal(err)
		}
		r := &root{t: t, store: store, Topics: topics}
		topic := r.createWith("t", 1, map[string]string{"retention.ms": "600000"})
		for range 20 {
			appendAt(t, topic, 0, time.Now(), 100)
		}
		time.Sleep(3 * time.Hour)
		objects := 0
		_, err = object.All(context.Background(), store, object.ListRequest{Prefix: "t/data/"}, func(object.Info) error { objects++; return nil })
		if err != nil || objects != 0 || logStart(t, topic, 0) != 20 {
			t.Error(objects, "data files are left in the store, log start", logStart(t, topic, 0), err)
		}
		time.Sleep(3 * 24 * time.Hour) // the last sweep of orphans is over, too
		requests := 0
		store.SetFaults(func(mem.Request) mem.Fault { requests++; return mem.Fault{} })
		time.Sleep(24 * time.Hour)
		if requests != 0 {
			t.Error("an idle day cost", requests, "requests")
		}
		topics.Close(t.Context())
	})
}

func TestALogKeepsAsManyVersionsAsItsTopicSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		topics, err := Open(t.Context(), store, Options{})
		if err != nil {
			t.Fatal(err)
		}
		r := &root{t: t, store: store, Topics: topics}
		topic := r.createWith("t", 1, map[string]string{"sluice.table.history.versions": "1000"})
		for range 2500 {
			mustAppend(t, topic, 0, "x")
			time.Sleep(2 * time.Second) // the window, 15 minutes, is 450 versions
		}
		if at, err := topic.OffsetAtVersion(t.Context(), 0, topic.Version()-900); err != nil || at == 0 {
			t.Error("a version within the history:", at, err)
		}
		if _, err := topic.OffsetAtVersion(t.Context(), 0, 500); !errors.Is(err, ErrVersionGone) {
			t.Error("a version that is long over:", err)
		}
		topics.Close(t.Context())
	})
}
