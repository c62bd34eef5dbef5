// Package keyed is a small Delta table whose newest row of each key is its
// state, held in memory: the catalogue of topics and the consumer offsets are
// such tables. Every change is a version; a goroutine rewrites the table into
// one file now and then, so that loading it reads little more than what is live.
package keyed

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"sluice/storage/delta"
	"sluice/storage/object"
)

// Form describes a table's rows. R is a struct with parquet tags.
type Form[K comparable, R any] struct {
	Name     string // the table's name in its metaData
	Schema   string // Delta schemaString; its columns are those of R
	Key      func(*R) K
	Sequence func(*R) *int64 // a column that orders the rows of a key
	Dead     func(*R) bool   // the row says that its key is gone
}

// Options tune a Table.
type Options struct {
	Committer delta.CommitterOptions
	Window    time.Duration // see delta.Options
	Log       *slog.Logger
}

// Table is an open table. Safe for concurrent use. If another broker takes it
// over, writes fail with delta.ErrFenced for a while (fencedFor); then the next
// one takes it back, after reading what the other wrote.
type Table[K comparable, R any] struct {
	form    Form[K, R]
	store   object.Store
	path    string
	options Options

	// mu orders the changes; it is not held across I/O.
	mu        sync.Mutex
	state     map[K]*R
	sequence  int64 // the last one given out
	committer *delta.Committer[*change[R]]
	epoch     int64
	version   int64
	fenced    time.Time // when the table was lost, zero if it was not
	reopening *reopening
	closed    bool
	rewriting bool
	files     int
	group     sync.WaitGroup // rewrites and reopenings
	changed   func(rows []R)
}

// change is rows that are committed together.
type change[R any] struct {
	rows []R
	wait *Wait
}

type reopening struct {
	done chan struct{}
	err  error
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

// Failed is a Wait that has ended with err.
func Failed(err error) *Wait {
	w := &Wait{done: make(chan struct{})}
	w.end(err)
	return w
}

const (
	// fencedFor keeps two brokers that were started on one root by mistake from
	// taking a table from each other with every write.
	fencedFor = 3 * time.Second
	// rewriteFiles is how many data files the table may have before it is rewritten
	// into one.
	rewriteFiles = 64
	readers      = 16 // files read at a time when loading
)

// Open loads the table at path, making it if it is not there, and takes it over.
func Open[K comparable, R any](ctx context.Context, store object.Store, path string, form Form[K, R], options Options) (*Table[K, R], error) {
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	t := &Table[K, R]{form: form, store: store, path: path, options: options}
	return t, t.open(ctx)
}

// open loads the table and takes it over; nobody writes to it here meanwhile.
func (t *Table[K, R]) open(ctx context.Context) error {
	log := delta.NewLog(t.store, t.path, delta.Options{Window: t.options.Window, Log: t.options.Log})
	snap, err := log.Open(ctx, nil)
	if errors.Is(err, delta.ErrNoTable) {
		snap, err = t.create(ctx, log)
	}
	if err != nil {
		return fmt.Errorf("table %s: %w", t.path, err)
	}
	state, last, err := t.load(ctx, log, snap)
	if err != nil {
		return fmt.Errorf("table %s: %w", t.path, err)
	}
	t.mu.Lock()
	t.state, t.sequence, t.version, t.files = state, last, snap.Version, len(snap.Files)
	// Until the entry of the take-over stands, every other leader is ahead of us.
	t.epoch = delta.Epoch(snap)
	t.mu.Unlock()
	committer := delta.Start(log, snap, delta.Hooks[*change[R]]{
		Encode:  t.encode,
		Entry:   func(*delta.Entry, *delta.Snapshot, [][]*change[R]) {},
		Check:   t.check,
		Applied: t.applied,
		Failed:  t.failed,
		Stopped: t.stopped,
	}, t.options.Committer)
	epoch, err := delta.TakeOver(ctx, committer, nil)
	if err != nil {
		committer.Close(ctx)
		return fmt.Errorf("table %s: %w", t.path, err)
	}
	t.mu.Lock()
	t.epoch, t.committer, t.fenced = epoch, committer, time.Time{}
	t.mu.Unlock()
	return nil
}

func (t *Table[K, R]) create(ctx context.Context, log *delta.Log) (*delta.Snapshot, error) {
	snap, err := log.Create(ctx, &delta.Entry{
		Info: &delta.CommitInfo{
			Timestamp: time.Now().UnixMilli(), Operation: "CREATE TABLE", OperationParameters: map[string]string{},
			IsBlindAppend: true, EngineInfo: t.options.Committer.Engine, TxnID: uuid.NewString(),
		},
		Protocol: &delta.Protocol{MinReaderVersion: 1, MinWriterVersion: 7, WriterFeatures: []string{delta.FeatureAppendOnly, delta.FeatureInvariants, delta.FeatureSluice}},
		Metadata: &delta.Metadata{
			ID: uuid.NewString(), Name: t.form.Name, Format: delta.Format{Provider: "parquet", Options: map[string]string{}},
			SchemaString: t.form.Schema, PartitionColumns: []string{}, CreatedTime: time.Now().UnixMilli(),
			Configuration: map[string]string{
				"delta.enableExpiredLogCleanup":      "false",
				"delta.checkpointInterval":           "100",
				"delta.logRetentionDuration":         "interval 1 days",
				"delta.deletedFileRetentionDuration": "interval 1 hours",
			},
		},
	})
	if errors.Is(err, delta.ErrTableExists) {
		return log.Open(ctx, nil)
	}
	return snap, err
}

// load reads the newest row of each key from the table's files.
func (t *Table[K, R]) load(ctx context.Context, log *delta.Log, snap *delta.Snapshot) (map[K]*R, int64, error) {
	state := make(map[K]*R)
	last := int64(0)
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readers)
	for _, add := range snap.Files {
		group.Go(func() error {
			key, err := log.DataKey(add.Path)
			if err != nil {
				return err
			}
			file, err := t.store.Get(ctx, key, object.Range{})
			if err != nil {
				return err
			}
			rows, err := decode[R](file.Body)
			if err != nil {
				return fmt.Errorf("file %s: %w", add.Path, err)
			}
			mu.Lock()
			defer mu.Unlock()
			for i := range rows {
				row := &rows[i]
				key := t.form.Key(row)
				last = max(last, *t.form.Sequence(row))
				if old := state[key]; old == nil || *t.form.Sequence(old) < *t.form.Sequence(row) {
					state[key] = row
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, 0, err
	}
	for key, row := range state {
		if t.form.Dead(row) {
			delete(state, key)
		}
	}
	return state, last, nil
}

// Put commits rows, each of which takes the place of its key's. It never blocks;
// the state shows them once they are committed.
func (t *Table[K, R]) Put(rows ...R) *Wait {
	w := &Wait{done: make(chan struct{})}
	if len(rows) == 0 {
		w.end(nil)
		return w
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.append(&change[R]{rows: rows, wait: w})
	return w
}

// append hands a change to the committer; t.mu is held.
func (t *Table[K, R]) append(c *change[R]) {
	for i := range c.rows {
		t.sequence++
		*t.form.Sequence(&c.rows[i]) = t.sequence
	}
	if t.closed {
		c.wait.end(delta.ErrStopping)
		return
	}
	if t.fenced.IsZero() {
		if err := t.committer.Append(c, rowBytes*len(c.rows), true); err != nil {
			c.wait.end(err)
		}
		return
	}
	if time.Since(t.fenced) < fencedFor {
		c.wait.end(delta.ErrFenced)
		return
	}
	r := t.reopen()
	t.group.Go(func() {
		<-r.done
		if r.err != nil {
			c.wait.end(r.err)
			return
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		t.append(c)
	})
}

// rowBytes is about what a row takes up in a file.
const rowBytes = 128

// reopen takes the table back, once for all who ask; t.mu is held.
func (t *Table[K, R]) reopen() *reopening {
	if t.reopening != nil {
		return t.reopening
	}
	r := &reopening{done: make(chan struct{})}
	t.reopening = r
	t.group.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		err := t.open(ctx)
		t.mu.Lock()
		r.err, t.reopening = err, nil
		t.mu.Unlock()
		if err == nil {
			t.reloaded()
		}
		close(r.done)
		if err == nil {
			t.options.Log.Warn("table taken back from another broker: is a second one running on this store?", "table", t.path)
		}
	})
	return r
}

// reloaded tells of all rows anew: another broker may have changed any of them.
func (t *Table[K, R]) reloaded() {
	t.mu.Lock()
	rows := make([]R, 0, len(t.state))
	for _, row := range t.state {
		rows = append(rows, *row)
	}
	changed := t.changed
	t.mu.Unlock()
	if changed != nil {
		changed(rows)
	}
}

// Get answers the newest committed row of a key.
func (t *Table[K, R]) Get(key K) (R, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if row := t.state[key]; row != nil {
		return *row, true
	}
	var none R
	return none, false
}

// Each calls f for every key's row, in no order, under the table's lock: f must
// be short and must not call the table.
func (t *Table[K, R]) Each(f func(K, *R)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for key, row := range t.state {
		f(key, row)
	}
}

// OnChange names the function that hears of rows as they are committed, in order,
// on the committer's goroutine. Set it before the first Put.
func (t *Table[K, R]) OnChange(f func(rows []R)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.changed = f
}

// Version is the table's newest version known here.
func (t *Table[K, R]) Version() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.version
}

// Close commits what is pending, within ctx, and stops.
func (t *Table[K, R]) Close(ctx context.Context) error {
	t.mu.Lock()
	t.closed = true
	committer := t.committer
	t.mu.Unlock()
	err := committer.Close(ctx)
	t.group.Wait()
	return err
}

// The hooks of the committer.

func (t *Table[K, R]) encode(_ context.Context, changes []*change[R]) (*delta.File, error) {
	var rows []R
	for _, c := range changes {
		rows = append(rows, c.rows...)
	}
	return file(rows)
}

func file[R any](rows []R) (*delta.File, error) {
	body, err := encode(rows)
	if err != nil {
		return nil, err
	}
	return &delta.File{
		Path:  "data/" + time.Now().UTC().Format(time.DateOnly) + "/" + uuid.NewString() + ".parquet",
		Body:  body,
		Stats: fmt.Sprintf(`{"numRecords":%d,"minValues":{},"maxValues":{},"nullCount":{}}`, len(rows)),
	}, nil
}

func (t *Table[K, R]) check(e *delta.Entry, _ *delta.Snapshot) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if delta.Fenced(e, t.epoch) {
		return delta.ErrFenced
	}
	if e.Metadata != nil || e.Protocol != nil || len(e.Adds)+len(e.Removes) > 0 {
		return fmt.Errorf("%w: foreign changes in version %d of %s", delta.ErrUnsupported, e.Version, t.path)
	}
	return nil
}

func (t *Table[K, R]) applied(e *delta.Entry, snap *delta.Snapshot, pools [][]*change[R]) error {
	t.mu.Lock()
	t.version, t.files = e.Version, len(snap.Files)
	for _, pool := range pools {
		for _, c := range pool {
			for i := range c.rows {
				row := &c.rows[i]
				if t.form.Dead(row) {
					delete(t.state, t.form.Key(row))
				} else {
					t.state[t.form.Key(row)] = row
				}
			}
		}
	}
	changed := t.changed
	if t.files >= rewriteFiles && !t.rewriting && !t.closed {
		t.startRewrite(snap)
	}
	t.mu.Unlock()
	for _, pool := range pools {
		for _, c := range pool {
			if changed != nil {
				changed(c.rows)
			}
			c.wait.end(nil)
		}
	}
	return nil
}

func (t *Table[K, R]) failed(changes []*change[R], err error) {
	for _, c := range changes {
		c.wait.end(err)
	}
}

func (t *Table[K, R]) stopped(err error) {
	t.mu.Lock()
	t.fenced = time.Now()
	t.mu.Unlock()
	t.options.Log.Error("table lost: another broker writes to this store, or the table was changed; writes to it fail for a while",
		"table", t.path, "err", err)
}

// startRewrite writes the state as of snap into one file and replaces all files
// of snap by it; t.mu is held. Rows that come meanwhile have higher sequences and
// files of their own. Rows of dead keys are left out: what they hide is too.
func (t *Table[K, R]) startRewrite(snap *delta.Snapshot) {
	t.rewriting = true
	rows := make([]R, 0, len(t.state))
	for _, row := range t.state {
		rows = append(rows, *row)
	}
	old := make([]*delta.Add, 0, len(snap.Files))
	for _, add := range snap.Files {
		old = append(old, add)
	}
	committer := t.committer
	t.group.Go(func() {
		err := t.rewrite(committer, rows, old)
		if err != nil && !errors.Is(err, delta.ErrStopping) {
			t.options.Log.Warn("rewrite of a table is put off", "table", t.path, "err", err)
		}
		t.mu.Lock()
		t.rewriting = false
		t.mu.Unlock()
	})
}

func (t *Table[K, R]) rewrite(committer *delta.Committer[*change[R]], rows []R, old []*delta.Add) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var add *delta.Add
	if len(rows) > 0 {
		f, err := file(rows)
		if err != nil {
			return err
		}
		if _, err := t.store.Put(ctx, t.path+"/"+f.Path, f.Body); err != nil {
			return err
		}
		add = &delta.Add{
			Path: f.Path, PartitionValues: map[string]string{}, Size: int64(len(f.Body)),
			ModificationTime: time.Now().UnixMilli(), DataChange: true, Stats: f.Stats,
		}
	}
	return committer.Propose(ctx, func(snap *delta.Snapshot) (*delta.Entry, error) {
		e := &delta.Entry{Info: &delta.CommitInfo{Operation: "DELETE", OperationParameters: map[string]string{"reason": "superseded rows"}}}
		now := time.Now().UnixMilli()
		for _, a := range old {
			if snap.Files[delta.FileName(a.Path)] == nil {
				return nil, nil // rewritten by somebody else
			}
			e.Removes = append(e.Removes, delta.Remove{
				Path: a.Path, DeletionTimestamp: now, DataChange: true, ExtendedFileMetadata: true,
				PartitionValues: map[string]string{}, Size: a.Size,
			})
		}
		if add != nil {
			e.Adds = []delta.Add{*add}
		}
		return e, nil
	})
}
