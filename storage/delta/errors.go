package delta

import "errors"

// Errors that a caller decides by. They come wrapped; test with errors.Is.
var (
	// ErrNoTable answers an Open where there is no log.
	ErrNoTable = errors.New("no table")
	// ErrNoVersion answers an OpenAt of a version that cannot be rebuilt: not
	// there yet, or its history has been cleaned up.
	ErrNoVersion = errors.New("no such version")
	// ErrTableExists answers a Create that came too late: open the table instead.
	ErrTableExists = errors.New("table exists")
	// ErrMoved says that the log went on past a cleanup, so that what the caller
	// knows can no longer be brought up to date entry by entry: open the table
	// again. From Commit it also means that the entry must not be treated as
	// committed: it stands in no history that a reader sees, or (if others went
	// on meanwhile) that could not be told; the reloaded table shows which.
	ErrMoved = errors.New("the log went on past a cleanup")
	// ErrUnsupported says that the table needs a feature that Sluice lacks. The
	// error is an *UnsupportedError.
	ErrUnsupported = errors.New("unsupported table feature")
	// ErrCorrupt says that the log breaks the protocol: bytes that are no
	// actions, a gap between versions, a checkpoint without metadata.
	ErrCorrupt = errors.New("corrupt delta log")
	// ErrIncomplete says that entries of the log are missing, so that no version of the table
	// can be built. It comes with ErrCorrupt; see Log.Restart.
	ErrIncomplete = errors.New("entries are missing")
	// ErrIllegal answers the attempt to write an entry that the protocol forbids.
	ErrIllegal = errors.New("illegal log entry")
)

// UnsupportedError names the feature that Sluice lacks. It matches ErrUnsupported.
type UnsupportedError struct {
	Feature string
	Write   bool // reading the table would be possible
}

func (e *UnsupportedError) Error() string {
	if e.Write {
		return "unsupported table feature for writing: " + e.Feature
	}
	return "unsupported table feature: " + e.Feature
}

// Is makes errors.Is(err, ErrUnsupported) true.
func (e *UnsupportedError) Is(target error) bool { return target == ErrUnsupported }
