package check

import (
	"cmp"
	"errors"
	"maps"
	"slices"

	"github.com/parquet-go/parquet-go"

	"sluice/storage/object"
)

// extent is where one file holds rows of one partition.
type extent struct {
	span
	file     int // index of places.files
	shuffled bool
	ours     bool
}

// placed is a data file that was read, and where it is.
type placed struct {
	path string
	info object.Info
}

// places gathers where the rows of a topic are: for each partition the extents of
// all files.
type places struct {
	files      []placed
	partitions map[int32][]extent
	// unknown counts the files that could not be told to hold what.
	unknown int
}

const (
	doPlaces  = "Consumers and SQL disagree about these records. Keep the table as it is, and report this with its log."
	doForeign = "Another writer has added rows at places that Sluice gives out. Delete them by that engine; records are produced over the Kafka protocol."
)

func (p *places) take(path string, info object.Info, f *facts) {
	if !f.placed {
		p.unknown++
		return
	}
	file := len(p.files)
	p.files = append(p.files, placed{path, info})
	for _, s := range f.spans {
		p.partitions[s.partition] = append(p.partitions[s.partition], extent{s, file, f.shuffled, f.ours})
	}
}

// cluster is a run of extents of a partition that overlap.
type cluster struct {
	first, last, rows int64
	extents           []extent
}

// clusters puts a partition's extents in order, those that overlap together.
func clusters(extents []extent) (all []cluster) {
	slices.SortFunc(extents, func(a, b extent) int { return cmp.Or(cmp.Compare(a.first, b.first), cmp.Compare(a.file, b.file)) })
	for _, e := range extents {
		if n := len(all); n > 0 && e.first <= all[n-1].last {
			l := &all[n-1]
			l.last, l.rows, l.extents = max(l.last, e.last), l.rows+e.rows, append(l.extents, e)
			continue
		}
		all = append(all, cluster{e.first, e.last, e.rows, []extent{e}})
	}
	return all
}

// checkPlaces judges the offsets of all partitions. whole is false if files have
// left the table during the check.
func (c *checker) checkPlaces(p *places, whole bool) error {
	s := c.state
	if n := p.unknown; n > 0 {
		c.report(Info, wholeTable, "Check without --quick.", "the footers of %s do not tell which offsets they hold", plural(n, "file"))
	}
	partitions := s.partitions()
	c.Partitions = make([]Partition, min(partitions, maxPartitions))
	for i := range c.Partitions {
		n := int32(i)
		part := &c.Partitions[i]
		part.Next, part.LogStart = s.next(n), s.logStart(n)
		if part.LogStart > part.Next {
			c.report(Error, atPartition(n), doReport, "the log start offset %d is beyond the next offset %d", part.LogStart, part.Next)
		}
	}
	interleaved := map[int32][]cluster{}
	for _, n := range slices.Sorted(maps.Keys(p.partitions)) {
		all := clusters(p.partitions[n])
		for _, l := range all {
			if len(l.extents) > 1 || l.extents[0].shuffled {
				interleaved[n] = append(interleaved[n], l)
			}
		}
		if n >= partitions {
			c.beyond(p, n, p.partitions[n], "the topic has %d partitions", partitions)
			continue
		}
		part := &c.Partitions[n]
		for _, l := range all {
			part.Rows += l.rows
		}
		if last := all[len(all)-1].last; last >= part.Next {
			over := slices.DeleteFunc(slices.Clone(p.partitions[n]), func(e extent) bool { return e.last < part.Next })
			c.beyond(p, n, over, "the next offset is %d", part.Next)
		}
	}
	if c.options.Dense && whole && p.unknown == 0 {
		for i := range c.Partitions {
			if all := clusters(p.partitions[int32(i)]); s.compacted() {
				c.checkNewest(int32(i), all)
			} else {
				c.checkDense(int32(i), all)
			}
		}
	}
	return c.checkInterleaved(p, interleaved)
}

// maxPartitions bounds what a hostile property makes room for; Sluice allows fewer.
const maxPartitions = 1 << 20

// beyond reports extents where no record can be.
func (c *checker) beyond(p *places, n int32, extents []extent, limit string, value any) {
	for _, e := range extents {
		do, severity := doReport, Error
		if !e.ours {
			do, severity = doForeign, Warning
		}
		c.report(severity, atPartition(n).of(p.files[e.file].path), do, "rows at offsets %d to %d; "+limit, e.first, e.last, value)
	}
}

// checkDense asks for every offset from the log start offset up to the next one.
func (c *checker) checkDense(n int32, all []cluster) {
	at, do := atPartition(n), "Acknowledged records are missing: "+doFile
	expected := c.Partitions[n].LogStart
	for _, l := range all {
		if l.last < expected {
			continue
		}
		if l.first > expected {
			c.report(Error, at, do, "no rows at offsets %d to %d", expected, l.first-1)
		}
		// Of what lies across the log start offset, rows before it may be gone.
		if from := max(l.first, expected); l.rows < l.last-from+1 {
			c.report(Error, at, do, "%d rows at offsets %d to %d", l.rows, from, l.last)
		}
		expected = l.last + 1
	}
	if next := c.Partitions[n].Next; expected < next {
		c.report(Error, at, do, "no rows at offsets %d to %d", expected, next-1)
	}
}

// checkNewest asks for the last record before the next offset, which no compaction
// by key removes.
func (c *checker) checkNewest(n int32, all []cluster) {
	last := int64(-1)
	if len(all) > 0 {
		last = all[len(all)-1].last
	}
	if part := c.Partitions[n]; part.LogStart < part.Next && last < part.Next-1 {
		c.report(Error, atPartition(n), "Acknowledged records are missing: "+doFile, "no rows at offsets %d to %d", last+1, part.Next-1)
	}
}

const (
	// chunkOffsets are the offsets of one piece of a bitmap.
	chunkOffsets = 1 << 16
	// maxChunks bounds the bitmaps: 8 KiB each.
	maxChunks = 1 << 15
)

// chunkKey is a piece of a partition's offsets.
type chunkKey struct {
	partition int32
	number    int64
}

// checkInterleaved looks for offsets that are there twice where files overlap, by
// reading the places of all their rows once more, a bit for each.
func (c *checker) checkInterleaved(p *places, interleaved map[int32][]cluster) error {
	if len(interleaved) == 0 {
		return nil
	}
	read := map[int]bool{} // the files to read
	for n, all := range interleaved {
		for _, l := range all {
			if l.rows > l.last-l.first+1 {
				c.report(Error, atPartition(n).of(p.files[l.extents[0].file].path), doPlaces,
					"%d rows at offsets %d to %d, in %s: some are there twice", l.rows, l.first, l.last, plural(len(l.extents), "file"))
			}
			for _, e := range l.extents {
				read[e.file] = true
			}
		}
	}
	if c.options.Quick {
		c.report(Info, wholeTable, "Check without --quick.", "%s hold interleaved offsets: whether one is there twice cannot be told from their footers", plural(len(read), "file"))
		return nil
	}
	seen := map[chunkKey]*[chunkOffsets / 64]uint64{}
	full := false
	files := slices.Sorted(maps.Keys(read))
	for _, file := range files {
		err := withParquet(c.ctx, c.store, p.files[file].info, false, func(f *parquet.File) error {
			return eachPlace(f, func(partition int32, offset int64) {
				if interleaved[partition] == nil {
					return
				}
				key := chunkKey{partition, offset / chunkOffsets}
				chunk := seen[key]
				if chunk == nil {
					if len(seen) == maxChunks {
						if !full {
							c.report(Info, wholeTable, "Nothing.", "too many interleaved offsets to look for every one that is there twice")
						}
						full = true
						return
					}
					chunk = new([chunkOffsets / 64]uint64)
					seen[key] = chunk
				}
				bit := offset % chunkOffsets
				if chunk[bit/64]&(1<<(bit%64)) != 0 {
					c.report(Error, atPartition(partition).of(p.files[file].path), doPlaces, "offset %d is there twice", offset)
				}
				chunk[bit/64] |= 1 << (bit % 64)
			})
		})
		if err != nil && !errors.Is(err, errUnreadable) && !errors.Is(err, object.ErrNotFound) {
			return err
		}
	}
	return nil
}

// eachPlace calls f for the places of a file's rows.
func eachPlace(file *parquet.File, f func(partition int32, offset int64)) error {
	partition, offset := leafOf(file, "partition"), leafOf(file, "offset")
	if partition < 0 || offset < 0 {
		return nil
	}
	for _, group := range file.RowGroups() {
		var columns [2][]int64
		for i, leaf := range []int{partition, offset} {
			err := eachValue(group.ColumnChunks()[leaf], func(v parquet.Value) error {
				n := int64(-1)
				if !v.IsNull() {
					n, _ = integer(v)
				}
				columns[i] = append(columns[i], n)
				return nil
			})
			if err != nil {
				return err
			}
		}
		for i, p := range columns[0] {
			if o := columns[1][i]; p >= 0 && o >= 0 {
				f(int32(p), o)
			}
		}
	}
	return nil
}
