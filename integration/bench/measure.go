//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"sluice/cmd/sluice/bench"
)

// run is what a step measured on a bed.
type run struct {
	Key     string       `json:"key"` // GROUP/BED/STEP
	Broker  string       `json:"broker"`
	Command string       `json:"command"`
	Session int          `json:"session"` // of results.Sessions
	Cores   cores        `json:"cores"`
	Result  bench.Result `json:"result"`
}

// cores is who was on the CPUs during a command, its preparations included, in cores.
// Client is the benchmark, Store is MinIO, Other is what else runs on the machine.
type cores struct {
	Broker float64 `json:"broker"`
	Client float64 `json:"client"`
	Store  float64 `json:"store,omitempty"`
	Other  float64 `json:"other"`
}

// times are how long a load runs.
type times struct{ warm, measured, article, sustained time.Duration }

// stepTimeout bounds what a step takes beside its load: preparations, reading what is
// left, all of it on a broker that does not keep up.
const stepTimeout = 4 * time.Minute

// measure runs a step on a broker.
func (w *workshop) measure(ctx context.Context, bed bed, b *broker, s step, topic string, t times) (run, error) {
	if s.merge {
		if err := w.merge(ctx, b, topic); err != nil {
			return run{}, err
		}
		if err := b.again(ctx); err != nil {
			return run{}, err
		}
	}
	args := strings.Fields(strings.NewReplacer("TOPIC", topic, "SECONDS", t.measured.String(), "WARM", t.warm.String(),
		"ARTICLE", t.article.String(), "SUSTAINED", t.sustained.String(), "LONG", (4 * t.measured).String(), "OPEN", bed.open).Replace(s.args))
	command := append([]string{"bench"}, args...)
	ctx, cancel := context.WithTimeout(ctx, t.warm+5*t.measured+t.article+t.sustained+stepTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, w.sluice, append(command, "--json", "--brokers", b.address,
		"--name", bed.title, "--pid", strconv.Itoa(b.cmd.Process.Pid), "--metrics", b.metrics)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	before := b.onCPU()
	if err := cmd.Run(); err != nil {
		return run{}, fmt.Errorf("sluice %s: %w\n%s", strings.Join(command, " "), err, stderr.String())
	}
	client := (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	var all []bench.Result
	if err := json.Unmarshal(stdout.Bytes(), &all); err != nil {
		return run{}, err
	}
	if len(all) != 1 {
		return run{}, fmt.Errorf("sluice %s: %d results", strings.Join(command, " "), len(all))
	}
	r := run{Broker: bed.title, Command: "sluice " + strings.Join(command, " "), Cores: b.onCPU().since(before, client), Result: all[0]}
	if r.Result.Failed > 0 {
		return run{}, fmt.Errorf("%s: %d records failed", r.Command, r.Result.Failed)
	}
	r.Result.Series, r.Result.Ack.Points = nil, nil // they are long, and nothing is drawn of them
	return r, nil
}

// merge merges a topic's files to files of 32 MiB, what sluice.table.target.file.bytes
// is by default.
func (w *workshop) merge(ctx context.Context, b *broker, topic string) error {
	cmd := exec.CommandContext(ctx, w.sluice, "table", "optimize", topic, "--store", b.url, "--target-bytes", strconv.Itoa(32<<20))
	cmd.Env = append(os.Environ(), b.env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("sluice table optimize: %w\n%s", err, out)
	}
	return nil
}

// onCPU is a reading of times on CPUs, in seconds.
type onCPU struct {
	at                   time.Time
	broker, store, total float64
}

func (b *broker) onCPU() onCPU {
	c := onCPU{at: time.Now(), broker: bench.ProcessCPU(b.cmd.Process.Pid), total: bench.MachineCPU()}
	if b.store != nil {
		c.store = bench.ProcessCPU(b.store.cmd.Process.Pid)
	}
	return c
}

func (c onCPU) since(before onCPU, client float64) cores {
	seconds := c.at.Sub(before.at).Seconds()
	broker, store := c.broker-before.broker, c.store-before.store
	return cores{
		Broker: broker / seconds, Store: store / seconds, Client: client / seconds,
		Other: max(0, c.total-before.total-broker-store-client) / seconds,
	}
}
