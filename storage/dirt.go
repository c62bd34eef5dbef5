package storage

import (
	"math"
	"slices"
	"time"

	"sluice/storage/rows"
	"sluice/storage/upkeep"
)

// dirt is what of a compacted topic has not been cleaned, as of a moment.
type dirt struct {
	// partitions by number; Through is the last offset that can be cleaned.
	partitions []upkeep.Partition
	// clean are the files that lie before the first dirty offset of each of their
	// partitions; dirty those of the others that can be cleaned, in the order in which
	// their records were committed.
	clean, dirty []*file
	// cleanBytes and dirtyBytes are how much lies before, and behind, the first dirty
	// offsets; what cannot be cleaned yet is not counted, as in Kafka.
	cleanBytes, dirtyBytes int64
	oldest                 int64 // timestamp of the oldest dirty record, ms
	written                int64 // when the first dirty file was committed, ms
	horizon                int64 // when all tombstones of the clean files may go, ms; 0: there are none
}

// dirt looks at what is to be cleaned at the time now, in ms; t.mu is held.
func (t *Topic) dirt(now int64) dirt {
	s := t.settings.Load()
	d := dirt{partitions: make([]upkeep.Partition, len(t.partitions)), oldest: math.MaxInt64, written: math.MaxInt64}
	dirty := map[*file]bool{}
	for i, p := range t.partitions {
		n := int32(i)
		part := &d.partitions[i]
		part.Start, part.Newest = p.logStart, t.index.end(n)-1
		if s.KeepTable {
			part.Start = 0 // rows leave the table for their keys only
		}
		part.Dirty, part.Through = t.index.firstDirty(n), part.Newest
		for _, e := range t.index.partitions[i] {
			if e.last >= part.Dirty {
				dirty[e.file] = true
			}
			if e.first < part.Dirty {
				part.Marks = append(part.Marks, e.marks(n)...)
			}
		}
	}
	latest := int64(math.MaxInt64) // timestamp of a record that can be cleaned
	if s.MinCompactionLagMs > 0 {
		latest = now - s.MinCompactionLagMs
	}
	blocked := false // by a file that cannot be cleaned yet, as are all behind it
	for _, f := range t.index.inOrder() {
		if !dirty[f] && len(f.ranges) > 0 {
			d.clean = append(d.clean, f)
			d.horizon = max(d.horizon, f.marks.Latest())
		}
		if !dirty[f] {
			continue
		}
		if blocked = blocked || !t.cleanable(f, latest); blocked {
			d.stopBefore(f)
			continue
		}
		d.dirty = append(d.dirty, f)
		d.written = min(d.written, f.modified)
		d.oldest = min(d.oldest, f.oldest())
	}
	for i := range d.partitions {
		for _, e := range t.index.partitions[i] {
			switch part := &d.partitions[i]; {
			case e.last < part.Dirty:
				d.cleanBytes += e.bytes()
			case e.last <= part.Through:
				d.dirtyBytes += e.bytes()
			}
		}
	}
	return d
}

// stopBefore says that a file is not cleaned, so that each of its partitions is
// cleaned up to there only.
func (d *dirt) stopBefore(f *file) {
	for _, r := range f.ranges {
		if r.Partition >= 0 && int(r.Partition) < len(d.partitions) {
			part := &d.partitions[r.Partition]
			part.Through = max(min(part.Through, r.First-1), part.Dirty-1)
		}
	}
}

// advances reports whether anything becomes clean up to where the partitions end.
func (d *dirt) advances() bool {
	return slices.ContainsFunc(d.dirty, func(f *file) bool {
		return slices.ContainsFunc(f.ranges, func(r rows.Range) bool { return d.starts(r) >= 0 })
	})
}

// starts is the first offset of a file's range that will be cleaned, -1 if none is.
func (d *dirt) starts(r rows.Range) int64 {
	if r.Partition < 0 || int(r.Partition) >= len(d.partitions) {
		return -1
	}
	part := &d.partitions[r.Partition]
	if first := max(r.First, part.Dirty); first <= min(r.Last, part.Through) {
		return first
	}
	return -1
}

// narrow leaves so much of one partition to be cleaned that its keys are no more than
// most, and of dirty the files that hold records of it up to there, cleaned before or
// not. Where an engine has interleaved the files, none can be cleaned before the
// others' older records.
func (d *dirt) narrow(most int64) {
	partition, from := int32(-1), int64(0)
	for _, f := range d.dirty {
		for _, r := range f.ranges {
			first := d.starts(r)
			if first >= 0 && (partition < 0 || r.Partition < partition || r.Partition == partition && first < from) {
				partition, from = r.Partition, first
			}
		}
	}
	through := int64(-1)
	for i := range d.partitions {
		if part := &d.partitions[i]; int32(i) == partition {
			part.Through = min(part.Through, from+most-1)
			through = part.Through
		} else {
			part.Through = part.Dirty - 1
		}
	}
	d.dirty = slices.DeleteFunc(d.dirty, func(f *file) bool {
		return !slices.ContainsFunc(f.ranges, func(r rows.Range) bool { return r.Partition == partition && r.First <= through })
	})
}

// cleanable reports whether a dirty file can be cleaned now: nothing in it is at or
// behind the last stable offset, newer than latest (min.compaction.lag.ms), or not a
// record yet, and nobody else is rewriting it; t.mu is held.
func (t *Topic) cleanable(f *file, latest int64) bool {
	for _, r := range f.ranges {
		if r.Partition >= 0 && int(r.Partition) < len(t.partitions) && r.Last >= t.partitions[r.Partition].offsets().LastStable {
			return false
		}
	}
	return !t.merging[f] && t.index.inserts[f.name] == nil && f.newest() <= latest
}

// firstDirty is the first offset of a partition that has not been cleaned. All that
// is behind it counts as dirty, marks or not, as in Kafka.
func (x *index) firstDirty(partition int32) int64 {
	for _, e := range x.partitions[partition] {
		if through := e.file.marks.Through(partition); through < e.last {
			return max(e.first, through+1)
		}
	}
	return x.end(partition)
}

// marks are those of the extent's file for its partition, within its offsets.
func (e extent) marks(partition int32) (all []upkeep.Mark) {
	for _, m := range e.file.marks.Of(partition) {
		m.Through = min(m.Through, e.last)
		all = append(all, m)
	}
	return all
}

// oldest is a lower bound of the file's timestamps, or when it was written if its
// records have none, in ms.
func (f *file) oldest() int64 {
	if f.span.MinTimestamp >= 0 {
		return f.span.MinTimestamp
	}
	return f.modified
}

const (
	// A cleaning costs a version, and makes readers that follow the table skip it or
	// read it again, so a little dirt has to wait until it is dirtyBytes or dirtyAge
	// old. (In Kafka records wait until their segment is full or old.) Smaller values
	// of segment.bytes and segment.ms hasten it, max.compaction.lag.ms forces it.
	dirtyBytes = 8 << 20
	dirtyAge   = 5 * time.Minute
)

// due reports whether a cleaning is to begin at the time now, in ms: if enough is
// dirty, if something has been dirty for too long, or if nothing but the tombstones'
// time is over (KIP-534: a topic that is not written to gets rid of them too).
func (d *dirt) due(s *Settings, now int64) bool {
	if len(d.dirty) > 0 {
		late := d.oldest < now-s.MaxCompactionLagMs
		enough := d.dirtyBytes >= min(dirtyBytes, s.SegmentBytes) || d.written <= now-min(dirtyAge.Milliseconds(), s.SegmentMs)
		if late || enough && d.ratio() > s.MinCleanableDirtyRatio {
			return true
		}
	}
	return d.horizon > 0 && d.horizon <= now
}

// ratio is the share of the topic that is dirty. It is that of the topic and not, as
// in Kafka, of each partition, since partitions share files: it says how much is
// rewritten for what was written.
func (d *dirt) ratio() float64 {
	if d.dirtyBytes == 0 {
		return 0
	}
	return float64(d.dirtyBytes) / float64(d.cleanBytes+d.dirtyBytes)
}
