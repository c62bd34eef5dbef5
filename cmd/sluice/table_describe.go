package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sluice/storage/admin"
)

func newTableDescribe() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "describe TOPIC",
		Short: "Show the state of a topic's table: files, rows, log, history, offsets",
		Long: `Shows the state of a topic's table as the store holds it: its files and rows, its
log and how far back it can be read, the offsets of each partition. It needs no
broker if --store names the store.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := openTable(cmd, args[0], admin.Options{})
			if err != nil {
				return err
			}
			d, err := t.Describe(cmd.Context())
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), d)
			}
			return writeTable(cmd.OutOrStdout(), d)
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

func writeTable(w io.Writer, d admin.Description) error {
	protocol := fmt.Sprintf("reader %d, writer %d", d.MinReaderVersion, d.MinWriterVersion)
	if len(d.WriterFeatures) > 0 {
		protocol += " (" + strings.Join(d.WriterFeatures, ", ") + ")"
	}
	checkpoint := "none yet"
	if d.Log.Checkpoint >= 0 {
		checkpoint = fmt.Sprintf("version %d", d.Log.Checkpoint)
	}
	facts := [][2]string{
		{"topic", d.Topic},
		{"table", d.URL},
		{"id", d.ID},
		{"version", fmt.Sprintf("%d of %s, leader epoch %d", d.Version, at(d.Time), d.LeaderEpoch)},
		{"writers", d.Writers + ": " + protocol},
		{"files", fmt.Sprintf("%s, %d below %s; %s, %s", plural(int64(d.Files), "file"), d.SmallFiles, size(admin.SmallFile), size(d.Bytes), plural(d.Rows, "row"))},
		{"tombstones", fmt.Sprintf("%s, %s, deleted %s after they left the table", plural(int64(d.Tombstones), "file"), size(d.TombstoneBytes), ms(d.Log.DeletedFilesMs))},
		{"log", fmt.Sprintf("%d entries, %s; checkpoint %s, %s since", d.Log.Entries, size(d.Log.Bytes), checkpoint, plural(d.Log.SinceCheckpoint, "version"))},
		{"history", fmt.Sprintf("from version %d of %s on (kept for %s); with all data files since %s",
			d.Log.OldestVersion, at(d.Log.OldestTime), ms(d.Log.HistoryMs), at(d.Log.ReadableSince))},
	}
	if d.YieldUntil != nil {
		facts = append(facts, [2]string{"yields", "until " + at(*d.YieldUntil) + ": the broker commits nothing"})
	}
	for i, name := range slices.Sorted(maps.Keys(d.Config)) {
		label := ""
		if i == 0 {
			label = "configs"
		}
		facts = append(facts, [2]string{label, name + "=" + d.Config[name]})
	}
	for _, fact := range facts {
		if _, err := fmt.Fprintf(w, "%-11s %s\n", fact[0], fact[1]); err != nil {
			return err
		}
	}
	fmt.Fprintln(w)
	g := newGrid("PARTITION", "START", "NEXT", "ROWS", "FILES")
	for _, p := range d.Partitions {
		g.add(strconv.Itoa(int(p.Partition)), strconv.FormatInt(p.LogStart, 10), strconv.FormatInt(p.Next, 10),
			strconv.FormatInt(p.Rows, 10), strconv.Itoa(p.Files))
	}
	return g.write(w)
}

// size prints bytes for people.
func size(n int64) string {
	const unit = 1024
	if n < unit {
		return plural(n, "byte")
	}
	f, prefix := float64(n)/unit, 0
	for ; f >= unit && prefix < 3; prefix++ {
		f /= unit
	}
	return strings.TrimSuffix(strconv.FormatFloat(f, 'f', 1, 64), ".0") + " " + string("KMGT"[prefix]) + "iB"
}

// ms prints milliseconds for people, in days where they are whole.
func ms(n int64) string {
	const day = 24 * time.Hour / time.Millisecond
	if d := time.Duration(n); d >= day && d%day == 0 {
		return plural(int64(d/day), "day")
	}
	return strings.TrimSuffix(strings.TrimSuffix((time.Duration(n)*time.Millisecond).String(), "0s"), "0m")
}
