package main

import (
	"reflect"
	"strings"
	"testing"
)

func TestKafkaVariablesBecomeProperties(t *testing.T) {
	for variable, want := range map[string]string{
		"NUM_PARTITIONS":                   "num.partitions",
		"GROUP_INITIAL_REBALANCE_DELAY_MS": "group.initial.rebalance.delay.ms",
		"A__B":                             "a_b",
		"A___B":                            "a-b",
		"LISTENER_NAME_SECURE_SCRAM-SHA-256_SASL_JAAS_CONFIG": "listener.name.secure.scram-sha-256.sasl.jaas.config",
	} {
		if got := kafkaProperty(variable); got != want {
			t.Errorf("KAFKA_%s is %s, want %s", variable, got, want)
		}
	}
}

func TestOwnVariablesAreThoseOfTheFlagsOrBeginWithSluice(t *testing.T) {
	for variable, want := range map[string]string{
		"STORE":              "sluice.store",
		"NODE_ID":            "node.id",
		"LISTENERS":          "listeners",
		"LOG_LEVEL":          "sluice.log.level",
		"COMMIT_INTERVAL_MS": "sluice.commit.interval.ms",
	} {
		if got := ownProperty(variable); got != want {
			t.Errorf("SLUICE_%s is %s, want %s", variable, got, want)
		}
	}
}

func TestFlagWinsOverConfigOverEnvironmentOverFile(t *testing.T) {
	all := sources{
		file:    []pair{{"num.partitions", "1", 7}, {"node.id", "1", 8}, {"broker.rack", "file", 9}, {"cluster.id", "file", 10}},
		path:    "/etc/kafka/server.properties",
		environ: []string{"KAFKA_NUM_PARTITIONS=2", "KAFKA_NODE_ID=2", "KAFKA_BROKER_RACK=env", "PATH=/bin"},
		config:  []string{"num.partitions=3", "node.id=3"},
		flags:   map[string]string{"node.id": "4"},
	}
	got, err := all.merge()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]property{
		"node.id":        {"4", "--node-id"},
		"num.partitions": {"3", "--config num.partitions"},
		"broker.rack":    {"env", "KAFKA_BROKER_RACK"},
		"cluster.id":     {"file", "server.properties:10"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
}

func TestOfSeveralVariablesSluicesOwnWins(t *testing.T) {
	got := environProperties([]string{"SLUICE_NODE_ID=3", "KAFKA_NODE_ID=2", "KAFKA_CFG_NODE_ID=1",
		"KAFKA_CFG_NUM_PARTITIONS=1", "KAFKA_CLUSTER_ID=b", "KAFKA_KRAFT_CLUSTER_ID=a", "KAFKA_",
		"SLUICE_BROKERS=elsewhere:9092", "SLUICE_PROPERTIES=/x"})
	want := map[string]property{
		"node.id":        {"3", "SLUICE_NODE_ID"},
		"num.partitions": {"1", "KAFKA_CFG_NUM_PARTITIONS"},
		"cluster.id":     {"b", "KAFKA_CLUSTER_ID"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
}

func TestConfigFlagMustNameAPropertyThatExists(t *testing.T) {
	for flag, want := range map[string]string{
		"num.partitions":   "not of the form key=value",
		"=1":               "not of the form key=value",
		"num.partition=1":  "", // covered by "num.": Kafka has many of those, and all are accepted
		"nmu.partitions=1": "unknown property nmu.partitions",
	} {
		_, err := sources{config: []string{flag}}.merge()
		if got := text(err); want == "" && err != nil || !strings.Contains(got, want) {
			t.Errorf("--config %s: got %q, want %q", flag, got, want)
		}
	}
}

// text is the error's, "" without one.
func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestPropertiesFilesAreReadAsJavaReadsThem(t *testing.T) {
	got, err := parseProperties("# comment\n! comment\n\n" +
		"a=1\n  b : 2\r\nc 3\nd\\=e = f\n" +
		"list=x,\\\n    y,\\\n\tz\nempty=\npath=C\\:\\\\tmp\nu=\\u00e9\\t.\nnothing")
	if err != nil {
		t.Fatal(err)
	}
	want := []pair{{"a", "1", 4}, {"b", "2", 5}, {"c", "3", 6}, {"d=e", "f", 7}, {"list", "x,y,z", 8},
		{"empty", "", 11}, {"path", `C:\tmp`, 12}, {"u", "é\t.", 13}, {"nothing", "", 14}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestBadUnicodeEscapesNameTheLine(t *testing.T) {
	for _, file := range []string{"a=1\nb=\\u12", "a=1\nb=\\u12zz", "a=1\n\\u=x"} {
		if _, err := parseProperties(file); !strings.Contains(text(err), "line 2") {
			t.Errorf("%q: got %v", file, err)
		}
	}
}

func FuzzParseProperties(f *testing.F) {
	f.Add("a=b\\\nc:d\n#e\n\\u0041 x\\")
	f.Fuzz(func(t *testing.T, file string) {
		pairs, err := parseProperties(file)
		for _, p := range pairs {
			if err != nil || p.line < 1 || p.line > 1+len(file) {
				t.Errorf("%v with error %v", p, err)
			}
		}
	})
}

// FuzzSettings: whatever a file and the environment say, the settings are usable or an error.
func FuzzSettings(f *testing.F) {
	f.Add("sluice.store=s3://b/p\nlisteners=A://:1,B://[::1]:2", "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP=A:PLAINTEXT,B:PLAINTEXT")
	f.Add("log.retention.hours=-1\nnum.partitions=99999999999", "SLUICE_HTTP=off")
	f.Add("advertised.listeners=PLAINTEXT://h:9", "KAFKA_CFG_NODE_ID=x")
	f.Fuzz(func(t *testing.T, file, variable string) {
		pairs, err := parseProperties(file)
		if err != nil {
			return
		}
		src := sources{file: pairs, path: "fuzz", environ: []string{variable}}
		properties, err := src.merge()
		if err != nil {
			return
		}
		s, err := newSettings(properties)
		if err != nil {
			return
		}
		if len(s.broker.Listeners) == 0 || s.broker.NumPartitions < 1 {
			t.Errorf("%+v", s.broker)
		}
		u, err := parseStore(s.store)
		if err != nil {
			return
		}
		if b := newBounds(s, u, 512<<20); b.pending <= 0 || b.produce <= 0 {
			t.Errorf("%+v", b)
		}
	})
}

func FuzzParseStore(f *testing.F) {
	for _, s := range []string{"s3://b/p", "file:///d", "d", "mem://x", "s3:b", "file://h/d", "s3://", "s3://b/../x", "file:///%zz"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := parseStore(s)
		if err != nil {
			return
		}
		if u.scheme != "file" && u.scheme != "s3" && u.scheme != "mem" || u.scheme == "file" && u.path == "" {
			t.Errorf("%q is %+v", s, u)
		}
	})
}
