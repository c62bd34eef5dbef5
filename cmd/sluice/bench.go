package main

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"sluice/cmd/sluice/bench"
)

func newBench() *cobra.Command {
	load := bench.Open{}
	var interval int
	var codec string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure ack and end-to-end latency of a broker at a fixed rate",
		Long: `Sends records at a fixed rate and consumes them, and measures from the time at
which each was meant to be sent to its ack and to its arrival at the consumer.
It works against any Kafka broker, in a topic that it makes and leaves behind.`,
		Example: `  sluice bench --rate 10000
  sluice bench --rate 100000 --size 100 --partitions 8 --duration 60s --json
  sluice bench --rate 10000 --commit-interval 10`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if load.Brokers, err = seeds(cmd); err != nil {
				return err
			}
			if load.Codec, err = benchCodec(codec); err != nil {
				return err
			}
			if load.Topic == "" {
				load.Topic = fmt.Sprintf("sluice-bench-%d", time.Now().UnixMilli())
			}
			if interval >= 0 {
				text := fmt.Sprint(interval)
				load.Configs = map[string]*string{"sluice.commit.interval.ms": &text}
			}
			out := cmd.OutOrStdout()
			if !asJSON {
				load.Progress = func(r bench.Result) {
					fmt.Fprintf(cmd.ErrOrStderr(), "%4.0f s  %d sent  %d acked  %d consumed  end to end p50 %v p99 %v\n",
						r.Elapsed.Seconds(), r.Sent, r.Acked, r.Consumed, r.EndToEnd.P50, r.EndToEnd.P99)
				}
			}
			result, err := load.Run(cmd.Context())
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(out).Encode(struct {
					Rate, Size, Producers int
					Partitions            int32
					Result                bench.Result
				}{load.Rate, load.Size, load.Producers, load.Partitions, result})
			}
			fmt.Fprintf(out, "%d records sent at %d/s, %d acked, %d consumed, %d failed\n", result.Sent, load.Rate, result.Acked, result.Consumed, result.Failed)
			for _, row := range []struct {
				name string
				bench.Latency
			}{{"ack", result.Ack}, {"end to end", result.EndToEnd}} {
				fmt.Fprintf(out, "%-10s  p50 %-10v p90 %-10v p99 %-10v p99.9 %-10v max %v\n", row.name, row.P50, row.P90, row.P99, row.P999, row.Most)
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&load.Rate, "rate", 10_000, "records per second")
	flags.IntVar(&load.Size, "size", 18, "bytes of a value")
	flags.DurationVar(&load.Duration, "duration", 30*time.Second, "how long to measure")
	flags.DurationVar(&load.WarmUp, "warm-up", 5*time.Second, "how long to run before measuring")
	flags.Int32Var(&load.Partitions, "partitions", 1, "partitions of the topic")
	flags.IntVar(&load.Producers, "producers", 1, "producing clients")
	flags.DurationVar(&load.Linger, "linger", 5*time.Millisecond, "the producers' linger")
	flags.StringVar(&codec, "compression", "lz4", "none, gzip, snappy, lz4 or zstd")
	flags.IntVar(&interval, "commit-interval", -1, "sluice.commit.interval.ms of the topic; -1: the broker's default (and any other broker)")
	flags.StringVar(&load.Topic, "topic", "", "name of the topic to make (default: one with the time in it)")
	flags.BoolVar(&asJSON, "json", false, "print one JSON document")
	return brokersFlag(cmd)
}

func benchCodec(name string) (kgo.CompressionCodec, error) {
	switch name {
	case "none":
		return kgo.NoCompression(), nil
	case "gzip":
		return kgo.GzipCompression(), nil
	case "snappy":
		return kgo.SnappyCompression(), nil
	case "lz4":
		return kgo.Lz4Compression(), nil
	case "zstd":
		return kgo.ZstdCompression(), nil
	}
	return kgo.CompressionCodec{}, usagef("--compression %s: want none, gzip, snappy, lz4 or zstd", name)
}
