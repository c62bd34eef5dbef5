package broker

import (
	"log/slog"
	"sync"
	"time"
)

// warnEvery is the least time between two lines about the same kind of
// misbehaviour: one client in a loop must not fill the log.
const warnEvery = 10 * time.Second

// warnings writes lines that a client could provoke at will, each kind at most
// once in warnEvery. Kinds are constants of this package, so their number is
// bounded. Safe for concurrent use.
type warnings struct {
	log   *slog.Logger
	mu    sync.Mutex
	kinds map[string]*warning
}

type warning struct {
	next       time.Time
	suppressed int
}

func newWarnings(log *slog.Logger) *warnings {
	return &warnings{log: log, kinds: map[string]*warning{}}
}

// warn writes the line kind with its attributes, and how many were left out before it.
func (w *warnings) warn(kind string, attributes ...any) {
	w.mu.Lock()
	last := w.kinds[kind]
	if last == nil {
		last = &warning{}
		w.kinds[kind] = last
	}
	now := time.Now()
	if now.Before(last.next) {
		last.suppressed++
		w.mu.Unlock()
		return
	}
	if last.suppressed > 0 {
		attributes = append(attributes, "suppressed", last.suppressed)
	}
	last.next, last.suppressed = now.Add(warnEvery), 0
	w.mu.Unlock()
	w.log.Warn(kind, attributes...)
}
