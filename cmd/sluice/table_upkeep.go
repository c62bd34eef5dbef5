package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sluice/storage/admin"
)

func newTableOptimize() *cobra.Command {
	var target int64
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "optimize TOPIC",
		Short: "Rewrite a topic's small files to large ones, now",
		Long: `Rewrites a table's small files to files of about --target-bytes, in which the rows of
each partition stand together. No row changes and no offset. It is safe while a broker
writes the topic, which merges small files by itself, though to smaller ones.

It takes as much memory as a file, and some 150 MiB.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if target < 1<<20 || target > 1<<30 {
				return usagef("--target-bytes %d: want between 1 MiB and 1 GiB (%d and %d)", target, 1<<20, 1<<30)
			}
			t, err := openTable(cmd, args[0], admin.Options{Progress: progress(cmd)})
			if err != nil {
				return err
			}
			done, err := t.Optimize(cmd.Context(), target)
			if err != nil && len(done.Versions) == 0 {
				return err
			}
			done.Versions = orEmpty(done.Versions)
			if asJSON {
				return errors.Join(err, writeJSON(cmd.OutOrStdout(), done))
			}
			if len(done.Versions) == 0 {
				_, err := fmt.Fprintln(cmd.OutOrStdout(), "nothing to do: no small files lie together")
				return err
			}
			_, writeErr := fmt.Fprintf(cmd.OutOrStdout(), "%s (%s) became %s (%s) in %s\n", plural(int64(done.FilesRemoved), "file"), size(done.BytesRemoved),
				plural(int64(done.FilesAdded), "file"), size(done.BytesAdded), versionsText(done.Versions))
			return errors.Join(err, writeErr)
		},
	}
	cmd.Flags().Int64Var(&target, "target-bytes", admin.DefaultTarget, "about how large the new files are")
	jsonFlag(cmd, &asJSON)
	return cmd
}

func newTableVacuum() *cobra.Command {
	var dryRun, asJSON bool
	cmd := &cobra.Command{
		Use:   "vacuum TOPIC",
		Short: "Delete files that nobody may read any more, now",
		Long: `Deletes files that left the table longer ago than sluice.table.deleted.files.ms, and
orphans: files that no version of the table names, left behind by a writer that was killed.
Those are at least an hour old, and a week if an engine wrote them.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := openTable(cmd, args[0], admin.Options{Progress: progress(cmd)})
			if err != nil {
				return err
			}
			done, err := t.Vacuum(cmd.Context(), dryRun)
			if err != nil {
				return err
			}
			return reportVacuum(cmd, asJSON, dryRun, done)
		},
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only count")
	jsonFlag(cmd, &asJSON)
	return cmd
}

func reportVacuum(cmd *cobra.Command, asJSON, dryRun bool, done admin.Vacuumed) error {
	if asJSON {
		return writeJSON(cmd.OutOrStdout(), done)
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s %s that had left the table (%s) and %s (%s)\n", didOrWould(dryRun, "deleted", "would delete"),
		plural(int64(done.Tombstones), "file"), size(done.TombstoneBytes), plural(int64(done.Orphans), "orphan"), size(done.OrphanBytes))
	return err
}

func didOrWould(dryRun bool, did, would string) string {
	if dryRun {
		return would
	}
	return did
}

// versionsText names the versions that a command committed.
func versionsText(versions []int64) string {
	switch n := len(versions); n {
	case 0:
		return "no version"
	case 1:
		return fmt.Sprintf("version %d", versions[0])
	default:
		return fmt.Sprintf("%d versions, %d to %d", n, versions[0], versions[n-1])
	}
}

// progress shows on stderr how far a long command has come: each second to a
// person, each ten to a log.
func progress(cmd *cobra.Command) func(done, total int64, what string) {
	w := cmd.ErrOrStderr()
	every, end := 10*time.Second, "\n"
	if isTerminal(w) {
		every, end = time.Second, "\r"
	}
	last := time.Now()
	return func(done, total int64, what string) {
		if now := time.Now(); total > 0 && now.Sub(last) >= every {
			last = now
			fmt.Fprintf(w, "%3d%% of %d %s%s", 100*done/total, total, what, end)
		}
	}
}

// confirm asks a person whether to go on. Without one to ask it answers otherwise.
func confirm(cmd *cobra.Command, question string, otherwise bool) (bool, error) {
	if !isTerminal(cmd.InOrStdin()) {
		return otherwise, nil
	}
	fmt.Fprint(cmd.ErrOrStderr(), question, " [y/N] ")
	line, err := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	answer := strings.ToLower(strings.TrimSpace(line))
	return answer == "y" || answer == "yes", nil
}
