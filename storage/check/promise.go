package check

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
)

// features are those that a table asks of its writers unless all may write it.
var features = []string{"appendOnly", "invariants", "sluice"}

// column is a field of a schemaString, as far as it is promised.
type column struct {
	Name     string          `json:"name"`
	Type     json.RawMessage `json:"type"`
	Nullable bool            `json:"nullable"`
}

// topicColumns are those of Spark's Kafka source, in the promised order.
var topicColumns = []struct{ name, typ string }{
	{"topic", `"string"`}, {"partition", `"integer"`}, {"offset", `"long"`}, {"timestamp", `"timestamp"`},
	{"timestampType", `"integer"`}, {"key", `"binary"`}, {"value", `"binary"`},
	{"headers", `{"type":"array","elementType":{"type":"struct","fields":[` +
		`{"name":"key","type":"string","nullable":true,"metadata":{}},` +
		`{"name":"value","type":"binary","nullable":true,"metadata":{}}]},"containsNull":true}`},
}

const (
	doProtocol = "Some engine has upgraded the table. The broker refuses to write it. Take the feature back by that engine (ALTER TABLE ... DROP FEATURE), or copy the topic into a new one."
	doProperty = "Set it back by the engine that changed it (ALTER TABLE ... SET TBLPROPERTIES); `sluice topic alter` sets the properties that belong to a topic's configuration."
	doSchema   = "Restore the schema by the engine that changed it: the broker stops serving a table whose columns are others."
)

// promises judges protocol, schema and properties as of the tip.
func (c *checker) promises() {
	s := c.state
	c.ID, c.Deleted = s.metadata.ID, s.metadata.deleted()
	c.checkProtocol(s.protocol)
	m := s.metadata
	if m.ID == "" {
		c.report(Error, wholeTable, doReport, "metaData without an id")
	}
	if m.Format != nil && m.Format.Provider != "parquet" {
		c.report(Error, wholeTable, doSchema, "the data format is %.40q, not parquet", m.Format.Provider)
	}
	if len(m.PartitionColumns) > 0 {
		c.report(Error, wholeTable, doSchema, "the table is partitioned by %s; it must not be", strings.Join(m.PartitionColumns, ", "))
	}
	c.checkSchema(m.SchemaString)
	c.checkProperties(m.Configuration)
}

func (c *checker) checkProtocol(p protocol) {
	if p.MinReaderVersion != 1 {
		c.report(Error, wholeTable, doProtocol, "reader version %d (%s) instead of 1: engines that read version 1 refuse it", p.MinReaderVersion, strings.Join(p.ReaderFeatures, ", "))
	}
	switch {
	case p.MinWriterVersion == 2 && !c.keyed():
		if len(p.WriterFeatures) > 0 {
			c.report(Error, wholeTable, doProtocol, "writer version 2 with a list of features: readers refuse it")
		}
	case p.MinWriterVersion == 7:
		got := slices.Sorted(slices.Values(p.WriterFeatures))
		if !slices.Equal(got, features) {
			c.report(Error, wholeTable, doProtocol, "the writer features are %s; they must be %s", strings.Join(got, ", "), strings.Join(features, ", "))
		}
	default:
		c.report(Error, wholeTable, doProtocol, "writer version %d instead of 7 or 2", p.MinWriterVersion)
	}
}

func (c *checker) checkSchema(text string) {
	var schema struct {
		Type   string   `json:"type"`
		Fields []column `json:"fields"`
	}
	if err := json.Unmarshal([]byte(text), &schema); err != nil || schema.Type != "struct" || len(schema.Fields) == 0 {
		c.report(Error, wholeTable, doSchema, "the schema is not a struct of columns")
		return
	}
	if c.keyed() {
		return // its rows are read by name
	}
	for i, want := range topicColumns {
		if i >= len(schema.Fields) {
			c.report(Error, wholeTable, doSchema, "the schema lacks the column %s", want.name)
			continue
		}
		if got := schema.Fields[i]; got.Name != want.name || !equalJSON(string(got.Type), want.typ) || !got.Nullable {
			c.report(Error, wholeTable, doSchema, "column %d is %s %s; %s %s is promised", i+1, got.Name, got.Type, want.name, want.typ)
		}
	}
	if extra := len(schema.Fields) - len(topicColumns); extra > 0 {
		c.report(Warning, wholeTable, doSchema, "%s more than promised, from %s on", plural(extra, "column"), schema.Fields[len(topicColumns)].Name)
	}
}

// checkProperties judges the table's properties: the topic's, and those of Delta
// that follow from its configuration.
func (c *checker) checkProperties(p map[string]string) {
	for _, property := range []struct{ name, off string }{
		{"delta.enableDeletionVectors", "false"}, {"delta.columnMapping.mode", "none"},
		{"delta.enableRowTracking", "false"}, {"delta.checkpointPolicy", "classic"},
	} {
		if v, set := p[property.name]; set && v != property.off {
			c.report(Error, wholeTable, doProperty, "%s is %.40q: readers of version 1 do not understand what engines then write", property.name, v)
		}
	}
	if _, set := p["delta.setTransactionRetentionDuration"]; set {
		c.report(Error, wholeTable, doProperty, "delta.setTransactionRetentionDuration is set: engines drop the next offsets of quiet partitions by it")
	}
	if v := p["delta.enableExpiredLogCleanup"]; v != "false" {
		c.report(Warning, wholeTable, doProperty, "delta.enableExpiredLogCleanup is %.40q: engines may clean the log by their own rules", v)
	}
	for _, name := range []string{"delta.logRetentionDuration", "delta.deletedFileRetentionDuration"} {
		if v, set := p[name]; set {
			if _, err := parseInterval(v); err != nil {
				c.report(Error, wholeTable, doProperty, "%s is %.40q, which is no interval", name, v)
			}
		}
	}
	if c.keyed() {
		return
	}
	if n, err := strconv.ParseInt(p["sluice.partitions"], 10, 32); err != nil || n < 1 {
		c.report(Error, wholeTable, doProperty, "sluice.partitions is %.40q: the broker cannot tell how many partitions the topic has", p["sluice.partitions"])
	}
	for own, follows := range map[string]string{
		"sluice.table.history.ms":       "delta.logRetentionDuration",
		"sluice.table.deleted.files.ms": "delta.deletedFileRetentionDuration",
	} {
		ms, err := strconv.ParseInt(p[own], 10, 64)
		if err != nil {
			continue // the broker's default, which is not known here
		}
		if d, err := parseInterval(p[follows]); err != nil || d.Milliseconds() != ms && d != math.MaxInt64 {
			c.report(Warning, wholeTable, doProperty, "%s is %q, which does not follow from %s=%d", follows, p[follows], own, ms)
		}
	}
	if writers, set := p["sluice.table.writers"]; set && (writers == "any") != c.state.protocol.open() {
		c.report(Error, wholeTable, "Set sluice.table.writers once more: `sluice topic alter`.",
			"sluice.table.writers is %.40q, and the protocol says otherwise", writers)
	}
}
