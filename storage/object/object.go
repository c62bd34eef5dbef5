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
	// Length is the number of bytes; 0 (or less) means up to the end. An object
	// that ends sooner yields fewer bytes, and an Offset at or past its end yields
	// none. A distance from the end that exceeds the object counts from its start.
	Length int64
	// Into is memory that the bytes may be put into, if it has room for them. It is the
	// caller's again when the Get has returned, as is a Body that lies in it.
	Into []byte
}

// Of returns the half-open interval [from, to) of bytes that r selects in an
// object of that size: 0 <= from <= to <= size.
func (r Range) Of(size int64) (from, to int64) {
	switch {
	case r.Offset >= size:
		return size, size
	case r.Offset >= 0:
		from = r.Offset
	default:
		from = max(0, size+r.Offset)
	}
	if r.Length <= 0 || r.Length > size-from {
		return from, size
	}
	return from, from + r.Length
}

// Object is the answer to a Get.
type Object struct {
	Info           // of the whole object, whatever the range
	Body []byte    // the bytes of the range, owned by the caller
	Now  time.Time // the store's clock when it answered
}

// ListRequest asks for one page of keys in ascending byte order.
type ListRequest struct {
	// Prefix limits the page to keys that begin with it. Unlike a directory
	// name it may end in the middle of a path element. One that no legal key
	// begins with is answered ErrBadKey; see ValidPrefix.
	Prefix string
	// After excludes keys and folders up to and including it in byte order,
	// whether or not it exists. A folder that After lies within is excluded too.
	After string
	// Folders groups keys that continue past Prefix with a "/": the part up to
	// and including that "/" is reported once, in Listing.Folders. A folder is
	// there exactly as long as a key begins with it.
	Folders bool
	// Limit bounds Objects and Folders together; 0 means the store's own page
	// size (1,000 at S3). A store may answer fewer than Limit and set More.
	Limit int
}

// Listing is one page. Objects that others put under the root with keys that
// are not legal (ValidKey) are left out: nobody could Get them.
type Listing struct {
	Objects []Info
	Folders []string
	// More says that keys may follow. Continue with After set to Last.
	More bool
	// Last is the greatest key or folder that this page covers, empty if it
	// covers none. With More set it is greater than the request's After.
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
	// a single attempt that can take effect: a nil error or ErrExists is the answer
	// to this very attempt, and the caller repeats unclear ones (delta.Log does).
	//
	// It does not show, to anybody or after a power failure, before the objects after,
	// which were staged through this Store, are durable. Keys that were not do no harm.
	Create(ctx context.Context, key string, body []byte, after ...string) (now time.Time, err error)
	// Put writes key, durably, replacing what is there. Retried by the store.
	Put(ctx context.Context, key string, body []byte) (now time.Time, err error)
	// Stage is Put for an object that nobody looks for until a Create that comes after
	// it has named it. It may return before the object is durable: that is known when
	// settled is closed, or at once if it is nil, and by a Create after it in any case,
	// which writes the object anew if need be. The body must not change until then.
	Stage(ctx context.Context, key string, body []byte) (now time.Time, settled <-chan struct{}, err error)
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

const (
	// MaxKey is the longest key in bytes that every store takes (S3 allows 1,024
	// with the prefix of the root).
	MaxKey = 900
	// MaxElement is the longest part of a key between slashes, in bytes, that
	// every store takes (NAME_MAX of the usual file systems).
	MaxElement = 255
)

// ValidKey reports whether key is one that all stores take and that cannot
// leave the root: relative, slash-separated, no empty, "." or ".." element, only
// printable ASCII without backslash, not longer than MaxKey and MaxElement.
//
// A key must not also be the folder of another (a and a/b): a directory cannot
// hold both and answers ErrBadKey to the second.
func ValidKey(key string) bool {
	if key == "" || len(key) > MaxKey || !printable(key) {
		return false
	}
	for element := range strings.SplitSeq(key, "/") {
		if !validElement(element) {
			return false
		}
	}
	return true
}

// ValidPrefix reports whether a legal key can begin with prefix. Only its last
// element may be cut short or empty: "", "a/", "a/b" and "a/." do, "/", "a//b"
// and "../a" do not.
func ValidPrefix(prefix string) bool {
	if len(prefix) > MaxKey || !printable(prefix) {
		return false
	}
	for {
		element, rest, more := strings.Cut(prefix, "/")
		if !more {
			return len(element) <= MaxElement
		}
		if !validElement(element) {
			return false
		}
		prefix = rest
	}
}

func validElement(s string) bool {
	return s != "" && s != "." && s != ".." && len(s) <= MaxElement
}

func printable(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < 0x20 || c >= 0x7f || c == '\\' {
			return false
		}
	}
	return true
}

// Kind names a request in metrics, faults and latency profiles.
type Kind string

// The kinds of requests, one for each method of Store; a Stage is a put.
const (
	KindCreate Kind = "create"
	KindPut    Kind = "put"
	KindGet    Kind = "get"
	KindList   Kind = "list"
	KindDelete Kind = "delete"
)

// Kinds returns all kinds of requests.
func Kinds() []Kind { return []Kind{KindCreate, KindPut, KindGet, KindList, KindDelete} }

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
