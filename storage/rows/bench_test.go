package rows

import (
	"context"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"

	"sluice/protocol/record"
)

// benchRows are 25,000 records of 100 B, like one commit at 250,000 records/s.
const benchRows, benchBatch = 25_000, 149

// jsonValue is text that compresses as JSON does: to about 40 %.
func jsonValue(rng *rand.Rand, size int) []byte {
	b := fmt.Appendf(nil, `{"id":%d,"user":"u%06d","amount":%.2f,"ok":%t,"note":"`, rng.Int64N(1e12), rng.IntN(1e6), rng.Float64()*1000, rng.IntN(2) == 0)
	for len(b) < size-2 {
		b = append(b, "abcdefghijklmnop"[rng.IntN(16)])
	}
	return append(b[:size-2], `"}`...)
}

func benchBatches(b *testing.B, codec record.Codec) []Batch {
	rng := seeded(1)
	var batches []Batch
	for at := 0; at < benchRows; at += benchBatch {
		var recs []rec
		for i := at; i < min(at+benchBatch, benchRows); i++ {
			recs = append(recs, rec{offset: int64(i), ms: 1_700_000_000_000 + int64(i/250), value: jsonValue(rng, 100)})
		}
		batches = append(batches, batch(b, 0, codec, record.CreateTime, recs...))
	}
	return batches
}

// rowsPerCPU measures f in CPU time of the process, garbage collection
// included: machines have other work too.
func rowsPerCPU(b *testing.B, f func()) {
	f() // grows the buffers
	start := cpuTime()
	for b.Loop() {
		f()
	}
	b.ReportMetric(float64(b.N)*benchRows/(cpuTime()-start).Seconds()/1e6, "Mrows/cpu-s")
	b.SetBytes(benchRows * 100)
	b.ReportAllocs()
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkEncode(b *testing.B) {
	for _, in := range []record.Codec{record.None, record.LZ4} {
		for name, out := range map[string]Codec{"none": None, "snappy": Snappy, "zstd": Zstd} {
			b.Run(fmt.Sprint(in, " to ", name), func(b *testing.B) {
				batches := benchBatches(b, in)
				e := NewEncoder(Options{Codec: out})
				rowsPerCPU(b, func() {
					if _, err := e.Encode("orders", batches); err != nil {
						b.Fatal(err)
					}
				})
			})
		}
	}
}

func BenchmarkRead(b *testing.B) {
	for name, codec := range map[string]Codec{"none": None, "snappy": Snappy, "zstd": Zstd} {
		b.Run(name, func(b *testing.B) {
			f := encode(b, Options{Codec: codec}, benchBatches(b, record.None)...)
			// Without the copy that reading a file is.
			r, err := Open(b.Context(), int64(len(f.Body)), func(_ context.Context, off, n int64, _ []byte) ([]byte, error) { return f.Body[off : off+n], nil })
			if err != nil {
				b.Fatal(err)
			}
			buffer := make([]byte, 0, 4<<20)
			rowsPerCPU(b, func() {
				got, err := r.Read(b.Context(), 0, 0, Limits{MaxBytes: 8 << 20, Buffer: buffer})
				if err != nil || got[len(got)-1].Last != benchRows-1 {
					b.Fatal(got, err)
				}
			})
		})
	}
}

// BenchmarkLimit is how fast the payload can be copied, and compressed, at all.
func BenchmarkLimit(b *testing.B) {
	rng := seeded(1)
	var payload []byte
	for range benchRows {
		payload = append(payload, jsonValue(rng, 100)...)
	}
	dst := make([]byte, s2.MaxEncodedLen(len(payload)))
	b.Run("memcpy", func(b *testing.B) {
		rowsPerCPU(b, func() { copy(dst, payload) })
	})
	b.Run("snappy", func(b *testing.B) {
		rowsPerCPU(b, func() {
			for at := 0; at < len(payload); at += pageBytes {
				s2.EncodeSnappy(dst, payload[at:min(at+pageBytes, len(payload))])
			}
		})
	})
}
