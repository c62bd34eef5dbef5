package bench

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Watch observes the broker's process: by its metrics if it is Sluice, by /proc if
// it runs on this machine. A nil Watch observes nothing but this process.
type Watch struct {
	// PID is the broker's process on this machine; 0 if unknown.
	PID int
	// Metrics is the URL of Sluice's metrics; "" if there are none.
	Metrics string

	peak atomic.Int64 // bytes
}

// Usage is what a run cost the broker in the measured time.
type Usage struct {
	CPU      float64 `json:"cpu_seconds"`
	PeakRSS  int64   `json:"peak_rss_bytes"` // of all the run
	Requests float64 `json:"store_requests"`
	Puts     float64 `json:"store_puts"` // puts and lists
	Written  float64 `json:"store_written_bytes"`
	ReadBack float64 `json:"store_read_bytes"`
	// Per million records that were acked, or read in workloads that measure reading.
	CPUPerMillion      float64 `json:"cpu_seconds_per_million"`
	RequestsPerMillion float64 `json:"store_requests_per_million"`
	BytesPerMillion    float64 `json:"store_bytes_per_million"`
	Versions           float64 `json:"log_entries"` // created objects: entries of logs
	Seconds            float64 `json:"seconds"`
	// Medians of what a commit's two puts took.
	DataPut time.Duration `json:"data_put_p50_ns,omitempty"`
	LogPut  time.Duration `json:"log_put_p50_ns,omitempty"`
}

// cost is a reading of the counters.
type cost struct {
	at                      time.Time
	own                     float64 // seconds of CPU of this process
	cpu                     float64
	requests, puts, creates float64
	written, read           float64
	dataPuts, logPuts       buckets
}

// buckets are those of a Prometheus histogram: how many observations were at most so
// many seconds.
type buckets map[float64]float64

// median is that of the observations since before, in seconds, taken to be spread
// evenly within a bucket; 0 if there are none.
func (b buckets) median(before buckets) float64 {
	var low, below float64
	half := (b[math.Inf(1)] - before[math.Inf(1)]) / 2
	for _, high := range slices.Sorted(maps.Keys(b)) {
		n := b[high] - before[high]
		if n >= half && n > below {
			if math.IsInf(high, 1) {
				return low
			}
			return low + (high-low)*(half-below)/(n-below)
		}
		low, below = high, n
	}
	return 0
}

// observe takes up a bucket of the histogram of a commit's phases.
func (c *cost) observe(labels string, value float64) {
	_, bound, _ := strings.Cut(labels, `le="`)
	bound, _, _ = strings.Cut(bound, `"`)
	seconds, err := strconv.ParseFloat(bound, 64)
	switch {
	case err != nil:
	case strings.Contains(labels, `phase="upload"`):
		c.dataPuts[seconds] = value
	case strings.Contains(labels, `phase="log"`):
		c.logPuts[seconds] = value
	}
}

// cost reads the counters; what cannot be read is 0.
func (w *Watch) cost(ctx context.Context) cost {
	c := cost{at: time.Now(), own: ownCPU(), dataPuts: buckets{}, logPuts: buckets{}}
	if w == nil {
		return c
	}
	if w.PID != 0 {
		c.cpu = ProcessCPU(w.PID)
		w.sample()
	}
	if w.Metrics == "" {
		return c
	}
	_ = scrape(ctx, w.Metrics, func(name, labels string, value float64) {
		switch name {
		case "process_cpu_seconds_total":
			if w.PID == 0 {
				c.cpu = value
			}
		case "process_resident_memory_bytes":
			w.saw(int64(value))
		case "sluice_store_requests_total":
			c.requests += value
			switch {
			case strings.Contains(labels, `"create"`):
				c.creates += value
				c.puts += value
			case strings.Contains(labels, `"put"`), strings.Contains(labels, `"list"`):
				c.puts += value
			}
		case "sluice_store_written_bytes_total":
			c.written += value
		case "sluice_store_read_bytes_total":
			c.read += value
		case "sluice_commit_phase_seconds_bucket":
			c.observe(labels, value)
		}
	})
	return c
}

func (w *Watch) saw(rss int64) {
	for old := w.peak.Load(); rss > old && !w.peak.CompareAndSwap(old, rss); old = w.peak.Load() {
	}
}

// sample looks at the memory.
func (w *Watch) sample() {
	if w == nil || w.PID == 0 {
		return
	}
	w.saw(processRSS(w.PID))
}

func (w *Watch) usage(before, after cost, records int64) *Usage {
	if w == nil {
		return nil
	}
	u := &Usage{
		CPU: after.cpu - before.cpu, PeakRSS: w.peak.Load(), Seconds: after.at.Sub(before.at).Seconds(),
		Requests: after.requests - before.requests, Puts: after.puts - before.puts, Versions: after.creates - before.creates,
		Written: after.written - before.written, ReadBack: after.read - before.read,
		DataPut: roundSeconds(after.dataPuts.median(before.dataPuts)), LogPut: roundSeconds(after.logPuts.median(before.logPuts)),
	}
	if millions := float64(records) / 1e6; millions > 0 {
		u.CPUPerMillion = u.CPU / millions
		u.RequestsPerMillion = u.Requests / millions
		u.BytesPerMillion = (u.Written + u.ReadBack) / millions
	}
	return u
}

func roundSeconds(s float64) time.Duration {
	return time.Duration(s * float64(time.Second)).Round(10 * time.Microsecond)
}

// clockTicks is USER_HZ, which is 100 wherever Linux runs Go.
const clockTicks = 100

// ProcessCPU is the time on CPUs of a process of this machine, in seconds: utime and
// stime of /proc/PID/stat (proc(5)).
func ProcessCPU(pid int) float64 {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// The name in parentheses may hold anything; fields count from behind it.
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseFloat(fields[11], 64)
	system, _ := strconv.ParseFloat(fields[12], 64)
	return (user + system) / clockTicks
}

// MachineCPU is the time that all CPUs of this machine were busy since it started, in
// seconds: the first line of /proc/stat without idle, iowait and what guests used (which
// is in user already).
func MachineCPU() float64 {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(stat), "\n")
	total := 0.0
	for i, field := range strings.Fields(first) {
		// cpu user nice system idle iowait irq softirq steal guest guest_nice
		if i == 0 || i == 4 || i == 5 || i > 8 {
			continue
		}
		ticks, _ := strconv.ParseFloat(field, 64)
		total += ticks
	}
	return total / clockTicks
}

// processRSS is the memory that a process of this machine holds, in bytes.
func processRSS(pid int) int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kib << 10
		}
	}
	return 0
}

// scrape reads metrics in Prometheus' text format.
func scrape(ctx context.Context, url string, each func(name, labels string, value float64)) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, response.Status)
	}
	lines := bufio.NewScanner(io.LimitReader(response.Body, 64<<20))
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "#") {
			continue
		}
		at := strings.LastIndexByte(line, ' ')
		if at < 0 {
			continue
		}
		value, err := strconv.ParseFloat(line[at+1:], 64)
		if err != nil {
			continue
		}
		name, labels, _ := strings.Cut(line[:at], "{")
		each(name, labels, value)
	}
	return lines.Err()
}
