package broker

import (
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"sluice/protocol/record"
	"sluice/storage/object"
	"sluice/storage/object/mem"
)

// batchOf is a batch of one record, which change may spoil.
func batchOf(change func(record.Batch)) []byte {
	b := record.Batch(append(make([]byte, record.HeaderSize), 14, 0, 0, 0, 1, 2, 'v', 0)) // one record: null key, value "v"
	b = b[:record.HeaderSize]
	b = append(b, 16, 0, 0, 0, 1, 4, 'v', 'w', 0)
	putInt32(b[8:], int32(len(b)-record.LogOverhead))
	b[16] = 2
	putInt64(b[27:], time.Now().UnixMilli())
	putInt64(b[35:], time.Now().UnixMilli())
	putInt64(b[43:], -1)
	b[51], b[52] = 0xff, 0xff
	putInt32(b[53:], -1)
	putInt32(b[57:], 1)
	if change != nil {
		change(b)
	}
	b.SetLogAppendTime(time.Now().UnixMilli()) // renews the checksum
	b.SetCreateTime(time.Now().UnixMilli())
	return b
}

func putInt32(b []byte, v int32) {
	b[0], b[1], b[2], b[3] = byte(v>>24), byte(v>>16), byte(v>>8), byte(v)
}
func putInt64(b []byte, v int64) { putInt32(b, int32(v>>32)); putInt32(b[4:], int32(v)) }

// producing is a Produce request for one partition.
func producing(version int16, topic string, partition int32, records []byte) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = version, -1, 5000
	p := kmsg.NewProduceRequestTopicPartition()
	p.Partition, p.Records = partition, records
	rt := kmsg.NewProduceRequestTopic()
	rt.Topic = topic
	rt.Partitions = append(rt.Partitions, p)
	req.Topics = append(req.Topics, rt)
	return req
}

func (w *world) produceRaw(p *peer, req *kmsg.ProduceRequest) kmsg.ProduceResponseTopicPartition {
	w.t.Helper()
	resp := req.ResponseKind().(*kmsg.ProduceResponse)
	w.ask(p, req, resp)
	return resp.Topics[0].Partitions[0]
}

func TestProduceAnswersEachMistakeWithItsCode(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.produce(w.client(), "t", 0, 1)
		info, _ := w.topics.Lookup("t")
		p := w.peer()
		for name, test := range map[string]struct {
			req  *kmsg.ProduceRequest
			want *kerr.Error
		}{
			"an unknown topic":       {producing(9, "nowhere", 0, batchOf(nil)), kerr.UnknownTopicOrPartition},
			"an unknown partition":   {producing(9, "t", 7, batchOf(nil)), kerr.UnknownTopicOrPartition},
			"a negative partition":   {producing(9, "t", -1, batchOf(nil)), kerr.UnknownTopicOrPartition},
			"an unknown topic id":    {producing(13, "", 0, batchOf(nil)), kerr.UnknownTopicID},
			"an internal topic":      {producing(9, "__consumer_offsets", 0, batchOf(nil)), kerr.InvalidTopicException},
			"no records":             {producing(9, "t", 0, nil), kerr.InvalidRecord},
			"half a batch":           {producing(9, "t", 0, batchOf(nil)[:65]), kerr.InvalidRecord},
			"two batches":            {producing(9, "t", 0, append(batchOf(nil), batchOf(nil)...)), kerr.InvalidRecord},
			"an old message set":     {producing(9, "t", 0, func() []byte { b := batchOf(nil); b[16] = 1; return b }()), kerr.InvalidRecord},
			"a wrong checksum":       {producing(9, "t", 0, func() []byte { b := batchOf(nil); b[67]++; return b }()), kerr.CorruptMessage},
			"a control batch":        {producing(9, "t", 0, batchOf(func(b record.Batch) { b[22] |= 1 << 5 })), kerr.InvalidRecord},
			"a transactional batch":  {producing(9, "t", 0, batchOf(func(b record.Batch) { b[22] |= 1 << 4 })), kerr.InvalidTxnState},
			"zstd before version 7":  {producing(6, "t", 0, batchOf(func(b record.Batch) { b[22] |= 4 })), kerr.UnsupportedCompressionType},
			"an unknown codec":       {producing(9, "t", 0, batchOf(func(b record.Batch) { b[22] |= 6 })), kerr.UnsupportedCompressionType},
			"a count that is wrong":  {producing(9, "t", 0, batchOf(func(b record.Batch) { putInt32(b[57:], 9) })), kerr.InvalidRecord},
			"a sequence gap":         {producing(9, "t", 0, batchOf(func(b record.Batch) { putInt64(b[43:], 77); b[51], b[52] = 0, 0; putInt32(b[53:], -5) })), kerr.InvalidRecord},
			"acks that do not exist": {func() *kmsg.ProduceRequest { r := producing(9, "t", 0, batchOf(nil)); r.Acks = 2; return r }(), kerr.InvalidRequiredAcks},
			"a transactional id": {func() *kmsg.ProduceRequest {
				r := producing(9, "t", 0, batchOf(nil))
				r.TransactionID = kmsg.StringPtr("tx")
				return r
			}(), kerr.InvalidTxnState},
		} {
			got := w.produceRaw(p, test.req)
			if got.ErrorCode != test.want.Code || got.BaseOffset != -1 {
				t.Errorf("%s: got %+v, want %s", name, got, test.want.Message)
			}
		}
		byID := producing(13, "", 0, batchOf(nil))
		byID.Topics[0].TopicID = info.ID
		for version := int16(3); version < 13; version++ {
			if got := w.produceRaw(p, producing(version, "t", 0, batchOf(nil))); got.ErrorCode != 0 || got.BaseOffset != int64(version)-2 {
				t.Errorf("version %d: got %+v", version, got)
			}
		}
		if got := w.produceRaw(p, byID); got.ErrorCode != 0 || got.BaseOffset != 11 {
			t.Errorf("by id: got %+v", got)
		}
	})
}

func TestAcks0IsCommittedAndAnErrorClosesTheConnection(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.produce(w.client(), "t", 0, 1)
		p := w.peer()
		req := producing(9, "t", 0, batchOf(nil))
		req.Acks = 0
		p.send(1, req)
		p.send(2, versionsRequest())
		time.Sleep(time.Second)
		p.expect(2)
		topic, _ := w.topics.OpenTopic("t")
		if o, err := topic.Offsets(0); err != nil || o.HighWatermark != 2 {
			t.Errorf("got %+v, %v", o, err)
		}
		req.Topics[0].Partitions[0].Partition = 9
		p.send(3, req)
		time.Sleep(time.Second)
		p.expectClosed()
	})
}

func TestAnOutageOfTheStoreIsATimeoutAndThenOver(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		store := w.store.(*mem.Store)
		w.produce(w.client(), "t", 0, 1)
		store.SetFaults(func(mem.Request) mem.Fault { return mem.Fault{Delay: time.Second, Outcome: mem.Refuse} })
		p := w.peer()
		began := time.Now()
		if got := w.produceRaw(p, producing(9, "t", 0, batchOf(nil))); got.ErrorCode != kerr.RequestTimedOut.Code {
			t.Errorf("got %+v", got)
		}
		if took := time.Since(began); took < 5*time.Second || took > 6*time.Second {
			t.Errorf("it took %v", took)
		}
		client := w.client()
		done := make(chan error, 1)
		go func() {
			done <- client.ProduceSync(w.ctx(), &kgo.Record{Topic: "t", Value: []byte("after")}).FirstErr()
		}()
		time.Sleep(10 * time.Second)
		store.SetFaults(nil)
		if err := <-done; err != nil {
			t.Errorf("the client did not survive: %v", err)
		}
		if used := w.broker.produceMemory.used.Load(); used != 0 {
			t.Errorf("%d bytes are still held", used)
		}
	})
}

func TestAStoreThatLosesAnswersLosesAndDoublesNoRecord(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		store := w.store.(*mem.Store)
		producer := w.client()
		w.produce(producer, "t", 0, 1)
		store.SetFaults(mem.Chaos(7, 0.2))
		for i := 1; i < 50; i++ {
			w.produce(producer, "t", i, i+1)
		}
		store.SetFaults(nil)
		w.consume(w.client(from("t", kgo.NewOffset().AtStart())), 0, 50)
		topic, _ := w.topics.OpenTopic("t")
		if o, err := topic.Offsets(0); err != nil || o.HighWatermark != 50 {
			t.Errorf("got %+v, %v", o, err)
		}
	})
}

func TestATransactionalProducerIsToldAtOnce(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		p := w.peer()
		req := kmsg.NewPtrInitProducerIDRequest()
		req.Version, req.TransactionalID = 4, kmsg.StringPtr("tx")
		resp := req.ResponseKind().(*kmsg.InitProducerIDResponse)
		if w.ask(p, req, resp); resp.ErrorCode != kerr.TransactionalIDAuthorizationFailed.Code || resp.ProducerID != -1 {
			t.Errorf("got %+v", resp)
		}
		client := w.client(kgo.TransactionalID("tx"))
		began := time.Now()
		if err := client.BeginTransaction(); !errors.Is(err, kerr.TransactionalIDAuthorizationFailed) || time.Since(began) > 5*time.Second {
			t.Errorf("got %v after %v", err, time.Since(began))
		}
	})
}

func TestProducerIDsAreNeverTheSame(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		p := w.peer()
		seen := map[int64]bool{}
		for version := int16(0); version <= 5; version++ {
			for range 50 {
				req := kmsg.NewPtrInitProducerIDRequest()
				req.Version = version
				resp := req.ResponseKind().(*kmsg.InitProducerIDResponse)
				w.ask(p, req, resp)
				if resp.ErrorCode != 0 || resp.ProducerID < 0 || resp.ProducerEpoch != 0 || seen[resp.ProducerID] {
					t.Fatalf("version %d: got %+v", version, resp)
				}
				seen[resp.ProducerID] = true
			}
		}
	})
}

var _ object.Store = (*mem.Store)(nil)
