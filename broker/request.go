package broker

import (
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"sluice/protocol"
	"sluice/storage"
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
	// sender is what is known of the connection, if this is a Produce; see pace.
	sender storage.Sender
	// unsupported is an ApiVersions request of a version from the future (KIP-511).
	// Its body is not decoded, version is 0.
	unsupported bool

	// held is the memory budget that the request takes up until its answer is encoded,
	// large the same within largeMemory, and answer that of its answer until it is sent.
	held   held
	large  held
	answer held
}

// release gives back what the request itself takes up.
func (r *request) release() {
	r.large.release()
	r.held.release()
}

// errGarbage: the client does not speak the Kafka protocol, or not as this
// broker does. Its connection is closed without an answer, as Kafka does.
var errGarbage = errors.New("not a request that is served here")

// judge finds the API of a request by its first bytes, before memory is taken for
// the rest. unsupported is a version of ApiVersions from the future.
func (b *Broker) judge(p protocol.Preamble) (a *api, unsupported bool, err error) {
	if p.Key < 0 || int(p.Key) >= len(b.byKey) || b.byKey[p.Key] == nil {
		return nil, false, fmt.Errorf("%w: API key %d", errGarbage, p.Key)
	}
	a = b.byKey[p.Key]
	if a.key != kmsg.Produce && p.Size > int(b.config.MaxOtherFrame) {
		return nil, false, fmt.Errorf("%w: %s of %d bytes, at most %d are allowed", errGarbage, a.key.Name(), p.Size, b.config.MaxOtherFrame)
	}
	switch {
	case p.Version >= a.min && p.Version <= a.max:
		return a, false, nil
	case a.key == kmsg.ApiVersions && p.Version > a.max:
		return a, true, nil
	}
	return nil, false, fmt.Errorf("%w: %s version %d, served are %d to %d", errGarbage, a.key.Name(), p.Version, a.min, a.max)
}

// decode makes the request that a frame holds.
func (r *request) decode(frame []byte) error {
	h, body, err := protocol.ParseHeader(frame)
	if err != nil {
		return fmt.Errorf("%w: %w", errGarbage, err)
	}
	r.correlation, r.clientID, r.version = h.CorrelationID, h.ClientID, h.Version
	if r.unsupported {
		r.version, r.body = 0, kmsg.NewPtrApiVersionsRequest()
		return nil
	}
	if r.body, err = protocol.DecodeBody(h, body); err != nil {
		return fmt.Errorf("%w: %w", errGarbage, err)
	}
	return nil
}
