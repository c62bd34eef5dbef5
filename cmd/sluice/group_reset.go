package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// resetLine is one partition of a group before and after a reset.
type resetLine struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	From      int64  `json:"from"` // -1: nothing committed
	To        int64  `json:"to"`
}

func newGroupReset() *cobra.Command {
	var to string
	var version int64
	var topics []string
	var dryRun, asJSON bool
	cmd := &cobra.Command{
		Use:   "reset GROUP",
		Short: "Set the committed offsets of a group that has no members",
		Long: `Sets the committed offsets of a group that has no members: of the topics given,
else of all topics that it has committed offsets for.

With --to-version the group is set to what a version of the topic's Delta table
held: it continues exactly where a reader of that version stopped.`,
		Example: `  sluice group reset billing --to earliest
  sluice group reset billing --topic orders:0,2 --to 2026-01-31T12:00:00Z --dry-run
  sluice group reset billing --topic orders --to-version 1234`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			target, err := resetTarget(cmd, to, version)
			if err != nil {
				return err
			}
			var chosen []topicPartitions
			for _, t := range topics {
				tp, err := parseTopicPartitions(t)
				if err != nil {
					return err
				}
				chosen = append(chosen, tp)
			}
			return withAdmin(cmd, func(ctx context.Context, c *client) error {
				lines, err := resetGroup(ctx, c, args[0], chosen, target, dryRun)
				if err != nil {
					return err
				}
				return reportReset(cmd.OutOrStdout(), asJSON, dryRun, lines)
			})
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "earliest, latest, an offset, or a time (RFC 3339, or @ and ms since 1970)")
	cmd.Flags().Int64Var(&version, "to-version", 0, "a version of the topic's Delta table")
	cmd.Flags().StringArrayVar(&topics, "topic", nil, "TOPIC or TOPIC:0,2, repeatable (default: all that the group has committed)")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "show what would be set and set nothing")
	jsonFlag(cmd, &asJSON)
	cmd.MarkFlagsOneRequired("to", "to-version")
	cmd.MarkFlagsMutuallyExclusive("to", "to-version")
	return cmd
}

func resetTarget(cmd *cobra.Command, to string, version int64) (position, error) {
	if !cmd.Flags().Changed("to-version") {
		return parsePosition(to)
	}
	if version < 0 {
		return position{}, usagef("--to-version %d: versions of a table begin with 0", version)
	}
	return position{atVersion, version}, nil
}

func resetGroup(ctx context.Context, c *client, group string, chosen []topicPartitions, target position, dryRun bool) ([]resetLine, error) {
	described, err := c.describeGroup(ctx, group)
	// A group may be prepared before its first consumer joins: that it is not
	// known is no error if the topics are given.
	if err != nil && !(errors.Is(err, errNoGroup) && len(chosen) > 0) {
		return nil, err
	}
	if n := len(described.Members); n > 0 {
		return nil, hasMembers(group, "has "+plural(int64(n), "member"))
	}
	committed, err := c.committed(ctx, group)
	if err != nil {
		return nil, err
	}
	if len(chosen) == 0 {
		if chosen = partitionsOf(committed); len(chosen) == 0 {
			return nil, advise(fmt.Errorf("group %s has no committed offsets", group), "Name the topics with --topic.")
		}
	}
	if target.kind == atVersion && len(chosen) > 1 {
		return nil, usagef("--to-version needs one --topic: each topic is a table with versions of its own")
	}
	var lines []resetLine
	for _, tp := range chosen {
		more, err := resetLines(ctx, c, tp, target, committed)
		if err != nil {
			return nil, err
		}
		lines = append(lines, more...)
	}
	if dryRun {
		return lines, nil
	}
	return lines, commitReset(ctx, c, group, lines)
}

// partitionsOf groups sorted committed offsets by topic.
func partitionsOf(committed []groupOffset) []topicPartitions {
	var all []topicPartitions
	for _, o := range committed {
		if len(all) == 0 || all[len(all)-1].topic != o.Topic {
			all = append(all, topicPartitions{topic: o.Topic})
		}
		last := &all[len(all)-1]
		last.partitions = append(last.partitions, o.Partition)
	}
	return all
}

// resetLines finds the new offsets of one topic.
func resetLines(ctx context.Context, c *client, tp topicPartitions, target position, committed []groupOffset) ([]resetLine, error) {
	detail, err := c.topicDetail(ctx, tp.topic)
	if err != nil {
		return nil, err
	}
	if tp.partitions == nil {
		tp.partitions = detail.Partitions.Numbers()
		slices.Sort(tp.partitions)
	}
	find, err := c.finder(ctx, tp.topic, target)
	if err != nil {
		return nil, err
	}
	var lines []resetLine
	for _, partition := range tp.partitions {
		what := fmt.Sprintf("topic %s, partition %d", tp.topic, partition)
		if _, ok := detail.Partitions[partition]; !ok {
			return nil, fmt.Errorf("%s does not exist", what)
		}
		offset, err := find(what, partition)
		if err != nil {
			return nil, err
		}
		line := resetLine{tp.topic, partition, -1, offset}
		if i, ok := slices.BinarySearchFunc(committed, groupOffset{Topic: tp.topic, Partition: partition}, byPartition); ok {
			line.From = committed[i].Committed
		}
		lines = append(lines, line)
	}
	return lines, nil
}

// finder asks for the offsets of all partitions of a topic at a position, and
// answers a function that tells that of one partition; what names it in errors.
func (c *client) finder(ctx context.Context, topic string, target position) (func(what string, partition int32) (int64, error), error) {
	if target.kind != atOffset {
		// Despite its name it sends the timestamp as it is, also a negative one.
		found, err := c.admin.ListOffsetsAfterMilli(ctx, target.timestamp(), topic)
		if err != nil && len(found) == 0 {
			return nil, err
		}
		return func(what string, partition int32) (int64, error) {
			o, _ := found.Lookup(topic, partition)
			return o.Offset, targetError(what, target, o)
		}, nil
	}
	starts, err := c.admin.ListStartOffsets(ctx, topic)
	if err != nil && len(starts) == 0 {
		return nil, err
	}
	ends, err := c.admin.ListEndOffsets(ctx, topic)
	if err != nil && len(ends) == 0 {
		return nil, err
	}
	return func(what string, partition int32) (int64, error) {
		start, end := offsetOf(starts, topic, partition), offsetOf(ends, topic, partition)
		if start >= 0 && end >= 0 && (target.n < start || target.n > end) {
			return 0, fmt.Errorf("%s: offset %d is outside the log, which has %d to %d", what, target.n, start, end)
		}
		return target.n, nil
	}, nil
}

// targetError says why no offset was found.
func targetError(what string, target position, o kadm.ListedOffset) error {
	if target.kind == atVersion && (o.Err != nil || o.Offset < 0) {
		err := fmt.Errorf("%s: no offset at table version %d", what, target.n)
		if o.Err != nil {
			err = fmt.Errorf("%w: %w", err, o.Err)
		}
		return advise(err, "The version is not in the table's log (any more), or the broker is not Sluice;\n"+
			"'sluice topic describe' shows the newest version, sluice.table.history.ms how long old ones are kept.")
	}
	if err := kafkaError(what, o.Err, ""); err != nil {
		return err
	}
	if o.Offset < 0 {
		return fmt.Errorf("%s: the broker knows no such offset", what)
	}
	return nil
}

// commitReset commits as a simple consumer, without a generation, which a
// coordinator refuses while the group has members: none can slip in.
func commitReset(ctx context.Context, c *client, group string, lines []resetLine) error {
	var offsets kadm.Offsets
	for _, line := range lines {
		offsets.AddOffset(line.Topic, line.Partition, line.To, -1)
	}
	answers, err := c.admin.CommitOffsets(ctx, group, offsets)
	if err != nil {
		return err
	}
	var errs []error
	for _, answer := range answers.Sorted() {
		err := answer.Err
		if errors.Is(err, kerr.UnknownMemberID) || errors.Is(err, kerr.IllegalGeneration) {
			return hasMembers(group, "has got a member meanwhile")
		}
		errs = append(errs, kafkaError(fmt.Sprintf("topic %s, partition %d", answer.Topic, answer.Partition), err, ""))
	}
	return errors.Join(errs...)
}

func reportReset(w io.Writer, asJSON, dryRun bool, lines []resetLine) error {
	if asJSON {
		return writeJSON(w, orEmpty(lines))
	}
	g := newGrid("TOPIC", "PARTITION", "FROM", "TO")
	for _, line := range lines {
		g.add(line.Topic, strconv.Itoa(int(line.Partition)), signed(line.From), signed(line.To))
	}
	if err := g.write(w); err != nil || !dryRun {
		return err
	}
	_, err := fmt.Fprintln(w, "\nnothing was changed (--dry-run)")
	return err
}
