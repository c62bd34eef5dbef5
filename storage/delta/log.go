package delta

import (
	"log/slog"
	"sync/atomic"
	"time"

	"sluice/storage/object"
)

// Defaults of Options.
const (
	// DefaultAttempt bounds one put of an entry. A hung connection must not hold
	// a commit for longer, and what it did is found out by putting again.
	DefaultAttempt = 15 * time.Second
	// DefaultMaxEntries bounds the log by number, as some readers list it whole.
	DefaultMaxEntries = 100_000
)

// Options tune a Log. The zero value means the defaults.
type Options struct {
	// Window is W: cleanup never removes an entry younger than it, by the
	// store's clock. All writers of a table must agree on it.
	Window time.Duration
	// Attempt bounds one attempt to put an entry.
	Attempt time.Duration
	// MaxEntries is the number of entries behind the tip beyond which Cleanup
	// removes them before the log retention of the table is over.
	MaxEntries int64
	// Memory bounds what is read, and is shared with other logs of the process.
	Memory *Memory
	// Own says that the table is one of the process's own, which must be served whatever
	// others take of Memory.
	Own bool
	// Log takes rare facts that are no error for the caller: an unusable
	// checkpoint that was passed over, a stray entry removed.
	Log *slog.Logger
}

// Stats counts what a Log's commits met. The fields only grow.
type Stats struct {
	Commits atomic.Int64 // entries of ours that stand in the log
	Foreign atomic.Int64 // commits that found another's entry in their place
	Unclear atomic.Int64 // attempts whose outcome the store did not tell
	Hedges  atomic.Int64 // second puts sent because the first was slow
	Moved   atomic.Int64 // commits and follows that found the log cleaned past them
	Proofs  atomic.Int64 // LISTs that the rule of cleaned entries asked for
}

// Log is the _delta_log of one table. It holds no table state, only the
// latencies of recent puts, and is safe for concurrent use.
type Log struct {
	store object.Store
	table string
	opts  Options
	stats Stats
	puts  putLatencies
	// maxEntries is Options.MaxEntries, or what SetMaxEntries said since.
	maxEntries atomic.Int64
	// sound is the newest version+1 whose checkpoint this process has written
	// or read whole: Cleanup relies on no other without reading it first.
	sound atomic.Int64
	// young is the entry at which the last Cleanup stopped, nil if it has to look again.
	young atomic.Pointer[logObject]
}

// NewLog is the log of the table under the key prefix table, such as "orders" or
// "_sluice/consumer_offsets", whether or not it exists.
func NewLog(store object.Store, table string, opts Options) *Log {
	if opts.Window <= 0 {
		opts.Window = DefaultWindow
	}
	if opts.Attempt <= 0 {
		opts.Attempt = DefaultAttempt
	}
	if opts.MaxEntries <= 0 {
		opts.MaxEntries = DefaultMaxEntries
	}
	if opts.Memory == nil {
		opts.Memory = NewMemory(0, 0)
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	l := &Log{store: store, table: table, opts: opts}
	l.maxEntries.Store(opts.MaxEntries)
	return l
}

// room is what a snapshot of the table is going to take.
func (l *Log) room() *room { return &room{memory: l.opts.Memory, own: l.opts.Own} }

// SetMaxEntries replaces Options.MaxEntries: a topic says it in its table, which is
// read after the Log is made. 0 or less is no change.
func (l *Log) SetMaxEntries(n int64) {
	if n > 0 {
		l.maxEntries.Store(n)
	}
}

// Table is the key prefix of the table, without a slash at the end.
func (l *Log) Table() string { return l.table }

// Store is where the table lies.
func (l *Log) Store() object.Store { return l.store }

// Window is W of the rule of cleaned entries.
func (l *Log) Window() time.Duration { return l.opts.Window }

// Stats are the live counters of this Log.
func (l *Log) Stats() *Stats { return &l.stats }
