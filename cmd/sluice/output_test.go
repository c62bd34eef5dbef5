package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"sluice/broker"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares with a file in testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s:\ngot\n%s\nwant\n%s", name, got, want)
	}
}

func TestGridsAlignAndHaveNoTrailingBlanks(t *testing.T) {
	g := newGrid("TOPIC", "PARTITION", "LAG", "MEMBER")
	g.add("orders", "0", "7", "")
	g.add("überlang", "11", "-", "a")
	var out strings.Builder
	if err := g.write(&out); err != nil {
		t.Fatal(err)
	}
	want := "" +
		"TOPIC     PARTITION  LAG  MEMBER\n" +
		"orders            0    7  -\n" +
		"überlang         11    -  a\n"
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func number(n int64) *int64 { return &n }

func TestDescriptionsReadWell(t *testing.T) {
	var out strings.Builder
	topics := []topicDescription{{
		Name: "orders", ID: "w1EBeGdLSHOA6QqVWOwhBw", TableURL: "file:///data/orders", TableVersion: number(12),
		Configs: map[string]string{"retention.ms": "3600000", "cleanup.policy": "compact"},
		Partitions: []partitionLine{{Partition: 0, Leader: 1, LeaderEpoch: 3, Start: 0, End: 1042},
			{Partition: 1, Leader: -1, LeaderEpoch: -1, Start: -1, End: -1}},
	}, {Name: "elsewhere", Configs: map[string]string{}}}
	if err := reportTopics(&out, false, topics); err != nil {
		t.Fatal(err)
	}
	out.WriteString("\n")
	groups := []groupDescription{{
		Group: "billing", State: "Stable", Protocol: "range", Members: 1,
		Partitions: []groupOffset{
			{Topic: "orders", Partition: 0, Committed: 1000, End: 1042, Lag: number(42), Member: "app-1-4711", Client: "app/10.0.0.7", TableVersion: number(9)},
			{Topic: "orders", Partition: 1, Committed: -1, End: 7},
		},
	}, {Group: "new", State: "Empty"}}
	if err := reportGroups(&out, false, groups); err != nil {
		t.Fatal(err)
	}
	golden(t, "describe.txt", out.String())
}

func TestEmptyListsAreEmptyInJSON(t *testing.T) {
	var out strings.Builder
	if err := reportTopics(&out, true, nil); err != nil || out.String() != "[]\n" {
		t.Errorf("got %q, %v", out.String(), err)
	}
}

func TestTableVersionIsReadFromItsTag(t *testing.T) {
	var tags kmsg.Tags
	if v := tableVersion(&tags); v != nil {
		t.Errorf("without a tag: %d", *v)
	}
	tags.Set(tagTableVersion, binary.BigEndian.AppendUint64(nil, 1234))
	if v := tableVersion(&tags); v == nil || *v != 1234 {
		t.Errorf("got %v", v)
	}
	tags.Set(tagTableVersion, []byte{1})
	if v := tableVersion(&tags); v != nil {
		t.Errorf("of a short tag: %d", *v)
	}
}

func TestBanner(t *testing.T) {
	release = "1.0.0"
	defer func() { release = "" }()
	var out strings.Builder
	for _, b := range []banner{
		{listeners: []broker.Listener{{Name: "PLAINTEXT", Bind: ":9092", Host: "localhost", Port: 9092}},
			store: "file:///home/me/sluice-data", probe: "put-if-absent ok, put 1.2 ms, get 0.1 ms", http: "[::]:9644"},
		{listeners: []broker.Listener{{Name: "INTERNAL", Bind: ":29092", Host: "sluice", Port: 29092},
			{Name: "EXTERNAL", Bind: ":9093", Host: "localhost", Port: 9093}},
			store: "s3://lake/kafka", probe: "put-if-absent ok, put 14 ms, get 8.0 ms"},
	} {
		if err := b.write(&out); err != nil {
			t.Fatal(err)
		}
	}
	golden(t, "banner.txt", out.String())
}

func TestSnippets(t *testing.T) {
	environments := map[string]map[string]string{
		"amazon": {"AWS_REGION": "eu-central-1", "AWS_SECRET_ACCESS_KEY": "s3cr3t"},
		"minio":  {"AWS_ENDPOINT_URL": "http://localhost:9000", "AWS_SECRET_ACCESS_KEY": "s3cr3t", "AWS_ACCESS_KEY_ID": "s3cr3t"},
		"local":  {},
	}
	for environment, variables := range environments {
		location := "s3://lake/kafka/web.orders"
		if environment == "local" {
			location = "file:///home/o'neil/sluice%20data/web.orders"
		}
		for engine := range engines {
			s, err := newSnippet("web.orders", location, func(name string) string { return variables[name] })
			if err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			if err := s.write(&out, engine); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(out.String(), "s3cr3t") {
				t.Errorf("%s on %s prints a secret", engine, environment)
			}
			golden(t, environment+"_"+engine+".txt", out.String())
		}
	}
}

func TestTopicInMemoryHasNoSnippet(t *testing.T) {
	if _, err := newSnippet("x", "mem://x", os.Getenv); adviceOf(err) == "" {
		t.Errorf("got %v", err)
	}
}

func TestIdentifiersNeedNoQuotes(t *testing.T) {
	for topic, want := range map[string]string{"orders": "orders", "Web.Orders-2": "web_orders_2", "2fast": "_2fast"} {
		if got := identifier(topic); got != want {
			t.Errorf("%s: %s", topic, got)
		}
	}
}

func TestRecordsSurviveJSON(t *testing.T) {
	at := time.UnixMilli(1767225600123)
	for name, r := range map[string]*kgo.Record{
		"text":           {Partition: 3, Key: []byte("k"), Value: []byte("<v> \"é\n"), Timestamp: at},
		"bytes":          {Key: []byte{0xff, 0}, Value: []byte{0x80}, Timestamp: at},
		"null and empty": {Key: nil, Value: []byte{}, Timestamp: at},
		"headers": {Value: nil, Timestamp: at, Headers: []kgo.RecordHeader{
			{Key: "a", Value: []byte("1")}, {Key: "a", Value: nil}, {Key: "", Value: []byte{0xfe}}}},
	} {
		t.Run(name, func(t *testing.T) {
			var line bytes.Buffer
			out := bufio.NewWriter(&line)
			if err := (format{json: true}).printer(out, false)(r); err != nil {
				t.Fatal(err)
			}
			out.Flush()
			if n := strings.Count(line.String(), "\n"); n != 1 {
				t.Errorf("%d lines: %s", n, line.String())
			}
			got, err := parseRecordJSON(line.Bytes())
			if err != nil {
				t.Fatal(err)
			}
			same := got.Partition == r.Partition && got.Timestamp.Equal(r.Timestamp) && equal(got.Key, r.Key) &&
				equal(got.Value, r.Value) && len(got.Headers) == len(r.Headers)
			for i := range r.Headers {
				same = same && got.Headers[i].Key == r.Headers[i].Key && equal(got.Headers[i].Value, r.Headers[i].Value)
			}
			if !same {
				t.Errorf("%s became %+v", line.String(), got)
			}
		})
	}
}

// equal tells nil from empty.
func equal(a, b []byte) bool { return bytes.Equal(a, b) && (a == nil) == (b == nil) }

func TestJSONLinesOfPeople(t *testing.T) {
	for line, want := range map[string]string{
		`{"value": {"id": 1}}`:                `{"id":1}`,
		`{"value": "text", "offset": 3}`:      "text",
		`{"value_base64": "AQI="}`:            "\x01\x02",
		`{"key": "a"}`:                        "",
		`{"valeu": 1}`:                        "error",
		`{"value":"a","value_base64":"AQ=="}`: "error",
		`{"value":"a"} {"value":"b"}`:         "error",
		`plain`:                               "error",
	} {
		r, err := parseRecordJSON([]byte(line))
		if err != nil {
			if want != "error" {
				t.Errorf("%s: %v", line, err)
			}
			continue
		}
		if string(r.Value) != want {
			t.Errorf("%s: %q", line, r.Value)
		}
	}
}

func TestOnATerminalControlCharactersAreEscaped(t *testing.T) {
	for text, want := range map[string]string{
		"plain ü\tx\ny":        "plain ü\tx\ny",
		"\x1b[31mred\x1b[0m":   `\x1b[31mred\x1b[0m`,
		"over\rwrite":          `over\rwrite`,
		"bad \xff utf8":        `bad \xff utf8`,
		"c1 \u009b and \u202e": `c1 \u009b and \u202e`,
	} {
		if got := string(escape([]byte(text))); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestFormatsOfConsume(t *testing.T) {
	r := &kgo.Record{Partition: 2, Offset: 41, Key: []byte("k"), Value: []byte("v"), Timestamp: time.Date(2026, 1, 31, 12, 0, 0, 5e6, time.Local)}
	for want, f := range map[string]format{
		"v\n":   {},
		"k:v\n": {keySeparator: ":"},
		"  2          41  2026-01-31 12:00:00.005  k                 v\n": {verbose: true},
	} {
		var line bytes.Buffer
		out := bufio.NewWriter(&line)
		if err := f.printer(out, false)(r); err != nil {
			t.Fatal(err)
		}
		out.Flush()
		if line.String() != want {
			t.Errorf("%+v: %q", f, line.String())
		}
	}
	var j map[string]any
	var line bytes.Buffer
	out := bufio.NewWriter(&line)
	if err := (format{json: true}).printer(out, true)(r); err != nil {
		t.Fatal(err)
	}
	out.Flush()
	if err := json.Unmarshal(line.Bytes(), &j); err != nil || j["partition"] != 2.0 || j["value"] != "v" {
		t.Errorf("got %v, %v", j, err)
	}
}

func TestPositions(t *testing.T) {
	zone := time.Local
	time.Local = time.UTC
	defer func() { time.Local = zone }()
	for text, want := range map[string]position{
		"earliest":                  {atEarliest, 0},
		"Latest":                    {atLatest, 0},
		"42":                        {atOffset, 42},
		"1769860800000":             {atOffset, 1769860800000},
		"@1769860800000":            {atTime, 1769860800000},
		"2026-01-31T12:00:00Z":      {atTime, 1769860800000},
		"2026-01-31T12:00:00+01:00": {atTime, 1769857200000},
		"2026-01-31T12:00":          {atTime, 1769860800000},
		"2026-01-31":                {atTime, 1769817600000},
	} {
		if got, err := parsePosition(text); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, bad := range []string{"", "-1", "@", "@-5", "yesterday", "1e3", "2026-13-01", "1969-01-01"} {
		if _, err := parsePosition(bad); !isUsage(err) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if got := (position{atVersion, 7}).timestamp(); got != -1007 {
		t.Errorf("version 7 is asked for by %d", got)
	}
}

func TestTopicPartitions(t *testing.T) {
	if tp, err := parseTopicPartitions("orders:0, 2"); err != nil || tp.topic != "orders" || len(tp.partitions) != 2 || tp.partitions[1] != 2 {
		t.Errorf("got %+v, %v", tp, err)
	}
	for _, bad := range []string{"", ":1", "orders:", "orders:x", "orders:-1", "orders:1,,2"} {
		if _, err := parseTopicPartitions(bad); !isUsage(err) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
