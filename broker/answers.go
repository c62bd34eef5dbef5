package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// An answer may be a thousand times as large as what asks for it, and nobody has to read
// it. Its memory is a share of Config.AnswerMemory: taken before it is made where the
// handler can tell that it will be large (expect), before it is encoded where what
// was found tells (bulk), and afterwards where it is large all the same; given back
// when it is sent. While the budget is short a client must take its answer at the
// pace that is asked of senders (steady).

const (
	// smallAnswer is up to which size an answer needs no share of the budget: it is about
	// what its connection takes up anyway.
	smallAnswer = 16 << 10

	// bulkAnswer is up to which size an answer goes to its socket without a turn, and bulkPiece
	// how much of a larger one does in a turn; see writeBulk. Pieces of 256 KiB took a fifth
	// longer in all: whoever comes back from each call of the kernel has to find a processor.
	bulkAnswer = 256 << 10
	bulkPiece  = 1 << 20

	// What one of them takes about, in bytes, as the answer's structs and encoded.
	topicAnswer     = 512 // apart from its partitions
	partitionAnswer = 256
	groupAnswer     = 512 // apart from its members
	memberAnswer    = 512
	configsAnswer   = 64 << 10 // all configs of a topic or of the broker, with their documentation
)

// errUnread: a client asked for much and did not take it while others waited for memory.
var errUnread = errors.New("an answer was not taken while others waited for its memory")

// expect takes n bytes for the answer to r, which is about to be made. It waits for
// them; the error is that the client is gone.
func (b *Broker) expect(ctx context.Context, r *request, n int) (err error) {
	if n <= smallAnswer {
		return nil
	}
	r.answer.release() // nobody waits for more of a budget while holding some
	r.answer, err = b.answerMemory.acquire(ctx, r.clientHost, int64(n))
	return err
}

// turn waits until the answer to r may be worked on, and answers how to let the next one
// go on: large ones are made on half of the processors, so that who asks for many leaves the
// others to producers and consumers. It must not be held across I/O or a wait.
func (b *Broker) turn(r *request) (done func()) {
	if r.answer.bytes == 0 {
		return func() {}
	}
	b.turns <- struct{}{}
	return func() { <-b.turns }
}

// bulk is about what the encoding takes of those answers whose bytes belong to others
// until then: to members of groups, or who committed offsets. 0 for all others.
func bulk(response kmsg.Response) (n int) {
	switch resp := response.(type) {
	case *kmsg.JoinGroupResponse:
		for i := range resp.Members {
			n += memberAnswer/4 + len(resp.Members[i].ProtocolMetadata)
		}
	case *kmsg.SyncGroupResponse:
		n = len(resp.MemberAssignment)
	case *kmsg.OffsetFetchResponse:
		for i := range resp.Topics {
			for j := range resp.Topics[i].Partitions {
				n += partitionAnswer/4 + lenOf(resp.Topics[i].Partitions[j].Metadata)
			}
		}
		for g := range resp.Groups {
			for i := range resp.Groups[g].Topics {
				for _, p := range resp.Groups[g].Topics[i].Partitions {
					n += partitionAnswer/4 + lenOf(p.Metadata)
				}
			}
		}
	}
	return n
}

func lenOf(s *string) int {
	if s == nil {
		return 0
	}
	return len(*s)
}

// send writes one answer. What the request took up is given back once the answer is
// encoded; of a Fetch, whose records have their share and which waits for no other, only when
// it is sent, but for what is around the records.
func (c *conn) send(r *request, response kmsg.Response) error {
	records, ok := response.(*fetchResponse)
	n := bulk(response)
	if int64(n) > r.answer.bytes {
		if err := c.broker.expect(c.ctx, r, n); err != nil {
			return err
		}
	}
	buf := frames.Get().(*[]byte)
	defer frames.Put(buf)
	into := (*buf)[:0]
	if n > cap(into) {
		into = make([]byte, 0, n+n/4) // one that grows is copied, and copied again
	}
	done := func() {}
	if !ok {
		done = c.broker.turn(r)
	}
	frame, size, err := encode(into, r, response)
	done()
	if err != nil {
		return err
	}
	if cap(frame[0]) <= keepBuffer {
		*buf = frame[0][:0]
	}
	switch {
	case ok:
		r.large.release()
		r.held.shrink(int64(size - records.bytes()))
	case int64(size) > r.answer.bytes:
		err = c.broker.expect(c.ctx, r, size)
		fallthrough
	default:
		r.answer.shrink(int64(size))
		r.release()
	}
	if err == nil {
		err = c.deliver(r, frame, size)
	}
	if err != nil {
		return err
	}
	if ok {
		records.release()
	}
	c.broker.metrics.sent.Add(float64(size))
	return nil
}

// frames are buffers that answers are encoded in, as *[]byte: connections that are idle have none.
var frames = sync.Pool{New: func() any { return new([]byte) }}

// deliver writes a frame within the time for its size, and within stallTimeout each
// stallBytes of it while memory for answers is short.
func (c *conn) deliver(r *request, frame net.Buffers, size int) error {
	now := time.Now()
	end := now.Add(transferTimeout(c.broker.config.WriteTimeout, size, minRateOut))
	for {
		until := now.Add(stallTimeout)
		if until.After(end) {
			until = end
		}
		c.nc.SetWriteDeadline(until)
		n, err := c.put(&frame, size)
		if err == nil {
			return nil
		}
		now = time.Now()
		switch {
		case !errors.Is(err, os.ErrDeadlineExceeded) || !now.Before(end):
			return fmt.Errorf("client gone: %w", err)
		case n < stallBytes && (r.answer.pressed() || r.held.pressed()):
			c.broker.warnings.warn("connection closed: "+errUnread.Error(), "listener", c.listener.Name, "client", c.host)
			return errUnread
		}
	}
}

// put writes a frame of size bytes, or what is left of it, and takes it off.
func (c *conn) put(frame *net.Buffers, size int) (int64, error) {
	if size > bulkAnswer {
		return writeBulk(c.nc, frame, c.broker.sending)
	}
	return frame.WriteTo(c.nc)
}
