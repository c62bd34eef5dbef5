package protocol

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// DecodeBody decodes the body of a request. Its byte fields alias body; its
// strings are copies. Bytes after the body are ignored, as Kafka does.
//
// Memory stays within about ten times the body's length plus 1 MiB, and time in
// proportion to it, whatever the body claims to hold.
//
// Errors: ErrUnknownAPI, ErrUnsupportedVersion (by kmsg; which versions are
// served is the server's business), ErrBadBody.
func DecodeBody(h Header, body []byte) (req kmsg.Request, err error) {
	if req = kmsg.RequestForKey(h.Key); req == nil {
		return nil, fmt.Errorf("%w: %d", ErrUnknownAPI, h.Key)
	}
	layout, ok := layoutOf(h.Key, h.Version)
	if !ok {
		return nil, fmt.Errorf("%w: %s v%d", ErrUnsupportedVersion, kmsg.NameForKey(h.Key), h.Version)
	}
	if err := checkLayout(layout, body); err != nil {
		return nil, fmt.Errorf("%s v%d: %w", kmsg.NameForKey(h.Key), h.Version, err)
	}
	defer func() {
		// kmsg is generated for brokers that are trusted; fuzzing found no panic
		// behind the check above, and none shall take the broker down.
		if p := recover(); p != nil {
			req, err = nil, fmt.Errorf("%s v%d: %w: %v", kmsg.NameForKey(h.Key), h.Version, ErrBadBody, p)
		}
	}()
	req.SetVersion(h.Version)
	if err := req.ReadFrom(body); err != nil {
		return nil, fmt.Errorf("%s v%d: %w: %w", kmsg.NameForKey(h.Key), h.Version, ErrBadBody, err)
	}
	return req, nil
}
