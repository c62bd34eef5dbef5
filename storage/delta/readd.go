package delta

import (
	"cmp"
	"context"
	"slices"
	"strconv"
)

// Some readers know no checkpoints. Pathway reads a table from its entries 0 to the
// newest, passes over those that are missing, and would silently lack the rows of
// every file whose add was cleaned up with its entry. So, before entries below C
// are removed, every live file whose newest add lies below C is added again, as the
// protocol allows ("re-adding the same path", dataChange=false: streams and change
// feeds pass over such entries). Afterwards the entries from C on name every live
// file, and no later cleanup of the same entries needs it again.
//
// This is always on: a table must not depend on a setting to be read whole, and it
// costs little. A file is added again once in each history window that it outlives
// (and once after a restart of the broker, since checkpoints do not tell when a file
// was added). With small files compacted, 2,000 live ones of about 1 kB of JSON are
// 2 MB in a window of 100,000 entries of about 1 kB: some 2 %. It takes at most
// one more entry for each checkpoint, that is, for 100 commits, and none in a table that
// is not written to, whose log is cleaned up once.
//
// The action is the same but for dataChange; above all its modificationTime. Spark's
// initial snapshot and Pathway's first read order files by that time, and it rises with
// the offsets. Pathway makes one batch of the files between two commitInfo timestamps
// that it finds: files older than the oldest entry left become one batch, whole and in
// order. The bounds of their versions are what is lost.

const (
	// readdFiles and readdBytes bound one entry of files that are added again.
	readdFiles = 10_000
	readdBytes = 8 << 20
)

// readd commits entries until no live file's newest add is older than version base.
func (c *Committer[T]) readd(ctx context.Context, base int64) error {
	for {
		more := false
		err := c.Propose(ctx, func(s *Snapshot) (*Entry, error) {
			e := readdEntry(s, base)
			more = e != nil
			return e, nil
		})
		if err != nil || !more {
			return err
		}
	}
}

// readdEntry adds live files again whose newest add is older than version base, as
// many as go into one entry; nil if there are none.
func readdEntry(s *Snapshot, base int64) *Entry {
	var old []*Add
	for _, file := range s.Files {
		if file.version < base {
			old = append(old, file)
		}
	}
	if len(old) == 0 {
		return nil
	}
	slices.SortFunc(old, func(a, b *Add) int {
		return cmp.Or(cmp.Compare(a.ModificationTime, b.ModificationTime), cmp.Compare(a.Path, b.Path))
	})
	e := &Entry{Info: &CommitInfo{
		Operation: "ADD AGAIN", OperationParameters: map[string]string{"before": strconv.FormatInt(base, 10)},
	}}
	bytes := 0
	for _, file := range old {
		add := *file
		add.DataChange = false
		e.Adds = append(e.Adds, add)
		bytes += len(add.Path) + len(add.Stats)
		for key, value := range add.Tags {
			bytes += len(key) + len(value)
		}
		if len(e.Adds) == readdFiles || bytes >= readdBytes {
			break
		}
	}
	return e
}
