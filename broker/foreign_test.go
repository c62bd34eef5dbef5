package broker_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"sluice/storage/check"
	"sluice/storage/check/checktest"
	"sluice/storage/delta"
)

// asEngine commits an entry to a topic's table, as another writer.
func (w *world) asEngine(topic string, change func(snap *delta.Snapshot, e *delta.Entry)) {
	w.t.Helper()
	log := delta.NewLog(w.store.Handle(), topic, delta.Options{})
	snap, err := log.Open(w.t.Context(), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	e := &delta.Entry{Version: snap.Version + 1, Info: &delta.CommitInfo{Timestamp: time.Now().UnixMilli(), Operation: "WRITE", TxnID: fmt.Sprint("an engine's ", snap.Version)}}
	change(snap, e)
	if _, foreign, err := log.Commit(w.t.Context(), e, snap.Proved); err != nil || foreign != nil {
		w.t.Fatal(foreign, err)
	}
}

// fetchRequests counts the Fetch requests of a client.
type fetchRequests struct{ atomic.Int64 }

func (f *fetchRequests) OnBrokerWrite(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, _ error) {
	if key == 1 {
		f.Add(1)
	}
}

func (f *fetchRequests) OnBrokerConnect(kgo.BrokerMetadata, time.Duration, net.Conn, error) {}

func TestEnginesWritesReachConsumers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		admin := w.client()
		anyWriter := "any"
		if _, err := kadm.NewClient(admin).CreateTopic(t.Context(), 1, 1, map[string]*string{"sluice.table.writers": &anyWriter}, "t"); err != nil {
			t.Fatal(err)
		}
		for range 5 {
			if err := admin.ProduceSync(t.Context(), record("t", "deleted")).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		w.asEngine("t", func(snap *delta.Snapshot, e *delta.Entry) {
			for _, a := range snap.Files {
				e.Removes = append(e.Removes, delta.Remove{Path: a.Path, DeletionTimestamp: time.Now().UnixMilli(), DataChange: true})
			}
		})
		time.Sleep(2 * time.Second)

		// All records are deleted: the client goes on behind them and waits there. It would
		// ask again at once if it stood still.
		var fetches fetchRequests
		consumer := w.client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"t": {0: kgo.NewOffset().AtStart()}}),
			kgo.FetchMaxWait(5*time.Second), kgo.WithHooks(&fetches))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		if got := consumer.PollFetches(ctx).Records(); len(got) != 0 {
			t.Error("consumed", got)
		}
		cancel()
		if n := fetches.Load(); n < 10 || n > 20 {
			t.Errorf("%d fetches in a minute with waits of 5 s", n)
		}

		// A row that an engine inserts reaches it where it is parked.
		var body bytes.Buffer
		if err := parquet.Write(&body, []struct {
			Value []byte `parquet:"value"`
		}{{[]byte("inserted")}}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.store.Put(t.Context(), "t/part-0.parquet", body.Bytes()); err != nil {
			t.Fatal(err)
		}
		w.asEngine("t", func(_ *delta.Snapshot, e *delta.Entry) {
			e.Adds = []delta.Add{{Path: "part-0.parquet", Size: int64(body.Len()), ModificationTime: time.Now().UnixMilli(), DataChange: true}}
		})
		began := time.Now()
		got := consumer.PollFetches(t.Context()).Records()
		if len(got) != 1 || string(got[0].Value) != "inserted" || got[0].Offset != 5 {
			t.Error("consumed", got)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Error("it took", took)
		}
		consumer.Close()
		admin.Close()
		w.stop()
		checktest.Root(t, w.store, check.Options{})
		time.Sleep(time.Hour)
	})
}
