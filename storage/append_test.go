package storage

import (
	"math/rand/v2"
	"testing"
	"time"

	"sluice/protocol/record"
	"sluice/storage/object/mem"
	"sluice/storage/rows"
)

func TestBatchesOfAllSizesBecomeTheSameRows(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	store := mem.New()
	r := start(t, store, Options{})
	for _, config := range []map[string]string{nil, {"message.timestamp.type": "LogAppendTime"}, {"sluice.parquet.compression": "zstd"}} {
		name := "t"
		for _, value := range config {
			name = value
		}
		const partitions = 3
		if _, err := r.Create(t.Context(), name, partitions, config, false); err != nil {
			t.Fatal(err)
		}
		topic := r.topic(name)
		want := map[int32]map[int64]string{}
		var waits []*Wait
		packed := 0
		for i := range 60 { // those of one pool, some packed when they came and some not
			n := 1 + rng.IntN(30)
			if i%3 == 0 {
				n = 1500
			}
			p, codec := rng.Int32N(partitions), record.Codec(rng.IntN(5))
			var b record.Builder
			b.Reset(nil, record.Params{Codec: codec})
			if want[p] == nil {
				want[p] = map[int64]string{}
			}
			size, next := 0, int64(len(want[p]))
			for j := range n {
				value := random(rng, 80+rng.IntN(40))
				size += len(value)
				b.Append(int64(j), time.Now().UnixMilli(), nil, []byte(value), record.Headers{})
				want[p][next+int64(j)] = value
			}
			if size >= rows.MinPack {
				packed++
			}
			waits = append(waits, topic.Append(p, b.Finish(), Sender{}))
		}
		for _, w := range waits {
			if result := await(t, w); result.Err != nil {
				t.Fatal(result.Err)
			}
		}
		for p, records := range want {
			got := consume(t, topic, p, 0)
			for at, value := range records {
				if len(got) != len(records) || got[at] != value {
					t.Fatalf("%d records of partition %d, want %d; offset %d is %q, want %q", len(got), p, len(records), at, got[at], value)
				}
			}
		}
		checkTable(t, store, name, want)
		if packed < 10 || packed > 50 {
			t.Errorf("%d of 60 batches are large", packed)
		}
		if left := topic.env.pending.Load(); left != 0 {
			t.Errorf("%d bytes are said to be pending", left)
		}
	}
}
