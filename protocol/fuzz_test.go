package protocol

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// FuzzFrame: what is read is what was sent, and nothing beyond the limit.
func FuzzFrame(f *testing.F) {
	f.Add(frame(8))
	f.Add(frame(5000))
	f.Add([]byte{0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, in []byte) {
		r := iotest.HalfReader(bytes.NewReader(in))
		at := 0
		for {
			p, err := ReadPreamble(r, 10_000)
			var got []byte
			if err == nil {
				got, err = p.ReadRest(r)
			}
			if err != nil {
				if err == io.EOF && at != len(in) {
					t.Fatalf("a clean end at %d of %d", at, len(in))
				}
				return
			}
			if at += sizeLen; !bytes.Equal(got, in[at:at+p.Size]) {
				t.Fatal("other bytes than sent")
			}
			at += p.Size
		}
	})
}

// FuzzHeader: no panic, and the body is the end of the frame.
func FuzzHeader(f *testing.F) {
	format := kmsg.NewRequestFormatter(kmsg.FormatterClientID("me"))
	for _, key := range []int16{0, 3, 7, 18} {
		req := kmsg.RequestForKey(key)
		req.SetVersion(req.MaxVersion())
		f.Add(format.AppendRequest(nil, req, 5)[sizeLen:])
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		h, body, err := ParseHeader(in)
		if err == nil && (!bytes.HasSuffix(in, body) || len(h.ClientID)+len(body) > len(in)) {
			t.Fatal("the body is not the end of the frame")
		}
	})
}

// FuzzBody: no panic in any request, memory in proportion to the input, and
// what decodes encodes again.
func FuzzBody(f *testing.F) {
	rng := rand.New(rand.NewPCG(1, 2))
	requests(func(req kmsg.Request) {
		f.Add(req.Key(), req.GetVersion(), filled(req, 1, rng))
	})
	f.Fuzz(func(t *testing.T, key, version int16, in []byte) {
		key = int16(uint16(key) % (kmsg.MaxKey + 1))
		if req := kmsg.RequestForKey(key); req != nil {
			version = int16(uint16(version) % uint16(req.MaxVersion()+1))
		}
		req, err := DecodeBody(Header{Key: key, Version: version}, in)
		if err != nil {
			if !errors.Is(err, ErrBadBody) {
				t.Fatal(err)
			}
			return
		}
		// Cheap enough to do always, and it walks all that was decoded.
		if again := req.AppendTo(nil); len(again) > 2*len(in)+100 {
			t.Fatalf("%d bytes decoded to %d", len(in), len(again))
		}
	})
}
