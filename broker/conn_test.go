package broker

import (
	"context"
	"encoding/binary"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestPipelinedRequestsBeginAtOnceAndAreAnsweredInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var produce slow
		h := newHouse(t, nil, api{key: kmsg.Produce, start: produce.start()})
		defer h.close()
		p := h.dial()
		for i := range int32(5) {
			p.send(i, produceRequest())
		}
		produce.expectBegun(t, 5)
		for i := 4; i > 0; i-- {
			produce.finish[i] <- nil
		}
		p.expectNothing()
		produce.finish[0] <- nil
		for i := range int32(5) {
			p.expect(i)
		}
	})
}

func TestARequestThatIsNotPipelinedRunsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var produce, join, heartbeat slow
		h := newHouse(t, nil,
			api{key: kmsg.Produce, start: produce.start()},
			api{key: kmsg.JoinGroup, handle: join.handle()},
			api{key: kmsg.Heartbeat, handle: heartbeat.handle()})
		defer h.close()
		p := h.dial()
		p.send(1, produceRequest())
		p.send(2, joinRequest())
		p.send(3, heartbeatRequest())
		p.send(4, produceRequest())
		p.send(5, produceRequest())
		join.expectBegun(t, 0)
		produce.finish[0] <- nil
		p.expect(1)
		join.expectBegun(t, 1)
		heartbeat.expectBegun(t, 0)
		produce.expectBegun(t, 1)
		join.finish[0] <- nil
		p.expect(2)
		heartbeat.expectBegun(t, 1)
		produce.expectBegun(t, 1)
		heartbeat.finish[0] <- nil
		p.expect(3)
		produce.expectBegun(t, 3)
		produce.finish[1] <- nil
		produce.finish[2] <- nil
		p.expect(4)
		p.expect(5)
	})
}

func TestAParkedFetchHoldsBackNoProduceButItsAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var produce, fetch, join slow
		h := newHouse(t, nil,
			api{key: kmsg.Produce, start: produce.start()},
			api{key: kmsg.Fetch, handle: fetch.handle()},
			api{key: kmsg.JoinGroup, handle: join.handle()})
		defer h.close()
		p := h.dial()
		p.send(1, fetchRequest())
		p.send(2, produceRequest())
		p.send(3, joinRequest())
		p.send(4, produceRequest())
		produce.expectBegun(t, 1) // the second is behind a JoinGroup
		produce.finish[0] <- nil
		p.expectNothing()
		fetch.finish[0] <- nil
		p.expect(1)
		p.expect(2)
		join.expectBegun(t, 1)
		join.finish[0] <- nil
		p.expect(3)
		produce.expectBegun(t, 2)
		produce.finish[1] <- nil
		p.expect(4)
	})
}

func TestAcks0IsNotAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		quiet := func(*Broker, context.Context, *request) (answer, error) {
			return func(context.Context) (kmsg.Response, error) { return nil, nil }, nil
		}
		h := newHouse(t, nil, api{key: kmsg.Produce, start: quiet})
		defer h.close()
		p := h.dial()
		p.send(1, produceRequest())
		p.send(2, versionsRequest())
		p.expect(2)
	})
}

func TestWhatWasSentBeforeTheClientLeftIsBegun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var produce slow
		h := newHouse(t, nil, api{key: kmsg.Produce, start: produce.start()})
		defer h.close()
		p := h.dial()
		for i := range int32(20) {
			p.send(i, produceRequest())
		}
		p.hangUp()
		produce.expectBegun(t, 20)
		if open, _ := h.broker.conns.count(); open != 1 {
			t.Errorf("%d connections, want 1: its requests are not finished", open)
		}
		if used := h.broker.produceMemory.used.Load(); used == 0 {
			t.Error("the memory of unfinished requests counts as free")
		}
		for _, done := range produce.finish {
			done <- nil
		}
		synctest.Wait()
		if open, _ := h.broker.conns.count(); open != 0 {
			t.Errorf("%d connections, want 0", open)
		}
		if used := h.broker.produceMemory.used.Load(); used != 0 {
			t.Errorf("%d bytes are still held", used)
		}
	})
}

func TestAParkedRequestEndsWhenTheClientLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fetch slow
		h := newHouse(t, nil, api{key: kmsg.Fetch, handle: fetch.handle()})
		defer h.close()
		p := h.dial()
		p.send(1, fetchRequest())
		fetch.expectBegun(t, 1)
		p.hangUp()
		synctest.Wait()
		if fetch.ended != 1 {
			t.Error("it is still parked")
		}
	})
}

func TestGarbageClosesTheConnectionWithoutAnAnswer(t *testing.T) {
	head := func(size int32, key, version int16) []byte {
		b := binary.BigEndian.AppendUint32(nil, uint32(size))
		b = binary.BigEndian.AppendUint16(b, uint16(key))
		return binary.BigEndian.AppendUint16(b, uint16(version))
	}
	shortened := frameOf(7, versioned(kmsg.NewPtrMetadataRequest(), 9))
	shortened = shortened[:len(shortened)-1]
	binary.BigEndian.PutUint32(shortened, uint32(len(shortened)-4))
	forged := append(head(14+4, 3, 1), 0, 0, 0, 1, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0)

	for name, bytes := range map[string][]byte{
		"a larger frame than allowed":           head(100<<20+1, 0, 9),
		"a larger frame without records":        head(16<<20+1, 3, 9),
		"a negative size":                       head(-1, 0, 9),
		"a size that holds no header":           head(7, 0, 9),
		"an unknown API":                        head(100, 999, 0),
		"a negative API":                        head(100, -1, 0),
		"an API that is not served":             head(100, 67, 0),
		"a version that is not served any more": head(100, 0, 2),
		"a version that is not served yet":      head(100, 3, 99),
		"a negative version":                    head(100, 18, -1),
		"a body that is too short":              shortened,
		"a forged array length":                 forged,
		"HTTP":                                  []byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
		"a TLS handshake":                       {0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t, nil)
				defer h.close()
				p := h.dial()
				p.write(bytes)
				p.expectClosed()
			})
		})
	}
}

func TestApiVersionsFromTheFutureIsToldWhatToAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, nil)
		defer h.close()
		p := h.dial()
		future := []byte{0, 18, 0, 127, 0, 0, 0, 42, 0xff, 0xff, 0, 0xde, 0xad, 0xbe, 0xef} // a flexible header, a body nobody knows
		p.write(append(binary.BigEndian.AppendUint32(nil, uint32(len(future))), future...))
		resp := kmsg.NewPtrApiVersionsResponse()
		if err := resp.ReadFrom(p.expect(42)); err != nil {
			t.Fatal(err)
		}
		if resp.ErrorCode != kerr.UnsupportedVersion.Code || len(resp.ApiKeys) != 1 || resp.ApiKeys[0].ApiKey != 18 || resp.ApiKeys[0].MaxVersion != 5 {
			t.Errorf("got %+v", resp)
		}
		p.send(43, versionsRequest())
		p.expect(43)
	})
}

func TestSlowClientsAreCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, nil)
		defer h.close()
		whole, half, silent := h.dial(), h.dial(), h.dial()
		f := frameOf(1, versionsRequest())
		whole.write(f)
		half.write(f[:len(f)-1])
		time.Sleep(h.broker.config.FrameTimeout + time.Second)
		half.expectClosed()
		whole.expect(1)
		silent.expectOpen()
		time.Sleep(h.broker.config.IdleTimeout)
		whole.expectClosed()
		silent.expectClosed()
	})
}

func TestAConnectionWithAParkedRequestIsNotIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var join slow
		h := newHouse(t, nil, api{key: kmsg.JoinGroup, handle: join.handle()})
		defer h.close()
		p := h.dial()
		p.send(1, joinRequest())
		time.Sleep(2 * h.broker.config.IdleTimeout)
		p.expectOpen()
		join.finish[0] <- nil
		p.expect(1)
		time.Sleep(2 * h.broker.config.IdleTimeout)
		p.expectClosed()
	})
}

func TestAClientThatReadsNoAnswersIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, nil)
		defer h.close()
		nc, err := h.pipes.dial()
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		if _, err := nc.Write(frameOf(1, versionsRequest())); err != nil {
			t.Fatal(err)
		}
		time.Sleep(h.broker.config.WriteTimeout + 2*time.Second)
		synctest.Wait()
		if open, _ := h.broker.conns.count(); open != 0 {
			t.Error("the connection is open")
		}
	})
}

func TestAPanicClosesItsConnectionOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, nil,
			api{key: kmsg.Produce, start: func(*Broker, context.Context, *request) (answer, error) { panic("start") }},
			api{key: kmsg.Fetch, handle: func(*Broker, context.Context, *request) (kmsg.Response, error) { panic("handle") }},
			api{key: kmsg.OffsetCommit, start: func(*Broker, context.Context, *request) (answer, error) {
				return func(context.Context) (kmsg.Response, error) { panic("answer") }, nil
			}})
		defer h.close()
		other := h.dial()
		for _, req := range []kmsg.Request{produceRequest(), fetchRequest(), versioned(kmsg.NewPtrOffsetCommitRequest(), 8)} {
			p := h.dial()
			p.send(1, req)
			p.expectClosed()
		}
		other.send(1, versionsRequest())
		other.expect(1)
		if used := h.broker.produceMemory.used.Load(); used != 0 {
			t.Errorf("%d bytes are still held", used)
		}
	})
}

func TestAConnectionIsNotReadBeyondItsUnansweredRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var produce slow
		h := newHouse(t, func(c *Config) { c.MaxInFlight = 4 }, api{key: kmsg.Produce, start: produce.start()})
		defer h.close()
		p := h.dial()
		const sent = 200
		for i := range int32(sent) {
			p.send(i, produceRequest())
		}
		const bound = 4 + 2 + arrivedSize + 1 // answers, one at each end of it, arrived, one that is read
		if begun := len(produce.begun); begun > 4+2 {
			t.Errorf("%d requests are begun, at most 4 should wait", begun)
		}
		if _, queued := h.broker.conns.count(); queued > bound {
			t.Errorf("%d requests are queued", queued)
		}
		for i := range int32(sent) {
			produce.finish[i] <- nil
			p.expect(i)
		}
	})
}

func TestProduceRequestsWaitForMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var produce slow
		size := int64(len(frameOf(0, produceRequest())) - 4)
		h := newHouse(t, func(c *Config) { c.ProduceMemory = 2 * size }, api{key: kmsg.Produce, start: produce.start()})
		defer h.close()
		a, b, c := h.dial(), h.dial(), h.dial()
		a.send(1, produceRequest())
		b.send(1, produceRequest())
		c.send(1, produceRequest())
		produce.expectBegun(t, 2)
		c2 := h.dial() // other requests do not wait for it
		c2.send(1, versionsRequest())
		c2.expect(1)
		produce.finish[0] <- nil
		a.expect(1)
		produce.expectBegun(t, 3)
		produce.finish[1] <- nil
		produce.finish[2] <- nil
		b.expect(1)
		c.expect(1)
	})
}

func TestMemoryIsForThoseWhoSend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var produce slow
		h := newHouse(t, func(c *Config) { c.ProduceMemory = 1 << 20 }, api{key: kmsg.Produce, start: produce.start()})
		defer h.close()
		for range 100 { // each announces 100 MiB and says no more
			h.dial().write([]byte{6, 0x40, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1})
		}
		if used := h.broker.produceMemory.used.Load(); used != 0 {
			t.Errorf("they hold %d bytes", used)
		}
		p := h.dial()
		p.send(1, produceRequest())
		produce.expectBegun(t, 1)
		produce.finish[0] <- nil
		p.expect(1)
	})
}

// announce sends the beginning of a Produce request of that size.
func (p *peer) announce(size int) {
	head := append(binary.BigEndian.AppendUint32(nil, uint32(size)), 0, 0, 0, 9, 0, 0, 0, 1)
	p.write(append(head, make([]byte, 2*readBuffer)...))
}

func TestLargeRequestsThatStallHoldBackNoSmallOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var produce slow
		h := newHouse(t, func(c *Config) { c.ProduceMemory = 4 << 20 }, api{key: kmsg.Produce, start: produce.start()})
		defer h.close()
		for range 50 {
			h.dial().announce(1 << 20)
		}
		synctest.Wait()
		if used := h.broker.largeMemory.used.Load(); used != 3<<20 {
			t.Errorf("they hold %d bytes", used)
		}
		for range 50 { // a small one takes its share when it is here, not before
			h.dial().announce(smallFrame)
		}
		p := h.dial()
		p.send(1, produceRequest())
		produce.expectBegun(t, 1)
		produce.finish[0] <- nil
		p.expect(1)
	})
}

func TestWhoStallsWhileOthersWaitForTheMemoryIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, func(c *Config) { c.ProduceMemory = 4 << 20 })
		defer h.close()
		first := h.dial()
		first.announce(3 << 20)
		time.Sleep(5 * time.Second)
		first.expectOpen() // nobody waits: it may take its time
		second := h.dial()
		second.announce(1 << 20)
		time.Sleep(2 * stallTimeout)
		first.expectClosed()
		second.expectOpen()
		if used := h.broker.largeMemory.used.Load(); used != 1<<20 {
			t.Errorf("%d bytes are held", used)
		}
	})
}

func TestALargeRequestIsNotReadAheadOfAParkedOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		done := make(chan struct{})
		h := newHouse(t, nil, api{key: kmsg.Fetch, handle: func(_ *Broker, ctx context.Context, r *request) (kmsg.Response, error) {
			<-done
			return r.body.ResponseKind(), nil
		}})
		defer h.close()
		p := h.dial()
		p.send(1, fetchRequest())
		for i := range int32(5) {
			long := append(frameOf(2+i, versionsRequest()), make([]byte, 2*freeFrame)...) // what follows a body is ignored
			binary.BigEndian.PutUint32(long, uint32(len(long)-4))
			p.write(long)
		}
		synctest.Wait()
		if used := h.broker.otherMemory.used.Load(); used != 0 {
			t.Errorf("what nobody can answer yet holds %d bytes", used)
		}
		close(done)
		for i := range int32(6) {
			p.expect(1 + i)
		}
		synctest.Wait()
		if used := h.broker.otherMemory.used.Load(); used != 0 {
			t.Errorf("%d bytes are held in the end", used)
		}
	})
}

func TestAnIdleConnectionKeepsNothingOfItsLastRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var last weak.Pointer[request]
		h := newHouse(t, nil, api{key: kmsg.JoinGroup, handle: func(_ *Broker, _ context.Context, r *request) (kmsg.Response, error) {
			last = weak.Make(r)
			return r.body.ResponseKind(), nil
		}})
		defer h.close()
		p := h.dial()
		p.send(1, joinRequest())
		p.expect(1)
		synctest.Wait()
		if runtime.GC(); last.Value() != nil {
			t.Error("the request is still in memory")
		}
	})
}

func TestAProduceLargerThanAllMemoryIsServedAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var produce slow
		h := newHouse(t, func(c *Config) { c.ProduceMemory = 1 }, api{key: kmsg.Produce, start: produce.start()})
		defer h.close()
		p := h.dial()
		p.send(1, produceRequest())
		p.send(2, produceRequest())
		produce.expectBegun(t, 1)
		produce.finish[0] <- nil
		p.expect(1)
		produce.expectBegun(t, 2)
		produce.finish[1] <- nil
		p.expect(2)
	})
}

func TestTooManyConnectionsAreClosed(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"in all": func(c *Config) { c.MaxConnections = 2 },
		"per ip": func(c *Config) { c.MaxConnectionsPerIP = 2 },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t, change)
				defer h.close()
				a, b, c := h.dial(), h.dial(), h.dial()
				c.expectClosed()
				a.hangUp()
				b.expectOpen()
				h.dial().expectOpen()
			})
		})
	}
}

func TestShutdownAnswersWhatWasBegun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var produce slow
		park := func(b *Broker, ctx context.Context, r *request) (kmsg.Response, error) {
			<-b.stopping
			return r.body.ResponseKind(), nil
		}
		h := newHouse(t, nil, api{key: kmsg.Produce, start: produce.start()}, api{key: kmsg.Fetch, handle: park})
		producer, consumer, idle := h.dial(), h.dial(), h.dial()
		producer.send(1, produceRequest())
		producer.send(2, produceRequest())
		consumer.send(1, fetchRequest())
		consumer.expectNothing()
		go h.close()
		synctest.Wait()
		consumer.expect(1)
		consumer.expectClosed()
		idle.expectClosed()
		producer.expectOpen()
		if _, err := h.pipes.dial(); err == nil {
			t.Error("a connection is accepted")
		}
		produce.finish[0] <- nil
		produce.finish[1] <- nil
		producer.expect(1)
		producer.expect(2)
		producer.expectClosed()
	})
}

func TestShutdownCutsWhatTakesTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var produce, join slow
		h := newHouse(t, nil, api{key: kmsg.Produce, start: produce.start()}, api{key: kmsg.JoinGroup, handle: join.handle()})
		a, b := h.dial(), h.dial()
		a.send(1, produceRequest())
		b.send(1, joinRequest())
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := h.broker.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		a.expectClosed()
		b.expectClosed()
		<-h.served
	})
}
