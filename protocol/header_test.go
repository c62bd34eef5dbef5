package protocol

import (
	"bytes"
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// requests calls f with every request and version that kmsg has.
func requests(f func(kmsg.Request)) {
	for key := int16(0); key <= kmsg.MaxKey; key++ {
		req := kmsg.RequestForKey(key)
		if req == nil {
			continue
		}
		for v := int16(0); v <= req.MaxVersion(); v++ {
			req = kmsg.RequestForKey(key)
			req.SetVersion(v)
			f(req)
		}
	}
}

func TestHeadersOfEveryRequestAsFranzGoWritesThem(t *testing.T) {
	for _, id := range []string{"", "me", string(make([]byte, 32767))} {
		format := kmsg.NewRequestFormatter(kmsg.FormatterClientID(id))
		if id == "" {
			format = kmsg.NewRequestFormatter() // null
		}
		requests(func(req kmsg.Request) {
			in := format.AppendRequest(nil, req, 1234567)[sizeLen:]
			h, body, err := ParseHeader(in)
			want, wantBody := Header{req.Key(), req.GetVersion(), 1234567, id}, req.AppendTo(nil)
			if req.Key() == keyControlledShutdown && req.GetVersion() == 0 {
				want.ClientID, wantBody = "", nil // franz-go leaves the body out too
			}
			if err != nil || h != want || !bytes.Equal(body, wantBody) {
				t.Fatalf("%s v%d: %+v, %v", kmsg.NameForKey(req.Key()), req.GetVersion(), h, err)
			}
		})
	}
}

func TestHeaders(t *testing.T) {
	cases := []struct {
		name string
		in   []byte
		want error
		body string
	}{
		{"nothing", nil, ErrBadHeader, ""},
		{"cut", []byte{0, 3, 0, 1, 0, 0, 0}, ErrBadHeader, ""},
		{"no client id", []byte{0, 3, 0, 1, 0, 0, 0, 5}, ErrBadHeader, ""},
		{"client id cut", []byte{0, 3, 0, 1, 0, 0, 0, 5, 0, 2, 'x'}, ErrBadHeader, ""},
		{"null client id", []byte{0, 3, 0, 1, 0, 0, 0, 5, 255, 255, 'b'}, nil, "b"},
		{"empty client id", []byte{0, 3, 0, 1, 0, 0, 0, 5, 0, 0, 'b'}, nil, "b"},
		{"key -1", []byte{255, 255, 0, 1, 0, 0, 0, 5, 0, 0}, ErrUnknownAPI, ""},
		{"key 95", []byte{0, 95, 0, 1, 0, 0, 0, 5, 0, 0}, ErrUnknownAPI, ""},
		{"tags skipped", []byte{0, 3, 0, 9, 0, 0, 0, 5, 0, 0, 2, 0, 1, 'x', 5, 0, 'b'}, nil, "b"},
		{"no tag count", []byte{0, 3, 0, 9, 0, 0, 0, 5, 0, 0}, ErrBadHeader, ""},
		{"tag cut", []byte{0, 3, 0, 9, 0, 0, 0, 5, 0, 0, 1, 0, 9, 'x'}, ErrBadHeader, ""},
		{"2^32-1 tags", []byte{0, 3, 0, 9, 0, 0, 0, 5, 0, 0, 255, 255, 255, 255, 15, 0, 0}, ErrBadHeader, ""},
		{"tag of 2^32-1 bytes", []byte{0, 3, 0, 9, 0, 0, 0, 5, 0, 0, 1, 0, 255, 255, 255, 255, 15}, ErrBadHeader, ""},
		{"ApiVersions v2", []byte{0, 18, 0, 2, 0, 0, 0, 5, 0, 0, 'b'}, nil, "b"},
		{"ApiVersions v127", []byte{0, 18, 0, 127, 0, 0, 0, 5, 0, 0, 0, 'b'}, nil, "b"},
		{"ApiVersions v127, tags broken", []byte{0, 18, 0, 127, 0, 0, 0, 5, 0, 0, 9}, ErrBadHeader, ""},
		{"ApiVersions v-1", []byte{0, 18, 255, 255, 0, 0, 0, 5, 0, 0, 'b'}, nil, "b"},
	}
	for _, c := range cases {
		_, body, err := ParseHeader(c.in)
		if !errors.Is(err, c.want) || string(body) != c.body {
			t.Errorf("%s: body %q, %v, want %q, %v", c.name, body, err, c.body, c.want)
		}
	}
}

func TestResponseHeadersAreFlexibleExceptOfApiVersions(t *testing.T) {
	requests(func(req kmsg.Request) {
		resp := req.ResponseKind()
		resp.SetVersion(req.GetVersion())
		got := AppendResponse([]byte("x"), 7, resp)
		want := []byte{'x', 0, 0, 0, 0, 0, 0, 0, 7}
		if req.IsFlexible() && req.Key() != 18 {
			want = append(want, 0)
		}
		want = resp.AppendTo(want)
		want[4], want[3] = byte(len(want)-5), byte((len(want)-5)>>8)
		if !bytes.Equal(got, want) {
			t.Fatalf("%s v%d: %x, want %x", kmsg.NameForKey(req.Key()), req.GetVersion(), got, want)
		}
	})
}
