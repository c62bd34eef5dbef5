package storage

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sluice/storage/delta"
)

// opening is a topic that is open or about to be.
type opening struct {
	done  chan struct{}
	topic *Topic
	err   error
}

// failure is why a topic could not be opened the last time.
type failure struct {
	err    error
	until  time.Time // it is not tried again before
	logged time.Time // when this error was logged
}

const (
	// openDeadline bounds the opening of a topic, whoever waits for it.
	openDeadline = 30 * time.Second
	// lostFor keeps two brokers that were started on one root by mistake from
	// taking a topic from each other with every request.
	lostFor = 3 * time.Second
	// failedFor is how long a topic that cannot be opened is not tried again, whoever
	// asks, and failedShare how many times as long as the attempt took if that is more:
	// a log that is slow to refuse takes a small share of a processor. failedMost bounds it.
	// failureLogged is the time between two logs of the same reason.
	failedFor     = time.Second
	failedShare   = 10
	failedMost    = 10 * time.Second
	failureLogged = 30 * time.Second
)

// Topic answers the open topic. On first use it is opened, once for all who ask,
// and taken over: from then on this broker leads it. ErrUnknownTopic,
// ErrNotLeader, ErrUnavailable, ErrStopped, ErrClosed.
func (ts *Topics) Topic(ctx context.Context, name string) (*Topic, error) {
	ts.mu.Lock()
	o, err := ts.use(name)
	ts.mu.Unlock()
	if err != nil {
		return nil, err
	}
	select {
	case <-o.done:
		return o.topic, o.err
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: opening %s: %w", ErrUnavailable, name, ctx.Err())
	}
}

// use answers the opening of a topic, beginning it if need be; ts.mu is held.
func (ts *Topics) use(name string) (*opening, error) {
	if ts.closed {
		return nil, ErrClosed
	}
	info, ok := ts.infos[name]
	if !ok {
		return nil, fmt.Errorf("%w: %s", ErrUnknownTopic, name)
	}
	if o := ts.open[name]; o != nil {
		return o, nil
	}
	if at, ok := ts.lost[name]; ok && time.Since(at) < lostFor {
		return nil, ErrNotLeader
	}
	if f, ok := ts.failed[name]; ok && time.Now().Before(f.until) {
		return nil, f.err
	}
	o := &opening{done: make(chan struct{})}
	ts.open[name] = o
	ts.group.Go(func() { ts.openTopic(o, info) })
	return o, nil
}

func (ts *Topics) openTopic(o *opening, info TopicInfo) {
	ctx, cancel := context.WithTimeout(ts.ctx, openDeadline)
	defer cancel()
	began := time.Now()
	open := func() (*Topic, error) {
		return openTopic(ctx, ts.env, info, ts.defaults, func(reason error) { ts.forget(info.Name, o, reason) })
	}
	t, err := open()
	for errors.Is(err, ErrNoRoom) && ts.closeIdle(ctx) {
		t, err = open()
	}
	if err == nil && t.Info().ID != info.ID {
		// Another broker has made it anew. What is served must be in the catalogue: a
		// row that says "deleted" would hide acknowledged records after a restart.
		if err = storeError(ts.catalogue.Put(liveRow(t.Info())).Get(ctx)); err != nil {
			t.close(ctx)
		}
	}
	if err == nil && ts.ctx.Err() != nil {
		t.close(ts.ctx)
		err = ErrClosed
	}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	defer close(o.done)
	stale := errors.Is(err, ErrUnknownTopic)
	if err != nil {
		o.err = err
		if ts.open[info.Name] == o {
			delete(ts.open, info.Name)
		}
		ts.fail(info.Name, err, time.Since(began))
	} else {
		o.topic = t
		delete(ts.failed, info.Name)
		delete(ts.epochs, info.Name)
		if ts.open[info.Name] == o { // else it has been lost already
			delete(ts.lost, info.Name)
		}
		stale = t.Info().Partitions != info.Partitions
	}
	if stale && !ts.closed {
		ts.group.Go(func() { ts.amend(info.Name) })
	}
}

// worthClosing is what the table of an idle topic must take for it to be closed for the
// sake of another one, in bytes: each that is closed costs a version when it is opened again.
const worthClosing = 1 << 20

// closeIdle makes room for another table: it closes the topic of the largest one that nobody
// has used for a while, and reports whether there was any.
func (ts *Topics) closeIdle(ctx context.Context) bool {
	var idle *Topic
	most := int64(worthClosing)
	before := time.Now().Add(-activeFor).UnixMilli()
	for _, t := range ts.openTopics() {
		if n := t.committer.Memory(); n >= most && max(t.used.Load(), t.opened) < before && !t.awaited() {
			idle, most = t, n
		}
	}
	if idle == nil {
		return false
	}
	ts.env.log.Info("an idle topic is closed, as another one needs its memory", "topic", idle.name, "bytes", most)
	return idle.close(ctx) == nil
}

// fail remembers why a topic cannot be opened, which took so long to find out, and logs
// it; ts.mu is held.
func (ts *Topics) fail(name string, err error, took time.Duration) {
	if ts.closed {
		return // no wonder
	}
	now := time.Now()
	f := failure{err: err, until: now.Add(failedFor), logged: ts.failed[name].logged}
	if errors.Is(err, ErrStopped) { // else it is the store that was slow
		f.until = now.Add(min(max(failedFor, failedShare*took), failedMost))
	}
	if old := ts.failed[name]; old.err == nil || old.err.Error() != err.Error() || now.Sub(old.logged) >= failureLogged {
		f.logged = now
		ts.env.log.Error("topic cannot be opened", "topic", name, "err", err)
	}
	if _, live := ts.infos[name]; live {
		ts.failed[name] = f
	}
}

// forget drops a topic that cannot be used any more; its next use opens it anew.
func (ts *Topics) forget(name string, o *opening, reason error) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.open[name] == o {
		delete(ts.open, name)
	}
	if !errors.Is(reason, ErrNotLeader) {
		return
	}
	ts.lost[name] = time.Now()
	ts.learn(name)
	for other := range ts.open {
		if t := ts.opened(other); t != nil {
			t.suspected.Store(true)
		}
	}
}

// amend corrects the catalogue's row of a topic whose table says otherwise: a
// broker was stopped between the two, or another one has changed the table.
func (ts *Topics) amend(name string) {
	ctx, cancel := context.WithTimeout(ts.ctx, openDeadline)
	defer cancel()
	release, err := ts.reserve(ctx, name)
	if err != nil {
		return
	}
	defer release()
	if err := ts.correct(ctx, name); err != nil && ctx.Err() == nil {
		ts.env.log.Warn("the catalogue is not brought up to date", "topic", name, "err", err)
	}
}

// Refresh answers what a topic's table says of it, for names that the catalogue does not
// know, or not as expected: another broker may have made or deleted the topic. The
// catalogue is about to be corrected if it says something else. ErrUnknownTopic, ErrUnavailable, ErrClosed.
func (ts *Topics) Refresh(ctx context.Context, name string) (TopicInfo, error) {
	if err := ValidName(name); err != nil {
		return TopicInfo{}, fmt.Errorf("%w: %s", ErrUnknownTopic, shorten(name))
	}
	release, err := ts.reserve(ctx, name)
	if err != nil {
		return TopicInfo{}, err
	}
	defer release()
	row, err := readCatalogueRow(ctx, ts.env, name)
	switch {
	case errors.Is(err, delta.ErrNoTable), errors.Is(err, errNoTopic):
		return TopicInfo{}, fmt.Errorf("%w: %s", ErrUnknownTopic, name)
	case err != nil:
		return TopicInfo{}, storeError(err)
	}
	info, live := row.info()
	if known, ok := ts.Lookup(name); ok != live || live && known.ID != info.ID {
		ts.catalogue.Put(row) // a hint: should it fail, somebody asks again
	}
	if !live {
		return TopicInfo{}, fmt.Errorf("%w: %s", ErrUnknownTopic, name)
	}
	return info, nil
}

// correct makes the catalogue's row of a topic what its table says; the name is reserved.
func (ts *Topics) correct(ctx context.Context, name string) error {
	row, err := readCatalogueRow(ctx, ts.env, name)
	if errors.Is(err, delta.ErrNoTable) {
		return fmt.Errorf("%w: %s", ErrUnknownTopic, name)
	}
	if err != nil {
		return storeError(err)
	}
	return storeError(ts.catalogue.Put(row).Get(ctx))
}
