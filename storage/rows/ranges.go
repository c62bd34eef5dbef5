package rows

import (
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"
)

// RangesTag is the key in File.Tags of the ranges.
const RangesTag = "sluice.ranges"

// maxTag is the longest tag in bytes: tags are part of each snapshot and
// checkpoint. Files of more partitions tell their ranges in the footer only.
const maxTag = 4 << 10

// ParseRanges reads the tag that Encode writes. ok is false when it is absent
// (foreign files, very many partitions) or malformed: then ask Reader.Ranges.
func ParseRanges(tags map[string]string) (ranges []Range, ok bool) {
	tag, ok := tags[RangesTag]
	if !ok {
		return nil, false
	}
	return parseRanges(tag)
}

// formatRanges writes partition:first+span for a dense range, and with /rows
// for one with gaps, separated by spaces.
func formatRanges(ranges []Range) string {
	b := make([]byte, 0, 24*len(ranges))
	for i, r := range ranges {
		if i > 0 {
			b = append(b, ' ')
		}
		b = strconv.AppendInt(b, int64(r.Partition), 10)
		b = strconv.AppendInt(append(b, ':'), r.First, 10)
		b = strconv.AppendInt(append(b, '+'), r.Last-r.First+1, 10)
		if !r.Dense() {
			b = strconv.AppendInt(append(b, '/'), r.Rows, 10)
		}
	}
	return string(b)
}

// parseRanges accepts only what formatRanges writes: partitions that rise,
// and numbers that are offsets.
func parseRanges(s string) ([]Range, bool) {
	if s == "" {
		return nil, false
	}
	ranges := make([]Range, 0, strings.Count(s, " ")+1)
	for item := range strings.SplitSeq(s, " ") {
		partition, rest, ok1 := strings.Cut(item, ":")
		first, rest, ok2 := strings.Cut(rest, "+")
		span, rows, gaps := strings.Cut(rest, "/")
		p, err1 := strconv.ParseUint(partition, 10, 31)
		f, err2 := strconv.ParseUint(first, 10, 63)
		n, err3 := strconv.ParseUint(span, 10, 63)
		if !ok1 || !ok2 || err1 != nil || err2 != nil || err3 != nil || n == 0 || n-1 > math.MaxInt64-f {
			return nil, false
		}
		r := Range{int32(p), int64(f), int64(f + n - 1), int64(n)}
		if gaps {
			m, err := strconv.ParseUint(rows, 10, 63)
			if err != nil || m == 0 || m >= n {
				return nil, false
			}
			r.Rows = int64(m)
		}
		if i := len(ranges); i > 0 && ranges[i-1].Partition >= r.Partition {
			return nil, false
		}
		ranges = append(ranges, r)
	}
	return ranges, true
}

// isTypeError tells a JSON document with values of other types than expected
// from one that is no JSON at all.
func isTypeError(err error) bool {
	_, ok := errors.AsType[*json.UnmarshalTypeError](err)
	return ok
}
