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
	// writePart is how much of a large object, which nobody waits for, is handed to the
	// disk at a time. The sync of a log entry, for which producers wait, waits for all that
	// was handed over before it: behind a compacted file of 30 MiB in one piece that was
	// 20 ms, and one record in a hundred was there.
	writePart = 512 << 10
)

// reserved reports whether key is, or lies in, the folder for temporary files.
func reserved(key string) bool {
	return key == tempDir || strings.HasPrefix(key, tempDir+"/")
}

// write stores body under a temporary name and gives it the key by link, which is
// Root.Link or Root.Rename, when what was staged at the keys after is durable.
func (s *Store) write(ctx context.Context, kind object.Kind, key string, body []byte, link func(from, to string) error, after []string) (now time.Time, err error) {
	if err := begin(ctx, kind, key); err != nil {
		return time.Time{}, err
	}
	f, tmp, now, err := s.writeTemp(ctx, body, writePart)
	if err != nil {
		return time.Now(), fmt.Errorf("%s %s: %w", kind, key, denied(err))
	}
	defer s.discard(tmp)
	if err := syncClose(f); err != nil {
		return now, fmt.Errorf("%s %s: %w", kind, key, denied(err))
	}
	if err := s.await(ctx, after); err != nil {
		return now, fmt.Errorf("%s %s: %w", kind, key, err)
	}
	if err := s.place(ctx, kind, key, tmp, link); err != nil {
		return now, err
	}
	// From here on the object can be seen: no error says that it was not written.
	// A folder that is missing was removed after the object, by a Delete since.
	if err := s.syncDir(path.Dir(key)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return now, fmt.Errorf("%s %s: sync of its folder: %w", kind, key, err)
	}
	return now, nil
}

// place gives the file at tmp its key by link.
func (s *Store) place(ctx context.Context, kind object.Kind, key, tmp string, link func(from, to string) error) error {
	folder := path.Dir(key)
	err := s.placeIn(folder, func() error {
		if err := ctx.Err(); err != nil {
			return err // the last moment at which nothing has happened
		}
		return link(filepath.FromSlash(tmp), filepath.FromSlash(key))
	})
	switch {
	case err == nil:
		return nil
	case s.isFolder(key):
		return fmt.Errorf("%s %s: a folder has this name: %w", kind, key, object.ErrBadKey)
	case kind == object.KindCreate && errors.Is(err, fs.ErrExist):
		// Whoever made the object may not have synced it yet. The caller will
		// build on it, so it must not vanish with a power failure.
		if err := s.syncDir(folder); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s %s: sync of its folder: %w", kind, key, err)
		}
		return fmt.Errorf("%s %s: %w", kind, key, object.ErrExists)
	case errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("%s %s: an object has the name of its folder: %w", kind, key, object.ErrBadKey)
	case errors.Is(err, syscall.EXDEV):
		return fmt.Errorf("%s %s: its folder is on another file system than %s: keep one file system under the root: %w",
			kind, key, s.path, err)
	}
	return fmt.Errorf("%s %s: %w", kind, key, denied(err))
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

// writeTemp writes a file of a name of its own in tempDir, and returns it, its path
// below the root and its modification time. Its last part, of so many bytes, is not synced.
func (s *Store) writeTemp(ctx context.Context, body []byte, part int) (f *os.File, name string, now time.Time, err error) {
	name = tempDir + "/" + strconv.Itoa(os.Getpid()) + "-" + uuid.NewString()
	err = s.placeIn(tempDir, func() (err error) {
		// Readable by others, as engines under other users read the table.
		f, err = s.root.OpenFile(filepath.FromSlash(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		return err
	})
	if err != nil {
		return nil, "", time.Time{}, err
	}
	var info fs.FileInfo
	if err = writeInParts(f, body, part); err == nil {
		err = ctx.Err()
	}
	if err == nil {
		info, err = f.Stat()
	}
	if err != nil {
		f.Close()
		s.discard(name)
		return nil, "", time.Time{}, err
	}
	return f, name, info.ModTime(), nil
}

// writeInParts writes body and syncs all of its parts but the last one.
func writeInParts(f *os.File, body []byte, part int) error {
	for len(body) > part {
		if _, err := f.Write(body[:part]); err != nil {
			return err
		}
		if err := f.Sync(); err != nil {
			return err
		}
		body = body[part:]
	}
	_, err := f.Write(body)
	return err
}

// syncClose makes what was written to a file durable. Some network file systems report
// a full disk only when it is closed.
func syncClose(f *os.File) error {
	return errors.Join(f.Sync(), f.Close())
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
