package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"
)

func newTable() *cobra.Command {
	return brokersFlag(newNoun("table", "Work with the Delta tables of topics", newTableSQL(),
		newTableYield(), newTableWriters(),
		storeFlag(newTableDescribe()), storeFlag(newTableHistory()),
		storeFlag(newTableOptimize()), storeFlag(newTableVacuum()), storeFlag(newTableDelete())))
}

func newTableSQL() *cobra.Command {
	var engine string
	cmd := &cobra.Command{
		Use:   "sql TOPIC --engine " + engineNames("|"),
		Short: "Print what an engine needs to read a topic's table",
		Long: `Prints what an engine needs to read a topic's table, ready to be pasted. The
table's address comes from the broker; the endpoint of an S3-compatible store
from AWS_ENDPOINT_URL. Credentials are never printed: the engine finds them in
AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, ok := engines[engine]; !ok {
				return usagef("--engine %q: want one of %s", engine, engineNames(", "))
			}
			return withAdmin(cmd, func(ctx context.Context, c *client) error {
				location, err := c.tableURL(ctx, args[0])
				if err != nil {
					return err
				}
				s, err := newSnippet(args[0], location, os.Getenv)
				if err != nil {
					return err
				}
				return s.write(cmd.OutOrStdout(), engine)
			})
		},
	}
	cmd.Flags().StringVar(&engine, "engine", "duckdb", engineNames(", "))
	return cmd
}
