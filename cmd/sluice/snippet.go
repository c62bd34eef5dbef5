package main

import (
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// engines write the snippet of one engine each, by its name. They are plain
// functions, as text/template would keep the linker from leaving out unused
// methods: a quarter of the binary.
var engines = map[string]func(snippet) string{
	"duckdb":  snippet.duckdb,
	"polars":  snippet.polars,
	"spark":   snippet.spark,
	"trino":   snippet.trino,
	"pathway": snippet.pathway,
}

func engineNames(separator string) string {
	return strings.Join(slices.Sorted(maps.Keys(engines)), separator)
}

// snippet is what is known of a table when it is to be read.
type snippet struct {
	topic string
	name  string // an identifier made of the topic's name
	url   string // as the broker tells it: s3://bucket/prefix/topic or file:///dir/topic
	path  string // of a table in a directory, without the scheme and its escapes

	s3       bool
	bucket   string
	endpoint string // with scheme; empty means Amazon
	host     string // the endpoint without its scheme
	tls      bool
	region   string
}

// newSnippet takes the table's address as the broker tells it, and what only the
// user's environment knows: how to reach the store.
func newSnippet(topic, location string, getenv func(string) string) (snippet, error) {
	u, err := url.Parse(location)
	if err != nil {
		return snippet{}, fmt.Errorf("address of the table: %w", err)
	}
	s := snippet{topic: topic, url: location, name: identifier(topic), tls: true,
		region: orElse(getenv("AWS_REGION"), orElse(getenv("AWS_DEFAULT_REGION"), "us-east-1"))}
	switch u.Scheme {
	case "file":
		s.path = u.Path
	case "s3":
		s.s3, s.bucket = true, u.Host
		return s, s.setEndpoint(orElse(getenv("AWS_ENDPOINT_URL_S3"), getenv("AWS_ENDPOINT_URL")))
	case "mem":
		return s, advise(fmt.Errorf("topic %s is in the broker's memory, where no engine can read it", topic),
			"Start the broker with --store DIRECTORY or --store s3://bucket/prefix.")
	default:
		return s, fmt.Errorf("address of the table: %s: unknown scheme", location)
	}
	return s, nil
}

// setEndpoint takes the address of an S3-compatible store, which uses the path
// style: names of buckets are seldom in its DNS.
func (s *snippet) setEndpoint(endpoint string) error {
	if endpoint == "" {
		return nil
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.User != nil {
		return fmt.Errorf("AWS_ENDPOINT_URL is not of the form http://host:port")
	}
	s.endpoint, s.host, s.tls = u.Scheme+"://"+u.Host, u.Host, u.Scheme == "https"
	return nil
}

func (s snippet) write(w io.Writer, engine string) error {
	_, err := io.WriteString(w, engines[engine](s))
	return err
}

// fill replaces the names in braces of a snippet: {name} as it is, 'name' in SQL's
// and "name" in Python's quotes.
func (s snippet) fill(text string) string {
	values := map[string]string{
		"topic": s.topic, "name": s.name, "url": s.url, "path": s.path, "jsonl": s.name + ".jsonl",
		"s3a":     "s3a" + strings.TrimPrefix(s.url, "s3"), // Hadoop's scheme
		"fileurl": "file://" + s.path,                      // for what takes no escapes in URLs
		"local":   "local://" + s.path,
		"bucket":  s.bucket, "endpoint": s.endpoint, "host": s.host, "region": s.region,
		"tls": strconv.FormatBool(s.tls),
	}
	var pairs []string
	for name, value := range values {
		pairs = append(pairs,
			"{"+name+"}", value,
			"'{"+name+"}'", quoteSQL(value),
			`"{`+name+`}"`, strconv.Quote(value)) // ASCII and escapes that Python shares
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

// quoteSQL makes a string literal.
func quoteSQL(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// identifier makes a name that no engine has to quote.
func identifier(topic string) string {
	name := strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9', r == '_':
			return r
		case 'A' <= r && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '_'
	}, topic)
	if name != "" && '0' <= name[0] && name[0] <= '9' {
		return "_" + name
	}
	return name
}
