package check

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"
)

// rangesTag is the tag of an add that says which offsets of which partitions a file
// of ours holds.
const rangesTag = "sluice.ranges"

// maxTagBytes is the longest such tag that Sluice writes; files of more partitions
// have none.
const maxTagBytes = 4 << 10

// statistics of an add action [P Per-file Statistics].
type statistics struct {
	NumRecords *int64                     `json:"numRecords"`
	Min        map[string]json.RawMessage `json:"minValues"`
	Max        map[string]json.RawMessage `json:"maxValues"`
	Nulls      map[string]json.RawMessage `json:"nullCount"`
}

func numRecords(stats string) (int64, bool) {
	var s struct {
		NumRecords *int64 `json:"numRecords"`
	}
	if json.Unmarshal([]byte(stats), &s) != nil || s.NumRecords == nil {
		return 0, false
	}
	return *s.NumRecords, true
}

const (
	doStats = "Engines that trust statistics pass over rows of this file or miscount them. Rewrite it: OPTIMIZE by an engine (sluice.table.writers=any)."
	doFile  = "Restore the file from a backup or the store's object versions. If it cannot be had, an engine can take it out of the table (FSCK REPAIR TABLE); its records are lost then."
)

// checkStats compares what the log says of a file with what the file says. Files of
// ours must be described exactly; of others, what is said must not hide a row.
func (c *checker) checkStats(f liveFile, have *facts) {
	at := atFile(f.path)
	ours := have.ours || f.tags[rangesTag] != ""
	var s statistics
	if err := json.Unmarshal([]byte(orEmpty(f.stats)), &s); err != nil {
		c.report(severityOf(ours), at, doStats, "its statistics are no JSON of the expected form: %v", err)
		return
	}
	switch {
	case s.NumRecords != nil && *s.NumRecords != have.rows:
		c.report(Error, at, doStats, "its statistics say %d rows; it has %d", *s.NumRecords, have.rows)
	case s.NumRecords == nil && ours:
		c.report(Error, at, doStats, "its statistics do not say how many rows it has")
	}
	for _, name := range []string{"partition", "offset", "timestamp"} {
		b, told := have.columns[name]
		if !told {
			continue
		}
		low, hasLow := statValue(s.Min[name])
		high, hasHigh := statValue(s.Max[name])
		if ours && b.any && !(hasLow && hasHigh) && !(name == "timestamp" && outOfYears(b)) {
			c.report(Error, at, doStats, "its statistics lack the bounds of %s", name)
		}
		if !b.any {
			if hasLow || hasHigh {
				c.report(severityOf(ours), at, doStats, "its statistics have bounds of %s, which is null in every row", name)
			}
			continue
		}
		least, greatest := b.min, b.max
		slack := int64(0)
		if name == "timestamp" { // ms in statistics, the upper bound cut or rounded up
			least, greatest, slack = floorDiv(least, 1000), floorDiv(greatest, 1000), 1
		}
		if hasLow && (low > least || ours && low != least) || hasHigh && (high < greatest || ours && high > greatest+slack) {
			c.report(Error, at, doStats, "its statistics say that %s lies between %s and %s; it does between %d and %d", name, s.Min[name], s.Max[name], least, greatest)
		}
	}
	for _, name := range []string{"partition", "offset", "timestamp", "key", "value"} {
		b, told := have.columns[name]
		if n, ok := statValue(s.Nulls[name]); told && b.nulls >= 0 && (ok && n != b.nulls || !ok && ours) {
			c.report(severityOf(ours || ok), at, doStats, "its statistics say that %s is null in %s rows; it is in %d", name, s.Nulls[name], b.nulls)
		}
	}
}

func severityOf(ours bool) Severity {
	if ours {
		return Error
	}
	return Warning
}

func orEmpty(stats string) string {
	if stats == "" {
		return "{}"
	}
	return stats
}

// statValue reads a number, or a timestamp as ms.
func statValue(raw json.RawMessage) (int64, bool) {
	var n int64
	if len(raw) > 0 && string(raw) != "null" && json.Unmarshal(raw, &n) == nil {
		return n, true
	}
	var text string
	if json.Unmarshal(raw, &text) != nil {
		return 0, false
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	return t.UnixMilli(), err == nil
}

// outOfYears reports whether a bound of timestamps has no place in statistics:
// engines know four-digit years from 1900 on.
func outOfYears(b bounds) bool {
	year := func(micros int64) int { return time.UnixMicro(micros).UTC().Year() }
	return year(b.min) < 1900 || year(b.max) > 9999
}

// checkTag compares the tag of a file with where its rows are.
func (c *checker) checkTag(f liveFile, have *facts) {
	const do = "Consumers are served by this tag. Rewrite the file: OPTIMIZE by an engine (sluice.table.writers=any) drops the tag, and the broker reads the file itself."
	at := atFile(f.path)
	tag, tagged := f.tags[rangesTag]
	if !tagged {
		return
	}
	tagged = len(tag) <= maxTagBytes
	spans, ok := parseRanges(tag)
	if !ok || !tagged {
		c.report(Error, at, do, "its tag %s cannot be read: %.100q", rangesTag, tag)
		return
	}
	if have.placed {
		if !slices.Equal(spans, have.spans) {
			c.report(Error, at, do, "its tag says %.200q; its rows are at %.200q", tag, formatRanges(have.spans))
		}
		return
	}
	// The footer does not tell where rows are: at least how many there are.
	rows := int64(0)
	for _, s := range spans {
		rows += s.rows
	}
	if rows != have.rows {
		c.report(Error, at, do, "its tag says %d rows; it has %d", rows, have.rows)
	}
	have.spans, have.placed = spans, true
}

// parseRanges reads partition:first+span[/rows], separated by blanks.
func parseRanges(tag string) (spans []span, ok bool) {
	for item := range strings.SplitSeq(tag, " ") {
		partition, rest, _ := strings.Cut(item, ":")
		first, rest, _ := strings.Cut(rest, "+")
		width, rows, gaps := strings.Cut(rest, "/")
		p, err1 := strconv.ParseInt(partition, 10, 32)
		from, err2 := strconv.ParseInt(first, 10, 64)
		n, err3 := strconv.ParseInt(width, 10, 64)
		s := span{int32(p), from, from + n - 1, n}
		var err4 error
		if gaps {
			s.rows, err4 = strconv.ParseInt(rows, 10, 64)
		}
		if err1 != nil || err2 != nil || err3 != nil || err4 != nil || p < 0 || from < 0 || n < 1 || s.last < from || s.rows < 1 || s.rows > n {
			return nil, false
		}
		if len(spans) > 0 && spans[len(spans)-1].partition >= s.partition {
			return nil, false
		}
		spans = append(spans, s)
	}
	return spans, true
}

func formatRanges(spans []span) string {
	var b strings.Builder
	for i, s := range spans {
		if i > 0 {
			b.WriteByte(' ')
		}
		n := s.last - s.first + 1
		b.WriteString(strconv.Itoa(int(s.partition)) + ":" + strconv.FormatInt(s.first, 10) + "+" + strconv.FormatInt(n, 10))
		if s.rows != n {
			b.WriteString("/" + strconv.FormatInt(s.rows, 10))
		}
	}
	return b.String()
}
