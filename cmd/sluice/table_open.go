package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"sluice/storage"
	"sluice/storage/admin"
	"sluice/storage/delta"
	"sluice/storage/object"
	"sluice/storage/object/dir"
	"sluice/storage/object/mem"
	"sluice/storage/object/s3"
)

// storeFlag adds --store to cmd and the commands below it, for those that work on
// the store without a broker.
func storeFlag(cmd *cobra.Command) *cobra.Command {
	cmd.PersistentFlags().String("store", "",
		"the store with the tables, as for serve (environment: SLUICE_STORE); default: the broker at --brokers tells it")
	return cmd
}

// namedStore is the store that the user names: --store, else SLUICE_STORE unless
// --brokers is given. ok is false if there is none.
func namedStore(cmd *cobra.Command) (u storeURL, ok bool, err error) {
	name, err := cmd.Flags().GetString("store")
	if err != nil {
		return u, false, err
	}
	if name == "" && !cmd.Flags().Changed("store") && !cmd.Flags().Changed("brokers") {
		name = os.Getenv("SLUICE_STORE")
	}
	if name == "" && !cmd.Flags().Changed("store") {
		return u, false, nil
	}
	u, err = parseStore(name)
	return u, true, err
}

// attachStore opens a store that is there already, beside the broker that may serve
// it: unlike openStore it makes neither directory nor bucket and takes no lock.
func attachStore(ctx context.Context, u storeURL) (object.Store, error) {
	switch u.scheme {
	case "mem":
		return mem.Open(u.name), nil
	case "s3":
		return s3.Open(ctx, u.bucket, u.prefix, s3.Options{NoCreateBucket: true})
	}
	if info, err := os.Stat(u.path); err != nil {
		return nil, err
	} else if !info.IsDir() {
		return nil, fmt.Errorf("%s: %w", u.path, fs.ErrNotExist)
	}
	return dir.Open(u.path)
}

// topicStore is the store with a topic's table, and the id of the topic if a broker told
// it: what stands at the same address here may be another store.
func topicStore(ctx context.Context, cmd *cobra.Command, topic string) (object.Store, string, error) {
	u, named, err := namedStore(cmd)
	if err != nil {
		return nil, "", err
	}
	if named {
		store, err := attachStore(ctx, u)
		if errors.Is(err, fs.ErrNotExist) {
			err = advise(fmt.Errorf("there is no store in %s", absolute(u.path)), "Name the store as it was named to 'sluice serve'.")
		}
		return store, "", err
	}
	location, id, err := tableLocation(ctx, cmd, topic)
	if err != nil {
		return nil, "", err
	}
	root, ok := strings.CutSuffix(location, "/"+topic)
	if !ok {
		return nil, "", fmt.Errorf("the broker tells %s as the table of topic %s", location, topic)
	}
	if u, err = parseStore(root); err != nil {
		return nil, "", fmt.Errorf("the broker's store: %w", err)
	}
	store, err := attachStore(ctx, u)
	if errors.Is(err, fs.ErrNotExist) {
		err = advise(fmt.Errorf("the table is in %s, a directory of the broker's machine that is not here", location),
			"Run the command on that machine, or name the same directory as it is mounted here with --store.")
	}
	return store, id, err
}

// tableLocation asks the broker for the address of a topic's table, and the topic's id.
func tableLocation(ctx context.Context, cmd *cobra.Command, topic string) (location, id string, err error) {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	c, err := connect(ctx, cmd)
	if err != nil {
		if ctx.Err() == nil && !isUsage(err) {
			err = advise(err, "Start one with 'sluice serve', name another with --brokers host:port, or the store itself with --store.")
		}
		return "", "", err
	}
	defer c.Close()
	detail, err := c.topicDetail(ctx, topic)
	if err != nil {
		return "", "", err
	}
	location, err = c.tableURL(ctx, topic)
	return location, uuid.UUID(detail.ID).String(), err
}

// tableURL is the address of a topic's table as the broker tells it.
func (c *client) tableURL(ctx context.Context, topic string) (string, error) {
	configs, err := c.topicConfigs(ctx, topic)
	if err != nil {
		return "", err
	}
	location := configs[configTableURL].Value
	if location == nil || *location == "" {
		return "", advise(fmt.Errorf("the broker does not tell the table of topic %s", topic),
			"Only Sluice's topics are tables: is another broker at that address?")
	}
	return *location, nil
}

// openTable opens a topic's table on its store.
func openTable(cmd *cobra.Command, topic string, options admin.Options) (*admin.Table, error) {
	ctx, cancel := context.WithTimeout(cmd.Context(), openTimeout)
	defer cancel()
	store, id, err := topicStore(ctx, cmd, topic)
	if err != nil {
		return nil, err
	}
	options.Engine = engine()
	t, err := admin.Open(ctx, store, topic, options)
	switch {
	case errors.Is(err, delta.ErrNoTable) && strings.HasPrefix(store.URL(), "mem://"):
		return nil, advise(fmt.Errorf("topic %s is in the broker's memory, where nobody else can read it", topic),
			"Start the broker with --store DIRECTORY or --store s3://bucket/prefix.")
	case errors.Is(err, delta.ErrNoTable), errors.Is(err, object.ErrBadKey), errors.Is(err, storage.ErrUnknownTopic):
		return nil, advise(fmt.Errorf("topic %s does not exist in %s", topic, store.URL()),
			"'sluice topic list' shows the topics of a broker.")
	case err != nil:
		return nil, err
	case id != "" && t.State().ID != id:
		return nil, advise(fmt.Errorf("%s is not the store of that broker: another table lies there in place of topic %s", store.URL(), topic),
			"Run the command on the broker's machine, or name its store with --store.")
	}
	return t, nil
}

// tellBroker has the broker look at a version of a topic's table: it learns of it if it did
// not know it.
func tellBroker(cmd *cobra.Command, topic string, version int64) error {
	ctx, cancel := context.WithTimeout(cmd.Context(), adminTimeout)
	defer cancel()
	c, err := connect(ctx, cmd)
	if err != nil {
		return err
	}
	defer c.Close()
	offsets, err := c.admin.ListOffsetsAfterMilli(ctx, position{atVersion, version}.timestamp(), topic)
	if err != nil {
		return err
	}
	return kafkaError("topic "+topic, offsets.Error(), "")
}

// absolute is the path for a message.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// at prints a time for people: UTC, to the second.
func at(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
