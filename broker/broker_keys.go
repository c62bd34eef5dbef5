package broker

import (
	"strconv"
	"strings"

	"sluice/storage"
)

// Broker-level settings of ours that bound what clients may create; they stand in
// Config.Broker.
const (
	keyMaxPartitions         = "sluice.max.partitions"
	keyMaxPartitionsPerTopic = "sluice.max.partitions.per.topic"

	defaultMaxPartitions         = 200_000 // Kafka's own advice for a cluster
	defaultMaxPartitionsPerTopic = 10_000
)

// keyLogDirs is where topics are, in Kafka's words; here it is the URL of the root.
const keyLogDirs = "log.dirs"

// maxPartitions bounds the partitions of all topics together.
func (b *Broker) maxPartitions() int32 {
	return b.numberSetting(keyMaxPartitions, defaultMaxPartitions)
}

// maxPartitionsPerTopic bounds those of one.
func (b *Broker) maxPartitionsPerTopic() int32 {
	return b.numberSetting(keyMaxPartitionsPerTopic, defaultMaxPartitionsPerTopic)
}

// numberSetting is a setting of Config.Broker, or its default.
func (b *Broker) numberSetting(name string, standard int32) int32 {
	n, err := strconv.ParseInt(strings.TrimSpace(b.config.Broker[name]), 10, 32)
	if err != nil || n <= 0 {
		return standard
	}
	return int32(n)
}

// logDir is the one directory of this broker.
func (b *Broker) logDir() string {
	if url := b.config.Broker[keyLogDirs]; url != "" {
		return url
	}
	return "sluice" // a name for the root that was not given; clients only show it
}

// brokerKey is one broker config that DescribeConfigs tells. Its value is that in
// Config.Broker, unless Config has a field for it.
type brokerKey struct {
	name     string
	kind     storage.ConfigType
	standard string               // the default
	unset    bool                 // there is no default
	value    func(*Broker) string // the field of Config, if it has one
	doc      string
}

// brokerKeys are the broker configs that are no synonyms of topic configs: those
// that this broker acts on, and those that tools ask a broker for.
var brokerKeys = []brokerKey{
	{name: "advertised.listeners", kind: storage.ConfigList, unset: true, value: func(b *Broker) string {
		return b.listenersText(func(l *Listener) string { return l.Name + "://" + l.address() })
	}, doc: "The addresses that clients are told to connect to."},
	{name: "auto.create.topics.enable", kind: storage.ConfigBoolean, standard: "true",
		value: func(b *Broker) string { return strconv.FormatBool(b.config.AutoCreateTopics) },
		doc:   "Whether a topic that a client asks for and that does not exist is made."},
	{name: "broker.id", kind: storage.ConfigInt, standard: "-1",
		value: func(b *Broker) string { return strconv.Itoa(int(b.config.NodeID)) },
		doc:   "The older name of node.id."},
	{name: "broker.rack", kind: storage.ConfigString, unset: true,
		value: func(b *Broker) string { return b.config.Rack },
		doc:   "The rack or availability zone of the broker."},
	{name: "connections.max.idle.ms", kind: storage.ConfigLong, standard: "600000",
		value: func(b *Broker) string { return strconv.FormatInt(b.config.IdleTimeout.Milliseconds(), 10) },
		doc:   "After how long without requests a connection is closed, in ms."},
	{name: "default.replication.factor", kind: storage.ConfigInt, standard: "1",
		doc: "The replication factor of new topics; the object store replicates, so it is always 1."},
	{name: "delete.topic.enable", kind: storage.ConfigBoolean, standard: "true",
		value: func(b *Broker) string { return strconv.FormatBool(b.config.DeleteTopics) },
		doc:   "Whether clients may delete topics."},
	{name: "fetch.max.bytes", kind: storage.ConfigInt, standard: "57671680",
		value: func(b *Broker) string { return strconv.Itoa(int(b.config.FetchMaxBytes)) },
		doc:   "How many bytes of records one Fetch response holds at most."},
	{name: "group.initial.rebalance.delay.ms", kind: storage.ConfigInt, standard: "3000",
		doc: "How long an empty group waits for more members before its first generation, in ms."},
	{name: "group.max.session.timeout.ms", kind: storage.ConfigInt, standard: "1800000",
		doc: "The longest session timeout that a member may ask for, in ms."},
	{name: "group.max.size", kind: storage.ConfigInt, standard: "10000",
		doc: "How many members a group can have."},
	{name: "group.min.session.timeout.ms", kind: storage.ConfigInt, standard: "6000",
		doc: "The shortest session timeout that a member may ask for, in ms."},
	// Gone from Kafka 4, but tools still derive what a cluster can do from it.
	{name: "inter.broker.protocol.version", kind: storage.ConfigString, standard: "4.0-IV3",
		doc: "The version of Kafka that this broker is like."},
	{name: "listeners", kind: storage.ConfigList, standard: "PLAINTEXT://:9092", value: func(b *Broker) string {
		return b.listenersText(func(l *Listener) string { return l.Name + "://" + l.Bind })
	}, doc: "The addresses that the broker listens on."},
	{name: keyLogDirs, kind: storage.ConfigList, unset: true,
		doc: "The URL under which all topics are."},
	{name: "max.connections", kind: storage.ConfigInt, standard: "20000",
		value: func(b *Broker) string { return strconv.Itoa(b.config.MaxConnections) },
		doc:   "How many connections may be open at a time."},
	{name: "max.connections.per.ip", kind: storage.ConfigInt, standard: "10000",
		value: func(b *Broker) string { return strconv.Itoa(b.config.MaxConnectionsPerIP) },
		doc:   "How many of them from one address."},
	{name: "node.id", kind: storage.ConfigInt, standard: "1",
		value: func(b *Broker) string { return strconv.Itoa(int(b.config.NodeID)) },
		doc:   "The id of this broker."},
	{name: "num.partitions", kind: storage.ConfigInt, standard: "1",
		value: func(b *Broker) string { return strconv.Itoa(int(b.config.NumPartitions)) },
		doc:   "The number of partitions of a new topic if nothing else is said."},
	{name: "offset.metadata.max.bytes", kind: storage.ConfigInt, standard: strconv.Itoa(maxOffsetMetadata),
		doc: "How long the text that comes with a committed offset may be, in bytes."},
	{name: "offsets.retention.minutes", kind: storage.ConfigInt, standard: "10080",
		doc: "How long the offsets of an empty group are kept, in minutes."},
	{name: "process.roles", kind: storage.ConfigList, standard: "broker,controller",
		doc: "What this process does in the cluster."},
	{name: keyMaxPartitions, kind: storage.ConfigInt, standard: strconv.Itoa(defaultMaxPartitions),
		doc: "How many partitions all topics together may have."},
	{name: keyMaxPartitionsPerTopic, kind: storage.ConfigInt, standard: strconv.Itoa(defaultMaxPartitionsPerTopic),
		doc: "How many partitions a topic may have."},
	{name: "socket.request.max.bytes", kind: storage.ConfigInt, standard: "104857600",
		value: func(b *Broker) string { return strconv.Itoa(int(b.config.MaxFrame)) },
		doc:   "How large a Produce request may be, in bytes."},
}

// listenersText lists the listeners, with the ports that were bound.
func (b *Broker) listenersText(text func(*Listener) string) string {
	b.mu.Lock() // guards the ports
	defer b.mu.Unlock()
	var listeners []string
	for _, l := range b.listeners {
		listeners = append(listeners, text(l))
	}
	return strings.Join(listeners, ",")
}
