//go:build integration

package integration

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// eventually waits until done, and fails with what done said last.
func eventually(t *testing.T, done func() (otherwise string, ok bool)) {
	t.Helper()
	for deadline := time.Now().Add(clientTimeout); ; time.Sleep(100 * time.Millisecond) {
		otherwise, ok := done()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(otherwise)
		}
	}
}

// soon bounds one try of what is tried again.
func soon(t *testing.T) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), time.Second)
}

// The classes behind Kafka's scripts (bin/kafka-topics.sh, ...).
const (
	kafkaTopics         = "org.apache.kafka.tools.TopicCommand"
	kafkaConfigs        = "kafka.admin.ConfigCommand"
	kafkaProducer       = "org.apache.kafka.tools.ConsoleProducer"
	kafkaConsumer       = "org.apache.kafka.tools.consumer.ConsoleConsumer"
	kafkaGroups         = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
	kafkaGetOffsets     = "org.apache.kafka.tools.GetOffsetShell"
	kafkaDeleteRecords  = "org.apache.kafka.tools.DeleteRecordsCommand"
	kafkaLogDirs        = "org.apache.kafka.tools.LogDirsCommand"
	kafkaCluster        = "org.apache.kafka.tools.ClusterTool"
	kafkaAPIVersions    = "org.apache.kafka.tools.BrokerApiVersionsCommand"
	kafkaProducerPerf   = "org.apache.kafka.tools.ProducerPerformance"
	kafkaConsumerPerf   = "org.apache.kafka.tools.ConsumerPerformance"
	kafkaVerifyProducer = "org.apache.kafka.tools.VerifiableProducer"
	kafkaEndToEnd       = "org.apache.kafka.tools.EndToEndLatency"
)

// consoleTools goes through what people do with Kafka's scripts, in the order of
// Kafka's own documentation.
func (r *toolRow) consoleTools() {
	const topic, group = "console", "console-group"
	broker := []string{"--bootstrap-server", r.b.address}
	with := func(args ...string) []string { return append(slices.Clone(broker), args...) }
	var lines []string
	for i := range 20 {
		lines = append(lines, fmt.Sprintf("key-%d:line %d", i, i))
	}

	r.check("kafka-topics", func(t *testing.T) {
		r.java(t, "", kafkaTopics, with("--create", "--topic", topic, "--partitions", "3", "--replication-factor", "1", "--config", "retention.ms=7200000")...)
		requireLine(t, r.java(t, "", kafkaTopics, with("--list")...), topic)
		requireLine(t, r.java(t, "", kafkaTopics, with("--describe", "--topic", topic)...), "Topic:", topic, "PartitionCount:", "3")
		r.java(t, "", kafkaTopics, with("--alter", "--topic", topic, "--partitions", "4")...)
		requireLine(t, r.java(t, "", kafkaTopics, with("--describe", "--topic", topic)...), "PartitionCount:", "4")
	})
	r.check("kafka-console-producer and -consumer", func(t *testing.T) {
		r.java(t, strings.Join(lines, "\n")+"\n", kafkaProducer, with("--topic", topic, "--property", "parse.key=true", "--property", "key.separator=:", "--compression-codec", "zstd")...)
		got := r.java(t, "", kafkaConsumer, with("--topic", topic, "--group", group, "--from-beginning", "--max-messages", "20",
			"--property", "print.key=true", "--property", "key.separator=:")...)
		got = slices.DeleteFunc(slices.Clone(got), func(line string) bool { return !strings.HasPrefix(line, "key-") })
		slices.Sort(got)
		want := slices.Sorted(slices.Values(lines))
		if !slices.Equal(got, want) {
			t.Fatalf("read %q, written %q", got, want)
		}
	}, "kafka-topics")
	r.check("kafka-get-offsets", func(t *testing.T) {
		sum := 0
		for _, line := range r.java(t, "", kafkaGetOffsets, with("--topic", topic, "--time", "latest")...) {
			var p, offset int
			if _, err := fmt.Sscanf(line, topic+":%d:%d", &p, &offset); err == nil {
				sum += offset
			}
		}
		if sum != 20 {
			t.Fatalf("the ends add up to %d, want 20", sum)
		}
	}, "kafka-console-producer and -consumer")
	r.check("kafka-consumer-groups", func(t *testing.T) {
		requireLine(t, r.java(t, "", kafkaGroups, with("--list")...), group)
		requireLine(t, r.java(t, "", kafkaGroups, with("--describe", "--group", group, "--state")...), group, "Empty")
		r.java(t, "", kafkaGroups, with("--describe", "--group", group)...)
		r.java(t, "", kafkaGroups, with("--group", group, "--topic", topic, "--reset-offsets", "--to-earliest", "--execute")...)
		offsets, err := kadm.NewClient(connect(t, r.b)).FetchOffsets(t.Context(), group)
		if err != nil {
			t.Fatal(err)
		}
		offsets.Each(func(o kadm.OffsetResponse) {
			if o.At != 0 {
				t.Errorf("partition %d is reset to %d", o.Partition, o.At)
			}
		})
		r.java(t, "", kafkaGroups, with("--group", group, "--delete-offsets", "--topic", topic)...)
		r.java(t, "", kafkaGroups, with("--group", group, "--delete")...)
	}, "kafka-console-producer and -consumer")
	r.check("kafka-configs", func(t *testing.T) {
		r.java(t, "", kafkaConfigs, with("--entity-type", "topics", "--entity-name", topic, "--alter", "--add-config", "retention.ms=3600000,max.message.bytes=100000")...)
		requireLine(t, r.java(t, "", kafkaConfigs, with("--entity-type", "topics", "--entity-name", topic, "--describe")...), "retention.ms", "3600000")
		r.java(t, "", kafkaConfigs, with("--entity-type", "topics", "--entity-name", topic, "--alter", "--delete-config", "retention.ms")...)
		requireLine(t, r.java(t, "", kafkaConfigs, with("--entity-type", "brokers", "--entity-name", "1", "--describe", "--all")...), "num.partitions")
	}, "kafka-topics")
	r.check("kafka-delete-records", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "offsets.json")
		if err := os.WriteFile(file, []byte(`{"version":1,"partitions":[{"topic":"console","partition":0,"offset":-1}]}`), 0o644); err != nil {
			t.Fatal(err)
		}
		r.java(t, "", kafkaDeleteRecords, with("--offset-json-file", file)...)
		ends, err := kadm.NewClient(connect(t, r.b)).ListEndOffsets(t.Context(), topic)
		if err != nil {
			t.Fatal(err)
		}
		end, _ := ends.Lookup(topic, 0)
		requireLine(t, r.java(t, "", kafkaGetOffsets, with("--topic-partitions", topic+":0", "--time", "earliest")...), fmt.Sprintf("%s:0:%d", topic, end.Offset))
	}, "kafka-console-producer and -consumer")
	r.check("kafka-log-dirs", func(t *testing.T) {
		said := strings.Join(r.java(t, "", kafkaLogDirs, with("--describe", "--topic-list", topic)...), "\n")
		if !strings.Contains(said, `"partition":"`+topic+`-0"`) {
			t.Fatal(said)
		}
	}, "kafka-topics")
	r.check("kafka-cluster", func(t *testing.T) {
		requireLine(t, r.java(t, "", kafkaCluster, append([]string{"cluster-id"}, broker...)...), "Cluster", "ID:")
	})
	r.check("kafka-broker-api-versions", func(t *testing.T) {
		requireLine(t, r.java(t, "", kafkaAPIVersions, broker...), "Produce(0):")
	})
	r.check("kafka-producer-perf-test", func(t *testing.T) {
		said := r.java(t, "", kafkaProducerPerf, "--topic", "perf", "--num-records", "50000", "--record-size", "100", "--throughput", "-1",
			"--producer-props", "bootstrap.servers="+r.b.address, "compression.type=lz4")
		requireLine(t, said, "50000", "records", "sent")
	})
	r.check("kafka-consumer-perf-test", func(t *testing.T) {
		said := r.java(t, "", kafkaConsumerPerf, with("--topic", "perf", "--messages", "50000", "--timeout", "60000")...)
		if len(said) < 2 {
			t.Fatalf("%q", said)
		}
		fields := strings.Split(said[len(said)-1], ", ")
		if len(fields) < 5 || fields[4] != "50000" {
			t.Fatalf("it read %q", said)
		}
	}, "kafka-producer-perf-test")
	r.check("kafka-verifiable-producer", func(t *testing.T) {
		said := strings.Join(r.java(t, "", kafkaVerifyProducer, "--bootstrap-server", r.b.address, "--topic", "verified", "--max-messages", "100"), "\n")
		if n := strings.Count(said, `"name":"producer_send_success"`); n != 100 {
			t.Fatalf("%d of 100 records were acked", n)
		}
	})
	r.check("kafka-e2e-latency", func(t *testing.T) {
		requireLine(t, r.java(t, "", kafkaEndToEnd, "--bootstrap-server", r.b.address, "--topic", "latency", "--num-records", "100", "--producer-acks", "all", "--record-size", "100"), "Avg", "latency:")
	})
	r.check("kafka-topics --delete", func(t *testing.T) {
		r.java(t, "", kafkaTopics, with("--delete", "--topic", topic)...)
		if slices.Contains(r.java(t, "", kafkaTopics, with("--list")...), topic) {
			t.Fatal("it is still listed")
		}
	}, "kafka-topics")
	r.check("kafka-transactions", func(t *testing.T) { t.Skip("not there yet: transactions are not served, nor advertised") })
	r.check("kafka-acls", func(t *testing.T) { t.Skip("not there yet: ACLs are not served, nor advertised") })
}
