package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	// dialTimeout is how long a broker may take to answer the first request of
	// a command: long enough for a slow network, short enough for a person.
	dialTimeout = 5 * time.Second
	// adminTimeout bounds a command that only asks or changes something. A broker
	// whose store is out answers within that, too.
	adminTimeout = 30 * time.Second
)

// client is a connection to a Kafka broker, Sluice or another.
type client struct {
	*kgo.Client
	admin *kadm.Client
}

// brokersFlag adds --brokers to cmd and the commands below it.
func brokersFlag(cmd *cobra.Command) *cobra.Command {
	cmd.PersistentFlags().StringSlice("brokers", []string{"localhost:9092"},
		"addresses of one or more brokers, host:port (environment: SLUICE_BROKERS)")
	return cmd
}

// seeds are the brokers to begin with: the flag, else SLUICE_BROKERS, else the default.
func seeds(cmd *cobra.Command) ([]string, error) {
	brokers, err := cmd.Flags().GetStringSlice("brokers")
	if err != nil {
		return nil, err
	}
	if env := os.Getenv("SLUICE_BROKERS"); env != "" && !cmd.Flags().Changed("brokers") {
		brokers = strings.Split(env, ",")
	}
	brokers = slices.DeleteFunc(brokers, func(b string) bool { return strings.TrimSpace(b) == "" })
	for i := range brokers {
		brokers[i] = strings.TrimSpace(brokers[i])
	}
	if len(brokers) == 0 {
		return nil, usagef("--brokers is empty: give at least one host:port")
	}
	return brokers, nil
}

// connect makes a client and sees to it that a broker answers, since a Kafka
// client would otherwise retry without a word.
func connect(ctx context.Context, cmd *cobra.Command, options ...kgo.Opt) (*client, error) {
	brokers, err := seeds(cmd)
	if err != nil {
		return nil, err
	}
	options = append([]kgo.Opt{
		kgo.SeedBrokers(brokers...),
		kgo.ClientID("sluice"),
		kgo.DialTimeout(dialTimeout),
		kgo.RetryTimeout(adminTimeout),
	}, options...)
	cl, err := kgo.NewClient(options...)
	if err != nil {
		return nil, usageError{err}
	}
	ping, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	if err := cl.Ping(ping); err != nil {
		cl.Close()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, advise(fmt.Errorf("no broker answers at %s: %w", strings.Join(brokers, ", "), err),
			"Start one with 'sluice serve', or name another with --brokers host:port (or SLUICE_BROKERS).")
	}
	return &client{cl, kadm.NewClient(cl)}, nil
}

// withAdmin runs f with a client for a command that asks or changes something
// and ends.
func withAdmin(cmd *cobra.Command, f func(ctx context.Context, c *client) error) error {
	ctx, cancel := context.WithTimeout(cmd.Context(), adminTimeout)
	defer cancel()
	c, err := connect(ctx, cmd)
	if err != nil {
		return err
	}
	defer c.Close()
	err = f(ctx, c)
	if errors.Is(err, context.DeadlineExceeded) && cmd.Context().Err() == nil {
		return advise(fmt.Errorf("no answer within %s: %w", adminTimeout, err),
			"The broker answers again when its store does; see its log.")
	}
	return err
}

// kafkaError is the error of one thing in an answer, with the broker's own words
// if it found some. nil if err is nil.
func kafkaError(what string, err error, message string) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, kerr.UnknownTopicOrPartition) && message == "":
		return advise(fmt.Errorf("%s does not exist", what),
			"'sluice topic list' shows the topics, 'sluice topic create' makes one.")
	}
	code := err.Error()
	if ke, ok := errors.AsType[*kerr.Error](err); ok {
		if message == "" {
			message = ke.Description
		}
		code = ke.Message
	}
	if message == "" {
		return fmt.Errorf("%s: %w", what, err)
	}
	return &wrapped{fmt.Sprintf("%s: %s (%s)", what, strings.TrimSuffix(message, "."), code), err}
}

// wrapped gives an error another text.
type wrapped struct {
	text string
	err  error
}

func (w *wrapped) Error() string { return w.text }
func (w *wrapped) Unwrap() error { return w.err }

// topicDetail asks for one topic; it must exist.
func (c *client) topicDetail(ctx context.Context, topic string) (kadm.TopicDetail, error) {
	topics, err := c.admin.ListTopics(ctx, topic)
	if err != nil {
		return kadm.TopicDetail{}, err
	}
	detail, ok := topics[topic]
	if !ok {
		detail.Err = kerr.UnknownTopicOrPartition
	}
	return detail, kafkaError("topic "+topic, detail.Err, "")
}

// topicConfigs asks for all configs of one topic, by name.
func (c *client) topicConfigs(ctx context.Context, topic string) (map[string]kadm.Config, error) {
	answers, err := c.admin.DescribeTopicConfigs(ctx, topic)
	if err != nil {
		return nil, err
	}
	configs := map[string]kadm.Config{}
	for _, answer := range answers {
		if err := kafkaError("topic "+topic, answer.Err, answer.ErrMessage); err != nil {
			return nil, err
		}
		for _, config := range answer.Configs {
			configs[config.Key] = config
		}
	}
	return configs, nil
}
