//go:build linux

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"sluice/integration/setup"
)

// session is what a run of this program shares: where and of what it measured.
type session struct {
	When    time.Time `json:"when"`
	Command string    `json:"command"`
	Commit  string    `json:"commit"` // with "+" if the tree differs from it
	Cores   int       `json:"cores"`
	CPU     string    `json:"cpu"`
	Memory  string    `json:"memory"`
	Kernel  string    `json:"kernel"`
	Go      string    `json:"go"`
	Java    string    `json:"java"`
	Kafka   string    `json:"kafka"`
	MinIO   string    `json:"minio"`
	// Fsync is the median time to append 4 KiB to a file and have it on the disk.
	Fsync time.Duration `json:"fsync_ns"`
	// Load is the load average of a minute when it began: what else ran.
	Load string `json:"load"`
}

// look tells where we are. What can't be found out is left empty.
func look(root string, w *workshop, scratch string) session {
	s := session{
		When: time.Now().UTC().Truncate(time.Second), Command: "go run ./integration/bench " + strings.Join(os.Args[1:], " "),
		Cores: runtime.NumCPU(), CPU: field("/proc/cpuinfo", "model name"), Memory: field("/proc/meminfo", "MemTotal"),
		Kernel: said("", "uname", "-sr"), Go: runtime.Version(), MinIO: setup.MinIOVersion, Fsync: fsync(scratch),
		Commit: said(root, "git", "rev-parse", "--short", "HEAD"),
	}
	// Results of an earlier run are no difference.
	if said(root, "git", "status", "--porcelain", "--untracked-files=no", "--", ".", ":!integration/bench/results", ":!README.md") != "" {
		s.Commit += "+"
	}
	if out, err := exec.Command("java", "-version").CombinedOutput(); err == nil {
		s.Java, _, _ = strings.Cut(string(out), "\n")
	}
	if jars, _ := filepath.Glob(filepath.Join(w.jars, "kafka_2.13-*.jar")); len(jars) == 1 {
		s.Kafka = strings.TrimSuffix(strings.TrimPrefix(filepath.Base(jars[0]), "kafka_2.13-"), ".jar")
	}
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		s.Load, _, _ = strings.Cut(string(text), " ")
	}
	return s
}

// said is what a command printed; "" if it could not be run.
func said(dir string, command ...string) string {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// field is the value of a line NAME: VALUE of a file of /proc.
func field(path, name string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// fsync is the median of some appends to a file with fsync.
func fsync(dir string) time.Duration {
	took := fsyncs(dir)
	if len(took) == 0 {
		return 0
	}
	return took[len(took)/2]
}

// settle waits until what was written and deleted is on the disk, and for some seconds at
// most until a hundred syncs in a row find it quick again: the next load's p99 would be
// those of the load before.
func settle(dir string) {
	syscall.Sync()
	for range 10 {
		time.Sleep(time.Second)
		if took := fsyncs(dir); len(took) == 0 || took[len(took)-1] < 10*time.Millisecond {
			return
		}
	}
}

// fsyncs are the times that some appends to a file with fsync took, sorted; none if one failed.
func fsyncs(dir string) []time.Duration {
	f, err := os.CreateTemp(dir, "fsync-")
	if err != nil {
		return nil
	}
	defer os.Remove(f.Name())
	defer f.Close()
	var took []time.Duration
	for block := make([]byte, 4096); len(took) < 101; {
		began := time.Now()
		if _, err := f.Write(block); err != nil {
			return nil
		}
		if err := f.Sync(); err != nil {
			return nil
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return took
}
