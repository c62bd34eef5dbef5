package rows

import (
	"context"
	"math"

	"sluice/protocol/record"
)

// walkRows is how many timestamps are looked at at a time: 2 MiB of them.
const walkRows = 256 << 10

// OffsetForTime finds the earliest record of the partition with an offset of
// at least from and a timestamp of at least ts (ms).
func (r *Reader) OffsetForTime(ctx context.Context, partition int32, from, ts int64) (offset, timestamp int64, ok bool, err error) {
	defer guard(&err)
	skip := func(latest int64) bool { return latest < ts }
	err = r.walkTimes(ctx, partition, from, skip, func(o, ms int64) bool {
		if ms < ts || ms == record.NoTimestamp {
			return true
		}
		offset, timestamp, ok = o, ms, true
		return false
	})
	return offset, timestamp, ok, err
}

// MaxTimestamp finds the record of the partition with the greatest timestamp among
// those with an offset of at least from, the earliest of several. ok is false if no
// such record has a timestamp.
func (r *Reader) MaxTimestamp(ctx context.Context, partition int32, from int64) (offset, timestamp int64, ok bool, err error) {
	defer guard(&err)
	skip := func(latest int64) bool { return ok && latest <= timestamp }
	err = r.walkTimes(ctx, partition, from, skip, func(o, ms int64) bool {
		if ms != record.NoTimestamp && (!ok || ms > timestamp) {
			offset, timestamp, ok = o, ms, true
		}
		return true
	})
	return offset, timestamp, ok, err
}

// walkTimes calls see with the offsets and timestamps of a partition in order,
// until it answers false. It leaves out row groups whose latest timestamp, in
// ms, skip does not want.
func (r *Reader) walkTimes(ctx context.Context, partition int32, from int64, skip func(latest int64) bool, see func(offset, ms int64) bool) error {
	col := &r.f.columns[slotTimestamp]
	if col.leaf < 0 {
		return nil
	}
	g := r.gatherer()
	defer g.release()
	for {
		runs, err := r.runsFrom(ctx, partition, from)
		if err != nil || len(runs) == 0 {
			return err
		}
		for len(runs) > 0 {
			var segments []segment
			for left := int64(walkRows); left > 0 && len(runs) > 0 && len(segments) < maxSegments; {
				u := runs[0]
				if over := from - u.first; over > 0 {
					u.first, u.row, u.n = u.first+over, u.row+over, u.n-over
				}
				c := &r.f.groups[u.group].chunks[slotTimestamp]
				if c.bounds && skip(toMillis(c.max, col.unit)) {
					from, runs = u.first+u.n, runs[1:]
					continue
				}
				if u.n > left {
					u.n = left
				} else {
					runs = runs[1:]
				}
				left -= u.n
				from = u.first + u.n
				segments = append(segments, segment{run: u})
			}
			if len(segments) == 0 {
				continue
			}
			g.used = 0 // the tables before are done with
			tables, err := r.load(ctx, g, segments, slotTimestamp)
			if err != nil {
				return err
			}
			for _, s := range segments {
				times := tables[s.group].columns[slotTimestamp]
				for i := range int(s.n) {
					if !see(s.first+int64(i), toMillis(times.ints[s.at+i], col.unit)) {
						return nil
					}
				}
			}
		}
		if from == math.MaxInt64 {
			return nil
		}
	}
}
