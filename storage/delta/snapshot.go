package delta

import (
	"fmt"
	"maps"
	"time"
)

// Snapshot is the state of a table at a version. It is not safe for concurrent
// use: whoever applies entries owns it; Clone gives another goroutine its own.
// The actions that the maps point to are shared with clones and never changed.
type Snapshot struct {
	Version int64
	// Proved is a moment, by the store's clock, at which Version was the newest
	// entry of the log (or one shortly before). The rule of cleaned entries
	// counts from it; see README.md. Whoever applies an entry of his own sets it
	// to what Commit returned.
	Proved time.Time
	// Timestamp is the newest commitInfo timestamp (or in-commit timestamp) seen
	// in the log, in ms; 0 if unknown. See NextTimestamp.
	Timestamp int64

	Protocol Protocol
	Metadata Metadata
	Txns     map[string]Txn // by appId
	// Files are the live data files by FileName of their path.
	Files map[string]*Add
	// Tombstones are the removed files by FileName of their path, until a vacuum
	// has deleted them.
	Tombstones map[string]*Remove

	// Checkpoint is the version of the newest known checkpoint, -1 if none.
	Checkpoint int64

	room *room // what it takes of the log's Memory; nil for a clone, whose maps have little of their own
}

// NewSnapshot is the state before version 0.
func NewSnapshot() *Snapshot {
	return &Snapshot{
		Version:    -1,
		Checkpoint: -1,
		Txns:       make(map[string]Txn),
		Files:      make(map[string]*Add),
		Tombstones: make(map[string]*Remove),
	}
}

// Apply moves the snapshot on by one entry, which must be that of Version+1 and
// must not be changed afterwards. On an error the snapshot stays as it was:
// ErrUnsupported if the entry brings a protocol that Sluice cannot read,
// ErrCorrupt if it is not the next one.
func (s *Snapshot) Apply(e *Entry) error {
	if e.Version != s.Version+1 {
		return fmt.Errorf("%w: version %d follows %d", ErrCorrupt, e.Version, s.Version)
	}
	if e.Version == 0 && (e.Protocol == nil || e.Metadata == nil) {
		return fmt.Errorf("%w: version 0 without protocol and metaData", ErrCorrupt)
	}
	if e.Protocol != nil {
		if err := e.Protocol.CanRead(); err != nil {
			return err
		}
	}
	if e.Metadata != nil {
		if err := e.Metadata.canRead(); err != nil {
			return err
		}
	}
	if e.Protocol != nil {
		s.Protocol = *e.Protocol
	}
	if e.Metadata != nil {
		s.Metadata = e.Metadata.complete()
	}
	for _, txn := range e.Txns {
		s.Txns[txn.AppID] = txn
	}
	// Removes first: should a foreign entry name a path in both, the file lives.
	for i := range e.Removes {
		name := FileName(e.Removes[i].Path)
		delete(s.Files, name)
		s.Tombstones[name] = &e.Removes[i]
	}
	for i := range e.Adds {
		name := FileName(e.Adds[i].Path)
		delete(s.Tombstones, name)
		e.Adds[i].version = e.Version
		s.Files[name] = &e.Adds[i]
	}
	s.seeTimestamp(e)
	s.Version = e.Version
	return nil
}

func (s *Snapshot) seeTimestamp(e *Entry) {
	if e.Info != nil {
		s.Timestamp = max(s.Timestamp, e.Info.Timestamp, e.Info.InCommitTimestamp)
	}
}

// NextTimestamp is the timestamp for the next entry, in ms: now, or just above
// that of the newest entry. Readers group and order versions by it.
func (s *Snapshot) NextTimestamp(now time.Time) int64 {
	return max(now.UnixMilli(), s.Timestamp+1)
}

// TooLate reports whether a file that was uploaded at that moment, by the store's clock, may not
// be named any more by an entry on top of s: MaxUploadAge is over, as the log shows. Who
// deletes orphans puts an entry of his own first, so that a writer that stood still in between
// meets it, and learns what time it is, before he can commit anything.
func (s *Snapshot) TooLate(uploaded time.Time) bool {
	return !uploaded.IsZero() && s.Proved.Sub(uploaded) > MaxUploadAge
}

// Clone is a copy that another goroutine may own. It costs time and memory in
// proportion to files, tombstones and txns.
func (s *Snapshot) Clone() *Snapshot {
	c := *s
	c.room = nil
	c.Txns = maps.Clone(s.Txns)
	c.Files = maps.Clone(s.Files)
	c.Tombstones = maps.Clone(s.Tombstones)
	return &c
}

// Expired are the tombstones older than the table's
// delta.deletedFileRetentionDuration at the time now, which no reader of the
// promised history needs any more.
func (s *Snapshot) Expired(now time.Time) (expired []*Remove) {
	cutoff := s.tombstoneCutoff(now)
	for _, remove := range s.Tombstones {
		if remove.DeletionTimestamp < cutoff {
			expired = append(expired, remove)
		}
	}
	return expired
}

// tombstoneCutoff is the deletion timestamp, in ms, before which tombstones expire.
func (s *Snapshot) tombstoneCutoff(now time.Time) int64 {
	return now.Add(-s.Metadata.DeletedFileRetention()).UnixMilli()
}
