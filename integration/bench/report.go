//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// line is what the terminal is told of a run.
func (n run) line() string {
	r := n.Result
	var parts []string
	if r.Produced > 0 {
		parts = append(parts, "produced "+rate(r.Produced))
	}
	if r.Read > 0 {
		parts = append(parts, "read "+rate(r.Read))
	}
	if r.Rate > 0 {
		parts = append(parts, fmt.Sprintf("p50 %s p99 %s", milliseconds(ms(r.EndToEnd.P50)), milliseconds(ms(r.EndToEnd.P99))))
	}
	if r.Usage != nil {
		parts = append(parts, fmt.Sprintf("broker %s s CPU/million, %s", digits(r.Usage.CPUPerMillion), mib(float64(r.Usage.PeakRSS))))
	}
	return strings.Join(append(parts, "cores "+n.Cores.String()), "; ")
}

func (c cores) String() string {
	text := fmt.Sprintf("%.2f broker, %.2f client", c.Broker, c.Client)
	if c.Store > 0 {
		text += fmt.Sprintf(", %.2f MinIO", c.Store)
	}
	return text + fmt.Sprintf(", %.2f other", c.Other)
}

// row is a line of the comparison: a figure of a step. Bed by bed, the first of steps
// that there is counts.
type row struct {
	what  string
	steps []string
	value func(run) float64
	show  func(float64) string
}

func produced(n run) float64 { return n.Result.Produced }
func read(n run) float64     { return n.Result.Read }
func p50(n run) float64      { return ms(n.Result.EndToEnd.P50) }
func p99(n run) float64      { return ms(n.Result.EndToEnd.P99) }
func perMillion(n run) float64 {
	if n.Result.Usage == nil {
		return 0
	}
	return n.Result.Usage.CPUPerMillion
}

// speeds and costs are the rows of the comparison.
var (
	speeds = []row{
		{"produce 100 B", []string{"produce-100"}, produced, rate},
		{"produce 1 KiB", []string{"produce-1024"}, produced, rate},
		{"produce 100 B, a default Java producer's settings", []string{"java-100"}, produced, rate},
		{"tail 100 B, while it is written", []string{"tail-100"}, read, rate},
		{"tail 1 KiB", []string{"tail-1024"}, read, rate},
		{"catch up 100 B, just written", []string{"read-100"}, read, rate},
		{"catch up 1 KiB", []string{"read-1024"}, read, rate},
		{"catch up 100 B, files merged, broker started anew", []string{"read-merged-100", "read-100"}, read, rate},
		{"catch up 1 KiB, files merged", []string{"read-merged-1024", "read-1024"}, read, rate},
	}
	latencies = []row{
		{"end to end at 10,000/s, p50", []string{"open-10000"}, p50, milliseconds},
		{"p99", []string{"open-10000"}, p99, milliseconds},
		{"end to end at 250,000/s, p50", []string{"open-250000"}, p50, milliseconds},
		{"p99", []string{"open-250000"}, p99, milliseconds},
	}
	costs = []row{
		{"produce 100 B", []string{"produce-100"}, perMillion, digits},
		{"produce 1 KiB", []string{"produce-1024"}, perMillion, digits},
		{"produce and tail 100 B", []string{"tail-100"}, perMillion, digits},
		{"catch up 100 B, just written", []string{"read-100"}, perMillion, digits},
		{"catch up 100 B, files merged", []string{"read-merged-100", "read-100"}, perMillion, digits},
		{"10,000/s", []string{"open-10000"}, perMillion, digits},
		{"250,000/s", []string{"open-250000"}, perMillion, digits},
	}
)

// compare makes the table of some rows.
func (r *results) compare(head string, rows []row) table {
	t := table{{head, "Sluice, directory", "Sluice, MinIO", "Kafka, fsync", "Kafka", "directory : fsync", "MinIO : fsync", "directory : Kafka"}}
	for _, row := range rows {
		cells := []string{row.what}
		values := map[string]float64{}
		for _, bed := range []string{"directory", "minio", "fsync", "kafka"} {
			cell := none
			for _, step := range row.steps {
				if n := r.get("versus/" + bed + "/" + step); n != nil {
					values[bed] = row.value(*n)
					cell = row.show(values[bed])
					break
				}
			}
			cells = append(cells, cell)
		}
		t = append(t, append(cells, ratio(values["directory"], values["fsync"]), ratio(values["minio"], values["fsync"]),
			ratio(values["directory"], values["kafka"])))
	}
	return t
}

// memory is the most that each broker held in all of its runs of the comparison.
func (r *results) memory() table {
	peaks := map[string]float64{}
	for _, n := range r.Runs {
		if n.in("versus") && n.Result.Usage != nil {
			peaks[n.Broker] = max(peaks[n.Broker], float64(n.Result.Usage.PeakRSS))
		}
	}
	cells := []string{"peak of resident memory"}
	for _, name := range []string{"Sluice, directory", "Sluice, MinIO", "Kafka, fsync", "Kafka"} {
		if peaks[name] == 0 {
			cells = append(cells, none)
			continue
		}
		cells = append(cells, mib(peaks[name]))
	}
	return table{{"", "Sluice, directory", "Sluice, MinIO", "Kafka, fsync", "Kafka", "directory : Kafka"},
		append(cells, ratio(peaks["Sluice, directory"], peaks["Kafka"]))}
}

// used tells who was on the CPUs.
func (r *results) used() table {
	t := table{{"run", "broker", "client", "MinIO", "other", "broker's memory"}}
	for _, n := range r.Runs {
		if !n.in("versus") {
			continue
		}
		memory := none
		if n.Result.Usage != nil {
			memory = mib(float64(n.Result.Usage.PeakRSS))
		}
		t = append(t, []string{"`" + strings.TrimPrefix(n.Key, "versus/") + "`", digits(n.Cores.Broker), digits(n.Cores.Client),
			digits(n.Cores.Store), digits(n.Cores.Other), memory})
	}
	return t
}

// rates is latency at each rate, in the settings of the group open.
func (r *results) rates() table {
	t := table{{"records/s"}}
	g := groupOf("open")
	for _, b := range g.beds {
		t[0] = append(t[0], strings.TrimPrefix(b.title, "Sluice, "))
	}
	for _, l := range g.loads {
		cells := []string{l.name}
		for _, b := range g.beds {
			cell := none
			if n := r.get(key(g, b, l.steps[0])); n != nil {
				cells[0] = amount(float64(n.Result.Rate))
				cell = fmt.Sprintf("%s / %s", milliseconds(p50(*n)), milliseconds(p99(*n)))
				if n.Result.Produced < 0.97*float64(n.Result.Rate) {
					cell += fmt.Sprintf(" (%s)", rate(n.Result.Produced))
				}
				if u := n.Result.Usage; u != nil && u.Seconds > 0 {
					cell += fmt.Sprintf("; %s cores", digits(u.CPU/u.Seconds))
				}
			}
			cells = append(cells, cell)
		}
		t = append(t, cells)
	}
	return t
}

func groupOf(name string) group {
	for _, g := range plan {
		if g.name == name {
			return g
		}
	}
	return group{}
}

// alone is a table of the other groups, of Sluice alone.
func (r *results) alone() table {
	t := table{{"what", "broker", "end to end p50 / p99", "ack p50", "log entries/s", "puts and lists/s", "a month's requests on S3 Standard", "broker's cores, memory"}}
	for _, n := range r.Runs {
		if n.in("versus") || n.in("open") {
			continue
		}
		cells := []string{"`" + n.Command + "`", n.Broker, fmt.Sprintf("%s / %s", milliseconds(p50(n)), milliseconds(p99(n))), milliseconds(ms(n.Result.Ack.P50))}
		if u := n.Result.Usage; u != nil && u.Seconds > 0 {
			cells = append(cells, digits(u.Versions/u.Seconds), digits(u.Puts/u.Seconds), fmt.Sprintf("$%.0f", u.MonthlyRequests()),
				fmt.Sprintf("%s, %s", digits(u.CPU/u.Seconds), mib(float64(u.PeakRSS))))
		}
		t = append(t, cells)
	}
	return t
}

// floor compares an ack with the two puts that it takes.
func (r *results) floor() string {
	n := r.get("floor/minio/open-10000")
	if n == nil || n.Result.Usage == nil {
		return ""
	}
	data, log, ack := ms(n.Result.Usage.DataPut), ms(n.Result.Usage.LogPut), ms(n.Result.Ack.P50)
	return fmt.Sprintf("At 10,000/s with `sluice.commit.interval.ms=0` and a client without linger or bound of requests in flight a data file's put took %s at the median, a log entry's %s, and an ack %s: %s their sum.\n",
		milliseconds(data), milliseconds(log), milliseconds(ack), ratio(ack, data+log))
}

// report is the page of the results.
func (r *results) report() string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format, args...) }
	p("# Measurements\n\nWritten by `go run ./integration/bench`; [results.json](results.json) has all figures and the command of each.\n\n")
	p("Broker, MinIO and client ran on one machine and shared its cores, one broker at a time. On few cores the client is often the limit: compare the CPU then, and see who was on the cores below.\n" +
		"Kafka is one KRaft node with its defaults and the JVM settings of its start script; *fsync* has `log.flush.interval.messages=1`, so that it acknowledges what is on the disk, as Sluice does. " +
		"All brokers were warmed up with millions of records. Producers: acks=all, idempotent; as fast as possible without compression, at a fixed rate with lz4. End to end includes 5 ms of the client's linger.\n\n")
	p("%s", r.where())
	p("\n## Against Apache Kafka\n\n%s\n%s\n", r.compare("records/s", speeds), r.compare("latency", latencies))
	p("Catching up is out of memory where it fits: Sluice's caches, the kernel's page cache for Kafka; started anew, Sluice has Parquet files in the page cache (or MinIO's), beside which stand Kafka's same figures. Sluice commits whenever the commit before is done on the directory (`sluice.commit.interval.ms=0`), each 50 ms on MinIO (the default).\n\n")
	p("%s\n%s\n", r.compare("broker's CPU seconds per million records", costs), r.memory())
	p("![percentiles](percentiles.svg)\n\n")
	p("Cores used, by run:\n\n%s\n", r.used())
	p("## Sluice alone\n\nEnd to end p50 / p99 on MinIO with 18 B values, and the broker's cores; what was reached in parentheses, where it is less than asked for:\n\n%s\n", r.rates())
	p("![latency against rate](against-rate.svg)\n\n%s\n%s", r.floor(), r.alone())
	return b.String()
}

// where tells of the machines.
func (r *results) where() string {
	var b strings.Builder
	for i, s := range r.Sessions {
		of := 0
		for _, n := range r.Runs {
			if n.Session == i {
				of++
			}
		}
		fmt.Fprintf(&b, "- %s, commit `%s`, `%s` (%d runs): %d cores (%s), %s of memory, %s, %s, %s, Apache Kafka %s, MinIO %s; an fsync of 4 KiB took %s; load average at the start %s\n",
			s.When.Format("2006-01-02 15:04 MST"), s.Commit, strings.TrimSpace(s.Command), of, s.Cores, s.CPU, s.Memory, s.Kernel, s.Go, s.Java, s.Kafka, s.MinIO, s.Fsync.Round(10*time.Microsecond), s.Load)
	}
	return b.String()
}

// The marks in the project's README between which the summary stands.
const (
	summaryBegins = "<!-- bench: written by go run ./integration/bench -->\n"
	summaryEnds   = "<!-- /bench -->\n"
)

// tell replaces the summary in the project's README.
func (r *results) tell(path string) error {
	r.tidy()
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(text), summaryBegins)
	_, after, ended := strings.Cut(rest, summaryEnds)
	if !ok || !ended {
		return fmt.Errorf("%s: the marks of the summary are not there", filepath.Base(path))
	}
	return os.WriteFile(path, []byte(before+summaryBegins+r.summary()+summaryEnds+after), 0o644)
}

// summary is what the project's README says.
func (r *results) summary() string {
	var b strings.Builder
	if len(r.Sessions) > 0 {
		s := r.Sessions[len(r.Sessions)-1]
		fmt.Fprintf(&b, "Measured on %s: broker, MinIO and client together on %d cores (%s), an fsync of 4 KiB took %s. Kafka %s, warm, as it comes and with fsync before the ack, which is what Sluice's ack means.\n\n",
			s.When.Format("2006-01-02"), s.Cores, s.CPU, s.Fsync.Round(10*time.Microsecond), s.Kafka)
	}
	fmt.Fprintf(&b, "%s\n%s\n", r.compare("", append(append([]row{}, speeds...), latencies...)), r.memory())
	fmt.Fprintf(&b, "End to end p50 / p99 on MinIO with 18 B values, and the broker's cores:\n\n%s\n", r.rates())
	b.WriteString("![Latency against rate](integration/bench/results/against-rate.svg)\n\n")
	b.WriteString("Who was on the cores, CPU per million records, 1,000 topics and more: [integration/bench/results](integration/bench/results/README.md).\n")
	return b.String()
}
