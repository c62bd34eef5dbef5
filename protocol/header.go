package protocol

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// API keys whose headers are special.
const (
	keyControlledShutdown = 7
	keyApiVersions        = 18
)

// flexibleFrom holds for each API key the first version whose request header
// is flexible (KIP-482), or math.MaxInt16.
var flexibleFrom = func() (from [kmsg.MaxKey + 1]int16) {
	for key := range from {
		from[key] = math.MaxInt16
		req := kmsg.RequestForKey(int16(key))
		if req == nil {
			continue
		}
		for v := req.MaxVersion(); v >= 0; v-- {
			if req.SetVersion(v); !req.IsFlexible() {
				break
			}
			from[key] = v
		}
	}
	return from
}()

// A Header is the header of a request.
type Header struct {
	Key           int16  // of the API
	Version       int16  // of the API
	CorrelationID int32  // the client's, returned in the response
	ClientID      string // "" also if null: Kafka makes no difference
}

// ParseHeader reads the request header that a frame begins with and returns it
// and the body after it, which aliases the frame. The version may be one that no API
// has: ApiVersions is asked with versions of the future (KIP-511), and is then read
// with the header of its newest, as Kafka does.
//
// Errors: ErrUnknownAPI, ErrBadHeader.
func ParseHeader(frame []byte) (Header, []byte, error) {
	if len(frame) < minRequest {
		return Header{}, nil, fmt.Errorf("%w: %d bytes", ErrBadHeader, len(frame))
	}
	h := Header{
		Key:           int16(binary.BigEndian.Uint16(frame[0:])),
		Version:       int16(binary.BigEndian.Uint16(frame[2:])),
		CorrelationID: int32(binary.BigEndian.Uint32(frame[4:])),
	}
	if h.Key < 0 || h.Key > kmsg.MaxKey {
		return h, nil, fmt.Errorf("%w: %d", ErrUnknownAPI, h.Key)
	}
	w := walker{in: frame[minRequest:], budget: costAllowance}
	if h.Key == keyControlledShutdown && h.Version == 0 {
		return h, w.in, nil // header v0: no client id
	}
	id := w.in
	n := w.length(2)
	if w.skip(n); w.bad {
		return h, nil, fmt.Errorf("%w: client id", ErrBadHeader)
	}
	// The client id is not compact even in a flexible header: clients send it
	// before they know what the broker reads.
	h.ClientID = string(id[2 : 2+n])
	if h.Version >= flexibleFrom[h.Key] {
		if w.tags(""); w.bad {
			return h, nil, fmt.Errorf("%w: tagged fields", ErrBadHeader)
		}
	}
	return h, w.in, nil
}

// AppendResponse appends the frame of a response, whose version must be set:
// size, header and body.
func AppendResponse(dst []byte, correlationID int32, resp kmsg.Response) []byte {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, uint32(correlationID))
	// A client that asks for ApiVersions does not know yet whether the broker's
	// header will be flexible: it never is (KIP-511).
	if resp.IsFlexible() && resp.Key() != keyApiVersions {
		dst = append(dst, 0) // no tagged fields
	}
	dst = resp.AppendTo(dst)
	binary.BigEndian.PutUint32(dst[start:], uint32(len(dst)-start-sizeLen))
	return dst
}
