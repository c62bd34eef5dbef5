package check

import (
	"fmt"
	"strings"
	"time"
)

// Severity says what a problem means for those who use the table.
type Severity string

const (
	// Error: a promise of the table is broken. Readers may see wrong rows or none.
	Error Severity = "error"
	// Warning: the rows are right, and somebody should look: a reader may be slow
	// or refused, another writer has been careless, a promise about history is not kept.
	Warning Severity = "warning"
	// Info is no problem: what lies around and could be cleaned up.
	Info Severity = "info"
)

// Problem is one thing that is not as it should be. Version, File and Partition say
// where, as far as each of them applies.
type Problem struct {
	Severity  Severity `json:"severity"`
	Table     string   `json:"table"`
	Version   *int64   `json:"version,omitempty"`
	File      string   `json:"file,omitempty"`
	Partition *int32   `json:"partition,omitempty"`
	What      string   `json:"what"`
	Do        string   `json:"do"` // what to do about it
}

// Where is the place of the problem within its table, for people; it may be empty.
func (p *Problem) Where() string {
	var parts []string
	if p.Version != nil {
		parts = append(parts, fmt.Sprintf("version %d", *p.Version))
	}
	if p.File != "" {
		parts = append(parts, p.File)
	}
	if p.Partition != nil {
		parts = append(parts, fmt.Sprintf("partition %d", *p.Partition))
	}
	return strings.Join(parts, ", ")
}

func (p *Problem) String() string {
	place := p.Table
	if where := p.Where(); where != "" {
		place += ", " + where
	}
	return fmt.Sprintf("%s: %s: %s", p.Severity, place, p.What)
}

// Counts are what was looked at.
type Counts struct {
	Versions    int64 `json:"versions"` // entries of the log that were read
	Checkpoints int64 `json:"checkpoints"`
	Files       int64 `json:"files"`      // live data files
	Rows        int64 `json:"rows"`       // in them
	Bytes       int64 `json:"bytes"`      // of them
	Tombstones  int64 `json:"tombstones"` // files that left the table and are still promised to its readers
	Orphans     int64 `json:"orphans"`    // data files that no version names, old enough to be nobody's
	OrphanBytes int64 `json:"orphan_bytes"`
}

func (c *Counts) add(o Counts) {
	c.Versions += o.Versions
	c.Checkpoints += o.Checkpoints
	c.Files += o.Files
	c.Rows += o.Rows
	c.Bytes += o.Bytes
	c.Tombstones += o.Tombstones
	c.Orphans += o.Orphans
	c.OrphanBytes += o.OrphanBytes
}

// Partition is what a table says of one partition of its topic.
type Partition struct {
	LogStart int64 `json:"log_start"`
	Next     int64 `json:"next_offset"`
	Rows     int64 `json:"rows"`
}

// Report is what was found of one table.
type Report struct {
	Table      string      `json:"table"`
	ID         string      `json:"id,omitempty"`
	Version    int64       `json:"version"` // the tip that was checked
	Deleted    bool        `json:"deleted,omitempty"`
	Counts     Counts      `json:"counts"`
	Partitions []Partition `json:"partitions,omitempty"` // of a topic that is not deleted
	Problems   []Problem   `json:"problems"`
	// How many were found; of each severity at most maxProblems are in Problems.
	Errors   int           `json:"errors"`
	Warnings int           `json:"warnings"`
	Infos    int           `json:"infos"`
	Took     time.Duration `json:"took_ns"`
}

// maxProblems bounds the problems of one severity that a report holds: a table that
// has lost a thousand files says so in a hundred lines and a number.
const maxProblems = 100

// Sound reports whether no error was found.
func (r *Report) Sound() bool { return r.Errors == 0 }

// Summary is the report in one line.
func (r *Report) Summary() string {
	state := "sound"
	if !r.Sound() {
		state = "NOT SOUND"
	}
	if r.Deleted {
		state += ", deleted"
	}
	return fmt.Sprintf("%s: %s: version %d, %d rows in %d files, %s", r.Table, state, r.Version, r.Counts.Rows, r.Counts.Files,
		found(r.Errors, r.Warnings, r.Infos))
}

func found(errors, warnings, infos int) string {
	return fmt.Sprintf("%s, %s, %s", plural(errors, "error"), plural(warnings, "warning"), plural(infos, "note"))
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// place is where a problem is; -1 and "" are nowhere in particular.
type place struct {
	version   int64
	file      string
	partition int32
}

var wholeTable = place{version: -1, partition: -1}

func atVersion(v int64) place             { return place{version: v, partition: -1} }
func atFile(path string) place            { return place{version: -1, file: path, partition: -1} }
func atPartition(p int32) place           { return place{version: -1, partition: p} }
func (at place) in(partition int32) place { at.partition = partition; return at }
func (at place) of(path string) place     { at.file = path; return at }

// report adds a problem.
func (r *Report) report(s Severity, at place, do, format string, args ...any) {
	n := &r.Infos
	switch s {
	case Error:
		n = &r.Errors
	case Warning:
		n = &r.Warnings
	}
	if *n++; *n > maxProblems {
		return
	}
	p := Problem{Severity: s, Table: r.Table, File: at.file, What: fmt.Sprintf(format, args...), Do: do}
	if at.version >= 0 {
		p.Version = &at.version
	}
	if at.partition >= 0 {
		p.Partition = &at.partition
	}
	r.Problems = append(r.Problems, p)
}
