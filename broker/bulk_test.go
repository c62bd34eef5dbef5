package broker

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"testing"
	"time"
)

// sockets are both ends of a TCP connection.
func sockets(t *testing.T) (broker, client net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if client, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	if broker, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { broker.Close() })
	return broker, client
}

// pieces are bytes in pieces of all sizes, empty ones among them.
func pieces(size int) (whole []byte, frame net.Buffers) {
	whole = make([]byte, size)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range whole {
		whole[i] = byte(random.Uint32())
	}
	for rest := whole; len(rest) > 0; {
		n := min(len(rest), random.IntN(1+random.IntN(64<<10)))
		frame = append(frame, slices.Clone(rest[:n]))
		rest = rest[n:]
	}
	return whole, append(frame, nil)
}

func TestALargeAnswerArrivesAsItIs(t *testing.T) {
	whole, frame := pieces(8 << 20)
	broker, client := sockets(t)
	var n int64
	var failed error
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		n, failed = writeBulk(broker, &frame, make(chan struct{}, 1))
		broker.Close()
	}()
	got, err := io.ReadAll(client)
	<-sent
	if err != nil || failed != nil || n != int64(len(whole)) || len(frame) != 0 {
		t.Fatalf("%v, %v: %d bytes sent, %d parts left", err, failed, n, len(frame))
	}
	if !bytes.Equal(got, whole) {
		t.Error("other bytes arrive")
	}
}

// One answer goes on where the one before was not taken in time; meanwhile the turn is free.
func TestWhoDoesNotTakeALargeAnswerHoldsUpNobody(t *testing.T) {
	turns := make(chan struct{}, 1)
	whole, frame := pieces(32 << 20)
	broker, client := sockets(t)
	broker.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	n, err := writeBulk(broker, &frame, turns)
	if !errors.Is(err, os.ErrDeadlineExceeded) || n == 0 || n == int64(len(whole)) {
		t.Fatalf("%d bytes went in: %v", n, err)
	}
	select {
	case turns <- struct{}{}:
		<-turns
	default:
		t.Fatal("its turn is not over")
	}
	broker.SetWriteDeadline(time.Time{})
	got := make(chan []byte)
	go func() {
		all, _ := io.ReadAll(client)
		got <- all
	}()
	m, err := writeBulk(broker, &frame, turns)
	broker.Close()
	if err != nil || n+m != int64(len(whole)) {
		t.Fatalf("%d and %d bytes: %v", n, m, err)
	}
	if !bytes.Equal(<-got, whole) {
		t.Error("other bytes arrive")
	}
}

func TestAWriteToAClientThatHasGoneFails(t *testing.T) {
	_, frame := pieces(32 << 20)
	broker, client := sockets(t)
	client.Close()
	if _, err := writeBulk(broker, &frame, make(chan struct{}, 1)); err == nil {
		t.Error("no error")
	}
}
