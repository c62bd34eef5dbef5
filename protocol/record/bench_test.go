package record

import (
	"fmt"
	"testing"
)

// payload returns n records with 100-byte values that look like JSON, without
// repeating: what the numbers in storage notes were measured with.
func payload(n int) []want {
	rs := make([]want, n)
	seed := uint64(1)
	for i := range rs {
		seed = seed*6364136223846793005 + 1442695040888963407
		v := fmt.Appendf(nil, `{"id":%010d,"user":"u%08x","amount":%d.%02d,"status":"paid","note":"`, i, seed>>32, seed>>50, seed>>40%100)
		for len(v) < 98 {
			v = append(v, "abcdefgh"[seed>>(uint(len(v))%56)&7])
		}
		rs[i] = want{offset: int64(i), timestamp: 1_700_000_000_000 + int64(i/10), value: append(v, `"}`...)}
	}
	return rs
}

// rows reports records per second of the benchmark, n per iteration.
func rows(b *testing.B, n int) {
	b.ReportMetric(float64(b.N)*float64(n)/b.Elapsed().Seconds()/1e6, "Mrows/s")
	b.ReportAllocs()
}

const perBatch = 149 // records of 100 bytes in a Java producer's 16 KiB batch

func BenchmarkChecksum(b *testing.B) {
	batch := build(b, Params{}, payload(perBatch))
	for b.Loop() {
		if !batch.Intact() {
			b.Fatal()
		}
	}
	rows(b, perBatch)
}

func BenchmarkRecords(b *testing.B) {
	batch := build(b, Params{}, payload(perBatch))
	var sum int
	for b.Loop() {
		for it := batch.Records(batch.Payload()); it.Next(); {
			sum += len(it.Record().Value)
		}
	}
	rows(b, perBatch)
}

func BenchmarkCheck(b *testing.B) {
	for _, codec := range codecs {
		b.Run(codec.String(), func(b *testing.B) {
			batch := build(b, Params{Codec: codec}, payload(perBatch))
			var d Decompressor
			for b.Loop() {
				if _, err := Check(batch, Rules{}, &d); err != nil {
					b.Fatal(err)
				}
			}
			rows(b, perBatch)
		})
	}
}

func BenchmarkDecompress(b *testing.B) {
	for _, codec := range codecs[1:] {
		b.Run(codec.String(), func(b *testing.B) {
			batch := build(b, Params{Codec: codec}, payload(perBatch))
			var d Decompressor
			for b.Loop() {
				if _, err := d.Body(batch, DefaultMaxBody); err != nil {
					b.Fatal(err)
				}
			}
			rows(b, perBatch)
		})
	}
}

func BenchmarkBuild(b *testing.B) {
	for _, codec := range codecs {
		b.Run(codec.String(), func(b *testing.B) {
			records := payload(perBatch)
			var builder Builder
			var out []byte
			for b.Loop() {
				builder.Reset(out[:0], Params{Codec: codec})
				for i := range records {
					r := &records[i]
					builder.Append(r.offset, r.timestamp, r.key, r.value, Headers{})
				}
				out = builder.Finish()
			}
			rows(b, perBatch)
		})
	}
}

func BenchmarkXXH32(b *testing.B) {
	src := make([]byte, 64<<10)
	b.SetBytes(int64(len(src)))
	for b.Loop() {
		xxh32(src)
	}
}

// BenchmarkLimit is how fast the batch can be copied at all.
func BenchmarkLimit(b *testing.B) {
	b.Run("memcpy", func(b *testing.B) {
		batch := build(b, Params{}, payload(perBatch))
		dst := make([]byte, len(batch))
		for b.Loop() {
			copy(dst, batch)
		}
		rows(b, perBatch)
	})
}
