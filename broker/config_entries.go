package broker

import (
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"sluice/storage"
)

// configEntry is one config as it is told to clients.
type configEntry struct {
	name     string
	kind     storage.ConfigType
	value    *string // nil: not set, and no default
	source   kmsg.ConfigSource
	readOnly bool
	doc      string
	synonyms []configSynonym // where the value came from, or would come from next
}

// configSynonym is one layer of a config's value, the strongest first.
type configSynonym struct {
	name   string
	value  string
	source kmsg.ConfigSource
}

// topicConfigs are all configs of a topic, sorted by name, given those that are
// its own. Read-only keys have no value yet; they count as defaults, so that tools
// which copy what differs from the defaults (MirrorMaker) leave them alone.
func (b *Broker) topicConfigs(overrides map[string]string) []configEntry {
	keys := storage.ConfigKeys()
	defaults := b.topicDefaults()
	entries := make([]configEntry, 0, len(keys))
	for _, key := range keys {
		e := configEntry{name: key.Name, kind: key.Type, readOnly: key.ReadOnly, doc: key.Doc, source: kmsg.ConfigSourceDefaultConfig}
		if key.ReadOnly {
			entries = append(entries, e)
			continue
		}
		e.value = &key.Default
		if v, ok := defaults[key.Name]; ok {
			e.value, e.source = &v, kmsg.ConfigSourceStaticBrokerConfig
		}
		if v, ok := overrides[key.Name]; ok {
			e.value, e.source = &v, kmsg.ConfigSourceDynamicTopicConfig
			e.synonyms = append(e.synonyms, configSynonym{key.Name, v, e.source})
		}
		e.synonyms = append(e.synonyms, b.brokerSynonyms(key)...)
		entries = append(entries, e)
	}
	return entries
}

// brokerSynonyms are the layers of a topic config below the topic: the broker's
// settings and the default, under the names that brokers have for them
// (log.retention.hours=168). A key that no broker setting changes has its own name.
func (b *Broker) brokerSynonyms(key storage.ConfigKey) []configSynonym {
	var synonyms []configSynonym
	for _, s := range key.Broker {
		if v, ok := b.config.Broker[s.Name]; ok {
			synonyms = append(synonyms, configSynonym{s.Name, strings.TrimSpace(v), kmsg.ConfigSourceStaticBrokerConfig})
		}
	}
	name, value := key.Name, key.Default
	if n := len(key.Broker); n > 0 {
		name, value = key.Broker[n-1].Name, synonymDefault(key)
	}
	return append(synonyms, configSynonym{name, value, kmsg.ConfigSourceDefaultConfig})
}

// synonymDefault is the default of a key in the unit of its last synonym, which
// is the one that has a default in Kafka.
func synonymDefault(key storage.ConfigKey) string {
	unit := key.Broker[len(key.Broker)-1].Unit
	if n, err := strconv.ParseInt(key.Default, 10, 64); err == nil && unit > 0 {
		return strconv.FormatInt(n/unit, 10)
	}
	return key.Default
}

// brokerConfigs are the configs of this broker, sorted by name. All are read-only:
// they are read when the broker starts.
func (b *Broker) brokerConfigs() []configEntry {
	var entries []configEntry
	for _, key := range brokerKeys {
		entries = append(entries, b.brokerConfig(key))
	}
	// The broker's names of topic configs set the defaults of all topics.
	for _, key := range storage.ConfigKeys() {
		for i, s := range key.Broker {
			k := brokerKey{name: s.Name, kind: key.Type, doc: key.Doc}
			if s.Unit > 0 {
				k.kind = storage.ConfigInt
			}
			if i == len(key.Broker)-1 {
				k.standard = synonymDefault(key)
			} else {
				k.unset = true
			}
			entries = append(entries, b.brokerConfig(k))
		}
	}
	slices.SortFunc(entries, func(x, y configEntry) int { return strings.Compare(x.name, y.name) })
	return entries
}

func (b *Broker) brokerConfig(key brokerKey) configEntry {
	e := configEntry{name: key.name, kind: key.kind, readOnly: true, doc: key.doc, source: kmsg.ConfigSourceDefaultConfig}
	standard := key.standard
	if !key.unset {
		e.value = &standard
		e.synonyms = []configSynonym{{key.name, standard, e.source}}
	}
	value, ok := b.config.Broker[key.name]
	if key.value != nil {
		value = key.value(b)
		ok = value != standard
	}
	if ok {
		e.value, e.source = &value, kmsg.ConfigSourceStaticBrokerConfig
		e.synonyms = append([]configSynonym{{key.name, value, e.source}}, e.synonyms...)
	}
	return e
}
