package main

import (
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"sluice/broker"
)

// fromEnvironment makes settings of variables.
func fromEnvironment(t *testing.T, environ ...string) (settings, error) {
	t.Helper()
	properties, err := sources{environ: environ}.merge()
	if err != nil {
		t.Fatal(err)
	}
	return newSettings(properties)
}

func TestWithoutSettingsEverythingHasItsDefault(t *testing.T) {
	s, err := fromEnvironment(t)
	if err != nil {
		t.Fatal(err)
	}
	if s.store != "./sluice-data" || s.http != ":9644" || s.logLevel != slog.LevelInfo || s.logFormat != "text" ||
		s.offsetsRetention != 7*24*time.Hour || s.rebalanceDelay != 0 || s.putsPerSecond != -1 || s.pprof {
		t.Errorf("got %+v", s)
	}
	if b := s.broker; b.NodeID != 1 || b.ClusterID != "" || b.NumPartitions != 1 || !b.AutoCreateTopics || !b.DeleteTopics {
		t.Errorf("got %+v", b)
	}
	want := []broker.Listener{{Name: "PLAINTEXT", Bind: ":9092", Host: "localhost", Port: 9092}}
	if !reflect.DeepEqual(s.broker.Listeners, want) {
		t.Errorf("listeners are %+v", s.broker.Listeners)
	}
	if len(s.topicDefaults) > 0 {
		t.Errorf("topic defaults are %v", s.topicDefaults)
	}
}

func TestKafkasSettingsHaveTheirEffect(t *testing.T) {
	s, err := fromEnvironment(t,
		"KAFKA_NUM_PARTITIONS=6", "KAFKA_AUTO_CREATE_TOPICS_ENABLE=False", "KAFKA_DELETE_TOPIC_ENABLE=false",
		"KAFKA_LOG_RETENTION_HOURS=2", "KAFKA_MESSAGE_MAX_BYTES=2000000",
		"KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS=3000", "KAFKA_OFFSETS_RETENTION_MINUTES=60",
		"KAFKA_CONNECTIONS_MAX_IDLE_MS=1000", "KAFKA_BROKER_ID=7", "CLUSTER_ID=5L6g3nShT-eMCtK--X86sw",
		"KAFKA_LOG_DIRS=/var/lib/kafka/data", "SLUICE_LOG_LEVEL=debug", "SLUICE_HTTP=off",
		"SLUICE_COMMIT_INTERVAL_MS=10", "SLUICE_MAX_PARTITIONS=500")
	if err != nil {
		t.Fatal(err)
	}
	b := s.broker
	if b.NumPartitions != 6 || b.AutoCreateTopics || b.DeleteTopics || b.IdleTimeout != time.Second || b.NodeID != 7 ||
		b.ClusterID != "5L6g3nShT-eMCtK--X86sw" || b.Broker["sluice.max.partitions"] != "500" {
		t.Errorf("broker: %+v", b)
	}
	if s.rebalanceDelay != 3*time.Second || s.offsetsRetention != time.Hour || s.store != "/var/lib/kafka/data" ||
		s.logLevel != slog.LevelDebug || s.http != "" {
		t.Errorf("got %+v", s)
	}
	want := map[string]string{"retention.ms": "7200000", "max.message.bytes": "2000000", "sluice.commit.interval.ms": "10"}
	if !reflect.DeepEqual(s.topicDefaults, want) {
		t.Errorf("topic defaults are %v", s.topicDefaults)
	}
	if b.Broker["log.retention.hours"] != "2" {
		t.Errorf("the broker tells %v", b.Broker)
	}
}

func TestEmptyValuesCountAsNotGiven(t *testing.T) {
	s, err := fromEnvironment(t, "KAFKA_NUM_PARTITIONS=", "SLUICE_STORE= ", "KAFKA_LISTENERS=", "KAFKA_LOG_RETENTION_MS=")
	if err != nil || s.store != defaultStore || s.broker.NumPartitions != 1 {
		t.Errorf("got %+v, %v", s, err)
	}
}

func TestWrongValuesAreErrorsThatSayWhereTheyCameFrom(t *testing.T) {
	for variable, want := range map[string]string{
		"KAFKA_NUM_PARTITIONS=0":                  `KAFKA_NUM_PARTITIONS is "0": want a whole number from 1`,
		"KAFKA_NUM_PARTITIONS=six":                `KAFKA_NUM_PARTITIONS is "six"`,
		"KAFKA_AUTO_CREATE_TOPICS_ENABLE=yes":     `is "yes": want true or false`,
		"KAFKA_LOG_RETENTION_MS=soon":             "KAFKA_LOG_RETENTION_MS: ",
		"KAFKA_LOG_CLEANUP_POLICY=shred":          "KAFKA_LOG_CLEANUP_POLICY: ",
		"KAFKA_LOG_DIRS=/a,/b":                    `KAFKA_LOG_DIRS is "/a,/b": want one directory`,
		"SLUICE_LOG_LEVEL=loud":                   `SLUICE_LOG_LEVEL is "loud"`,
		"SLUICE_LOG_FORMAT=xml":                   "want text or json",
		"SLUICE_HTTP=yes":                         `want host:port, :port or "off"`,
		"SLUICE_NODE_ID=-1":                       `SLUICE_NODE_ID is "-1"`,
		"SLUICE_CLUSTER_ID=my cluster":            `SLUICE_CLUSTER_ID is "my cluster"`,
		"SLUICE_MAX_PARTITIONS=many":              `SLUICE_MAX_PARTITIONS is "many"`,
		"KAFKA_LISTENERS=9092":                    "is not NAME://host:port",
		"KAFKA_LISTENERS=SSL://:9093":             "SSL is not supported",
		"KAFKA_LISTENERS=FRONT://:9093":           "no security protocol",
		"KAFKA_AUTHORIZER_CLASS_NAME=kafka.Acl":   "no ACLs",
		"KAFKA_ADVERTISED_LISTENERS=X://here:1,Y": "is not NAME://host:port",
	} {
		_, err := fromEnvironment(t, variable)
		if !strings.Contains(text(err), want) || !isUsage(err) {
			t.Errorf("%s: got %q, want %q", variable, text(err), want)
		}
	}
}

func TestAllWrongValuesAreToldAtOnce(t *testing.T) {
	_, err := fromEnvironment(t, "KAFKA_NUM_PARTITIONS=0", "SLUICE_LOG_LEVEL=loud")
	if lines := strings.Count(text(err), "\n"); lines != 1 {
		t.Errorf("got %q", text(err))
	}
}

func TestSettingsWithoutEffectAreClassified(t *testing.T) {
	s, err := fromEnvironment(t, "KAFKA_PROCESS_ROLES=broker,controller", "KAFKA_CONTROLLER_QUORUM_VOTERS=1@localhost:9093",
		"KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR=1", "KAFKA_HEAP_OPTS=-Xmx1g", "KAFKA_ZOOKEEPER_CONNECT=zookeeper:2181",
		"KAFKA_INTER_BROKER_LISTENER_NAME=INTERNAL", "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR=1",
		"KAFKA_FROBNICATE=1", "KAFKA_SSL_KEYSTORE_LOCATION=/k", "SLUICE_STOER=/x")
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(s.unknown, " "); got != "KAFKA_FROBNICATE SLUICE_STOER" {
		t.Errorf("unknown: %s", got)
	}
	if got := strings.Join(s.unserved, " "); got != "KAFKA_SSL_KEYSTORE_LOCATION" {
		t.Errorf("unserved: %s", got)
	}
	if s.unneeded != 7 {
		t.Errorf("%d are unneeded", s.unneeded)
	}
}

// The listener settings of the compose files that people have.
func TestListenersOfComposeFilesAreUnderstood(t *testing.T) {
	const protocols = "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,PLAINTEXT_HOST:PLAINTEXT,INTERNAL:PLAINTEXT,EXTERNAL:PLAINTEXT"
	plain := func(bind, host string, port int32) broker.Listener {
		return broker.Listener{Name: "PLAINTEXT", Bind: bind, Host: host, Port: port}
	}
	for name, test := range map[string]struct {
		environ []string
		want    []broker.Listener
	}{
		"apache/kafka with a controller that is not advertised": {
			[]string{"KAFKA_LISTENERS=PLAINTEXT://0.0.0.0:9092,CONTROLLER://:9093", "KAFKA_CONTROLLER_LISTENER_NAMES=CONTROLLER",
				"KAFKA_ADVERTISED_LISTENERS=PLAINTEXT://kafka:9092", protocols},
			[]broker.Listener{plain("0.0.0.0:9092", "kafka", 9092)},
		},
		"advertised listeners alone": {
			[]string{"KAFKA_ADVERTISED_LISTENERS=PLAINTEXT://kafka:29092,PLAINTEXT_HOST://localhost:9092", protocols},
			[]broker.Listener{plain(":29092", "kafka", 29092),
				{Name: "PLAINTEXT_HOST", Bind: ":9092", Host: "localhost", Port: 9092}},
		},
		"an advertised listener without a host": {
			[]string{"KAFKA_LISTENERS=INTERNAL://:9092,EXTERNAL://:9094",
				"KAFKA_ADVERTISED_LISTENERS=INTERNAL://kafka:9092,EXTERNAL://:9094", protocols},
			[]broker.Listener{{Name: "INTERNAL", Bind: ":9092", Host: "kafka", Port: 9092},
				{Name: "EXTERNAL", Bind: ":9094", Host: "localhost", Port: 9094}},
		},
		"listeners alone": {
			[]string{"KAFKA_LISTENERS=PLAINTEXT://0.0.0.0:9095"},
			[]broker.Listener{plain("0.0.0.0:9095", "localhost", 9095)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := fromEnvironment(t, test.environ...)
			if err != nil || !reflect.DeepEqual(s.broker.Listeners, test.want) {
				t.Errorf("got %+v, %v", s.broker.Listeners, err)
			}
		})
	}
}
