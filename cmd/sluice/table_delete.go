package main

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sluice/storage/admin"
)

// deletion are the flags of `table delete`.
type deletion struct {
	keys, keys64, keyFiles []string
	offsets                []string
	before                 string
	dryRun, purge          bool
	yes, asJSON            bool
}

// deletionReport is what `table delete` tells.
type deletionReport struct {
	admin.Deleted
	DryRun bool            `json:"dry_run"`
	Purged *admin.Vacuumed `json:"purged,omitempty"`
}

func newTableDelete() *cobra.Command {
	var d deletion
	cmd := &cobra.Command{
		Use:   "delete TOPIC (--key K | --offsets P:A-B | --before TIME)",
		Short: "Delete rows from a topic, for consumers and for SQL",
		Long: `Deletes rows from a topic by their key, their offsets or their age, whoever may write the
table and while a broker serves it. Files that hold such rows are replaced by files without
them; for consumers the offsets become gaps. Name several keys or offsets by repeating a flag.

Rows that are committed after the command has begun are not looked at. A broker follows within
seconds; it then serves none of the rows, from its memory neither.

The replaced files stay in the store for readers of older versions until
sluice.table.deleted.files.ms is over (an hour by default), and then the broker deletes them.
With --purge they are deleted at once, with all other files that have left the table and orphans
older than an hour: queries that are running on an older version fail.

Keys are not written to the table's log. By key every file has to be read.`,
		Example: `  sluice table delete orders --key customer-17 --dry-run
  sluice table delete orders --offsets 0:1200-1299 --offsets 1:7
  sluice table delete orders --before 30d --purge --yes`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			selection, err := d.selection(time.Now())
			if err != nil {
				return err
			}
			t, err := openTable(cmd, args[0], admin.Options{Progress: progress(cmd)})
			if err != nil {
				return err
			}
			if ok, err := d.confirmed(cmd, args[0]); err != nil {
				return err
			} else if !ok {
				return errors.New("nothing is deleted: it was not confirmed")
			}
			return d.run(cmd, t, selection)
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&d.keys, "key", nil, "delete the rows with this key, repeatable")
	f.StringArrayVar(&d.keys64, "key-base64", nil, "the same for a key in base64, repeatable")
	f.StringArrayVar(&d.keyFiles, "key-file", nil, "the same for each line of a file, repeatable")
	f.StringArrayVar(&d.offsets, "offsets", nil, "delete these offsets of a partition: P:A-B (both inclusive) or P:A, repeatable")
	f.StringVar(&d.before, "before", "", "delete the rows with an older timestamp: RFC 3339, ms since 1970, or an age such as 12h or 30d")
	f.BoolVar(&d.dryRun, "dry-run", false, "only count")
	f.BoolVar(&d.purge, "purge", false, "delete the replaced files at once")
	f.BoolVarP(&d.yes, "yes", "y", false, "do not ask")
	jsonFlag(cmd, &d.asJSON)
	return cmd
}

func (d *deletion) run(cmd *cobra.Command, t *admin.Table, selection admin.Selection) error {
	deleted, err := t.Delete(cmd.Context(), selection, d.dryRun)
	if errors.Is(err, admin.ErrSelection) {
		return usageError{err}
	}
	deleted.Versions = orEmpty(deleted.Versions)
	report := deletionReport{Deleted: deleted, DryRun: d.dryRun}
	if n := len(deleted.Versions); n > 0 {
		d.tell(cmd, t.Topic(), deleted.Versions[n-1])
	}
	if err == nil && d.purge {
		var purged admin.Vacuumed
		purged, err = t.Purge(cmd.Context(), d.dryRun)
		report.Purged = &purged
	}
	if err != nil && len(deleted.Versions) == 0 {
		return err
	}
	if err != nil {
		err = advise(err, "What is reported here is done. Run the command again for the rest.")
	}
	if d.asJSON {
		return errors.Join(err, writeJSON(cmd.OutOrStdout(), report))
	}
	if d.dryRun {
		fmt.Fprintf(cmd.OutOrStdout(), "would delete %s from %s, as of version %d\n",
			plural(deleted.Rows, "row"), plural(int64(deleted.Files), "file"), deleted.UpTo)
	} else if len(deleted.Versions) == 0 {
		fmt.Fprintln(cmd.OutOrStdout(), "nothing was deleted: no row fits")
	} else {
		fmt.Fprintf(cmd.OutOrStdout(), "deleted %s; %s rewritten in %s\n",
			plural(deleted.Rows, "row"), plural(int64(deleted.Files), "file"), versionsText(deleted.Versions))
	}
	if report.Purged != nil {
		err = errors.Join(err, reportVacuum(cmd, false, d.dryRun, *report.Purged))
	}
	return err
}

// tell makes the broker take up what was deleted, so that it serves it from its memory no
// longer than this takes.
func (d *deletion) tell(cmd *cobra.Command, topic string, version int64) {
	if err := tellBroker(cmd, topic, version); err != nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "sluice: a broker that serves this table takes it up when it next commits to the topic, and may serve\n"+
			"  the rows from its memory until then; none was told: %v\n", err)
	}
}

// confirmed asks before rows are deleted. Nobody who could be asked is a yes to a
// deletion, which older versions of the table outlive for a while, and a no to --purge.
func (d *deletion) confirmed(cmd *cobra.Command, topic string) (bool, error) {
	switch {
	case d.dryRun, d.yes:
		return true, nil
	case d.purge:
		ok, err := confirm(cmd, "Delete rows from "+topic+" for good, and every file that has left its table? Queries on older versions fail.", false)
		if err == nil && !ok && !isTerminal(cmd.InOrStdin()) {
			err = usagef("--purge takes the table's older versions from their readers at once: say --yes")
		}
		return ok, err
	}
	return confirm(cmd, "Delete rows from "+topic+"?", true)
}

// selection reads the flags. now is what ages count from.
func (d *deletion) selection(now time.Time) (s admin.Selection, err error) {
	for _, key := range d.keys {
		s.Keys = append(s.Keys, []byte(key))
	}
	for _, text := range d.keys64 {
		key, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return s, usagef("--key-base64 %q: %w", text, err)
		}
		s.Keys = append(s.Keys, key)
	}
	for _, name := range d.keyFiles {
		text, err := os.ReadFile(name)
		if err != nil {
			return s, usageError{err}
		}
		for line := range bytes.Lines(text) {
			// A line that is empty is no key: a file ends with one more often than not.
			if key := bytes.TrimRight(line, "\r\n"); len(key) > 0 {
				s.Keys = append(s.Keys, key)
			}
		}
	}
	for _, text := range d.offsets {
		r, err := parseOffsets(text)
		if err != nil {
			return s, err
		}
		s.Offsets = append(s.Offsets, r)
	}
	if d.before != "" {
		if s.Before, err = parseBefore(d.before, now); err != nil {
			return s, err
		}
	}
	ways := 0
	for _, given := range []bool{len(s.Keys) > 0, len(s.Offsets) > 0, d.before != ""} {
		if given {
			ways++
		}
	}
	if ways != 1 {
		return s, usagef("name the rows in one way: --key, --offsets or --before")
	}
	return s, nil
}

// parseOffsets reads P:A-B or P:A.
func parseOffsets(text string) (admin.OffsetRange, error) {
	wrong := usagef("--offsets %q: want PARTITION:FIRST-LAST or PARTITION:OFFSET", text)
	partition, offsets, ok := strings.Cut(text, ":")
	first, last, several := strings.Cut(offsets, "-")
	if !several {
		last = first
	}
	p, err1 := strconv.ParseInt(partition, 10, 32)
	a, err2 := strconv.ParseInt(first, 10, 64)
	b, err3 := strconv.ParseInt(last, 10, 64)
	if !ok || errors.Join(err1, err2, err3) != nil || p < 0 || a < 0 || b < a {
		return admin.OffsetRange{}, wrong
	}
	return admin.OffsetRange{Partition: int32(p), First: a, Last: b}, nil
}

// parseBefore reads a time: RFC 3339, ms since 1970, or an age, which may be in days.
func parseBefore(text string, now time.Time) (int64, error) {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && n > 0 {
		return n, nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseFloat(days, 64); err == nil && n >= 0 && n < 100_000 {
			return now.Add(-time.Duration(n * float64(24*time.Hour))).UnixMilli(), nil
		}
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d).UnixMilli(), nil
	}
	if p, err := parsePosition(text); err == nil && p.kind == atTime && p.n > 0 {
		return p.n, nil
	}
	return 0, usagef("--before %q: want a time such as 2026-01-31T12:00:00Z, ms since 1970, or an age such as 12h or 30d", text)
}
