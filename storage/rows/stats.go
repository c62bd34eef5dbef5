package rows

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"

	"sluice/protocol/record"
)

// fileStats gathers what a File says of its rows.
type fileStats struct {
	rows           int64
	ranges         []Range
	noTime         int64
	noKey, noValue int64
	minTime        int64 // micros
	maxTime        int64
	hasTime        bool
}

func (s *fileStats) reset() { *s = fileStats{} }

// add counts rows, whose offsets rise. They come by partition.
func (s *fileStats) add(r Range) error {
	if i := len(s.ranges) - 1; i >= 0 && s.ranges[i].Partition >= r.Partition {
		last := &s.ranges[i]
		if last.Partition > r.Partition {
			return fmt.Errorf("%w: partition %d after %d", ErrCorrupt, r.Partition, last.Partition)
		}
		if r.First <= last.Last {
			return fmt.Errorf("%w: offset %d of partition %d after %d", ErrCorrupt, r.First, r.Partition, last.Last)
		}
		last.Last = r.Last
		last.Rows += r.Rows
		return nil
	}
	s.ranges = append(s.ranges, r)
	return nil
}

// addGroup counts a row group that has just been written.
func (s *fileStats) addGroup(c *columns, chunks []chunkMeta) {
	s.rows += int64(c.n)
	s.noKey += chunks[leafKey].nulls
	s.noValue += chunks[leafValue].nulls
	s.noTime += int64(c.noTime)
	t := chunks[leafTimestamp]
	if !t.bounds {
		return
	}
	if !s.hasTime {
		s.minTime, s.maxTime, s.hasTime = t.min, t.max, true
	}
	s.minTime, s.maxTime = min(s.minTime, t.min), max(s.maxTime, t.max)
}

// takeRanges hands the ranges over to the caller of Encode.
func (s *fileStats) takeRanges() []Range { return s.ranges }

// json writes the statistics of the add action [P Per-file Statistics]:
// bounds only of columns that have them in every engine, and no bounds of
// timestamps beyond four-digit years, over which some cannot open the table.
func (s *fileStats) json() string {
	if len(s.ranges) == 0 {
		return `{"numRecords":0}`
	}
	lo, hi := s.ranges[0], s.ranges[0]
	for _, r := range s.ranges {
		hi.Partition = r.Partition // they are sorted
		lo.First, hi.Last = min(lo.First, r.First), max(hi.Last, r.Last)
	}
	b := make([]byte, 0, 400)
	b = fmt.Appendf(b, `{"numRecords":%d`, s.rows)
	// Kafka's timestamps are whole milliseconds, so that neither bound needs rounding.
	minTime, maxTime := s.minTime/1000, s.maxTime/1000
	bounded := s.hasTime && minTime >= record.MinTimestamp && maxTime <= record.MaxTimestamp
	bounds := func(name string, partition int32, offset, ms int64) {
		b = fmt.Appendf(b, `,"%s":{"partition":%d,"offset":%d`, name, partition, offset)
		if bounded {
			b = append(b, `,"timestamp":"`...)
			b = time.UnixMilli(ms).UTC().AppendFormat(b, isoMillis)
			b = append(b, '"')
		}
		b = append(b, '}')
	}
	bounds("minValues", lo.Partition, lo.First, minTime)
	bounds("maxValues", hi.Partition, hi.Last, maxTime)
	b = fmt.Appendf(b, `,"nullCount":{"topic":0,"partition":0,"offset":0,"timestamp":%d,"timestampType":0,"key":%d,"value":%d,"headers":0}}`,
		s.noTime, s.noKey, s.noValue)
	return string(b)
}

// isoMillis is how Delta writes timestamps in statistics.
const isoMillis = "2006-01-02T15:04:05.000Z"

// Span is what Delta statistics say of a file.
type Span struct {
	Rows int64 // -1 when unknown
	// Known says that the four bounds below are known.
	Known                      bool
	MinPartition, MaxPartition int32
	MinOffset, MaxOffset       int64 // over all partitions of the file
	// MinTimestamp and MaxTimestamp are bounds of the timestamps in ms, -1 when unknown.
	MinTimestamp, MaxTimestamp int64
}

// StatsRange reads the statistics of an add action, written by anybody. What
// is missing or unreadable is unknown; it never fails.
func StatsRange(stats string) Span {
	type values struct {
		Partition json.RawMessage `json:"partition"`
		Offset    json.RawMessage `json:"offset"`
		Timestamp json.RawMessage `json:"timestamp"`
	}
	var doc struct {
		NumRecords json.RawMessage `json:"numRecords"`
		Min        values          `json:"minValues"`
		Max        values          `json:"maxValues"`
	}
	s := Span{Rows: -1, MinTimestamp: -1, MaxTimestamp: -1}
	// A value of an unexpected type is skipped by Unmarshal, which goes on.
	if err := json.Unmarshal([]byte(stats), &doc); err != nil && !isTypeError(err) {
		return s
	}
	number := func(raw json.RawMessage, low, high int64) (int64, bool) {
		v, err := strconv.ParseInt(string(raw), 10, 64)
		return v, err == nil && v >= low && v <= high
	}
	if n, ok := number(doc.NumRecords, 0, math.MaxInt64); ok {
		s.Rows = n
	}
	p1, ok1 := number(doc.Min.Partition, math.MinInt32, math.MaxInt32)
	p2, ok2 := number(doc.Max.Partition, math.MinInt32, math.MaxInt32)
	o1, ok3 := number(doc.Min.Offset, math.MinInt64, math.MaxInt64)
	o2, ok4 := number(doc.Max.Offset, math.MinInt64, math.MaxInt64)
	if ok1 && ok2 && ok3 && ok4 && p1 <= p2 && o1 <= o2 {
		s.Known = true
		s.MinPartition, s.MaxPartition, s.MinOffset, s.MaxOffset = int32(p1), int32(p2), o1, o2
	}
	moment := func(raw json.RawMessage) (ms int64, ok bool) {
		var t string
		if json.Unmarshal(raw, &t) != nil {
			return 0, false
		}
		at, err := time.Parse(time.RFC3339Nano, t)
		return at.UnixMilli(), err == nil
	}
	// Whoever wrote them may have cut them to milliseconds: the upper bound is the end of that one.
	if ms, ok := moment(doc.Max.Timestamp); ok {
		s.MaxTimestamp = ms + 1
	}
	if ms, ok := moment(doc.Min.Timestamp); ok && ms >= 0 {
		s.MinTimestamp = ms
	}
	return s
}
