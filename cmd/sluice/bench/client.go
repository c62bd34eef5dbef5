package bench

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Client is how a producing client is set: what decides throughput and latency
// beside the broker. All run on franz-go.
type Client struct {
	Name   string
	Linger time.Duration
	Batch  int32 // bytes
	// InFlight are requests per connection. Other than idempotentInFlight, producers
	// are not idempotent.
	InFlight int
	// Buffered records, or bytes, may wait in a producer; beyond it sending blocks.
	Records, Bytes int
}

// clients are the default settings of common clients.
var clients = []Client{
	{"bench", 5 * time.Millisecond, 1_000_012, 5, 1 << 20, 0},    // franz-go with room for an open loop
	{"franz-go", 10 * time.Millisecond, 1_000_012, 5, 10_000, 0}, // kgo/config.go
	{"java", 5 * time.Millisecond, 16_384, 5, 1 << 20, 32 << 20}, // ProducerConfig of 4.x
	{"librdkafka", 5 * time.Millisecond, 1_000_000, 5, 100_000, 1 << 30},
	// What none of them is by default: so many requests that commits hold up none. With
	// 5, a linger of 5 ms and commits each 50 ms, half of an open load waits in the client.
	{"open", 5 * time.Millisecond, 1_000_012, 100, 1 << 20, 0},
}

// idempotentInFlight are the requests of a connection that a broker keeps in order for
// an idempotent producer; franz-go takes no other number.
const idempotentInFlight = 5

// LookupClient finds a client's settings by name.
func LookupClient(name string) (Client, error) {
	for _, c := range clients {
		if c.Name == name {
			return c, nil
		}
	}
	return Client{}, fmt.Errorf("no client %q: want one of %s", name, strings.Join(ClientNames(), ", "))
}

// ClientNames lists the clients whose settings are known.
func ClientNames() (names []string) {
	for _, c := range clients {
		names = append(names, c.Name)
	}
	return names
}

// Codec is a compression by its name in Kafka.
type Codec string

// Codecs are the compressions that a producer may use.
var Codecs = []Codec{"none", "gzip", "snappy", "lz4", "zstd"}

func (c Codec) option() (kgo.CompressionCodec, error) {
	all := []kgo.CompressionCodec{kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()}
	if i := slices.Index(Codecs, c); i >= 0 {
		return all[i], nil
	}
	return kgo.CompressionCodec{}, fmt.Errorf("no compression %q: want one of %v", c, Codecs)
}

// producer makes a producing client.
func (l *Load) producer() (*kgo.Client, error) {
	codec, err := l.Codec.option()
	if err != nil {
		return nil, err
	}
	c := l.Client
	options := []kgo.Opt{
		kgo.SeedBrokers(l.Brokers...), kgo.ClientID("sluice-bench"), kgo.ProducerLinger(c.Linger),
		kgo.ProducerBatchMaxBytes(c.Batch), kgo.ProducerBatchCompression(codec),
		kgo.MaxBufferedRecords(max(1, c.Records/l.Producers)), kgo.MaxBufferedBytes(c.Bytes / l.Producers),
	}
	if l.Partitions > 1 {
		// Batches fill as with the clients that stick to a partition for a while.
		options = append(options, kgo.RecordPartitioner(kgo.UniformBytesPartitioner(16<<10, true, false, nil)))
	}
	switch l.Acks {
	case -1:
	case 1:
		options = append(options, kgo.RequiredAcks(kgo.LeaderAck()))
	case 0:
		options = append(options, kgo.RequiredAcks(kgo.NoAck()))
	default:
		return nil, fmt.Errorf("acks %d: want -1, 1 or 0", l.Acks)
	}
	if l.Acks != -1 || c.InFlight != idempotentInFlight {
		options = append(options, kgo.DisableIdempotentWrite(), kgo.MaxProduceRequestsInflightPerBroker(c.InFlight))
	}
	return kgo.NewClient(options...)
}

// consumer makes a consuming client of all topics, from their start.
func (l *Load) consumer() (*kgo.Client, error) {
	return kgo.NewClient(
		kgo.SeedBrokers(l.Brokers...), kgo.ClientID("sluice-bench"), kgo.ConsumeTopics(l.topics()...),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(500*time.Millisecond),
		kgo.FetchMaxBytes(50<<20), kgo.FetchMaxPartitionBytes(8<<20),
	)
}
