package rows

import (
	"context"
	"errors"
)

const (
	// keyRows and keyBytes bound what Keys holds at a time.
	keyRows  = 64 << 10
	keyBytes = 16 << 20
)

// Keys calls found with the key of each of a partition's records with an offset
// from first to last, in order, nil for none, until found returns false. A key is
// valid until then. Only the key's column is read (and partition and offset, if the
// footer does not tell where the rows are): a small part of most files.
func (r *Reader) Keys(ctx context.Context, partition int32, first, last int64, found func(offset int64, key []byte) bool) (err error) {
	defer guard(&err)
	g := r.gatherer()
	defer g.release()
	for most := int64(keyRows); first <= last; {
		runs, err := r.runsFrom(ctx, partition, first)
		if err != nil {
			return err
		}
		segments, rows := headOf(runs, first, last, most)
		if len(segments) == 0 {
			return nil
		}
		g.used, g.limit = 0, keyBytes
		if rows == 1 {
			g.limit = maxReadBytes
		}
		tables, err := r.load(ctx, g, segments, slotKey)
		if errors.Is(err, errTooMuch) && rows > 1 {
			most = max(rows/4, 1)
			continue
		}
		if err != nil {
			return err
		}
		for _, s := range segments {
			keys := tables[s.group].columns[slotKey]
			for i := range s.n {
				var key []byte
				if keys != nil {
					key = keys.bytes(s.at + int(i))
				}
				if !found(s.first+i, key) {
					return nil
				}
			}
			first = s.first + s.n
		}
	}
	return nil
}

// headOf cuts the first rows of runs with offsets from first to last, most at most.
func headOf(runs []run, first, last, most int64) (segments []segment, rows int64) {
	for _, u := range runs {
		if over := first - u.first; over > 0 {
			u.first, u.row, u.n = u.first+over, u.row+over, u.n-over
		}
		if u.n = min(u.n, last-u.first+1, most-rows); u.n <= 0 || len(segments) == maxSegments {
			break
		}
		segments = append(segments, segment{run: u})
		rows += u.n
	}
	return segments, rows
}
