// Package object is the object store under Sluice: one small interface, its
// errors, the start-up probe and a meter. Each store is a package of its own
// beside this one (s3, dir, mem); objecttest is the suite that all of them pass.
package object

import (
	"context"
	"errors"
	"strings"
	"time"
)

// Errors that a caller decides by. A store wraps them; test with errors.Is.
var (
	// ErrExists answers a Create whose key is taken. It does not say by whom:
	// an earlier attempt of the caller whose answer was lost may be the writer.
	ErrExists = errors.New("object exists")
	// ErrNotFound answers a Get of a key that is not there.
	ErrNotFound = errors.New("object not found")
	// ErrDenied answers a request that the store refuses to the caller
	// (credentials, policy, a read-only file system). The object was not written.
	ErrDenied = errors.New("access denied")
	// ErrBadKey answers a key that is not of the form ValidKey takes. Nothing was sent.
	ErrBadKey = errors.New("illegal object key")
)

// Info describes one stored object.
type Info struct {
	Key      string
	Size     int64     // bytes
	Modified time.Time // by the store's clock
}

// Range selects bytes of an object. The zero Range is the whole object.
type Range struct {
	// Offset is the first byte, or if negative the distance from the end
	// (-8 with Length 0: the last eight bytes, fewer if the object is shorter).
	Offset int64
	// Length is the number of bytes; 0 means up to the end. An object that ends
	// sooner yields fewer bytes, and an Offset at or past its end yields none.
	Length int64
}

// Object is the answer to a Get.
type Object struct {
	Info
	Body []byte    // the bytes of the range, owned by the caller
	Now  time.Time // the store's clock when it answered
}

// ListRequest asks for one page of keys in ascending byte order.
type ListRequest struct {
	// Prefix limits the page to keys that begin with it. Unlike a directory
	// name it may end in the middle of a path element.
	Prefix string
	// After excludes keys up to and including it, whether or not it exists.
	After string
	// Folders groups keys that continue past Prefix with a "/": the part up to
	// and including that "/" is reported once, in Listing.Folders.
	Folders bool
	// Limit bounds Objects and Folders together; 0 means the store's own page
	// size (1,000 at S3). A store may answer fewer than Limit and set More.
	Limit int
}

// Listing is one page.
type Listing struct {
	Objects []Info
	Folders []string
	// More says that keys may follow. Continue with After set to Last.
	More bool
	// Last is the greatest key or folder that this page covers.
	Last string
	Now  time.Time
}

// Store is an object store (or a directory used as one). All methods are safe
// for concurrent use, also by several processes on one root.
//
// Consistency: after a write returned, every later Get and List of any process
// sees it. A reader never sees part of an object: it appears whole.
//
// Each answer carries the store's own clock, also with ErrExists and
// ErrNotFound; a zero time means that the store did not say. Nothing about the
// local clock may be concluded from it, and it never decides who may write.
//
// The context bounds the call. A write that ends in any error but ErrExists,
// ErrDenied or ErrBadKey is unclear: the object may or may not be there, now or
// in a moment.
type Store interface {
	// Create writes key if nothing is there (put-if-absent), durably. Of any
	// number of concurrent Creates of one key exactly one returns nil. It makes
	// a single attempt: a nil error or ErrExists is the answer to this very
	// attempt, and the caller repeats unclear ones (delta.Log does).
	Create(ctx context.Context, key string, body []byte) (now time.Time, err error)
	// Put writes key, durably, replacing what is there. Retried by the store.
	Put(ctx context.Context, key string, body []byte) (now time.Time, err error)
	// Get reads an object or a part of it. Retried by the store. The Object's
	// Now is set with ErrNotFound too.
	Get(ctx context.Context, key string, r Range) (Object, error)
	// List reads one page of keys; see ListRequest. Retried by the store.
	List(ctx context.Context, req ListRequest) (Listing, error)
	// Delete removes keys, any number; those that are not there are no error.
	// Retried by the store.
	Delete(ctx context.Context, keys ...string) (now time.Time, err error)
	// URL names the root in the form that a user would type
	// (s3://bucket/prefix, file:///dir, mem://name), without credentials.
	URL() string
}

// MaxKey is the longest key in bytes that every store takes (S3 allows 1,024
// with the prefix of the root).
const MaxKey = 900

// ValidKey reports whether key is one that all stores take and that cannot
// leave the root: relative, slash-separated, no empty, "." or ".." element, only
// printable ASCII without backslash.
func ValidKey(key string) bool {
	if key == "" || len(key) > MaxKey {
		return false
	}
	for i := 0; i < len(key); i++ {
		if c := key[i]; c < 0x20 || c >= 0x7f || c == '\\' {
			return false
		}
	}
	for element := range strings.SplitSeq(key, "/") {
		if element == "" || element == "." || element == ".." {
			return false
		}
	}
	return true
}

// All reads every page of a listing, calling each for its objects. It stops at
// the first error, its own or that of each, and returns the clock of the last page.
func All(ctx context.Context, s Store, req ListRequest, each func(Info) error) (now time.Time, err error) {
	for {
		page, err := s.List(ctx, req)
		if err != nil {
			return now, err
		}
		now = page.Now
		for _, info := range page.Objects {
			if err := each(info); err != nil {
				return now, err
			}
		}
		if !page.More {
			return now, nil
		}
		req.After = page.Last
	}
}
