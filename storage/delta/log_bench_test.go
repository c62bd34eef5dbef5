package delta

import (
	"fmt"
	"testing"
	"time"
)

// benchEntry is an append as a topic of six partitions makes it.
func benchEntry(version int64) *Entry {
	e := testAppend(version, "b1f2c3d4-0000-4000-8000-000000000000")
	e.Txns = nil
	for p := range 6 {
		e.Txns = append(e.Txns, Txn{AppID: fmt.Sprintf("5f0c2f1e-0a51-4d0e-9d0a-6d7c2b1c0001/next/%d", p), Version: version * 100, LastUpdated: version})
	}
	e.Adds[0].Path = fmt.Sprintf("data/2026-11-22/%012d-b1f2c3d4-0000-4000-8000-000000000000.parquet", version)
	e.Adds[0].Stats = `{"numRecords":500,"minValues":{"partition":0,"offset":12345,"timestamp":"2026-11-22T07:06:22.457Z"},"maxValues":{"partition":5,"offset":45678,"timestamp":"2026-11-22T07:06:22.458Z"},"nullCount":{"partition":0,"offset":0,"timestamp":0,"key":0,"value":0}}`
	e.Info.Sluice = []byte(`{"p":[[1,2,3,4,5],[6,7,8,9,10],[11,12,13,14,15]]}`)
	return e
}

func BenchmarkMarshalEntry(b *testing.B) {
	e := benchEntry(7)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.Marshal(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseEntry(b *testing.B) {
	body, err := benchEntry(7).Marshal()
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseEntry(7, body); err != nil {
			b.Fatal(err)
		}
	}
}

// benchSnapshot has a file per version.
func benchSnapshot(b *testing.B, files int64) *Snapshot {
	b.Helper()
	s := NewSnapshot()
	if err := s.Apply(testFirst("a")); err != nil {
		b.Fatal(err)
	}
	for s.Version < files {
		if err := s.Apply(benchEntry(s.Version + 1)); err != nil {
			b.Fatal(err)
		}
	}
	return s
}

// Applying an entry must cost the same however many files there are.
func BenchmarkApply(b *testing.B) {
	for _, files := range []int64{100, 100_000} {
		b.Run(fmt.Sprintf("files=%d", files), func(b *testing.B) {
			s := benchSnapshot(b, files)
			e := benchEntry(files)
			b.ReportAllocs()
			for b.Loop() {
				e.Version = s.Version + 1
				if err := s.Apply(e); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkClone(b *testing.B) {
	s := benchSnapshot(b, 10_000)
	b.ReportAllocs()
	for b.Loop() {
		s.Clone()
	}
}

func BenchmarkCheckpoint(b *testing.B) {
	for _, files := range []int64{10_000, 100_000} {
		s := benchSnapshot(b, files)
		_, body, err := encodeCheckpoint(s, time.Now())
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("write/files=%d", files), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := encodeCheckpoint(s, time.Now()); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(body)), "bytes")
		})
		b.Run(fmt.Sprintf("read/files=%d", files), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := testDecode(s.Version, body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// Opening a table with a checkpoint of 10,000 files and a tail of 200 entries.
func BenchmarkOpen(b *testing.B) {
	store, l := newMemLog(Options{})
	s := benchSnapshot(b, 10_000)
	if err := l.WriteCheckpoint(b.Context(), s, time.Now()); err != nil {
		b.Fatal(err)
	}
	for version := s.Version; version < s.Version+200; version++ {
		body, err := benchEntry(version).Marshal()
		if err != nil {
			b.Fatal(err)
		}
		if _, err := store.Put(b.Context(), EntryKey(testTable, version), body); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if got, err := l.Open(b.Context(), nil); err != nil || got.Version != s.Version+199 {
			b.Fatal(got, err)
		}
	}
}

// BenchmarkLimit is how fast an entry's bytes can be copied at all.
func BenchmarkLimit(b *testing.B) {
	b.Run("memcpy", func(b *testing.B) {
		body, err := benchEntry(7).Marshal()
		if err != nil {
			b.Fatal(err)
		}
		dst := make([]byte, len(body))
		b.SetBytes(int64(len(body)))
		for b.Loop() {
			copy(dst, body)
		}
	})
}
