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
	Memory    *delta.Memory // bounds the table's state; nil: the default
	Log       *slog.Logger
}

// Table is an open table. Safe for concurrent use. If another broker takes it
// over, writes fail with delta.ErrFenced for a while (lostFor); then the next
// one takes it back, after reading what the other wrote. Each time from a take-over
// to the next is a term.
type Table[K comparable, R any] struct {
	form    Form[K, R]
	store   object.Store
	path    string
	options Options

	ctx    context.Context // of rewrites and of taking the table back; ends with Close
	cancel context.CancelFunc
	group  sync.WaitGroup

	// mu orders the changes; it is not held across I/O.
	mu        sync.Mutex
	state     map[K]*R
	sequence  int64 // the last one given out
	lead      *lead[R]
	term      int64        // counts the leads
	lost      time.Time    // when the lead was lost, or could not be taken back; zero if we lead
	returning bool         // the table is being taken back
	waiting   []*change[R] // for that, in order
	version   int64
	files     int
	rewriting bool
	closed    bool
	changed   func(rows []R, all bool)
	overtaken func()
}

// lead is one time of leading the table: from taking it over until another broker
// does. Guarded by Table.mu, but for log and committer.
type lead[R any] struct {
	log       *delta.Log
	committer *delta.Committer[*change[R]]
	epoch     int64 // until the entry of the take-over stands, that of the leader before
	taken     bool  // the table's state is ours to change
	ended     error // why it is over
}

const (
	// lostFor keeps two brokers that were started on one root by mistake from
	// taking a table from each other with every write.
	lostFor = 3 * time.Second
	// maxWaiting bounds the changes that wait for the table to be taken back; what
	// comes on top is refused.
	maxWaiting = 10_000
	// returnDeadline bounds the taking back.
	returnDeadline = time.Minute
	// openAttempts bounds how often Open begins anew because the broker before is
	// still writing; openPause is the time between.
	openAttempts = 5
	openPause    = 100 * time.Millisecond
	readers      = 16 // files read at a time when loading
)

// errOvertaken says that the leader before has changed the table while it was opened.
var errOvertaken = errors.New("the table was written to while it was opened")

// Open loads the table at path, making it if it is not there, and takes it over.
func Open[K comparable, R any](ctx context.Context, store object.Store, path string, form Form[K, R], options Options) (*Table[K, R], error) {
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	if options.Memory == nil {
		options.Memory = delta.NewMemory(0, 0)
	}
	t := &Table[K, R]{form: form, store: store, path: path, options: options}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	for attempt := 1; ; attempt++ {
		err := t.open(ctx)
		if err == nil {
			t.group.Go(t.sweep)
			return t, nil
		}
		overtaken := errors.Is(err, delta.ErrFenced) || errors.Is(err, delta.ErrMoved) || errors.Is(err, errOvertaken)
		if !overtaken || attempt == openAttempts {
			t.cancel()
			return nil, err
		}
		select {
		case <-time.After(openPause):
		case <-ctx.Done():
			t.cancel()
			return nil, err
		}
	}
}

// open loads the table and takes it over; nobody writes to it here meanwhile.
func (t *Table[K, R]) open(ctx context.Context) (err error) {
	log := delta.NewLog(t.store, t.path, delta.Options{Window: t.options.Window, Memory: t.options.Memory, Own: true, Log: t.options.Log})
	snap, err := log.Open(ctx, nil)
	if errors.Is(err, delta.ErrNoTable) {
		snap, err = t.create(ctx, log)
	}
	if err != nil {
		return fmt.Errorf("table %s: %w", t.path, err)
	}
	defer func() {
		if err != nil {
			snap.Release()
		}
	}()
	state, last, err := t.load(ctx, log, snap)
	if err != nil {
		return fmt.Errorf("table %s: %w", t.path, err)
	}
	l := &lead[R]{log: log, epoch: delta.Epoch(snap)}
	l.committer = delta.Start(log, snap, delta.Hooks[*change[R]]{
		Encode: t.encode,
		Entry:  func(*delta.Entry, *delta.Snapshot, [][]*change[R]) {},
		Check:  func(e *delta.Entry, _ *delta.Snapshot) error { return t.check(l, e) },
		Applied: func(e *delta.Entry, snap *delta.Snapshot, pools [][]*change[R]) error {
			t.applied(l, e, snap, pools)
			return nil
		},
		Failed:  t.failed,
		Stopped: func(err error) { t.stopped(l, err) },
	}, t.options.Committer)
	epoch, err := delta.TakeOver(ctx, l.committer, nil)
	if err == nil {
		err = t.begin(l, epoch, state, last)
	}
	if err != nil {
		l.committer.Close(ctx)
		return fmt.Errorf("table %s: %w", t.path, err)
	}
	return nil
}

// begin makes l, whose take-over stands, the table's lead, and state what it holds.
func (t *Table[K, R]) begin(l *lead[R], epoch int64, state map[K]*R, last int64) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case l.ended != nil: // so soon
		return l.ended
	case t.closed:
		return delta.ErrStopping
	}
	l.epoch, l.taken = epoch, true
	t.lead, t.state, t.sequence = l, state, last
	t.term++
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
				"delta.logRetentionDuration":         historyRetention,
				"delta.deletedFileRetentionDuration": deletedRetention,
			},
		},
	})
	if errors.Is(err, delta.ErrTableExists) {
		return log.Open(ctx, nil)
	}
	return snap, err
}

// load reads the newest row of each key from the table's files: several at a time, of
// which one is decoded.
func (t *Table[K, R]) load(ctx context.Context, log *delta.Log, snap *delta.Snapshot) (map[K]*R, int64, error) {
	state := make(map[K]*R)
	last := int64(0)
	var mu sync.Mutex
	room := t.options.Memory.Table() // guarded by mu
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readers)
	for _, add := range snap.Files {
		group.Go(func() error {
			key, err := log.DataKey(add.Path)
			if err != nil {
				return err
			}
			file, done, err := t.options.Memory.Get(ctx, t.store, key, t.options.Memory.Table())
			defer done()
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			rows, size, err := decode[R](file.Body, room)
			if err != nil {
				return fmt.Errorf("file %s: %w", add.Path, err)
			}
			room -= size
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

// Put commits rows, each of which takes the place of its key's, in the order of
// the calls. It never blocks; the state shows them once they are committed. It may
// wait for the table to be taken back: what it says must hold whatever another
// broker has written.
func (t *Table[K, R]) Put(rows ...R) *Wait { return t.put(anyTerm, rows) }

// PutIn is a Put of what was decided by the state of a term. Later it fails with
// delta.ErrFenced, lest it undo what another broker has written since; but it does
// have the table taken back.
func (t *Table[K, R]) PutIn(term int64, rows ...R) *Wait { return t.put(term, rows) }

// Term is the newest term, from 1; whether it is over is not known before a write.
func (t *Table[K, R]) Term() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.term
}

// anyTerm is no term's number.
const anyTerm = 0

func (t *Table[K, R]) put(term int64, rows []R) *Wait {
	w := &Wait{done: make(chan struct{})}
	if len(rows) == 0 {
		w.end(nil)
		return w
	}
	c := &change[R]{rows, w}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.closed:
		w.end(delta.ErrStopping)
	case t.returning && term == anyTerm && len(t.waiting) < maxWaiting:
		t.waiting = append(t.waiting, c)
	case t.lost.IsZero() && (term == anyTerm || term == t.term):
		t.append(c)
	case t.lost.IsZero() || t.returning || time.Since(t.lost) < lostFor:
		w.end(delta.ErrFenced)
	default:
		if term == anyTerm {
			t.waiting = append(t.waiting, c)
		} else {
			w.end(delta.ErrFenced)
		}
		t.returning = true
		t.group.Go(t.takeBack)
	}
	return w
}

// append hands a change to the committer; t.mu is held.
func (t *Table[K, R]) append(c *change[R]) {
	for i := range c.rows {
		t.sequence++
		*t.form.Sequence(&c.rows[i]) = t.sequence
	}
	if err := t.lead.committer.Append(c, rowBytes*len(c.rows), delta.Sender{Eager: true, Stalled: true}); err != nil {
		c.wait.end(err)
	}
}

// rowBytes is about what a row takes up in a file.
const rowBytes = 128

// takeBack opens the table anew and commits what waits for that.
func (t *Table[K, R]) takeBack() {
	ctx, cancel := context.WithTimeout(t.ctx, returnDeadline)
	defer cancel()
	err := t.open(ctx)
	if err == nil {
		t.reloaded() // before anything is committed on top
		t.options.Log.Warn("table taken back from another broker: is a second one running on this store?", "table", t.path)
	} else if t.ctx.Err() == nil {
		t.options.Log.Warn("table cannot be taken back yet", "table", t.path, "err", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	waiting := t.waiting
	t.waiting, t.returning = nil, false
	switch {
	case err != nil:
		t.lost = time.Now()
	case t.lead.ended == nil:
		t.lost = time.Time{}
	}
	for _, c := range waiting {
		switch {
		case t.closed:
			c.wait.end(delta.ErrStopping)
		case err != nil:
			c.wait.end(err)
		default:
			t.append(c)
		}
	}
}

// reloaded tells of all rows anew: another broker may have changed or deleted any.
func (t *Table[K, R]) reloaded() {
	t.mu.Lock()
	rows := make([]R, 0, len(t.state))
	for _, row := range t.state {
		rows = append(rows, *row)
	}
	changed := t.changed
	t.mu.Unlock()
	if changed != nil {
		changed(rows, true)
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
// one call at a time. all says that rows are all there are: the table was taken back
// from another broker, and what is not among them is gone; nothing of the new term is
// committed before that call returns. Set it before the first Put.
func (t *Table[K, R]) OnChange(f func(rows []R, all bool)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.changed = f
}

// Confirm makes sure that the state is all that was committed, as long ago as within says at
// most: see delta.Committer.Confirm. delta.ErrFenced says that another broker has the
// table, which is then being taken back, unless that is too early.
func (t *Table[K, R]) Confirm(ctx context.Context, within time.Duration) error {
	t.mu.Lock()
	committer, led := t.lead.committer, t.lost.IsZero()
	if !led && !t.closed && !t.returning && time.Since(t.lost) >= lostFor {
		t.returning = true
		t.group.Go(t.takeBack)
	}
	t.mu.Unlock()
	if !led {
		return delta.ErrFenced
	}
	return committer.Confirm(ctx, within)
}

// OnLost names the function that is called when another broker has taken the table over.
// It must not block.
func (t *Table[K, R]) OnLost(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.overtaken = f
}

// Version is the table's newest version known here.
func (t *Table[K, R]) Version() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.version
}

// Close commits what is pending, within ctx, and stops. That another writer has taken the table
// over before is no error of Close.
func (t *Table[K, R]) Close(ctx context.Context) error {
	t.mu.Lock()
	t.closed = true
	committer := t.lead.committer
	t.mu.Unlock()
	t.cancel()
	lost := false
	select {
	case <-committer.Done(): // it has been said, to who waited and to the log
		lost = true
	default:
	}
	err := committer.Close(ctx)
	t.group.Wait()
	if lost {
		return nil
	}
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

func (t *Table[K, R]) check(l *lead[R], e *delta.Entry) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case delta.Fenced(e, l.epoch):
		return delta.ErrFenced
	case e.Metadata == nil && e.Protocol == nil && len(e.Adds)+len(e.Removes) == 0:
		return nil
	case !l.taken:
		return errOvertaken
	}
	return fmt.Errorf("%w: foreign changes in version %d of %s", delta.ErrUnsupported, e.Version, t.path)
}

func (t *Table[K, R]) applied(l *lead[R], e *delta.Entry, snap *delta.Snapshot, pools [][]*change[R]) {
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
	// The state is that of snap only once the lead is taken.
	if l.taken && t.files >= rewriteFiles+len(t.state)/rowsPerFile && !t.rewriting && !t.closed {
		t.startRewrite(l, snap)
	}
	t.mu.Unlock()
	for _, pool := range pools {
		for _, c := range pool {
			if changed != nil {
				changed(c.rows, false)
			}
			c.wait.end(nil)
		}
	}
}

func (t *Table[K, R]) failed(changes []*change[R], err error) {
	for _, c := range changes {
		c.wait.end(err)
	}
}

func (t *Table[K, R]) stopped(l *lead[R], err error) {
	t.mu.Lock()
	l.ended = err
	taken, overtaken := l.taken, t.overtaken
	if taken {
		t.lost = time.Now()
	}
	t.mu.Unlock()
	if !taken { // open tells
		return
	}
	t.options.Log.Error("table lost: another broker writes to this store, or the table was changed; writes to it fail for a while",
		"table", t.path, "err", err)
	if overtaken != nil {
		overtaken()
	}
}
