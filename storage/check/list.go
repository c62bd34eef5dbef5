package check

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"sluice/storage/object"
)

// errCleaned says that a part of the log that a listing had shown is gone.
var errCleaned = errors.New("the log was cleaned up while it was read")

// listing is what the log's folder holds.
type listing struct {
	entries     map[int64]object.Info
	checkpoints map[int64]checkpointParts
	first       int64 // the oldest entry, -1 if there is none
	tip         int64 // the newest entry or checkpoint
	hint        *object.Info
	now         time.Time // the store's clock
}

// checkpointParts are the objects of one checkpoint, by part number from 1.
type checkpointParts struct {
	parts map[int]object.Info
	of    int
}

// complete are its objects in order; nil if one is missing.
func (p checkpointParts) complete() []object.Info {
	all := make([]object.Info, 0, len(p.parts))
	for i := 1; i <= p.of; i++ {
		info, ok := p.parts[i]
		if !ok {
			return nil
		}
		all = append(all, info)
	}
	return all
}

func logFolder(table string) string { return table + "/_delta_log/" }

func listLog(ctx context.Context, store object.Store, table string) (*listing, error) {
	l := &listing{entries: map[int64]object.Info{}, checkpoints: map[int64]checkpointParts{}, first: -1, tip: -1}
	now, err := object.All(ctx, store, object.ListRequest{Prefix: logFolder(table)}, func(info object.Info) error {
		l.see(strings.TrimPrefix(info.Key, logFolder(table)), info)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list its log: %w", err)
	}
	if l.tip < 0 {
		return nil, ErrNoTable
	}
	l.now = now
	return l, nil
}

// see takes up one object of the folder; names that are not of the protocol are
// passed over, as readers do.
func (l *listing) see(name string, info object.Info) {
	if name == "_last_checkpoint" {
		l.hint = &info
		return
	}
	digits, rest, _ := strings.Cut(name, ".")
	version, err := strconv.ParseInt(digits, 10, 64)
	if len(digits) != 20 || err != nil {
		return
	}
	switch elements := strings.Split(rest, "."); {
	case rest == "json":
		l.entries[version] = info
		if l.first < 0 {
			l.first = version // they come in order
		}
	case rest == "checkpoint.parquet":
		l.checkpoints[version] = checkpointParts{parts: map[int]object.Info{1: info}, of: 1}
	case len(elements) == 4 && elements[0] == "checkpoint" && elements[3] == "parquet": // in parts
		part, err1 := strconv.Atoi(elements[1])
		of, err2 := strconv.Atoi(elements[2])
		have := l.checkpoints[version]
		if err1 != nil || err2 != nil || have.of == 1 || have.of != 0 && have.of != of {
			return
		}
		if have.parts == nil {
			have = checkpointParts{parts: map[int]object.Info{}, of: of}
		}
		have.parts[part] = info
		l.checkpoints[version] = have
	default:
		return // .crc, compacted entries: optional, and not read
	}
	l.tip = max(l.tip, version)
}

// begin is the version from which the log can be followed: 0, whose entry comes
// first, or the oldest checkpoint; -1 if there is neither.
func (l *listing) begin() int64 {
	base := l.oldestCheckpoint()
	if l.first == 0 && (base < 0 || l.unbroken(0, base)) {
		return 0
	}
	return base
}

// oldestCheckpoint is the oldest complete checkpoint but for strays, -1 if there is none.
func (l *listing) oldestCheckpoint() int64 {
	oldest := int64(-1)
	for version, parts := range l.checkpoints {
		if parts.complete() != nil && (oldest < 0 || version < oldest) && !l.stray(version) {
			oldest = version
		}
	}
	return oldest
}

// stray says that a checkpoint was put where cleanup had been: its entry is gone, so is
// one of the next two (the entry that its writer had under way may be there), and a newer
// checkpoint follows. Nothing can be told by it but its own version.
func (l *listing) stray(version int64) bool {
	if _, ok := l.entries[version]; ok {
		return false
	}
	for next := version + 1; next <= version+2; next++ {
		if _, ok := l.entries[next]; !ok {
			return l.newestCheckpoint() >= next
		}
	}
	return false
}

func (l *listing) newestCheckpoint() int64 {
	newest := int64(-1)
	for version, parts := range l.checkpoints {
		if parts.complete() != nil {
			newest = max(newest, version)
		}
	}
	return newest
}

// unbroken reports whether there is an entry for each version from the first to the
// last given.
func (l *listing) unbroken(first, last int64) bool {
	for v := first; v <= last; v++ {
		if _, ok := l.entries[v]; !ok {
			return false
		}
	}
	return true
}
