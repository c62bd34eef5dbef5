package delta

import (
	"context"
	"errors"
	"fmt"
)

// EpochApp is the application id of the txn action that holds a table's leader
// epoch. It only rises, for the whole life of the table.
const EpochApp = "sluice.leader_epoch"

// ErrFenced stops a committer whose table another writer has taken over.
var ErrFenced = errors.New("another broker has taken the table over")

// Epoch is the leader epoch as of a snapshot; 0 before the first leader.
func Epoch(s *Snapshot) int64 { return s.Txns[EpochApp].Version }

// TakeOver commits an entry that raises the table's leader epoch, and answers the
// new epoch. Whoever led before cannot commit any more without seeing it (see
// Fenced). also, which may be nil, adds to the entry.
func TakeOver[T any](ctx context.Context, c *Committer[T], also func(e *Entry, s *Snapshot)) (epoch int64, err error) {
	err = c.ProposeNow(ctx, func(s *Snapshot) (*Entry, error) {
		epoch = Epoch(s) + 1
		e := &Entry{
			Info: &CommitInfo{Operation: "TAKE OVER", OperationParameters: map[string]string{"leaderEpoch": fmt.Sprint(epoch)}},
			Txns: []Txn{{AppID: EpochApp, Version: epoch}},
		}
		if also != nil {
			also(e, s)
		}
		return e, nil
	})
	return epoch, err
}

// Fenced reports whether an entry of another writer raises the leader epoch past epoch.
func Fenced(e *Entry, epoch int64) bool {
	for _, t := range e.Txns {
		if t.AppID == EpochApp && t.Version > epoch {
			return true
		}
	}
	return false
}
