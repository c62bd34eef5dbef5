package dir

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"syscall"
)

// placeIn runs place, which puts a name into folder, making the folder where it
// is missing, also where a concurrent Delete keeps removing it.
func (s *Store) placeIn(folder string, place func() error) error {
	for attempt := 1; ; attempt++ {
		err := place()
		if !errors.Is(err, fs.ErrNotExist) || attempt == placeAttempts {
			return err
		}
		if err := s.root.MkdirAll(filepath.FromSlash(folder), 0o755); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
}

// syncDir makes the names in folder durable. The first time, and whenever
// another directory has taken its place, it does the same for the folder's own
// name and for those of its parents up to the root: a name is durable once its
// directory is synced, and whoever made the folder may not have come to it.
func (s *Store) syncDir(folder string) error {
	info, err := s.syncOne(folder)
	if err != nil || folder == "." {
		return err
	}
	s.mu.Lock()
	known := s.durable[folder]
	s.mu.Unlock()
	if known != nil && os.SameFile(known, info) {
		return nil
	}
	if err := s.syncDir(path.Dir(folder)); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.durable) >= maxDurable {
		clear(s.durable) // each costs one more sync when next used
	}
	s.durable[folder] = info
	return nil
}

// maxDurable bounds Store.durable: many more folders than are written to at once.
const maxDurable = 10_000

func (s *Store) syncOne(folder string) (fs.FileInfo, error) {
	d, err := s.root.Open(filepath.FromSlash(folder))
	if err != nil {
		return nil, err
	}
	defer d.Close()
	info, err := d.Stat()
	if err != nil {
		return nil, err
	}
	// Some file systems cannot sync a directory, and say so with EINVAL; they
	// give no better way.
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) {
		return nil, err
	}
	return info, nil
}

// prune removes folder and its parents as far as they are empty. The removal
// needs no sync: an empty directory that comes back is no object.
func (s *Store) prune(folder string) {
	for ; folder != "."; folder = path.Dir(folder) {
		// Forgotten first: a writer that makes it again must sync its name again.
		s.mu.Lock()
		delete(s.durable, folder)
		s.mu.Unlock()
		// Remove takes files, too, but a file of this name was not there a moment
		// ago, and a writer could not make one of it: its objects' folder is this.
		if err := s.root.Remove(filepath.FromSlash(folder)); err != nil {
			return
		}
	}
}
