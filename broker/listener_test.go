package broker

import (
	"errors"
	"net"
	"sync"
	"testing"
)

// pipes is a listener whose connections are in memory, so that a broker and its
// clients run on the fake time of testing/synctest.
type pipes struct {
	dialed chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes { return &pipes{dialed: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.dialed:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return pipeAddr{} }

func (p *pipes) dial() (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.dialed <- server:
		return client, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }

func TestListenersAreParsedAsInKafka(t *testing.T) {
	tests := []struct {
		listeners, advertised, security string
		want                            []Listener
	}{
		{"PLAINTEXT://:9092", "", "", []Listener{{"PLAINTEXT", ":9092", "localhost", 9092}}},
		{"PLAINTEXT://0.0.0.0:9092", "", "", []Listener{{"PLAINTEXT", "0.0.0.0:9092", "localhost", 9092}}},
		{"plaintext://10.0.0.7:9092", "", "", []Listener{{"PLAINTEXT", "10.0.0.7:9092", "10.0.0.7", 9092}}},
		{"PLAINTEXT://[::1]:9092", "", "", []Listener{{"PLAINTEXT", "[::1]:9092", "::1", 9092}}},
		{"PLAINTEXT://:9092", "PLAINTEXT://kafka.example.org:19092", "", []Listener{{"PLAINTEXT", ":9092", "kafka.example.org", 19092}}},
		{
			"INTERNAL://:9092, EXTERNAL://:9093", "INTERNAL://broker:9092,EXTERNAL://localhost:9093", "INTERNAL:PLAINTEXT,EXTERNAL:plaintext",
			[]Listener{{"INTERNAL", ":9092", "broker", 9092}, {"EXTERNAL", ":9093", "localhost", 9093}},
		},
	}
	for _, test := range tests {
		got, err := ParseListeners(test.listeners, test.advertised, test.security)
		if err != nil {
			t.Errorf("%s: %v", test.listeners, err)
			continue
		}
		if len(got) != len(test.want) {
			t.Errorf("%s: got %v", test.listeners, got)
			continue
		}
		for i := range got {
			if got[i] != test.want[i] {
				t.Errorf("%s: got %v, want %v", test.listeners, got[i], test.want[i])
			}
		}
	}
}

func TestListenersThatCannotBeServedAreRefused(t *testing.T) {
	for _, test := range [][3]string{
		{"", "", ""},
		{"PLAINTEXT", "", ""},
		{"PLAINTEXT://host", "", ""},
		{"PLAINTEXT://:port", "", ""},
		{"PLAINTEXT://:99999", "", ""},
		{"PLAIN TEXT://:9092", "", ""},
		{"SSL://:9092", "", ""},
		{"SASL_SSL://:9092", "", ""},
		{"EXTERNAL://:9092", "", ""},
		{"EXTERNAL://:9092", "", "EXTERNAL:SASL_PLAINTEXT"},
		{"EXTERNAL://:9092", "", "EXTERNAL:NONSENSE"},
		{"EXTERNAL://:9092", "", "EXTERNAL"},
		{"EXTERNAL://:9092", "", "EXTERNAL:PLAINTEXT,EXTERNAL:PLAINTEXT"},
		{"PLAINTEXT://:9092,PLAINTEXT://:9093", "", ""},
		{"PLAINTEXT://:9092", "PLAINTEXT://0.0.0.0:9092", ""},
		{"PLAINTEXT://:9092", "PLAINTEXT://:9092", ""},
		{"PLAINTEXT://:9092", "OTHER://host:9092", ""},
	} {
		if got, err := ParseListeners(test[0], test[1], test[2]); !errors.Is(err, ErrListener) {
			t.Errorf("%q: got %v, %v", test, got, err)
		}
	}
}
