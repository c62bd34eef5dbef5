package storage

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestConfigKeysAreSortedAndTheirDefaultsLegal(t *testing.T) {
	keys := ConfigKeys()
	if !slices.IsSortedFunc(keys, func(a, b ConfigKey) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("not sorted by name: LookupConfig would miss keys")
	}
	for _, k := range keys {
		if k.Doc == "" {
			t.Errorf("%s has no documentation", k.Name)
		}
		if k.ReadOnly {
			continue
		}
		if err := CheckConfig(k.Name, k.Default); err != nil {
			t.Errorf("the default of %s: %v", k.Name, err)
		}
	}
}

// The set of Apache Kafka 4.4, from LogConfig.nonInternalConfigNames.
func TestConfigKeysHoldAllOfKafka(t *testing.T) {
	kafka := strings.Fields(`cleanup.policy compression.gzip.level compression.lz4.level compression.type compression.zstd.level
		delete.retention.ms file.delete.delay.ms flush.messages flush.ms follower.replication.throttled.replicas
		index.interval.bytes leader.replication.throttled.replicas local.retention.bytes local.retention.ms
		max.compaction.lag.ms max.message.bytes message.timestamp.after.max.ms message.timestamp.before.max.ms
		message.timestamp.type min.cleanable.dirty.ratio min.compaction.lag.ms min.insync.replicas preallocate
		remote.copy.lag.bytes remote.copy.lag.ms remote.log.copy.disable remote.log.delete.on.disable
		remote.storage.enable retention.bytes retention.ms segment.bytes segment.index.bytes segment.jitter.ms
		segment.ms unclean.leader.election.enable`)
	var ours []string
	for _, k := range ConfigKeys() {
		if !strings.HasPrefix(k.Name, "sluice.") {
			ours = append(ours, k.Name)
		}
	}
	if !slices.Equal(ours, kafka) {
		t.Errorf("got %v\nwant %v", ours, kafka)
	}
}

func TestCheckConfig(t *testing.T) {
	for _, c := range []struct {
		name, value string
		legal       bool
	}{
		{"retention.ms", "1000", true},
		{"retention.ms", " 1000 ", true},
		{"retention.ms", "-1", true},
		{"retention.ms", "-2", false},
		{"retention.ms", "", false},
		{"retention.ms", "1h", false},
		{"retention.ms", "9223372036854775808", false},
		{"retention.bytes", "-5", true},
		{"max.message.bytes", "0", true},
		{"max.message.bytes", "2147483648", false},
		{"segment.bytes", "1048576", true},
		{"segment.bytes", "1048575", false},
		{"cleanup.policy", "compact", true},
		{"cleanup.policy", "compact, delete", true},
		{"cleanup.policy", "", true},
		{"cleanup.policy", "compact,", false},
		{"cleanup.policy", "Compact", false},
		{"compression.type", "zstd", true},
		{"compression.type", "none", false},
		{"compression.gzip.level", "-1", true},
		{"compression.gzip.level", "0", false},
		{"compression.zstd.level", "-131072", true},
		{"min.cleanable.dirty.ratio", "0.25", true},
		{"min.cleanable.dirty.ratio", "1.01", false},
		{"min.cleanable.dirty.ratio", "NaN", false},
		{"preallocate", "TRUE", true},
		{"preallocate", "yes", false},
		{"remote.storage.enable", "false", true},
		{"remote.storage.enable", "true", false},
		{"leader.replication.throttled.replicas", "*", true},
		{"leader.replication.throttled.replicas", "0:1,1:2", true},
		{"leader.replication.throttled.replicas", "0-1", false},
		{"sluice.commit.interval.ms", "0", true},
		{"sluice.commit.interval.ms", "-2", false},
		{"sluice.table.writers", "any", true},
		{"sluice.table.writers", "all", false},
		{"sluice.table.url", "s3://elsewhere", false},
		{"message.format.version", "2.8", false}, // gone since Kafka 4.0
		{"no.such.key", "1", false},
	} {
		err := CheckConfig(c.name, c.value)
		if (err == nil) != c.legal {
			t.Errorf("%s=%q: legal %t, got %v", c.name, c.value, c.legal, err)
		}
		if err != nil && !errors.Is(err, ErrInvalidConfig) {
			t.Errorf("%s=%q: %v is not ErrInvalidConfig", c.name, c.value, err)
		}
	}
}

func TestParseSettingsWithoutConfigsAnswersKafkasDefaults(t *testing.T) {
	got, err := ParseSettings(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := Settings{
		MaxMessageBytes: 1048588, MessageTimestampBeforeMaxMs: math.MaxInt64, MessageTimestampAfterMaxMs: 3600000,
		Delete: true, RetentionMs: 7 * dayMs, RetentionBytes: -1,
		DeleteRetentionMs: dayMs, MaxCompactionLagMs: math.MaxInt64, MinCleanableDirtyRatio: 0.5, SegmentMs: 604_800_000, SegmentBytes: 1 << 30,
		Compression: "producer", GzipLevel: -1, LZ4Level: 9, ZstdLevel: 3,
		CommitInterval: -time.Millisecond, ParquetCompression: "snappy",
		HistoryMs: dayMs, HistoryVersions: 100_000, DeletedFilesMs: hourMs, TargetFileBytes: 32 << 20,
	}
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestParseSettingsPrefersTheTopicToTheBroker(t *testing.T) {
	defaults := map[string]string{"retention.ms": "5", "max.message.bytes": "7"}
	got, err := ParseSettings(map[string]string{"retention.ms": "6", "cleanup.policy": "compact,delete", "sluice.commit.interval.ms": "10"}, defaults)
	if err != nil {
		t.Fatal(err)
	}
	if got.RetentionMs != 6 || got.MaxMessageBytes != 7 || !got.Compact || !got.Delete || got.CommitInterval != 10*time.Millisecond {
		t.Errorf("got %+v", got)
	}
}

func TestParseSettingsRefusesContradictions(t *testing.T) {
	for _, overrides := range []map[string]string{
		{"min.compaction.lag.ms": "2", "max.compaction.lag.ms": "1"},
		{"no.such.key": "1"},
		{"retention.ms": "x"},
		{"sluice.table.version": "1"},
	} {
		if _, err := ParseSettings(overrides, nil); !errors.Is(err, ErrInvalidConfig) {
			t.Errorf("%v: got %v", overrides, err)
		}
	}
}

func TestTopicDefaultsFollowKafkasSynonyms(t *testing.T) {
	for _, c := range []struct {
		properties map[string]string
		key, value string
	}{
		{map[string]string{"log.retention.hours": "2"}, "retention.ms", "7200000"},
		{map[string]string{"log.retention.hours": "-1"}, "retention.ms", "-1"},
		{map[string]string{"log.retention.hours": "2", "log.retention.minutes": "3"}, "retention.ms", "180000"},
		{map[string]string{"log.retention.hours": "2", "log.retention.ms": "9"}, "retention.ms", "9"},
		{map[string]string{"message.max.bytes": "100"}, "max.message.bytes", "100"},
		{map[string]string{"sluice.commit.interval.ms": "10"}, "sluice.commit.interval.ms", "10"},
		{map[string]string{"num.partitions": "10"}, "retention.ms", ""},
	} {
		got, err := TopicDefaults(c.properties)
		if err != nil || got[c.key] != c.value {
			t.Errorf("%v: %s is %q, %v, want %q", c.properties, c.key, got[c.key], err, c.value)
		}
	}
	if _, err := TopicDefaults(map[string]string{"log.retention.hours": "soon"}); !errors.Is(err, ErrInvalidConfig) {
		t.Errorf("an illegal property: %v", err)
	}
}

func FuzzCheckConfig(f *testing.F) {
	f.Add("retention.ms", "-1")
	f.Add("cleanup.policy", ",,")
	f.Fuzz(func(t *testing.T, name, value string) {
		err := CheckConfig(name, value)
		if _, parsed := ParseSettings(map[string]string{name: value}, nil); err == nil && parsed != nil && name != "min.compaction.lag.ms" {
			t.Errorf("%q=%q is legal but %v", name, value, parsed)
		}
	})
}
