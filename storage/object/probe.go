package object

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
)

const (
	// probeDir holds the scratch keys of probes, which they delete themselves.
	probeDir = "_sluice/probe/"
	// probeWriters race for one key. A store that checks and then writes loses a
	// race of two only now and then, one of 16 nearly always.
	probeWriters = 16
	// probeRounds bounds how often a race without a definite winner is run again.
	probeRounds = 3
	// probePause, growing, comes before each race that is run again.
	probePause = 200 * time.Millisecond
	// probePuts are made one after the other to measure the latency.
	probePuts = 3
	// cleanupTimeout bounds the deletion of the scratch keys, also after the
	// probe's own context is done.
	cleanupTimeout = 10 * time.Second
)

// ErrUnsafe answers a Probe of a store that broke the contract of Store. Sluice
// must not write to it: it would lose records that it has acked.
var ErrUnsafe = errors.New("acked records are not safe here")

// unsafeAdvice ends each message about a store that broke the contract.
const unsafeAdvice = "use a store that implements conditional writes (Amazon S3, a current MinIO) or a local directory"

// Report is what a Probe measured.
type Report struct {
	// Put is the median latency of a small put, Get that of a small get.
	Put, Get time.Duration
	// Now is the store's clock, zero if it has none; Local is this machine's at
	// about the same moment. Their distance is for the log only.
	Now, Local time.Time
}

// Probe finds out whether the store keeps the promises that Sluice stands on,
// by racing conditional puts of one scratch key: exactly one must win, and its
// body must be what reads back and is listed. It takes a handful of round trips,
// and leaves nothing behind.
//
// An error that is ErrUnsafe says what the store did wrong. Any other means
// that it could not be asked: it may pass later.
func Probe(ctx context.Context, s Store) (Report, error) {
	p := &probe{store: s, dir: probeDir + uuid.NewString() + "/"}
	defer p.cleanup(ctx)
	report, err := p.run(ctx)
	if err != nil {
		return Report{}, fmt.Errorf("%s: %w", s.URL(), err)
	}
	return report, nil
}

// unsafef returns an ErrUnsafe that tells what happened.
func unsafef(format string, args ...any) error {
	return fmt.Errorf("%s; %w: %s", fmt.Sprintf(format, args...), ErrUnsafe, unsafeAdvice)
}

type probe struct {
	store Store
	dir   string
	mu    sync.Mutex
	keys  []string // written, to be deleted
}

// key returns a scratch key and remembers it for cleanup.
func (p *probe) key(name string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := p.dir + name
	p.keys = append(p.keys, key)
	return key
}

func (p *probe) cleanup(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	// A scratch key that stays does no harm: nobody reads it, and none is used twice.
	_, _ = p.store.Delete(ctx, p.keys...)
}

func (p *probe) run(ctx context.Context) (Report, error) {
	key, body, err := p.race(ctx)
	if err != nil {
		return Report{}, err
	}
	var report Report
	// The rest needs nothing from one another, so that it costs little more than
	// its slowest part.
	checks := []func() error{
		func() error { return p.second(ctx, key) },
		func() (err error) { report.Get, err = p.readBack(ctx, key, body); return err },
		func() error { return p.absent(ctx) },
		func() error { return p.listed(ctx, key, int64(len(body))) },
		func() (err error) { report.Put, report.Now, err = p.puts(ctx); report.Local = time.Now(); return err },
	}
	errs := make([]error, len(checks))
	var wg sync.WaitGroup
	for i, check := range checks {
		wg.Go(func() { errs[i] = check() })
	}
	wg.Wait()
	// A broken promise counts for more than a request that did not come through.
	for _, err := range errs {
		if errors.Is(err, ErrUnsafe) {
			return Report{}, err
		}
	}
	for _, err := range errs {
		if err != nil {
			return Report{}, err
		}
	}
	return report, nil
}

// race returns a key that one of many writers created, and the body it wrote.
func (p *probe) race(ctx context.Context) (key string, body []byte, err error) {
	key, body, refused, err := p.rounds(ctx, "race")
	if err == nil || refused > 0 || ctx.Err() != nil || errors.Is(err, ErrUnsafe) {
		return key, body, raceError(err)
	}
	if _, plain := p.store.Put(ctx, p.key("plain"), []byte("plain")); plain != nil {
		return "", nil, raceError(err)
	}
	// It takes puts. It may have been out of order until just now, though.
	key, body, refused, again := p.rounds(ctx, "race-again")
	if again == nil || refused > 0 || ctx.Err() != nil || errors.Is(again, ErrUnsafe) {
		return key, body, raceError(again)
	}
	return "", nil, unsafef("the store takes puts but no conditional ones (%v)", err)
}

// raceError names what could not be asked.
func raceError(err error) error {
	if err == nil || errors.Is(err, ErrUnsafe) {
		return err
	}
	return fmt.Errorf("probe of conditional puts: %w", err)
}

// rounds runs races until one has a winner, as race returns it. refused counts the
// writers that were told that the key exists.
func (p *probe) rounds(ctx context.Context, name string) (key string, body []byte, refused int, err error) {
	for round := range probeRounds {
		if pause(ctx, time.Duration(round)*probePause) != nil {
			break
		}
		key = p.key(fmt.Sprintf("%s-%d", name, round))
		bodies, errs := p.createAtOnce(ctx, key)
		var winners []int
		var unclear error
		for w, err := range errs {
			switch {
			case err == nil:
				winners = append(winners, w)
			case errors.Is(err, ErrExists):
				refused++
			default:
				unclear = err
			}
		}
		switch {
		case len(winners) > 1:
			return "", nil, refused, unsafef("the store accepted %d of %d conditional puts of one key: it ignores If-None-Match, or checks it and writes later",
				len(winners), probeWriters)
		case len(winners) == 1:
			return key, bodies[winners[0]], refused, nil
		case unclear != nil:
			err = unclear
		}
		// Nobody knows to have won: an answer was lost, or something between here and
		// the store repeats requests, or the store is out of order.
	}
	if refused == probeRounds*probeWriters {
		return "", nil, refused, unsafef("the store answered \"exists\" to all of %d conditional puts of %d new keys", refused, probeRounds)
	}
	if err == nil {
		err = ctx.Err()
	}
	return "", nil, refused, err
}

// createAtOnce lets all writers create the key, each with a body of its own.
func (p *probe) createAtOnce(ctx context.Context, key string) (bodies [][]byte, errs []error) {
	bodies, errs = make([][]byte, probeWriters), make([]error, probeWriters)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for w := range probeWriters {
		bodies[w] = fmt.Appendf(nil, "writer %02d of probe %s", w, key)
		wg.Go(func() {
			<-start
			_, errs[w] = p.store.Create(ctx, key, bodies[w])
		})
	}
	close(start)
	wg.Wait()
	return bodies, errs
}

// pause waits for d or until ctx is done.
func pause(ctx context.Context, d time.Duration) error {
	if d == 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// second creates a key that is taken, alone and after the fact. One lost answer says
// nothing of the store.
func (p *probe) second(ctx context.Context, key string) (err error) {
	for round := range probeRounds {
		if pause(ctx, time.Duration(round)*probePause) != nil {
			break
		}
		_, err = p.store.Create(ctx, key, []byte("too late"))
		switch {
		case errors.Is(err, ErrExists):
			return nil
		case err == nil:
			return unsafef("the store accepted a conditional put of a key that it had accepted before: it ignores If-None-Match")
		}
	}
	return fmt.Errorf("probe of a second conditional put: %w", err)
}

// readBack reads the key, whole and the end of it, and returns the median latency.
func (p *probe) readBack(ctx context.Context, key string, want []byte) (time.Duration, error) {
	var took []time.Duration
	for _, r := range []Range{{}, {Offset: -8}, {Offset: 2, Length: 5}} {
		from, to := r.Of(int64(len(want)))
		start := time.Now()
		o, err := p.store.Get(ctx, key, r)
		took = append(took, time.Since(start))
		switch {
		case errors.Is(err, ErrNotFound):
			return 0, unsafef("an object that the store had accepted was not found right after")
		case err != nil:
			return 0, fmt.Errorf("probe of reading back: %w", err)
		case !bytes.Equal(o.Body, want[from:to]) && to-from == int64(len(want)):
			return 0, unsafef("one conditional put of %d won, but the key holds %.80q instead of its body %.80q", probeWriters, o.Body, want)
		case !bytes.Equal(o.Body, want[from:to]):
			return 0, unsafef("the store answered %.80q for bytes %d to %d of %.80q", o.Body, from, to, want)
		}
	}
	return median(took), nil
}

// listed looks for the key in a listing.
func (p *probe) listed(ctx context.Context, key string, size int64) error {
	l, err := p.store.List(ctx, ListRequest{Prefix: key})
	if err != nil {
		return fmt.Errorf("probe of listing: %w", err)
	}
	for _, i := range l.Objects {
		switch {
		case i.Key != key:
		case i.Size != size:
			return unsafef("the store lists an object of %d bytes with %d", size, i.Size)
		default:
			return nil
		}
	}
	return unsafef("the store does not list an object right after it accepted it")
}

// absent reads a key that was never written.
func (p *probe) absent(ctx context.Context) error {
	switch _, err := p.store.Get(ctx, p.dir+"absent", Range{}); {
	case errors.Is(err, ErrNotFound):
		return nil
	case err == nil:
		return unsafef("the store answered a get of a key that was never written")
	default:
		return fmt.Errorf("probe of a missing key: %w", err)
	}
}

// puts returns the median latency of small puts and the store's clock.
func (p *probe) puts(ctx context.Context) (time.Duration, time.Time, error) {
	key := p.key("put")
	var took []time.Duration
	var now time.Time
	for range probePuts {
		start := time.Now()
		t, err := p.store.Put(ctx, key, []byte("put"))
		if err != nil {
			return 0, now, fmt.Errorf("probe of a put: %w", err)
		}
		took, now = append(took, time.Since(start)), t
	}
	return median(took), now, nil
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}
