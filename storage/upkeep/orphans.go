package upkeep

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"sluice/storage/delta"
	"sluice/storage/object"
)

// Orphans are data files that were uploaded and never committed: by a broker that
// was killed, in a race that was lost, for a rewriting that was given up. Finding
// them takes two steps, since a file may be committed between the two: ListOld lists old
// files, and Unnamed, with a snapshot that is newer than the listing, tells which of
// them the table does not name.
//
// When a file may be deleted. Let t be the store's clock at the listing, s a snapshot
// that holds everything that stood in the log at a moment after t, and f a file that
// was OrphanAge (pace.go) old at t and that s does not name, live or as a tombstone. Then f is
// never committed later:
//   - Not by whoever leads the table at that moment: an entry names only files whose
//     upload began (a pool's) or ended (a proposal's; a rewriting takes minutes) at most ten
//     minutes before its put began (delta.Committer uploads pools anew and refuses proposals after that), and no put was under way
//     (delta.Committer.Current sees to that in a broker; package admin, from outside of one, puts an
//     entry of its own first, which whoever has one under way must meet).
//   - Not by a leader before: its next entry meets that of the take-over, and it stops.
//   - Not by a leader to come: it uploads under names of its own, after that moment.
//
// It makes no difference when the deletion happens: names are never used twice, so a
// broker that is frozen between the snapshot and the deletion does no harm.
// An engine's files have other names and are left alone.

// Page is a part of a listing of old files.
type Page struct {
	Files []object.Info
	Next  string // where to go on; "" at the end
}

// ListOld lists files under the data folder of a table, at most that many requests
// (1,000 keys each) from the key after on, that Sluice has written before age by the
// store's clock and not after the date of that moment by ours: clocks that jump do not make a
// file old. Folders of younger dates are not listed. A store that tells no time has no old files.
func ListOld(ctx context.Context, store object.Store, table, after string, requests int, age time.Duration) (Page, error) {
	page := Page{Next: after}
	request := object.ListRequest{Prefix: table + "/data/", After: after}
	for range requests {
		listing, err := store.List(ctx, request)
		if err != nil {
			return Page{}, fmt.Errorf("listing the data files of %s: %w", table, err)
		}
		cutoff, newest := listing.Now.Add(-age), time.Now().UTC().Add(-age).Format(time.DateOnly)
		for _, info := range listing.Objects {
			date, ok := fileDate(strings.TrimPrefix(info.Key, request.Prefix))
			if ok && date > newest {
				return Page{Files: page.Files}, nil // none of what follows is older
			}
			if ok && !listing.Now.IsZero() && info.Modified.Before(cutoff) {
				page.Files = append(page.Files, info)
			}
		}
		if !listing.More {
			return Page{Files: page.Files}, nil
		}
		request.After, page.Next = listing.Last, listing.Last
	}
	return page, nil
}

// fileDate is the date in the name of a data file of ours, <date>/<uuid>.parquet.
func fileDate(name string) (date string, ok bool) {
	date, rest, _ := strings.Cut(name, "/")
	id, ours := strings.CutSuffix(rest, ".parquet")
	if !ours || len(id) != 36 || uuid.Validate(id) != nil {
		return "", false
	}
	_, err := time.Parse(time.DateOnly, date)
	return date, err == nil
}

// Unnamed are the keys of files that s does not name: neither as a live file nor as a
// tombstone, by whatever path. s must be newer than the listing of the files.
func Unnamed(log *delta.Log, s *delta.Snapshot, files []object.Info) (keys []string) {
	if len(files) == 0 {
		return nil
	}
	named := make(map[string]bool, len(s.Files)+len(s.Tombstones))
	name := func(path string) {
		if key, err := log.DataKey(path); err == nil {
			named[key] = true
		}
	}
	for _, a := range s.Files {
		name(a.Path)
	}
	for _, r := range s.Tombstones {
		name(r.Path)
	}
	for _, f := range files {
		if !named[f.Key] {
			keys = append(keys, f.Key)
		}
	}
	return keys
}
