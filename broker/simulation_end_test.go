package broker_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"sluice/integration/history"
	"sluice/storage/check"
	"sluice/storage/object"
)

func sortedTopics() []string { return slices.Sorted(maps.Keys(simTopics)) }

// readAll waits until the consumers have read everything, and has what there is read once
// more, by a consumer at a broker that was just started.
func (s *simulation) readAll() {
	ends := s.ends()
	deadline := time.Now().Add(s.patience)
	for _, who := range []string{"alone", "the group"} {
		for !s.haveRead(who, ends) {
			if time.Now().After(deadline) {
				s.problem("%s has not read all %v after the last fault", who, s.patience)
				break
			}
			time.Sleep(time.Second)
		}
	}
	n := s.nodes[s.clients[0].node()]
	n.end(time.Minute)
	n.start()
	var all []history.Record
	c := s.client("last", n.number, kgo.ConsumeTopics(sortedTopics()...), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer c.Close()
	total := int64(0)
	for p, end := range ends {
		s.history.Bounds(p, 0, end)
		total += end
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.patience)
	defer cancel()
	for int64(len(all)) < total && ctx.Err() == nil {
		c.PollFetches(ctx).EachRecord(func(r *kgo.Record) { all = append(all, seen(r)) })
	}
	s.history.Rows("a last consumer", all)
	s.history.Polled("last", all)
	s.fetchCommitted(c)
}

// ends are the ends of all partitions, when nobody has produced for a while: a broker that was
// overtaken may tell its own end for a second (storage.Topic.Confirm).
func (s *simulation) ends() map[history.Partition]int64 {
	time.Sleep(2 * time.Second)
	c := s.client("ends", s.clients[0].node())
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), s.patience)
	defer cancel()
	ends := map[history.Partition]int64{}
	for ctx.Err() == nil {
		clear(ends)
		listed, err := kadm.NewClient(c.Client).ListEndOffsets(ctx, sortedTopics()...)
		good := err == nil
		listed.Each(func(o kadm.ListedOffset) {
			good = good && o.Err == nil
			ends[history.Partition{Topic: o.Topic, Number: o.Partition}] = o.Offset
		})
		if good {
			return ends
		}
		time.Sleep(time.Second)
	}
	s.problem("the ends of the topics are not to be had %v after the last fault", s.patience)
	return ends
}

// haveRead reports whether a consumer, or one of the group for each partition, is at the end.
func (s *simulation) haveRead(who string, ends map[history.Partition]int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for p, end := range ends {
		at := s.positions[who][p]
		if at < end {
			return false
		}
	}
	return true
}

// fetchCommitted notes the offsets that the group has in the end.
func (s *simulation) fetchCommitted(c *simClient) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	offsets, err := kadm.NewClient(c.Client).FetchOffsets(ctx, simGroup)
	if err != nil {
		s.problem("the group's offsets are not to be had: %v", err)
		return
	}
	offsets.Each(func(o kadm.OffsetResponse) {
		s.history.OffsetFetched(simGroup, history.Partition{Topic: o.Topic, Number: o.Partition}, o.At)
	})
}

// judge looks for what can not be. The brokers have ended.
func (s *simulation) judge() {
	for _, topic := range sortedTopics() {
		s.readTable(topic)
	}
	lost := map[history.Kind]string{history.LostWrite: "lost", history.Unseen: "lost", history.Duplicate: "doubled"}
	for _, a := range s.history.Check() {
		s.problem("%v", a)
		what := lost[a.Kind]
		if what == "" {
			what = "disagreeing"
		}
		s.count(what, 1)
	}
	report, err := check.All(context.Background(), s.store, check.Options{Dense: true}, nil)
	if err != nil {
		s.problem("the tables cannot be checked: %v", err)
		return
	}
	for _, p := range report.Problems() {
		if p.Severity == check.Error {
			s.problem("check: %s", &p)
		}
	}
}

// simEntry is what a Delta reader needs of a log entry.
type simEntry struct {
	Add *struct {
		Path       string `json:"path"`
		DataChange bool   `json:"dataChange"`
	} `json:"add"`
	Remove *struct {
		Path string `json:"path"`
	} `json:"remove"`
	Txn *struct {
		AppID string `json:"appId"`
	} `json:"txn"`
}

// simRow is what tells records apart.
type simRow struct {
	Partition int32  `parquet:"partition"`
	Offset    int64  `parquet:"offset"`
	Value     []byte `parquet:"value,optional"`
}

// readTable reads a topic's table without any code of Sluice, version by version: no log
// is old enough to be cleaned up.
func (s *simulation) readTable(topic string) {
	var versions []history.Version
	gone := map[string]bool{} // live files that are not there
	live := map[string][]history.Record{}
	_, err := object.All(context.Background(), s.store, object.ListRequest{Prefix: topic + "/_delta_log/"}, func(i object.Info) error {
		base := i.Key[strings.LastIndexByte(i.Key, '/')+1:]
		v := history.Version{}
		if _, err := fmt.Sscanf(base, "%020d.json", &v.Number); err != nil || !strings.HasSuffix(base, ".json") {
			return nil
		}
		v.Added, v.Err = s.readEntry(topic, i.Key, live, gone)
		versions = append(versions, v)
		return nil
	})
	if err != nil {
		s.problem("the log of %s: %v", topic, err)
	}
	s.history.Versions(topic, versions)
	s.count("versions", len(versions))
	for path := range gone {
		s.problem("%s of %s is not there", path, topic)
	}
	var rows []history.Record
	for _, records := range live {
		rows = append(rows, records...)
	}
	s.history.Rows("the table's files", rows)
}

// readEntry takes an entry up: which files are live, and what it added, as far as its files
// have not been removed and deleted since.
func (s *simulation) readEntry(topic, key string, live map[string][]history.Record, gone map[string]bool) (added []history.Record, err error) {
	entry, err := s.store.Get(context.Background(), key, object.Range{})
	if err != nil {
		return nil, err
	}
	for line := range bytes.Lines(entry.Body) {
		var e simEntry
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, err
		}
		switch {
		case e.Txn != nil && e.Txn.AppID == "sluice.leader_epoch":
			s.count("takeovers", 1)
		case e.Remove != nil:
			delete(live, e.Remove.Path)
			delete(gone, e.Remove.Path)
		case e.Add != nil:
			file, err := s.store.Get(context.Background(), topic+"/"+e.Add.Path, object.Range{})
			if errors.Is(err, object.ErrNotFound) {
				gone[e.Add.Path] = true
				continue
			}
			if err != nil {
				return nil, err
			}
			rows, err := parquet.Read[simRow](bytes.NewReader(file.Body), int64(len(file.Body)))
			if err != nil {
				return nil, err
			}
			for _, row := range rows {
				r := history.Record{Partition: history.Partition{Topic: topic, Number: row.Partition}, Offset: row.Offset, Value: string(row.Value)}
				live[e.Add.Path] = append(live[e.Add.Path], r)
				if e.Add.DataChange {
					added = append(added, r)
				}
			}
		}
	}
	return added, nil
}
