package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"sluice/broker/group"
	"sluice/offsets"
	"sluice/storage"
	"sluice/storage/check"
	"sluice/storage/check/checktest"
	"sluice/storage/object"
	"sluice/storage/object/latency"
	"sluice/storage/object/mem"
)

// world is a whole broker on a store in memory, with franz-go clients, on the fake
// time of testing/synctest: a wait costs nothing, and a latency can be asserted.
type world struct {
	t       *testing.T
	store   object.Store
	config  Config
	options storage.Options

	broker  *Broker
	topics  *storage.Topics
	offsets *offsets.Offsets
	pipes   atomic.Pointer[pipes] // of the broker that runs now
	served  chan error
	clients []*kgo.Client
}

// inWorld runs a test in a world of its own.
func inWorld(t *testing.T, change func(*world), test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { inRealTime(t, change, test) })
}

// inRealTime is inWorld without fake time, for clients that cannot live there.
func inRealTime(t *testing.T, change func(*world), test func(w *world)) {
	t.Helper()
	w := &world{t: t, store: mem.New(), config: DefaultConfig()}
	w.config.ClusterID = "AAAAAAAAAAAAAAAAAAAAAA"
	w.config.Listeners = []Listener{{Name: "PLAINTEXT", Host: "localhost", Port: 9092}}
	w.options.CommitInterval = 20 * time.Millisecond
	if change != nil {
		change(w)
	}
	w.start()
	test(w)
	w.closeClients()
	w.stop()
	checktest.Root(t, w.store, check.Options{Dense: true})
}

// start starts a broker on the store, whatever is there already.
func (w *world) start() {
	w.t.Helper()
	log := slog.New(slog.DiscardHandler)
	if os.Getenv("SLUICE_LOG") != "" {
		log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	w.options.Log = log
	ctx := context.Background()
	var err error
	if w.topics, err = storage.Open(ctx, w.store, w.options); err != nil {
		w.t.Fatal(err)
	}
	if w.offsets, err = offsets.Open(ctx, w.store, offsets.Options{}); err != nil {
		w.t.Fatal(err)
	}
	groups, err := NewGroups(group.Config{InitialRebalanceDelay: time.Second, Log: log}, w.offsets)
	if err != nil {
		w.t.Fatal(err)
	}
	if w.broker, err = New(w.config, w.topics, w.offsets, groups, log); err != nil {
		w.t.Fatal(err)
	}
	w.pipes.Store(newPipes())
	w.served = make(chan error, 1)
	go func() { w.served <- w.broker.ServeListener("PLAINTEXT", w.pipes.Load()) }()
}

// stop ends the broker in good order.
func (w *world) stop() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := errors.Join(w.broker.Shutdown(ctx), w.offsets.Close(ctx), w.topics.Close(ctx)); err != nil {
		w.t.Errorf("the broker does not stop: %v", err)
	}
	if err := <-w.served; !errors.Is(err, ErrClosed) {
		w.t.Error(err)
	}
}

func (w *world) closeClients() {
	for _, c := range w.clients {
		c.Close()
	}
	w.clients = nil
}

// client is a franz-go client of the broker that is there when it dials.
func (w *world) client(opts ...kgo.Opt) *kgo.Client {
	w.t.Helper()
	dial := func(context.Context, string, string) (net.Conn, error) { return w.pipes.Load().dial() }
	client, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers("localhost:9092"), kgo.Dialer(dial), kgo.AllowAutoTopicCreation()}, opts...)...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.clients = append(w.clients, client)
	return client
}

func (w *world) ctx() context.Context { return w.t.Context() }

// member is a client in group g, consuming topic t from its start. It commits
// only when told: franz-go's own commits wait for a rebalance with a mutex, and as
// long as a goroutine waits for a mutex fake time stands still.
func (w *world) member() *kgo.Client {
	w.t.Helper()
	return w.client(kgo.ConsumeTopics("t"), kgo.ConsumerGroup("g"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit())
}

// produce produces values from..to-1 and wants all of them acked.
func (w *world) produce(client *kgo.Client, topic string, from, to int) {
	w.t.Helper()
	records := make([]*kgo.Record, 0, to-from)
	for i := from; i < to; i++ {
		records = append(records, &kgo.Record{Topic: topic, Key: []byte("k"), Value: []byte(strconv.Itoa(i))})
	}
	if err := client.ProduceSync(w.ctx(), records...).FirstErr(); err != nil {
		w.t.Fatalf("produce: %v", err)
	}
}

// consume wants the values from..to-1 of a partition next, in order.
func (w *world) consume(client *kgo.Client, from, to int) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx(), time.Minute)
	defer cancel()
	for next := from; next < to; {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			w.t.Fatalf("fetch, at %d: %v", next, err)
		}
		fetches.EachError(func(topic string, p int32, err error) { w.t.Fatalf("fetch of %s %d: %v", topic, p, err) })
		fetches.EachRecord(func(r *kgo.Record) {
			if string(r.Value) != strconv.Itoa(next) {
				w.t.Fatalf("got value %s at offset %d, want %d", r.Value, r.Offset, next)
			}
			next++
		})
	}
}

func from(topic string, offset kgo.Offset) kgo.Opt {
	return kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: offset}})
}

func TestWhatIsProducedIsConsumedWithEachCodec(t *testing.T) {
	for name, codec := range map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	} {
		t.Run(name, func(t *testing.T) {
			inRealTime(t, nil, func(w *world) { // franz-go's zstd has finalizers
				w.produce(w.client(kgo.ProducerBatchCompression(codec), kgo.ProducerBatchMaxBytes(5000)), "t", 0, 2000)
				w.consume(w.client(from("t", kgo.NewOffset().AtStart())), 0, 2000)
			})
		})
	}
}

func TestAConsumerAtTheEndIsWokenByACommit(t *testing.T) {
	inWorld(t, func(w *world) { w.store = latency.New(w.store, latency.S3Express(), 1) }, func(w *world) {
		producer, consumer := w.client(), w.client(from("t", kgo.NewOffset().AtStart()), kgo.FetchMaxWait(30*time.Second))
		w.produce(producer, "t", 0, 1)
		w.consume(consumer, 0, 1)
		for i := 1; i < 20; i++ {
			time.Sleep(time.Second)
			began := time.Now()
			w.produce(producer, "t", i, i+1)
			acked := time.Since(began)
			w.consume(consumer, i, i+1)
			if took := time.Since(began); took > acked+10*time.Millisecond || acked > 500*time.Millisecond {
				t.Errorf("acked after %v, consumed after %v", acked, took)
			}
		}
	})
}

func TestAFetchWithoutRecordsTakesMaxWait(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.produce(w.client(), "t", 0, 1)
		began := time.Now()
		resp := w.fetch("t", 1, 0, 700)
		if took := time.Since(began); took < 700*time.Millisecond || took > 710*time.Millisecond {
			t.Errorf("it took %v", took)
		}
		if p := resp.Topics[0].Partitions[0]; p.ErrorCode != 0 || p.HighWatermark != 1 || p.LastStableOffset != 1 || p.LogStartOffset != 0 || p.RecordBatches == nil {
			t.Errorf("got %+v", p)
		}
	})
}

// fetch asks for one partition at an offset, as version 12.
func (w *world) fetch(topic string, offset int64, partition, maxWait int32) *kmsg.FetchResponse {
	w.t.Helper()
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = maxWait, 1, 1<<20
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes = partition, offset, 1<<20
	rt := kmsg.NewFetchRequestTopic()
	rt.Topic = topic
	rt.Partitions = append(rt.Partitions, p)
	req.Topics = append(req.Topics, rt)
	client := w.client(kgo.MaxVersions(versions12()))
	resp, err := req.RequestWith(w.ctx(), client.Broker(1))
	if err != nil {
		w.t.Fatal(err)
	}
	return resp
}

func TestAFetchThatCannotSucceedIsAnsweredAtOnce(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.produce(w.client(), "t", 0, 3)
		for _, test := range []struct {
			topic     string
			offset    int64
			partition int32
			want      *kerr.Error
		}{
			{"t", 4, 0, kerr.OffsetOutOfRange},
			{"t", -7, 0, kerr.OffsetOutOfRange},
			{"t", 0, 9, kerr.UnknownTopicOrPartition},
			{"nowhere", 0, 0, kerr.UnknownTopicOrPartition},
		} {
			began := time.Now()
			p := w.fetch(test.topic, test.offset, test.partition, 5000).Topics[0].Partitions[0]
			if p.ErrorCode != test.want.Code || p.HighWatermark != -1 || time.Since(began) > time.Second {
				t.Errorf("%+v: got %+v after %v", test, p, time.Since(began))
			}
		}
	})
}

func TestEverythingIsThereAfterARestart(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		producer, consumer := w.client(), w.member()
		w.produce(producer, "t", 0, 100)
		w.consume(consumer, 0, 100)
		if err := consumer.CommitUncommittedOffsets(w.ctx()); err != nil {
			t.Fatal(err)
		}
		w.produce(producer, "t", 100, 150)
		w.closeClients()
		w.stop()
		w.start()
		w.produce(w.client(), "t", 150, 200)
		w.consume(w.client(from("t", kgo.NewOffset().AtStart())), 0, 200)
		w.consume(w.member(), 100, 200)
	})
}

func TestClientsOutliveARestart(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		producer := w.client()
		consumer := w.member()
		for i := range 5 {
			w.produce(producer, "t", 100*i, 100*i+100)
			w.consume(consumer, 100*i, 100*i+100)
			w.stop()
			w.start()
		}
	})
}

func TestTwoMembersShareATopic(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		admin := kadm.NewClient(w.client())
		if _, err := admin.CreateTopic(w.ctx(), 8, -1, nil, "t"); err != nil {
			t.Fatal(err)
		}
		a, b := w.member(), w.member()
		seen := map[*kgo.Client]int{}
		w.produce(w.client(kgo.RecordPartitioner(kgo.RoundRobinPartitioner())), "t", 0, 1)
		time.Sleep(10 * time.Second) // both have joined
		w.produce(w.client(kgo.RecordPartitioner(kgo.RoundRobinPartitioner())), "t", 1, 800)
		for seen[a]+seen[b] < 800 {
			for _, c := range []*kgo.Client{a, b} {
				ctx, cancel := context.WithTimeout(w.ctx(), 100*time.Millisecond)
				seen[c] += c.PollFetches(ctx).NumRecords()
				cancel()
			}
		}
		if seen[a]+seen[b] != 800 || seen[a] < 300 || seen[b] < 300 {
			t.Errorf("the members saw %d and %d of 800 records", seen[a], seen[b])
		}
		groups, err := admin.DescribeGroups(w.ctx(), "g")
		if err != nil || len(groups["g"].Members) != 2 || groups["g"].State != "Stable" {
			t.Errorf("got %+v, %v", groups, err)
		}
	})
}

func TestOffsetsAreFoundByTimeAndByTableVersion(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		producer := w.client()
		began := time.Now()
		var version [5]int64
		for i := range 5 {
			w.produce(producer, "t", 10*i, 10*i+10)
			topic, _ := w.topics.OpenTopic("t")
			version[i] = topic.Version()
			time.Sleep(time.Minute)
		}
		admin := kadm.NewClient(w.client())
		for i := range 5 {
			at := began.Add(time.Duration(i)*time.Minute - time.Second).UnixMilli()
			listed, err := admin.ListOffsetsAfterMilli(w.ctx(), at, "t")
			if o, _ := listed.Lookup("t", 0); err != nil || o.Err != nil || o.Offset != int64(10*i) {
				t.Errorf("minute %d: got %+v, %v", i, o, err)
			}
			if p := w.list("t", tableVersion-version[i], 8); p.ErrorCode != 0 || p.Offset != int64(10*i+10) {
				t.Errorf("table version %d: got %+v", version[i], p)
			}
		}
		for _, test := range []struct {
			timestamp, offset int64
			version           int16
			code              int16
		}{
			{latestOffset, 50, 8, 0}, {earliestOffset, 0, 8, 0}, {earliestLocal, 0, 8, 0}, {maxTimestamp, 40, 8, 0},
			{maxTimestamp, -1, 6, kerr.UnsupportedVersion.Code}, {lastTiered, -1, 9, 0}, {-99, -1, 9, kerr.UnsupportedVersion.Code},
			{time.Now().Add(time.Hour).UnixMilli(), -1, 7, 0},
			{tableVersion - version[4] - 1, -1, 7, kerr.OffsetOutOfRange.Code},
		} {
			if p := w.list("t", test.timestamp, test.version); p.ErrorCode != test.code || p.Offset != test.offset {
				t.Errorf("timestamp %d, version %d: got %+v", test.timestamp, test.version, p)
			}
		}
		if p := w.list("t", latestOffset, 0); fmt.Sprint(p.OldStyleOffsets) != "[50 0]" {
			t.Errorf("version 0: got %v", p.OldStyleOffsets)
		}
	})
}

// list asks for an offset of partition 0 in a version of ListOffsets.
func (w *world) list(topic string, timestamp int64, version int16) kmsg.ListOffsetsResponseTopicPartition {
	w.t.Helper()
	h := w.peer()
	defer h.hangUp()
	req := kmsg.NewPtrListOffsetsRequest()
	req.Version = version
	p := kmsg.NewListOffsetsRequestTopicPartition()
	p.Timestamp, p.MaxNumOffsets = timestamp, 10
	rt := kmsg.NewListOffsetsRequestTopic()
	rt.Topic = topic
	rt.Partitions = append(rt.Partitions, p)
	req.Topics = append(req.Topics, rt)
	resp := req.ResponseKind().(*kmsg.ListOffsetsResponse)
	w.ask(h, req, resp)
	return resp.Topics[0].Partitions[0]
}

// peer is a client that sends exactly what it is told.
func (w *world) peer() *peer { return (&house{t: w.t, broker: w.broker, pipes: w.pipes.Load()}).dial() }

func (w *world) ask(p *peer, req kmsg.Request, resp kmsg.Response) {
	w.t.Helper()
	p.send(1, req)
	b, ok := <-p.in
	if !ok {
		w.t.Fatalf("%T closes the connection", req)
	}
	b = b[4:]
	if resp.IsFlexible() && resp.Key() != 18 {
		b = b[1:]
	}
	if err := resp.ReadFrom(b); err != nil {
		w.t.Fatal(err)
	}
}

// versions12 is a client that asks for topics by name.
func versions12() *kversion.Versions {
	v := kversion.Stable()
	v.SetMaxKeyVersion(1, 12)
	return v
}

func TestFetchMemoryMakesAnswersSmallAndNoneWait(t *testing.T) {
	inWorld(t, func(w *world) { w.config.AnswerMemory = 300 << 10 }, func(w *world) {
		producer := w.client(kgo.ProducerBatchMaxBytes(20_000), kgo.ProducerBatchCompression(kgo.NoCompression()))
		records := make([]*kgo.Record, 1000)
		for i := range records {
			records[i] = &kgo.Record{Topic: "t", Value: make([]byte, 1000)}
		}
		if err := producer.ProduceSync(w.ctx(), records...).FirstErr(); err != nil {
			t.Fatal(err)
		}
		used := func() int64 { synctest.Wait(); return w.broker.answerMemory.used.Load() }
		first := len(w.fetch("t", 0, 0, 0).Topics[0].Partitions[0].RecordBatches)
		if first < 250<<10 || first > 300<<10 || used() != 0 {
			t.Errorf("the answer has %d bytes, %d are still held", first, used())
		}
		all, _ := w.broker.answerMemory.acquire(w.ctx(), "test", 300<<10)
		if n := len(w.fetch("t", 0, 0, 0).Topics[0].Partitions[0].RecordBatches); n < 40<<10 || n > 70<<10 {
			t.Errorf("without memory the answer has %d bytes", n)
		}
		all.release()
	})
}
