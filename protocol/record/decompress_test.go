package record

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kgo"
)

// texts are inputs of sizes around the block sizes of the codecs.
func texts() [][]byte {
	rng := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 300<<10)
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	text := bytes.Repeat([]byte(`{"some":"text","n":12345} `), 12<<10)
	return [][]byte{{}, {1}, text[:50], text[:1000], text[:32<<10], text[:32<<10+1], text[:64<<10], text[:64<<10+1],
		text, noise, append(bytes.Clone(noise[:70<<10]), text...), make([]byte, 1<<20)}
}

// pack compresses by franz-go's producer.
func pack(t testing.TB, codec Codec, src []byte) []byte {
	t.Helper()
	if codec == None {
		return src
	}
	of := []kgo.CompressionCodec{kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()}
	c, err := kgo.DefaultCompressor(of[codec])
	if err != nil {
		t.Fatal(err)
	}
	out, _ := c.Compress(new(bytes.Buffer), src)
	return bytes.Clone(out)
}

func TestEveryCodecReadsWhatFranzGoWritesAndTheOtherWayRound(t *testing.T) {
	var d Decompressor
	var c Compressor
	theirs := kgo.DefaultDecompressor()
	for _, codec := range codecs {
		for _, src := range texts() {
			got, err := d.Decompress(codec, pack(t, codec, src), len(src))
			if err != nil || !bytes.Equal(got, src) {
				t.Fatalf("%v, %d bytes: got %d bytes, %v", codec, len(src), len(got), err)
			}
			ours, err := c.Compress([]byte("before"), codec, src)
			if err != nil || string(ours[:6]) != "before" {
				t.Fatal(codec, err)
			}
			if codec == Snappy && len(src) == 0 {
				continue // franz-go reads a framing without blocks as a bare block
			}
			got, err = theirs.Decompress(ours[6:], kgo.CompressionCodecType(codec))
			if err != nil || !bytes.Equal(got, src) {
				t.Fatalf("%v, %d bytes: franz-go got %d bytes, %v", codec, len(src), len(got), err)
			}
			got, err = d.Decompress(codec, ours[6:], len(src))
			if err != nil || !bytes.Equal(got, src) {
				t.Fatalf("%v, %d bytes: we got %d bytes of ours, %v", codec, len(src), len(got), err)
			}
		}
	}
}

func TestTheLimitIsExact(t *testing.T) {
	var d Decompressor
	for _, codec := range codecs[1:] {
		for _, src := range texts()[1:] {
			packed := pack(t, codec, src)
			for _, less := range []int{1, len(src)/2 + 1} {
				if got, err := d.Decompress(codec, packed, len(src)-less); !errors.Is(err, ErrTooLarge) {
					t.Fatalf("%v, %d bytes into %d: %d bytes, %v", codec, len(src), len(src)-less, len(got), err)
				}
			}
		}
	}
}

func TestLZ4FramesOfAllShapes(t *testing.T) {
	var d Decompressor
	for _, size := range []lz4.BlockSize{lz4.Block64Kb, lz4.Block256Kb, lz4.Block1Mb, lz4.Block4Mb} {
		for _, sums := range []bool{false, true} {
			for _, src := range texts() {
				var out bytes.Buffer
				w := lz4.NewWriter(&out)
				if err := w.Apply(lz4.BlockSizeOption(size), lz4.BlockChecksumOption(sums), lz4.ChecksumOption(sums), lz4.SizeOption(uint64(len(src)))); err != nil {
					t.Fatal(err)
				}
				if _, err := w.Write(src); err != nil {
					t.Fatal(err)
				}
				if err := w.Close(); err != nil {
					t.Fatal(err)
				}
				got, err := d.Decompress(LZ4, out.Bytes(), len(src))
				if err != nil || !bytes.Equal(got, src) {
					t.Fatalf("block size %v, %d bytes: %d bytes, %v", size, len(src), len(got), err)
				}
				if !sums || len(src) == 0 {
					continue
				}
				bad := bytes.Clone(out.Bytes())
				bad[len(bad)-1] ^= 1
				if _, err := d.Decompress(LZ4, bad, len(src)); !errors.Is(err, ErrInvalid) {
					t.Fatalf("a wrong content checksum: %v", err)
				}
			}
		}
	}
}

// linkedLZ4 is "abcdefgh" in one stored block and then, in a block that refers
// back to it, the same again with an end.
func linkedLZ4(flags byte) []byte {
	frame := []byte{0x04, 0x22, 0x4d, 0x18, flags, 0x40, 0}
	frame[6] = byte(xxh32(frame[4:6]) >> 8)
	frame = append(frame, 8, 0, 0, 0x80)
	frame = append(frame, "abcdefgh"...)
	block := []byte{0x04, 8, 0, 0x50, 'v', 'w', 'x', 'y', 'z'} // match of 8 at distance 8; 5 literals
	frame = binary.LittleEndian.AppendUint32(frame, uint32(len(block)))
	frame = append(frame, block...)
	return append(frame, 0, 0, 0, 0)
}

func TestLinkedLZ4BlocksReferToTheOnesBefore(t *testing.T) {
	var d Decompressor
	got, err := d.Decompress(LZ4, linkedLZ4(0x40), 100)
	if err != nil || string(got) != "abcdefghabcdefghvwxyz" {
		t.Fatalf("%q, %v", got, err)
	}
	if _, err := d.Decompress(LZ4, linkedLZ4(0x60), 1<<20); !errors.Is(err, ErrInvalid) {
		t.Fatalf("independent blocks may not: %v", err)
	}
}

func TestBareAndFramedSnappy(t *testing.T) {
	var d Decompressor
	for _, src := range texts() {
		got, err := d.Decompress(Snappy, s2.EncodeSnappy(nil, src), len(src))
		if err != nil || !bytes.Equal(got, src) {
			t.Fatalf("bare: %d bytes of %d, %v", len(got), len(src), err)
		}
	}
	if ours := appendSnappy(nil, []byte("x")); !bytes.HasPrefix(ours, []byte("\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x03")) {
		t.Fatalf("%x", ours)
	}
}

func TestGzipMembersAreOneStream(t *testing.T) {
	var out bytes.Buffer
	for _, s := range []string{"one ", "two"} {
		w := gzip.NewWriter(&out)
		_, _ = w.Write([]byte(s))
		_ = w.Close()
	}
	var d Decompressor
	if got, err := d.Decompress(Gzip, out.Bytes(), 7); err != nil || string(got) != "one two" {
		t.Fatalf("%q, %v", got, err)
	}
}

func TestZstdFramesOfAllShapes(t *testing.T) {
	var d Decompressor
	for _, src := range texts() {
		var stream bytes.Buffer
		w, err := zstd.NewWriter(&stream, zstd.WithEncoderConcurrency(1)) // no content size, as the Java producer
		if err != nil {
			t.Fatal(err)
		}
		_, _ = w.Write(src)
		_ = w.Close()
		sized := w.EncodeAll(src, nil)
		skippable := append([]byte{0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0}, "abc"...)
		for name, parts := range map[string][][]byte{
			"stream": {stream.Bytes()}, "sized": {sized}, "skippable": {skippable, sized},
			"sized twice": {sized, sized}, "stream twice": {stream.Bytes(), stream.Bytes()}, "both": {sized, stream.Bytes()},
		} {
			expected := bytes.Repeat(src, len(parts))
			if name == "skippable" {
				expected = src
			}
			got, err := d.Decompress(Zstd, bytes.Join(parts, nil), len(expected))
			if err != nil || !bytes.Equal(got, expected) {
				t.Fatalf("%s, %d bytes: %d bytes, %v", name, len(src), len(got), err)
			}
		}
	}
}

// zeros returns n zero bytes compressed as well as the codec can.
func zeros(t testing.TB, codec Codec, n int) []byte {
	t.Helper()
	var c Compressor
	out, err := c.Compress(nil, codec, make([]byte, n))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// lie changes what compressed data claims to expand to.
func lie(codec Codec, packed []byte, claim uint64) []byte {
	packed = bytes.Clone(packed)
	switch codec {
	case Gzip:
		binary.LittleEndian.PutUint32(packed[len(packed)-4:], uint32(claim))
	case Snappy:
		return binary.AppendUvarint(nil, claim) // a bare block of nothing
	case LZ4:
		head := append(binary.LittleEndian.AppendUint32(nil, lz4Magic), 0x68, 0x40)
		head = binary.LittleEndian.AppendUint64(head, claim)
		head = append(head, byte(xxh32(head[4:])>>8))
		return append(head, packed[7:]...)
	case Zstd:
		// magic, single segment with 8 bytes of content size, an empty last block
		head := append([]byte{0x28, 0xb5, 0x2f, 0xfd}, 0xe0)
		return append(binary.LittleEndian.AppendUint64(head, claim), 1, 0, 0)
	}
	return packed
}

func TestClaimedLengthsAreNotBelieved(t *testing.T) {
	for _, codec := range codecs[1:] {
		for _, claim := range []uint64{1 << 20, 60 << 20, 1<<32 - 1, 1 << 40, 1<<64 - 1} {
			src := lie(codec, zeros(t, codec, 1000), claim)
			var d Decompressor
			if out, err := d.Decompress(codec, src, 64<<20); err == nil {
				t.Fatalf("%v claiming %d: %d bytes", codec, claim, len(out))
			}
			if cap(d.buf) > 256<<10 {
				t.Errorf("%v claiming %d: %d bytes allocated for %d", codec, claim, cap(d.buf), len(src))
			}
		}
	}
}

func TestBombsStopAtTheLimit(t *testing.T) {
	const limit = 1 << 20
	for _, codec := range codecs[1:] {
		bomb := zeros(t, codec, 16<<20)
		if codec == Gzip { // its trailer would give it away
			bomb = lie(codec, bomb, 5)
		}
		var d Decompressor
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := d.Decompress(codec, bomb, limit)
		runtime.ReadMemStats(&after)
		if !errors.Is(err, ErrTooLarge) {
			t.Errorf("%v: %v", codec, err)
		}
		if spent := after.TotalAlloc - before.TotalAlloc; spent > 6*limit {
			t.Errorf("%v: %d bytes allocated, limit %d", codec, spent, limit)
		}
	}
}

func TestCutOrAlteredInputNeverPanicsNorPassesForOther(t *testing.T) {
	src := bytes.Repeat([]byte("some text, "), 300)
	var d Decompressor
	for _, codec := range codecs[1:] {
		packed := pack(t, codec, src)
		for cut := range packed {
			if got, err := d.Decompress(codec, packed[:cut], 1<<20); err == nil && len(got) > 0 && codec != Snappy {
				t.Fatalf("%v cut at %d: %d bytes", codec, cut, len(got))
			}
		}
		for i := range packed {
			bad := bytes.Clone(packed)
			bad[i] ^= 0x55
			_, _ = d.Decompress(codec, bad, 1<<20)
		}
		got, err := d.Decompress(codec, packed, 1<<20)
		if err != nil || !bytes.Equal(got, src) {
			t.Fatalf("%v after bad input: %v", codec, err)
		}
	}
}

func TestXXH32KnownValues(t *testing.T) {
	for in, expected := range map[string]uint32{ // xxHash's own test vectors, seed 0
		"": 0x02cc5d05, "a": 0x550d7456, "abc": 0x32d153ff,
		"Nobody inspects the spammish repetition": 0xe2293b2f,
	} {
		if got := xxh32([]byte(in)); got != expected {
			t.Errorf("%q: %08x, want %08x", in, got, expected)
		}
	}
}

func TestPooledDecompressorsDropLargeBuffers(t *testing.T) {
	d := GetDecompressor()
	if _, err := d.Decompress(LZ4, zeros(t, LZ4, keepBuffer+1), DefaultMaxBody); err != nil {
		t.Fatal(err)
	}
	d.Release()
	if d.buf != nil {
		t.Errorf("%d bytes kept", cap(d.buf))
	}
}

func TestUnknownCodecs(t *testing.T) {
	var d Decompressor
	var c Compressor
	if _, err := d.Decompress(5, nil, 1); !errors.Is(err, ErrCodec) {
		t.Error(err)
	}
	if _, err := c.Compress(nil, 7, nil); !errors.Is(err, ErrCodec) {
		t.Error(err)
	}
	if Codec(6).String() != "codec(6)" {
		t.Error(Codec(6))
	}
}

func TestTheFormatIsWhatItWas(t *testing.T) {
	const golden = "00000000000003e8" + "00000043" + "00000000" + "02" + "68cff2af" + // offset, length, epoch, magic, CRC
		"0000" + "00000001" + "0000018bcfe56800" + "0000018bcfe56805" + // attributes, last delta, timestamps
		"ffffffffffffffff" + "ffff" + "ffffffff" + "00000002" + // producer, count
		"0e" + "00" + "00" + "00" + "026b" + "01" + "00" + // length, attributes, deltas, key, value, headers
		"12" + "00" + "0a" + "02" + "01" + "00" + "02" + "0268" + "01"
	b := build(t, Params{}, []want{
		{offset: 1000, timestamp: 1_700_000_000_000, key: []byte("k")},
		{offset: 1001, timestamp: 1_700_000_000_005, value: []byte{}, headers: []Header{{Key: []byte("h")}}},
	})
	if got := hex.EncodeToString(b); got != golden {
		t.Fatalf("got  %s\nwant %s", got, golden)
	}
}
