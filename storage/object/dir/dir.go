// Package dir is an object store in a local directory. Objects are plain files
// at their keys, so that other engines read the same tree. Several processes may
// use one directory at once.
//
// A file appears whole: it is written and synced under a temporary name, then
// linked (Create; link(2) fails where a name is taken) or renamed (Put) into
// place, and the directory is synced before the call returns. Stage puts off both syncs
// until a Create that comes after it (stage.go).
//
// The store's clock is that of the file system (the modification time of the
// file just written) for writes, and this machine's for reads. On a local file
// system these are one clock; on a network file system they may differ.
//
// A call looks at its context before each step. It cannot interrupt a system
// call that the disk does not answer.
package dir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"sluice/storage/object"
)

// Store is a directory used as an object store. It needs no closing: the one
// file descriptor that it holds is released with it.
type Store struct {
	path string // absolute
	root *os.Root

	mu sync.Mutex
	// durable holds the directories whose own names are known to be on disk: they
	// and their parents have been synced since they were made. The identity tells
	// a directory from another that took its place.
	durable map[string]fs.FileInfo
	// staged holds what Stage has written and nobody has synced yet, by key.
	staged map[string]*staged
}

// Open returns the store in the directory at path, which is made if missing,
// and removes what crashed processes left in its folder for temporary files.
// The error says what to do where the directory cannot be used.
func Open(path string) (*Store, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("directory %s: %w", path, err)
	}
	if err := os.MkdirAll(abs, 0o755); err != nil {
		return nil, explain(abs, err)
	}
	root, err := os.OpenRoot(abs)
	if err != nil {
		return nil, explain(abs, err)
	}
	s := &Store{path: abs, root: root, durable: map[string]fs.FileInfo{}, staged: map[string]*staged{}}
	// One write shows here, rather than at the first record, that we may write,
	// and tells the file system's time.
	f, tmp, now, err := s.writeTemp(context.Background(), nil, writePart)
	if err == nil {
		err = syncClose(f)
		s.discard(tmp)
	}
	if err != nil {
		root.Close()
		return nil, explain(abs, err)
	}
	s.sweep(now)
	return s, nil
}

// explain says what to do about a directory that cannot be used.
func explain(path string, err error) error {
	switch {
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.EEXIST):
		return fmt.Errorf("%s is not a directory: name a directory, or one that does not exist yet: %w", path, err)
	case errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%s is on a read-only file system: remount it writable or name another directory: %w: %w", path, object.ErrDenied, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("cannot write in %s as user %d: run as its owner, or chown it to that user: %w: %w", path, os.Getuid(), object.ErrDenied, err)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("no space for %s: free some or name another directory: %w", path, err)
	}
	return fmt.Errorf("directory %s: %w", path, err)
}

// URL returns file:///path.
func (s *Store) URL() string {
	return (&url.URL{Scheme: "file", Path: filepath.ToSlash(s.path)}).String()
}

// Create implements object.Store.
func (s *Store) Create(ctx context.Context, key string, body []byte, after ...string) (time.Time, error) {
	return s.write(ctx, object.KindCreate, key, body, s.root.Link, after)
}

// Put implements object.Store.
func (s *Store) Put(ctx context.Context, key string, body []byte) (time.Time, error) {
	return s.write(ctx, object.KindPut, key, body, s.root.Rename, nil)
}

// Get implements object.Store. A symbolic link is followed within the root.
func (s *Store) Get(ctx context.Context, key string, r object.Range) (object.Object, error) {
	if err := begin(ctx, object.KindGet, key); err != nil {
		return object.Object{}, err
	}
	o, err := s.read(key, r)
	if err != nil {
		o, err = object.Object{}, fmt.Errorf("get %s: %w", key, translate(err))
	}
	o.Now = time.Now()
	return o, err
}

func (s *Store) read(key string, r object.Range) (object.Object, error) {
	// Without O_NONBLOCK a named pipe in the tree would hold the call for ever.
	f, err := s.root.OpenFile(filepath.FromSlash(key), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return object.Object{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return object.Object{}, err
	}
	if !info.Mode().IsRegular() {
		return object.Object{}, fs.ErrNotExist // a folder is no object
	}
	// A file in place is never written again, only replaced: what is open is whole.
	from, to := r.Of(info.Size())
	body := r.Into
	if int64(cap(body)) < to-from {
		body = make([]byte, to-from)
	}
	body = body[:to-from]
	if _, err := f.ReadAt(body, from); err != nil {
		return object.Object{}, err
	}
	return object.Object{Info: object.Info{Key: key, Size: info.Size(), Modified: info.ModTime()}, Body: body}, nil
}

// Delete implements object.Store. A directory that it leaves empty is removed
// too, as far as that goes, since at an object store a folder lasts no longer
// than its objects.
func (s *Store) Delete(ctx context.Context, keys ...string) (time.Time, error) {
	if err := begin(ctx, object.KindDelete, keys...); err != nil {
		return time.Time{}, err
	}
	touched := map[string]bool{}
	for _, key := range keys {
		if err := ctx.Err(); err != nil {
			return time.Now(), fmt.Errorf("delete %s: %w", key, err)
		}
		s.mu.Lock()
		delete(s.staged, key)
		s.mu.Unlock()
		removed, err := s.remove(key)
		if err != nil {
			return time.Now(), fmt.Errorf("delete %s: %w", key, translate(err))
		}
		if removed {
			touched[path.Dir(key)] = true
		}
	}
	for dir := range touched {
		if err := s.syncDir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return time.Now(), fmt.Errorf("delete in %s: %w", dir, err)
		}
		s.prune(dir)
	}
	return time.Now(), nil
}

// remove unlinks the file at key and says whether there was one.
func (s *Store) remove(key string) (bool, error) {
	info, err := s.root.Lstat(filepath.FromSlash(key))
	switch {
	case absent(err):
		return false, nil
	case err != nil:
		return false, err
	case info.IsDir():
		return false, nil // a folder is no object
	}
	if err := s.root.Remove(filepath.FromSlash(key)); err != nil && !absent(err) {
		return false, err
	}
	return true, nil
}

// begin refuses a call whose keys are illegal or whose context is done.
func begin(ctx context.Context, kind object.Kind, keys ...string) error {
	for _, key := range keys {
		if !object.ValidKey(key) || reserved(key) {
			return fmt.Errorf("%s %q: %w", kind, key, object.ErrBadKey)
		}
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: %w", kind, err)
	}
	return nil
}

// absent reports whether err says that nothing is at a path, which it does also
// where a parent is a file.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// translate wraps a system error in the object error that a caller decides by.
// It is for steps before a file has its name: ErrDenied promises that nothing
// was written.
func translate(err error) error {
	switch {
	case absent(err):
		return fmt.Errorf("%w: %w", object.ErrNotFound, err)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS): // ErrPermission covers EACCES and EPERM
		return fmt.Errorf("%w: %w", object.ErrDenied, err)
	}
	return err
}
