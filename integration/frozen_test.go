//go:build integration

package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// A leader stands still for longer than log entries are kept, while another broker takes
// its topic over, writes, and cleans the log up, five times with -faults.kills. When it goes on it acks nothing that the
// log does not have: all that either of them acked is there once.
func TestALeaderThatStoodStillAcksNothingOfItsOwn(t *testing.T) {
	m := startMinIO(t)
	s := m.store("lake/kafka")
	frozen := failing(t, s, "--config", "node.id=1")
	frozen.restart(t)
	createWith(t, frozen, "taken", hasty)
	l := startLoadOf(t, frozen, "taken", pace{every: 10 * time.Millisecond, records: 5})
	l.progress(500)

	rounds := 1
	if *faultKills > 0 {
		rounds = 5
	}
	for round := range rounds {
		other := failing(t, s, "--config", fmt.Sprint("node.id=", 2+round))
		frozen.signal(syscall.SIGSTOP)
		stopped := time.Now()
		then := s.list(t, "taken/_delta_log/0")
		other.restart(t)
		first, n := l.writeThrough(t, other, fmt.Sprint("other", round), 25*time.Second) // beyond the window of 20 s
		// What it would have to put next has been cleaned up.
		if now := s.list(t, "taken/_delta_log/0"); now[0] <= then[len(then)-1] {
			t.Errorf("the log still has %s", now[0])
		}
		frozen.signal(syscall.SIGCONT)
		t.Logf("stood still for %v; the other one acked its first record after %v, %d in all", time.Since(stopped).Round(time.Second), first.Round(time.Millisecond), n)
		began := time.Now()
		l.progress(1)
		again := time.Since(began)
		t.Logf("the one that stood still acks again after %v", again.Round(time.Millisecond))
		if again > recovery {
			t.Errorf("the one that stood still acks again after %v", again)
		}
		l.progress(200)
		other.kill()
	}
	l.progress(200)
	l.finish(t)
	l.check(t)
}

// writeThrough writes to the load's topic through another broker for a while, and
// reports when the first record was acked and how many were.
func (l *load) writeThrough(t *testing.T, b *sluice, producer string, during time.Duration) (first time.Duration, acked int) {
	t.Helper()
	cl := connect(t, b, kgo.DefaultProduceTopic(l.topic), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	began := time.Now()
	for n := 0; time.Since(began) < during; n++ {
		kr := &kgo.Record{Key: fmt.Appendf(nil, "%s-%d", producer, n), Value: []byte("written by another"),
			Timestamp: time.UnixMilli(time.Now().UnixMilli())}
		send := l.history.Sending(producer, identity(fromKgo(kr)), true)
		if err := cl.ProduceSync(ctx, kr).FirstErr(); err != nil {
			t.Fatalf("through the other broker: %v", err)
		}
		send.Acked(l.partition(kr.Partition), kr.Offset)
		if acked++; first == 0 {
			first = time.Since(began)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return first, acked
}

// stillPoints are where a leader stands still while its topic is made anew: before what
// it would then do to the topic of the same name.
var stillPoints = []string{
	"entry.write.before", "data.before", "rewrite.before", "entry.optimize.before", "checkpoint.before",
	"hint.before", "state.before", "cleanup.before", "vacuum.before",
}

// A leader stands still in the middle of a write. Another broker takes its topics over; one
// is deleted and made anew, other records are written to it, and the orphans of the old one are
// deleted, the file among them that the first broker is about to commit. When that goes on, what
// it had pending is in no topic, and both brokers serve the new one alike. Clients of another
// topic, which know both brokers, go on all the while. With -faults.kills at each of
// stillPoints, otherwise at the first.
func TestALeaderThatStoodStillFindsItsTopicMadeAnew(t *testing.T) {
	points := stillPoints[:1]
	if *faultKills > 0 {
		points = stillPoints
	}
	for _, point := range points {
		t.Run(point, func(t *testing.T) {
			eachStore(t, func(t *testing.T, s store) {
				a := &anew{frozen: failing(t, s, "--config", "node.id=1"), other: failing(t, s, "--config", "node.id=2")}
				a.frozen.restart(t)
				createWith(t, a.frozen, "anew", hasty)
				createWith(t, a.frozen, "kept", hasty)
				a.kept = startLoadOf(t, a.frozen, "kept", pace{every: 200 * time.Millisecond, records: 5, away: true, beside: a.other})
				a.standStill(t, point)
				requireEngines(t, s, "anew", a.written)
				a.kept.finish(t)
				a.kept.check(t)
			})
		})
	}
}

// anew is the two brokers of that test, and what it knows of the topic of the name.
type anew struct {
	frozen, other *sluice
	kept          *load         // of the other topic
	written       map[id]record // what "anew" holds
}

// pending is how many producers wait for an answer when the leader stands still, and how
// many send it something while it does.
const pending = 4

// standStill has the leader stand still at a point, and go on when the topic is made anew.
func (a *anew) standStill(t *testing.T, point string) {
	a.frozen.kill()
	trigger := point + ":5:still"
	if point == "data.before" || point == "entry.write.before" {
		trigger = point + ":50:still" // not before the clients are there
	}
	a.frozen.process = start(t, "sluice", append([]string{"SLUICE_FAILPOINT=" + trigger}, a.frozen.store.env...), a.frozen.command()...)
	a.frozen.ready(t, "http://"+a.frozen.http+"/readyz")
	var late []*kgo.Client
	for n := range pending {
		late = append(late, a.once(t))
		if err := late[n].ProduceSync(t.Context(), stamped("warm")).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	var waiting sync.WaitGroup
	defer waiting.Wait()
	for n := range pending {
		waiting.Go(func() { a.writeUntilRefused(t, a.once(t), fmt.Sprint("early", n)) })
	}
	a.frozen.awaitStill(t)
	stopped, old := time.Now(), a.frozen.store.list(t, "anew/data/")

	// What is sent now lies in the socket until the broker goes on.
	var mu sync.Mutex
	var ackedLate []record // guarded by mu
	for n, cl := range late {
		waiting.Go(func() {
			kr := stamped(fmt.Sprint("late", n))
			err := cl.ProduceSync(t.Context(), kr).FirstErr()
			t.Logf("sent while it stood still: %v", err)
			if retriable(err) {
				return
			}
			if err != nil {
				t.Errorf("a record that was sent while it stood still: %v", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			ackedLate = append(ackedLate, fromKgo(kr))
		})
	}
	a.makeAnew(t, old)
	a.frozen.signal(syscall.SIGCONT)
	waiting.Wait()
	t.Logf("%s: stood still for %v", point, time.Since(stopped).Round(time.Millisecond))

	// A record that was sent too late for the old topic may have been taken by the new one.
	a.written = index(t, append(slices.Collect(maps.Values(a.written)), ackedLate...))
	for _, b := range []*sluice{a.frozen, a.other} {
		a.write(t, b, 20)
		requireSame(t, "a consumer of "+b.node(), a.written, whole(t, b, "anew"))
	}
	a.other.kill()
	a.kept.progress(50)
}

// makeAnew starts the other broker and has it make the topic anew, until none of the old
// files is left.
func (a *anew) makeAnew(t *testing.T, old []string) {
	t.Helper()
	if cl, _, _ := a.frozen.store.bucket(); cl == nil {
		// Whoever starts a second broker on a directory takes the lock of the first one away.
		if err := os.Remove(filepath.Join(a.frozen.store.url, "_sluice", "lock")); err != nil {
			t.Fatal(err)
		}
	}
	a.other.restart(t)
	began := time.Now()
	a.kept.progress(100)
	t.Logf("clients that know both go on after %v", time.Since(began).Round(time.Millisecond))
	admin := kadm.NewClient(connect(t, a.other))
	deleted, err := admin.DeleteTopic(t.Context(), "anew")
	if err == nil {
		err = deleted.Err
	}
	if err != nil {
		t.Fatal(err)
	}
	createWith(t, a.other, "anew", hasty)
	a.written = map[id]record{}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(500 * time.Millisecond) {
		a.write(t, a.other, 20)
		left := slices.DeleteFunc(a.frozen.store.list(t, "anew/data/"), func(key string) bool { return !slices.Contains(old, key) })
		if len(left) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("files of the deleted topic are left: %q", left)
		}
		vacuum := start(t, "sluice table vacuum", a.other.store.env, a.other.binary, "table", "vacuum", "anew", "--brokers", a.other.address)
		if code := vacuum.wait(engineTimeout); code != 0 {
			t.Fatalf("sluice table vacuum: exit code %d", code)
		}
	}
	t.Logf("none of %d old files is left after %v", len(old), time.Since(began).Round(time.Millisecond))
}

// write writes n records to the new topic through a broker.
func (a *anew) write(t *testing.T, b *sluice, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cl := connect(t, b, kgo.DefaultProduceTopic("anew"))
	for want := len(a.written) + n; len(a.written) < want; {
		kr := stamped(fmt.Sprintf("new%d by %s at %d", len(a.written), b.node(), time.Now().UnixNano()))
		err := cl.ProduceSync(ctx, kr).FirstErr()
		switch {
		case errors.Is(err, kerr.UnknownTopicID):
			// Until it has taken the catalogue back the broker tells of the topic by its old id, and this
			// client drops what it has for a topic whose id changes.
			cl.Close()
			cl = connect(t, b, kgo.DefaultProduceTopic("anew"))
		case err != nil:
			t.Fatalf("through %s: %v", b.node(), err)
		default:
			a.written[fromKgo(kr).id()] = fromKgo(kr)
		}
	}
	cl.Close()
}

// once is a client of the frozen broker that sends each record once and waits for minutes.
func (a *anew) once(t *testing.T) *kgo.Client {
	t.Helper()
	return connect(t, a.frozen, kgo.DefaultProduceTopic("anew"), kgo.DisableIdempotentWrite(), kgo.RecordRetries(0),
		kgo.ProduceRequestTimeout(2*time.Minute), kgo.RequestTimeoutOverhead(time.Minute))
}

// writeUntilRefused writes record by record until the broker refuses one.
func (a *anew) writeUntilRefused(t *testing.T, cl *kgo.Client, who string) {
	for n := 0; ; n++ {
		err := cl.ProduceSync(t.Context(), stamped(fmt.Sprint(who, "-", n))).FirstErr()
		if err == nil {
			continue
		}
		t.Logf("the record after %d of %s: %v", n, who, err)
		if !retriable(err) {
			t.Errorf("a record that was under way: %v", err)
		}
		return
	}
}

// stamped is a record with a time of whole milliseconds, as it is read.
func stamped(value string) *kgo.Record {
	return &kgo.Record{Value: []byte(value), Timestamp: time.UnixMilli(time.Now().UnixMilli())}
}

// retriable reports whether a client may try again what has met this error.
func retriable(err error) bool { return kerr.IsRetriable(err) || errors.Is(err, kgo.ErrRecordRetries) }

// awaitStill waits until the process stands still.
func (b *sluice) awaitStill(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", b.cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		// proc(5): the state stands behind the name, which is in parentheses.
		if _, state, _ := bytes.Cut(stat, []byte(") ")); bytes.HasPrefix(state, []byte("T")) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("it does not stand still")
		}
	}
}

// node is the broker's id, as these tests give it.
func (b *sluice) node() string { return b.args[1] }
