package rows

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
)

// run are rows of one partition that stand one after another in a row group,
// with consecutive offsets.
type run struct {
	partition int32
	group     int32
	first     int64 // offset
	row       int64 // in its row group
	n         int64
}

// maxRuns bounds the index that a Reader keeps: 32 MiB. Files with more runs,
// rewritten in another order or full of gaps, are searched for each Read.
const maxRuns = 1 << 20

// sortRuns sorts runs by partition and offset.
func sortRuns(runs []run) {
	slices.SortFunc(runs, func(a, b run) int {
		if c := cmp.Compare(a.partition, b.partition); c != 0 {
			return c
		}
		if c := cmp.Compare(a.first, b.first); c != 0 {
			return c
		}
		if c := cmp.Compare(a.group, b.group); c != 0 {
			return c
		}
		return cmp.Compare(a.row, b.row)
	})
}

// trimRuns makes sorted runs disjoint: of rows with the same offset, which only a
// foreign INSERT can have made, the first counts.
func trimRuns(runs []run) []run {
	out := runs[:0]
	for _, r := range runs {
		if i := len(out) - 1; i >= 0 && out[i].partition == r.partition {
			if over := out[i].first + out[i].n - r.first; over > 0 {
				over = min(over, r.n)
				r.first, r.row, r.n = r.first+over, r.row+over, r.n-over
			}
		}
		if r.n > 0 {
			out = append(out, r)
		}
	}
	return out
}

// knownRuns tells the runs of our own files from the footer alone, if they are dense.
func (f *footer) knownRuns() ([]run, bool) {
	ranges, ok := f.knownRanges()
	if !ok || !f.ours {
		return nil, false
	}
	var runs []run
	group, row := 0, int64(0)
	for _, r := range ranges {
		if !r.Dense() {
			return nil, false
		}
		// Rows are sorted, so that ranges follow each other through the row groups.
		for first, left := r.First, r.Rows; left > 0; {
			for group < len(f.groups) && row == f.groups[group].rows {
				group, row = group+1, 0
			}
			if group == len(f.groups) {
				return nil, false
			}
			n := min(left, f.groups[group].rows-row)
			runs = append(runs, run{r.Partition, int32(group), first, row, n})
			first, left, row = first+n, left-n, row+n
		}
	}
	return runs, true
}

// knownRanges tells the ranges from the footer: from our own table of them, or
// from statistics, if each row group has one partition and no nulls.
func (f *footer) knownRanges() ([]Range, bool) {
	if f.ranges != nil {
		return f.ranges, true
	}
	var ranges []Range
	for i := range f.groups {
		g := &f.groups[i]
		if g.rows == 0 {
			continue
		}
		p, o := &g.chunks[slotPartition], &g.chunks[slotOffset]
		if !f.complete(slotPartition, p) || !f.complete(slotOffset, o) || p.min != p.max || !servable(p.min, o.min) || !servable(p.min, o.max) {
			return nil, false
		}
		ranges = append(ranges, Range{int32(p.min), o.min, o.max, g.rows})
	}
	return mergeRanges(ranges), true
}

// complete says whether a column's statistics hold for all rows.
func (f *footer) complete(s slot, c *chunk) bool {
	return f.columns[s].leaf >= 0 && c.bounds && (c.nulls == 0 || f.columns[s].maxDef == 0)
}

// servable says whether a row is a record that a consumer can ask for.
func servable(partition, offset int64) bool {
	return partition >= 0 && partition <= math.MaxInt32 && offset >= 0 && offset < math.MaxInt64
}

// mergeRanges makes one range of those of each partition.
func mergeRanges(ranges []Range) []Range {
	slices.SortStableFunc(ranges, func(a, b Range) int { return cmp.Compare(a.Partition, b.Partition) })
	var out []Range
	for _, r := range ranges {
		if i := len(out) - 1; i >= 0 && out[i].Partition == r.Partition {
			o := &out[i]
			o.First, o.Last, o.Rows = min(o.First, r.First), max(o.Last, r.Last), o.Rows+r.Rows
			continue
		}
		out = append(out, r)
	}
	return out
}

// scan walks the partition and offset of every row of the groups that use
// says, in order of the file. found gets runs of servable rows; they may touch.
func (g *gatherer) scan(ctx context.Context, use func(*rowGroup) bool, found func(run) error) error {
	if g.f.columns[slotPartition].leaf < 0 || g.f.columns[slotOffset].leaf < 0 {
		return nil // no row says where it belongs
	}
	for i := range g.f.groups {
		if rg := &g.f.groups[i]; rg.rows > 0 && use(rg) {
			if err := g.scanGroup(ctx, i, rg, found); err != nil {
				return err
			}
		}
	}
	return nil
}

func (g *gatherer) scanGroup(ctx context.Context, group int, rg *rowGroup, found func(run) error) error {
	g.used = 0
	partitions := g.intStream(rg, slotPartition)
	offsets := g.intStream(rg, slotOffset)
	at := run{group: int32(group)}
	for row := int64(0); row < rg.rows; {
		if err := partitions.fill(ctx); err != nil {
			return err
		}
		if err := offsets.fill(ctx); err != nil {
			return err
		}
		n := min(len(partitions.left), len(offsets.left))
		for i := range n {
			p, o := partitions.left[i], offsets.left[i]
			if at.n > 0 && p == int64(at.partition) && o == at.first+at.n && o < math.MaxInt64 {
				at.n++
				continue
			}
			if at.n > 0 {
				if err := found(at); err != nil {
					return err
				}
				at.n = 0
			}
			if servable(p, o) {
				at.partition, at.first, at.row, at.n = int32(p), o, row+int64(i), 1
			}
		}
		partitions.left, offsets.left = partitions.left[n:], offsets.left[n:]
		row += int64(n)
	}
	if at.n > 0 {
		return found(at)
	}
	return nil
}

// intStream reads a whole column of integers, page by page.
type intStream struct {
	stream pageStream
	v      *vector
	codec  int32
	rows   int64
	left   []int64
}

func (g *gatherer) intStream(rg *rowGroup, s slot) *intStream {
	c := &rg.chunks[s]
	return &intStream{
		stream: pageStream{w: &g.w, name: slotNames[s], off: c.start(), end: c.start() + c.packed},
		v:      g.vector(s),
		codec:  c.codec,
		rows:   rg.rows,
	}
}

// fill makes left hold a value at least.
func (s *intStream) fill(ctx context.Context) error {
	for len(s.left) == 0 {
		h, body, ok, err := s.stream.next(ctx)
		if err != nil {
			return err
		}
		if !ok || h.typ != pageDictionary && s.v.row+int64(h.values) > s.rows {
			return s.v.fail(corrupt("number of values"))
		}
		s.v.ints = s.v.ints[:0]
		if err := s.v.page(&h, body, s.codec, []rowSpan{{0, math.MaxInt64}}); err != nil {
			return err
		}
		s.left = s.v.ints
	}
	return nil
}

// errTooManyRuns: the file is too scattered for an index.
var errTooManyRuns = fmt.Errorf("rows: more than %d runs", maxRuns)

// allRuns builds the index of the whole file.
func (g *gatherer) allRuns(ctx context.Context) ([]run, error) {
	var runs []run
	err := g.scan(ctx, func(*rowGroup) bool { return true }, func(r run) error {
		if len(runs) == maxRuns {
			return errTooManyRuns
		}
		runs = append(runs, r)
		return nil
	})
	if err != nil {
		return nil, err
	}
	sortRuns(runs)
	return slices.Clip(trimRuns(runs)), nil
}

// someRuns finds the runs of a partition with the lowest offsets from from on:
// at most limit of them, sorted.
func (g *gatherer) someRuns(ctx context.Context, partition int32, from int64, limit int) ([]run, error) {
	var runs []run
	cut := int64(math.MaxInt64) // runs from here on are not wanted
	use := func(rg *rowGroup) bool {
		p, o := &rg.chunks[slotPartition], &rg.chunks[slotOffset]
		return !(p.bounds && (p.max < int64(partition) || p.min > int64(partition))) && !(o.bounds && o.max < from)
	}
	err := g.scan(ctx, use, func(r run) error {
		if r.partition != partition || r.first+r.n <= from || r.first >= cut {
			return nil
		}
		if runs = append(runs, r); len(runs) >= 2*limit {
			sortRuns(runs)
			runs = runs[:limit]
			cut = runs[limit-1].first + 1
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	sortRuns(runs)
	return trimRuns(runs[:min(limit, len(runs))]), nil
}
