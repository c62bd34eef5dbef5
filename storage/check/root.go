package check

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sluice/storage/object"
)

const (
	catalogueTable = system + "topics"
	offsetsTable   = system + "consumer_offsets"
)

// RootReport is what was found of all tables of a root.
type RootReport struct {
	Root     string        `json:"root"`
	Tables   []*Report     `json:"tables"`
	Counts   Counts        `json:"counts"`
	Errors   int           `json:"errors"`
	Warnings int           `json:"warnings"`
	Infos    int           `json:"infos"`
	Took     time.Duration `json:"took_ns"`
}

// Sound reports whether no error was found.
func (r *RootReport) Sound() bool { return r.Errors == 0 }

// Problems are those of all tables.
func (r *RootReport) Problems() (all []Problem) {
	for _, table := range r.Tables {
		all = append(all, table.Problems...)
	}
	return all
}

// Summary is the report in one line.
func (r *RootReport) Summary() string {
	return fmt.Sprintf("%s, %d versions, %d files, %d rows, %d bytes: %s", plural(len(r.Tables), "table"),
		r.Counts.Versions, r.Counts.Files, r.Counts.Rows, r.Counts.Bytes, found(r.Errors, r.Warnings, r.Infos))
}

// Summarize puts reports together.
func Summarize(root string, tables []*Report) *RootReport {
	all := &RootReport{Root: root, Tables: tables}
	for _, t := range tables {
		all.Counts.add(t.Counts)
		all.Errors += t.Errors
		all.Warnings += t.Warnings
		all.Infos += t.Infos
		all.Took += t.Took
	}
	return all
}

// All checks every table of a root: the topics', Sluice's own, and what these say of
// each other. each, which may be nil, hears of every report when it is done. The
// error says that something could not be checked.
func All(ctx context.Context, store object.Store, o Options, each func(*Report)) (*RootReport, error) {
	if each == nil {
		each = func(*Report) {}
	}
	topics, err := tables(ctx, store, "")
	if err != nil {
		return nil, err
	}
	own, err := tables(ctx, store, system)
	if err != nil {
		return nil, err
	}
	var reports []*Report
	checked := map[string]*checker{}
	// Sluice's own first: topics only grow, so that what was committed before must be in
	// them.
	for _, table := range slices.Concat(own, topics) {
		c, err := run(ctx, store, table, o)
		if errors.Is(err, ErrNoTable) {
			continue // a folder of something else
		}
		if err != nil {
			return nil, err
		}
		checked[table] = c
		reports = append(reports, c.Report)
		if c.keyed() {
			continue // there is more to say about it
		}
		each(c.Report)
	}
	if c := checked[catalogueTable]; c != nil && c.rows != nil {
		if err := c.compareCatalogue(checked); err != nil {
			return nil, err
		}
	}
	if c := checked[offsetsTable]; c != nil && c.rows != nil {
		c.compareOffsets(checked)
	}
	for _, table := range own {
		if c := checked[table]; c != nil {
			each(c.Report)
		}
	}
	return Summarize(store.URL(), reports), nil
}

// tables are the folders below prefix that may be tables.
func tables(ctx context.Context, store object.Store, prefix string) (all []string, err error) {
	request := object.ListRequest{Prefix: prefix, Folders: true}
	for {
		page, err := store.List(ctx, request)
		if err != nil {
			return nil, fmt.Errorf("list the tables: %w", err)
		}
		for _, folder := range page.Folders {
			name := strings.TrimSuffix(folder, "/")
			if prefix != "" || name+"/" != system { // topics may begin with "_", as Kafka's own do
				all = append(all, name)
			}
		}
		if !page.More {
			return all, nil
		}
		request.After = page.Last
	}
}

// compareCatalogue compares the catalogue with the topics' tables. The tables are the
// truth, and the broker corrects the catalogue where it meets a difference: a broker
// that is killed between the two commits leaves one.
func (c *checker) compareCatalogue(checked map[string]*checker) error {
	const do = "The broker corrects it when the topic is next used, or at its next start."
	rows := []*keyedRows{c.rows}
	agrees := func(name string, t *checker) bool {
		return slices.ContainsFunc(rows, func(rows *keyedRows) bool {
			row, ok := rows.newest[rowKey{name: name}]
			state := "live"
			if t.Deleted {
				state = "deleted"
			}
			return ok && row.state == state && (t.Deleted || row.id == t.ID && row.partitions == int64(t.state.partitions()))
		})
	}
	again := false
	for name, t := range checked {
		again = again || t.isTopic() && !agrees(name, t)
	}
	if again { // topics may have changed while they were checked
		newer, err := run(c.ctx, c.store, catalogueTable, c.options)
		if err != nil {
			return err
		}
		if newer.rows != nil {
			rows = append(rows, newer.rows)
		}
	}
	for name, t := range checked {
		if !t.isTopic() || agrees(name, t) {
			continue
		}
		row, ok := rows[len(rows)-1].newest[rowKey{name: name}]
		if !ok {
			c.report(Warning, wholeTable, do, "the catalogue does not know the topic %s", name)
			continue
		}
		c.report(Warning, wholeTable, do, "the catalogue says that %s is %s, id %s, %d partitions; its table: deleted %v, id %s, %d partitions",
			name, row.state, row.id, row.partitions, t.Deleted, t.ID, t.state.partitions())
	}
	for key, row := range c.rows.newest {
		if _, ok := checked[key.name]; !ok && row.state == "live" {
			c.report(Error, wholeTable, "Restore the topic's folder from a backup, or delete the topic.", "the catalogue has the topic %s, and there is no table of it", key.name)
		}
	}
	return nil
}

// isTopic reports whether the table is a topic's: it may be another Delta table that
// somebody keeps in the root.
func (c *checker) isTopic() bool {
	return !c.keyed() && c.state != nil && c.state.metadata.Configuration["sluice.partitions"] != ""
}

// compareOffsets looks for committed offsets that lie beyond the end of their
// topic. Kafka takes any offset from a client, so that such a one is odd, no defect.
func (c *checker) compareOffsets(checked map[string]*checker) {
	for key, row := range c.rows.newest {
		t := checked[key.topic]
		if key.topic == "" || row.dead || t == nil || !t.isTopic() || t.Deleted || row.topicID != t.ID {
			continue // the offsets of a deleted topic expire
		}
		if key.partition < 0 || key.partition >= int64(t.state.partitions()) {
			c.report(Warning, wholeTable, "Reset the group: `sluice group reset`.", "group %s has an offset of %s-%d; the topic has %d partitions", key.group, key.topic, key.partition, t.state.partitions())
			continue
		}
		if next := t.state.next(int32(key.partition)); row.offset > next {
			c.report(Warning, wholeTable, "Reset the group, unless a client has committed that offset on purpose: `sluice group reset`.",
				"group %s has committed offset %d of %s-%d, which ends at %d", key.group, row.offset, key.topic, key.partition, next)
		}
	}
}
