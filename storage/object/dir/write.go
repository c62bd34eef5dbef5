package dir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/google/uuid"

	"sluice/storage/object"
)

const (
	// tempDir holds files until they are whole. It lies within the root, since a
	// link or rename cannot leave a file system, and beneath the folder of
	// Sluice's own state, which engines skip. Its files are not objects.
	tempDir = "_sluice/tmp"
	// leftoverAge is the age from which a temporary file belongs to a process
	// that died. A write that takes this long would lose its file, fail and be
	// repeated: no harm, but wasteful.
	leftoverAge = time.Hour
	// placeAttempts bounds how often a write makes its folder again because a
	// concurrent Delete, having found it empty, removed it.
	placeAttempts = 100
)

// reserved reports whether key is, or lies in, the folder for temporary files.
func reserved(key string) bool {
	return key == tempDir || strings.HasPrefix(key, tempDir+"/")
}

// write stores body under a temporary name and gives it the key by place, which
// is Root.Link or Root.Rename.
func (s *Store) write(ctx context.Context, kind object.Kind, key string, body []byte, place func(from, to string) error) (now time.Time, err error) {
	if err := begin(ctx, kind, key); err != nil {
		return time.Time{}, err
	}
	tmp, now, err := s.writeTemp(ctx, body)
	if err != nil {
		return time.Now(), fmt.Errorf("%s %s: %w", kind, key, denied(err))
	}
	defer s.discard(tmp)

	folder := path.Dir(key)
	err = s.placeIn(folder, func() error {
		if err := ctx.Err(); err != nil {
			return err // the last moment at which nothing has happened
		}
		return place(filepath.FromSlash(tmp), filepath.FromSlash(key))
	})
	switch {
	case err == nil:
	case s.isFolder(key):
		return now, fmt.Errorf("%s %s: a folder has this name: %w", kind, key, object.ErrBadKey)
	case kind == object.KindCreate && errors.Is(err, fs.ErrExist):
		// Whoever made the object may not have synced it yet. The caller will
		// build on it, so it must not vanish with a power failure.
		if err := s.syncDir(folder); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return now, fmt.Errorf("%s %s: sync of its folder: %w", kind, key, err)
		}
		return now, fmt.Errorf("%s %s: %w", kind, key, object.ErrExists)
	case errors.Is(err, syscall.ENOTDIR):
		return now, fmt.Errorf("%s %s: an object has the name of its folder: %w", kind, key, object.ErrBadKey)
	case errors.Is(err, syscall.EXDEV):
		return now, fmt.Errorf("%s %s: its folder is on another file system than %s: keep one file system under the root: %w",
			kind, key, s.path, err)
	default:
		return now, fmt.Errorf("%s %s: %w", kind, key, denied(err))
	}
	// From here on the object can be seen: no error says that it was not written.
	// A folder that is missing was removed after the object, by a Delete since.
	if err := s.syncDir(folder); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return now, fmt.Errorf("%s %s: sync of its folder: %w", kind, key, err)
	}
	return now, nil
}

func (s *Store) isFolder(key string) bool {
	info, err := s.root.Lstat(filepath.FromSlash(key))
	return err == nil && info.IsDir()
}

// denied is translate for a write, to which "not found" means nothing.
func denied(err error) error {
	if absent(err) {
		return err
	}
	return translate(err)
}

// writeTemp writes a file of a name of its own in tempDir, syncs it, and returns
// its path below the root and its modification time.
func (s *Store) writeTemp(ctx context.Context, body []byte) (name string, now time.Time, err error) {
	name = tempDir + "/" + strconv.Itoa(os.Getpid()) + "-" + uuid.NewString()
	var f *os.File
	err = s.placeIn(tempDir, func() (err error) {
		// Readable by others, as engines under other users read the table.
		f, err = s.root.OpenFile(filepath.FromSlash(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		return err
	})
	if err != nil {
		return "", time.Time{}, err
	}
	defer func() {
		if closeErr := f.Close(); err == nil {
			err = closeErr // some network file systems report a full disk only here
		}
		if err != nil {
			s.discard(name)
		}
	}()
	if _, err := f.Write(body); err != nil {
		return "", time.Time{}, err
	}
	if err := ctx.Err(); err != nil {
		return "", time.Time{}, err
	}
	if err := f.Sync(); err != nil {
		return "", time.Time{}, err
	}
	info, err := f.Stat()
	if err != nil {
		return "", time.Time{}, err
	}
	return name, info.ModTime(), nil
}

// discard removes a temporary file. After a rename it is gone already, and what
// stays for another reason is swept at a later Open.
func (s *Store) discard(name string) { _ = s.root.Remove(filepath.FromSlash(name)) }

// sweep removes temporary files of processes that died. It is best effort: a
// leftover takes space and nothing else.
func (s *Store) sweep(now time.Time) {
	d, err := s.root.Open(filepath.FromSlash(tempDir))
	if err != nil {
		return
	}
	defer d.Close()
	for {
		names, err := d.Readdirnames(readBatch)
		for _, name := range names {
			name = tempDir + "/" + name
			info, err := s.root.Lstat(filepath.FromSlash(name))
			if err == nil && info.Mode().IsRegular() && now.Sub(info.ModTime()) > leftoverAge {
				s.discard(name)
			}
		}
		if err != nil {
			return
		}
	}
}
