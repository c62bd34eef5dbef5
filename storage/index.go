package storage

import (
	"cmp"
	"slices"
	"sort"
	"strings"

	"sluice/storage/delta"
	"sluice/storage/rows"
	"sluice/storage/upkeep"
)

// index finds the files that hold a partition's records. It follows the log:
// adds and removes. Files that say in a tag which offsets they hold (ours) are
// taken up at once; others (rewritten by an engine) wait in unresolved until
// somebody reads their footers. Guarded by Topic.mu.
type index struct {
	partitions [][]extent // by partition, each sorted by first
	files      map[string]*file
	ordered    []*file // the same, sorted by fileOrder
	unresolved map[string]*file
	// inserts are the files with rows that stand for no record yet (see adopt.go), and
	// unreadable says why files of the table cannot be read at all, by delta.FileName.
	inserts    map[string]*file
	unreadable map[string]error
	// stale are the files that others made of files which had left the table, by
	// delta.FileName; see stale.go.
	stale map[string]stale
	order int64 // of the newest file
}

// file is a live data file of the table. Its fields do not change once it is in
// the index, but for ranges, which are set when they are known, alone and stuck.
type file struct {
	key      string // in the store
	path     string // in the log
	name     string // delta.FileName, the key in the index
	size     int64
	modified int64     // as the log says, ms
	span     rows.Span // what the log says of it
	ranges   []rows.Range
	starts   rows.Range   // the first of ranges, if its tag told
	marks    upkeep.Marks // what a cleaning has seen of it (cleanup.policy=compact)
	// order is the place of the file's records among all: files are sorted by it as
	// their records were committed. Files that replace others have their place.
	order int64
	// alone says that compaction must leave it as it is: it cannot be read whole, or its
	// records lie between those of others.
	alone bool
	// tagged: the log says what it holds. Of others, limits are the next offsets of the
	// partitions before it came (shared, not to be changed), version and committed (ms)
	// those of the entry that it came with; version is -1 if that is not known.
	tagged             bool
	limits             []int64
	version, committed int64
	// stuck is why its inserted rows cannot be adopted, nil if that is not known.
	stuck error
}

// extent is where a file holds records of one partition. Extents of a partition
// overlap only after an engine has rewritten the table.
type extent struct {
	first, last int64
	records     int64
	file        *file
	// reach is the greatest last of this extent and all before it: where offsets are
	// interleaved, it tells whether any of those holds an offset.
	reach int64
}

func newIndex(partitions int32) *index {
	return &index{
		partitions: make([][]extent, partitions),
		files:      map[string]*file{}, unresolved: map[string]*file{},
		inserts: map[string]*file{}, unreadable: map[string]error{}, stale: map[string]stale{},
	}
}

// add takes up a file, in the given place, or behind all others if that is 0.
func (x *index) add(key string, a *delta.Add, order int64) {
	name := delta.FileName(a.Path)
	if x.files[name] != nil {
		return // added again: metadata only
	}
	if order == 0 {
		x.order++
		order = x.order
	}
	ranges, ok := rows.ParseRanges(a.Tags)
	f := &file{
		key: key, path: a.Path, name: name, size: a.Size, modified: a.ModificationTime,
		span: rows.StatsRange(a.Stats), marks: upkeep.ParseMarks(a.Tags), order: order, tagged: ok, version: -1,
	}
	if ok {
		f.starts = ranges[0]
	}
	x.files[name] = f
	i := len(x.ordered) // the usual case
	if i > 0 && fileOrder(x.ordered[i-1], f) > 0 {
		i, _ = slices.BinarySearchFunc(x.ordered, f, fileOrder)
	}
	x.ordered = slices.Insert(x.ordered, i, f)
	if ok {
		x.resolve(f, ranges)
	} else {
		x.unresolved[name] = f
	}
}

// resolve says what a file holds, perhaps anew.
func (x *index) resolve(f *file, ranges []rows.Range) {
	if x.files[f.name] != f {
		return // removed meanwhile
	}
	delete(x.unresolved, f.name)
	delete(x.inserts, f.name)
	if f.ranges != nil {
		x.drop(map[*file]bool{f: true})
	}
	f.ranges = ranges
	for _, r := range ranges {
		if r.Partition < 0 || int(r.Partition) >= len(x.partitions) || r.Rows == 0 {
			continue
		}
		list := x.partitions[r.Partition]
		e := extent{first: r.First, last: r.Last, records: r.Rows, file: f}
		i := len(list) // the usual case
		if i > 0 && list[i-1].first > e.first {
			i = sort.Search(len(list), func(i int) bool { return list[i].first > e.first })
		}
		list = slices.Insert(list, i, e)
		setReach(list, i)
		x.partitions[r.Partition] = list
	}
}

// setReach brings the reach of the extents from the i-th on up to date.
func setReach(list []extent, i int) {
	for ; i < len(list); i++ {
		list[i].reach = list[i].last
		if i > 0 {
			list[i].reach = max(list[i].reach, list[i-1].reach)
		}
	}
}

// remove drops files, all in one go: a commit may remove every file of a table.
func (x *index) remove(removes []delta.Remove) {
	gone := map[*file]bool{}
	for i := range removes {
		name := delta.FileName(removes[i].Path)
		delete(x.unreadable, name)
		delete(x.stale, name)
		if f := x.files[name]; f != nil {
			gone[f] = true
			delete(x.files, name)
			delete(x.unresolved, name)
			delete(x.inserts, name)
		}
	}
	if len(gone) > 0 {
		x.ordered = slices.DeleteFunc(x.ordered, func(f *file) bool { return gone[f] })
		x.drop(gone)
	}
}

// drop takes the extents of files out.
func (x *index) drop(gone map[*file]bool) {
	for p, list := range x.partitions {
		if i := slices.IndexFunc(list, func(e extent) bool { return gone[e.file] }); i >= 0 {
			list = slices.DeleteFunc(list, func(e extent) bool { return gone[e.file] })
			setReach(list, i)
			x.partitions[p] = list
		}
	}
}

// place is the place of what replaces the files that an entry removes.
func (x *index) place(removes []delta.Remove) int64 {
	first := int64(0)
	for i := range removes {
		if f := x.files[delta.FileName(removes[i].Path)]; f != nil && (first == 0 || f.order < first) {
			first = f.order
		}
	}
	return first
}

// fileOrder compares files by their places; those that came to the table by one entry
// by what they hold first.
func fileOrder(a, b *file) int {
	return cmp.Or(cmp.Compare(a.order, b.order), compareStarts(a.starts, b.starts), strings.Compare(a.name, b.name))
}

func compareStarts(a, b rows.Range) int {
	return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.First, b.First))
}

// startOf is the first range that a file's tag tells of, the zero Range without one.
func startOf(a *delta.Add) rows.Range {
	if ranges, ok := rows.ParseRanges(a.Tags); ok {
		return ranges[0]
	}
	return rows.Range{}
}

// inOrder lists the files as their records were committed. A table of thousands of
// files is looked at with every few commits: this is a copy, no sorting.
func (x *index) inOrder() []*file { return slices.Clone(x.ordered) }

// apart finds one of the given files that must not be merged with the others: a record
// of another file lies between them, in some partition, or they are interleaved
// themselves. nil if there is none: the merged file's offsets will be no other's.
func (x *index) apart(files []*file) *file {
	mine := make(map[*file]bool, len(files))
	spans := map[int32][2]int64{}
	for _, f := range files {
		mine[f] = true
		for _, r := range f.ranges {
			if r.Partition < 0 || int(r.Partition) >= len(x.partitions) {
				return f // an engine's: it is in no list
			}
			span, ok := spans[r.Partition]
			if !ok {
				span = [2]int64{r.First, r.Last}
			}
			spans[r.Partition] = [2]int64{min(span[0], r.First), max(span[1], r.Last)}
		}
	}
	for p, span := range spans {
		list := x.partitions[p]
		other, last := false, int64(-1)
		var newest *file
		i := sort.Search(len(list), func(i int) bool { return list[i].reach >= span[0] })
		for ; i < len(list) && list[i].first <= span[1]; i++ {
			e := &list[i]
			switch {
			case e.last < span[0]:
				continue
			case !mine[e.file]:
				other = true
			case other || e.first <= last:
				return e.file
			default:
				newest = e.file
			}
			last = max(last, e.last)
		}
		if other {
			return newest
		}
	}
	return nil
}

// from lists up to n extents that hold records of the partition at or behind offset
// and before limit, sorted by their first one. Those that overlap come together.
func (x *index) from(partition int32, offset, limit int64, n int) []extent {
	list := x.partitions[partition]
	i := sort.Search(len(list), func(i int) bool { return list[i].reach >= offset })
	var found []extent
	last := int64(-1)
	for ; i < len(list) && list[i].first < limit; i++ {
		if list[i].last < offset {
			continue
		}
		if len(found) >= n && list[i].first > last {
			break
		}
		found = append(found, list[i])
		last = max(last, list[i].last)
	}
	return found
}

// reach is the last offset of any of the extents.
func reach(extents []extent) int64 {
	last := int64(-1)
	for _, e := range extents {
		last = max(last, e.last)
	}
	return last
}

// end is one past the last offset that files hold of a partition.
func (x *index) end(partition int32) int64 {
	list := x.partitions[partition]
	if len(list) == 0 {
		return 0
	}
	return list[len(list)-1].reach + 1
}

// bytes estimates what a partition's records take up.
func (x *index) bytes(partition int32) (total int64) {
	for _, e := range x.partitions[partition] {
		total += e.bytes()
	}
	return total
}

// bytes estimates what the extent takes up: its share of its file's rows.
func (e extent) bytes() int64 {
	if e.file.span.Rows <= 0 {
		return e.file.size
	}
	return int64(float64(e.file.size) * float64(e.records) / float64(e.file.span.Rows))
}
