package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"sluice/storage/check"
	"sluice/storage/object"
)

func newCheck() *cobra.Command {
	var all, quick, dense, asJSON bool
	cmd := &cobra.Command{
		Use:   "check TOPIC... | --all",
		Short: "Read tables again and say whether they are what they promise",
		Long: `Reads tables again, by a path of its own, and compares: the log and its
checkpoints with each other, statistics and tags with the rows, the rows' offsets
with what was given out, the state of idempotent producers with the log. --all
checks every topic and Sluice's own tables, and what these say of each other.

It only reads, and may run beside a broker: a table is checked as of its newest
version at the beginning. Without --store the store is the one that 'sluice serve'
takes by default, or that of the broker if --brokers (or SLUICE_BROKERS) names one.

Exit code 0: sound. 1: there are errors. 2: it could not be checked.`,
		Example: `  sluice check orders
  sluice check --all --quick --store s3://lake/kafka
  sluice check --all --json --brokers broker:9092`,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case all && len(args) > 0:
				return usagef("topics and --all: give either")
			case !all && len(args) == 0:
				return usagef("name a topic, or --all")
			}
			store, err := checkedStore(cmd, args)
			if isUsage(err) {
				return err
			} else if err != nil {
				return unchecked{err}
			}
			out := newCheckOutput(cmd, asJSON)
			report, err := runCheck(cmd.Context(), store, args, check.Options{Quick: quick, Dense: dense, Progress: out.progress}, out.table)
			if err != nil {
				out.clear()
				return unchecked{err}
			}
			if err := out.end(report); err != nil {
				return err
			}
			if n := report.Errors; n > 0 {
				return fmt.Errorf("%s found", plural(int64(n), "error"))
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "check every table of the store")
	cmd.Flags().BoolVar(&quick, "quick", false, "read the footers of data files, not their rows")
	cmd.Flags().BoolVar(&dense, "dense", false, "ask for every offset from the log start offset on: for topics without compaction by key, from which no engine has deleted")
	jsonFlag(cmd, &asJSON)
	return brokersFlag(storeFlag(cmd))
}

// unchecked is an error that leaves open whether the tables are sound.
type unchecked struct{ error }

func (u unchecked) Unwrap() error { return u.error }

// checkedStore is the store to check: the one that is named, that of a broker that is
// named, else the default one of serve.
func checkedStore(cmd *cobra.Command, topics []string) (object.Store, error) {
	ctx, cancel := context.WithTimeout(cmd.Context(), openTimeout)
	defer cancel()
	u, named, err := namedStore(cmd)
	if err != nil {
		return nil, err
	}
	byBroker := cmd.Flags().Changed("brokers") || os.Getenv("SLUICE_BROKERS") != ""
	switch {
	case !named && byBroker && len(topics) > 0:
		store, _, err := topicStore(ctx, cmd, topics[0])
		return store, err
	case !named && byBroker:
		if u, err = brokersStore(cmd); err != nil {
			return nil, err
		}
	case !named:
		if u, err = parseStore(defaultStore); err != nil {
			return nil, err
		}
	}
	store, err := attachStore(ctx, u)
	if errors.Is(err, fs.ErrNotExist) {
		err = advise(fmt.Errorf("there is no store in %s", absolute(u.path)), "Name the store as it was named to 'sluice serve': --store.")
	}
	return store, err
}

// brokersStore asks a broker where its store is.
func brokersStore(cmd *cobra.Command) (u storeURL, err error) {
	err = withAdmin(cmd, func(ctx context.Context, c *client) error {
		brokers, err := c.admin.ListBrokers(ctx)
		if err != nil {
			return err
		}
		configs, err := c.admin.DescribeBrokerConfigs(ctx, brokers.NodeIDs()...)
		if err != nil {
			return err
		}
		for _, broker := range configs {
			for _, config := range broker.Configs {
				if config.Key == "log.dirs" && config.Value != nil {
					u, err = parseStore(*config.Value)
					return err
				}
			}
		}
		return advise(errors.New("the broker does not tell its store"), "Name it with --store.")
	})
	return u, err
}

// runCheck checks the tables of topics, or all if none is named. table hears of each.
func runCheck(ctx context.Context, store object.Store, topics []string, o check.Options, table func(*check.Report)) (*check.RootReport, error) {
	if len(topics) == 0 {
		return check.All(ctx, store, o, table)
	}
	var reports []*check.Report
	for _, topic := range topics {
		report, err := check.Table(ctx, store, topic, o)
		if errors.Is(err, check.ErrNoTable) || errors.Is(err, object.ErrBadKey) {
			return nil, advise(fmt.Errorf("topic %s does not exist in %s", topic, store.URL()), "'sluice check --all' shows the tables of the store.")
		}
		if err != nil {
			return nil, err
		}
		table(report)
		reports = append(reports, report)
	}
	return check.Summarize(store.URL(), reports), nil
}
