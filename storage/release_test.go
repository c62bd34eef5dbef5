package storage

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"sluice/protocol/record"
	"sluice/storage/object/mem"
)

// Readers that give their memory back and others that keep it read the same topic from files,
// through a cache that holds a part of it.
func TestMemoryThatIsGivenBackIsNobodyElses(t *testing.T) {
	r := start(t, mem.New(), Options{TailBytes: 1, BlockBytes: 60_000})
	topic := r.create("t", 1)
	want := map[int64]string{}
	for range 40 {
		value := strings.Repeat(string(rune('a'+len(want)%26)), 1000)
		for range 10 {
			want[mustAppend(t, topic, 0, value)] = value
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var readers sync.WaitGroup
	for n := range uint64(4) {
		readers.Go(func() {
			random := rand.New(rand.NewPCG(n, n))
			var kept [][]byte
			var copies [][]byte
			for range 60 {
				read, err := topic.Read(ctx, 0, random.Int64N(int64(len(want))), 1+random.IntN(30_000), true)
				if err != nil {
					t.Error(err)
					return
				}
				for _, data := range read.Batches {
					if b := record.Batch(data); !b.Intact() || b.NumRecords() == 0 {
						t.Error("a batch is damaged at", b.BaseOffset())
					}
				}
				if n%2 == 0 {
					kept = append(kept, read.Batches...)
					for _, data := range read.Batches {
						copies = append(copies, slices.Clone(data))
					}
					continue
				}
				read.Release()
			}
			for i := range kept {
				if !slices.Equal(kept[i], copies[i]) {
					t.Error("what was read has changed since")
					return
				}
			}
		})
	}
	readers.Wait()
	if got := consume(t, topic, 0, 0); !maps.Equal(got, want) {
		t.Errorf("%d records of %d", len(got), len(want))
	}
}
