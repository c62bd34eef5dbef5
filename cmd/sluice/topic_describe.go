package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Read-only topic configs by which Sluice tells of a topic's table. Other
// brokers do not have them.
const (
	configTableURL     = "sluice.table.url"
	configTableVersion = "sluice.table.version"
)

// topicDescription is what `topic describe` tells of one topic.
type topicDescription struct {
	Name         string            `json:"name"`
	ID           string            `json:"id,omitempty"`
	TableURL     string            `json:"table_url,omitempty"`
	TableVersion *int64            `json:"table_version,omitempty"`
	Configs      map[string]string `json:"configs"` // those that differ from their default
	Partitions   []partitionLine   `json:"partitions"`
}

type partitionLine struct {
	Partition   int32 `json:"partition"`
	Leader      int32 `json:"leader"`
	LeaderEpoch int32 `json:"leader_epoch"`
	Start       int64 `json:"start_offset"` // -1: not known
	End         int64 `json:"end_offset"`   // the high watermark; -1: not known
}

func newTopicDescribe() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "describe TOPIC...",
		Short: "Show partitions, offsets, configs and the table of topics",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, topics []string) error {
			return withAdmin(cmd, func(ctx context.Context, c *client) error {
				var described []topicDescription
				var errs []error
				for _, topic := range topics {
					d, err := describeTopic(ctx, c, topic)
					if err != nil {
						errs = append(errs, err)
						continue
					}
					described = append(described, d)
				}
				return errors.Join(append(errs, reportTopics(cmd.OutOrStdout(), asJSON, described))...)
			})
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

func describeTopic(ctx context.Context, c *client, topic string) (topicDescription, error) {
	detail, err := c.topicDetail(ctx, topic)
	if err != nil {
		return topicDescription{}, err
	}
	configs, err := c.topicConfigs(ctx, topic)
	if err != nil {
		return topicDescription{}, err
	}
	starts, err := c.admin.ListStartOffsets(ctx, topic)
	if err != nil {
		return topicDescription{}, err
	}
	ends, err := c.admin.ListEndOffsets(ctx, topic)
	if err != nil {
		return topicDescription{}, err
	}
	d := topicDescription{Name: topic, ID: topicID(detail.ID), Configs: changedConfigs(configs)}
	if url := configs[configTableURL]; url.Value != nil {
		d.TableURL = *url.Value
	}
	if v := configs[configTableVersion]; v.Value != nil {
		if version, err := strconv.ParseInt(*v.Value, 10, 64); err == nil {
			d.TableVersion = &version
		}
	}
	for _, p := range detail.Partitions.Sorted() {
		d.Partitions = append(d.Partitions, partitionLine{
			Partition: p.Partition, Leader: p.Leader, LeaderEpoch: p.LeaderEpoch,
			Start: offsetOf(starts, topic, p.Partition),
			End:   offsetOf(ends, topic, p.Partition),
		})
	}
	return d, nil
}

// changedConfigs are the configs that were set for the topic itself or for the
// whole broker.
func changedConfigs(configs map[string]kadm.Config) map[string]string {
	changed := map[string]string{}
	for name, config := range configs {
		switch {
		case name == configTableURL || name == configTableVersion:
		case config.Source != kmsg.ConfigSourceDefaultConfig && config.Value != nil:
			changed[name] = *config.Value
		}
	}
	return changed
}

// offsetOf is -1 for an offset that was not told.
func offsetOf(offsets kadm.ListedOffsets, topic string, partition int32) int64 {
	o, ok := offsets.Lookup(topic, partition)
	if !ok || o.Err != nil {
		return -1
	}
	return o.Offset
}

func reportTopics(w io.Writer, asJSON bool, topics []topicDescription) error {
	if asJSON {
		return writeJSON(w, orEmpty(topics))
	}
	for i, topic := range topics {
		if i > 0 {
			fmt.Fprintln(w)
		}
		if err := topic.write(w); err != nil {
			return err
		}
	}
	return nil
}

func (d topicDescription) write(w io.Writer) error {
	facts := [][2]string{{"topic", d.Name}, {"id", d.ID}, {"table", d.TableURL}}
	if d.TableVersion != nil {
		facts = append(facts, [2]string{"version", strconv.FormatInt(*d.TableVersion, 10)})
	}
	for i, name := range slices.Sorted(maps.Keys(d.Configs)) {
		label := ""
		if i == 0 {
			label = "configs"
		}
		facts = append(facts, [2]string{label, name + "=" + d.Configs[name]})
	}
	for _, fact := range facts {
		if fact[1] == "" {
			continue // another broker has no table
		}
		if _, err := fmt.Fprintf(w, "%-8s %s\n", fact[0], fact[1]); err != nil {
			return err
		}
	}
	fmt.Fprintln(w)
	g := newGrid("PARTITION", "LEADER", "EPOCH", "START", "END")
	for _, p := range d.Partitions {
		g.add(strconv.Itoa(int(p.Partition)), signed(int64(p.Leader)), signed(int64(p.LeaderEpoch)),
			signed(p.Start), signed(p.End))
	}
	return g.write(w)
}

// signed prints a number that is negative when it is not known.
func signed(n int64) string {
	if n < 0 {
		return "-"
	}
	return strconv.FormatInt(n, 10)
}
