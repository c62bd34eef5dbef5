package broker

import (
	"errors"
	"fmt"
	"math"
	"net"

	"github.com/twmb/franz-go/pkg/kmsg"

	"sluice/protocol"
)

var errLargeResponse = errors.New("response of more than 2 GiB")

// encode makes the frame of an answer, appended to buf as far as it is not
// shared with others. It returns the frame's size in bytes, too.
func encode(buf []byte, r *request, response kmsg.Response) (net.Buffers, int, error) {
	var buffers net.Buffers
	if f, ok := response.(*fetchResponse); ok {
		buffers = f.frame(buf, r.correlation)
	} else {
		buffers = net.Buffers{protocol.AppendResponse(buf, r.correlation, response)}
	}
	size := 0
	for _, b := range buffers {
		size += len(b)
	}
	if size-4 > math.MaxInt32 {
		return nil, 0, fmt.Errorf("%s: %w", r.api.key.Name(), errLargeResponse)
	}
	return buffers, size, nil
}
