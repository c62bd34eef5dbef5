package main

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/broker"
	"sluice/storage"
)

// Defaults of serve that are not Kafka's.
const (
	defaultStore     = "./sluice-data"
	defaultListeners = "PLAINTEXT://:9092"
	// defaultHTTP is the port of Redpanda's admin API, which dashboards and
	// probes of brokers already know.
	defaultHTTP = ":9644"
	// defaultRebalanceDelay is that of Kafka's own quick start: a first consumer
	// gets its partitions at once. Kafka's default for clusters is 3 s.
	defaultRebalanceDelay = 0
	// defaultOffsetsRetention is Kafka's offsets.retention.minutes, 7 days.
	defaultOffsetsRetention = 10080 * time.Minute
)

// settings are the configuration of `sluice serve`, checked.
type settings struct {
	store     string // as the user wrote it
	http      string // empty: off
	logLevel  slog.Level
	logFormat string // text or json

	broker broker.Config // without ClusterID, unless the user gave one
	// topicDefaults are the topic configs that broker properties change for all
	// topics (log.retention.hours and such).
	topicDefaults map[string]string

	rebalanceDelay                       time.Duration
	minSessionTimeout, maxSessionTimeout time.Duration // 0: the default
	maxGroupSize                         int           // 0: the default
	offsetsRetention                     time.Duration

	// putsPerSecond is the budget of the store, 0 for none, -1 for the default of
	// the kind of store (sluice.store.puts.per.second).
	putsPerSecond int64
	// storeWait is how long a start waits for a store that is down (sluice.store.wait.ms).
	storeWait time.Duration
	pprof     bool // serve profiles on the http address
	// storeLatency names the profile that the store is slowed down to, "none" for as
	// it is (sluice.store.latency).
	storeLatency string
	// cacheDir and cacheBytes are of the disk cache (sluice.cache.dir,
	// sluice.cache.bytes): "" and -1 for the default of the kind of store.
	cacheDir   string
	cacheBytes int64

	unknown  []string // where settings came from that nobody knows, sorted
	unserved []string // the same for protection that Sluice does not have yet
	unneeded int      // settings that only Kafka needs
}

// newSettings checks properties and gives the rest its defaults. The error
// holds one line for each wrong value.
func newSettings(properties map[string]property) (settings, error) {
	r := reader{properties: properties}
	b := broker.DefaultConfig()
	s := settings{
		store:     r.text("sluice.store", defaultStore),
		http:      r.http(),
		logLevel:  r.level(),
		logFormat: r.oneOf("sluice.log.format", "text", "json"),

		putsPerSecond: r.number("sluice.store.puts.per.second", -1, 0, 1_000_000),
		storeWait:     r.ms("sluice.store.wait.ms", defaultStoreWait),
		pprof:         r.boolean("sluice.http.pprof", false),
		storeLatency:  r.oneOf("sluice.store.latency", "none", "s3-standard", "s3-express"),

		cacheDir:   r.text("sluice.cache.dir", ""),
		cacheBytes: r.number("sluice.cache.bytes", -1, 0, math.MaxInt64),

		rebalanceDelay:    r.ms("group.initial.rebalance.delay.ms", defaultRebalanceDelay),
		minSessionTimeout: r.ms("group.min.session.timeout.ms", 0),
		maxSessionTimeout: r.ms("group.max.session.timeout.ms", 0),
		maxGroupSize:      int(r.number("group.max.size", 0, 1, math.MaxInt32)),
		offsetsRetention: time.Duration(r.number("offsets.retention.minutes",
			int64(defaultOffsetsRetention/time.Minute), 1, math.MaxInt32)) * time.Minute,
	}
	if _, ok := properties["sluice.store"]; !ok {
		s.store = r.logDirs(s.store)
	}

	b.NodeID = int32(r.number("broker.id", int64(b.NodeID), 0, math.MaxInt32)) // the older name
	b.NodeID = int32(r.number("node.id", int64(b.NodeID), 0, math.MaxInt32))
	if b.ClusterID = r.text("cluster.id", ""); b.ClusterID != "" && !clusterIDForm.MatchString(b.ClusterID) {
		r.refuse("cluster.id", "1 to 64 letters, digits, dots, dashes and underscores")
	}
	b.Rack = r.text("broker.rack", "")
	b.AutoCreateTopics = r.boolean("auto.create.topics.enable", b.AutoCreateTopics)
	b.DeleteTopics = r.boolean("delete.topic.enable", b.DeleteTopics)
	b.NumPartitions = int32(r.number("num.partitions", int64(b.NumPartitions), 1, math.MaxInt32))
	b.MaxFrame = int32(r.number("socket.request.max.bytes", int64(b.MaxFrame), 1, math.MaxInt32))
	b.FetchMaxBytes = int32(r.number("fetch.max.bytes", int64(b.FetchMaxBytes), 1024, math.MaxInt32))
	b.MaxConnections = int(r.number("max.connections", int64(b.MaxConnections), 1, math.MaxInt32))
	b.MaxConnectionsPerIP = int(r.number("max.connections.per.ip", int64(b.MaxConnectionsPerIP), 1, math.MaxInt32))
	b.IdleTimeout = r.ms("connections.max.idle.ms", b.IdleTimeout)
	b.Listeners = r.listeners()
	r.refuseAuthorizer()

	b.Broker, s.topicDefaults = r.topicDefaults()
	// Read by the broker itself, checked here where the origin is known.
	r.number("sluice.max.partitions", 1, 1, math.MaxInt32)
	r.number("sluice.max.partitions.per.topic", 1, 1, math.MaxInt32)
	for _, name := range honouredProperties {
		if v := r.text(name, ""); v != "" {
			b.Broker[name] = v
		}
	}
	b.Broker["group.initial.rebalance.delay.ms"] = strconv.FormatInt(s.rebalanceDelay.Milliseconds(), 10)
	s.broker = b
	s.classify(properties)
	return s, r.err()
}

// classify counts and names what has no effect.
func (s *settings) classify(properties map[string]property) {
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		switch origin := properties[name].origin; classOf(name) {
		case unknown:
			s.unknown = append(s.unknown, origin)
		case unserved:
			s.unserved = append(s.unserved, origin)
		case unneeded:
			s.unneeded++
		}
	}
}

// reader reads properties and collects what is wrong with them.
type reader struct {
	properties map[string]property
	wrong      []error
}

// err is all that was wrong, nil if nothing was.
func (r *reader) err() error {
	if len(r.wrong) == 0 {
		return nil
	}
	return usageError{errors.Join(r.wrong...)}
}

func (r *reader) refuse(name, want string) {
	p := r.properties[name]
	r.wrong = append(r.wrong, fmt.Errorf("%s is %q: want %s", p.origin, p.value, want))
}

// text answers a property without blanks around it; an empty one counts as not
// given, as compose files make of ${UNSET}.
func (r *reader) text(name, fallback string) string {
	return orElse(strings.TrimSpace(r.properties[name].value), fallback)
}

func (r *reader) number(name string, fallback, low, high int64) int64 {
	v := r.text(name, "")
	if v == "" {
		return fallback
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < low || n > high {
		r.refuse(name, fmt.Sprintf("a whole number from %d to %d", low, high))
		return fallback
	}
	return n
}

func (r *reader) ms(name string, fallback time.Duration) time.Duration {
	const most = int64(math.MaxInt64 / time.Millisecond)
	return time.Duration(r.number(name, fallback.Milliseconds(), 0, most)) * time.Millisecond
}

func (r *reader) boolean(name string, fallback bool) bool {
	switch strings.ToLower(r.text(name, strconv.FormatBool(fallback))) {
	case "true":
		return true
	case "false":
		return false
	}
	r.refuse(name, "true or false")
	return fallback
}

// oneOf takes the first value as the default.
func (r *reader) oneOf(name string, values ...string) string {
	v := strings.ToLower(r.text(name, values[0]))
	if !slices.Contains(values, v) {
		r.refuse(name, strings.Join(values, " or "))
	}
	return v
}

func (r *reader) level() slog.Level {
	var level slog.Level
	if err := level.UnmarshalText([]byte(r.text("sluice.log.level", "info"))); err != nil {
		r.refuse("sluice.log.level", "debug, info, warn or error")
	}
	return level
}

func (r *reader) http() string {
	v := r.text("sluice.http", defaultHTTP)
	if v == "off" {
		return ""
	}
	if !isAddress(v) {
		r.refuse("sluice.http", `host:port, :port or "off"`)
	}
	return v
}

// logDirs takes Kafka's directory for its logs as the store, where the user
// named no store: a volume mounted there in a compose file keeps its purpose.
func (r *reader) logDirs(fallback string) string {
	dirs := storage.SplitList(r.text("log.dirs", r.text("log.dir", "")))
	switch len(dirs) {
	case 0:
		return fallback
	case 1:
		return dirs[0]
	}
	name := "log.dirs"
	if r.text(name, "") == "" {
		name = "log.dir"
	}
	r.refuse(name, "one directory, or --store")
	return fallback
}

func (r *reader) listeners() []broker.Listener {
	listeners, advertised := effectiveListeners(r.text("listeners", ""), r.text("advertised.listeners", ""),
		r.text("controller.listener.names", ""))
	parsed, err := broker.ParseListeners(listeners, advertised, r.text("listener.security.protocol.map", ""))
	if err != nil {
		r.wrong = append(r.wrong, err)
	}
	return parsed
}

// refuseAuthorizer does not serve to everybody what the user wants guarded.
func (r *reader) refuseAuthorizer() {
	if r.text("authorizer.class.name", "") != "" {
		r.refuse("authorizer.class.name", "nothing: this version has no ACLs and would let every client in")
	}
}

// topicDefaults finds the defaults of topic configs: as the broker tells them,
// by their own names, and as storage applies them.
func (r *reader) topicDefaults() (synonyms, defaults map[string]string) {
	synonyms = map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(r.properties)) {
		value := r.text(name, "")
		if value == "" || !topicProperties[name] {
			continue
		}
		// One at a time, so that the error can say where the value came from.
		if _, err := storage.TopicDefaults(map[string]string{name: value}); err != nil {
			r.wrong = append(r.wrong, fmt.Errorf("%s: %w", r.properties[name].origin, err))
			continue
		}
		synonyms[name] = value
	}
	defaults, err := storage.TopicDefaults(synonyms)
	if err == nil {
		_, err = storage.ParseSettings(nil, defaults) // finds values that contradict each other
	}
	if err != nil {
		r.wrong = append(r.wrong, err)
	}
	return synonyms, defaults
}
