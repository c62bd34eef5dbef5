//go:build integration

package integration

import (
	"bytes"
	varint "encoding/binary"
	"hash/crc32"
	"io"
	"net"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// hostile is a connection on which anything may be sent.
type hostile struct {
	net.Conn
	t *testing.T
}

// dial opens a connection that ends with the test.
func (a *abuse) dial() *hostile {
	a.t.Helper()
	return a.dialWith(net.Dialer{})
}

func (a *abuse) dialWith(d net.Dialer) *hostile {
	a.t.Helper()
	c, err := d.DialContext(a.t.Context(), "tcp", a.b.address)
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { c.Close() })
	return &hostile{c, a.t}
}

// crowd opens n connections.
func (a *abuse) crowd(n int) []*hostile {
	a.t.Helper()
	all := make([]*hostile, n)
	for i := range all {
		all[i] = a.dial()
	}
	return all
}

// disperse closes what crowd opened.
func disperse(all []*hostile) {
	for _, c := range all {
		c.Close()
	}
}

// frame is a request as on the wire.
func requestFrame(req kmsg.Request) []byte {
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("hostile")).AppendRequest(nil, req, 1)
}

// shout sends bytes; the broker may close before the end.
func (h *hostile) shout(b []byte) bool {
	_ = h.SetWriteDeadline(time.Now().Add(5 * time.Second))
	_, err := h.Write(b)
	return err == nil
}

// ends waits until the broker closes the connection.
func (h *hostile) ends(within time.Duration) bool {
	_ = h.SetReadDeadline(time.Now().Add(within))
	_, err := io.Copy(io.Discard, h)
	nerr, ok := err.(net.Error)
	return !ok || !nerr.Timeout()
}

// answer reads one answer without its correlation id; nil if the broker closes
// first or takes longer than that.
func (h *hostile) answer(within time.Duration) []byte {
	_ = h.SetReadDeadline(time.Now().Add(within))
	var size [4]byte
	if _, err := io.ReadFull(h, size[:]); err != nil {
		return nil
	}
	n := varint.BigEndian.Uint32(size[:])
	if n < 4 || n > 256<<20 {
		h.t.Fatalf("an answer of %d bytes", n)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(h, b); err != nil {
		return nil
	}
	return b[4:]
}

// batch is a record batch (version 2), as a hostile client makes it: fields first,
// so that each can lie.
type batch struct {
	baseOffset             int64
	magic                  int8
	attributes             int16
	lastOffsetDelta        int32
	firstTime, maxTime     int64
	producerID             int64
	epoch                  int16
	sequence, records      int32
	payload                []byte
	lengthLie, checksumLie bool
}

// oneRecord is a sound batch of one record.
func oneRecord(value []byte) batch {
	now := time.Now().UnixMilli()
	return batch{magic: 2, firstTime: now, maxTime: now, producerID: -1, epoch: -1, sequence: -1, records: 1, payload: recordOf(0, value)}
}

// recordOf is one record without key and headers.
func recordOf(offsetDelta int64, value []byte) []byte {
	body := []byte{0}
	body = varint.AppendVarint(body, 0)
	body = varint.AppendVarint(body, offsetDelta)
	body = varint.AppendVarint(body, -1)
	body = varint.AppendVarint(body, int64(len(value)))
	body = append(body, value...)
	body = varint.AppendVarint(body, 0)
	return append(varint.AppendVarint(nil, int64(len(body))), body...)
}

func (b batch) bytes() []byte {
	var tail []byte
	tail = kbin.AppendInt16(tail, b.attributes)
	tail = kbin.AppendInt32(tail, b.lastOffsetDelta)
	tail = kbin.AppendInt64(tail, b.firstTime)
	tail = kbin.AppendInt64(tail, b.maxTime)
	tail = kbin.AppendInt64(tail, b.producerID)
	tail = kbin.AppendInt16(tail, b.epoch)
	tail = kbin.AppendInt32(tail, b.sequence)
	tail = kbin.AppendInt32(tail, b.records)
	tail = append(tail, b.payload...)
	sum := crc32.Checksum(tail, crc32.MakeTable(crc32.Castagnoli))
	if b.checksumLie {
		sum++
	}
	length := int32(len(tail) + 9)
	if b.lengthLie {
		length += 1000
	}
	var out []byte
	out = kbin.AppendInt64(out, b.baseOffset)
	out = kbin.AppendInt32(out, length)
	out = kbin.AppendInt32(out, -1) // leader epoch
	out = kbin.AppendInt8(out, b.magic)
	out = kbin.AppendUint32(out, sum)
	return append(out, tail...)
}

// produceRequest writes batches to partitions 0, 1, ... of a topic.
func produceRequest(topic string, batches ...[]byte) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = 7, 1, 30_000
	t := kmsg.NewProduceRequestTopic()
	t.Topic = topic
	for i, b := range batches {
		p := kmsg.NewProduceRequestTopicPartition()
		p.Partition, p.Records = int32(i), b
		t.Partitions = append(t.Partitions, p)
	}
	req.Topics = append(req.Topics, t)
	return req
}

// produce sends batches and returns the error codes in their order; nil if the
// connection ends instead.
func (h *hostile) produce(topic string, batches ...[]byte) []int16 {
	req := produceRequest(topic, batches...)
	if !h.shout(requestFrame(req)) {
		return nil
	}
	body := h.answer(time.Minute)
	if body == nil {
		return nil
	}
	resp := req.ResponseKind().(*kmsg.ProduceResponse)
	if err := resp.ReadFrom(body); err != nil {
		h.t.Fatal(err)
	}
	var codes []int16
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			codes = append(codes, p.ErrorCode)
		}
	}
	return codes
}

// repeat reads block again and again, n bytes in all.
type repeat struct {
	block []byte
	at, n int
}

func (r *repeat) Read(p []byte) (int, error) {
	if r.n == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), r.n)], r.block[r.at:])
	r.at = (r.at + n) % len(r.block)
	r.n -= n
	return n, nil
}

// bomb compresses a record whose value is block, again and again, n bytes in all.
func bomb(t *testing.T, codec int16, block []byte, n int) []byte {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser
	switch codec {
	case 1:
		w, _ = gzip.NewWriterLevel(&out, gzip.BestSpeed)
	case 2:
		all, _ := io.ReadAll(&repeat{block: block, n: n})
		return s2.EncodeSnappy(nil, append(append(recordHead(n), all...), 0))
	case 3:
		w = lz4.NewWriter(&out)
	case 4:
		z, err := zstd.NewWriter(&out, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(1<<20))
		if err != nil {
			t.Fatal(err)
		}
		w = z
	}
	_, err := w.Write(recordHead(n))
	if err == nil {
		_, err = io.Copy(struct{ io.Writer }{w}, &repeat{block: block, n: n}) // no ReadFrom: lz4 takes that at the start only
	}
	if err == nil {
		_, err = w.Write([]byte{0}) // no headers
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// recordHead is what stands before the value of a record of n bytes.
func recordHead(n int) []byte {
	fields := varint.AppendVarint([]byte{0, 0, 0, 1}, int64(n)) // 1 is -1: no key
	return append(varint.AppendVarint(nil, int64(len(fields)+n+1)), fields...)
}
