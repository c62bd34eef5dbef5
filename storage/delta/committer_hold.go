package delta

import (
	"context"
	"time"
)

// A hold keeps a committer from putting entries while another writer's transaction
// works on the table (CommitterOptions.Hold). An engine's DELETE or MERGE is
// serializable: it loses to every append that is committed while it runs, and would
// never come to its end on a table that is appended to several times a second.
//
// Items join the filling pool as ever, full pools are uploaded, and all of it is committed
// when the hold is over.

// held is how long no entry may be put.
func (c *Committer[T]) held() time.Duration {
	if c.options.Hold == nil {
		return 0
	}
	return max(0, time.Until(c.options.Hold()))
}

// ProposeNow is Propose for what must not wait for the end of a hold: taking the
// table over, deleting it, and what ends the hold.
func (c *Committer[T]) ProposeNow(ctx context.Context, propose func(snap *Snapshot) (*Entry, error)) error {
	return c.propose(ctx, c.urgent, &proposal{make: propose, urgent: true, done: make(chan error, 1)})
}
