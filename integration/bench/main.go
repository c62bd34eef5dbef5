//go:build linux

// Command bench measures Sluice beside Apache Kafka, and Sluice alone as its stores
// differ, on this machine:
//
//	go run ./integration/bench                          # all of it: about 20 minutes
//	go run ./integration/bench -run versus              # groups, beds or loads by name: GROUP/BED/LOAD
//	go run ./integration/bench -run 'versus/(fsync|directory)/java'
//	go run ./integration/bench -short -out /tmp/bench   # a second each: whether it works
//	go run ./integration/bench -run article -article 270s
//	go run ./integration/bench -report                  # tables and plots anew, nothing measured
//
// Each load is a run of `sluice bench` against a broker that has the machine to
// itself: one broker at a time, same client, same settings. The results are saved
// after each run; those that are not measured anew stay as they were.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"sluice/integration/setup"
)

func main() {
	var o options
	pattern := flag.String("run", "", "what to measure: a pattern of GROUP/BED/LOAD; all without")
	flag.StringVar(&o.out, "out", "", "folder of the results (default: integration/bench/results)")
	flag.DurationVar(&o.measured, "duration", 8*time.Second, "how long each load is measured")
	flag.DurationVar(&o.warm, "warm-up", 3*time.Second, "how long each load runs before")
	flag.DurationVar(&o.article, "article", 60*time.Second, "how long the article's load is measured (270s in the article)")
	flag.DurationVar(&o.sustained, "sustained", 5*time.Minute, "how long 1,000,000 records/s are kept up")
	short := flag.Bool("short", false, "a second each, to see whether it works")
	flag.BoolVar(&o.report, "report", false, "measure nothing, write tables and plots from the results")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *short {
		o.times = times{time.Second, time.Second, time.Second, time.Second}
	}
	var err error
	if o.run, err = regexp.Compile(*pattern); err == nil {
		err = o.all(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options are what the flags say.
type options struct {
	run    *regexp.Regexp
	out    string
	report bool
	times
}

// all measures what is asked for. A load that fails costs the others nothing.
func (o *options) all(ctx context.Context) error {
	root := said("", "go", "list", "-m", "-f", "{{.Dir}}", "sluice")
	if root == "" {
		return errors.New("not in the module of sluice")
	}
	folder := o.out
	if folder == "" {
		folder = filepath.Join(root, "integration", "bench", "results")
	}
	r, err := loadResults(folder)
	if err != nil {
		return err
	}
	if !o.report {
		scratch, err := os.MkdirTemp("", "sluice-bench-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(scratch)
		w, err := prepare(root, scratch)
		if err != nil {
			return err
		}
		r.begin(look(root, w, scratch))
		err = o.groups(ctx, w, r, folder, scratch)
		if err != nil {
			return err
		}
	}
	if err := r.save(folder); err != nil {
		return err
	}
	if o.out != "" {
		return nil
	}
	return r.tell(filepath.Join(root, "README.md"))
}

// prepare builds and installs what is measured.
func prepare(root, scratch string) (*workshop, error) {
	w := &workshop{sluice: filepath.Join(scratch, "sluice"), held: inodes(filepath.Join(scratch, "held"))}
	if err := os.Mkdir(string(w.held), 0o700); err != nil {
		return nil, err
	}
	cache := filepath.Join(root, "integration", ".cache")
	if err := setup.Run(root, nil, "go", "build", "-o", w.sluice, "./cmd/sluice"); err != nil {
		return nil, err
	}
	var err error
	if w.minio, err = setup.MinIO(cache); err != nil {
		return nil, err
	}
	w.jars, err = setup.Jars(cache, "kafka", filepath.Join(root, "integration", "bench", "kafka.xml"))
	return w, err
}

// groups goes through the plan. The error is of the loads that failed, all together.
func (o *options) groups(ctx context.Context, w *workshop, r *results, folder, scratch string) error {
	var failed []error
	for _, g := range plan {
		for _, b := range g.beds {
			var loads []load
			for _, l := range g.loads {
				if o.run.MatchString(g.name + "/" + b.name + "/" + l.name) {
					loads = append(loads, l)
				}
			}
			if len(loads) == 0 {
				continue
			}
			if err := o.bed(ctx, w, g, b, loads, scratch, func(n run) error {
				r.put(n)
				return r.save(folder)
			}); err != nil {
				fmt.Fprintf(os.Stderr, "%s/%s: %v\n", g.name, b.name, err)
				failed = append(failed, fmt.Errorf("%s/%s: %w", g.name, b.name, err))
			}
			if ctx.Err() != nil {
				return errors.Join(failed...)
			}
		}
	}
	return errors.Join(failed...)
}

// rest is what the disk has between two brokers: what settle cannot see is the disk of a
// virtual machine, whose host goes on with what the broker before has written.
const rest = 15 * time.Second

// bed starts a broker and puts the loads on it, each on a topic that is deleted
// afterwards.
func (o *options) bed(ctx context.Context, w *workshop, g group, b bed, loads []load, scratch string, done func(run) error) error {
	dir, err := os.MkdirTemp(scratch, b.name+"-")
	if err != nil {
		return err
	}
	defer func() {
		w.held.hold(dir)
		_ = os.RemoveAll(dir)
		w.held.empty()
		settle(scratch)
	}()
	time.Sleep(rest)
	broker, err := b.start(ctx, w, dir)
	if err != nil {
		return err
	}
	defer broker.stop()
	drop := func(topic string) {
		w.held.hold(dir)
		w.drop(ctx, broker, topic)
		w.held.empty()
		settle(scratch)
	}
	if g.warm {
		for _, s := range warmUp {
			if _, err := w.measure(ctx, b, broker, s, "warm-up", o.times); err != nil {
				return err
			}
		}
		drop("warm-up")
	}
	var failed []error
	for _, l := range loads {
		if err := o.load(ctx, w, g, b, broker, l, done); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", l.name, err))
		}
		drop(topicOf(l))
	}
	return errors.Join(failed...)
}

func (o *options) load(ctx context.Context, w *workshop, g group, b bed, broker *broker, l load, done func(run) error) error {
	topic := topicOf(l)
	for _, s := range l.steps {
		if s.merge && broker.metrics == "" {
			continue
		}
		n, err := w.measure(ctx, b, broker, s, topic, o.times)
		if err != nil {
			return err
		}
		n.Key = key(g, b, s)
		fmt.Printf("%-32s %s\n", n.Key, n.line())
		if err := done(n); err != nil {
			return err
		}
	}
	return nil
}

func topicOf(l load) string { return "bench-" + l.name }

// drop deletes a load's topic, if it was one by that name, so that disks do not fill.
func (w *workshop) drop(ctx context.Context, b *broker, topic string) {
	_ = exec.CommandContext(ctx, w.sluice, "topic", "delete", topic, "--brokers", b.address).Run()
}

// key names a run.
func key(g group, b bed, s step) string { return g.name + "/" + b.name + "/" + s.name }

// in says that a run is of a group.
func (n run) in(group string) bool { return strings.HasPrefix(n.Key, group+"/") }
