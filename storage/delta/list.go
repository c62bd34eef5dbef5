package delta

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"sluice/storage/object"
)

// logListing is what a LIST shows of a log, in ascending order of versions.
type logListing struct {
	entries     []logObject
	checkpoints []logCheckpointFiles // complete ones only
	v2          bool                 // there is a checkpoint of the kind that needs reader version 3
	beyond      bool                 // there are versions above those asked for
	now         time.Time
}

// logObject is one object of a log.
type logObject struct {
	version  int64
	key      string // of a checkpoint's part; an entry's follows from its version
	size     int64
	modified time.Time
}

// logCheckpointFiles are the parts of one checkpoint, in order.
type logCheckpointFiles struct {
	version int64
	parts   []logObject
}

var errStopListing = errors.New("listing covers enough")

// list reads the objects of versions from and above, up to until.
func (l *Log) list(ctx context.Context, from, until int64) (*logListing, error) {
	listing := &logListing{}
	group := checkpointGroup{}
	request := object.ListRequest{Prefix: logPrefix(l.table), After: beforeVersion(l.table, max(from, 0))}
	now, err := object.All(ctx, l.store, request, func(info object.Info) error {
		name := l.logName(info.Key)
		if name.kind == logOther {
			return nil
		}
		if name.version > until {
			listing.beyond = true
			return errStopListing
		}
		if name.version != group.version {
			listing.take(&group)
			group.version = name.version
		}
		o := logObject{version: name.version, key: info.Key, size: info.Size, modified: info.Modified}
		switch name.kind {
		case logEntry:
			o.key = "" // follows from the version; logs are long
			listing.entries = append(listing.entries, o)
		case logV2:
			listing.v2 = true
		case logCheckpoint:
			group.add(name, o)
		}
		return nil
	})
	listing.take(&group)
	if err != nil && !errors.Is(err, errStopListing) {
		return nil, fmt.Errorf("list log of %s: %w", l.table, err)
	}
	listing.now = now
	return listing, nil
}

// checkpointGroup collects the checkpoints of one version: a classic one, or
// several of different numbers of parts, of which some may be incomplete.
type checkpointGroup struct {
	version int64
	byParts map[int][]logObject
}

// add takes one object. They come in order of their part numbers, which have
// leading zeros; a part whose predecessor is missing makes no checkpoint.
func (g *checkpointGroup) add(name logName, o logObject) {
	if g.byParts == nil {
		g.byParts = make(map[int][]logObject)
	}
	if have := g.byParts[name.parts]; len(have) == name.part-1 {
		g.byParts[name.parts] = append(have, o)
	}
}

// take adds the complete checkpoint of the fewest objects in the group, if there
// is one, and empties the group.
func (g *logListing) take(group *checkpointGroup) {
	best := 0
	for parts, have := range group.byParts {
		if len(have) == parts && (best == 0 || parts < best) {
			best = parts
		}
	}
	if best > 0 {
		g.checkpoints = append(g.checkpoints, logCheckpointFiles{version: group.version, parts: group.byParts[best]})
	}
	group.byParts = nil
}

// tip is the newest version shown, -1 if none.
func (g *logListing) tip() int64 {
	tip := int64(-1)
	if n := len(g.entries); n > 0 {
		tip = g.entries[n-1].version
	}
	if n := len(g.checkpoints); n > 0 {
		tip = max(tip, g.checkpoints[n-1].version)
	}
	return tip
}

// contiguous reports whether there is an entry for each version from first up to
// the newest entry, and none is missing in between.
func (g *logListing) contiguous(first int64) bool {
	next := first
	for _, entry := range g.entries {
		if entry.version < first {
			continue
		}
		if entry.version != next {
			return false
		}
		next++
	}
	return true
}

// allVersions bounds a listing that has no upper end.
const allVersions = int64(math.MaxInt64)
