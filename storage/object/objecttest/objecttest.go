// Package objecttest is the suite that every object store passes: the contract
// of object.Store, method by method and under contention.
package objecttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"sluice/storage/object"
)

// patience bounds each subtest's requests, so that a store that hangs fails
// the test instead of stopping it.
const patience = 2 * time.Minute

// Run checks the contract of object.Store. Each call of open returns another
// handle, as another process would have it, on one and the same root. The root
// may hold other objects; the suite keeps to folders of its own, which it
// deletes.
func Run(t *testing.T, open func(*testing.T) object.Store) {
	for _, c := range []struct {
		name string
		test func(*testing.T, *suite)
	}{
		{"create writes a key once", createOnce},
		{"put replaces", putReplaces},
		{"what is staged is there, and durable for a create after it", staged},
		{"bodies belong to the caller", bodiesAreCopied},
		{"get reads ranges", ranges},
		{"a missing object is not found", missing},
		{"delete removes any number of keys", deletes},
		{"illegal keys are refused", illegalKeys},
		{"any printable key works", printableKeys},
		{"a key that is a folder is no object", folderIsNoObject},
		{"list is in byte order", listOrder},
		{"list begins after a key", listAfter},
		{"list groups folders", listFolders},
		{"list comes in pages", listPages},
		{"list of nothing is empty", listNothing},
		{"big objects", bigObjects},
		{"empty objects", emptyObjects},
		{"the store has a clock", clock},
		{"a context that is done ends each call", cancelled},
		{"one of many creators wins", race},
		{"a reader sees whole objects only", wholeObjects},
		{"creators and deleters share a folder", churn},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			s := &suite{T: t, ctx: ctx, store: open(t), other: open(t), dir: "objecttest-" + uuid.NewString() + "/"}
			if s.store.URL() == "" || s.store.URL() != s.other.URL() {
				t.Errorf("two handles on one root have the URLs %q and %q", s.store.URL(), s.other.URL())
			}
			defer s.cleanup()
			c.test(t, s)
		})
	}
}

// suite is one subtest: two handles on the root and a folder of its own.
type suite struct {
	*testing.T
	ctx          context.Context
	store, other object.Store
	dir          string // ends in a slash; all keys of the subtest begin with it
}

func (s *suite) cleanup() {
	s.Helper()
	// Its own context: the subtest's may be spent.
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var keys []string
	if _, err := object.All(ctx, s.store, object.ListRequest{Prefix: s.dir}, func(i object.Info) error {
		keys = append(keys, i.Key)
		return nil
	}); err != nil {
		s.Errorf("list for cleanup: %v", err)
	}
	if _, err := s.store.Delete(ctx, keys...); err != nil {
		s.Errorf("cleanup: %v", err)
	}
}

func (s *suite) create(key, body string) {
	s.Helper()
	if _, err := s.store.Create(s.ctx, s.dir+key, []byte(body)); err != nil {
		s.Fatalf("create %s: %v", key, err)
	}
}

// wantBody reads a whole object through the other handle.
func (s *suite) wantBody(key, body string) {
	s.Helper()
	o, err := s.other.Get(s.ctx, s.dir+key, object.Range{})
	if err != nil {
		s.Fatalf("get %s: %v", key, err)
	}
	if !bytes.Equal(o.Body, []byte(body)) {
		s.Fatalf("get %s: %d bytes %.40q, want %d bytes %.40q", key, len(o.Body), o.Body, len(body), body)
	}
	if o.Key != s.dir+key || o.Size != int64(len(body)) {
		s.Fatalf("get %s: info is %+v", key, o.Info)
	}
}

func (s *suite) wantErr(what string, err, want error) {
	s.Helper()
	if !errors.Is(err, want) {
		s.Errorf("%s: error is %v, want %v", what, err, want)
	}
}

func createOnce(t *testing.T, s *suite) {
	s.create("a/b/c", "first")
	for _, h := range []object.Store{s.store, s.other} {
		_, err := h.Create(s.ctx, s.dir+"a/b/c", []byte("second"))
		s.wantErr("create again", err, object.ErrExists)
	}
	s.wantBody("a/b/c", "first")
	if _, err := s.store.Delete(s.ctx, s.dir+"a/b/c"); err != nil {
		t.Fatal(err)
	}
	s.create("a/b/c", "third")
	s.wantBody("a/b/c", "third")
}

func putReplaces(t *testing.T, s *suite) {
	for _, body := range []string{"one", "a longer two", "3", ""} {
		if _, err := s.store.Put(s.ctx, s.dir+"p/q", []byte(body)); err != nil {
			t.Fatal(err)
		}
		s.wantBody("p/q", body)
	}
	_, err := s.other.Create(s.ctx, s.dir+"p/q", []byte("no"))
	s.wantErr("create after put", err, object.ErrExists)
}

func staged(t *testing.T, s *suite) {
	var all []<-chan struct{}
	for range 2 { // the second as by a caller who did not hear of the first
		_, settled, err := s.store.Stage(s.ctx, s.dir+"data/a", []byte("rows"))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, settled)
	}
	if _, err := s.store.Create(s.ctx, s.dir+"log/0", []byte("a"), s.dir+"data/a", s.dir+"data/none"); err != nil {
		t.Fatal(err)
	}
	for _, settled := range all {
		if settled == nil {
			continue
		}
		select {
		case <-settled:
		default:
			t.Error("a create did not wait for what it comes after")
		}
	}
	s.wantBody("data/a", "rows")
	s.wantBody("log/0", "a")
	if _, _, err := s.store.Stage(s.ctx, s.dir+"a//b", nil); !errors.Is(err, object.ErrBadKey) {
		t.Errorf("an illegal key: %v", err)
	}
}

func bodiesAreCopied(t *testing.T, s *suite) {
	body := []byte("as given")
	if _, err := s.store.Create(s.ctx, s.dir+"k", body); err != nil {
		t.Fatal(err)
	}
	copy(body, "scribble")
	s.wantBody("k", "as given")
	o, err := s.store.Get(s.ctx, s.dir+"k", object.Range{})
	if err != nil {
		t.Fatal(err)
	}
	copy(o.Body, "scribble")
	s.wantBody("k", "as given")
	again, err := s.store.Get(s.ctx, s.dir+"k", object.Range{})
	if err != nil || string(again.Body) != "as given" {
		t.Fatalf("second get: %q, %v", again.Body, err)
	}
}

func ranges(t *testing.T, s *suite) {
	const body = "0123456789"
	s.create("r", body)
	for _, r := range []object.Range{
		{}, {Length: 1}, {Length: 10}, {Length: 11}, {Offset: 1}, {Offset: 3, Length: 4}, {Offset: 9}, {Offset: 9, Length: 5},
		{Offset: 10}, {Offset: 10, Length: 1}, {Offset: 1000}, {Offset: 1000, Length: 5},
		{Offset: -1}, {Offset: -8}, {Offset: -8, Length: 3}, {Offset: -8, Length: 100}, {Offset: -10}, {Offset: -11},
		{Offset: -1000}, {Offset: -1000, Length: 4},
	} {
		from, to := r.Of(int64(len(body)))
		o, err := s.other.Get(s.ctx, s.dir+"r", r)
		if err != nil {
			t.Errorf("%+v: %v", r, err)
			continue
		}
		if string(o.Body) != body[from:to] {
			t.Errorf("%+v: %q, want %q", r, o.Body, body[from:to])
		}
		for _, room := range []int{0, 3, len(body)} { // for less than it says, and for all
			given := r
			given.Into = make([]byte, 1, 1+room)
			if again, err := s.other.Get(s.ctx, s.dir+"r", given); err != nil || string(again.Body) != body[from:to] {
				t.Errorf("%+v: %q, want %q: %v", given, again.Body, body[from:to], err)
			}
		}
		if o.Size != int64(len(body)) || o.Key != s.dir+"r" || o.Modified.IsZero() || o.Now.IsZero() {
			t.Errorf("%+v: %+v at %v does not describe the whole object", r, o.Info, o.Now)
		}
	}
}

func missing(t *testing.T, s *suite) {
	s.create("here/x", "x")
	for _, key := range []string{"nothing", "no/such/folder", "here/y", "her", "here/x2", "here/x/below"} {
		for _, r := range []object.Range{{}, {Offset: 5, Length: 5}, {Offset: -8}} {
			o, err := s.store.Get(s.ctx, s.dir+key, r)
			s.wantErr("get "+key, err, object.ErrNotFound)
			if o.Now.IsZero() {
				t.Errorf("get %s, %+v: the answer has no clock", key, r)
			}
		}
	}
}

func deletes(t *testing.T, s *suite) {
	var keys []string
	for i := range 50 {
		key := fmt.Sprintf("d/%d/%03d", i%7, i)
		s.create(key, "x")
		keys = append(keys, s.dir+key)
	}
	s.create("d/keep", "kept")
	// Those that were never there, some of them twice, do no harm; more than
	// 1,000 at once is more than S3 takes in a request.
	request := slices.Clone(keys)
	for i := range 1100 {
		request = append(request, fmt.Sprintf("%sd/absent/%d", s.dir, i))
	}
	request = append(request, request[0], s.dir+"d/3", s.dir+"d/keep/below")
	for range 2 {
		if _, err := s.store.Delete(s.ctx, request...); err != nil {
			t.Fatal(err)
		}
		_, err := s.other.Get(s.ctx, keys[0], object.Range{})
		s.wantErr("get of a deleted object", err, object.ErrNotFound)
		s.wantKeys(object.ListRequest{Prefix: s.dir}, "d/keep")
	}
	if _, err := s.store.Delete(s.ctx); err != nil {
		t.Errorf("delete of no keys: %v", err)
	}
	s.wantBody("d/keep", "kept")
}

func illegalKeys(t *testing.T, s *suite) {
	for _, key := range []string{
		"", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/..", "a/../b", "a/./b", `a\b`, `..\a`, "a\x00", "\n", "ä", "\xff",
		string(bytes.Repeat([]byte("x"), object.MaxElement+1)),
		string(bytes.Repeat([]byte("x/"), object.MaxKey/2)) + "x",
	} {
		_, err := s.store.Create(s.ctx, key, nil)
		s.wantErr(fmt.Sprintf("create %q", key), err, object.ErrBadKey)
		_, err = s.store.Put(s.ctx, key, nil)
		s.wantErr(fmt.Sprintf("put %q", key), err, object.ErrBadKey)
		_, err = s.store.Get(s.ctx, key, object.Range{})
		s.wantErr(fmt.Sprintf("get %q", key), err, object.ErrBadKey)
		_, err = s.store.Delete(s.ctx, s.dir+"fine", key)
		s.wantErr(fmt.Sprintf("delete %q", key), err, object.ErrBadKey)
	}
	for _, prefix := range []string{"/", "../", "../a", "a//", "./", "a/../", "ä"} {
		_, err := s.store.List(s.ctx, object.ListRequest{Prefix: prefix})
		s.wantErr(fmt.Sprintf("list %q", prefix), err, object.ErrBadKey)
	}
}

func printableKeys(t *testing.T, s *suite) {
	long := string(bytes.Repeat([]byte("n"), object.MaxElement))
	keys := []string{
		" space in front", "a b/c d", "at the end ", "%", "%2F", "%zz", "+", "a+b", "&<>\"'", "?x=1&y=2", "#", "=", ";", ":", "@", "~",
		"..a", "a..", "...", "-", "$(x)", "`", "{}[]^|", "*", "!,", "date=2026-11-22/part-0.parquet", long,
		"deep/" + long + "/" + long + "/x",
	}
	for _, key := range keys {
		s.create(key, key)
	}
	for _, key := range keys {
		s.wantBody(key, key)
	}
	slices.Sort(keys)
	s.wantKeys(object.ListRequest{Prefix: s.dir}, keys...)
	for i := range keys {
		keys[i] = s.dir + keys[i]
	}
	if _, err := s.store.Delete(s.ctx, keys...); err != nil {
		t.Fatal(err)
	}
	s.wantKeys(object.ListRequest{Prefix: s.dir})
}

func folderIsNoObject(t *testing.T, s *suite) {
	s.create("f/g/x", "x")
	for _, key := range []string{"f", "f/g"} {
		_, err := s.other.Get(s.ctx, s.dir+key, object.Range{})
		s.wantErr("get of a folder", err, object.ErrNotFound)
		if _, err := s.other.Delete(s.ctx, s.dir+key); err != nil {
			t.Errorf("delete of a folder: %v", err)
		}
	}
	s.wantBody("f/g/x", "x")
}

func bigObjects(t *testing.T, s *suite) {
	body := make([]byte, 8<<20)
	for i := range body {
		body[i] = byte(i * 31 >> 7)
	}
	if _, err := s.store.Create(s.ctx, s.dir+"created", body); err != nil {
		t.Fatal(err)
	}
	s.wantBody("created", string(body))
	// A server may refuse so early that it closes the connection while the body is
	// on its way. That is an unclear answer, which the caller repeats.
	var err error
	for range 10 {
		if _, err = s.other.Create(s.ctx, s.dir+"created", make([]byte, len(body))); err == nil || errors.Is(err, object.ErrExists) {
			break
		}
	}
	s.wantErr("create again", err, object.ErrExists)
	s.wantBody("created", string(body))
	if _, err := s.store.Put(s.ctx, s.dir+"put", body); err != nil {
		t.Fatal(err)
	}
	s.wantBody("put", string(body))
	o, err := s.store.Get(s.ctx, s.dir+"created", object.Range{Offset: -8})
	if err != nil || !bytes.Equal(o.Body, body[len(body)-8:]) {
		t.Errorf("last 8 bytes: %v, %v", o.Body, err)
	}
	o, err = s.store.Get(s.ctx, s.dir+"created", object.Range{Offset: 1 << 20, Length: 3 << 20})
	if err != nil || !bytes.Equal(o.Body, body[1<<20:4<<20]) {
		t.Errorf("3 MiB from the middle: %d bytes, %v", len(o.Body), err)
	}
}

func emptyObjects(t *testing.T, s *suite) {
	if _, err := s.store.Create(s.ctx, s.dir+"empty", nil); err != nil {
		t.Fatal(err)
	}
	_, err := s.store.Create(s.ctx, s.dir+"empty", []byte("x"))
	s.wantErr("create again", err, object.ErrExists)
	for _, r := range []object.Range{{}, {Offset: 1}, {Offset: -8}, {Length: 5}, {Offset: -8, Length: 2}} {
		o, err := s.other.Get(s.ctx, s.dir+"empty", r)
		if err != nil || len(o.Body) != 0 || o.Size != 0 {
			t.Errorf("%+v: %q of %d, %v", r, o.Body, o.Size, err)
		}
	}
	s.wantKeys(object.ListRequest{Prefix: s.dir}, "empty")
}

func clock(t *testing.T, s *suite) {
	var last time.Time
	tick := func(what string, now time.Time) {
		t.Helper()
		if now.IsZero() {
			t.Errorf("%s: the answer has no clock", what)
		}
		// S3 answers in whole seconds, file systems in ticks of some milliseconds.
		if now.Before(last.Add(-2 * time.Second)) {
			t.Errorf("%s: the store's clock went from %v to %v", what, last, now)
		}
		last = now
	}
	created, err := s.store.Create(s.ctx, s.dir+"k", []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	tick("create", created)
	now, err := s.store.Create(s.ctx, s.dir+"k", []byte("x"))
	s.wantErr("create again", err, object.ErrExists)
	tick("create of an existing key", now)
	now, err = s.store.Put(s.ctx, s.dir+"p", []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	tick("put", now)
	o, err := s.other.Get(s.ctx, s.dir+"k", object.Range{})
	if err != nil {
		t.Fatal(err)
	}
	tick("get", o.Now)
	if d := o.Modified.Sub(created).Abs(); d > 5*time.Second {
		t.Errorf("modified at %v, created at %v", o.Modified, created)
	}
	l, err := s.other.List(s.ctx, object.ListRequest{Prefix: s.dir})
	if err != nil {
		t.Fatal(err)
	}
	tick("list", l.Now)
	for _, i := range l.Objects {
		if d := i.Modified.Sub(created).Abs(); d > 5*time.Second {
			t.Errorf("list: %s modified at %v, created at %v", i.Key, i.Modified, created)
		}
	}
	now, err = s.store.Delete(s.ctx, s.dir+"k")
	if err != nil {
		t.Fatal(err)
	}
	tick("delete", now)
}

func cancelled(t *testing.T, s *suite) {
	s.create("k", "x")
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	check := func(what string, err error) {
		t.Helper()
		s.wantErr(what, err, context.Canceled)
	}
	_, err := s.store.Create(ctx, s.dir+"new", []byte("x"))
	check("create", err)
	_, err = s.store.Put(ctx, s.dir+"new", []byte("x"))
	check("put", err)
	_, err = s.store.Get(ctx, s.dir+"k", object.Range{})
	check("get", err)
	_, err = s.store.List(ctx, object.ListRequest{Prefix: s.dir})
	check("list", err)
	_, err = s.store.Delete(ctx, s.dir+"k")
	check("delete", err)
	s.wantKeys(object.ListRequest{Prefix: s.dir}, "k")
}
