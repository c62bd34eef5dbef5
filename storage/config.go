package storage

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ConfigKey is one topic config that Sluice knows.
type ConfigKey struct {
	Name    string
	Type    ConfigType
	Default string
	Doc     string
	// Broker lists the broker properties that set the default of this key for
	// all topics, the first that is set wins (Kafka: ServerTopicConfigSynonyms).
	Broker []Synonym
	// ReadOnly keys describe the topic and cannot be set (sluice.table.url). Their
	// values are not in any configuration: whoever describes a topic fills them in.
	ReadOnly bool

	valid rule // nil: whatever the type allows
}

// Synonym is a broker property that means the same as a topic config.
type Synonym struct {
	Name string
	// Unit is what one of the property's units is in ms, 0 if both have the same unit.
	Unit int64
}

// ConfigType is the type of a config's value, as in DescribeConfigs v3+ (KIP-569).
type ConfigType int8

// The values are those of the protocol, DescribeConfigsResponse.ConfigType.
const (
	ConfigBoolean ConfigType = 1
	ConfigString  ConfigType = 2
	ConfigInt     ConfigType = 3
	ConfigShort   ConfigType = 4
	ConfigLong    ConfigType = 5
	ConfigDouble  ConfigType = 6
	ConfigList    ConfigType = 7
)

// ConfigKeys are all topic configs, sorted by name: Kafka's whole set and sluice.*.
func ConfigKeys() []ConfigKey { return slices.Clone(configKeys) }

// LookupConfig finds a topic config by name.
func LookupConfig(name string) (ConfigKey, bool) {
	i, ok := slices.BinarySearchFunc(configKeys, name, func(k ConfigKey, name string) int {
		return strings.Compare(k.Name, name)
	})
	if !ok {
		return ConfigKey{}, false
	}
	return configKeys[i], true
}

// CheckConfig says why a value is not legal for a key (ErrInvalidConfig), or nil.
// Values are trimmed and parsed as Kafka's ConfigDef does.
func CheckConfig(name, value string) error {
	key, ok := LookupConfig(name)
	switch {
	case !ok:
		return fmt.Errorf("%w: Unknown topic config name: %s", ErrInvalidConfig, name)
	case key.ReadOnly:
		return fmt.Errorf("%w: %s describes the topic and cannot be set", ErrInvalidConfig, name)
	}
	return key.check(value)
}

// check parses the value by the key's type and applies the key's rule.
func (k ConfigKey) check(value string) error {
	v := strings.TrimSpace(value)
	err := k.Type.check(v)
	if err == nil && k.valid != nil {
		err = k.valid(v)
	}
	if err != nil {
		return fmt.Errorf("%w: Invalid value %s for configuration %s: %w", ErrInvalidConfig, shorten(value), k.Name, err)
	}
	return nil
}

func (t ConfigType) check(v string) error {
	var err error
	switch t {
	case ConfigBoolean:
		if !strings.EqualFold(v, "true") && !strings.EqualFold(v, "false") {
			return fmt.Errorf("expected value to be either true or false")
		}
	case ConfigShort:
		_, err = strconv.ParseInt(v, 10, 16)
	case ConfigInt:
		_, err = strconv.ParseInt(v, 10, 32)
	case ConfigLong:
		_, err = strconv.ParseInt(v, 10, 64)
	case ConfigDouble:
		_, err = strconv.ParseFloat(v, 64)
	}
	if err != nil {
		return fmt.Errorf("not a number of type %s", t)
	}
	return nil
}

// String is the name that Kafka's documentation uses for the type.
func (t ConfigType) String() string {
	names := [...]string{"UNKNOWN", "BOOLEAN", "STRING", "INT", "SHORT", "LONG", "DOUBLE", "LIST"}
	if t < 0 || int(t) >= len(names) {
		return names[0]
	}
	return names[t]
}

// A rule says why a trimmed value of the right type is not legal.
type rule func(v string) error

func atLeast(minimum int64) rule { return between(minimum, math.MaxInt64) }

func between(minimum, maximum int64) rule {
	return func(v string) error {
		switch n, _ := strconv.ParseInt(v, 10, 64); {
		case n < minimum:
			return fmt.Errorf("value must be at least %d", minimum)
		case n > maximum:
			return fmt.Errorf("value must be no more than %d", maximum)
		}
		return nil
	}
}

// either allows one more number than the rule does: a "not set" such as -1.
func either(extra string, r rule) rule {
	return func(v string) error {
		if v == extra {
			return nil
		}
		return r(v)
	}
}

func ratio(v string) error {
	// Written so that NaN fails too.
	if f, _ := strconv.ParseFloat(v, 64); !(f >= 0 && f <= 1) {
		return fmt.Errorf("value must be between 0 and 1")
	}
	return nil
}

func oneOf(values ...string) rule {
	return func(v string) error {
		if !slices.Contains(values, v) {
			return fmt.Errorf("string must be one of: %s", strings.Join(values, ", "))
		}
		return nil
	}
}

// listOf allows any selection of the values, the empty one too (KIP-1161: an
// empty cleanup.policy keeps everything).
func listOf(values ...string) rule {
	return func(v string) error {
		for _, item := range SplitList(v) {
			if !slices.Contains(values, item) {
				return fmt.Errorf("string must be one of: %s", strings.Join(values, ", "))
			}
		}
		return nil
	}
}

// throttledReplicas allows "*" or a list of partition:broker (KIP-73).
func throttledReplicas(v string) error {
	if v == "*" {
		return nil
	}
	for _, item := range SplitList(v) {
		partition, broker, ok := strings.Cut(item, ":")
		_, err1 := strconv.ParseUint(partition, 10, 31)
		_, err2 := strconv.ParseUint(broker, 10, 31)
		if !ok || err1 != nil || err2 != nil {
			return fmt.Errorf("must be the literal '*' or a list of replicas in the format [partitionId]:[brokerId]")
		}
	}
	return nil
}

// notTiered is what Kafka answers without remote.log.storage.system.enable.
func notTiered(v string) error {
	if strings.EqualFold(v, "true") {
		return fmt.Errorf("tiered storage is disabled in the broker, whose log is on the object store already")
	}
	return nil
}

// SplitList splits the value of a ConfigList as Kafka does: at commas, blanks
// around the items dropped, an empty value is an empty list.
func SplitList(value string) []string {
	value = strings.TrimSpace(value)
	if value == "" {
		return nil
	}
	items := strings.Split(value, ",")
	for i, item := range items {
		items[i] = strings.TrimSpace(item)
	}
	return items
}

// shorten keeps a hostile value from filling an error text.
func shorten(v string) string {
	const most = 100 // bytes, plenty for a config's value
	if len(v) <= most {
		return v
	}
	return strings.ToValidUTF8(v[:most], "") + "..."
}

// TopicDefaults derives the topic configs that broker properties change for all
// topics: log.retention.hours=1 gives retention.ms=3600000. Properties that are no
// synonym of a topic config are not looked at. ErrInvalidConfig names the property.
func TopicDefaults(properties map[string]string) (map[string]string, error) {
	defaults := map[string]string{}
	for _, key := range configKeys {
		for _, synonym := range key.Broker {
			value, ok := properties[synonym.Name]
			if !ok {
				continue
			}
			value, err := synonym.convert(value)
			if err == nil {
				err = key.check(value)
			}
			if err != nil {
				return nil, fmt.Errorf("broker property %s: %w", synonym.Name, err)
			}
			defaults[key.Name] = value
			break
		}
	}
	return defaults, nil
}

// convert turns the property's unit into ms. Negative means "no limit" in any unit.
func (s Synonym) convert(value string) (string, error) {
	if s.Unit == 0 {
		return strings.TrimSpace(value), nil
	}
	n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 32)
	if err != nil {
		return "", fmt.Errorf("%w: %s is not a number of type INT", ErrInvalidConfig, shorten(value))
	}
	if n < 0 {
		return "-1", nil
	}
	return strconv.FormatInt(n*s.Unit, 10), nil
}

// Settings is the typed view of a topic's configuration: what storage acts on.
// Keys without a field have no effect on a log that is a Delta table.
type Settings struct {
	MaxMessageBytes int  // the largest batch, in bytes as produced (compressed)
	LogAppendTime   bool // records are stamped when they are appended

	// A record's timestamp may be that much older or newer than the broker's
	// clock; ignored with LogAppendTime (KIP-937). math.MaxInt64 is no limit.
	MessageTimestampBeforeMaxMs int64
	MessageTimestampAfterMaxMs  int64

	// Delete and Compact are cleanup.policy; neither keeps everything.
	Delete, Compact bool
	RetentionMs     int64 // -1: no limit
	RetentionBytes  int64 // of each partition; negative: no limit

	// For compacted topics only.
	DeleteRetentionMs      int64 // how long tombstones stay
	MinCompactionLagMs     int64
	MaxCompactionLagMs     int64
	MinCleanableDirtyRatio float64
	// Kafka does not compact a segment that is written to. Here SegmentMs and
	// SegmentBytes only hasten compaction where they are small.
	SegmentMs, SegmentBytes int64

	// Compression is compression.type: producer, uncompressed, gzip, snappy, lz4 or zstd.
	Compression string
	// The levels that go with compression.type.
	GzipLevel, LZ4Level, ZstdLevel int

	// CommitInterval is the time between two versions under load; 0: whenever
	// the commit before is done; negative: follows the store.
	CommitInterval time.Duration
	// AnyWriter says that other engines may write the table (sluice.table.writers=any).
	RefuseInserts bool // sluice.table.inserts=refuse
	AnyWriter     bool
	// KeepTable says that retention moves only the log start offset, and rows stay
	// in the table (sluice.table.retention=forever).
	KeepTable bool
	// ParquetCompression is that of new data files: snappy, zstd or none.
	ParquetCompression string
	// TargetFileBytes is how large compaction makes data files.
	TargetFileBytes int64
	// The table's log keeps that much of its history, whichever is less.
	HistoryMs       int64
	HistoryVersions int64
	// YieldUntilMs is until when the table is left to other writers, in ms since 1970.
	YieldUntilMs int64
	// DeletedFilesMs is how long a file that left the table stays readable.
	DeletedFilesMs int64
}

// ParseSettings checks a topic's configuration and makes the typed view of it.
// overrides are the topic's own keys, defaults those of the broker (TopicDefaults);
// either may be nil. ErrInvalidConfig names the first key, by name, that is unknown,
// read-only or has an illegal value, or the two that contradict each other.
func ParseSettings(overrides, defaults map[string]string) (Settings, error) {
	for _, configs := range []map[string]string{defaults, overrides} {
		for _, name := range sortedNames(configs) {
			if err := CheckConfig(name, configs[name]); err != nil {
				return Settings{}, err
			}
		}
	}
	c := configs{overrides, defaults}
	policy := SplitList(c.text("cleanup.policy"))
	s := Settings{
		MaxMessageBytes:             int(c.number("max.message.bytes")),
		LogAppendTime:               c.text("message.timestamp.type") == "LogAppendTime",
		MessageTimestampBeforeMaxMs: c.number("message.timestamp.before.max.ms"),
		MessageTimestampAfterMaxMs:  c.number("message.timestamp.after.max.ms"),
		Delete:                      slices.Contains(policy, "delete"),
		Compact:                     slices.Contains(policy, "compact"),
		RetentionMs:                 c.number("retention.ms"),
		RetentionBytes:              c.number("retention.bytes"),
		DeleteRetentionMs:           c.number("delete.retention.ms"),
		MinCompactionLagMs:          c.number("min.compaction.lag.ms"),
		MaxCompactionLagMs:          c.number("max.compaction.lag.ms"),
		MinCleanableDirtyRatio:      c.float("min.cleanable.dirty.ratio"),
		SegmentMs:                   c.number("segment.ms"),
		SegmentBytes:                c.number("segment.bytes"),
		Compression:                 c.text("compression.type"),
		GzipLevel:                   int(c.number("compression.gzip.level")),
		LZ4Level:                    int(c.number("compression.lz4.level")),
		ZstdLevel:                   int(c.number("compression.zstd.level")),
		CommitInterval:              time.Duration(c.number("sluice.commit.interval.ms")) * time.Millisecond,
		AnyWriter:                   c.text("sluice.table.writers") == "any",
		RefuseInserts:               c.text("sluice.table.inserts") == "refuse",
		KeepTable:                   c.text("sluice.table.retention") == "forever",
		ParquetCompression:          c.text("sluice.parquet.compression"),
		TargetFileBytes:             c.number("sluice.table.target.file.bytes"),
		HistoryMs:                   c.number("sluice.table.history.ms"),
		HistoryVersions:             c.number("sluice.table.history.versions"),
		DeletedFilesMs:              c.number("sluice.table.deleted.files.ms"),
		YieldUntilMs:                c.number("sluice.table.yield.until.ms"),
	}
	if s.MinCompactionLagMs > s.MaxCompactionLagMs {
		return Settings{}, fmt.Errorf("%w: conflict topic config setting min.compaction.lag.ms (%d) > max.compaction.lag.ms (%d)",
			ErrInvalidConfig, s.MinCompactionLagMs, s.MaxCompactionLagMs)
	}
	return s, nil
}

// configs are layers of checked configurations, the first that has a key wins.
type configs []map[string]string

func (c configs) text(name string) string {
	for _, layer := range c {
		if v, ok := layer[name]; ok {
			return strings.TrimSpace(v)
		}
	}
	key, _ := LookupConfig(name)
	return key.Default
}

func (c configs) number(name string) int64 {
	n, _ := strconv.ParseInt(c.text(name), 10, 64)
	return n
}

func (c configs) float(name string) float64 {
	f, _ := strconv.ParseFloat(c.text(name), 64)
	return f
}

func sortedNames(configs map[string]string) []string {
	names := make([]string, 0, len(configs))
	for name := range configs {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
