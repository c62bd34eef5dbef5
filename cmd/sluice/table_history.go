package main

import (
	"strconv"

	"github.com/spf13/cobra"

	"sluice/storage/admin"
)

func newTableHistory() *cobra.Command {
	var limit int64
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "history TOPIC",
		Short: "Show the newest versions of a topic's table",
		Long: `Shows the newest versions of a topic's table, the newest first: who made them,
when, and what they did. It needs no broker if --store names the store.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if limit < 1 {
				return usagef("--limit %d: want one version at least", limit)
			}
			t, err := openTable(cmd, args[0], admin.Options{})
			if err != nil {
				return err
			}
			var versions []admin.Version
			if err := t.History(cmd.Context(), limit, func(v admin.Version) bool {
				versions = append(versions, v)
				return true
			}); err != nil {
				return err
			}
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), orEmpty(versions))
			}
			g := newGrid("VERSION", "TIME", "OPERATION", "ADDED", "REMOVED", "ROWS", "BYTES", "ENGINE")
			for _, v := range versions {
				g.add(strconv.FormatInt(v.Version, 10), at(v.Time), v.Operation, strconv.Itoa(v.FilesAdded), strconv.Itoa(v.FilesRemoved),
					signed(v.Rows), strconv.FormatInt(v.Bytes, 10), v.Engine)
			}
			return g.write(cmd.OutOrStdout())
		},
	}
	cmd.Flags().Int64Var(&limit, "limit", 20, "how many versions to show")
	jsonFlag(cmd, &asJSON)
	return cmd
}
