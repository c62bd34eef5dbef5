package delta

import (
	"context"
	"errors"
	"fmt"
)

// restartAttempts bounds how often Restart meets a writer that still goes on.
const restartAttempts = 10

// Restart lets the log of a table that nobody can open any more (ErrIncomplete) begin anew,
// behind the newest version that is left: e, which says all that the table is from now on, is put
// there. Nothing is taken away: whoever still writes to the table meets e. The caller
// then writes the checkpoint of the snapshot, from which the table opens; until then it is
// as incomplete as before, and Restart may be called again.
//
// It completes e: its version, and a leader epoch above all that were.
// ErrNoTable: nothing is left of the log.
func (l *Log) Restart(ctx context.Context, e *Entry) (*Snapshot, error) {
	for range restartAttempts {
		listing, err := l.list(ctx, 0, allVersions)
		if err != nil {
			return nil, err
		}
		tip := listing.tip()
		if tip < 0 {
			return nil, fmt.Errorf("restart %s: %w", l.table, ErrNoTable)
		}
		e.Version = tip + 1
		// Each take-over is a version: there were fewer of them.
		e.Txns = []Txn{{AppID: EpochApp, Version: e.Version}}
		s := NewSnapshot()
		s.Version = tip
		if err := s.Apply(e); err != nil {
			return nil, fmt.Errorf("restart %s: %w: %w", l.table, ErrIllegal, err)
		}
		proved, foreign, err := l.Commit(ctx, e, listing.now)
		switch {
		case foreign != nil, errors.Is(err, ErrMoved), errors.Is(err, ErrCorrupt):
			continue // somebody's entry has come there
		case err != nil:
			return nil, err
		}
		s.Proved = proved
		return s, nil
	}
	return nil, fmt.Errorf("restart %s: %w: others go on writing to it", l.table, ErrMoved)
}
