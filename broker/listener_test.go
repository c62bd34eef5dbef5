package broker

import (
	"errors"
	"log/slog"
	"net"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"sluice/broker/group"
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

func TestEachListenerTellsItsOwnAddress(t *testing.T) {
	silent := slog.New(slog.DiscardHandler)
	config := DefaultConfig()
	config.Listeners = []Listener{
		{Name: "INTERNAL", Bind: "127.0.0.1:0", Host: "127.0.0.1"}, // the port that is bound
		{Name: "EXTERNAL", Bind: "127.0.0.1:0", Host: "kafka.example.org", Port: 19092},
	}
	b, err := New(config, nil, nil, &Groups{now: coordination{manager: group.New(group.Config{Log: silent})}}, silent)
	if err != nil {
		t.Fatal(err)
	}
	sockets := map[string]net.Listener{}
	for _, l := range config.Listeners {
		ln, err := net.Listen("tcp", l.Bind)
		if err != nil {
			t.Fatal(err)
		}
		sockets[l.Name] = ln
		go b.ServeListener(l.Name, ln)
	}
	defer b.Shutdown(t.Context())
	bound := int32(sockets["INTERNAL"].Addr().(*net.TCPAddr).Port)
	for name, want := range map[string]kmsg.DescribeClusterResponseBroker{
		"INTERNAL": {Host: "127.0.0.1", Port: bound},
		"EXTERNAL": {Host: "kafka.example.org", Port: 19092},
	} {
		client, err := kgo.NewClient(kgo.SeedBrokers(sockets[name].Addr().String()))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := kmsg.NewPtrDescribeClusterRequest().RequestWith(t.Context(), client.SeedBrokers()[0])
		client.Close()
		if err != nil || len(resp.Brokers) != 1 || resp.Brokers[0].Host != want.Host || resp.Brokers[0].Port != want.Port {
			t.Errorf("%s: got %+v, %v", name, resp, err)
		}
	}
}

func TestOneListenerThatCannotBeBoundIsTheEndOfAll(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	silent := slog.New(slog.DiscardHandler)
	config := DefaultConfig()
	config.Listeners = []Listener{{Name: "A", Bind: "127.0.0.1:0"}, {Name: "B", Bind: taken.Addr().String()}}
	b, err := New(config, nil, nil, &Groups{now: coordination{manager: group.New(group.Config{Log: silent})}}, silent)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Serve(t.Context()); err == nil || errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
}
