package main

import (
	"embed"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"text/template"
)

//go:embed snippets/*.tmpl
var snippetFiles embed.FS

var snippetTemplates = template.Must(template.New("").Funcs(template.FuncMap{
	"sql":    quoteSQL,
	"python": strconv.Quote, // of ASCII and escapes that Python shares
}).ParseFS(snippetFiles, "snippets/*.tmpl"))

// engines are the templates by the engine's name.
var engines = map[string]string{
	"duckdb":  "duckdb.sql.tmpl",
	"polars":  "polars.py.tmpl",
	"spark":   "spark.py.tmpl",
	"trino":   "trino.sql.tmpl",
	"pathway": "pathway.py.tmpl",
}

func engineNames(separator string) string {
	return strings.Join(slices.Sorted(maps.Keys(engines)), separator)
}

// snippet is what the templates know.
type snippet struct {
	Topic string
	URL   string // as the broker tells it: s3://bucket/prefix/topic or file:///dir/topic
	Path  string // of a table in a directory, without the scheme and its escapes
	S3    bool
	S3A   string // the URL for Hadoop: s3a://

	Bucket   string
	Endpoint string // with scheme; empty means AWS
	Host     string // the endpoint without its scheme
	TLS      bool
	Region   string

	Name string // an identifier made of the topic's name
}

func newSnippet(topic, location string, getenv func(string) string) (snippet, error) {
	u, err := url.Parse(location)
	if err != nil {
		return snippet{}, fmt.Errorf("address of the table: %w", err)
	}
	s := snippet{Topic: topic, URL: location, Name: identifier(topic), TLS: true,
		Region: orElse(getenv("AWS_REGION"), orElse(getenv("AWS_DEFAULT_REGION"), "us-east-1"))}
	switch u.Scheme {
	case "file":
		s.Path = u.Path
	case "s3":
		s.S3, s.Bucket = true, u.Host
		s.S3A = "s3a" + strings.TrimPrefix(location, "s3")
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
	s.Endpoint, s.Host, s.TLS = u.Scheme+"://"+u.Host, u.Host, u.Scheme == "https"
	return nil
}

func (s snippet) write(w io.Writer, engine string) error {
	return snippetTemplates.ExecuteTemplate(w, engines[engine], s)
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
