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
	// pagePart of a directory fits on a page if that is more: reading a directory of a
	// million names for each thousand of them would take minutes.
	pagePart = 16
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
		w.limit, w.fixed = min(w.limit, req.Limit), true
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
	fixed bool // limit is the caller's
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
	var names []string // sorted, those of directories that are known as such with a slash
	for from, more := "", true; more; {
		var read []string
		read, from, err = w.names(d, path, from)
		if absent(err) {
			return nil // removed, empty, since it was opened
		}
		if err != nil {
			return err
		}
		more = from != ""
		names = append(names, read...)
		slices.Sort(names) // a directory may be left over from the reading before
		if names, err = w.visit(d, path, names, from); err != nil {
			return err
		}
	}
	return nil
}

// visit puts names in the directory d, at path, on the page, in order, and answers
// those that come behind the name until; if that is empty, none do.
func (w *walk) visit(d *os.Root, path string, names []string, until string) (left []string, err error) {
	for len(names) > 0 && (until == "" || names[0] < until) {
		if err := w.ctx.Err(); err != nil {
			return nil, err
		}
		name := names[0]
		entry := path + name
		if !legal(strings.TrimSuffix(entry, "/")) {
			names = names[1:]
			continue
		}
		info, err := d.Lstat(name)
		switch {
		case absent(err):
			err = nil // deleted since the directory was read
		case err != nil:
			return nil, err
		case !info.IsDir():
			err = w.object(entry, info)
		case !strings.HasSuffix(name, "/"):
			// What a directory holds sorts as its name with a slash: "a-b" comes
			// before "a/x". Move it there and take the next.
			name += "/"
			n, _ := slices.BinarySearch(names[1:], name)
			copy(names, names[1:1+n])
			names[n] = name
			continue
		case !w.matters(entry):
		case w.req.Folders:
			err = w.folder(entry)
		default:
			err = w.dir(entry)
		}
		if err != nil {
			return nil, err
		}
		names = names[1:]
	}
	return names, nil
}

// names reads the directory d, at path, and returns, sorted, those names that can
// matter to the request, are not before from, and are the first that a page has
// room for. next is the first that it leaves out, empty if none.
func (w *walk) names(d *os.Root, path, from string) (first []string, next string, err error) {
	f, err := d.Open(".")
	if err != nil {
		return nil, "", err
	}
	defer f.Close()
	wanted := w.wanted(path)
	// cut keeps the first of the names read so far that a page has room for, and one
	// more, which tells that there are more.
	cut := func() {
		slices.Sort(first)
		first = slices.Compact(first) // a file renamed meanwhile can be read twice
		if len(first) > w.limit+1 {
			next = first[w.limit+1]
			first = first[:w.limit+1]
		}
	}
	for seen := 0; ; {
		names, err := f.Readdirnames(readBatch)
		if seen += len(names); !w.fixed {
			w.limit = max(w.limit, seen/pagePart)
		}
		for _, name := range names {
			if name >= from && (next == "" || name < next) && wanted(name) {
				first = append(first, name)
			}
		}
		if len(first) > 2*(w.limit+1) {
			cut()
		}
		if errors.Is(err, io.EOF) {
			cut()
			return first, next, nil
		}
		if err != nil {
			return nil, "", err
		}
	}
}

// wanted tells which names in the directory at path can matter to the request,
// whether they are files or directories.
func (w *walk) wanted(path string) func(name string) bool {
	prefix, _ := strings.CutPrefix(w.req.Prefix, path)
	if len(path) > len(w.req.Prefix) {
		prefix = "" // all below it matters
	}
	after, within := strings.CutPrefix(w.req.After, path)
	return func(name string) bool {
		if !strings.HasPrefix(name, prefix) {
			return false
		}
		if within {
			return name > after || strings.HasPrefix(after, name)
		}
		return path > w.req.After // else all of it is before After
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
