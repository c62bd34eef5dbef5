package check

import (
	"io"

	"github.com/parquet-go/parquet-go"
)

// Sluice's own tables (storage/keyed): the newest row of a key, by its sequence, is
// the table's state. They are small, and always read as a whole.

// keyedRow is what is looked at of a row, of whichever of these tables.
type keyedRow struct {
	sequence int64
	key      rowKey
	// Of the catalogue.
	id, state  string
	partitions int64
	// Of committed offsets.
	topicID string
	offset  int64
	dead    bool
}

// rowKey is what a row is the newest of: a topic of the catalogue by its name, an
// offset by group, topic and partition, a membership by its group.
type rowKey struct {
	name, group, topic string
	partition          int64
}

// keyedRows are the rows of a table.
type keyedRows struct {
	sequences map[int64]string // the files that they are in
	newest    map[rowKey]keyedRow
}

func readKeyed(file *parquet.File) (rows []keyedRow, err error) {
	err = eachDocument(file, func(d *document) error {
		r := keyedRow{
			sequence: d.number("sequence"),
			key:      rowKey{name: d.text("name"), group: d.text("group_id")},
			id:       d.text("id"), state: d.text("state"), partitions: d.number("partitions"),
			topicID: d.text("topic_id"), offset: d.number("offset"),
		}
		if v, ok := d.value("deleted"); ok && v.Kind() == parquet.Boolean {
			r.dead = v.Boolean()
		}
		if d.text("kind") == "offset" {
			r.key.topic, r.key.partition = d.text("topic"), d.number("partition")
		}
		rows = append(rows, r)
		return nil
	})
	if err == nil && int64(len(rows)) != file.NumRows() {
		err = io.ErrUnexpectedEOF
	}
	return rows, err
}

// judgeKeyed takes up the rows of a file.
func (c *checker) judgeKeyed(f liveFile, r fileRead) {
	at := atFile(f.path)
	if n, ok := numRecords(f.stats); !ok || n != r.facts.rows {
		c.report(Error, at, doStats, "its statistics do not say that it has %d rows: %.100q", r.facts.rows, f.stats)
	}
	for _, row := range r.rows {
		if row.sequence <= 0 {
			c.report(Error, at, doReport, "a row without a sequence: what is newest of its key cannot be told")
		}
		if other, twice := c.rows.sequences[row.sequence]; twice {
			c.report(Error, at, doReport, "the sequence %d stands in %s, too", row.sequence, other)
		}
		c.rows.sequences[row.sequence] = f.path
		if old, ok := c.rows.newest[row.key]; !ok || old.sequence < row.sequence {
			c.rows.newest[row.key] = row
		}
	}
}
