package delta

import (
	"fmt"
	"net/url"
	"strings"

	"sluice/storage/object"
)

// FileName is what identifies a data file in a table: its path without percent
// encoding [P Add File], since an engine may encode differently in a remove what
// another wrote in an add. It is the key of Snapshot.Files. The paths that
// Sluice writes need no encoding, as some readers do not decode.
func FileName(path string) string {
	if strings.IndexByte(path, '%') < 0 {
		return path
	}
	name, err := url.PathUnescape(path)
	if err != nil {
		return path // not encoded, though it should be: take it as it stands
	}
	return name
}

// DataKey is the object key of a data file, given the path of its action:
// relative, percent-encoded, or an absolute URI into the table. A path that
// leads out of the table's folder (a shallow clone's) is ErrUnsupported; a name
// that the store cannot hold is object.ErrBadKey.
func (l *Log) DataKey(path string) (string, error) {
	name := FileName(path)
	if scheme, rest, absolute := strings.Cut(name, "://"); absolute && !strings.Contains(scheme, "/") {
		inside, ok := strings.CutPrefix(hadoopScheme(scheme)+"://"+rest, l.tableURL())
		if !ok {
			return "", &UnsupportedError{Feature: "data file outside the table"}
		}
		name = inside
	} else if strings.HasPrefix(name, "/") {
		// An absolute path of a file system, or what DuckDB 1.4 writes for a file
		// at the root of the table.
		if inside, ok := strings.CutPrefix("file://"+name, l.tableURL()); ok {
			name = inside
		} else {
			name = name[1:]
		}
	}
	key := l.table + "/" + name
	if !object.ValidKey(key) {
		return "", fmt.Errorf("%w: %.200q", object.ErrBadKey, name)
	}
	return key, nil
}

func (l *Log) tableURL() string {
	root := l.store.URL()
	if !strings.HasSuffix(root, "/") {
		root += "/"
	}
	return root + l.table + "/"
}

// hadoopScheme undoes the names that Hadoop has for S3.
func hadoopScheme(scheme string) string {
	if scheme == "s3a" || scheme == "s3n" {
		return "s3"
	}
	return scheme
}
