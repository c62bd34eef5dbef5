package broker

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

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
