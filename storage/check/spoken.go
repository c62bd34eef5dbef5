package check

import "context"

// Some readers know no checkpoints (Pathway): they begin at the oldest entry that
// they find and pass over what is missing. For them every live file must be added
// by an entry that still stands in the log (storage/README.md).

// speak takes up what an entry says of files.
func (r *replayer) speak(e *entry) {
	for _, m := range e.removes {
		delete(r.spoken, nameOf(m.Path))
	}
	for _, a := range e.adds {
		r.spoken[nameOf(a.Path)] = true
	}
}

// checkSpoken looks for live files of which only checkpoints tell. begin is the
// version from which entries were followed; some may stand before it.
func (r *replayer) checkSpoken(begin int64) error {
	silent := map[string]bool{}
	for name := range r.state.files {
		if !r.spoken[name] {
			silent[name] = true
		}
	}
	first := begin
	for len(silent) > 0 && r.listing.unbroken(first-1, first-1) {
		first--
	}
	err := ordered(r.ctx, int(begin-first), parallel, func(ctx context.Context, i int) (*entry, error) {
		return r.readEntry(ctx, first+int64(i))
	}, func(_ int, e *entry) error {
		if e != nil {
			for _, a := range e.adds {
				delete(silent, nameOf(a.Path))
			}
		}
		return nil
	})
	if n := len(silent); err == nil && n > 0 && !r.keyed() {
		r.report(Warning, wholeTable, "The broker adds them again before it next cleans up the log, if it does so; until then read the table by an engine that knows checkpoints.",
			"of %s only checkpoints tell: readers that begin at the oldest entry (Pathway) lack their rows", plural(n, "live file"))
	}
	return err
}
