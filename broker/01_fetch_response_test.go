package broker

import (
	"bytes"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"sluice/storage"
)

func TestAFetchResponseIsEncodedAsByKmsg(t *testing.T) {
	small, large := bytes.Repeat([]byte{1}, 100), bytes.Repeat([]byte{2}, 3*copyBelow)
	topics := []fetchTopic{
		{name: "a", id: [16]byte{1}, partitions: []fetchPartition{
			{partition: 0, offsets: storage.Offsets{LogStart: 1, LastStable: 2, HighWatermark: 3}},
			{partition: 1, offsets: noOffsets, err: storage.ErrUnknownPartition},
			{partition: 2, offsets: storage.Offsets{HighWatermark: 9}, diverging: &diverging{epoch: 3, endOffset: 7}},
		}},
		{name: "empty", id: [16]byte{2}},
		{name: "b", id: [16]byte{3}, partitions: []fetchPartition{
			{batches: [][]byte{small, large, large, small}, bytes: 2*len(small) + 2*len(large)},
			{batches: [][]byte{large}, bytes: len(large)},
		}},
	}
	for version := int16(4); version <= 18; version++ {
		for _, committed := range []bool{false, true} {
			for n := range topics {
				got := &fetchResponse{FetchResponse: &kmsg.FetchResponse{Version: version}, committed: committed, topics: topics[:n+1]}
				want := kmsgFetch(got)
				var joined []byte
				for _, b := range got.appendTo([]byte("header")) {
					joined = append(joined, b...)
				}
				if !bytes.Equal(joined, want.AppendTo([]byte("header"))) {
					t.Errorf("version %d, %d topics: the bytes differ", version, n+1)
				}
			}
		}
	}
}

func TestBatchesThatLieSideBySideAreSentInOnePiece(t *testing.T) {
	memory := bytes.Repeat([]byte{1, 2, 3, 4}, 4*copyBelow)
	apart := bytes.Repeat([]byte{5}, copyBelow)
	cut := func(from, to int) []byte { return memory[from*copyBelow : to*copyBelow] }
	g := &gather{buf: []byte("header")}
	for _, batch := range [][]byte{cut(0, 2), cut(2, 3)[:10], cut(2, 3)[10:], apart, cut(3, 4)} {
		g.add(batch)
	}
	g.buf = append(g.buf, "partition"...)
	g.add(cut(4, 5)) // behind the last in memory, but not in the answer
	want := [][]byte{[]byte("header"), cut(0, 3), apart, cut(3, 4), []byte("partition"), cut(4, 5)}
	if got := g.buffers(); !slices.EqualFunc(got, want, bytes.Equal) {
		t.Errorf("%d pieces, want %d", len(got), len(want))
	}
}

// kmsgFetch is the same response in kmsg's types.
func kmsgFetch(f *fetchResponse) *kmsg.FetchResponse {
	resp := kmsg.NewPtrFetchResponse()
	resp.Version = f.Version
	for i := range f.topics {
		t := kmsg.NewFetchResponseTopic()
		t.Topic, t.TopicID = f.topics[i].name, f.topics[i].id
		for _, p := range f.topics[i].partitions {
			rp := kmsg.NewFetchResponseTopicPartition()
			rp.Partition, rp.ErrorCode = p.partition, fetchErrorCode(p.err)
			rp.HighWatermark, rp.LastStableOffset, rp.LogStartOffset = p.offsets.HighWatermark, p.offsets.LastStable, p.offsets.LogStart
			rp.PreferredReadReplica = -1
			rp.RecordBatches = bytes.Join(p.batches, nil)
			if rp.RecordBatches == nil {
				rp.RecordBatches = []byte{}
			}
			if f.committed && p.err == nil {
				rp.AbortedTransactions = []kmsg.FetchResponseTopicPartitionAbortedTransaction{}
			}
			if p.diverging != nil {
				rp.DivergingEpoch.Epoch, rp.DivergingEpoch.EndOffset = p.diverging.epoch, p.diverging.endOffset
			}
			t.Partitions = append(t.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}

func TestLargeBatchesAreNotCopied(t *testing.T) {
	large := bytes.Repeat([]byte{2}, 3*copyBelow)
	f := &fetchResponse{FetchResponse: &kmsg.FetchResponse{Version: 12}, topics: []fetchTopic{{partitions: []fetchPartition{{batches: [][]byte{large}, bytes: len(large)}}}}}
	for _, b := range f.appendTo(make([]byte, 8)) {
		if &b[0] == &large[0] {
			return
		}
	}
	t.Error("the batch is not among the buffers")
}

func TestAJavaConsumerGetsOnlyErrorsThatItSurvives(t *testing.T) {
	for _, test := range []struct {
		err  error
		want *kerr.Error
	}{
		{storage.ErrUnknownTopic, kerr.UnknownTopicOrPartition},
		{storage.ErrOffsetOutOfRange, kerr.OffsetOutOfRange},
		{storage.ErrNotLeader, kerr.NotLeaderForPartition},
		{storage.ErrStopped, kerr.KafkaStorageError},
		{kerr.RequestTimedOut, kerr.KafkaStorageError},
		{kerr.InvalidRequest, kerr.KafkaStorageError},
	} {
		if got := fetchErrorCode(test.err); got != test.want.Code {
			t.Errorf("%v: got %d", test.err, got)
		}
	}
}
