// Package bench loads a Kafka broker, any one, and measures what its users would
// see: how long a record takes to be acked and to be consumed, how many go through,
// and what that costs the broker.
//
// A latency counts from the time at which the record was meant to be sent. That time
// does not depend on the broker's answers, so a stall of broker or client counts for every
// record that it held up (no coordinated omission).
package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Workload is the shape of a load.
type Workload string

// The workloads.
const (
	// Open sends at a fixed rate, whether or not the broker keeps up.
	Open Workload = "open"
	// Article is the load of Pathway's benchmark "Kafka alternatives": bursts of 10,000
	// messages, each when its last one is due; the time of sending is taken anew for
	// every hundredth message and carried as text.
	Article Workload = "article"
	// Max sends as fast as the broker and the producers' buffers allow.
	Max Workload = "max"
	// Backlog sends as Max does, without a consumer, and then measures how fast
	// consumers read it all.
	Backlog Workload = "backlog"
	// Read reads a topic that is there, whatever is in it, from its start to what is its
	// end when the reading begins.
	Read Workload = "read"
	// Sync sends one record at a time and waits for its ack.
	Sync Workload = "sync"
)

// Load is a load to put on a broker.
type Load struct {
	Name    string // of the broker, for results and plots
	Brokers []string
	// Topic is made anew, with Partitions and Configs; it must not exist, but for Read. If
	// Topics is above 1, so many are made, the others with a number behind the name.
	Topic      string
	Topics     int
	Partitions int32
	Configs    map[string]*string

	Workload Workload
	Rate     int // records per second over all topics; Open and Article
	Size     int // of a value in bytes, at least MinSize
	// Duration is measured, behind WarmUp.
	Duration, WarmUp time.Duration

	Producers int // clients; each sends to all topics
	Consumers int // each reads everything (fan-out)
	Client    Client
	Codec     Codec
	Acks      int // -1 (all), 1 or 0

	// Watch, if not nil, says what the broker's process used.
	Watch *Watch
	// Progress, if not nil, is called each second.
	Progress func(Result)
}

// MinSize is the least size of a value: the time of sending takes so much.
const MinSize = 8

// Result is what was measured.
type Result struct {
	Name      string        `json:"name"`
	Workload  Workload      `json:"workload"`
	Rate      int           `json:"rate,omitempty"`
	Size      int           `json:"size"`
	Topics    int           `json:"topics"`
	Partition int32         `json:"partitions"`
	Producers int           `json:"producers"`
	Consumers int           `json:"consumers"`
	Client    string        `json:"client"`
	Linger    time.Duration `json:"linger_ns"`
	InFlight  int           `json:"in_flight"`
	Codec     string        `json:"compression"`
	Acks      int           `json:"acks"`

	// Records, warm-up included.
	Sent     int64 `json:"sent"`
	Acked    int64 `json:"acked"`
	Consumed int64 `json:"consumed"`
	Failed   int64 `json:"failed"`
	// Elapsed is from the first record to the end of the sending.
	Elapsed time.Duration `json:"elapsed_ns"`
	// Produced and Read are records per second of the measured time (Read: per consumer,
	// until the last one was read).
	Produced float64 `json:"produced_per_second"`
	Read     float64 `json:"read_per_second"`

	Ack      Latency  `json:"ack"`
	EndToEnd Latency  `json:"end_to_end"`
	Series   []Second `json:"series,omitempty"`
	Usage    *Usage   `json:"broker,omitempty"`
	// ClientCPU are the seconds of CPU that this process used in the measured time:
	// on a small machine the client is often the limit.
	ClientCPU float64 `json:"client_cpu_seconds"`
}

func (l *Load) check() error {
	switch {
	case l.Workload == Read && (l.Topic == "" || l.Consumers < 1):
		return errors.New("the workload read needs a topic and a consumer")
	case l.Workload == Read:
		return nil
	case l.Size < MinSize:
		return fmt.Errorf("a value of %d bytes: it holds at least %d", l.Size, MinSize)
	case l.Producers < 1 || l.Topics < 1 || l.Partitions < 1:
		return errors.New("there must be a producer, a topic and a partition")
	case l.Duration <= 0 || l.WarmUp < 0:
		return errors.New("the duration must be positive")
	case (l.Workload == Open || l.Workload == Article) && l.Rate < 1:
		return fmt.Errorf("the workload %s needs a rate", l.Workload)
	case l.Workload == Backlog && l.Consumers < 1:
		return errors.New("the workload backlog needs a consumer")
	}
	return nil
}

// Run makes the topics, runs the load and answers what was measured.
func (l Load) Run(ctx context.Context) (Result, error) {
	if err := l.check(); err != nil {
		return Result{}, err
	}
	r := newRun(l)
	if err := r.prepare(ctx); err != nil {
		return Result{}, err
	}
	defer r.close()
	return r.run(ctx)
}

// topics are the names of the topics.
func (l *Load) topics() []string {
	names := []string{l.Topic}
	for i := 1; i < l.Topics; i++ {
		names = append(names, fmt.Sprintf("%s-%d", l.Topic, i))
	}
	return names
}

// slab hands out values and records of which many are allocated at a time: a load
// of a million a second must not be one of the garbage collector.
type slab struct {
	load    *Load
	bytes   []byte
	records []kgo.Record
	at      int // in the text
}

func (s *slab) record(topic string, at time.Time) *kgo.Record {
	const many = 1024
	if len(s.records) == 0 {
		s.records, s.bytes = make([]kgo.Record, many), make([]byte, many*s.load.Size)
	}
	r := &s.records[0]
	s.records = s.records[1:]
	r.Topic, r.Value = topic, s.bytes[:s.load.Size:s.load.Size]
	s.bytes = s.bytes[s.load.Size:]
	stamp(r.Value, at)
	if at.IsZero() {
		return r // it does not count
	}
	for rest := r.Value[MinSize:]; len(rest) > 0; {
		n := copy(rest, text()[s.at:])
		s.at = (s.at + n) % textBytes
		rest = rest[n:]
	}
	return r
}

// textBytes is how much text there is: more than the codecs look back, so that values
// compress like the records that they resemble and not like copies of each other.
const textBytes = 1 << 20

// text is what the values are cut from: JSON of the kind that sensors and shops send, which
// Snappy shrinks to about half. It is the same in each run.
var text = sync.OnceValue(func() []byte {
	r := rand.New(rand.NewPCG(1, 2))
	kinds := []string{"created", "paid", "shipped", "returned", "cancelled"}
	b := make([]byte, 0, textBytes+256)
	for len(b) < textBytes {
		b = fmt.Appendf(b, `{"id":"%08x","kind":"%s","customer":%d,"amount":%d.%02d,"place":[%.4f,%.4f]}`,
			r.Uint32(), kinds[r.IntN(len(kinds))], r.IntN(1_000_000), r.IntN(1000), r.IntN(100), r.Float64()*180-90, r.Float64()*360-180)
	}
	return b[:textBytes]
})
