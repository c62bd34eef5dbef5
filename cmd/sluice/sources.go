package main

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// property is one setting as the user wrote it, and where.
type property struct {
	value  string
	origin string // for errors: "KAFKA_NUM_PARTITIONS", "--config num.partitions", "server.properties:12"
}

// sources are the places that settings come from. Later fields win over earlier ones.
type sources struct {
	file    []pair            // --properties
	path    string            // of the file
	environ []string          // as os.Environ
	config  []string          // --config key=value, in order
	flags   map[string]string // flags that the user gave, by property name
}

// ownFlags are the flags of serve that stand for a property. Each has an
// environment variable too: SLUICE_ and the flag's name.
var ownFlags = []struct{ flag, property, usage string }{
	{"store", "sluice.store", "where topics live: a directory, file:///dir, s3://bucket/prefix or mem://"},
	{"listeners", "listeners", "where Kafka clients connect, as in Kafka: NAME://host:port,..."},
	{"advertised-listeners", "advertised.listeners", "the addresses that clients are told, as in Kafka (default: those of the listeners, localhost for an empty host)"},
	{"listener-security-protocol-map", "listener.security.protocol.map", "the security protocol of each listener name: NAME:PLAINTEXT,..."},
	{"http", "sluice.http", `address for metrics and health, or "off"`},
	{"node-id", "node.id", "this broker's id"},
	{"cluster-id", "cluster.id", "the cluster's id (default: made at the first start and kept in the store)"},
	{"log-level", "sluice.log.level", "debug, info, warn or error"},
	{"log-format", "sluice.log.format", "text or json"},
}

// merge lays the sources over each other: flag over --config over environment
// over file. What is in none of them has its default.
func (s sources) merge() (map[string]property, error) {
	merged := map[string]property{}
	for _, p := range s.file {
		merged[p.name] = property{p.value, fmt.Sprintf("%s:%d", filepath.Base(s.path), p.line)}
	}
	maps.Copy(merged, environProperties(s.environ))
	for _, kv := range s.config {
		name, value, ok := strings.Cut(kv, "=")
		if name = strings.TrimSpace(name); !ok || name == "" {
			return nil, usagef("--config %q is not of the form key=value", kv)
		}
		if classOf(name) == unknown {
			return nil, usagef("--config: unknown property %s", name)
		}
		merged[name] = property{value, "--config " + name}
	}
	for name, value := range s.flags {
		merged[name] = property{value, "--" + flagOf(name)}
	}
	return merged, nil
}

// environProperties finds settings among environment variables. Of several
// names for one property SLUICE_ wins over KAFKA_, and that over KAFKA_CFG_.
func environProperties(environ []string) map[string]property {
	layers := [3]map[string]property{{}, {}, {}}
	for _, kv := range environ {
		name, value, _ := strings.Cut(kv, "=")
		p := property{value, name}
		switch {
		case strings.HasPrefix(name, "KAFKA_CFG_"): // bitnami/kafka
			layers[0][kafkaProperty(name[len("KAFKA_CFG_"):])] = p
		case name == "KAFKA_KRAFT_CLUSTER_ID":
			layers[0]["cluster.id"] = p
		case name == "CLUSTER_ID": // apache/kafka, confluentinc/cp-kafka
			layers[1]["cluster.id"] = p
		case strings.HasPrefix(name, "KAFKA_"):
			layers[1][kafkaProperty(name[len("KAFKA_"):])] = p
		case strings.HasPrefix(name, "SLUICE_") && !slices.Contains(otherVariables, name):
			layers[2][ownProperty(name[len("SLUICE_"):])] = p
		}
	}
	merged := map[string]property{}
	for _, layer := range layers {
		maps.Copy(merged, layer)
	}
	delete(merged, "") // a bare KAFKA_
	return merged
}

// otherVariables begin with SLUICE_ and are no property.
var otherVariables = []string{"SLUICE_PROPERTIES", "SLUICE_BROKERS"}

// kafkaProperty turns the rest of a KAFKA_ variable into a property, by the rule
// that the Apache and Confluent images share: "_" is ".", "__" is "_", "___" is
// "-". Longer runs are read from the left.
func kafkaProperty(variable string) string {
	r := strings.NewReplacer("___", "-", "__", "_", "_", ".")
	return r.Replace(strings.ToLower(variable))
}

// ownProperty turns the rest of a SLUICE_ variable into a property: that of the
// flag of the same name, else one that begins with "sluice.".
func ownProperty(variable string) string {
	flag := strings.ReplaceAll(strings.ToLower(variable), "_", "-")
	for _, own := range ownFlags {
		if own.flag == flag {
			return own.property
		}
	}
	return "sluice." + kafkaProperty(variable)
}

func flagOf(property string) string {
	for _, own := range ownFlags {
		if own.property == property {
			return own.flag
		}
	}
	return property
}
