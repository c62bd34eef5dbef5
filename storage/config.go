package storage

// ConfigKey is one topic config that Sluice knows.
type ConfigKey struct {
	Name    string
	Type    ConfigType
	Default string
	Doc     string
	// Broker is the broker-level synonym (log.retention.ms for retention.ms), if any.
	Broker string
	// ReadOnly keys describe the topic and cannot be set (sluice.table.url).
	ReadOnly bool
}

// ConfigType is the type of a config's value, as in DescribeConfigs v3+.
type ConfigType int8

// The values are those of Kafka's ConfigDef.
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
func ConfigKeys() []ConfigKey { return nil }

// CheckConfig says why a value is not legal for a key (ErrInvalidConfig), or nil.
func CheckConfig(name, value string) error { return nil }
