package broker

import (
	"context"
	"maps"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"sluice/protocol/record"
)

// keyed is a batch of a record for each key, nil for none.
func keyed(keys ...[]byte) []byte {
	var b record.Builder
	b.Reset(nil, record.Params{})
	for i, key := range keys {
		b.Append(int64(i), time.Now().UnixMilli(), key, []byte("v"), record.Headers{})
	}
	return b.Finish()
}

func TestACompactedTopicNamesTheRecordsWithoutAKey(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		if _, err := w.topics.Create(w.ctx(), "c", 2, map[string]string{"cleanup.policy": "compact"}, false); err != nil {
			t.Fatal(err)
		}
		p := w.peer()
		got := w.produceRaw(p, producing(9, "c", 1, keyed([]byte("k"), nil, []byte{}, nil)))
		const keyless = "Compacted topic cannot accept message without key in topic partition c-1."
		if got.ErrorCode != kerr.InvalidRecord.Code || got.BaseOffset != -1 || got.ErrorMessage == nil || len(got.ErrorRecords) != 2 {
			t.Fatalf("got %+v", got)
		}
		for i, index := range []int32{1, 3} {
			if r := got.ErrorRecords[i]; r.RelativeOffset != index || r.ErrorMessage == nil || *r.ErrorMessage != keyless {
				t.Errorf("got %+v", r)
			}
		}
		const whole = "One or more records have been rejected due to 2 record errors in total, and only showing the first three errors at most: " +
			"[RecordError(batchIndex=1, message='" + keyless + "'), RecordError(batchIndex=3, message='" + keyless + "')]"
		if *got.ErrorMessage != whole {
			t.Error(*got.ErrorMessage)
		}
		// Before version 8 there is no place for them.
		if got := w.produceRaw(p, producing(7, "c", 1, keyed(nil))); got.ErrorCode != kerr.InvalidRecord.Code || got.ErrorRecords != nil {
			t.Errorf("version 7: got %+v", got)
		}
		// Nothing of the batch is appended.
		if got := w.produceRaw(p, producing(9, "c", 1, keyed([]byte("k")))); got.ErrorCode != 0 || got.BaseOffset != 0 {
			t.Errorf("got %+v", got)
		}
	})
}

func TestAClientReadsWhatACompactedTopicHasLeft(t *testing.T) {
	inWorld(t, func(w *world) { w.options.TailBytes = 1 }, func(w *world) {
		config := map[string]string{"cleanup.policy": "compact", "segment.ms": "1", "min.cleanable.dirty.ratio": "0"}
		if _, err := w.topics.Create(w.ctx(), "c", 1, config, false); err != nil {
			t.Fatal(err)
		}
		producer := w.client()
		produce := func(from, to int) {
			for i := from; i < to; i++ {
				r := &kgo.Record{Topic: "c", Key: []byte{'a' + byte(i%5)}, Value: []byte(strconv.Itoa(i))}
				if err := producer.ProduceSync(w.ctx(), r).FirstErr(); err != nil {
					t.Fatal(err)
				}
			}
		}
		read := func(offset kgo.Offset, last int64) (records int, latest map[string]string) {
			ctx, cancel := context.WithTimeout(w.ctx(), time.Minute)
			defer cancel()
			latest = map[string]string{}
			consumer := w.client(from("c", offset))
			for at := int64(-1); at < last; {
				fetches := consumer.PollFetches(ctx)
				if err := fetches.Err(); err != nil {
					t.Fatal("behind", at, err)
				}
				fetches.EachRecord(func(r *kgo.Record) {
					records++
					at = r.Offset
					latest[string(r.Key)] = string(r.Value)
				})
			}
			return records, latest
		}
		produce(0, 100)
		time.Sleep(time.Minute)
		want := map[string]string{"a": "95", "b": "96", "c": "97", "d": "98", "e": "99"}
		if records, got := read(kgo.NewOffset().AtStart(), 99); records != 5 || !maps.Equal(got, want) {
			t.Error("from the start:", records, "records,", got)
		}
		// From within the gap, and on to what is produced behind it.
		produce(100, 102)
		if records, got := read(kgo.NewOffset().At(50), 101); records != 7 || got["b"] != "101" {
			t.Error("from offset 50:", records, "records,", got)
		}
		if p := w.list("c", -1, 4); p.Offset != 102 {
			t.Error("the end is", p.Offset)
		}
		if p := w.list("c", -2, 4); p.Offset != 0 {
			t.Error("the start is", p.Offset)
		}
	})
}
