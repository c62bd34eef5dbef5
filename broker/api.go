package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// answer is the second half of a pipelined request: it waits for the outcome
// and makes the response, nil for none (acks=0). It is called once, in the order
// of the requests of its connection.
type answer func(ctx context.Context) (kmsg.Response, error)

// api is one row of the table of APIs. ApiVersions answers from the table, so
// that what is advertised is what is served.
type api struct {
	key        kmsg.Key
	min, max   int16
	advertised int16 // the lowest version that ApiVersions tells, at most min
	// start begins a pipelined request without blocking, in arrival order; the
	// requests behind it are read meanwhile. Other APIs have handle, which runs
	// alone on its connection, in order. The context of start outlives the
	// connection, that of handle and of an answer ends with it.
	start  func(b *Broker, ctx context.Context, r *request) (answer, error)
	handle func(b *Broker, ctx context.Context, r *request) (kmsg.Response, error)
}

// A handler's error means that the connection is beyond repair and is closed
// (Kafka does so for garbage); whatever a client can act on goes into the response.
