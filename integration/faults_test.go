//go:build integration

package integration

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"sluice/integration/history"
)

var (
	faultKills = flag.Int("faults.kills", 0, "how often TestFaults ends a broker, on each store; 0 is the quick form")
	faultSeed  = flag.Uint64("faults.seed", 1, "what of TestFaults is drawn is drawn from it")
	faultStorm = flag.Duration("faults.storm", 5*time.Second, "the longest storm at the store in TestFaults")
)

const (
	// quickKills is the quick form, at points that come soon.
	quickKills = 10
	// faultsEnd is more than the end of a run takes, after its last kill.
	faultsEnd = 4 * time.Minute
)

// The moments of the write path at which a broker is ended (storage/object/failpoint).
var (
	// quickPoints are those that come within a second or so, whenever there is load.
	quickPoints = pointsOf(
		"data", "entry.write", "ack", // a record's way
		"rewrite", "entry.optimize", // compaction of small files
		"checkpoint", "hint", "state", "entry.take-over",
		"offsets.data", "offsets.entry.write", "offsets.ack", "offsets.entry.take-over", "catalogue.entry.take-over",
	)
	// points are all.
	points = append(pointsOf(
		"cleanup/", "vacuum/", "entry.add-again", "entry.delete-retention", "entry.delete-compaction",
		"offsets.checkpoint", "offsets.hint", "offsets.cleanup/", "offsets.vacuum/", "offsets.entry.delete-superseded-rows",
	), quickPoints...)
)

// pointsOf are the points before and after each; where half of a thing can be done,
// a slash says so.
func pointsOf(whats ...string) (all []string) {
	for _, what := range whats {
		what, halves := strings.CutSuffix(what, "/")
		all = append(all, what+".before", what+".after")
		if halves {
			all = append(all, what+".half")
		}
	}
	return all
}

// failpointBinary is sluice with points at which it ends, and with upkeep that comes
// within seconds.
var failpointBinary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(filepath.Dir(binary), "sluice-failpoint")
	if os.Getenv("SLUICE_BINARY") != "" {
		dir, err := os.MkdirTemp("", "sluice-failpoint-")
		if err != nil {
			return "", err
		}
		path = filepath.Join(dir, "sluice-failpoint")
	}
	ctx, cancel := context.WithTimeout(context.Background(), buildTimeout)
	defer cancel()
	build := exec.CommandContext(ctx, "go", "build", "-tags", "failpoint", "-o", path, "./cmd/sluice")
	build.Dir = filepath.Dir(source)
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build -tags failpoint ./cmd/sluice: %w\n%s", err, out)
	}
	return path, nil
})

// failing makes a broker of the binary with points; nothing is started.
func failing(t *testing.T, s store, args ...string) *sluice {
	t.Helper()
	path, err := failpointBinary()
	if err != nil {
		t.Fatal(err)
	}
	b := newSluice(t, s, args...)
	b.binary = path
	return b
}

// hasty are configs with which upkeep never ends.
var hasty = map[string]string{
	"sluice.commit.interval.ms": "10", "sluice.table.history.ms": "1000", "sluice.table.history.versions": "50",
	"sluice.table.deleted.files.ms": "1000",
}

// createWith makes a topic with configs.
func createWith(t *testing.T, b *sluice, topic string, all ...map[string]string) {
	t.Helper()
	configs := map[string]*string{}
	for _, some := range all {
		for name, value := range some {
			configs[name] = &value
		}
	}
	resp, err := kadm.NewClient(connect(t, b)).CreateTopic(t.Context(), partitions, 1, configs, topic)
	if err == nil {
		err = resp.Err
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A broker is ended at each point of its write path in turn, and at random times,
// and started again at once, with its store in trouble all the while: nothing that was
// acked is lost or doubled, and nobody disagrees.
//
//	go test -tags integration ./integration -run TestFaults -v -timeout 3h -faults.kills 1000
func TestFaults(t *testing.T) {
	kills := *faultKills
	if kills == 0 {
		kills = quickKills
	}
	t.Run("directory", func(t *testing.T) {
		f := &faults{b: failing(t, directory(t)), random: rand.New(rand.NewPCG(*faultSeed, 0))}
		f.run(t, kills)
	})
	t.Run("MinIO", func(t *testing.T) {
		m := startMinIO(t)
		p := startProxy(t, m.address, *faultSeed)
		f := &faults{b: failing(t, p.before(m.store("lake/kafka"))), proxy: p, random: rand.New(rand.NewPCG(*faultSeed, 0))}
		f.run(t, kills)
	})
}

// faults is one run of TestFaults on a store.
type faults struct {
	b      *sluice
	proxy  *proxy   // nil: the store is left in peace
	among  []string // the points of this run
	random *rand.Rand
	killed map[string]int // by point
	// serves are the times from a start to serving, healthy those of them in which the store
	// met no fault.
	serves, healthy []time.Duration
}

func (f *faults) run(t *testing.T, kills int) {
	f.killed = map[string]int{}
	f.b.restart(t)
	resting := f.b.goroutines(t)
	createWith(t, f.b, "kept", hasty)
	createWith(t, f.b, "retained", hasty, map[string]string{"retention.ms": "3000"})
	createWith(t, f.b, "compacted", hasty, map[string]string{"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.01", "segment.ms": "500"})
	loads := []*load{
		startLoadOf(t, f.b, "kept", pace{every: 20 * time.Millisecond, records: 5, away: true}),
		startLoadOf(t, f.b, "retained", pace{every: 40 * time.Millisecond, records: 2, away: true}),
		startLoadOf(t, f.b, "compacted", pace{every: 40 * time.Millisecond, records: 2, keys: 100, away: true}),
	}
	f.b.kill()

	ctx, cancel := context.WithCancel(t.Context())
	var background sync.WaitGroup
	if f.proxy != nil {
		share := *faultShare
		if share == 0 {
			share = 0.01
		}
		f.proxy.disturb(share)
		background.Go(func() { f.proxy.weather(ctx, *faultStorm) })
	}
	f.among = points
	if *faultKills == 0 {
		f.among = quickPoints
	}
	order, next := f.random.Perm(len(f.among)), 0
	for i := range kills {
		if deadline, ok := t.Deadline(); ok && time.Until(deadline) < faultsEnd {
			t.Logf("%d kills of %d, as the time is over", i, kills)
			break // -timeout is a way to say how long
		}
		point := "" // any time
		if i%7 < 6 {
			point = f.among[order[next%len(order)]]
			next++
		}
		t.Run(fmt.Sprintf("%d %s", i+1, point), func(t *testing.T) { f.kill(t, point) })
		if t.Failed() {
			break
		}
	}
	cancel()
	background.Wait()
	if f.proxy != nil {
		f.proxy.disturb(0)
		f.proxy.calm()
	}
	f.b.restart(t)
	serving := time.Now()
	keepAll(t, f.b, "retained")
	for _, l := range loads {
		l.progress(100)
	}
	t.Logf("100 records of each topic after %v of service", time.Since(serving).Round(time.Millisecond))
	acked, found := int64(0), map[history.Kind]int{}
	for _, l := range loads {
		l.finish(t)
	}
	f.b.requireRested(t, resting)
	for _, l := range loads {
		anomalies := l.anomalies
		if l.topic == "compacted" {
			anomalies = l.compactedAnomalies
		}
		for _, a := range anomalies(t) {
			t.Error(a)
			found[a.Kind]++
		}
		acked += l.acks.Load()
	}
	f.report(t, acked, found)
}

// keepAll ends the retention of a topic, so that there is something to compare.
func keepAll(t *testing.T, b *sluice, topic string) {
	t.Helper()
	never := "-1"
	resps, err := kadm.NewClient(connect(t, b)).AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Name: "retention.ms", Value: &never}}, topic)
	if err == nil {
		_, err = resps.On(topic, func(r *kadm.AlterConfigsResponse) error { return r.Err })
	}
	if err != nil {
		t.Fatal(err)
	}
}

// lives bounds the life of a broker whose point does not come.
const lives = 10 * time.Second

// kill starts the broker and waits until it has ended at the point, or ends it itself.
func (f *faults) kill(t *testing.T, point string) {
	var env []string
	life := lives
	if point == "" {
		point, life = "any time", time.Duration(f.random.Int64N(int64(2*time.Second)))
	} else {
		nth := 1
		// There is one take-over of each topic, and the rest is rare.
		if slices.Contains(quickPoints, point) && !strings.Contains(point, "take-over") {
			nth += f.random.IntN(3)
		}
		env = []string{fmt.Sprintf("SLUICE_FAILPOINT=%s:%d", point, nth)}
	}
	f.start(t, env...)
	select {
	case <-f.b.ended:
		if f.refused() {
			f.killed["the start, refused as the store was in trouble"]++
			return
		}
		status, ok := f.b.cmd.ProcessState.Sys().(syscall.WaitStatus)
		if !ok || !status.Signaled() || status.Signal() != syscall.SIGKILL {
			t.Fatalf("it ended by itself: %v", f.b.cmd.ProcessState)
		}
	case <-time.After(life):
		f.b.kill()
		if len(env) > 0 {
			point = "any time, as its point did not come"
		}
	}
	f.killed[point]++
}

// start starts the broker and waits until it serves; false if it ended before that.
func (f *faults) start(t *testing.T, env ...string) bool {
	faults := 0
	if f.proxy != nil {
		faults = f.proxy.met()
	}
	began := time.Now()
	f.b.process = start(t, "sluice", append(env, f.b.store.env...), f.b.command()...)
	if !f.serving(t) {
		return false
	}
	took := time.Since(began)
	f.serves = append(f.serves, took)
	if f.proxy == nil || f.proxy.met() == faults {
		f.healthy = append(f.healthy, took)
	}
	return true
}

// refused reports whether the broker has ended since its store did not answer when it
// started: a supervisor starts it again.
func (f *faults) refused() bool {
	return f.proxy != nil && f.b.cmd.ProcessState.ExitCode() == 1 && !strings.Contains(f.b.out.String(), "/readyz")
}

// serving waits until the broker serves; false if it ended before that.
func (f *faults) serving(t *testing.T) bool {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(5 * time.Millisecond) {
		resp, err := http.Get("http://" + f.b.http + "/readyz")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return true
			}
		}
		select {
		case <-f.b.ended:
			return false
		default:
		}
		if time.Now().After(deadline) {
			t.Fatal("it does not serve")
		}
	}
}

// report tells the figures of a run.
func (f *faults) report(t *testing.T, acked int64, found map[history.Kind]int) {
	total := 0
	for _, point := range slices.Sorted(maps.Keys(f.killed)) {
		total += f.killed[point]
		t.Logf("ended %3d times: %s", f.killed[point], point)
	}
	missed := slices.DeleteFunc(slices.Clone(f.among), func(point string) bool { return f.killed[point] > 0 })
	if len(missed) > 0 {
		t.Logf("not ended at: %s", strings.Join(missed, ", "))
	}
	lost := found[history.LostWrite] + found[history.Unseen]
	doubled, disagreeing := found[history.Duplicate], 0
	for _, n := range found {
		disagreeing += n
	}
	t.Logf("%d kills survived, at %d of %d points; %d records acked: %d lost, %d doubled, %d disagreeing", total, len(f.among)-len(missed), len(f.among),
		acked, lost, doubled, disagreeing-lost-doubled)
	f.reportStarts(t, "", f.serves)
	if f.proxy != nil {
		f.reportStarts(t, ", where the store met no fault", f.healthy)
	}
	t.Logf("memory %s", f.b.resident())
	if f.proxy != nil {
		t.Logf("faults: %s", f.proxy.injected())
	}
}

// reportStarts tells how long brokers took until they served.
func (f *faults) reportStarts(t *testing.T, which string, took []time.Duration) {
	if len(took) == 0 {
		return
	}
	all := latencies(took)
	t.Logf("from the start to serving%s: p50 %v, p99 %v, max %v (%d starts)", which, all.percentile(50).Round(time.Millisecond),
		all.percentile(99).Round(time.Millisecond), all.percentile(100).Round(time.Millisecond), len(all))
}
