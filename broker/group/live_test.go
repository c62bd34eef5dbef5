package group

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// live is a consumer that does by itself what clients do: join, sync, heartbeat,
// rejoin when it is told to, start over when it is not known any more.
type live struct {
	*consumer
	stop   context.CancelFunc
	kill   context.CancelFunc // as stop, without leaving
	ended  chan struct{}
	mu     sync.Mutex
	paused time.Duration // the next heartbeat is late by this
	holds  string        // the assignment, empty while it has none
	of     int32         // the generation of it
	fatal  error
	got    func(l *live) // is told each assignment
}

func (c *consumer) run(got func(l *live)) *live {
	stop, cancel := context.WithCancel(context.Background())
	killed, kill := context.WithCancel(context.Background())
	l := &live{consumer: c, stop: cancel, kill: kill, ended: make(chan struct{}), got: got}
	go func() {
		defer close(l.ended)
		l.fatal = l.loop(stop, killed)
	}()
	return l
}

func (l *live) hold(assignment string, generation int32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.holds, l.of = assignment, generation
}

func (l *live) holding() (string, int32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.holds, l.of
}

func (l *live) pause(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.paused = d
}

func (l *live) loop(stop, killed context.Context) error {
	for {
		if killed.Err() != nil {
			return nil
		}
		if stop.Err() != nil {
			l.hold("", -1)
			if l.id != "" {
				l.leave()
			}
			return nil
		}
		err := l.joinWithin(killed)
		if err == nil {
			err = l.syncWithin(killed)
		}
		if err == nil {
			l.hold(l.assignment, l.gen)
			if l.got != nil {
				l.got(l)
			}
		}
		for err == nil && stop.Err() == nil && killed.Err() == nil {
			l.mu.Lock()
			late := l.paused
			l.paused = 0
			l.mu.Unlock()
			select {
			case <-time.After(3*time.Second + late):
				err = l.heartbeat()
			case <-stop.Done():
			case <-killed.Done():
			}
		}
		if killed.Err() != nil || stop.Err() != nil {
			continue
		}
		l.hold("", -1)
		switch err {
		case nil, kerr.MemberIDRequired, kerr.RebalanceInProgress:
		case kerr.UnknownMemberID, kerr.IllegalGeneration:
			l.id, l.gen = "", -1
		case kerr.CoordinatorNotAvailable, kerr.NotCoordinator:
			time.Sleep(100 * time.Millisecond)
		default:
			return err
		}
	}
}

func TestARollingBounceMovesToANewProtocol(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		a, b := w.consumer("a").run(nil), w.consumer("b").run(nil)
		time.Sleep(10 * time.Second)
		for _, l := range []**live{&a, &b} {
			(*l).stop()
			c := w.consumer("new")
			c.protocols = protocols("cooperative", "topic", "range", "topic")
			*l = c.run(nil)
			time.Sleep(10 * time.Second)
		}
		w.state(Stable)
		w.equal("protocol", w.m().Describe(5, "g").Protocol, "cooperative")
		a.stop()
		b.stop()
		<-a.ended
		<-b.ended
		w.state(Empty)
	})
}

// Many members come, go, pause and vanish at random while Keep is slow and fails
// now and then and the broker restarts. Whatever happens, a generation has one
// assignment, it is the kept one, and in the end all who are there share one.
func TestMembersThatComeAndGoAtRandomAlwaysAgree(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			inWorld(t, Config{InitialRebalanceDelay: 100 * time.Millisecond}, func(w *world) {
				randomLife(w, rand.New(rand.NewPCG(seed, 1)))
			})
		})
	}
}

func randomLife(w *world, r *rand.Rand) {
	// owners is who was told what in which term and generation.
	type turn struct {
		restarts   int
		generation int32
		assignment string
	}
	var (
		mu       sync.Mutex
		owners   = make(map[turn]string)
		restarts int
	)
	got := func(l *live) {
		mu.Lock()
		defer mu.Unlock()
		at := turn{restarts, l.gen, l.assignment}
		if l.assignment != "for "+l.id && l.instance == nil {
			w.Errorf("generation %d: %q was told to %s", l.gen, l.assignment, l.id)
		}
		if owner, told := owners[at]; told && owner != l.client.ID {
			w.Errorf("generation %d: %q was told to %s and %s", l.gen, l.assignment, owner, l.client.ID)
		}
		owners[at] = l.client.ID
		kept := w.ledger.record("g")
		if kept.Generation < l.gen {
			w.Errorf("generation %d was told before it was kept", l.gen)
		}
	}

	var lives, gone []*live
	names := 0
	start := func() {
		names++
		c := w.consumer(fmt.Sprint("c", names))
		if r.IntN(3) == 0 {
			instance := fmt.Sprint("static-", names)
			c.instance = &instance
		}
		c.rebalance = time.Duration(10+r.IntN(20)) * time.Second
		lives = append(lives, c.run(got))
	}
	drop := func(end func(*live)) {
		if len(lives) > 0 {
			i := r.IntN(len(lives))
			end(lives[i])
			gone = append(gone, lives[i])
			lives = append(lives[:i], lives[i+1:]...)
		}
	}
	for range 150 {
		time.Sleep(time.Duration(r.IntN(4000)) * time.Millisecond)
		switch r.IntN(10) {
		case 0, 1, 2:
			if len(lives) < 20 {
				start()
			}
		case 3, 4:
			drop(func(l *live) { l.stop() })
		case 5:
			drop(func(l *live) { l.kill() })
		case 6, 7:
			if len(lives) > 0 {
				lives[r.IntN(len(lives))].pause(time.Duration(r.IntN(15)) * time.Second)
			}
		case 8:
			w.ledger.fail(kerr.KafkaStorageError)
			time.Sleep(time.Duration(r.IntN(3000)) * time.Millisecond)
			w.ledger.fail(nil)
		case 9:
			mu.Lock()
			restarts++
			mu.Unlock()
			w.restart()
		}
	}
	for len(lives) < 3 {
		start()
	}

	// Left alone, everybody is in the same generation within the timeouts, and
	// stays there.
	time.Sleep(2 * time.Minute)
	w.state(Stable)
	generation := w.ledger.record("g").Generation
	for range 5 {
		time.Sleep(7 * time.Second)
		for _, l := range lives {
			if _, of := l.holding(); of != generation {
				w.Errorf("%s is in generation %d, the group in %d", l.client.ID, of, generation)
			}
		}
	}
	d := w.m().Describe(5, "g")
	w.equal("members", len(d.Members), len(lives))
	for _, l := range lives {
		l.stop()
	}
	for _, l := range append(lives, gone...) {
		<-l.ended
		if l.fatal != nil {
			w.Errorf("%s ended with %v", l.client.ID, l.fatal)
		}
	}
	time.Sleep(time.Minute) // those that vanished last
	w.state(Empty)
	w.equal("bytes counted", w.m().bytes.Load(), int64(0))
}
