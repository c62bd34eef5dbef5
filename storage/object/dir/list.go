package dir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sluice/storage/object"
)

const (
	// pageSize is the most entries that a List answers unless asked for fewer, as at S3.
	pageSize = 1000
	// readBatch is how many names of a directory are read at a time.
	readBatch = 1024
)

// List implements object.Store. It reads the directories on the way to the
// entries that it answers, each of them whole, since a file system gives names in
// no order. Symbolic links and other special files are not objects.
func (s *Store) List(ctx context.Context, req object.ListRequest) (object.Listing, error) {
	if !object.ValidPrefix(req.Prefix) {
		return object.Listing{}, fmt.Errorf("list %q: %w", req.Prefix, object.ErrBadKey)
	}
	w := walk{ctx: ctx, root: s.root, req: req, limit: pageSize}
	if req.Limit > 0 {
		w.limit = min(w.limit, req.Limit)
	}
	// Everything lies below the last slash of the prefix.
	err := w.dir(req.Prefix[:strings.LastIndexByte(req.Prefix, '/')+1])
	if err != nil && !errors.Is(err, errPageFull) {
		return object.Listing{Now: time.Now()}, fmt.Errorf("list %s: %w", req.Prefix, translate(err))
	}
	w.page.Now = time.Now()
	return w.page, nil
}

// errPageFull ends a walk whose page has no room for the next entry.
var errPageFull = errors.New("page full")

// walk fills one page by walking the tree in the byte order of keys.
type walk struct {
	ctx   context.Context
	root  *os.Root
	req   object.ListRequest
	limit int
	page  object.Listing
}

// dir walks the directory at path, which is empty or ends in a slash.
//
// It asks for the type of a name only when its turn has come, and so for those on
// the page only: a log's directory has 100,000 names, and asking for each costs
// far more than reading them.
func (w *walk) dir(path string) error {
	d, err := openDir(w.root, path)
	if err != nil || d == nil {
		return err
	}
	defer d.Close()
	entries, err := w.entries(d, path)
	if absent(err) {
		return nil // removed, empty, since it was opened
	}
	if err != nil {
		return err
	}
	for i := 0; i < len(entries); {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		entry := entries[i]
		info, err := d.Lstat(entry[len(path):])
		switch {
		case absent(err):
			err = nil // deleted since the directory was read
		case err != nil:
			return err
		case !info.IsDir():
			err = w.object(entry, info)
		case !strings.HasSuffix(entry, "/"):
			// What a directory holds sorts as its name with a slash: "a-b" comes
			// before "a/x". Move it there and take the next.
			entry += "/"
			n, _ := slices.BinarySearch(entries[i+1:], entry)
			copy(entries[i:], entries[i+1:i+1+n])
			entries[i+n] = entry
			continue
		case !w.matters(entry):
		case w.req.Folders:
			err = w.folder(entry)
		default:
			err = w.dir(entry)
		}
		if err != nil {
			return err
		}
		i++
	}
	return nil
}

// entries returns the paths in the directory d, at path, that can matter to the
// request, sorted, whether they are files or directories.
func (w *walk) entries(d *os.Root, path string) ([]string, error) {
	f, err := d.Open(".")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []string
	for {
		names, err := f.Readdirnames(readBatch)
		for _, name := range names {
			entry := path + name
			if legal(entry) && strings.HasPrefix(entry, w.req.Prefix) && (entry > w.req.After || strings.HasPrefix(w.req.After, entry)) {
				all = append(all, entry)
			}
		}
		if errors.Is(err, io.EOF) {
			slices.Sort(all)
			return slices.Compact(all), nil // a file renamed meanwhile can be read twice
		}
		if err != nil {
			return nil, err
		}
	}
}

// matters reports whether a directory, given with its slash, can hold what the
// request asks for. If it comes before After it may still reach past it, if
// After lies within; with folders grouped, not even then.
func (w *walk) matters(folder string) bool {
	return folder > w.req.After || !w.req.Folders && strings.HasPrefix(w.req.After, folder)
}

func (w *walk) folder(path string) error {
	if found, err := w.hasObject(path); err != nil || !found {
		return err
	}
	if !w.room() {
		return errPageFull
	}
	w.page.Folders = append(w.page.Folders, path)
	w.page.Last = path
	return nil
}

func (w *walk) object(key string, info fs.FileInfo) error {
	if !info.Mode().IsRegular() || key <= w.req.After {
		return nil
	}
	if !w.room() {
		return errPageFull
	}
	w.page.Objects = append(w.page.Objects, object.Info{Key: key, Size: info.Size(), Modified: info.ModTime()})
	w.page.Last = key
	return nil
}

func (w *walk) room() bool {
	w.page.More = len(w.page.Objects)+len(w.page.Folders) == w.limit
	return !w.page.More
}

// hasObject reports whether a file lies below the directory, looking no further
// than the first.
func (w *walk) hasObject(path string) (bool, error) {
	if err := w.ctx.Err(); err != nil {
		return false, err
	}
	d, err := openDir(w.root, path)
	if err != nil || d == nil {
		return false, err
	}
	defer d.Close()
	f, err := d.Open(".")
	if absent(err) {
		return false, nil // removed, empty, since it was opened
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	const few = 16
	for {
		names, err := f.Readdirnames(few)
		for _, name := range names {
			info, err := d.Lstat(name)
			if err != nil || !legal(path+name) {
				continue
			}
			if info.Mode().IsRegular() {
				return true, nil
			}
			if !info.IsDir() {
				continue
			}
			if found, err := w.hasObject(path + name + "/"); found || err != nil {
				return found, err
			}
		}
		if errors.Is(err, io.EOF) || absent(err) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
}

// openDir opens the directory at path, which is empty or ends in a slash. It
// returns nil if there is none.
func openDir(root *os.Root, path string) (*os.Root, error) {
	name := filepath.FromSlash("./" + strings.TrimSuffix(path, "/"))
	d, err := root.OpenRoot(name)
	switch {
	case err == nil:
		return d, nil
	case absent(err):
		return nil, nil
	}
	// OpenRoot has no error of its own for what is not a directory.
	if info, statErr := root.Stat(name); statErr == nil && !info.IsDir() {
		return nil, nil
	}
	return nil, err
}

// legal reports whether a path is the key of an object that Get takes, or the
// folder of such keys.
func legal(path string) bool { return object.ValidKey(path) && !reserved(path) }
