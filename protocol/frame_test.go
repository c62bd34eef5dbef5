package protocol

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"runtime"
	"testing"
	"testing/iotest"
)

// frame returns a request frame of size bytes: Produce v9, then 0, 1, 2, ...
func frame(size int) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(size))
	b = append(b, 0, 0, 0, 9)
	for i := keyLen; i < size; i++ {
		b = append(b, byte(i))
	}
	return b
}

func TestAFrameArrivesWholeHoweverItIsCut(t *testing.T) {
	for _, size := range []int{8, 9, firstChunk - 1, firstChunk, firstChunk + 1, growth * firstChunk, growth*firstChunk + 1, 1 << 20} {
		for name, cut := range map[string]func(io.Reader) io.Reader{
			"whole": func(r io.Reader) io.Reader { return r }, "halves": iotest.HalfReader,
			"bytes": iotest.OneByteReader, "with the end": iotest.DataErrReader,
		} {
			in := append(frame(size), "next"...)
			r := cut(bytes.NewReader(in))
			p, err := ReadPreamble(r, size)
			if err != nil || p != (Preamble{Size: size, Key: 0, Version: 9}) {
				t.Fatalf("%s: %+v, %v", name, p, err)
			}
			got, err := p.ReadRest(r)
			if err != nil || !bytes.Equal(got, in[sizeLen:len(in)-4]) || cap(got) > size+8 {
				t.Fatalf("%s: %d bytes of %d (capacity %d), %v", name, len(got), size, cap(got), err)
			}
			if rest, _ := io.ReadAll(r); string(rest) != "next" {
				t.Fatalf("%s: %q is left", name, rest)
			}
		}
	}
}

func TestFramesThatCannotBeARequestAreRefusedAtOnce(t *testing.T) {
	for _, c := range []struct {
		size uint32
		want error
	}{
		{0, ErrBadFrame}, {7, ErrBadFrame}, {1<<32 - 1, ErrBadFrame}, {1 << 31, ErrBadFrame},
		{1001, ErrFrameTooLarge}, {1<<31 - 1, ErrFrameTooLarge},
		{0x16030100, ErrFrameTooLarge}, // the first bytes of TLS
		{0x47455420, ErrFrameTooLarge}, // "GET "
	} {
		r := bytes.NewReader(binary.BigEndian.AppendUint32(nil, c.size))
		if _, err := ReadPreamble(r, 1000); !errors.Is(err, c.want) {
			t.Errorf("size %d: %v, want %v", int32(c.size), err, c.want)
		}
	}
}

func TestTheEndOfAConnectionIsCleanOnlyBetweenFrames(t *testing.T) {
	in := frame(10_000)
	for cut := range in {
		if cut > 20 && cut%997 != 0 {
			continue
		}
		r := bytes.NewReader(in[:cut])
		p, err := ReadPreamble(r, DefaultMaxFrame)
		if err == nil {
			_, err = p.ReadRest(r)
		}
		want := io.ErrUnexpectedEOF
		if cut == 0 {
			want = io.EOF
		}
		if err != want {
			t.Errorf("cut at %d: %v, want %v", cut, err, want)
		}
	}
}

// allocated returns the bytes that f allocates.
func allocated(f func()) int {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return int(after.TotalAlloc - before.TotalAlloc)
}

func TestAClaimedSizeIsNotAllocatedBeforeItArrives(t *testing.T) {
	for _, sent := range []int{12, 5000, 100_000, 1 << 20} {
		in := binary.BigEndian.AppendUint32(nil, 100<<20)
		in = append(in, make([]byte, sent)...)
		got := allocated(func() {
			r := bytes.NewReader(in)
			p, err := ReadPreamble(r, DefaultMaxFrame)
			if err == nil {
				_, err = p.ReadRest(r)
			}
			if err != io.ErrUnexpectedEOF {
				t.Fatal(err)
			}
		})
		if most := 6*sent + 2*firstChunk; got > most {
			t.Errorf("%d bytes allocated for %d received", got, sent)
		}
	}
}
