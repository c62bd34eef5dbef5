//go:build integration

package integration

import (
	varint "encoding/binary"
	"fmt"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// socketAttacks are those who do not speak the protocol to its end: sizes that lie,
// halves of frames, answers that nobody reads, connections for their own sake.
var socketAttacks = []attack{
	{"frame lengths that can't be", frameLengths},
	{"frames announced, not sent", announcedFrames},
	{"half frames, many", halfFrames},
	{"a byte at a time", byteByByte},
	{"answers nobody reads", unreadAnswers},
	{"small requests, unread", unreadSmall},
	{"requests behind a parked one", behindParked},
	{"connections opened and closed", churn},
	{"TLS, HTTP, noise", noise},
}

// frameLengths: each is refused at once by the size alone.
func frameLengths(a *abuse) string {
	sizes := []int32{math.MaxInt32, -1, math.MinInt32, 0, 7, 100<<20 + 1}
	all := a.crowd(many(300))
	for i, c := range all {
		c.shout(append(varint.BigEndian.AppendUint32(nil, uint32(sizes[i%len(sizes)])), 0, 18, 0, 0))
	}
	for i, c := range all {
		if !c.ends(10 * time.Second) {
			a.t.Errorf("a frame of %d bytes is waited for", sizes[i%len(sizes)])
		}
	}
	return fmt.Sprintf("%d connections, each closed at its size", len(all))
}

// announcedFrames: the largest Produce request that is allowed, of which nothing comes
// behind the first bytes.
func announcedFrames(a *abuse) string {
	const size = 50 << 20
	all := a.crowd(many(20))
	defer disperse(all)
	head := append(varint.BigEndian.AppendUint32(nil, size), 0, 0, 0, 7)
	for _, c := range all {
		c.shout(append(head, make([]byte, 8<<10)...))
	}
	time.Sleep(hold())
	return fmt.Sprintf("%d x 50 MiB of Produce announced, 8 KiB sent", len(all))
}

// halfFrames: Produce requests of ordinary size, from many connections, which stop
// in the middle.
func halfFrames(a *abuse) string {
	const size = 1 << 20
	all := a.crowd(many(400))
	defer disperse(all)
	head := append(varint.BigEndian.AppendUint32(nil, size), 0, 0, 0, 7)
	for _, c := range all {
		c.shout(append(head, make([]byte, 8<<10)...))
	}
	time.Sleep(hold())
	start := time.Now()
	c := a.dial()
	c.shout(requestFrame(kmsg.NewPtrApiVersionsRequest()))
	if c.answer(10*time.Second) == nil {
		a.t.Error("a new connection is not answered")
	}
	return fmt.Sprintf("%d x 8 KiB of 1 MiB; a new connection is answered in %s", len(all), time.Since(start).Round(time.Millisecond))
}

// byteByByte: requests that never come to their end.
func byteByByte(a *abuse) string {
	all := a.crowd(many(500))
	defer disperse(all)
	frame := requestFrame(kmsg.NewPtrMetadataRequest())
	for at := 0; at < 6; at++ {
		for _, c := range all {
			c.shout(frame[at : at+1])
		}
		time.Sleep(hold() / 6)
	}
	start := time.Now()
	c := a.dial()
	c.shout(requestFrame(kmsg.NewPtrApiVersionsRequest()))
	if c.answer(10*time.Second) == nil {
		a.t.Error("a new connection is not answered")
	}
	return fmt.Sprintf("%d sockets held; a new connection is answered in %s", len(all), time.Since(start).Round(time.Millisecond))
}

// unreadAnswers: fetches of as much as there is, of which nobody takes the answers.
func unreadAnswers(a *abuse) string {
	a.fill("unread", 48<<20)
	all := a.crowd(many(40))
	defer disperse(all)
	frame := requestFrame(fetchRequest("unread", 1, math.MaxInt32, 0))
	for range 8 {
		for _, c := range all {
			c.shout(frame)
		}
	}
	time.Sleep(hold())
	return fmt.Sprintf("%d connections x 8 fetches of 48 MiB", len(all))
}

// unreadSmall: many small requests with larger answers, unread.
func unreadSmall(a *abuse) string {
	all := a.crowd(many(40))
	defer disperse(all)
	req := kmsg.NewPtrDescribeConfigsRequest()
	req.Version, req.IncludeSynonyms, req.IncludeDocumentation = 4, true, true
	for range 200 {
		r := kmsg.NewDescribeConfigsRequestResource()
		r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeBroker, "1"
		req.Resources = append(req.Resources, r)
	}
	frame := requestFrame(req)
	var sent atomic.Int64
	var wg sync.WaitGroup
	for _, c := range all {
		wg.Go(func() {
			_ = c.SetWriteDeadline(time.Now().Add(hold()))
			for {
				if _, err := c.Write(frame); err != nil {
					return
				}
				sent.Add(1)
			}
		})
	}
	wg.Wait()
	return fmt.Sprintf("%d requests on %d connections until nothing more went in", sent.Load(), len(all))
}

// behindParked: a fetch that waits for ever, and behind it requests that cost much
// more decoded than sent.
func behindParked(a *abuse) string {
	all := a.crowd(many(100))
	defer disperse(all)
	parked := requestFrame(fetchRequest("neighbour", 0, 1<<20, math.MaxInt32))
	req := kmsg.NewPtrMetadataRequest()
	req.Version = 1
	for range 60 << 10 / 3 {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr("x")
		req.Topics = append(req.Topics, t)
	}
	frame := requestFrame(req)
	var sent atomic.Int64
	var wg sync.WaitGroup
	for _, c := range all {
		wg.Go(func() {
			_ = c.SetWriteDeadline(time.Now().Add(hold()))
			_, _ = c.Write(parked)
			for range 40 {
				if _, err := c.Write(frame); err != nil {
					return
				}
				sent.Add(int64(len(frame)))
			}
		})
	}
	wg.Wait()
	time.Sleep(hold())
	return fmt.Sprintf("%d MiB behind %d parked fetches", sent.Load()>>20, len(all))
}

// churn: connections that come and go, some with half a request.
func churn(a *abuse) string {
	var opened atomic.Int64
	start, end := time.Now(), time.Now().Add(2*hold())
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for time.Now().Before(end) {
				c, err := net.DialTimeout("tcp", a.b.address, time.Second)
				if err != nil {
					time.Sleep(time.Millisecond)
					continue
				}
				if opened.Add(1); i%2 == 0 {
					_, _ = c.Write([]byte{0, 0, 1, 0, 0, 18})
				}
				_ = c.(*net.TCPConn).SetLinger(0) // no TIME_WAIT: ports would run out
				c.Close()
			}
		})
	}
	wg.Wait()
	return fmt.Sprintf("%d connections, %.0f a second", opened.Load(), float64(opened.Load())/time.Since(start).Seconds())
}

// noise: other protocols.
func noise(a *abuse) string {
	says := [][]byte{
		[]byte("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"),
		{0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03},
		make([]byte, 4<<10),
		[]byte("SSH-2.0-OpenSSH_9.9\r\n"),
		[]byte("*1\r\n$4\r\nPING\r\n"),
	}
	all := a.crowd(many(100))
	for i, c := range all {
		c.shout(says[i%len(says)])
		_ = c.Conn.(*net.TCPConn).CloseWrite()
	}
	for _, c := range all {
		if !c.ends(10 * time.Second) {
			a.t.Error("a connection that speaks another protocol stays open")
		}
	}
	return fmt.Sprintf("%d connections, all closed", len(all))
}

// fetchRequest reads partition 0 of a topic from its start.
func fetchRequest(topic string, minBytes, maxBytes, maxWait int32) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.MinBytes, req.MaxBytes, req.MaxWaitMillis, req.SessionEpoch = 11, minBytes, maxBytes, maxWait, -1
	t := kmsg.NewFetchRequestTopic()
	t.Topic = topic
	p := kmsg.NewFetchRequestTopicPartition()
	p.PartitionMaxBytes = maxBytes
	if minBytes == 0 { // parks at an offset where nothing is yet
		req.MinBytes, p.Partition, p.FetchOffset = math.MaxInt32, 0, 0
	}
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return req
}
