package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"sluice/cmd/sluice/bench"
)

// benchFlags are the flags of bench; those that are lists make one run for each
// combination.
type benchFlags struct {
	load          bench.Load
	rates, sizes  []int
	partitions    []int32
	client, codec string
	linger        time.Duration
	inFlight      int
	interval      int
	pid           int
	metrics, out  string
	asJSON        bool
	name          string
}

// benchPresets are the shapes that have a name of their own: flags by their values,
// which flags that are given override.
var benchPresets = map[string]map[string]string{
	"open":    {},
	"article": {"workload": "article", "size": "18", "duration": "270s", "warm-up": "30s"},
	"max":     {"workload": "max", "size": "100", "rate": "0"},
	"fanout":  {"consumers": "8"},
	"backlog": {"workload": "backlog", "size": "100", "rate": "0", "warm-up": "0s"},
	"read":    {"workload": "read", "rate": "0", "warm-up": "0s"},
	"sync":    {"workload": "sync", "rate": "0", "linger": "0s"},
	"omb":     {"size": "100,1024", "partitions": "1,16,100", "rate": "20000", "linger": "1ms"},
}

func newBench() *cobra.Command {
	var f benchFlags
	cmd := &cobra.Command{
		Use:   "bench [open|article|max|fanout|backlog|read|sync|omb]",
		Short: "Measure latency, throughput and cost of a broker",
		Long: `Puts a load on a broker, any that speaks Kafka, in topics that it makes and leaves
behind, and measures from the time at which each record was meant to be sent to its
ack and to its arrival at the consumer.

  open      a fixed rate, whether or not the broker keeps up (the default)
  article   the load of Pathway's benchmark: bursts of 10,000, timed anew every 100
  max       as fast as possible
  fanout    open, with eight consumers that each read everything
  backlog   write as fast as possible, then measure reading it all
  read      measure reading a topic that is there (--topic), from its start to its end
  sync      one record at a time
  omb       shapes of the OpenMessaging benchmark: 100 B and 1 KiB; 1, 16, 100 partitions

Rates, sizes and partitions may be lists: one run for each combination. What the
broker used is read from its metrics (Sluice) or, given its process id, from /proc.`,
		Example: `  sluice bench --rate 10000,100000,250000
  sluice bench article --rate 10000
  sluice bench max --size 1024 --client java --pid $(pgrep -f kafka.Kafka) --name "Apache Kafka"
  sluice bench --rate 10000 --commit-interval 10 --out results
  sluice bench --rate 250000 --client open --metrics http://localhost:8080/metrics
  sluice bench --topics 1000 --rate 10000 --client open`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			preset := "open"
			if len(args) > 0 {
				preset = args[0]
			}
			return f.run(cmd, preset)
		},
	}
	flags := cmd.Flags()
	flags.IntSliceVar(&f.rates, "rate", []int{10_000}, "records per second")
	flags.IntSliceVar(&f.sizes, "size", []int{18}, "bytes of a value")
	flags.Int32SliceVar(&f.partitions, "partitions", []int32{1}, "partitions of a topic")
	flags.StringVar((*string)(&f.load.Workload), "workload", string(bench.Open), "")
	flags.IntVar(&f.load.Topics, "topics", 1, "topics")
	flags.DurationVar(&f.load.Duration, "duration", 30*time.Second, "how long to measure")
	flags.DurationVar(&f.load.WarmUp, "warm-up", 5*time.Second, "how long to run before measuring")
	flags.IntVar(&f.load.Producers, "producers", 1, "producing clients")
	flags.IntVar(&f.load.Consumers, "consumers", 1, "consuming clients, each of which reads everything")
	flags.StringVar(&f.client, "client", "bench", fmt.Sprintf("whose default settings the producers have: %v", bench.ClientNames()))
	flags.DurationVar(&f.linger, "linger", -1, "the producers' linger (default: the client's)")
	flags.IntVar(&f.inFlight, "in-flight", 0, "requests of a producer that are unanswered at a time (default: the client's); other than 5 it is not idempotent")
	flags.StringVar(&f.codec, "compression", "lz4", fmt.Sprint(bench.Codecs))
	flags.IntVar(&f.load.Acks, "acks", -1, "-1 (all), 1 or 0")
	flags.IntVar(&f.interval, "commit-interval", -1, "sluice.commit.interval.ms of the topics; -1: the broker's default (and any other broker)")
	flags.IntVar(&f.pid, "pid", 0, "the broker's process id, if it runs on this machine")
	flags.StringVar(&f.metrics, "metrics", "", "URL of Sluice's metrics")
	flags.StringVar(&f.load.Topic, "topic", "", "name of the topic to make, or to read (default: one with the time in it)")
	flags.StringVar(&f.name, "name", "Sluice", "what to call the broker in results and plots")
	flags.BoolVar(&f.asJSON, "json", false, "print one JSON document, an array of runs")
	flags.StringVar(&f.out, "out", "", "folder for results.json and plots (SVG)")
	_ = flags.MarkHidden("workload") // what presets set; the argument names it
	cmd.AddCommand(newBenchPlot())
	return brokersFlag(cmd)
}

func (f *benchFlags) run(cmd *cobra.Command, preset string) error {
	values, ok := benchPresets[preset]
	if !ok {
		return usagef("no workload %q; see 'sluice bench --help'", preset)
	}
	for flag, value := range values {
		if !cmd.Flags().Changed(flag) {
			if err := cmd.Flags().Set(flag, value); err != nil {
				return err
			}
		}
	}
	var err error
	l := f.load
	if l.Brokers, err = seeds(cmd); err != nil {
		return err
	}
	if l.Client, err = bench.LookupClient(f.client); err != nil {
		return usageError{err}
	}
	if f.linger >= 0 {
		l.Client.Linger = f.linger
	}
	if f.inFlight > 0 {
		l.Client.InFlight = f.inFlight
	}
	l.Name, l.Codec = f.name, bench.Codec(f.codec)
	if f.interval >= 0 {
		text := fmt.Sprint(f.interval)
		l.Configs = map[string]*string{"sluice.commit.interval.ms": &text}
	}
	out := cmd.OutOrStdout()
	if !f.asJSON {
		l.Progress = func(r bench.Result) { benchProgress(cmd.ErrOrStderr(), r) }
	}
	var results []bench.Result
	for _, size := range f.sizes {
		for _, partitions := range f.partitions {
			for _, rate := range f.rates {
				l.Size, l.Partitions, l.Rate = size, partitions, rate
				if l.Topic = f.load.Topic; l.Topic == "" && l.Workload != bench.Read {
					l.Topic = fmt.Sprintf("sluice-bench-%d", time.Now().UnixMilli())
				} else if len(f.sizes)*len(f.partitions)*len(f.rates) > 1 {
					l.Topic = fmt.Sprintf("%s-%d-%d-%d", l.Topic, size, partitions, rate)
				}
				if f.pid != 0 || f.metrics != "" {
					l.Watch = &bench.Watch{PID: f.pid, Metrics: f.metrics}
				}
				result, err := l.Run(cmd.Context())
				if err != nil {
					return err
				}
				results = append(results, result)
				if !f.asJSON {
					benchResult(out, result)
				}
			}
		}
	}
	if f.asJSON {
		if err := json.NewEncoder(out).Encode(results); err != nil {
			return err
		}
	}
	if f.out != "" {
		return writeResults(f.out, results)
	}
	return nil
}

func benchProgress(w io.Writer, r bench.Result) {
	fmt.Fprintf(w, "%4.0f s  %d sent  %d acked  %d consumed  end to end p50 %v p99 %v\n",
		r.Elapsed.Seconds(), r.Sent, r.Acked, r.Consumed, r.EndToEnd.P50, r.EndToEnd.P99)
}

func benchResult(w io.Writer, r bench.Result) {
	fmt.Fprintf(w, "%s: %s, %d B, %d topics of %d partitions, client %s (linger %v, %d in flight, %s, acks %d)\n",
		r.Name, r.Workload, r.Size, r.Topics, r.Partition, r.Client, r.Linger, r.InFlight, r.Codec, r.Acks)
	fmt.Fprintf(w, "  %d records sent, %d acked, %d consumed, %d failed in %.1f s; produced %.0f/s", r.Sent, r.Acked, r.Consumed, r.Failed, r.Elapsed.Seconds(), r.Produced)
	if r.Consumers > 0 {
		fmt.Fprintf(w, ", read %.0f/s by each of %d", r.Read, r.Consumers)
	}
	fmt.Fprintln(w)
	for _, row := range []struct {
		name string
		bench.Latency
	}{{"ack", r.Ack}, {"end to end", r.EndToEnd}} {
		if row.Count > 0 {
			fmt.Fprintf(w, "  %-10s  p50 %-10v p90 %-10v p99 %-10v p99.9 %-10v max %v\n", row.name, row.P50, row.P90, row.P99, row.P999, row.Most)
		}
	}
	fmt.Fprintf(w, "  client      %.1f s of CPU\n", r.ClientCPU)
	if u := r.Usage; u != nil {
		fmt.Fprintf(w, "  broker      %.1f s of CPU, %.2f s per million records; at most %d MiB of memory\n", u.CPU, u.CPUPerMillion, u.PeakRSS>>20)
		if u.Requests > 0 {
			fmt.Fprintf(w, "  store       %.0f requests and %.1f MB per million records; %.1f puts/s, %.1f log entries/s; $%.0f a month on S3 Standard at this pace\n",
				u.RequestsPerMillion, u.BytesPerMillion/1e6, u.Puts/u.Seconds, u.Versions/u.Seconds, u.MonthlyRequests())
		}
		if both := u.DataPut + u.LogPut; both > 0 {
			fmt.Fprintf(w, "  commits     p50 of a data put %v, of a log put %v; the ack's is %.2f times their sum\n", u.DataPut, u.LogPut, float64(r.Ack.P50)/float64(both))
		}
	}
}

// writeResults writes results.json and the plots into a folder.
func writeResults(folder string, results []bench.Result) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	body, err := json.MarshalIndent(results, "", " ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, "results.json"), append(body, '\n'), 0o644); err != nil {
		return err
	}
	return writePlots(folder, results)
}

func writePlots(folder string, results []bench.Result) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for _, p := range bench.Plots(results) {
		file, err := os.Create(filepath.Join(folder, p.Name))
		if err != nil {
			return err
		}
		if err := p.Write(file); err != nil {
			file.Close()
			return err
		}
		if err := file.Close(); err != nil {
			return err
		}
	}
	return nil
}

func newBenchPlot() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "plot RESULTS.json...",
		Short: "Draw results of several runs into one set of plots",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			var results []bench.Result
			for _, name := range args {
				body, err := os.ReadFile(name)
				if err != nil {
					return err
				}
				var some []bench.Result
				if err := json.Unmarshal(body, &some); err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				results = append(results, some...)
			}
			return writePlots(out, results)
		},
	}
	cmd.Flags().StringVar(&out, "out", ".", "folder for the plots (SVG)")
	return cmd
}
