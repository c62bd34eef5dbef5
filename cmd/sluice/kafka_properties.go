package main

import (
	"slices"
	"strings"

	"sluice/storage"
)

// class says what Sluice makes of a property.
type class int

const (
	unknown  class = iota // not Kafka's, or newer than this list: ignored, and named in the log
	honoured              // has its effect
	unneeded              // Kafka needs it, Sluice has nothing to set there: ignored quietly
	unserved              // protects something in Kafka that Sluice does not protect yet: ignored with a warning
)

// honouredProperties are read in settings.go; those of topics come from
// storage.ConfigKeys.
var honouredProperties = []string{
	"sluice.store", "sluice.store.latency", "sluice.store.puts.per.second", "sluice.store.wait.ms", "sluice.http", "sluice.http.pprof",
	"sluice.cache.dir", "sluice.cache.bytes",
	"sluice.log.level", "sluice.log.format", "sluice.max.partitions", "sluice.max.partitions.per.topic",
	"listeners", "advertised.listeners", "listener.security.protocol.map", "controller.listener.names",
	"node.id", "broker.id", "cluster.id", "broker.rack", "log.dirs", "log.dir",
	"auto.create.topics.enable", "num.partitions", "delete.topic.enable",
	"socket.request.max.bytes", "fetch.max.bytes",
	"max.connections", "max.connections.per.ip", "connections.max.idle.ms",
	"group.initial.rebalance.delay.ms", "group.min.session.timeout.ms",
	"group.max.session.timeout.ms", "group.max.size", "offsets.retention.minutes",
	"authorizer.class.name",
}

// unneededPrefixes cover what Kafka's images and server.properties set for its
// controllers, replicas, segments and its JVM.
var unneededPrefixes = []string{
	// The cluster's own parts.
	"process.roles", "controller.", "zookeeper.", "inter.broker.", "broker.", "kraft.", "metadata.",
	"node.", "raft.", "early.start.listeners", "initial.broker.", "unstable.", "reserved.broker.",
	// Internal topics and replicas.
	"offsets.", "transaction.", "transactional.", "share.", "group.", "default.replication.factor",
	"min.insync.replicas", "replica.", "replication.", "num.", "auto.leader.", "leader.", "unclean.",
	"remote.", "producer.id.", "telemetry.", "client.quota.", "quota.", "alter.", "add.partitions.",
	// Files and threads.
	"log.", "background.threads", "queued.", "socket.", "request.timeout.ms", "compression.",
	"connection.", "connections.", "max.", "message.", "fetch.", "purgatory.", "controlled.",
	// The JVM, the images and what reports from within.
	"heap.opts", "opts", "jvm.", "jmx.", "gc.", "log4j.", "tools.", "version", "home", "metric",
	"auto.include.jmx.reporter", "confluent.", "enable.kraft", "debug",
}

// unservedPrefixes name protection. Leaving it out must not go unnoticed.
var unservedPrefixes = []string{
	"sasl.", "ssl.", "listener.name.", "security.", "super.users", "allow.everyone.", "principal.",
	"delegation.token.", "password.", "client.users", "client.passwords", "inter.broker.user",
	"inter.broker.password", "tls.", "certificate.", "authorizer.", "connections.max.reauth.ms",
}

// topicProperties are the broker properties that set a default for all topics.
var topicProperties = func() map[string]bool {
	names := map[string]bool{}
	for _, key := range storage.ConfigKeys() {
		for _, synonym := range key.Broker {
			names[synonym.Name] = true
		}
	}
	return names
}()

func classOf(name string) class {
	hasPrefix := func(prefix string) bool { return strings.HasPrefix(name, prefix) }
	switch {
	case slices.Contains(honouredProperties, name) || topicProperties[name]:
		return honoured
	case slices.ContainsFunc(unservedPrefixes, hasPrefix):
		return unserved
	case slices.ContainsFunc(unneededPrefixes, hasPrefix):
		return unneeded
	}
	return unknown
}
