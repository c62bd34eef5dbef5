package check

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/parquet-go/parquet-go"

	"sluice/storage/object"
)

// files judges the data files: those in the table, those that have left it, and
// those that nobody knows.
func (c *checker) files() error {
	there, now, err := c.listFiles()
	if err != nil {
		return err
	}
	names := slices.Sorted(maps.Keys(c.state.files))
	var live []placed
	var missing []placed // not there, or gone when it was read
	for _, name := range names {
		f := c.state.files[name]
		key, inside := keyOf(c.store.URL(), c.Table, f.path)
		if !inside || !object.ValidKey(key) {
			c.report(Error, atFile(f.path), "Copy the file into the table's folder and rewrite it by an engine (OPTIMIZE).", "the file lies outside the table's folder, where Sluice does not read")
			continue
		}
		info, ok := there[key]
		if !ok {
			missing = append(missing, placed{name, object.Info{Key: key}})
			continue
		}
		live = append(live, placed{name, info})
	}
	c.Counts.Files = int64(len(names))
	p := &places{partitions: map[int32][]extent{}}
	if c.keyed() {
		c.rows = &keyedRows{sequences: map[int64]string{}, newest: map[rowKey]keyedRow{}}
	}
	done := int64(0)
	err = ordered(c.ctx, len(live), parallel, func(ctx context.Context, i int) (fileRead, error) {
		return c.read(ctx, live[i].info)
	}, func(i int, r fileRead) error {
		c.progress("files", done, int64(len(live)))
		done++
		if errors.Is(r.err, object.ErrNotFound) {
			missing = append(missing, live[i])
			return nil
		}
		c.judge(live[i], r, p)
		return nil
	})
	if err != nil {
		return err
	}
	c.progress("files", done, int64(len(live)))
	whole, err := c.reportMissing(missing)
	if err != nil {
		return err
	}
	if !c.keyed() && !c.state.metadata.deleted() {
		if err := c.checkPlaces(p, whole); err != nil {
			return err
		}
	}
	c.leftovers(there, now)
	return nil
}

// listFiles lists the objects in the table's folder that can be data files: not
// below a folder that begins with "_" or "." [P Data Files].
func (c *checker) listFiles() (map[string]object.Info, time.Time, error) {
	there := map[string]object.Info{}
	folder := c.Table + "/"
	now, err := object.All(c.ctx, c.store, object.ListRequest{Prefix: folder}, func(info object.Info) error {
		name := strings.TrimPrefix(info.Key, folder)
		if !strings.HasPrefix(name, "_") && !strings.HasPrefix(name, ".") {
			there[info.Key] = info
		}
		return nil
	})
	if err != nil {
		return nil, now, fmt.Errorf("list its files: %w", err)
	}
	return there, now, nil
}

// fileRead is a data file as it was read.
type fileRead struct {
	facts *facts
	rows  []keyedRow
	err   error // why it could not be read, or why it is not there
}

// read reads a file. The error is one of the store, other than that it is not there.
func (c *checker) read(ctx context.Context, info object.Info) (r fileRead, err error) {
	quick := c.options.Quick && !c.keyed()
	r.err = withParquet(ctx, c.store, info, quick, func(file *parquet.File) (err error) {
		if c.keyed() {
			r.facts = &facts{rows: file.NumRows(), ours: true}
			r.rows, err = readKeyed(file)
			return err
		}
		r.facts, err = readFacts(file, quick)
		return err
	})
	if r.err != nil && !errors.Is(r.err, errUnreadable) && !errors.Is(r.err, object.ErrNotFound) {
		return r, r.err
	}
	return r, nil
}

// judge compares one file with what the log says of it.
func (c *checker) judge(l placed, r fileRead, p *places) {
	f := c.state.files[l.path]
	at := atFile(f.path)
	if l.info.Size != f.size {
		c.report(Error, at, doFile, "it has %d bytes; the log says %d", l.info.Size, f.size)
	}
	c.Counts.Bytes += l.info.Size
	if r.err != nil {
		c.report(Error, at, doFile, "%v", r.err)
		return
	}
	c.Counts.Rows += r.facts.rows
	if c.keyed() {
		c.judgeKeyed(f, r)
		return
	}
	c.checkStats(f, r.facts)
	c.checkTag(f, r.facts)
	if r.facts.ours && r.facts.shuffled {
		c.report(Error, at, doReport, "its rows are not sorted by partition and offset, or one is there twice")
	}
	if len(r.facts.unread) > 0 {
		c.report(Info, at, "Nothing: the next compaction of the file mends it.", "%s: compressed in some row groups and not in others, which Go's parquet-go cannot read; these values were not looked at", strings.Join(r.facts.unread, ", "))
	}
	if n := r.facts.unplaced; n > 0 {
		severity := Info
		if r.facts.ours {
			severity = Error
		}
		c.report(severity, at, "Nothing if an engine has inserted them: consumers do not get rows without partition and offset.", "%d rows have no place", n)
	}
	p.take(f.path, l.info, r.facts)
}

// reportMissing reports the files that are not there, unless a version after the
// one that is checked has taken them out of the table. whole says that none has.
func (c *checker) reportMissing(missing []placed) (whole bool, err error) {
	if len(missing) == 0 {
		return true, nil
	}
	removed, err := c.removedSince()
	if err != nil {
		return false, err
	}
	whole = true
	for _, m := range missing {
		if removed[m.path] {
			whole = false
			continue
		}
		f := c.state.files[m.path]
		c.report(Error, atFile(f.path), doFile, "the file is not there")
	}
	return whole, nil
}

// removedSince are the files that versions after the checked one remove.
func (c *checker) removedSince() (map[string]bool, error) {
	removed := map[string]bool{}
	newer, err := listLog(c.ctx, c.store, c.Table)
	if err != nil {
		return nil, err
	}
	for v := c.Version + 1; v <= newer.tip; v++ {
		info, ok := newer.entries[v]
		if !ok {
			continue
		}
		o, err := c.store.Get(c.ctx, info.Key, object.Range{Length: maxEntryBytes})
		if errors.Is(err, object.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		e, err := parseEntry(v, o.Body)
		if err != nil {
			continue // not of the version that is checked
		}
		for _, m := range e.removes {
			removed[nameOf(m.Path)] = true
		}
	}
	return removed, nil
}

// leftovers judges what is not in the table: files that are still promised to
// readers of older versions, and files that are nobody's.
func (c *checker) leftovers(there map[string]object.Info, now time.Time) {
	s := c.state
	known := map[string]bool{}
	for _, f := range s.files {
		key, _ := keyOf(c.store.URL(), c.Table, f.path)
		known[key] = true
	}
	retention, err := parseInterval(s.metadata.Configuration["delta.deletedFileRetentionDuration"])
	if err != nil {
		retention = 7 * 24 * time.Hour // the protocol's default
	}
	for _, name := range slices.Sorted(maps.Keys(s.tombstones)) {
		t := s.tombstones[name]
		key, _ := keyOf(c.store.URL(), c.Table, t.path)
		known[key] = !s.metadata.deleted()
		if now.IsZero() || s.gone(t) || now.Sub(time.UnixMilli(t.deleted)) >= retention {
			continue
		}
		c.Counts.Tombstones++
		if _, ok := there[key]; !ok {
			c.report(Warning, atFile(t.path), "Nothing, if an engine has run VACUUM with a short retention; readers that began before it may fail.",
				"it left the table at %s, and is gone before %s (delta.deletedFileRetentionDuration) were over",
				time.UnixMilli(t.deleted).UTC().Format(time.RFC3339), retention)
		}
	}
	for key, info := range there {
		if known[key] || now.IsZero() || now.Sub(info.Modified) < c.options.OrphanAge {
			continue
		}
		c.Counts.Orphans++
		c.Counts.OrphanBytes += info.Size
	}
	if n := c.Counts.Orphans; n > 0 {
		what := "that no version of the table names: uploads of a broker that was stopped before their commit, or what engines left behind"
		if s.metadata.deleted() {
			what = "are left of the deleted topic"
		}
		c.report(Info, wholeTable, "They cost storage and nothing else; the broker deletes its own in time.", "%s (%d bytes) %s", plural(int(n), "data file"), c.Counts.OrphanBytes, what)
	}
}
