package delta

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// Committer owns the writing of one table: which items share a version, the
// order of entries, the log. One goroutine (run) does all of it. Items join the
// filling pool; a pool closes, becomes one data file (encoded and uploaded on a
// goroutine of its own, several pools overlapping), and then part of one log
// entry, which may commit several pools at once, in order (group commit).
//
// An item is committed when its entry is known to stand in the log, and not
// before. If the committer stops, everything that is not committed fails: it
// never will be, with one exception, the context's end at shutdown, which may
// leave the last entry undecided.
type Committer[T any] struct {
	log     *Log
	hooks   Hooks[T]
	options CommitterOptions

	mu        sync.Mutex
	filling   pool[T]
	wanted    bool      // run sleeps and wants to hear of the next item
	stopped   error     // why nothing is taken any more
	confirmed time.Time // when the newest put or reading began that has shown the log's end

	wake      chan struct{} // capacity 1: look at filling again
	proposals chan *proposal
	urgent    chan *proposal // those that a hold does not keep waiting
	looks     chan *look
	tend      chan struct{} // capacity 1: look for upkeep that is due by time
	quit      chan struct{} // closed by Close: finish what is there, then stop
	quitOnce  sync.Once
	done      chan struct{} // closed when run has returned

	ctx    context.Context // the commits' context, independent of any request's
	cancel context.CancelFunc

	uploads putLatencies // of data files
	shown   shown
	room    *room // of snap

	// Owned by run.
	snap     *Snapshot
	pending  []*proposal  // taken and not begun; a second one only where an entry of it lost
	sealed   []*sealed[T] // closed pools in order, not yet committed
	uploaded chan *sealed[T]
	put      *put[T] // the log put under way, nil if none
	putDone  chan *put[T]
	closedAt time.Time // when the last pool was closed by time
	proposed bool      // the last log put begun was a proposal's
	share    share
	upkeep   upkeep
	looking  looking
	// foreignAt is when the last entry of another writer was applied, settledAt when
	// the last log put ended.
	foreignAt, settledAt time.Time
	// unmeasured is what entries have added since the snapshot was measured.
	unmeasured int64
}

// Hooks are the table owner's part. All but Encode run on the committer's
// goroutine, one at a time, and must not block.
type Hooks[T any] struct {
	// Encode makes the data file of a pool. It runs on a goroutine of its own and
	// may be called again for the same pool. An error stops the committer.
	Encode func(ctx context.Context, items []T) (*File, error)
	// Entry completes the entry that commits pools, whose adds are in it already:
	// txns, the note, removes.
	Entry func(e *Entry, snap *Snapshot, pools [][]T)
	// Check sees an entry of somebody else before it is applied. An error stops the
	// committer, with that error.
	Check func(e *Entry, snap *Snapshot) error
	// Applied sees every entry, in version order, once it is part of the
	// snapshot; pools are the items that it committed, if it is ours. An error stops
	// the committer, with that error: the entry stands, nothing may follow it.
	Applied func(e *Entry, snap *Snapshot, pools [][]T) error
	// Failed is called once for the items that will not be committed, in order.
	Failed func(items []T, err error)
	// Stopped is called once, after the last Failed, when the committer stops for
	// another reason than Close.
	Stopped func(err error)
	// Beside, if not nil, is asked when a checkpoint of snap is due. What it
	// returns is run on another goroutine before the checkpoint is written; the log
	// keeps all entries after a version for which it has not succeeded.
	Beside func(snap *Snapshot) func(ctx context.Context) error
}

// File is a data file to be.
type File struct {
	Path  string // relative to the table, new with every call of Encode
	Body  []byte
	Stats string
	Tags  map[string]string
}

// CommitterOptions tune a Committer. The zero value of a field is its default.
type CommitterOptions struct {
	// Interval is the least time between the pools of a table that is written to
	// all the time; 0 or nil: as soon as the pool before is uploaded, or, where
	// senders are stalled, as soon as they are and one at most is under way.
	Interval func() time.Duration
	// Hold is until when no entry may be put, so that another writer's transaction
	// finds the table as it read it: pools fill up and wait, and so do proposals, but
	// for those of ProposeNow. It is asked often, and anew after every entry; a time that
	// is over, or nil: no hold. What is held when the committer is closed fails.
	Hold func() time.Time
	// PoolBytes closes a pool early, so that its file is uploaded while the
	// interval runs. Default 2 MiB: what was just received and is still in the
	// processor's caches costs a third less to encode and write than 8 MiB.
	PoolBytes int
	// Uploads bounds the closed pools that are not committed yet. Default 32.
	Uploads int
	// Budget is shared by all tables of a broker.
	Budget *Budget
	// Engine names the writer in commitInfo.
	Engine string
	// Courteous leaves room between the entries for a while after one of another
	// writer; see courtesyGap.
	Courteous bool
	// Observe is told how long the phases of a commit took.
	Observe func(phase Phase, d time.Duration)
	Log     *slog.Logger
}

// Phase is a part of a commit's latency.
type Phase string

// The phases, in order: from the first item to the pool's end, the encoding, the
// upload of the data file, the wait for its turn in the log, and the log put, which
// waits for the file to be durable where the store answers before.
const (
	PhasePool   Phase = "pool"
	PhaseEncode Phase = "encode"
	PhaseUpload Phase = "upload"
	PhaseTurn   Phase = "turn"
	PhaseLog    Phase = "log"
)

// ErrStopping fails what arrives at, or is left over in, a closed committer.
var ErrStopping = errors.New("committer is closed")

const (
	defaultPoolBytes = 2 << 20
	defaultUploads   = 32
	// quiet is how long the senders of an eager pool must have sent nothing before it
	// is taken for complete, if they are stalled; quietFree if some may send more:
	// longer than clients linger by default (franz-go 10 ms, others 5), but no longer
	// than quietPart of the interval, whose owner may want low latency above all.
	quiet     = time.Millisecond
	quietFree = 11 * time.Millisecond
	quietPart = 4
	// eagerPart of the interval must have passed before an eager pool is closed.
	eagerPart = 5
	// stalledPart of it must have passed before a pool is closed whose senders are all
	// stalled, if it is not worthAVersion.
	stalledPart = 2
	// worthAVersion is how many bytes a version of stalled senders must have to be closed
	// whatever the interval: three of the Java client's batches, whose window is five.
	worthAVersion = 48 << 10
	// worthAnUpload is how many bytes it must have to be closed while another upload is
	// under way: a file of that size is no small one, which compaction has to merge at once.
	worthAnUpload = 256 << 10
	// burstTombstones is how many removed files a table may name while such pools are
	// closed without regard to eagerPart: some ten minutes of 400 versions a second.
	// Each takes 250 bytes of memory, and a row of each checkpoint, for the hour that
	// readers are promised.
	burstTombstones = 200_000
	// retryMin and retryMax bound the back-off of an upload that fails.
	retryMin = 20 * time.Millisecond
	retryMax = 2 * time.Second
	// putDeadline bounds an attempt to put a data file, for whose bytes minPutRate
	// (bytes per second) is allowed on top. Stores that retry by themselves need it whole.
	putDeadline = 15 * time.Second
	minPutRate  = 1 << 20
	// maxHedged is the largest data file that is put twice rather than waited for: of
	// larger ones the bytes take the time, and twice the bytes take longer.
	maxHedged = 1 << 20
	// measurePart of its size is what a snapshot may grow by before it is measured again.
	measurePart = 16
)

// sealed is a closed pool on its way into the log.
type sealed[T any] struct {
	pool[T]
	due   bool // the interval has passed: its entry may be put
	add   *Add // set when the file is uploaded, and may be named by an entry
	ready time.Time
	// settled says that the file is durable, which the entry's put waits for.
	settled bool
	// sent is when the attempt began that uploaded the file, stored when it was answered, by the
	// store's clock.
	sent, stored time.Time
	err          error
}

// put is a log put under way.
type put[T any] struct {
	entry    *Entry
	pools    []*sealed[T]
	proposal *proposal // or nil
	started  time.Time
	foreign  *Entry
	now      time.Time
	err      error
}

// proposal is an entry that somebody wants committed between pools.
type proposal struct {
	ctx    context.Context // of who waits for it
	since  time.Time
	make   func(snap *Snapshot) (*Entry, error)
	urgent bool
	done   chan error // capacity 1
}

// Start makes a committer that goes on from snap, which it owns from now on, and releases.
func Start[T any](log *Log, snap *Snapshot, hooks Hooks[T], options CommitterOptions) *Committer[T] {
	if options.PoolBytes <= 0 {
		options.PoolBytes = defaultPoolBytes
	}
	if options.Uploads <= 0 {
		options.Uploads = defaultUploads
	}
	if options.Interval == nil {
		options.Interval = func() time.Duration { return 0 }
	}
	if options.Observe == nil {
		options.Observe = func(Phase, time.Duration) {}
	}
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	c := &Committer[T]{
		log: log, snap: snap, hooks: hooks, options: options,
		wake:      make(chan struct{}, 1),
		proposals: make(chan *proposal),
		urgent:    make(chan *proposal),
		looks:     make(chan *look),
		tend:      make(chan struct{}, 1),
		quit:      make(chan struct{}),
		done:      make(chan struct{}),
		uploaded:  make(chan *sealed[T], options.Uploads),
		putDone:   make(chan *put[T], 1),
	}
	if snap.room == nil { // it is new
		snap.room = log.room()
		snap.room.force(snap.memory())
	}
	c.room = snap.room
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.upkeep.finished = make(chan upkeepResult, 1)
	c.looking.read = make(chan lookRead, 1)
	if snap.Checkpoint >= 0 { // what lies behind it is not known
		c.upkeep.cleaned = -worthCleaning
	}
	c.show()
	go c.run()
	return c
}

// Append adds an item to the filling pool; bytes is about what it will take up. It
// never blocks. The error is why the committer has stopped, and the item was not
// taken.
func (c *Committer[T]) Append(item T, bytes int, from Sender) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped != nil {
		return c.stopped
	}
	p := &c.filling
	before := p.bytes
	p.add(item, bytes, from, time.Now())
	// run is woken for what may change its mind only: a pool that begins, is full, or
	// whose last sender has stalled.
	if c.wanted || before < c.options.PoolBytes && p.bytes >= c.options.PoolBytes || p.free == 0 {
		c.wanted = false
		select {
		case c.wake <- struct{}{}:
		default:
		}
	}
	return nil
}

// Propose commits one entry of the caller's between pools: propose is called on the
// committer's goroutine with the newest snapshot, again if another writer's entry
// comes first, and returns the entry's actions (its Version, and Info's TxnID and
// Timestamp, are filled in) or nil for nothing to do, or an error that Propose
// returns. A ctx that ends leaves it open whether the entry is committed.
func (c *Committer[T]) Propose(ctx context.Context, propose func(snap *Snapshot) (*Entry, error)) error {
	return c.propose(ctx, c.proposals, &proposal{make: propose, done: make(chan error, 1)})
}

func (c *Committer[T]) propose(ctx context.Context, way chan<- *proposal, p *proposal) error {
	p.ctx, p.since = ctx, time.Now()
	select {
	case way <- p:
	case <-c.done:
		return c.reason()
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-p.done:
		return err
	case <-c.done:
		select {
		case err := <-p.done:
			return err
		default:
			return c.reason()
		}
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close commits what is pending and stops. If ctx ends first the rest fails with
// ErrStopping, and the last entry may be undecided.
func (c *Committer[T]) Close(ctx context.Context) error {
	c.quitOnce.Do(func() { close(c.quit) })
	select {
	case <-c.done:
	case <-ctx.Done():
		c.cancel()
		<-c.done
	}
	if err := c.reason(); !errors.Is(err, ErrStopping) {
		return err
	}
	return nil
}

// Done is closed when the committer has stopped, for whatever reason.
func (c *Committer[T]) Done() <-chan struct{} { return c.done }

func (c *Committer[T]) reason() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stopped
}

// run owns the table's writing until it stops.
func (c *Committer[T]) run() {
	defer close(c.done)
	defer c.cancel()
	defer c.snap.Release()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	quit := c.quit
	closing := false
	var urgent *proposal
	for {
		if c.put == nil && urgent != nil {
			c.begin(urgent)
			urgent = nil
		}
		held := c.held()
		if held > 0 && closing && c.put == nil {
			c.stop(ErrStopping) // a hold may outlast the patience of who closes
			return
		}
		if !closing {
			held = max(held, c.courtesy(time.Now()))
		}
		if held == 0 {
			c.next()
		}
		c.look()
		next := c.closePool(closing, held)
		if closing && len(c.pending) == 0 && c.put == nil && len(c.sealed) == 0 && c.empty() {
			c.stop(ErrStopping)
			return
		}
		proposals, urgents := c.proposals, c.urgent
		if len(c.pending) > 0 || held > 0 || closing {
			proposals = nil
		}
		if urgent != nil || closing {
			urgents = nil
		}
		if held > 0 {
			next = min(next, held)
		}
		timer.Reset(next)
		c.show()
		select {
		case <-c.wake:
		case <-timer.C:
		case p := <-proposals:
			c.pending = append(c.pending, p)
		case urgent = <-urgents:
		case l := <-c.looks:
			c.looking.wait(l)
		case r := <-c.looking.read:
			if err := c.looked(r); err != nil {
				c.stop(err)
				return
			}
		case s := <-c.uploaded:
			if s.err != nil {
				c.stop(s.err)
				return
			}
		case p := <-c.putDone:
			c.put = nil
			if err := c.settle(p); err != nil {
				c.stop(err)
				return
			}
		case <-c.tend:
			c.maintainLate()
		case r := <-c.upkeep.finished:
			c.upkeep.done(r, c.snap)
		case <-quit:
			quit, closing = nil, true
		case <-c.ctx.Done():
			c.stop(ErrStopping)
			return
		}
	}
}

// next starts the log put of what is ready. Pools and proposals take turns: neither
// keeps the other waiting for ever.
func (c *Committer[T]) next() {
	if c.put == nil && (len(c.pending) == 0 || c.proposed) {
		c.commitReady()
	}
	if c.put == nil && len(c.pending) > 0 {
		p := c.pending[0]
		c.pending = c.pending[1:]
		c.begin(p)
	}
}

func (c *Committer[T]) empty() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.filling.items) == 0
}

// closePool closes the filling pool if its time has come, which is not before the
// end of a hold, and answers how long run may sleep otherwise.
func (c *Committer[T]) closePool(closing bool, held time.Duration) (sleep time.Duration) {
	const idle = time.Hour
	c.mu.Lock()
	defer c.mu.Unlock()
	p := &c.filling
	c.wanted = len(p.items) == 0
	if len(p.items) == 0 && !c.undue() {
		return idle
	}
	now := time.Now()
	wait := max(held, c.untilDue(now, p, closing))
	full := len(c.sealed) >= c.options.Uploads
	if wait > 0 && p.bytes >= c.options.PoolBytes && !full {
		// Full before its time: the file is uploaded now, its entry waits.
		c.seal(now, false)
		wait, full = max(held, c.untilDue(now, p, closing)), len(c.sealed) >= c.options.Uploads
		c.wanted = true
	}
	if wait <= 0 && full && len(p.items) > 0 && !c.undue() {
		return idle // a commit will end and wake us
	}
	if wait <= 0 {
		size, files := c.version(p)
		if d := c.options.Budget.take(&c.share, now, size, files); d > 0 && !closing {
			wait = d
		}
	}
	if wait > 0 {
		return wait
	}
	c.closedAt = now
	if len(p.items) > 0 && !full {
		c.seal(now, true)
	} else { // what is filling has to wait until some of these are committed
		c.sealed[len(c.sealed)-1].due = true
		if len(p.items) == 0 {
			c.filling = pool[T]{}
		}
		select { // let run look at what is ready
		case c.wake <- struct{}{}:
		default:
		}
	}
	c.wanted = true
	return idle
}

// version answers what is to be in the next version: what is filling, and the closed
// pools that wait for their time. c.mu is held.
func (c *Committer[T]) version(p *pool[T]) (bytes, files int) {
	if len(p.items) > 0 {
		bytes, files = p.bytes, 1
	}
	for _, s := range c.sealed {
		if !s.due {
			bytes += s.bytes
			files++
		}
	}
	return bytes, files
}

// undue reports whether the newest closed pool waits for its time.
func (c *Committer[T]) undue() bool {
	return len(c.sealed) > 0 && !c.sealed[len(c.sealed)-1].due
}

// untilDue is how long the filling pool still has to wait for company.
func (c *Committer[T]) untilDue(now time.Time, p *pool[T], closing bool) time.Duration {
	if closing {
		return 0
	}
	interval := c.options.Interval()
	if interval <= 0 {
		if c.isNext(p) {
			return 0
		}
		return time.Hour // the end of an upload or of a log put wakes us
	}
	wait := interval - now.Sub(c.closedAt)
	if wait <= 0 {
		return 0
	}
	if p.free == 0 && c.isAnother(p) {
		if len(c.snap.Tombstones) < burstTombstones {
			return 0
		}
		return max(0, interval/eagerPart-now.Sub(c.closedAt))
	}
	if len(p.items) == 0 || len(c.sealed) > 0 || c.put != nil {
		return wait
	}
	// All its producers wait for their answers and have gone quiet, or are stalled, and
	// nothing is under way that could release others: company will not come.
	if p.eager {
		silence := quiet
		if p.free > 0 {
			silence = max(quiet, min(quietFree, interval/quietPart))
		}
		wait = min(wait, max(interval/eagerPart-now.Sub(c.closedAt), silence-now.Sub(p.last)))
	}
	if p.free == 0 {
		wait = min(wait, interval/stalledPart-now.Sub(c.closedAt))
	}
	return max(0, wait)
}

// isNext reports whether a pool is closed now where no interval keeps versions apart.
// Open loads have a pool uploaded while the one before is logged. Senders with full
// windows have two under way, half of what they send in each: the next is closed when
// the answer to one has come back as requests that fill the window again. Closed at the end
// of the other's upload, which is about when that answer leaves, it would get the
// few that came before it, and all others would wait for one upload more. c.mu is held.
func (c *Committer[T]) isNext(p *pool[T]) bool {
	const most = 2
	under, windows := 0, true // what is under way, and whether all of its senders were stalled
	for _, s := range c.sealed {
		if s.due {
			under++
			windows = windows && s.free == 0
		}
	}
	if p.free == 0 && under < most && (len(p.items) > 0 || c.undue()) {
		return true
	}
	return (under == 0 || !windows) && !c.uploading()
}

// isAnother reports whether a version whose senders are stalled should follow those that
// are under way. What comes while a pool is uploaded goes into one file, unless it is
// worth one of its own: a store that takes long for each put has several under way. And
// senders may be stalled only because of what is under way: when that is answered they
// send the rest of what would have been one pool. c.mu is held.
func (c *Committer[T]) isAnother(p *pool[T]) bool {
	bytes, _ := c.version(p)
	under := 0
	for _, s := range c.sealed {
		if s.due {
			under += s.bytes
		}
	}
	return bytes >= worthAVersion && 2*bytes >= under && (bytes >= worthAnUpload || !c.uploading())
}

// uploading reports whether a closed pool is not safe in the store yet. c.mu is held.
func (c *Committer[T]) uploading() bool {
	return slices.ContainsFunc(c.sealed, func(s *sealed[T]) bool { return !s.settled })
}

// stop fails everything that is not committed and takes nothing any more.
func (c *Committer[T]) stop(err error) {
	c.mu.Lock()
	c.stopped = err
	left := c.filling.items
	c.filling = pool[T]{}
	c.mu.Unlock()
	c.cancel()
	if c.put != nil { // its outcome is nobody's business any more, its end is
		<-c.putDone
		if c.put.proposal != nil {
			c.put.proposal.done <- err
		}
	}
	if c.looking.reading {
		<-c.looking.read
	}
	for _, s := range c.sealed {
		c.hooks.Failed(s.items, err)
	}
	if len(left) > 0 {
		c.hooks.Failed(left, err)
	}
	c.sealed = nil
	if !errors.Is(err, ErrStopping) && c.hooks.Stopped != nil {
		c.hooks.Stopped(err)
	}
}

func items[T any](pools []*sealed[T]) [][]T {
	all := make([][]T, len(pools))
	for i, s := range pools {
		all[i] = s.items
	}
	return all
}
