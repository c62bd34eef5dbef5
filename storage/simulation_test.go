package storage

import (
	"context"
	"errors"
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

	"sluice/protocol/record"
	"sluice/storage/check"
	"sluice/storage/check/checktest"
	"sluice/storage/delta"
	"sluice/storage/object"
	"sluice/storage/object/mem"
	"sluice/storage/rows"
	"sluice/storage/upkeep"
)

// The simulation: one to three brokers on one store, on fake time, with a store
// that refuses, loses, delays, doubles and hangs, brokers that are killed, paused
// for longer than the cleanup window and started again, producers that retry as
// Kafka's do, consumers, administrators, an engine that rewrites files, inserts and
// deletes rows, and an operator's commands. Topics are of several kinds (simKind). At the
// end everything that was acknowledged must be where it was said to be.
//
//	go test ./storage -run TestSimulation                            the quick form
//	go test ./storage -run TestSimulation -sim.seed 7 -v             one seed again
//	go test ./storage -run TestSimulation -sim.seed 1 -sim.runs 500  the long form
//
// A seed fixes every decision of the simulation. The order of goroutines is the
// scheduler's: a seed that failed may need a few runs (-count) to fail again.
var (
	simSeed = flag.Uint64("sim.seed", 1, "first seed of TestSimulation")
	simRuns = flag.Int("sim.runs", 0, "number of seeds; 0 is the quick form")
	simLog  = flag.String("sim.log", "", "file for the log of the newest run")
)

const (
	quickRuns = 4
	// runTime is far more than one seed takes, in real time.
	runTime = 20 * time.Second
)

func TestSimulation(t *testing.T) {
	// One goroutine at a time makes a seed repeat itself, nearly always.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	runs := *simRuns
	if runs == 0 {
		runs = quickRuns
		given := false
		flag.Visit(func(f *flag.Flag) { given = given || f.Name == "sim.seed" })
		if given {
			runs = 1
		}
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
				began := time.Now()
				s.run()
				elapsed += time.Since(began)
				for k, n := range s.counts {
					total[k] += n
				}
				for k, n := range s.weather.Counts() {
					faults[k] += n
				}
			})
		})
		done++
		if !ok {
			t.Logf("run it again: go test ./storage -run TestSimulation -sim.seed %d", seed)
			break
		}
	}
	t.Logf("%d seeds, %.1f virtual hours: %s", done, elapsed.Hours(), counted(total))
	t.Logf("at the store: %s", counted(faults))
	if !t.Failed() { // each seed's checks look for these, and fail it
		t.Logf("%d records acknowledged: 0 lost, 0 doubled, 0 disagreeing", total["acknowledged"])
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
	seed    uint64
	random  *rand.Rand // of the director and the set-up only
	store   *mem.Store // without faults
	weather *mem.Weather
	disk    string // a directory for the brokers' disk caches
	log     *slog.Logger

	mu      sync.Mutex
	brokers []*simBroker
	leads   map[string]int         // the broker that clients think leads a topic
	topics  map[[16]byte]*simTopic // by topic id
	kinds   map[string]simKind     // by topic name
	skew    time.Duration          // of the store's clock
	counts  map[string]int
	values  int
	energy  int  // works that clients may still begin
	ended   bool // clients make nothing new

	quiet   chan struct{} // closed when faults have ended
	clients sync.WaitGroup
}

// simTopic is what clients know of one incarnation of a topic.
type simTopic struct {
	name       string
	id         [16]byte
	acked      map[simPlace]string
	seen       map[simPlace]string
	attempts   map[string]int // sends of a value that were answered, or not, with something unclear
	once       map[string]bool
	logStart   map[int32][2]int64   // by partition: what was acknowledged, and what was asked for
	shown      map[int32]int64      // the greatest log start offset that was shown, by partition
	first      map[string]time.Time // when a value was first sent
	deletable  map[simPlace]bool    // other writers have tried to delete it
	erased     map[simPlace]bool    // other writers have deleted it
	forgotten  map[string]bool      // keys that an operator has tried to delete
	inserted   map[string]bool      // values of rows that an engine has inserted
	partitions int32
	deleted    bool // somebody has tried to
}

type simPlace struct {
	partition int32
	offset    int64
}

const (
	simWindow = 2 * time.Minute // W
	simNames  = 2               // topics
	// simAfter is how long brokers go on after their clients. In it logs are cleaned up, and
	// all is swept that was uploaded and never committed.
	simAfter = 4 * 24 * time.Hour
)

func newSimulation(t *testing.T, seed uint64) *simulation {
	s := &simulation{
		t: t, seed: seed, random: rand.New(rand.NewPCG(seed, 0)), store: mem.New(), weather: mem.NewWeather(), disk: t.TempDir(),
		leads: map[string]int{}, topics: map[[16]byte]*simTopic{}, counts: map[string]int{}, quiet: make(chan struct{}),
	}
	s.kinds = map[string]simKind{}
	kinds := rand.New(rand.NewPCG(seed, 1))
	for i := range simNames {
		s.kinds[fmt.Sprint("topic", i)] = newSimKind(kinds)
	}
	s.log = slog.New(slog.DiscardHandler)
	if *simLog != "" {
		f, err := os.Create(*simLog)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		s.log = slog.New(slog.NewTextHandler(f, nil)) // at once: of a run that hangs, too
	}
	s.store.SetClock(func() time.Time {
		s.mu.Lock()
		defer s.mu.Unlock()
		return time.Now().Add(s.skew)
	})
	return s
}

func (s *simulation) count(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[what]++
}

// fail reports a broken promise.
func (s *simulation) fail(format string, args ...any) {
	s.t.Helper()
	s.t.Errorf("seed %d at %s: %s", s.seed, time.Now().Format("15:04:05.000"), fmt.Sprintf(format, args...))
}

func (s *simulation) run() {
	for i := range 1 + s.random.IntN(3) {
		s.brokers = append(s.brokers, newSimBroker(s, i))
	}
	for _, b := range s.brokers {
		b.start()
	}
	for i := range simNames {
		s.createTopic(fmt.Sprint("topic", i), rand.New(rand.NewPCG(s.seed, uint64(100+i))))
	}
	client := uint64(1000)
	begin := func(n int, f func(*rand.Rand)) {
		for range n {
			client++
			random := rand.New(rand.NewPCG(s.seed, client))
			s.clients.Go(func() { f(random) })
		}
	}
	begin(1+s.random.IntN(3), s.plainProducer)
	begin(2+s.random.IntN(3), s.idempotentProducer)
	begin(2, s.consumer)
	begin(1, s.administrator)
	if s.random.IntN(2) == 0 || s.anyOpen() {
		begin(1, s.engine)
	}
	if s.random.IntN(2) == 0 {
		begin(1, s.operator)
	}
	s.direct(15 + s.random.IntN(30))
	s.calm()
	done := make(chan struct{})
	go func() { s.clients.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(time.Hour):
		buf := make([]byte, 1<<20)
		s.fail("clients are still waiting an hour after the last fault\n%s", buf[:runtime.Stack(buf, true)])
	}
	time.Sleep(simAfter)
	for _, b := range s.brokers {
		b.stop(time.Minute)
	}
	s.check()
	checktest.Root(s.t, s.store, check.Options{Dense: !s.anyOpen()})
}

// direct makes things happen to brokers and the store, between sleeps.
func (s *simulation) direct(events int) {
	for range events {
		s.refresh()
		time.Sleep(time.Duration(s.random.ExpFloat64() * float64(8*time.Second)))
		b := s.brokers[s.random.IntN(len(s.brokers))]
		switch s.random.IntN(12) {
		case 0, 1: // killed, and started again some time later
			b.kill()
			time.Sleep(time.Duration(s.random.ExpFloat64() * float64(5*time.Second)))
			b.start()
		case 2: // an orderly restart
			b.stop(time.Duration(1+s.random.IntN(20)) * time.Second)
			b.start()
		case 3: // frozen, perhaps for longer than the cleanup window
			b.pause()
			d := []time.Duration{time.Second, 20 * time.Second, simWindow / 2, simWindow * 2, 10 * simWindow}[s.random.IntN(5)]
			s.moveLeads(b)
			time.Sleep(d)
			s.refresh()
			b.resume()
		case 4, 5:
			b.trouble(s.random.Float64() * 0.4)
		case 6:
			b.trouble(0)
		case 7: // the store is gone for a while
			s.weather.Outage(time.Now().Add(time.Duration(s.random.IntN(60)) * time.Second))
			s.count("outages")
		case 8, 9:
			s.moveLeads(nil)
		case 10: // clocks: forward by anything, back by no more than nodes of one store differ
			s.mu.Lock()
			if s.random.IntN(2) == 0 {
				s.skew += []time.Duration{time.Minute, simWindow, 2 * time.Hour}[s.random.IntN(3)]
			} else {
				s.skew -= simWindow / 40
			}
			s.counts["clock shifts"]++
			s.mu.Unlock()
		case 11: // nobody does anything for long
			time.Sleep(time.Duration(s.random.IntN(4)) * simWindow)
		}
	}
}

// refresh lets clients begin some more works.
func (s *simulation) refresh() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.energy = worksPerEvent
}

// worksPerEvent bounds what clients do between two events: quiet times are long in
// fake time and must not be in real time.
const worksPerEvent = 60

// moveLeads makes clients turn to other brokers, to any but not.
func (s *simulation) moveLeads(not *simBroker) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range simNames {
		to := s.random.IntN(len(s.brokers))
		if len(s.brokers) > 1 && s.brokers[to] == not {
			to = (to + 1) % len(s.brokers)
		}
		s.leads[fmt.Sprint("topic", i)] = to
	}
}

// calm ends all faults, and lets clients finish what they have begun, at one broker.
func (s *simulation) calm() {
	s.mu.Lock()
	s.weather.Outage(time.Time{})
	s.ended = true
	lead := s.random.IntN(len(s.brokers))
	for i := range simNames {
		s.leads[fmt.Sprint("topic", i)] = lead
	}
	s.mu.Unlock()
	for _, b := range s.brokers {
		b.resume()
		b.trouble(0)
		b.start()
	}
	close(s.quiet)
}

// anyOpen reports whether engines delete rows in some topic.
func (s *simulation) anyOpen() bool {
	for _, k := range s.kinds {
		if k.open {
			return true
		}
	}
	return false
}

// over reports whether clients are to begin nothing new.
func (s *simulation) over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

// The checks at the end.

func (s *simulation) check() {
	ts, err := Open(s.t.Context(), s.store.Handle(), Options{Log: s.log, Window: simWindow, TailBytes: 1})
	if err != nil {
		s.fail("the root does not open: %v", err)
		return
	}
	defer ts.Close(s.t.Context())
	for i := range simNames {
		name := fmt.Sprint("topic", i)
		s.checkLog(name)
		s.checkFiles(name)
		topic, err := ts.Topic(s.t.Context(), name)
		if err != nil {
			for _, known := range s.topics {
				if known.name == name && !known.deleted {
					s.fail("%s does not open: %v", name, err)
				}
			}
			continue
		}
		for _, known := range s.topics {
			if known.name == name && known.id != topic.Info().ID && !known.deleted {
				s.fail("%s is another topic, though nobody deleted it", name)
			}
		}
		if known := s.topics[topic.Info().ID]; known != nil {
			time.Sleep(time.Minute) // for rows to be adopted
			s.checkTopic(topic, known)
		}
	}
}

// readTable reads a table's rows from its files alone.
func (s *simulation) readTable(topic *Topic, name string) map[simPlace]string {
	got := map[simPlace]string{}
	snap, err := topic.env.newLog(name).Open(s.t.Context(), nil)
	if err != nil {
		s.fail("%s: %v", name, err)
		return got
	}
	for _, a := range snap.Files {
		f := &file{key: name + "/" + a.Path, size: a.Size}
		r, err := rows.Open(s.t.Context(), f.size, source(s.store, f))
		if err != nil {
			s.fail("%s: %v", a.Path, err)
			continue
		}
		ranges, err := r.Ranges(s.t.Context())
		if err != nil {
			s.fail("%s: %v", a.Path, err)
		}
		for _, rng := range ranges {
			batches, err := r.Read(s.t.Context(), rng.Partition, rng.First, rows.Limits{MaxBytes: 1 << 28})
			if err != nil {
				s.fail("%s: %v", a.Path, err)
			}
			for _, b := range batches {
				for at, v := range values(s.t, record.Batch(b.Data)) {
					place := simPlace{rng.Partition, at}
					if old, twice := got[place]; twice {
						s.fail("row %d-%d of %s twice: %s, %s", place.partition, at, name, old, v)
					}
					got[place] = v
				}
			}
		}
	}
	return got
}

// checkLog checks that a table's log has no gap, a checkpoint before what is
// cleaned up, times that rise, and leader epochs that never fall.
func (s *simulation) checkLog(name string) {
	var versions, checkpoints []int64
	_, err := object.All(s.t.Context(), s.store, object.ListRequest{Prefix: name + "/_delta_log/"}, func(i object.Info) error {
		base := i.Key[strings.LastIndexByte(i.Key, '/')+1:]
		var version int64
		switch {
		case strings.HasSuffix(base, ".checkpoint.parquet"):
			fmt.Sscanf(base, "%d", &version)
			checkpoints = append(checkpoints, version)
		case strings.HasSuffix(base, ".json"):
			fmt.Sscanf(base, "%d", &version)
			versions = append(versions, version)
		}
		return nil
	})
	if err != nil || len(versions) == 0 {
		return // the topic was never made
	}
	s.counts["versions"] += int(versions[len(versions)-1])
	s.counts["checkpoints"] += len(checkpoints)
	base := int64(-1)
	if versions[0] > 0 || len(checkpoints) > 0 && len(versions) <= int(versions[len(versions)-1]) {
		s.counts["logs cleaned up"]++
		if len(checkpoints) == 0 {
			s.fail("the log of %s begins at %d without a checkpoint", name, versions[0])
			return
		}
		base = checkpoints[0]
	}
	for i := range versions[1:] {
		switch {
		case versions[i+1] == versions[i]+1:
		case versions[i] < base:
			// A broker that was killed put it where cleanup had been (delta/README.md).
			s.counts["stray entries"]++
		default:
			s.fail("the log of %s has %d after %d", name, versions[i+1], versions[i])
		}
	}
	// What lies before the checkpoint is no part of the log any more.
	versions = slices.DeleteFunc(versions, func(v int64) bool { return v < base })
	log := delta.NewLog(s.store, name, delta.Options{})
	stamp, epoch := int64(0), int64(0)
	for _, v := range versions {
		e, _, err := log.ReadEntry(s.t.Context(), v)
		if err != nil {
			s.fail("version %d of %s: %v", v, name, err)
			continue
		}
		if e.Info == nil || e.Info.Timestamp <= stamp {
			s.fail("version %d of %s has the time %v after %d", v, name, e.Info, stamp)
		} else {
			stamp = e.Info.Timestamp
		}
		for _, txn := range e.Txns {
			if txn.AppID == delta.EpochApp {
				if txn.Version <= epoch {
					s.fail("version %d of %s: leader epoch %d after %d", v, name, txn.Version, epoch)
				}
				epoch = txn.Version
				s.counts["take-overs"]++
			}
		}
	}
}

// checkFiles checks that the entries that are left name every live file, for readers
// that know no checkpoints, and that nothing is in the store that nobody will read.
func (s *simulation) checkFiles(name string) {
	log := delta.NewLog(s.store, name, delta.Options{})
	snap, err := log.Open(s.t.Context(), nil)
	if errors.Is(err, delta.ErrNoTable) {
		return
	}
	if err != nil {
		s.fail("%s: %v", name, err)
		return
	}
	h, err := log.History(s.t.Context())
	if err != nil {
		s.fail("history of %s: %v", name, err)
		return
	}
	named := map[string]bool{}
	for v := h.FirstEntry; v <= snap.Version; v++ {
		e, _, err := log.ReadEntry(s.t.Context(), v)
		if err != nil {
			continue // checkLog tells
		}
		if e.Info != nil && e.Info.Operation == "ADD AGAIN" {
			s.counts["entries that add files again"]++
		}
		for i := range e.Adds {
			named[delta.FileName(e.Adds[i].Path)] = true
		}
	}
	for file := range snap.Files {
		if !named[file] {
			s.fail("no entry of %s from %d on names %s", name, h.FirstEntry, file)
		}
	}
	page, err := upkeep.ListOld(s.t.Context(), s.store, name, "", 100, 0)
	if err != nil {
		s.fail("%s: %v", name, err)
	}
	for _, key := range upkeep.Unnamed(log, snap, page.Files) {
		s.fail("an orphan stays: %s", key)
	}
	s.counts["data files"] += len(page.Files)
}

// simErrors are those that a client may get while brokers and the store fail.
var simErrors = []error{ErrNotLeader, ErrUnavailable, ErrClosed, ErrUnknownTopic, ErrUnknownPartition, ErrOutOfOrderSequence, context.DeadlineExceeded, context.Canceled}

func (s *simulation) expected(what string, err error) {
	for _, e := range simErrors {
		if errors.Is(err, e) {
			return
		}
	}
	s.fail("%s: %v", what, err)
}
