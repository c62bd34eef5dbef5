package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"

	"sluice/storage"
)

const configYieldUntil = "sluice.table.yield.until.ms"

func newTableYield() *cobra.Command {
	var d time.Duration
	cmd := &cobra.Command{
		Use:   "yield TOPIC --for 60s",
		Short: "Hold the broker's commits to a topic while an engine works on its table",
		Long: `Holds the broker's commits to a topic, so that an engine's own DELETE or MERGE on its
table can finish: such a transaction loses to every commit that is made while it runs.
Produce requests are taken and answered when the time is over, or time out as they
do when the store is out; consumers read on. Set 'sluice table writers TOPIC any' first, and
keep --for below the producers' delivery.timeout.ms.

The command waits until the time is over. Ctrl-C gives the table back early. The broker
counts by its own clock, and a broker that is restarted meanwhile keeps to it.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if d < time.Second || d > storage.MaxYield {
				return usagef("--for %s: want between 1s and %s", d, storage.MaxYield)
			}
			until := time.Now().Add(d)
			value := strconv.FormatInt(until.UnixMilli(), 10)
			if err := setYield(cmd.Context(), cmd, args[0], kadm.AlterConfig{Op: kadm.SetConfig, Name: configYieldUntil, Value: &value}); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "the broker commits nothing to %s until %s; Ctrl-C ends that\n", args[0], until.Format(time.TimeOnly))
			if countDown(cmd, until) {
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "the broker commits to %s again\n", args[0])
				return err
			}
			ctx, cancel := context.WithTimeout(context.WithoutCancel(cmd.Context()), adminTimeout)
			defer cancel()
			if err := setYield(ctx, cmd, args[0], kadm.AlterConfig{Op: kadm.DeleteConfig, Name: configYieldUntil}); err != nil {
				return fmt.Errorf("giving the table back before %s: %w", until.Format(time.TimeOnly), err)
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "given back early: the broker commits to %s again\n", args[0])
			return err
		},
	}
	cmd.Flags().DurationVar(&d, "for", time.Minute, "how long, at most "+storage.MaxYield.String())
	return cmd
}

// setYield changes the config that the broker's committer looks at.
func setYield(ctx context.Context, cmd *cobra.Command, topic string, change kadm.AlterConfig) error {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	c, err := connect(ctx, cmd)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.alterConfigs(ctx, topic, []kadm.AlterConfig{change})
}

// countDown waits until a time and shows what is left of it to a person. It answers
// false if the user ends it before.
func countDown(cmd *cobra.Command, until time.Time) bool {
	show := isTerminal(cmd.ErrOrStderr())
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	over := time.NewTimer(time.Until(until))
	defer over.Stop()
	for {
		if show {
			fmt.Fprintf(cmd.ErrOrStderr(), "\r%4ds left ", int(time.Until(until).Seconds()))
		}
		select {
		case <-over.C:
			if show {
				fmt.Fprintln(cmd.ErrOrStderr())
			}
			return true
		case <-cmd.Context().Done():
			return false
		case <-tick.C:
		}
	}
}
