package record

import (
	"bytes"
	"io"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// walk reads all of a batch, whatever it holds.
func walk(b Batch, body []byte) (n int, err error) {
	it := b.Records(body)
	for it.Next() {
		n++
		r := it.Record()
		_, _ = len(r.Key), len(r.Value)
		for hs := r.Headers.All(); hs.Next(); {
			_ = hs.Header()
		}
	}
	return n, it.Err()
}

// FuzzCheck: what Check accepts reads without error, re-encodes to the same
// records, and passes again. The checksum is mended first, or nothing would
// get beyond it.
func FuzzCheck(f *testing.F) {
	for _, codec := range codecs {
		f.Add([]byte(build(f, Params{Codec: codec}, consecutive(40))))
		f.Add([]byte(edit(build(f, Params{Codec: codec, Producer: &Producer{1, 1, 1}}, odd()), put64(offBaseOffset, 0))))
	}
	f.Add([]byte(raw(1, 18, 0, 0, 0, 1, 1, 2, 2, 'k', 4)))
	f.Fuzz(func(t *testing.T, in []byte) {
		in = bytes.Clone(in) // a fuzz target must not change its input
		if b, _, err := Next(in); err == nil {
			b.setCRC()
			d := GetDecompressor()
			if body, err := d.Body(b, 1<<20); err == nil {
				_, _ = walk(b, body)
			}
			d.Release()
		}
		var d Decompressor
		c, err := Check(in, Rules{MaxBody: 1 << 20}, &d)
		if err != nil {
			if code(err) <= 0 {
				t.Fatalf("%v has no code", err)
			}
			return
		}
		if n, err := walk(c.Batch, c.Body); err != nil || n != int(c.Batch.NumRecords()) {
			t.Fatalf("%d records of %d, %v", n, c.Batch.NumRecords(), err)
		}
		c.Batch.SetCreateTime(c.MaxTimestamp)
		expected := read(t, c.Batch)
		var builder Builder
		builder.Reset(nil, Params{Codec: c.Batch.Attributes().Codec()})
		it := c.Batch.Records(c.Body)
		for it.Next() {
			r := it.Record()
			if !builder.Append(int64(r.OffsetDelta), r.Timestamp, r.Key, r.Value, r.Headers) {
				t.Fatal("the builder refused a record")
			}
		}
		again := builder.Finish()
		var d2 Decompressor
		if _, err := Check(again, Rules{}, &d2); err != nil {
			t.Fatal(err)
		}
		same(t, read(t, Batch(again)), expected)
	})
}

// reference decompresses by the libraries' own readers.
func reference(codec Codec, in []byte) (out []byte, err error) {
	var r io.Reader
	switch codec {
	case Gzip:
		r, err = gzip.NewReader(bytes.NewReader(in))
	case Snappy:
		if n, err := s2.DecodedLen(in); err != nil || n > 1<<20 {
			return nil, io.ErrUnexpectedEOF
		}
		return s2.Decode(nil, in)
	case LZ4:
		r = lz4.NewReader(bytes.NewReader(in))
	case Zstd:
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, err
		}
		defer d.Close()
		return d.DecodeAll(in, nil)
	}
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(r, 1<<20+1))
}

// FuzzDecompress: no panic, no output beyond the limit, and never an output that
// the codec's own library would not give for the same input.
func FuzzDecompress(f *testing.F) {
	for _, codec := range codecs[1:] {
		for _, src := range texts()[:5] {
			f.Add(int8(codec), pack(f, codec, src))
		}
	}
	f.Add(int8(LZ4), linkedLZ4(0x40))
	f.Add(int8(Snappy), appendSnappy(nil, []byte("framed")))
	f.Fuzz(func(t *testing.T, n int8, in []byte) {
		const limit = 64 << 10
		codec := Codec(uint8(n) % 5)
		var d Decompressor
		got, err := d.Decompress(codec, in, limit)
		if codec == None || err != nil {
			return
		}
		if len(got) > limit || cap(d.buf) > 4*limit+maxZstdBlock {
			t.Fatalf("%d bytes, buffer %d, limit %d", len(got), cap(d.buf), limit)
		}
		if codec == Snappy && bytes.HasPrefix(in, xerialMagic) {
			return
		}
		expected, err := reference(codec, in)
		if err != nil || !bytes.Equal(got, expected) {
			t.Fatalf("%v: %d bytes, the library %d, %v", codec, len(got), len(expected), err)
		}
	})
}

// FuzzRecords: the iterator is safe on any body and header.
func FuzzRecords(f *testing.F) {
	b := build(f, Params{}, odd())
	f.Add([]byte(b[:HeaderSize]), []byte(b[HeaderSize:]))
	f.Fuzz(func(t *testing.T, header, body []byte) {
		b := append(bytes.Clone(header), make([]byte, HeaderSize)...)
		n, err := walk(Batch(b), body)
		if n*minRecordSize > len(body) {
			t.Fatalf("%d records from %d bytes, %v", n, len(body), err)
		}
	})
}
