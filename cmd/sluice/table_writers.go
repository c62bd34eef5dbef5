package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
)

const configTableWriters = "sluice.table.writers"

// writersMeaning is what each mode means to its user.
var writersMeaning = map[string]string{
	"sluice": `Only Sluice writes the table: every other conforming Delta writer refuses it, and
every engine still reads it. 'sluice table delete' and 'sluice table optimize' work
on it.
`,
	"any": `Any Delta engine may now delete from, merge into and optimize the table beside the
broker. What you must know:

- Each of them must commit with conditional puts. Spark's default log store for S3
  does not: it can overwrite a version that Sluice has committed, and with it records
  that were acknowledged. The DynamoDB log store does not help. On Amazon S3 protect the
  log with a bucket policy that denies s3:PutObject on */_delta_log/0*.json where
  s3:if-none-match is null. Safe are delta-rs (Polars, deltalake), Trino, and Spark on
  Azure, GCS and HDFS.
- Rows that they INSERT, without partition and offset, become records of the topic after
  a second or two: Sluice gives them their places. sluice.table.inserts=refuse stops
  the topic instead.
- A DELETE or MERGE loses to every commit of the broker while it runs: hold those with
  'sluice table yield TOPIC --for 60s', or use 'sluice table delete'.
- VACUUM with a retention of 0 can delete a file that is about to be committed.
`,
}

func newTableWriters() *cobra.Command {
	return &cobra.Command{
		Use:   "writers TOPIC [any|sluice]",
		Short: "Show or set who may write a topic's table",
		Long: `Shows or sets who may write a topic's table. "sluice" (the default) makes every
other conforming Delta writer refuse; "any" opens the table to engines that commit with
conditional puts. The switch is one version of the table, and goes both ways.`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 2 && writersMeaning[args[1]] == "" {
				return usagef("%q: want any or sluice", args[1])
			}
			return withAdmin(cmd, func(ctx context.Context, c *client) error {
				if len(args) == 1 {
					return showWriters(ctx, cmd, c, args[0])
				}
				change := kadm.AlterConfig{Op: kadm.SetConfig, Name: configTableWriters, Value: &args[1]}
				if err := alterTopic(ctx, cmd, c, args[0], []kadm.AlterConfig{change}, 0); err != nil {
					return err
				}
				_, err := fmt.Fprint(cmd.OutOrStdout(), "\n", writersMeaning[args[1]])
				return err
			})
		},
	}
}

func showWriters(ctx context.Context, cmd *cobra.Command, c *client, topic string) error {
	if _, err := c.tableURL(ctx, topic); err != nil {
		return err
	}
	configs, err := c.topicConfigs(ctx, topic)
	if err != nil {
		return err
	}
	mode := ""
	if v := configs[configTableWriters].Value; v != nil {
		mode = *v
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\n\n%s", mode, writersMeaning[mode])
	return err
}
