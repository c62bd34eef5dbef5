package storage

import (
	"context"
	"time"

	"sluice/storage/delta"
)

// What is told of topics that are not open: their leader epoch, as their tables have it. A
// client that has known an epoch may take none (-1) for "there is no leader": franz-go from
// 1.22 on keeps what failed, and asks for metadata again, until it is told one. It does not
// send anything that would open the topic. To read the epoch is not to lead the topic.

// maxLearning bounds the tables that are read for that at a time.
const maxLearning = 16

// LearnEpochs has Lookup tell the leader epochs of the named topics, those that are not open
// too. It waits for them until ctx ends. A topic's epoch is read once, until another broker
// takes it, or the topic is open; of more than maxLearning topics the rest is for the next calls.
func (ts *Topics) LearnEpochs(ctx context.Context, names []string) {
	var waits []<-chan struct{}
	ts.mu.Lock()
	for _, name := range names {
		if done := ts.learn(name); done != nil {
			waits = append(waits, done)
		}
	}
	ts.mu.Unlock()
	for _, done := range waits {
		select {
		case <-done:
		case <-ctx.Done():
			return
		}
	}
}

// learn begins to read a topic's leader epoch. The channel is closed when it is known, or
// cannot be; nil if there is nothing to wait for. ts.mu is held.
func (ts *Topics) learn(name string) <-chan struct{} {
	info, live := ts.infos[name]
	if _, known := ts.epochs[name]; known || !live || ts.closed {
		return nil
	}
	if o := ts.open[name]; o != nil { // or about to be
		return o.done
	}
	if done := ts.learning[name]; done != nil {
		return done
	}
	if f, ok := ts.failed[name]; len(ts.learning) >= maxLearning || ok && time.Now().Before(f.until) {
		return nil
	}
	done := make(chan struct{})
	ts.learning[name] = done
	ts.group.Go(func() { ts.readEpoch(info, done) })
	return done
}

func (ts *Topics) readEpoch(info TopicInfo, done chan struct{}) {
	ctx, cancel := context.WithTimeout(ts.ctx, openDeadline)
	defer cancel()
	began := time.Now()
	snap, err := ts.env.newLog(info.Name).Open(ctx, nil)
	ts.mu.Lock()
	defer ts.mu.Unlock()
	delete(ts.learning, info.Name)
	close(done)
	if err != nil {
		ts.fail(info.Name, storeError(unsupported(err)), time.Since(began))
		return
	}
	defer snap.Release()
	if now, live := ts.infos[info.Name]; live && now.ID == info.ID && parseID(snap.Metadata.ID) == info.ID {
		ts.epochs[info.Name] = int32(delta.Epoch(snap))
	}
}
