package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"sluice/storage/check"
)

// checkOutput writes what a check finds, table by table, and on a terminal how far
// it has come.
type checkOutput struct {
	out    io.Writer
	err    io.Writer // for the progress; nil: nobody is watching
	asJSON bool
	shown  time.Time // when the progress was last written
	dirty  bool      // the terminal's line shows it
}

// progressEvery is the time between two looks of the progress.
const progressEvery = 100 * time.Millisecond

func newCheckOutput(cmd *cobra.Command, asJSON bool) *checkOutput {
	o := &checkOutput{out: cmd.OutOrStdout(), asJSON: asJSON, shown: time.Now()}
	if isTerminal(cmd.ErrOrStderr()) {
		o.err = cmd.ErrOrStderr()
	}
	return o
}

func (o *checkOutput) progress(p check.Progress) {
	if now := time.Now(); o.err != nil && now.Sub(o.shown) >= progressEvery {
		o.shown, o.dirty = now, true
		fmt.Fprintf(o.err, "\r\x1b[K%s: %s %d/%d", p.Table, p.Step, p.Done, p.Total)
	}
}

// clear takes the progress off the terminal.
func (o *checkOutput) clear() {
	if o.dirty {
		fmt.Fprint(o.err, "\r\x1b[K")
		o.dirty = false
	}
}

// table writes one table's report.
func (o *checkOutput) table(r *check.Report) {
	o.clear()
	if o.asJSON {
		return // one document at the end
	}
	state := "ok"
	switch {
	case !r.Sound():
		state = "NOT SOUND"
	case r.Deleted:
		state = "ok, deleted"
	}
	fmt.Fprintf(o.out, "%s  %s  version %d, %s in %s, %s\n", r.Table, state, r.Version,
		plural(r.Counts.Rows, "row"), plural(r.Counts.Files, "file"), size(r.Counts.Bytes))
	listed := 0
	for i := range r.Problems {
		p := &r.Problems[i]
		where := p.Where()
		if where != "" {
			where = " in " + where
		}
		label := string(p.Severity)
		if p.Severity == check.Info {
			label = "note"
		}
		fmt.Fprintf(o.out, "  %s%s: %s\n", label, where, p.What)
		if p.Severity != check.Info {
			fmt.Fprintf(o.out, "    %s\n", p.Do)
		}
		listed++
	}
	if more := r.Errors + r.Warnings + r.Infos - listed; more > 0 {
		fmt.Fprintf(o.out, "  and %d more\n", more)
	}
}

// end writes the sum, or the whole as JSON.
func (o *checkOutput) end(r *check.RootReport) error {
	o.clear()
	if o.asJSON {
		return writeJSON(o.out, struct {
			Sound bool `json:"sound"`
			*check.RootReport
		}{r.Sound(), r})
	}
	_, err := fmt.Fprintf(o.out, "%s: %s; %s, %s, %s; took %s\n", r.Root, plural(int64(len(r.Tables)), "table"),
		plural(int64(r.Errors), "error"), plural(int64(r.Warnings), "warning"), plural(int64(r.Infos), "note"), r.Took.Round(time.Millisecond))
	return err
}
