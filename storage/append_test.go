package storage

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"

	"sluice/protocol/record"
	"sluice/storage/object"
	"sluice/storage/object/mem"
	"sluice/storage/rows"
)

func TestBatchesOfAllSizesBecomeTheSameRows(t *testing.T) {
	t.Run("compressed at once", func(t *testing.T) { batchesOfAllSizes(t, Options{}, 5) })
	// Of two thirds of the batches, so that pools of both kinds occur.
	t.Run("compressed later", func(t *testing.T) { batchesOfAllSizes(t, Options{CompressLater: true}, 15) })
}

// batchesOfAllSizes appends batches of each codec, and of none beyond those up to codecs.
func batchesOfAllSizes(t *testing.T, options Options, codecs int) {
	rng := rand.New(rand.NewPCG(1, 1))
	store := mem.New()
	r := start(t, store, options)
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
			p, codec := rng.Int32N(partitions), record.Codec(rng.IntN(codecs))
			if codec > record.Zstd {
				codec = record.None
			}
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

// What its producer left as it is is compressed when its file is merged, if bytes cost
// less than time; what it compressed is compressed in the table at once.
func TestRecordsThatCameUncompressedAreCompressedWhenTheirFilesAreMerged(t *testing.T) {
	for name, want := range map[string]format.CompressionCodec{"snappy": format.Snappy, "zstd": format.Zstd, "none": format.Uncompressed} {
		t.Run(name, func(t *testing.T) {
			store := mem.New()
			r := start(t, store, Options{CompressLater: true, TailBytes: 1})
			if _, err := r.Create(t.Context(), "t", 1, map[string]string{"sluice.parquet.compression": name}, false); err != nil {
				t.Fatal(err)
			}
			topic, records := r.topic("t"), map[int64]string{}
			add := func(codec record.Codec) {
				t.Helper()
				var b record.Builder
				b.Reset(nil, record.Params{Codec: codec})
				for i := range int64(2000) {
					value := fmt.Sprintf("{\"order\": %d, \"state\": \"sent\", \"price\": \"12.50 EUR\"}", len(records))
					records[int64(len(records))] = value
					b.Append(i, time.Now().UnixMilli(), nil, []byte(value), record.Headers{})
				}
				if result := await(t, topic.Append(0, b.Finish(), eager)); result.Err != nil {
					t.Fatal(result.Err)
				}
			}
			r.env.rewriting <- struct{}{}
			for range 40 {
				add(record.None)
			}
			codecsAre(t, store, live(topic), format.Uncompressed)
			add(record.LZ4)
			files := live(topic)
			codecsAre(t, store, files[len(files)-1:], want)
			sameRecords(t, consume(t, topic, 0, 0), records)
			<-r.env.rewriting
			for end := time.Now().Add(20 * time.Second); liveFiles(topic) > 1 && time.Now().Before(end); {
				time.Sleep(10 * time.Millisecond)
			}
			if n := liveFiles(topic); n != 1 {
				t.Fatal(n, "files are left of 41")
			}
			codecsAre(t, store, live(topic), want)
			sameRecords(t, consume(t, topic, 0, 0), records)
		})
	}
}

// codecsAre looks how the values in files are compressed.
func codecsAre(t *testing.T, store object.Store, files []*file, want format.CompressionCodec) {
	t.Helper()
	for _, f := range files {
		o, err := store.Get(t.Context(), f.key, object.Range{})
		if err != nil {
			t.Fatal(err)
		}
		p, err := parquet.OpenFile(bytes.NewReader(o.Body), f.size)
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range p.Metadata().RowGroups {
			for _, c := range g.Columns {
				if path := c.MetaData.PathInSchema; path[0] == "value" && c.MetaData.Codec != want {
					t.Errorf("%s: values are %v, want %v", f.key, c.MetaData.Codec, want)
				}
			}
		}
	}
}
