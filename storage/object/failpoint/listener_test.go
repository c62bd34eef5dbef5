package failpoint_test

import (
	"io"
	"net"
	"testing"

	"sluice/storage/object/failpoint"
)

// frame is a request or an answer, of which only the head matters here.
func frame(head ...byte) []byte { return append([]byte{0, 0, 0, byte(len(head))}, head...) }

func TestAnAnswerToAProduceRequestIsAPoint(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	died := 0
	counter := failpoint.NewCounter(failpoint.Trigger{Point: "ack.before", Nth: 2}, func() { died++ })
	server := make(chan net.Conn, 1)
	go func() {
		nc, _ := failpoint.Listen(ln, counter).Accept()
		server <- nc
	}()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	nc := <-server
	defer nc.Close()

	// Metadata (3), then two Produce requests (0), read in pieces.
	requests := append(frame(0, 3, 0, 9, 0, 0, 0, 1, 'x', 'y'), frame(0, 0, 0, 9, 0, 0, 0, 2)...)
	requests = append(requests, frame(0, 0, 0, 9, 0, 0, 0, 3, 'z')...)
	if _, err := client.Write(requests); err != nil {
		t.Fatal(err)
	}
	for range requests {
		if _, err := io.ReadFull(nc, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	for i, want := range []int{0, 0, 1} {
		if _, err := nc.Write(frame(0, 0, 0, byte(i+1), 'a')); err != nil || died != want {
			t.Errorf("died %d times after answer %d, want %d: %v", died, i+1, want, err)
		}
	}
}
