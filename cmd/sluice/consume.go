package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// quietEnd is how long a consumer that does not follow waits for the rest of a
// partition: the last offsets may be gaps that no record will ever fill.
const quietEnd = 3 * time.Second

// consumeFlags say what is read and how it is printed.
type consumeFlags struct {
	from      string
	partition int32 // -1: all
	group     string
	count     int64 // 0: no limit
	follow    bool
	format    format
}

func newConsume() *cobra.Command {
	var f consumeFlags
	cmd := &cobra.Command{
		Use:   "consume TOPIC",
		Short: "Print the records of a topic: those that are there, then those that come, until Ctrl-C",
		Example: `  sluice consume orders
  sluice consume orders --from latest --verbose
  sluice consume orders --from 2026-01-31T12:00:00Z --count 10 --json
  sluice consume orders --group billing`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			from, err := parsePosition(f.from)
			if err != nil {
				return err
			}
			switch {
			case f.count < 0:
				return usagef("--count %d: want 1 or more", f.count)
			case f.partition < -1:
				return usagef("--partition %d: partitions begin with 0", f.partition)
			case f.group != "" && !f.follow:
				return usagef("--group with --follow=false: a group follows; --count ends it")
			}
			return consume(cmd, f, args[0], from)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.from, "from", "earliest", "earliest, latest, an offset, or a time (RFC 3339, or @ and ms since 1970); with --group only where nothing is committed")
	flags.Int32Var(&f.partition, "partition", -1, "only this partition")
	flags.StringVar(&f.group, "group", "", "consume as a member of this group, and commit what was printed")
	flags.Int64Var(&f.count, "count", 0, "stop after so many records")
	flags.BoolVar(&f.follow, "follow", true, "wait for new records; --follow=false stops at the end")
	flags.BoolVar(&f.format.json, "json", false, "print each record as a line of JSON")
	flags.BoolVarP(&f.format.verbose, "verbose", "v", false, "print partition, offset, time and key before each value")
	flags.StringVar(&f.format.keySeparator, "key-separator", "", "print the key and this before each value")
	cmd.MarkFlagsMutuallyExclusive("group", "partition")
	cmd.MarkFlagsMutuallyExclusive("json", "verbose", "key-separator")
	return brokersFlag(cmd)
}

func consume(cmd *cobra.Command, f consumeFlags, topic string, from position) error {
	ctx := cmd.Context()
	c, err := connect(ctx, cmd, f.options(topic, from)...)
	if err != nil {
		return err
	}
	defer c.Close()

	detail, err := c.topicDetail(ctx, topic)
	if err != nil {
		return err
	}
	ends := map[int32]int64{}
	if f.group == "" {
		offsets := map[int32]kgo.Offset{}
		for _, partition := range detail.Partitions.Numbers() {
			if f.partition == -1 || f.partition == partition {
				offsets[partition] = from.offset()
			}
		}
		if len(offsets) == 0 {
			return fmt.Errorf("topic %s has no partition %d: it has %d to %d", topic, f.partition, 0, len(detail.Partitions)-1)
		}
		if !f.follow {
			if ends, err = unread(ctx, c, topic, offsets, from); err != nil || len(ends) == 0 {
				return err
			}
		}
		c.AddConsumePartitions(map[string]map[int32]kgo.Offset{topic: offsets})
	}
	err = poll(cmd, c, f, ends)
	if f.group != "" {
		err = errors.Join(err, commitPrinted(c))
	}
	return err
}

// commitPrinted commits what was printed and leaves the group, also after
// Ctrl-C, so that the next member does not wait for a timeout.
func commitPrinted(c *client) error {
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	err := c.CommitMarkedOffsets(ctx)
	return errors.Join(err, c.LeaveGroupContext(ctx))
}

func (f consumeFlags) options(topic string, from position) []kgo.Opt {
	options := []kgo.Opt{
		// As SQL on the table sees it: no open or aborted transactions.
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(from.offset()),
	}
	if f.group != "" {
		options = append(options, kgo.ConsumerGroup(f.group), kgo.ConsumeTopics(topic), kgo.AutoCommitMarks(),
			kgo.BlockRebalanceOnPoll())
	}
	return options
}

func (p position) offset() kgo.Offset {
	switch p.kind {
	case atOffset:
		return kgo.NewOffset().At(p.n)
	case atTime:
		return kgo.NewOffset().AfterMilli(p.n)
	case atLatest:
		return kgo.NewOffset().AtEnd()
	default:
		return kgo.NewOffset().AtStart()
	}
}

// unread are the ends, as of now, of those partitions that have something to
// read from the position on.
func unread(ctx context.Context, c *client, topic string, offsets map[int32]kgo.Offset, from position) (map[int32]int64, error) {
	begins := kadm.ListedOffsets{}
	if from.kind != atOffset {
		var err error
		if begins, err = c.admin.ListOffsetsAfterMilli(ctx, from.timestamp(), topic); err != nil {
			return nil, err
		}
	}
	stable, err := c.admin.ListCommittedOffsets(ctx, topic)
	if err != nil {
		return nil, err
	}
	ends := map[int32]int64{}
	for partition := range offsets {
		end, ok := stable.Lookup(topic, partition)
		if !ok || end.Err != nil {
			return nil, kafkaError(fmt.Sprintf("topic %s, partition %d", topic, partition), cmp.Or(end.Err, error(kerr.UnknownTopicOrPartition)), "")
		}
		begin := from.n
		if from.kind != atOffset {
			begin = offsetOf(begins, topic, partition)
		}
		if begin < end.Offset {
			ends[partition] = end.Offset
		}
	}
	return ends, nil
}

// poll prints records until the count is reached, the ends are, or Ctrl-C.
func poll(cmd *cobra.Command, c *client, f consumeFlags, ends map[int32]int64) error {
	out := bufio.NewWriterSize(cmd.OutOrStdout(), 64<<10)
	printer := f.format.printer(out, isTerminal(cmd.OutOrStdout()))
	if f.group != "" {
		defer c.AllowRebalance() // however it ends: the member could not leave otherwise
	}
	var printed int64
	for {
		ctx, cancel := cmd.Context(), context.CancelFunc(func() {})
		if !f.follow {
			ctx, cancel = context.WithTimeout(ctx, quietEnd)
		}
		fetches := c.PollFetches(ctx)
		cancel()
		if cmd.Context().Err() != nil {
			return nil // Ctrl-C is how following ends
		}
		if !f.follow && fetches.NumRecords() == 0 && ctx.Err() != nil {
			return nil
		}
		var last []*kgo.Record
		for iter := fetches.RecordIter(); !iter.Done() && (f.count == 0 || printed < f.count); {
			r := iter.Next()
			if end, bounded := ends[r.Partition]; !f.follow && (!bounded || r.Offset >= end) {
				continue // came after we began
			} else if bounded && r.Offset == end-1 {
				delete(ends, r.Partition)
			}
			if err := printer(r); err != nil {
				return err
			}
			printed++
			last = append(last, r)
		}
		// Flushed once for each fetch: nothing that is here is held back.
		if err := out.Flush(); err != nil {
			return err
		}
		if f.group != "" {
			c.MarkCommitRecords(last...) // only what was printed
			c.AllowRebalance()
		}
		if err := fatal(fetches); err != nil {
			return err
		}
		if (f.count > 0 && printed >= f.count) || (!f.follow && len(ends) == 0) {
			return nil
		}
	}
}

// fatal finds the first error that waiting does not cure; the client repeats others.
func fatal(fetches kgo.Fetches) error {
	var found error
	fetches.EachError(func(topic string, partition int32, err error) {
		if found != nil || kerr.IsRetriable(err) && !errors.Is(err, kerr.UnknownTopicOrPartition) {
			return
		}
		if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
			return
		}
		found = kafkaError(fmt.Sprintf("topic %s, partition %d", topic, partition), err, "")
	})
	return found
}

// format says how a record is printed.
type format struct {
	json         bool
	verbose      bool
	keySeparator string
}
