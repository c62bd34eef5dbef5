package broker

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/twmb/franz-go/pkg/kbin"
)

// errGarbage: the client does not speak the Kafka protocol, or not as this
// broker does. Its connection is closed without an answer, as Kafka does.
var errGarbage = errors.New("not a request that is served here")

const (
	// headSize is the length of a frame's size, API key and API version, with
	// which every request begins.
	headSize = 4 + 2 + 2
	// minFrame is the smallest size that a frame can claim: key, version,
	// correlation id and the length of the client id.
	minFrame = 2 + 2 + 4 + 2
	// growStep is what is allocated for a frame before its bytes are here: a
	// claimed size costs the client its bytes, not the broker its memory.
	growStep = 1 << 20
	// minRate is the rate in bytes/s below which a client is taken for one that
	// holds a connection on purpose, see transferTimeout.
	minRate = 128 << 10
)

// transferTimeout is how long size bytes may take on their way: a base for the
// round trips, and what a slow but honest link needs.
func transferTimeout(base time.Duration, size int) time.Duration {
	return base + time.Duration(size)*time.Second/minRate
}

// readBody reads the n bytes that are left of a frame into memory of their own.
func readBody(r io.Reader, n int) ([]byte, error) {
	b := make([]byte, min(n, growStep))
	for read := 0; ; {
		got, err := io.ReadFull(r, b[read:])
		read += got
		if err != nil {
			return nil, err
		}
		if read == n {
			return b, nil
		}
		grown := make([]byte, min(n, 4*len(b)))
		copy(grown, b)
		b = grown
	}
}

// header is a request header, versions 1 and 2, without the API key and version.
type header struct {
	correlation int32
	clientID    string
}

// parseHeader splits a frame, from behind its head, into header and body. A
// flexible header (version 2, KIP-482) ends with tags, none of which is known.
func parseHeader(b []byte, flexible bool) (header, []byte, error) {
	r := kbin.Reader{Src: b}
	h := header{correlation: r.Int32()}
	if id := r.NullableString(); id != nil {
		h.clientID = *id
	}
	if flexible {
		for tags := r.Uvarint(); tags > 0 && r.Ok(); tags-- {
			r.Uvarint()
			r.Span(int(r.Uvarint()))
		}
	}
	if err := r.Complete(); err != nil {
		return header{}, nil, fmt.Errorf("%w: header: %w", errGarbage, err)
	}
	return h, r.Src, nil
}
