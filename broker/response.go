package broker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net"

	"github.com/twmb/franz-go/pkg/kmsg"
)

var errLargeResponse = errors.New("response of more than 2 GiB")

// encode makes the frame of an answer, appended to buf as far as it is not
// shared with others. It returns the frame's size in bytes, too.
//
// The header of an ApiVersions response is never flexible, so that a client can
// read it before it knows what the broker speaks (KIP-511).
func encode(buf []byte, r *request, response kmsg.Response) (net.Buffers, int, error) {
	buf = binary.BigEndian.AppendUint32(buf, 0) // the size, once it is known
	buf = binary.BigEndian.AppendUint32(buf, uint32(r.correlation))
	if response.IsFlexible() && r.api.key != kmsg.ApiVersions {
		buf = append(buf, 0) // no tags
	}
	var buffers net.Buffers
	if f, ok := response.(*fetchResponse); ok {
		buffers = f.appendTo(buf)
	} else {
		buffers = net.Buffers{response.AppendTo(buf)}
	}
	size := 0
	for _, b := range buffers {
		size += len(b)
	}
	if size-4 > math.MaxInt32 {
		return nil, 0, fmt.Errorf("%s: %w", r.api.key.Name(), errLargeResponse)
	}
	binary.BigEndian.PutUint32(buffers[0], uint32(size-4))
	return buffers, size, nil
}
