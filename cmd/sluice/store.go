package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"

	"sluice/storage/object"
	"sluice/storage/object/dir"
	"sluice/storage/object/mem"
)

// storeURL is where a store is, as --store names it.
type storeURL struct {
	scheme         string // file, s3 or mem
	path           string // of file: the directory
	bucket, prefix string // of s3; the prefix has no slash at either end
	name           string // of mem
}

// bucketName is what S3 allows, and what the S3-compatible stores do: it rules
// out a typing error, not every name that a store refuses.
var bucketName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]{1,61}[a-zA-Z0-9]$`)

// parseStore reads s3://bucket/prefix, file:///dir, a bare path or mem://name.
func parseStore(s string) (storeURL, error) {
	scheme, rest, isURL := strings.Cut(s, "://")
	if !isURL {
		switch {
		case strings.TrimSpace(s) == "":
			return storeURL{}, usagef("--store is empty: want a directory or s3://bucket/prefix")
		case strings.HasPrefix(s, "s3:"), strings.HasPrefix(s, "file:"), strings.HasPrefix(s, "mem:"):
			return storeURL{}, usagef("--store %q: a URL has two slashes: %s://", s, s[:strings.IndexByte(s, ':')])
		}
		return storeURL{scheme: "file", path: s}, nil
	}
	switch scheme {
	case "file":
		return parseFileURL(s)
	case "s3", "s3a":
		return parseS3URL(s, rest)
	case "mem":
		return storeURL{scheme: "mem", name: strings.Trim(rest, "/")}, nil
	case "http", "https":
		return storeURL{}, advise(usagef("--store %q is the address of a server", s),
			"Name the bucket, and the server in the environment: AWS_ENDPOINT_URL=%s://... sluice serve --store s3://bucket/prefix", scheme)
	case "az", "abfs", "abfss", "gs":
		return storeURL{}, usagef("--store %q: %s:// is not supported yet, want s3://bucket/prefix or a directory", s, scheme)
	}
	return storeURL{}, usagef("--store %q: unknown scheme %s://, want s3://bucket/prefix, file:///dir or a directory", s, scheme)
}

func parseFileURL(s string) (storeURL, error) {
	u, err := url.Parse(s)
	if err != nil {
		return storeURL{}, usagef("--store %q: %w", s, err)
	}
	// file://dir would be the host "dir": the usual typing error.
	if u.Host != "" && u.Host != "localhost" {
		return storeURL{}, usagef("--store %q names the host %q: want three slashes, file:///dir, or a bare path", s, u.Host)
	}
	if u.Path == "" || u.RawQuery != "" || u.Fragment != "" {
		return storeURL{}, usagef("--store %q: want file:///dir", s)
	}
	return storeURL{scheme: "file", path: filepath.FromSlash(u.Path)}, nil
}

func parseS3URL(s, rest string) (storeURL, error) {
	bucket, prefix, _ := strings.Cut(rest, "/")
	prefix = strings.Trim(prefix, "/")
	switch {
	case strings.Contains(bucket, "@"):
		// Not repeated: it may hold a secret.
		return storeURL{}, usagef("--store: credentials do not belong in the URL: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
	case strings.ContainsAny(rest, "?#"):
		return storeURL{}, usagef("--store %q: options of s3:// come from the environment: AWS_ENDPOINT_URL, AWS_REGION", s)
	case bucket == "":
		return storeURL{}, usagef("--store %q names no bucket: want s3://bucket/prefix", s)
	case !bucketName.MatchString(bucket):
		return storeURL{}, usagef("--store %q: %q cannot be the name of a bucket", s, bucket)
	case prefix != "" && !object.ValidKey(prefix):
		return storeURL{}, usagef("--store %q: %q cannot be a prefix: want elements of ASCII with single slashes between", s, prefix)
	}
	return storeURL{scheme: "s3", bucket: bucket, prefix: prefix}, nil
}

// openStore opens the store and, where that is possible, makes sure that no
// other process on this machine serves it. The function gives that up again.
func openStore(ctx context.Context, u storeURL) (object.Store, func(), error) {
	switch u.scheme {
	case "mem":
		return mem.Open(u.name), func() {}, nil
	case "s3":
		store, err := openS3(ctx, u)
		return store, func() {}, err
	}
	store, err := dir.Open(u.path)
	if err != nil {
		if errors.Is(err, object.ErrDenied) || errors.Is(err, fs.ErrPermission) {
			err = advise(err, "Name a directory that this user may write with --store.")
		}
		return nil, nil, err
	}
	unlock, err := lockDirectory(u.path)
	if err != nil {
		return nil, nil, fmt.Errorf("store %s: %w", store.URL(), err)
	}
	return store, unlock, nil
}
