package keyed

import "context"

// change is rows that are committed together.
type change[R any] struct {
	rows []R
	wait *Wait
}

// Wait is the coming end of a change.
type Wait struct {
	done chan struct{}
	err  error
}

// Done is closed when the change is a version of the table, or has failed.
func (w *Wait) Done() <-chan struct{} { return w.done }

// Err tells which; call it after Done is closed.
func (w *Wait) Err() error { return w.err }

// Get waits for the end, or for that of ctx.
func (w *Wait) Get(ctx context.Context) error {
	select {
	case <-w.done:
		return w.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (w *Wait) end(err error) {
	w.err = err
	close(w.done)
}
