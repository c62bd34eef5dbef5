// Package check re-reads tables and says whether they are what Sluice promises: the
// log, the checkpoints, the statistics, every row's place. It is a witness of its
// own: it shares no code with what writes and serves tables but the object store,
// and reads JSON and Parquet by general libraries. What the two agree on is true.
//
// It only reads. Tables may be written meanwhile: the newest version is determined
// once, and the table is checked as of that version; what has left it since is no
// problem.
//
// What a table promises is written down in storage/README.md and storage/rows/README.md;
// rules of Delta are cited as [P] section, meaning delta-io/delta PROTOCOL.md.
package check

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"sluice/storage/object"
)

// ErrNoTable says that there is no Delta log where a table was looked for.
var ErrNoTable = errors.New("no table there")

// Options say how thorough to be. The zero value is the full check.
type Options struct {
	// Quick reads the footers of data files and not their rows: what statistics say
	// is compared with the footers, and rows are taken to be where the tags say.
	Quick bool
	// Dense asks for every offset from the log start offset up to the next one, for
	// topics from which nothing but whole prefixes can have been deleted: no
	// deletes by engines, no transactions. A topic compacted by key may have gaps, but
	// must have its newest record.
	Dense bool
	// OrphanAge is how old a data file that no version names must be to be called
	// an orphan, by the store's clock: younger ones may be about to be committed.
	// 0 is DefaultOrphanAge.
	OrphanAge time.Duration
	// Progress, if not nil, hears of every step, from one goroutine at a time.
	Progress func(Progress)
}

// DefaultOrphanAge is far above the time for which a broker may hold a file back
// before it commits it.
const DefaultOrphanAge = time.Hour

// Progress is how far the check of a table has come.
type Progress struct {
	Table       string
	Step        string // "log" or "files"
	Done, Total int64  // of versions or files
}

const (
	// parallel is how many objects are read at a time.
	parallel = 8
	// attempts bounds how often the log is read again because cleanup took away
	// what a listing had shown.
	attempts = 5
)

// system begins the paths of Sluice's own tables.
const system = "_sluice/"

// checker checks one table.
type checker struct {
	*Report
	ctx     context.Context
	store   object.Store
	options Options

	listing   *listing
	producers *producerReplay // nil for Sluice's own tables
	state     *state          // as of the tip; nil if the log does not tell
	rows      *keyedRows      // of Sluice's own tables
}

// Table checks one table: a topic's by its name, or one of Sluice's own
// ("_sluice/consumer_offsets"). Problems are in the report. The error says that
// the table could not be checked: ErrNoTable, or what the store answered.
func Table(ctx context.Context, store object.Store, table string, o Options) (*Report, error) {
	c, err := run(ctx, store, table, o)
	if err != nil {
		return nil, err
	}
	return c.Report, nil
}

func run(ctx context.Context, store object.Store, table string, o Options) (*checker, error) {
	if !object.ValidKey(table) {
		return nil, fmt.Errorf("table %q: %w", table, object.ErrBadKey)
	}
	if o.OrphanAge == 0 {
		o.OrphanAge = DefaultOrphanAge
	}
	if o.Progress == nil {
		o.Progress = func(Progress) {}
	}
	began := time.Now()
	for attempt := 1; ; attempt++ {
		c := &checker{Report: &Report{Table: table, Problems: []Problem{}}, ctx: ctx, store: store, options: o}
		err := c.check()
		if err == nil {
			c.Took = time.Since(began)
			return c, nil
		}
		if !errors.Is(err, errCleaned) || attempt == attempts {
			return nil, fmt.Errorf("table %s: %w", table, err)
		}
	}
}

func (c *checker) check() (err error) {
	if c.listing, err = listLog(c.ctx, c.store, c.Table); err != nil {
		return err
	}
	c.Version = c.listing.tip
	if !c.keyed() {
		if c.producers, err = newProducerReplay(c); err != nil {
			return err
		}
	}
	if err := c.replay(); err != nil {
		return err
	}
	if err := c.checkHint(); err != nil {
		return err
	}
	if c.state == nil {
		return nil // said why already; nothing below can be judged
	}
	c.promises()
	if c.producers != nil {
		if err := c.producers.finish(); err != nil {
			return err
		}
	}
	return c.files()
}

// keyed reports whether the table is one of Sluice's own, whose newest row of a
// key counts.
func (c *checker) keyed() bool { return strings.HasPrefix(c.Table, system) }

func (c *checker) progress(step string, done, total int64) {
	c.options.Progress(Progress{Table: c.Table, Step: step, Done: done, Total: total})
}

// ordered fetches n things, several at a time, and uses them in order.
func ordered[T any](ctx context.Context, n, width int, fetch func(ctx context.Context, i int) (T, error), use func(i int, v T) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // what is still being fetched has nobody left to use it
	type answer struct {
		value T
		err   error
	}
	window := make([]chan answer, width)
	begin := func(i int) {
		answers := make(chan answer, 1)
		window[i%width] = answers
		go func() {
			v, err := fetch(ctx, i)
			answers <- answer{v, err}
		}()
	}
	for i := range min(n, width) {
		begin(i)
	}
	for i := range n {
		a := <-window[i%width]
		if a.err != nil {
			return a.err
		}
		if err := use(i, a.value); err != nil {
			return err
		}
		if i+width < n {
			begin(i + width)
		}
	}
	return nil
}
