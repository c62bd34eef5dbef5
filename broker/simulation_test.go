package broker_test

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/integration/history"
	"sluice/storage/object"
	"sluice/storage/object/mem"
)

// The simulation: one to five whole brokers on one store, on fake time, and real clients,
// each of which talks to one broker at a time and knows nothing of the others. Brokers are
// killed, stand still, lose their clients or their store while another one takes over,
// and come back; the store refuses, loses, delays, doubles and hangs, and its clock
// jumps. What the clients did and saw is a history, which the checks of Jepsen's Kafka
// workload must find possible, and which the tables' own files must agree with.
//
//	go test ./broker -run TestSimulation                               the quick form
//	go test ./broker -run TestSimulation -v -sim.seed 7                one seed again
//	go test ./broker -run TestSimulation -v -sim.seed 1 -sim.runs 500  the long form
//
// A seed fixes every decision of the simulation. The order of goroutines is the
// scheduler's and clients draw lots of their own: a seed that failed may need a few
// runs (-count) to fail again.
var (
	simSeed = flag.Uint64("sim.seed", 1, "first seed of TestSimulation")
	simRuns = flag.Int("sim.runs", 0, "number of seeds; 0 is the quick form")
	simLog  = flag.String("sim.log", "", "file for the log of the newest run")
)

const (
	quickRuns = 2
	// runTime is far more than one seed takes, in real time.
	runTime = 30 * time.Second
)

func TestSimulation(t *testing.T) {
	// One goroutine at a time makes a seed repeat itself, nearly always.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	runs := *simRuns
	if runs == 0 {
		runs = quickRuns
		flag.Visit(func(f *flag.Flag) {
			if f.Name == "sim.seed" {
				runs = 1
			}
		})
	}
	total, faults := map[string]int{}, map[string]int{}
	var elapsed time.Duration
	done := 0
	for i := range runs {
		if deadline, ok := t.Deadline(); ok && time.Until(deadline) < runTime {
			break // -timeout is a way to say how long
		}
		seed := *simSeed + uint64(i)
		ok := t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSimulation(t, seed)
				s.run()
				for _, p := range s.problems {
					t.Error(p)
				}
				elapsed += s.elapsed
				add(total, s.counts)
				add(faults, s.weather.Counts())
			})
		})
		done++
		if !ok {
			t.Logf("run it again: go test ./broker -run TestSimulation -sim.seed %d", seed)
			break
		}
	}
	t.Logf("%d seeds, %.1f virtual hours: %s", done, elapsed.Hours(), counted(total))
	t.Logf("at the store: %s", counted(faults))
	t.Logf("%d records acked: %d lost, %d doubled, %d disagreeing", total["acks"], total["lost"], total["doubled"], total["disagreeing"])
}

// A checker that never finds anything proves nothing: on a store that lets one writer
// overwrite what another has put, two brokers that are written to lose and contradict each
// other's records; on any other they do not.
func TestTheSimulationFindsOutAStoreThatOverwrites(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	for name, through := range map[string]func(*mem.Store) object.Store{
		"a store that overwrites": func(store *mem.Store) object.Store { return overwriting{store} },
		"a sound one":             func(store *mem.Store) object.Store { return store },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSimulation(t, 1)
				s.through, s.patience = through, time.Minute
				s.runTogether()
				broken := s.counts["lost"] + s.counts["doubled"] + s.counts["disagreeing"]
				t.Logf("%s, %d problems: %s", counted(s.counts), len(s.problems), strings.Join(s.problems[:min(3, len(s.problems))], "; "))
				switch {
				case s.counts["acks"] < 50:
					t.Error("hardly a record was acknowledged")
				case name == "a sound one" && len(s.problems) > 0:
					t.Error("there are problems")
				case name != "a sound one" && broken == 0:
					t.Error("no record is lost, doubled or contradicted")
				}
			})
		})
	}
}

// overwriting breaks the one promise that all others rest on.
type overwriting struct{ *mem.Store }

func (o overwriting) Create(ctx context.Context, key string, body []byte, after ...string) (time.Time, error) {
	return o.Put(ctx, key, body)
}

func add(to, from map[string]int) {
	for k, n := range from {
		to[k] += n
	}
}

func counted(counts map[string]int) string {
	var all []string
	for _, k := range slices.Sorted(maps.Keys(counts)) {
		all = append(all, fmt.Sprintf("%d %s", counts[k], k))
	}
	return strings.Join(all, ", ")
}

// simulation is one run.
type simulation struct {
	t       *testing.T
	disk    string // a directory for the disk caches of the brokers
	seed    uint64
	random  *rand.Rand // of the director and the set-up only
	store   *mem.Store // without faults
	weather *mem.Weather
	through func(*mem.Store) object.Store // how brokers see the store
	log     *slog.Logger
	history *history.History
	// patience bounds what clients may need for what they have begun, after the last fault.
	patience time.Duration

	nodes   []*simNode
	clients []*simClient
	elapsed time.Duration

	mu       sync.Mutex
	skew     time.Duration // of the store's clock
	counts   map[string]int
	energy   int // works that producers may still begin
	problems []string
	// positions are how far consumers have read.
	positions map[string]map[history.Partition]int64

	quiet   chan struct{}  // closed when producers are to end
	writers sync.WaitGroup // producers
	readers sync.WaitGroup
	stop    context.CancelFunc // of the readers
	endings sync.WaitGroup     // of brokers that were killed
}

const (
	simWindow = 2 * time.Minute // W
	simGroup  = "g"
	// simAfter is how long brokers go on after their clients.
	simAfter = time.Hour
	// simPatience is the patience of a simulation with faults.
	simPatience = 30 * time.Minute
	// worksPerEvent bounds what producers do between two events: quiet times are long in
	// fake time and must not be in real time.
	worksPerEvent = 40
)

// simTopics are the topics, and their partitions.
var simTopics = map[string]int32{"a": 3, "b": 1}

func newSimulation(t *testing.T, seed uint64) *simulation {
	s := &simulation{
		t: t, disk: t.TempDir(), seed: seed, random: rand.New(rand.NewPCG(seed, 0)), store: mem.New(), weather: mem.NewWeather(),
		through: func(store *mem.Store) object.Store { return store }, log: slog.New(slog.DiscardHandler),
		history: history.New(), patience: simPatience, counts: map[string]int{}, positions: map[string]map[history.Partition]int64{}, quiet: make(chan struct{}),
	}
	if *simLog != "" {
		f, err := os.Create(*simLog)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		s.log = slog.New(slog.NewTextHandler(f, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	s.store.SetClock(func() time.Time {
		s.mu.Lock()
		defer s.mu.Unlock()
		return time.Now().Add(s.skew)
	})
	return s
}

func (s *simulation) count(what string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[what] += n
}

// problem notes a broken promise.
func (s *simulation) problem(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.problems = append(s.problems, fmt.Sprintf("seed %d at %s: %s", s.seed, time.Now().Format("15:04:05.000"), fmt.Sprintf(format, args...)))
}

func (s *simulation) run() {
	began := time.Now()
	for i := range 1 + s.random.IntN(5) {
		s.nodes = append(s.nodes, &simNode{s: s, number: i})
	}
	s.count("brokers", len(s.nodes))
	s.nodes[0].start()
	s.makeTopics() // a broker that is up hears of another one's new topics only in its time
	for _, n := range s.nodes {
		n.start()
	}
	s.beginClients()
	s.direct(10 + s.random.IntN(20))
	s.calm()
	s.await("producers", &s.writers)
	s.readAll()
	s.stop()
	s.await("consumers", &s.readers)
	for _, c := range s.clients {
		c.Close()
	}
	time.Sleep(simAfter)
	s.elapsed = time.Since(began)
	s.end()
}

// end ends the brokers, whose clients are gone, and judges.
func (s *simulation) end() {
	for _, n := range s.nodes {
		n.end(time.Minute)
	}
	s.endings.Wait()
	s.judge()
	// What clients and brokers leave behind ends by itself; what does not fails the test.
	time.Sleep(time.Hour)
}

// runTogether is a run of two brokers that are written to at the same time, each by a producer
// of its own: they take the topics from each other all the time.
func (s *simulation) runTogether() {
	for i := range 2 {
		s.nodes = append(s.nodes, &simNode{s: s, number: i})
	}
	s.nodes[0].start()
	s.makeTopics()
	s.nodes[1].start()
	for i := range s.nodes {
		c := s.client(fmt.Sprint("once", i), i)
		s.clients = append(s.clients, c)
		s.writers.Go(func() { c.produce(rand.New(rand.NewPCG(s.seed, uint64(i))), true) })
	}
	for range 5 {
		s.refresh()
		time.Sleep(4 * time.Second)
	}
	close(s.quiet)
	s.await("producers", &s.writers)
	for _, c := range s.clients {
		c.Close()
	}
	s.end()
}

// await waits for clients that have nothing to wait for but the brokers.
func (s *simulation) await(who string, group *sync.WaitGroup) {
	done := make(chan struct{})
	go func() { group.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(2 * s.patience):
		buf := make([]byte, 1<<20)
		s.t.Fatalf("seed %d: %s are still waiting, long after the last fault\n%s", s.seed, who, buf[:runtime.Stack(buf, true)])
	}
}

// direct makes things happen to brokers, clients and the store, between sleeps.
func (s *simulation) direct(events int) {
	for range events {
		s.refresh()
		time.Sleep(time.Duration(s.random.ExpFloat64() * float64(8*time.Second)))
		n := s.nodes[s.random.IntN(len(s.nodes))]
		if s.random.IntN(2) == 0 {
			n = s.nodes[s.clients[s.random.IntN(len(s.clients))].node()] // one that matters
		}
		// How long what comes lasts: also longer than a session, and than log entries are kept.
		d := []time.Duration{time.Second, 5 * time.Second, 20 * time.Second, simWindow / 2, 2 * simWindow}[s.random.IntN(5)]
		s.log.Info("event", "broker", n.number, "for", d)
		switch s.random.IntN(15) {
		case 0, 1, 2: // killed, and started again some time later
			n.kill()
			s.leave(n)
			time.Sleep(d / 4)
			n.start()
		case 3: // an orderly restart
			n.end(time.Duration(1+s.random.IntN(20)) * time.Second)
			s.leave(n)
			n.start()
		case 4, 5: // it stands still
			n.pause()
			s.leave(n)
			s.wait(d)
			n.resume()
		case 6: // it loses its clients
			n.cut()
			s.leave(n)
			s.wait(d)
			n.heal()
		case 7: // it loses its store
			n.hang()
			s.leave(n)
			s.wait(d)
			n.resume()
		case 8, 9:
			n.trouble(s.random.Float64() * 0.4)
		case 10:
			n.trouble(0)
		case 11: // the store is gone for a while
			s.weather.Outage(time.Now().Add(d))
			s.count("outages", 1)
		case 12: // all clients turn to another broker, or one strays
			if s.random.IntN(2) == 0 {
				s.move(s.clients[s.random.IntN(len(s.clients))], s.random.IntN(len(s.nodes)))
			} else {
				s.gather(s.random.IntN(len(s.nodes)))
			}
		case 13: // clocks: forward by anything, back by no more than nodes of one store differ
			s.mu.Lock()
			if s.random.IntN(2) == 0 {
				s.skew += []time.Duration{time.Minute, simWindow, 2 * time.Hour}[s.random.IntN(3)]
			} else {
				s.skew -= simWindow / 40
			}
			s.counts["clock shifts"]++
			s.mu.Unlock()
		case 14: // nobody does anything for long
			time.Sleep(d)
		}
	}
}

// wait lets clients go on for a while.
func (s *simulation) wait(d time.Duration) {
	s.refresh()
	time.Sleep(d / 2)
	s.refresh()
	time.Sleep(d / 2)
}

// refresh lets producers begin some more works.
func (s *simulation) refresh() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.energy = worksPerEvent
}

// leave lets the clients of a broker that is in trouble turn to another one, mostly.
func (s *simulation) leave(n *simNode) {
	to := s.random.IntN(len(s.nodes))
	if len(s.nodes) > 1 && to == n.number {
		to = (to + 1) % len(s.nodes)
	}
	if s.random.IntN(4) > 0 {
		s.gather(to)
	}
}

// gather lets all clients turn to a broker, one after the other.
func (s *simulation) gather(to int) {
	for _, c := range s.clients {
		if s.random.IntN(2) == 0 {
			time.Sleep(time.Duration(s.random.ExpFloat64() * float64(time.Second)))
		}
		s.move(c, to)
	}
}

func (s *simulation) move(c *simClient, to int) {
	if c.node() != to {
		s.count("moves of clients", 1)
		c.turnTo(to)
	}
}

// calm ends all faults. Clients finish what they have begun, at one broker.
func (s *simulation) calm() {
	s.weather.Outage(time.Time{})
	for _, n := range s.nodes {
		n.trouble(0)
		n.resume()
		n.heal()
		n.start()
	}
	close(s.quiet)
	s.gather(s.random.IntN(len(s.nodes)))
}
