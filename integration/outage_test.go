//go:build integration

package integration

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	// absorbed is an outage that clients meet as latency only.
	absorbed = 10 * time.Second
	// recovery is how soon after an outage records are acked again, on a busy machine.
	recovery = 5 * time.Second
	// outageMemory bounds what the broker may have needed during an outage, in bytes.
	outageMemory = 512 << 20
)

// A store that answers nothing for ten seconds is latency, for a producer too that
// tries each record once. Beyond that such a producer gets an error that says "try
// again", within its own time. When the store is back so is the broker, by itself. With
// -faults.kills the second outage takes a minute.
func TestAStoreThatAnswersNothingIsLatencyAndThenRetriableErrors(t *testing.T) {
	longer := 12 * time.Second
	if *faultKills > 0 {
		longer = time.Minute
	}
	m := startMinIO(t)
	p := startProxy(t, m.address, *faultSeed)
	b := startSluice(t, p.before(m.store("lake/kafka")))
	resting := b.goroutines(t)
	l := startLoad(t, b, "outage")
	l.progress(1500)
	createTopic(t, connect(t, b), "tried-once")
	once := func(timeout time.Duration) (time.Duration, error) {
		t.Helper()
		cl := connect(t, b, kgo.DefaultProduceTopic("tried-once"), kgo.DisableIdempotentWrite(), kgo.RecordRetries(0),
			kgo.ProduceRequestTimeout(timeout), kgo.RequestRetries(0), kgo.RetryTimeout(time.Second))
		defer cl.Close()
		began := time.Now()
		err := cl.ProduceSync(t.Context(), kgo.StringRecord("tried once")).FirstErr()
		return time.Since(began), err
	}
	if _, err := once(time.Minute); err != nil {
		t.Fatal(err)
	}

	for _, outage := range []time.Duration{absorbed, longer} {
		p.begin(faultBlackHole)
		began := time.Now()
		over := time.AfterFunc(outage, p.calm)
		defer over.Stop()
		timeout := 5 * time.Second // of a producer that is in a hurry
		if outage == absorbed {
			timeout = 30 * time.Second // Kafka's default
		}
		took, err := once(timeout)
		t.Logf("an outage of %v: a record tried once took %v: %v", outage, took.Round(time.Millisecond), err)
		switch {
		case outage == absorbed && err != nil:
			t.Errorf("an outage of %v was no latency: %v", outage, err)
		case outage == absorbed:
		case err == nil:
			t.Errorf("acked while the store answered nothing")
		case !kerr.IsRetriable(err) && !errors.Is(err, kgo.ErrRecordRetries):
			t.Errorf("an error that is not retriable: %v", err)
		case took > timeout+5*time.Second:
			t.Errorf("no answer within %v", timeout)
		}
		time.Sleep(time.Until(began.Add(outage)))
		back := time.Now()
		l.progress(1) // the first may have waited all the while
		first := time.Since(back)
		l.progress(1500)
		t.Logf("after it: first ack in %v, 1500 in %v", first.Round(time.Millisecond), time.Since(back).Round(time.Millisecond))
		if first > recovery {
			t.Errorf("the first ack came %v after the outage of %v", first, outage)
		}
	}
	if peak := b.memory(t, "VmHWM"); peak > outageMemory {
		t.Errorf("the broker took %d MiB of memory", peak>>20)
	} else {
		t.Logf("the broker took %d MiB of memory at most", peak>>20)
	}
	t.Logf("faults: %s", p.injected())
	l.finish(t)
	l.requireUnmoved(t)
	b.requireRested(t, resting)
	l.check(t)
}

// memory is a field of the process's status (proc(5)), in bytes: VmHWM is the most
// that was resident.
func (p *process) memory(t *testing.T, field string) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			kiB, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kiB << 10
		}
	}
	t.Fatalf("no %s in its status", field)
	return 0
}

// A disk that is full stops writers, not readers. With space again it all goes on by
// itself, and nothing that was acked is missing.
func TestAFullDiskIsLatencyAndNotLoss(t *testing.T) {
	s := tmpfs(t, "6m")
	b := startSluice(t, s)
	resting := b.goroutines(t)
	l := startLoad(t, b, "full")
	l.progress(1500)
	filler := filepath.Join(s.url, "..", "filler")
	rounds := 1
	if *faultKills > 0 {
		rounds = 5
	}
	for round := range rounds {
		fill(t, filler)
		before := l.acks.Load()
		full := l.stands(t, "on a full disk")
		whole(t, b, l.topic) // readers go on
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		l.progress(1)
		first := time.Since(began)
		t.Logf("round %d: %d acks before it was full; first ack %v after there was space", round, full-before, first.Round(time.Millisecond))
		if first > recovery {
			t.Errorf("the first ack came %v after there was space", first)
		}
		l.progress(500)
	}
	l.finish(t)
	b.requireRested(t, resting)
	l.check(t)
}

// A kernel that meets an error of the disk leaves the file system readable.
func TestAReadOnlyFileSystemIsLatencyAndNotLoss(t *testing.T) {
	s := tmpfs(t, "64m")
	elsewhere(t, filepath.Join(s.url, "_sluice", "lock"))
	b := startSluice(t, s)
	l := startLoad(t, b, "readonly")
	l.progress(1500)
	disk := filepath.Dir(s.url)
	remount := func(flags uintptr) {
		t.Helper()
		eventually(t, func() (string, bool) { // it is busy while a file is written
			err := syscall.Mount("tmpfs", disk, "tmpfs", syscall.MS_REMOUNT|flags, "")
			return fmt.Sprintf("the file system is not remounted: %v", err), err == nil
		})
	}
	remount(syscall.MS_RDONLY)
	l.stands(t, "on a read-only file system")
	whole(t, b, l.topic) // readers go on
	remount(0)
	began := time.Now()
	l.progress(1)
	if first := time.Since(began); first > recovery {
		t.Errorf("the first ack came %v after it could be written again", first)
	} else {
		t.Logf("first ack %v after it could be written again", first.Round(time.Millisecond))
	}
	l.progress(500)
	l.finish(t)
	l.check(t)
}

// stands makes sure that nothing is acked any more, once what was under way has had its time. It
// answers how many records were.
func (l *load) stands(t *testing.T, where string) int64 {
	t.Helper()
	time.Sleep(3 * time.Second)
	acked := l.acks.Load()
	time.Sleep(time.Second)
	if now := l.acks.Load(); now != acked {
		t.Errorf("%d records were acked %s", now-acked, where)
	}
	return acked
}

// tmpfs is a directory on a file system of its own of a size. Mounting one takes root.
func tmpfs(t *testing.T, size string) store {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting a small file system takes root")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("no small file system can be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return store{name: "small directory", url: filepath.Join(dir, "store")}
}

// elsewhere puts a file onto another file system: a broker has its lock open for as long as it
// lives, and a file system of which a file is open for writing can not be made
// read-only by a user.
func elsewhere(t *testing.T, path string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), filepath.Base(path))
	for _, f := range []string{file, path} {
		if err := os.MkdirAll(filepath.Dir(f), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(f, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mount(file, path, "", syscall.MS_BIND, ""); err != nil {
		t.Skipf("no file can be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(path, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

// fill takes all space that is left with a file.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 64 << 10; size > 0; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			if !errors.Is(err, syscall.ENOSPC) {
				t.Fatal(err)
			}
			size /= 2
		}
	}
}
