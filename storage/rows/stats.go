package rows

// RangesTag is the key in File.Tags of the ranges.
const RangesTag = "sluice.ranges"

// ParseRanges reads the tag that Encode writes. ok is false when it is absent
// (foreign files, very many partitions) or malformed: then ask Reader.Ranges.
func ParseRanges(tags map[string]string) (ranges []Range, ok bool) { return nil, false }

// Span is what Delta statistics say of a file.
type Span struct {
	Rows int64 // -1 when unknown
	// Known says that the four bounds below are known.
	Known                      bool
	MinPartition, MaxPartition int32
	MinOffset, MaxOffset       int64 // over all partitions of the file
	// MaxTimestamp is an upper bound of the timestamps in ms, -1 when unknown.
	MaxTimestamp int64
}

// StatsRange reads the statistics of an add action, written by anybody. What
// is missing or unreadable is unknown; it never fails.
func StatsRange(stats string) Span { return Span{Rows: -1, MaxTimestamp: -1} }
