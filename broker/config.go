package broker

import "time"

// Config is what a broker is told at its start. The zero value is not usable:
// begin with DefaultConfig. Kafka's name of each setting stands in brackets.
type Config struct {
	// NodeID is this broker's id [node.id], ClusterID the cluster's: 22
	// characters of base64url, the same for every broker of a root and over
	// restarts, as Java clients refuse to follow a cluster that changes its id.
	NodeID    int32
	ClusterID string
	Rack      string // [broker.rack], empty for none

	// Listeners are where clients come in; see ParseListeners.
	Listeners []Listener

	// AutoCreateTopics makes a topic that Metadata asks for and that does not
	// exist [auto.create.topics.enable], with NumPartitions partitions
	// [num.partitions], which is also what CreateTopics takes -1 for.
	AutoCreateTopics bool
	NumPartitions    int32
	// DeleteTopics allows clients to delete topics [delete.topic.enable].
	DeleteTopics bool

	// Broker holds further broker-level settings by their Kafka name, as
	// DescribeConfigs tells them (STATIC_BROKER_CONFIG).
	Broker map[string]string

	// MaxFrame bounds a Produce request [socket.request.max.bytes], MaxOtherFrame
	// that of any other API: none of them carries records.
	MaxFrame      int32
	MaxOtherFrame int32
	// FetchMaxBytes caps the records of one Fetch response [fetch.max.bytes].
	FetchMaxBytes int32

	// ProduceMemory bounds the bytes of all Produce requests between the reading of
	// their body and the making of their answer; OtherMemory the same for large
	// requests of other APIs. At the bound connections are not read from.
	ProduceMemory int64
	OtherMemory   int64
	// AnswerMemory bounds the bytes of large responses, from before they are made until
	// they are sent. At the bound those of Fetch become small, others wait, and a client
	// that does not take its response loses its connection.
	AnswerMemory int64
	// MaxInFlight bounds the unanswered requests of one connection; at the bound
	// it is not read from.
	MaxInFlight int

	// MaxConnections and MaxConnectionsPerIP bound what is open at a time
	// [max.connections, max.connections.per.ip]; what comes beyond is closed at once.
	MaxConnections      int
	MaxConnectionsPerIP int
	// IdleTimeout closes a connection without requests [connections.max.idle.ms].
	IdleTimeout time.Duration
	// FrameTimeout is how long the rest of a request may take once its first byte
	// is here (large ones get more, see frameDeadline); WriteTimeout how long the
	// client may take to accept an answer.
	FrameTimeout time.Duration
	WriteTimeout time.Duration
}

// DefaultConfig answers the defaults, which are Kafka's where Kafka has one.
// ClusterID and Listeners are left to the caller.
func DefaultConfig() Config {
	return Config{
		NodeID:           1,
		AutoCreateTopics: true,
		NumPartitions:    1,
		DeleteTopics:     true,

		MaxFrame:      100 << 20,
		MaxOtherFrame: 16 << 20,
		FetchMaxBytes: 55 << 20,

		ProduceMemory: 256 << 20,
		OtherMemory:   64 << 20,
		AnswerMemory:  128 << 20,
		MaxInFlight:   256,

		MaxConnections:      20_000,
		MaxConnectionsPerIP: 10_000,
		IdleTimeout:         10 * time.Minute,
		FrameTimeout:        30 * time.Second,
		WriteTimeout:        30 * time.Second,
	}
}
