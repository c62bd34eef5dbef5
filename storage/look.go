package storage

import (
	"context"
	"errors"
	"time"
)

// When a topic looks at its log. What other writers commit is met at the next commit,
// but a topic need not be written to for long. It looks
//   - while engines may write the table (sluice.table.writers=any): so their rows
//     reach parked consumers within about a second, and an idle topic stays cheap;
//   - when a consumer reads behind the tail, since `sluice table delete` or another
//     broker may have taken files away;
//   - before it refuses a batch whose sequences do not fit, as another broker may have
//     served its producer. What is refused reaches no log, where the take-over would be
//     met;
//   - when a producer knows more partitions: another broker may have added them;
//   - before it says of an offset or a leader epoch that there is no such thing, since a
//     consumer would give up its place for that;
//   - before it tells its end to who asks for that, unless a commit or a look has shown
//     within the last second that it still leads (Confirm);
//   - when consumers wait at its end and another broker has taken any table from this one:
//     they would wait for ever (Suspect);
//   - when a file that it reads is gone;
//   - when it is asked for a version of the table that it does not know.
//
// Each look costs one GET if there is nothing new.

const (
	// watchEvery and idleEvery are the times between two looks of a topic that engines
	// may write, in use and otherwise; activeFor is how long it counts as in use
	// after a fetch or produce.
	watchEvery = time.Second
	idleEvery  = 30 * time.Second
	activeFor  = time.Minute
	// doubtEvery and behindEvery are the least times between two looks for the other
	// reasons.
	doubtEvery  = time.Second
	behindEvery = 10 * time.Second
	// lookDeadline bounds one.
	lookDeadline = 10 * time.Second
	// goneRetries is how often a read begins again whose file had left the table.
	goneRetries = 3
)

// watch has the topics that engines may write look, until Close.
func (ts *Topics) watch() {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ts.ctx.Done():
			return
		case now := <-ticker.C:
			for _, t := range ts.openTopics() {
				if !t.settings.Load().AnyWriter {
					continue
				}
				every := idleEvery
				if now.UnixMilli()-t.used.Load() < activeFor.Milliseconds() {
					// A little less, lest every other tick come too early.
					every = watchEvery / 2
				}
				t.mu.Lock()
				t.lookAfter(now, every)
				t.mu.Unlock()
			}
		}
	}
}

// Confirm makes sure that this broker leads the topic, and knows what is committed, as of a
// second ago at most: ErrNotLeader, ErrUnavailable, ErrClosed. While entries are committed, and
// if asked often, it makes no request.
func (t *Topic) Confirm(ctx context.Context) error {
	return storeError(t.committer.Confirm(ctx, doubtEvery))
}

// Doubt looks in the background whether this broker still leads.
func (t *Topic) Doubt() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.doubt(time.Now())
}

// Suspect says that there is another broker: each open topic looks at its log as soon as a
// consumer waits at its end. It never blocks.
func (ts *Topics) Suspect() {
	for _, t := range ts.openTopics() {
		t.suspected.Store(true)
	}
}

// lookIfSuspected looks in the background, for who waits at the end of the topic.
func (t *Topic) lookIfSuspected() {
	if !t.suspected.Load() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lookAfter(time.Now(), doubtEvery)
}

// doubt looks in the background whether this broker still leads; t.mu is held.
func (t *Topic) doubt(now time.Time) { t.lookAfter(now, doubtEvery) }

// lookAfter looks in the background if the last look is that long ago and has come to
// its end; t.mu is held.
func (t *Topic) lookAfter(now time.Time, every time.Duration) {
	if t.looking || t.gone != nil || now.Sub(t.looked) < every {
		return
	}
	t.looked, t.looking = now, true
	suspected := t.suspected.Swap(false)
	t.env.background.Go(func() {
		ctx, cancel := context.WithTimeout(t.env.ctx, lookDeadline)
		defer cancel()
		if t.committer.Look(ctx) != nil && suspected {
			t.suspected.Store(true) // a store that does not answer now will be asked again
		}
		t.mu.Lock()
		t.looking = false
		t.mu.Unlock()
	})
}

// upToDate calls read, and again after a look at the log where a file that it needed is
// gone: a file leaves the table before it leaves the store, so that what it held is
// elsewhere now, or deleted.
func (t *Topic) upToDate(ctx context.Context, read func() error) error {
	for attempt := 0; ; attempt++ {
		version := t.Version()
		err := read()
		if !errors.Is(err, errGone) || attempt == goneRetries {
			return err
		}
		if t.committer.Look(ctx) != nil || t.Version() == version {
			return err
		}
	}
}
