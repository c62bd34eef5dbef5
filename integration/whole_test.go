//go:build integration

package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"sluice/integration/history"
)

// witnesses are the engines that read each table a load has written.
var witnesses = []engine{deltaRs, duckDB}

// check lets all who can read the load's topic as a whole: consumers, before and after
// a restart of the broker, engines, and the log entry by entry. With what
// the load's clients saw, and what the group has committed, it must be a history that is
// possible.
func (l *load) check(t *testing.T) {
	t.Helper()
	for _, a := range l.anomalies(t) {
		t.Error(a)
	}
}

// anomalies is what is wrong with the load's history. The broker runs, the load is
// finished.
func (l *load) anomalies(t *testing.T) []history.Anomaly {
	t.Helper()
	b := l.b
	l.saw("a new consumer", whole(t, b, l.topic))
	b.stop(t)
	b.restart(t)
	l.saw("a new consumer of a new broker", whole(t, b, l.topic))

	for _, e := range witnesses {
		l.saw(e.name, rows(t, b.store.direct(), e, l.topic))
	}
	l.history.Versions(l.topic, l.versions(t, b.store.direct()))

	// The bounds come last: what retention has removed meanwhile nobody needs to have seen.
	admin := kadm.NewClient(connect(t, b))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	starts, err := admin.ListStartOffsets(ctx, l.topic)
	if err != nil {
		t.Fatal(err)
	}
	ends, err := admin.ListEndOffsets(ctx, l.topic)
	if err != nil {
		t.Fatal(err)
	}
	offsets, err := admin.FetchOffsets(ctx, l.group())
	if err != nil {
		t.Fatal(err)
	}
	for p := range int32(partitions) {
		start, ok1 := starts.Lookup(l.topic, p)
		end, ok2 := ends.Lookup(l.topic, p)
		if !ok1 || !ok2 || start.Err != nil || end.Err != nil {
			t.Fatalf("partition %d: offsets from %+v to %+v", p, start, end)
		}
		l.history.Bounds(l.partition(p), start.Offset, end.Offset)
		committed, ok := offsets.Lookup(l.topic, p)
		if !ok || committed.At != end.Offset {
			t.Errorf("group %s: partition %d is committed at %d, it ends at %d", l.group(), p, committed.At, end.Offset)
		}
		l.history.OffsetFetched(l.group(), l.partition(p), committed.At)
	}
	t.Logf("%d records acked", l.acks.Load())
	return l.history.Check()
}

// compactedAnomalies is what is wrong with a compacted topic of the load: every record
// is one that was acked, at its offset, and of each key the newest is there. Any older one
// may be missing to one reader and be there for another.
func (l *load) compactedAnomalies(t *testing.T) (found []history.Anomaly) {
	t.Helper()
	l.mu.Lock()
	acked := l.acked
	l.mu.Unlock()
	at, newest := map[id]record{}, map[string]record{}
	for _, r := range acked {
		at[r.id()] = r
		if before, ok := newest[string(r.key)]; !ok || r.offset > before.offset {
			newest[string(r.key)] = r
		}
	}
	wrong := func(kind history.Kind, format string, args ...any) {
		found = append(found, history.Anomaly{Kind: kind, Detail: fmt.Sprintf(format, args...)})
	}
	if len(at) < len(acked) {
		wrong(history.InconsistentOffsets, "%d records were acked at %d places", len(acked), len(at))
	}
	judge := func(who string, rows []record) {
		t.Logf("%s: %d of %d records of %d keys", who, len(rows), len(acked), len(newest))
		seen := map[id]bool{}
		for _, r := range rows {
			if w, ok := at[r.id()]; !ok || !r.same(w) {
				wrong(history.Invented, "%s read %v, acked was %v", who, r, w)
			}
			if seen[r.id()] {
				wrong(history.Duplicate, "%s read %v twice", who, r)
			}
			seen[r.id()] = true
		}
		for _, r := range newest {
			if !seen[r.id()] {
				wrong(history.LostWrite, "%s does not see %v, the newest of its key", who, r)
			}
		}
	}
	judge("a new consumer", whole(t, l.b, l.topic))
	l.b.stop(t)
	l.b.restart(t)
	judge("a new consumer of a new broker", whole(t, l.b, l.topic))
	for _, e := range witnesses {
		judge(e.name, rows(t, l.b.store.direct(), e, l.topic))
	}
	return found
}

// saw takes up what somebody who reads the whole topic saw.
func (l *load) saw(who string, records []record) {
	all := make([]history.Record, len(records))
	for i, r := range records {
		all[i] = l.seen(r)
	}
	l.history.Rows(who, all)
}

// whole reads a topic with a new consumer, from its start to its end.
func whole(t *testing.T, b *sluice, topic string) (all []record) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	ends, err := kadm.NewClient(connect(t, b)).ListEndOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		t.Fatal(err)
	}
	cl := connect(t, b, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer cl.Close()
	next := map[int32]int64{}
	// A partition whose newest records are gone answers its end by an empty batch, which
	// the client does not show: after a second without a record it is asked where it stands.
	for quiet := 0; ; {
		poll, done := context.WithTimeout(ctx, time.Second)
		fetches := cl.PollFetches(poll)
		done()
		if ctx.Err() != nil {
			t.Fatalf("%s: read up to %v in time, it ends at %v", topic, next, ends)
		}
		if fetches.Empty() {
			quiet++
		} else {
			quiet = 0
		}
		fetches.EachError(func(_ string, p int32, err error) {
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("partition %d: %v", p, err)
			}
		})
		fetches.EachRecord(func(kr *kgo.Record) {
			all = append(all, fromKgo(kr))
			next[kr.Partition] = kr.Offset + 1
		})
		behind := false
		ends.Each(func(o kadm.ListedOffset) { behind = behind || next[o.Partition] < o.Offset })
		if !behind || quiet >= 5 {
			return all
		}
	}
}

// versions are the entries of the load's table as far as they are kept, with the
// rows that they added where their files are.
func (l *load) versions(t *testing.T, s store) []history.Version {
	t.Helper()
	var all []history.Version
	for _, key := range s.list(t, l.topic+"/_delta_log/") {
		var number int64
		if n, err := fmt.Sscanf(key, l.topic+"/_delta_log/%020d.json", &number); n != 1 || err != nil ||
			key != fmt.Sprintf("%s/_delta_log/%020d.json", l.topic, number) {
			continue // checkpoints
		}
		text, ok := s.object(t, key)
		if !ok {
			all = nil // cleaned up since the listing, as all before it
			continue
		}
		v := history.Version{Number: number}
		var paths []string
		paths, v.Err = added(text)
		for _, path := range paths {
			// A file that is not there any more was removed, and its time is over.
			if file, ok := s.object(t, l.topic+"/"+path); ok && v.Err == nil {
				var rows []record
				rows, v.Err = fileRows(file)
				for _, r := range rows {
					v.Added = append(v.Added, l.seen(r))
				}
			}
		}
		all = append(all, v)
	}
	return all
}

// added are the paths of the files with which an entry brought new rows: one that
// also removes files has rewritten them.
func added(entry []byte) (paths []string, err error) {
	for line := range bytes.Lines(entry) {
		var action struct {
			Add *struct {
				Path       string
				DataChange bool
			}
			Remove *struct{ Path string }
		}
		if err := json.Unmarshal(line, &action); err != nil {
			return nil, err
		}
		if action.Remove != nil {
			return nil, nil
		}
		if action.Add != nil && action.Add.DataChange {
			path, err := url.PathUnescape(action.Add.Path)
			if err != nil {
				return nil, err
			}
			paths = append(paths, path)
		}
	}
	return paths, nil
}

// fileRows reads a data file.
func fileRows(file []byte) (records []record, err error) {
	type row struct {
		Partition int32  `parquet:"partition"`
		Offset    int64  `parquet:"offset"`
		Timestamp int64  `parquet:"timestamp,optional,timestamp(microsecond)"`
		Key       []byte `parquet:"key,optional"`
		Value     []byte `parquet:"value,optional"`
	}
	rows, err := parquet.Read[row](bytes.NewReader(file), int64(len(file)))
	for _, r := range rows {
		records = append(records, record{partition: r.Partition, offset: r.Offset, timestamp: r.Timestamp / 1000, key: r.Key, value: r.Value})
	}
	return records, err
}
