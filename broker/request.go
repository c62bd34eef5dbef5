package broker

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// request is one request as its handler sees it: decoded, of a version that the
// table of APIs serves.
type request struct {
	api         *api
	version     int16
	correlation int32
	clientID    string // empty if the client gave none
	body        kmsg.Request

	// listener is the one that the request came in on: answers that name this
	// broker name it as that listener advertises it.
	listener *Listener
	// clientHost is the client's IP address as text, without a port.
	clientHost string
	received   time.Time
	// eager tells that this connection seems to send nothing more until it is
	// answered; see conn.eager.
	eager bool
	// unsupported is an ApiVersions request of a version from the future (KIP-511).
	// Its body is not decoded, version is 0.
	unsupported bool

	// held is the memory budget that the request's bytes take up until it is answered.
	held held
}

// frame is what the head of a frame says.
type frame struct {
	api         *api
	version     int16
	flexible    bool // of the header
	unsupported bool
	rest        int // bytes to come
}

// frame judges the head of a frame; its errors are errGarbage.
func (b *Broker) frame(head [headSize]byte) (frame, error) {
	size := int32(binary.BigEndian.Uint32(head[:]))
	key := int16(binary.BigEndian.Uint16(head[4:]))
	version := int16(binary.BigEndian.Uint16(head[6:]))
	if size < minFrame || size > b.config.MaxFrame {
		return frame{}, fmt.Errorf("%w: frame of %d bytes, at most %d are allowed", errGarbage, size, b.config.MaxFrame)
	}
	if key < 0 || int(key) >= len(b.byKey) || b.byKey[key] == nil {
		return frame{}, fmt.Errorf("%w: API key %d", errGarbage, key)
	}
	f := frame{api: b.byKey[key], version: version, rest: int(size) - (headSize - 4)}
	if f.api.key != kmsg.Produce && size > b.config.MaxOtherFrame {
		return frame{}, fmt.Errorf("%w: %s of %d bytes, at most %d are allowed", errGarbage, f.api.key.Name(), size, b.config.MaxOtherFrame)
	}
	switch {
	case version >= f.api.min && version <= f.api.max:
		body := f.api.key.Request()
		body.SetVersion(version)
		f.flexible = body.IsFlexible()
	case f.api.key == kmsg.ApiVersions && version > f.api.max:
		f.version, f.flexible, f.unsupported = 0, true, true
	default:
		return frame{}, fmt.Errorf("%w: %s version %d, served are %d to %d", errGarbage, f.api.key.Name(), version, f.api.min, f.api.max)
	}
	return f, nil
}

// decode makes the bytes behind a frame's head a request. The body is walked
// first, as decoders trust it too far; see shape.
func (b *Broker) decode(f frame, r *request, bytes []byte) error {
	h, body, err := parseHeader(bytes, f.flexible)
	if err != nil {
		return err
	}
	r.correlation, r.clientID = h.correlation, h.clientID
	r.body = f.api.key.Request()
	r.body.SetVersion(f.version)
	if f.unsupported {
		return nil
	}
	if err := shapes[f.api.key].walk(body, f.version); err != nil {
		return fmt.Errorf("%w: %s version %d: %w", errGarbage, f.api.key.Name(), f.version, err)
	}
	if err := r.body.ReadFrom(body); err != nil {
		return fmt.Errorf("%w: %s version %d: %w", errGarbage, f.api.key.Name(), f.version, err)
	}
	return nil
}
