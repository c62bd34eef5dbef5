//go:build integration

package integration

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// What has left the broker's memory is read from its disk as it was produced, in any order
// of readers. The disk is a cache: nothing has a name there, and a broker that is killed and
// comes back with an empty one, or with none, has lost nothing.
func TestTheDiskCacheServesAndEndsWithItsBroker(t *testing.T) {
	dir := t.TempDir()
	b := startSluice(t, directory(t), "--config", "sluice.cache.dir="+dir)
	const topic, records, size = "cached", 700, 100_000 // twice the tail cache
	cl := connect(t, b, kgo.DefaultProduceTopic(topic), kgo.AllowAutoTopicCreation(), kgo.ProducerBatchCompression(kgo.NoCompression()))
	random := rand.NewChaCha8([32]byte{})
	values := make([][]byte, records)
	batch := make([]*kgo.Record, records)
	for i := range values {
		values[i] = make([]byte, size)
		random.Read(values[i])
		batch[i] = &kgo.Record{Key: fmt.Append(nil, i), Value: values[i]}
	}
	if err := cl.ProduceSync(t.Context(), batch...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	compare := func(when string) {
		t.Helper()
		got := whole(t, b, topic)
		if len(got) != records {
			t.Fatalf("%s: %d records of %d", when, len(got), records)
		}
		for _, r := range got {
			var i int
			if _, err := fmt.Sscan(string(r.key), &i); err != nil || !bytes.Equal(r.value, values[i]) {
				t.Fatalf("%s: record %s has another value", when, r.key)
			}
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("%s: %v, %v", when, left, err)
		}
	}
	compare("from the disk")
	if hits := b.metric(t, `sluice_cache_reads_total{cache="disk",outcome="hit"}`); hits == 0 {
		t.Error("nothing was read from the disk")
	}
	b.kill()
	b.restart(t)
	compare("after a kill")
	b.args = []string{"--config", "sluice.cache.dir=" + dir + "/none"}
	b.stop(t)
	b.restart(t)
	compare("without a disk")
}
