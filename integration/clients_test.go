//go:build integration

package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var allCodecs = []string{"none", "gzip", "snappy", "lz4", "zstd"}

// TestClientCard has each client go through the script of script_test.go, each
// with a broker of its own. The card is made of its outcomes (card/main.go). Without
// SLUICE_TEST_CARD=full only the core runs, on a directory.
func TestClientCard(t *testing.T) {
	cardStores(t, func(t *testing.T, s store, wanted func(core bool) bool) {
		if s.name == "MinIO" && os.Getenv("SLUICE_TEST_CARD") != "full" {
			t.Skip("only for the whole report card: go run ./integration/card")
		}
		for _, c := range clients {
			if !wanted(c.core) {
				continue
			}
			t.Run(c.name+" "+c.version, func(t *testing.T) {
				t.Parallel()
				s := s
				s.url = strings.TrimRight(s.url, "/") + "/" + strings.Map(plainName, t.Name())
				r := &row{t: t, client: c, b: startSluice(t, s)}
				r.run(t)
			})
		}
	})
}

// plainName keeps what any store takes in a name.
func plainName(r rune) rune {
	if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' {
		return r
	}
	return '_'
}

// librdkafka is the newest one, as its Python package brings it.
var librdkafka = client{name: "confluent-kafka-python", version: "2.16.1", core: true, command: pythonClient("confluent.py")}

// clients are those whose programs lie in clients/. kcat has a file of its own.
var clients = []client{
	javaClient("4.4.0", true, nil),
	javaClient("3.9.1", false, nil),
	javaClient("2.8.2", false, nil),
	javaClient("2.1.1", false, nil),
	librdkafka,
	{name: "confluent-kafka-python", version: "2.6.1", command: pythonClient("confluent.py", "confluent-kafka==2.6.1")},
	{name: "confluent-kafka-python", version: "2.0.2", command: pythonClient("confluent.py", "confluent-kafka==2.0.2")},
	{name: "kafka-python", version: "3.0.12", core: true, command: pythonClient("kafkapython.py"),
		leavesOut: "it refuses records with neither key nor value (kafka/producer/kafka.py, send) and knows no null header values", plain: func(r *record) {
			needsKeyOrValue(r)
			noNullHeaders(r)
		}},
	{name: "aiokafka", version: "0.14.0", core: true, command: pythonClient("aio.py"),
		leavesOut: "it refuses records with neither key nor value (aiokafka/producer/producer.py, send)", plain: needsKeyOrValue},
	{name: "kafkajs", version: "2.2.4", core: true, command: nodeClient("kafkajs", ""), lacks: map[string]string{
		"produce/where it likes": "it tells only the first offset of each partition's batch, not where a record went",
	}, leavesOut: "its headers are an object: no repeated names out of order, and no null values", plain: func(r *record) {
		// Its headers are an object, so that names are unique, and it knows no null
		// ones.
		if len(r.headers) == 3 {
			r.headers = r.headers[:1]
		}
	}},
	{name: "confluent-kafka-javascript", version: "1.10.1", command: nodeClient("confluent-javascript", "@confluentinc/kafka-javascript"),
		leavesOut: "it refuses null header values, and writes empty keys, values and header values as null (src/producer.cc, Produce), which it reads as empty in headers (src/common.cc)", plain: func(r *record) {
			for i := range r.headers {
				if len(r.headers[i].value) == 0 {
					r.headers[i].value = []byte("not empty")
				}
			}
			if len(r.key) == 0 {
				r.key = nil
			}
			if len(r.value) == 0 {
				r.value = nil
			}
		}},
	{name: "rdkafka (Rust)", version: "0.38.0", command: func(t *testing.T) ([]string, []string) { return nil, []string{rustProgram(t)} }},
	{name: "franz-go", version: "1.22.2", core: true, command: goClient("franz")},
	{name: "Sarama", version: "1.61.1", command: goClient("sarama")},
	{name: "kafka-go", version: "0.4.51", command: goClient("kafkago"), lacks: map[string]string{
		"idempotent": "it has no idempotent producer",
	}, leavesOut: "its reader tells empty keys, values and header values as null (read.go, readNewBytes)", plain: func(r *record) {
		// Its reader tells empty ones as null.
		if len(r.key) == 0 {
			r.key = nil
		}
		if len(r.value) == 0 {
			r.value = nil
		}
		for i := range r.headers {
			if len(r.headers[i].value) == 0 {
				r.headers[i].value = nil
			}
		}
	}},
	{name: "confluent-kafka-go", version: "2.11.1", command: goClient("confluent")},
}

// needsKeyOrValue is for clients that refuse a record with neither.
func needsKeyOrValue(r *record) {
	if r.key == nil && r.value == nil {
		r.key = []byte("a tombstone's")
	}
}

// noNullHeaders is for clients that know no null header values.
func noNullHeaders(r *record) {
	for i := range r.headers {
		if r.headers[i].value == nil {
			r.headers[i].value = []byte{}
		}
	}
}

func javaClient(version string, core bool, lacks map[string]string) client {
	return client{name: "Java", version: version, core: core, lacks: lacks, command: func(t *testing.T) ([]string, []string) {
		return nil, []string{"java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
			"-cp", java(t, version), "Client"}
	}}
}

// pythonClient is a script of clients/python, with the packages of its
// requirements.txt or with these pins.
func pythonClient(name string, pins ...string) func(t *testing.T) ([]string, []string) {
	return func(t *testing.T) ([]string, []string) {
		interpreter := ""
		if len(pins) == 0 {
			interpreter = python(t, filepath.Join("clients", "python"))
		} else {
			interpreter = venv(t, strings.Map(plainName, "python-"+pins[0]), strings.Join(pins, "\n"))
		}
		return []string{"PYTHONUNBUFFERED=1", "PYTHONDONTWRITEBYTECODE=1"},
			[]string{interpreter, script("clients", "python", name)}
	}
}

// nodeClient is the script of a folder in clients/. Its packages run no scripts of
// their own, but for the one that compile names, if any.
func nodeClient(folder, compile string) func(t *testing.T) ([]string, []string) {
	return func(t *testing.T) ([]string, []string) {
		return []string{"KAFKAJS_NO_PARTITIONER_WARNING=1"}, []string{"node", node(t, folder, compile)}
	}
}

// goClient is a program of the module clients/go.
func goClient(folder string) func(t *testing.T) ([]string, []string) {
	return func(t *testing.T) ([]string, []string) { return nil, []string{goProgram(t, folder)} }
}
