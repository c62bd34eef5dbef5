package storage

import (
	"fmt"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"sluice/storage/delta"
	"sluice/storage/object/mem"
)

func TestATopicGoesOnAfterItsLogIsCleanedUpAndItsFilesAreAddedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		r := start(t, store, Options{TailBytes: 1})
		topic := r.createWith("t", 2, map[string]string{"sluice.table.history.ms": "3600000"})
		r.env.rewriting <- struct{}{} // no compaction: it would add the files anew
		want := map[int64]string{}
		for i := range 450 {
			value := fmt.Sprint("value ", i)
			want[mustAppend(t, topic, int32(i%2), value)*2+int64(i%2)] = value
			time.Sleep(20 * time.Second)
		}
		check := func(topic *Topic) {
			t.Helper()
			for p := range int32(2) {
				got := consume(t, topic, p, 0)
				for at, value := range got {
					if want[at*2+int64(p)] != value {
						t.Errorf("%d-%d is %q", p, at, value)
					}
				}
				if len(got) != 225 {
					t.Errorf("%d records in partition %d", len(got), p)
				}
			}
		}
		check(topic)
		time.Sleep(3 * time.Hour)
		again := 0
		log := r.env.newLog("t")
		for version := range topic.Version() {
			e, _, err := log.ReadEntry(t.Context(), version+1)
			if err == nil && e.Info.Operation == "ADD AGAIN" {
				again++
			}
		}
		if _, _, err := log.ReadEntry(t.Context(), 100); err == nil || again == 0 {
			t.Error("the log was not cleaned up;", again, "entries add files again", err)
		}
		check(topic)
		r.Close(t.Context())
		r = start(t, store, Options{TailBytes: 1})
		check(r.topic("t"))
		r.Close(t.Context())
	})
}

func TestOffsetsGoOnInATopicThatRetentionHasEmptied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		config := map[string]string{"retention.ms": "3600000", "sluice.table.history.ms": "3600000"}
		r := start(t, store, Options{})
		topic := r.createWith("t", 1, config)
		for range 250 {
			mustAppend(t, topic, 0, "x")
			time.Sleep(10 * time.Second)
		}
		time.Sleep(12 * time.Hour)
		if n := liveFiles(topic); n != 0 {
			t.Error(n, "files are left")
		}
		if _, _, err := r.env.newLog("t").ReadEntry(t.Context(), 240); err == nil {
			t.Error("the log of the idle topic was not cleaned up")
		}
		r.Close(t.Context())
		r = start(t, store, Options{})
		topic = r.topic("t")
		if offsets, err := topic.Offsets(0); err != nil || offsets.LogStart != 250 || offsets.HighWatermark != 250 {
			t.Error(offsets, err)
		}
		if at := mustAppend(t, topic, 0, "y"); at != 250 {
			t.Error("the next offset is", at)
		}
		r.Close(t.Context())
	})
}

func TestATableIsNeverAppendOnlyWhileRetentionRemovesItsFiles(t *testing.T) {
	for _, policy := range []string{"delete", "compact", ""} {
		settings, err := ParseSettings(map[string]string{"cleanup.policy": policy}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if c := configuration(map[string]string{propertyAppendOnly: "true"}, 1, nil, settings); c[propertyAppendOnly] == "true" {
			t.Errorf("with the policy %q the table is append-only", policy)
		}
	}
}

func TestRetentionLeavesATableAloneThatAnEngineHasMadeAppendOnly(t *testing.T) {
	r := start(t, mem.New(), Options{})
	topic := r.createWith("t", 1, map[string]string{"retention.ms": "1000"})
	appendAt(t, topic, 0, time.Now().Add(-time.Hour), 10)
	if err := topic.propose(t.Context(), func(snap *delta.Snapshot) (*delta.Entry, error) {
		e := metadataEntry("SET TBLPROPERTIES", snap.Metadata)
		e.Metadata.Configuration = maps.Clone(e.Metadata.Configuration)
		e.Metadata.Configuration[propertyAppendOnly] = "true"
		return e, nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := topic.retain(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	if logStart(t, topic, 0) != 1 || liveFiles(topic) != 1 {
		t.Error("log start", logStart(t, topic, 0), "files", liveFiles(topic))
	}
	version := topic.Version()
	if err := topic.retain(t.Context(), time.Now()); err != nil || topic.Version() != version {
		t.Error("nothing to do made a version:", err)
	}
	if err := r.Delete(t.Context(), "t", [16]byte{}); err != nil {
		t.Error(err)
	}
}
