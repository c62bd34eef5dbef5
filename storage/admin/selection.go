package admin

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"sluice/protocol/record"
	"sluice/storage/delta"
	"sluice/storage/rows"
)

// Selection names rows to delete, in one of three ways. A row is selected if any of the
// values given fits.
type Selection struct {
	// Keys are those of the rows. An empty key is not a missing one, which cannot be named.
	Keys    [][]byte
	Offsets []OffsetRange
	// Before, in ms since 1970, selects rows with an older timestamp; 0: not given.
	// Rows without a timestamp are never selected by it.
	Before int64
}

// OffsetRange are offsets of a partition, both inclusive.
type OffsetRange struct {
	Partition   int32
	First, Last int64
}

// ErrSelection: a Selection that names nothing, or rows in more than one way.
var ErrSelection = errors.New("name rows by their keys, by their offsets, or by their time")

func (s *Selection) check(partitions int) error {
	ways := 0
	for _, given := range []bool{len(s.Keys) > 0, len(s.Offsets) > 0, s.Before > 0} {
		if given {
			ways++
		}
	}
	if ways != 1 {
		return ErrSelection
	}
	for _, r := range s.Offsets {
		if r.Partition < 0 || int(r.Partition) >= partitions {
			return fmt.Errorf("%w: there is no partition %d", ErrSelection, r.Partition)
		}
		if r.First < 0 || r.Last < r.First {
			return fmt.Errorf("%w: offsets %d-%d", ErrSelection, r.First, r.Last)
		}
	}
	return nil
}

// predicate is what the log says of the deletion. Keys are left out: they may be
// what is to be forgotten.
func (s *Selection) predicate() string {
	switch {
	case len(s.Keys) > 0:
		return fmt.Sprintf("key is one of %d", len(s.Keys))
	case s.Before > 0:
		return "timestamp < '" + time.UnixMilli(s.Before).UTC().Format(time.RFC3339Nano) + "'"
	}
	const shown = 20
	var parts []string
	for i, r := range s.Offsets {
		if i == shown {
			parts = append(parts, fmt.Sprintf("and %d more", len(s.Offsets)-shown))
			break
		}
		parts = append(parts, fmt.Sprintf("(partition = %d AND offset BETWEEN %d AND %d)", r.Partition, r.First, r.Last))
	}
	return strings.Join(parts, " OR ")
}

// selector decides over rows.
type selector struct {
	*Selection
	keys map[string]bool
	// bounds are the next offsets of the partitions when the deletion began: what came
	// later is not looked at.
	bounds []int64
}

func newSelector(s *Selection, bounds []int64) *selector {
	x := &selector{Selection: s, keys: map[string]bool{}, bounds: bounds}
	for _, key := range s.Keys {
		x.keys[string(key)] = true
	}
	return x
}

// part is where a file may hold selected rows.
type part struct {
	partition   int32
	first, last int64
}

// parts are the parts of a file that have to be read, as its statistics and ranges say.
func (x *selector) parts(a *delta.Add, ranges []rows.Range) (parts []part) {
	if x.Before > 0 && oldest(a) >= x.Before {
		return nil
	}
	for _, r := range ranges {
		if r.Rows == 0 || r.Partition < 0 || int(r.Partition) >= len(x.bounds) {
			continue
		}
		last := min(r.Last, x.bounds[r.Partition]-1)
		if len(x.Offsets) == 0 {
			parts = appendPart(parts, part{r.Partition, r.First, last})
		}
		for _, o := range x.Offsets {
			if o.Partition == r.Partition {
				parts = appendPart(parts, part{r.Partition, max(r.First, o.First), min(last, o.Last)})
			}
		}
	}
	return parts
}

// appendPart leaves empty parts out and makes one of those that touch.
func appendPart(parts []part, p part) []part {
	if p.last < p.first {
		return parts
	}
	for i := range parts {
		if q := &parts[i]; q.partition == p.partition && p.first <= q.last+1 && q.first <= p.last+1 {
			p.first, p.last = min(p.first, q.first), max(p.last, q.last)
			return appendPart(slices.Delete(parts, i, i+1), p)
		}
	}
	return append(parts, p)
}

// oldest is a lower bound of a file's timestamps in ms, if its statistics tell one.
func oldest(a *delta.Add) int64 {
	s, err := delta.ParseStatistics(a.Stats)
	if err != nil {
		return math.MinInt64
	}
	text := strings.Trim(string(s.MinValues["timestamp"]), `"`)
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return math.MinInt64
	}
	return at.UnixMilli()
}

// selects decides over one row.
func (x *selector) selects(partition int32, offset int64, r *record.Record) bool {
	if partition < 0 || int(partition) >= len(x.bounds) || offset >= x.bounds[partition] {
		return false
	}
	switch {
	case len(x.keys) > 0:
		return r.Key != nil && x.keys[string(r.Key)]
	case x.Before > 0:
		return r.Timestamp != record.NoTimestamp && r.Timestamp < x.Before
	}
	for _, o := range x.Offsets {
		if o.Partition == partition && o.First <= offset && offset <= o.Last {
			return true
		}
	}
	return false
}

// count counts the selected rows of a file.
func (x *selector) count(ctx context.Context, r *rows.Reader, parts []part) (n int64, err error) {
	for _, p := range parts {
		for from := p.first; from <= p.last; {
			batches, err := r.Read(ctx, p.partition, from, rows.Limits{MaxBytes: readBytes, Before: p.last + 1})
			if err != nil {
				return 0, err
			}
			if len(batches) == 0 {
				break
			}
			for _, b := range batches {
				it := b.Data.Records(b.Data.Payload())
				for it.Next() {
					if one := it.Record(); x.selects(p.partition, b.First+int64(one.OffsetDelta), one) {
						n++
					}
				}
				if err := it.Err(); err != nil {
					return 0, fmt.Errorf("%w: %w", rows.ErrCorrupt, err)
				}
				from = b.Last + 1
			}
		}
	}
	return n, nil
}

// readBytes is about how many bytes of records are in memory at a time.
const readBytes = 4 << 20
