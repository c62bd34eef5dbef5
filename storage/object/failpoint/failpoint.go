// Package failpoint ends the process at a named point of the write path, as
// kill -9 does, or has it stand still there. Nearly all such points are requests to the store, so this is a
// store around a store: it tells from the kind, the key and the content of a write
// what the broker is about, and no other code knows of it.
//
// Only a binary built with the tag failpoint imports it (cmd/sluice/failpoint_on.go);
// the integration tests run that one.
package failpoint

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"path"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"sluice/storage/object"
)

// Moment is when, in the course of a request, the process ends.
type Moment string

// The moments. Half is of deletions only: half of the keys are gone.
const (
	Before Moment = "before" // nothing was asked of the store
	Half   Moment = "half"
	After  Moment = "after" // it was applied, and nobody has heard of it
)

// Trigger is a point, and how often it is to be reached for the process to end. A
// point is TABLE.WHAT.MOMENT, of topics WHAT.MOMENT only. TABLE is offsets or catalogue;
// WHAT is
//
//	data         the data file of a pool of records or rows
//	rewrite      a data file that takes the place of others
//	entry.OP     an entry of the log, by its operation and the reason that it gives, in
//	             lower case: write, optimize, delete-retention, delete-compaction, take-over, ...
//	checkpoint   a checkpoint
//	hint         _last_checkpoint
//	state        a snapshot of the producers' state
//	cleanup      the deletion of log objects
//	vacuum       the deletion of data files
type Trigger struct {
	Point string
	Nth   int64 // from 1
	Still bool  // the process does not end there: it stands still, and may be woken
}

// Parse reads POINT:N, or POINT for the first time; POINT:N:still does not end the process.
func Parse(s string) (Trigger, error) {
	rest, still := strings.CutSuffix(s, ":still")
	point, n, counted := strings.Cut(rest, ":")
	t := Trigger{Point: point, Nth: 1, Still: still}
	if counted {
		var err error
		if t.Nth, err = strconv.ParseInt(n, 10, 64); err != nil || t.Nth < 1 {
			return Trigger{}, fmt.Errorf("failpoint %q: want POINT:N, N from 1", s)
		}
	}
	i := strings.LastIndexByte(point, '.')
	switch Moment(point[i+1:]) {
	case Before, Half, After:
		if i > 0 {
			return t, nil
		}
	}
	return Trigger{}, fmt.Errorf("failpoint %q: a point ends with .before, .half or .after", s)
}

// Counter calls end when a point has been reached often enough.
type Counter struct {
	trigger Trigger
	reached atomic.Int64
	end     func()
}

// NewCounter makes a Counter. end ends the process, or returns when that goes on.
func NewCounter(t Trigger, end func()) *Counter { return &Counter{trigger: t, end: end} }

// Reach says that the process is at a moment of what it does.
func (c *Counter) Reach(what string, m Moment) {
	if what+"."+string(m) == c.trigger.Point && c.reached.Add(1) == c.trigger.Nth {
		c.end()
	}
}

// New answers a store on top of another one that reports its writes to c.
func New(store object.Store, c *Counter) object.Store { return &watched{Store: store, counter: c} }

// watched is a Store; reads, and URL, are those of the store within.
type watched struct {
	object.Store
	counter *Counter
}

// Create implements object.Store.
func (s *watched) Create(ctx context.Context, key string, body []byte, after ...string) (time.Time, error) {
	what := written(key, body)
	s.counter.Reach(what, Before)
	now, err := s.Store.Create(ctx, key, body, after...)
	if err == nil {
		s.counter.Reach(what, After)
	}
	return now, err
}

// Put implements object.Store.
func (s *watched) Put(ctx context.Context, key string, body []byte) (time.Time, error) {
	what := written(key, body)
	if what == "data" { // a committer stages its own
		what = "rewrite"
	}
	s.counter.Reach(what, Before)
	now, err := s.Store.Put(ctx, key, body)
	if err == nil {
		s.counter.Reach(what, After)
	}
	return now, err
}

// Stage implements object.Store. A process that ends after it leaves what it has
// written to the kernel: durable or not is of the machine's end only.
func (s *watched) Stage(ctx context.Context, key string, body []byte) (time.Time, <-chan struct{}, error) {
	what := written(key, body)
	s.counter.Reach(what, Before)
	now, settled, err := s.Store.Stage(ctx, key, body)
	if err == nil {
		s.counter.Reach(what, After)
	}
	return now, settled, err
}

// Delete implements object.Store.
func (s *watched) Delete(ctx context.Context, keys ...string) (time.Time, error) {
	what := deleted(keys)
	if s.counter.trigger.Point == what+"."+string(Half) {
		if _, err := s.Store.Delete(ctx, keys[:len(keys)/2]...); err == nil {
			s.counter.Reach(what, Half)
		}
	}
	s.counter.Reach(what, Before)
	now, err := s.Store.Delete(ctx, keys...)
	if err == nil {
		s.counter.Reach(what, After)
	}
	return now, err
}

// written says what a write of key is, "" if no point is there.
func written(key string, body []byte) string {
	table, rest := split(key)
	name := path.Base(rest)
	switch {
	case strings.HasPrefix(rest, "data/"):
		return table + "data"
	case strings.HasPrefix(rest, "_sluice/state/"):
		return table + "state"
	case !strings.HasPrefix(rest, "_delta_log/"):
		return ""
	case name == "_last_checkpoint":
		return table + "hint"
	case strings.HasSuffix(name, ".parquet"):
		return table + "checkpoint"
	}
	return table + "entry." + operation(body)
}

// deleted says what a deletion is: all keys of one are of one kind.
func deleted(keys []string) string {
	if len(keys) == 0 {
		return ""
	}
	switch table, rest := split(keys[0]); {
	case strings.HasPrefix(rest, "_delta_log/"):
		return table + "cleanup"
	case strings.HasPrefix(rest, "data/"):
		return table + "vacuum"
	}
	return ""
}

// split divides a key into the prefix of a point's name, and what follows the table.
func split(key string) (table, rest string) {
	if rest, ok := strings.CutPrefix(key, "_sluice/consumer_offsets/"); ok {
		return "offsets.", rest
	}
	if rest, ok := strings.CutPrefix(key, "_sluice/topics/"); ok {
		return "catalogue.", rest
	}
	_, rest, _ = strings.Cut(key, "/")
	return "", rest
}

// operation is the operation of an entry, and its reason, as points name them.
func operation(entry []byte) string {
	field := func(name string) string {
		_, rest, _ := bytes.Cut(entry, []byte(`"`+name+`":"`))
		value, _, _ := bytes.Cut(rest, []byte(`"`))
		return strings.ReplaceAll(strings.ToLower(string(value)), " ", "-")
	}
	name := field("operation")
	if reason := field("reason"); reason != "" {
		name += "-" + reason
	}
	return cmp.Or(name, "other")
}
