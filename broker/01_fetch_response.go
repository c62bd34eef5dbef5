package broker

import (
	"encoding/binary"
	"net"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// fetchResponse is a Fetch response whose record batches are not copied: they
// are handed to the socket as they lie in storage's memory. It is encoded here; to
// everyone else it is the response of kmsg, without topics.
type fetchResponse struct {
	*kmsg.FetchResponse
	committed bool // isolation level read_committed
	topics    []fetchTopic
}

// bytes is how many bytes of records it has.
func (f *fetchResponse) bytes() (n int) {
	for i := range f.topics {
		for j := range f.topics[i].partitions {
			n += f.topics[i].partitions[j].bytes
		}
	}
	return n
}

// release gives back the memory of the records, once they are sent.
func (f *fetchResponse) release() {
	for i := range f.topics {
		for j := range f.topics[i].partitions {
			f.topics[i].partitions[j].found.Release()
		}
	}
}

// copyBelow is up to which size a batch is copied into the buffer around it,
// which is cheaper than one more element of a vectored write.
const copyBelow = 4 << 10

// gather collects a buffer and the batches that stand between its parts.
type gather struct {
	buf    []byte
	shared []cut
}

// cut says that a batch comes after the first at bytes of the buffer.
type cut struct {
	at    int
	batch []byte
}

// add adds a batch. One that lies behind the last one in memory, as those do that were read from
// the disk, is sent in one piece with it.
func (g *gather) add(batch []byte) {
	if n := len(g.shared); n > 0 && g.shared[n-1].at == len(g.buf) {
		last := &g.shared[n-1].batch
		if m := len(*last); cap(*last)-m >= len(batch) && &(*last)[:m+1][m] == &batch[0] {
			*last = (*last)[:m+len(batch)]
			return
		}
	}
	if len(batch) < copyBelow {
		g.buf = append(g.buf, batch...)
		return
	}
	g.shared = append(g.shared, cut{len(g.buf), batch})
}

// buffers is all that was gathered, in order. The first begins where the buffer does.
func (g *gather) buffers() net.Buffers {
	all := make(net.Buffers, 0, 2*len(g.shared)+1)
	from := 0
	for _, c := range g.shared {
		if c.at > from {
			all = append(all, g.buf[from:c.at])
		}
		all = append(all, c.batch)
		from = c.at
	}
	if from < len(g.buf) {
		all = append(all, g.buf[from:])
	}
	return all
}

// frame is the response with its size and header, the first part in buf.
func (f *fetchResponse) frame(buf []byte, correlation int32) net.Buffers {
	buf = append(buf, 0, 0, 0, 0)
	buf = binary.BigEndian.AppendUint32(buf, uint32(correlation))
	if f.IsFlexible() {
		buf = append(buf, 0) // no tags
	}
	buffers := f.appendTo(buf)
	size := -4
	for _, b := range buffers {
		size += len(b)
	}
	binary.BigEndian.PutUint32(buffers[0], uint32(size))
	return buffers
}

// appendTo encodes the response behind what is in buf, which is not empty.
// The layout is that of FetchResponse.json of Kafka, versions 4 to 18.
func (f *fetchResponse) appendTo(buf []byte) net.Buffers {
	g := &gather{buf: buf}
	flexible := f.Version >= 12
	g.buf = kbin.AppendInt32(g.buf, f.ThrottleMillis)
	if f.Version >= 7 {
		g.buf = kbin.AppendInt16(g.buf, f.ErrorCode)
		g.buf = kbin.AppendInt32(g.buf, f.SessionID)
	}
	g.arrayLen(len(f.topics), flexible)
	for i := range f.topics {
		t := &f.topics[i]
		switch {
		case f.Version >= 13:
			g.buf = kbin.AppendUuid(g.buf, t.id)
		case flexible:
			g.buf = kbin.AppendCompactString(g.buf, t.name)
		default:
			g.buf = kbin.AppendString(g.buf, t.name)
		}
		g.arrayLen(len(t.partitions), flexible)
		for j := range t.partitions {
			g.partition(&t.partitions[j], f.Version, f.committed)
		}
		g.noTags(flexible)
	}
	g.noTags(flexible)
	return g.buffers()
}

func (g *gather) partition(p *fetchPartition, version int16, committed bool) {
	flexible := version >= 12
	g.buf = kbin.AppendInt32(g.buf, p.partition)
	g.buf = kbin.AppendInt16(g.buf, fetchErrorCode(p.err))
	g.buf = kbin.AppendInt64(g.buf, p.offsets.HighWatermark)
	g.buf = kbin.AppendInt64(g.buf, p.offsets.LastStable)
	if version >= 5 {
		g.buf = kbin.AppendInt64(g.buf, p.offsets.LogStart)
	}
	// Aborted transactions: none, which is null where they were not asked for.
	if committed && p.err == nil {
		g.arrayLen(0, flexible)
	} else {
		g.nullArray(flexible)
	}
	if version >= 11 {
		g.buf = kbin.AppendInt32(g.buf, -1) // preferred read replica: none
	}
	// Records are never null, which librdkafka does not expect.
	if flexible {
		g.buf = kbin.AppendUvarint(g.buf, uint32(p.bytes)+1)
	} else {
		g.buf = kbin.AppendInt32(g.buf, int32(p.bytes))
	}
	for _, batch := range p.batches {
		g.add(batch)
	}
	switch {
	case flexible && p.diverging != nil:
		g.buf = append(g.buf, 1, 0, 4+8+1) // one tag: tag 0, of that size
		g.buf = kbin.AppendInt32(g.buf, p.diverging.epoch)
		g.buf = kbin.AppendInt64(g.buf, p.diverging.endOffset)
		g.noTags(true)
	default:
		g.noTags(flexible)
	}
}

func (g *gather) arrayLen(n int, flexible bool) {
	if flexible {
		g.buf = kbin.AppendCompactArrayLen(g.buf, n)
	} else {
		g.buf = kbin.AppendArrayLen(g.buf, n)
	}
}

func (g *gather) nullArray(flexible bool) {
	if flexible {
		g.buf = kbin.AppendCompactNullableArrayLen(g.buf, 0, true)
	} else {
		g.buf = kbin.AppendNullableArrayLen(g.buf, 0, true)
	}
}

func (g *gather) noTags(flexible bool) {
	if flexible {
		g.buf = append(g.buf, 0)
	}
}
