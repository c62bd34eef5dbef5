package upkeep

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"

	"sluice/storage/rows"
)

// CleanTag is the key in add.tags of what a cleaning has seen of a file. Tags are
// part of checkpoints and are lost when an engine rewrites the file: then it is
// dirty again, which costs work and loses nothing.
const CleanTag = "sluice.clean"

// Mark says that the rows of a partition up to an offset, behind those of the mark
// before it, have been through a cleaning.
type Mark struct {
	Partition int32 // everyPartition: all rows of the file
	Through   int64
	// Horizon is when the tombstones among these rows may go, in ms; 0 if there are
	// none. It counts from when they were first cleaned (KIP-534): a consumer that
	// reads behind the cleaner has delete.retention.ms to see them.
	Horizon int64
}

// everyPartition stands for all rows of a file whose marks would not fit into a tag.
const everyPartition = -1

// Marks are what a file's tag says, sorted by partition and offset. No marks: dirty.
type Marks []Mark

const (
	// maxTag is the longest tag in bytes, since tags are part of each snapshot.
	maxTag = 4 << 10
	// The unit in ms to which horizons are rounded up where a tag would be too long,
	// doubled as often as need be, up to the last one. Multiples of absolute time:
	// what has been rounded stays as it is, however often the file is rewritten.
	firstUnit = 60_000
	lastUnit  = firstUnit << 16 // 7.5 years
)

// ParseMarks reads a file's tag; nil if there is none or it is malformed.
func ParseMarks(tags map[string]string) Marks {
	tag := tags[CleanTag]
	if tag == "" || len(tag) > maxTag {
		return nil
	}
	var marks Marks
	for item := range strings.SplitSeq(tag, " ") {
		place, at, dying := strings.Cut(item, "@")
		m := Mark{Partition: everyPartition, Through: math.MaxInt64}
		if place != "*" {
			partition, through, ok := strings.Cut(place, ":")
			p, err1 := strconv.ParseUint(partition, 10, 31)
			o, err2 := strconv.ParseUint(through, 10, 63)
			if !ok || err1 != nil || err2 != nil {
				return nil
			}
			m.Partition, m.Through = int32(p), int64(o)
		}
		if dying {
			ms, err := strconv.ParseUint(at, 10, 63)
			if err != nil || ms == 0 {
				return nil
			}
			m.Horizon = int64(ms)
		}
		if i := len(marks) - 1; i >= 0 && compareMarks(marks[i], m) >= 0 {
			return nil
		}
		marks = append(marks, m)
	}
	return marks
}

func compareMarks(a, b Mark) int {
	return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Through, b.Through))
}

// format writes partition:through, with @horizon if there is one, separated by spaces.
func (m Marks) format() string {
	b := make([]byte, 0, 32*len(m))
	for i, mark := range m {
		if i > 0 {
			b = append(b, ' ')
		}
		if mark.Partition == everyPartition {
			b = append(b, '*')
		} else {
			b = strconv.AppendInt(b, int64(mark.Partition), 10)
			b = strconv.AppendInt(append(b, ':'), mark.Through, 10)
		}
		if mark.Horizon > 0 {
			b = strconv.AppendInt(append(b, '@'), mark.Horizon, 10)
		}
	}
	return string(b)
}

// Tag is the value of CleanTag for a file that holds ranges, no longer than maxTag:
// horizons are rounded up so that neighbours become one; if that is not enough the
// file gets one mark, or loses those of its last partitions.
func (m Marks) Tag(ranges []rows.Range) string {
	tag := m.format()
	for unit := int64(firstUnit); len(tag) > maxTag && unit <= lastUnit; unit *= 2 {
		m = m.round(unit)
		tag = m.format()
	}
	if len(tag) <= maxTag {
		return tag
	}
	whole := !slices.ContainsFunc(ranges, func(r rows.Range) bool { return m.Through(r.Partition) < r.Last })
	if whole {
		return Marks{{everyPartition, math.MaxInt64, m.Latest()}}.format()
	}
	return tag[:strings.LastIndexByte(tag[:maxTag+1], ' ')]
}

// round rounds horizons up to multiples of unit and joins neighbours that are then equal.
func (m Marks) round(unit int64) Marks {
	var out Marks
	for _, mark := range m {
		if over := mark.Horizon % unit; over > 0 && mark.Horizon <= math.MaxInt64-unit {
			mark.Horizon += unit - over
		}
		if i := len(out) - 1; i >= 0 && out[i].Partition == mark.Partition && (out[i].Horizon == mark.Horizon || mark.Horizon == 0) {
			out[i].Through = mark.Through // rows without tombstones do with any horizon
			continue
		}
		out = append(out, mark)
	}
	return out
}

// Of are the marks of one partition.
func (m Marks) Of(partition int32) Marks {
	if len(m) > 0 && m[0].Partition == everyPartition {
		return m[:1]
	}
	from, _ := slices.BinarySearchFunc(m, partition, func(mark Mark, p int32) int { return cmp.Compare(mark.Partition, p) })
	to := from
	for to < len(m) && m[to].Partition == partition {
		to++
	}
	return m[from:to]
}

// Through is the last offset of a partition that has been cleaned, -1 if none.
func (m Marks) Through(partition int32) int64 {
	of := m.Of(partition)
	if len(of) == 0 {
		return -1
	}
	return of[len(of)-1].Through
}

// Latest is the latest horizon, 0 if there are no tombstones.
func (m Marks) Latest() (ms int64) {
	for _, mark := range m {
		ms = max(ms, mark.Horizon)
	}
	return ms
}

// Expired reports whether any tombstone may go at the time now, in ms.
func (m Marks) Expired(now int64) bool {
	return slices.ContainsFunc(m, func(mark Mark) bool { return mark.Horizon > 0 && mark.Horizon <= now })
}
