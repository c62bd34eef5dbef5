package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

func newTopic() *cobra.Command {
	return brokersFlag(newNoun("topic", "Create, list, describe, alter and delete topics",
		newTopicCreate(), newTopicList(), newTopicDescribe(), newTopicAlter(), newTopicDelete()))
}

func newTopicCreate() *cobra.Command {
	var partitions int32
	var configs []string
	var ifNotExists, asJSON bool
	cmd := &cobra.Command{
		Use:   "create TOPIC...",
		Short: "Create topics",
		Example: `  sluice topic create orders --partitions 6
  sluice topic create audit --config retention.ms=-1`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, topics []string) error {
			if partitions < 1 && partitions != -1 {
				return usagef("--partitions %d: a topic has at least one partition", partitions)
			}
			pairs, err := parseConfigs(configs)
			if err != nil {
				return err
			}
			return withAdmin(cmd, func(ctx context.Context, c *client) error {
				// The only replicas are those of the store, so the factor is the broker's choice.
				answers, err := c.admin.CreateTopics(ctx, partitions, -1, pairs, topics...)
				if err != nil {
					return err
				}
				var created []topicLine
				var errs []error
				for _, answer := range answers.Sorted() {
					if ifNotExists && errors.Is(answer.Err, kerr.TopicAlreadyExists) {
						continue
					}
					if err := createError(answer); err != nil {
						errs = append(errs, err)
						continue
					}
					created = append(created, topicLine{answer.Topic, answer.NumPartitions, topicID(answer.ID)})
				}
				return errors.Join(append(errs, reportCreated(cmd, asJSON, created))...)
			})
		},
	}
	cmd.Flags().Int32Var(&partitions, "partitions", -1, "number of partitions (default: the broker's num.partitions)")
	cmd.Flags().StringArrayVar(&configs, "config", nil, "topic config key=value, repeatable")
	cmd.Flags().BoolVar(&ifNotExists, "if-not-exists", false, "leave a topic that exists as it is")
	jsonFlag(cmd, &asJSON)
	return cmd
}

func createError(answer kadm.CreateTopicResponse) error {
	if errors.Is(answer.Err, kerr.TopicAlreadyExists) {
		return advise(fmt.Errorf("topic %s exists", answer.Topic),
			"'sluice topic describe %s' shows it; --if-not-exists makes this no error.", answer.Topic)
	}
	return kafkaError("topic "+answer.Topic, answer.Err, answer.ErrMessage)
}

func reportCreated(cmd *cobra.Command, asJSON bool, created []topicLine) error {
	if asJSON {
		return writeJSON(cmd.OutOrStdout(), orEmpty(created))
	}
	for _, topic := range created {
		if _, err := fmt.Fprintf(cmd.OutOrStdout(), "created topic %s with %s\n", topic.Name, plural(int64(topic.Partitions), "partition")); err != nil {
			return err
		}
	}
	return nil
}

// topicLine is a topic in a list.
type topicLine struct {
	Name       string `json:"name"`
	Partitions int32  `json:"partitions"`
	ID         string `json:"id,omitempty"`
}

func newTopicList() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List topics",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withAdmin(cmd, func(ctx context.Context, c *client) error {
				details, err := c.admin.ListTopics(ctx)
				if err != nil {
					return err
				}
				var topics []topicLine
				for _, d := range details.Sorted() {
					topics = append(topics, topicLine{d.Topic, int32(len(d.Partitions)), topicID(d.ID)})
				}
				if asJSON {
					return writeJSON(cmd.OutOrStdout(), orEmpty(topics))
				}
				g := newGrid("TOPIC", "PARTITIONS", "ID")
				for _, t := range topics {
					g.add(t.Name, strconv.Itoa(int(t.Partitions)), t.ID)
				}
				return g.write(cmd.OutOrStdout())
			})
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

func newTopicAlter() *cobra.Command {
	var partitions int32
	var set, reset []string
	cmd := &cobra.Command{
		Use:   "alter TOPIC",
		Short: "Change the configs of a topic, or add partitions",
		Example: `  sluice topic alter orders --config retention.ms=3600000 --reset max.message.bytes
  sluice topic alter orders --partitions 12`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			changes, err := configChanges(set, reset)
			if err != nil {
				return err
			}
			if len(changes) == 0 && partitions == 0 {
				return usagef("nothing to change: give --config, --reset or --partitions")
			}
			return withAdmin(cmd, func(ctx context.Context, c *client) error {
				return alterTopic(ctx, cmd, c, args[0], changes, partitions)
			})
		},
	}
	cmd.Flags().StringArrayVar(&set, "config", nil, "topic config key=value, repeatable")
	cmd.Flags().StringArrayVar(&reset, "reset", nil, "topic config key to set back to its default, repeatable")
	cmd.Flags().Int32Var(&partitions, "partitions", 0, "the new number of partitions, more than now")
	return cmd
}

func alterTopic(ctx context.Context, cmd *cobra.Command, c *client, topic string, changes []kadm.AlterConfig, partitions int32) error {
	if len(changes) > 0 {
		if err := c.alterConfigs(ctx, topic, changes); err != nil {
			return err
		}
	}
	if partitions != 0 {
		answers, err := c.admin.UpdatePartitions(ctx, int(partitions), topic)
		if err != nil {
			return err
		}
		for _, answer := range answers {
			if err := kafkaError("topic "+topic, answer.Err, answer.ErrMessage); err != nil {
				return err
			}
		}
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "altered topic %s\n", topic)
	return err
}

// alterConfigs changes configs of a topic, all of them or none.
func (c *client) alterConfigs(ctx context.Context, topic string, changes []kadm.AlterConfig) error {
	answers, err := c.admin.AlterTopicConfigs(ctx, changes, topic)
	if err != nil {
		return err
	}
	for _, answer := range answers {
		if err := kafkaError("topic "+topic, answer.Err, answer.ErrMessage); err != nil {
			return err
		}
	}
	return nil
}

func newTopicDelete() *cobra.Command {
	var ifExists bool
	cmd := &cobra.Command{
		Use:   "delete TOPIC...",
		Short: "Delete topics and their records",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, topics []string) error {
			return withAdmin(cmd, func(ctx context.Context, c *client) error {
				answers, err := c.admin.DeleteTopics(ctx, topics...)
				if err != nil {
					return err
				}
				var errs []error
				for _, answer := range answers.Sorted() {
					if ifExists && errors.Is(answer.Err, kerr.UnknownTopicOrPartition) {
						continue
					}
					err := kafkaError("topic "+answer.Topic, answer.Err, answer.ErrMessage)
					if err == nil {
						_, err = fmt.Fprintf(cmd.OutOrStdout(), "deleted topic %s\n", answer.Topic)
					}
					errs = append(errs, err)
				}
				return errors.Join(errs...)
			})
		},
	}
	cmd.Flags().BoolVar(&ifExists, "if-exists", false, "a topic that does not exist is no error")
	return cmd
}

// parseConfigs reads key=value pairs.
func parseConfigs(pairs []string) (map[string]*string, error) {
	configs := map[string]*string{}
	for _, kv := range pairs {
		name, value, ok := strings.Cut(kv, "=")
		if name = strings.TrimSpace(name); !ok || name == "" {
			return nil, usagef("--config %q is not of the form key=value", kv)
		}
		if _, twice := configs[name]; twice {
			return nil, usagef("--config %s is given twice", name)
		}
		configs[name] = &value
	}
	return configs, nil
}

func configChanges(set, reset []string) ([]kadm.AlterConfig, error) {
	configs, err := parseConfigs(set)
	if err != nil {
		return nil, err
	}
	var changes []kadm.AlterConfig
	for _, kv := range set { // in the user's order
		name, _, _ := strings.Cut(kv, "=")
		name = strings.TrimSpace(name)
		changes = append(changes, kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: configs[name]})
	}
	for _, name := range reset {
		if _, both := configs[name]; both {
			return nil, usagef("%s is in --config and in --reset", name)
		}
		changes = append(changes, kadm.AlterConfig{Op: kadm.DeleteConfig, Name: name})
	}
	return changes, nil
}

// topicID is the id as Kafka's tools print it, "" if the broker has none.
func topicID(id kadm.TopicID) string {
	if id == (kadm.TopicID{}) {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(id[:]) // Uuid.toString of Kafka
}

// orEmpty makes JSON's [] of a nil slice, which would be null.
func orEmpty[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

// plural is n and the noun: "1 record", "2 records".
func plural(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.FormatInt(n, 10) + " " + noun + "s"
}
