package objecttest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"sluice/storage/object"
)

// wantKeys lists all pages through the other handle and compares the keys, and
// the folders if req asks for them, without the subtest's folder in front.
func (s *suite) wantKeys(req object.ListRequest, want ...string) {
	s.Helper()
	got := s.list(req)
	if !slices.Equal(got, want) {
		s.Errorf("list %+v:\n got %q\nwant %q", req, got, want)
	}
}

// list returns keys and folders of all pages, in the order of the pages and in
// byte order within one, and checks what must hold for each page.
func (s *suite) list(req object.ListRequest) []string {
	s.Helper()
	var all []string
	for {
		l, err := s.other.List(s.ctx, req)
		if err != nil {
			s.Fatalf("list %+v: %v", req, err)
		}
		var page []string
		for _, i := range l.Objects {
			page = append(page, i.Key)
			if i.Modified.IsZero() {
				s.Errorf("list %+v: %s has no time", req, i.Key)
			}
		}
		if !slices.IsSorted(page) || !slices.IsSorted(l.Folders) {
			s.Errorf("list %+v: a page is out of order: %q %q", req, page, l.Folders)
		}
		page = append(page, l.Folders...)
		slices.Sort(page)
		for _, entry := range page {
			if entry <= req.After || entry > l.Last {
				s.Errorf("list %+v: %q is outside of the page (%q, %q]", req, entry, req.After, l.Last)
			}
			all = append(all, strings.TrimPrefix(entry, s.dir))
		}
		if req.Limit > 0 && len(page) > req.Limit {
			s.Errorf("list %+v: %d entries", req, len(page))
		}
		if !l.More {
			return all
		}
		if l.Last <= req.After {
			s.Fatalf("list %+v: more after %q, which is no progress", req, l.Last)
		}
		req.After = l.Last
	}
}

func (s *suite) createAll(keys ...string) {
	s.Helper()
	for _, key := range keys {
		s.create(key, key)
	}
}

// nested has names around the slash, which is 0x2f: '-' and '.' sort before the
// contents of a folder, digits and letters after them.
var nested = []string{
	"a-b", "a-b.x", "a.json", "a/-", "a/0", "a/b-c", "a/b/c", "a/b/d/e/f", "a/b0", "a0", "aa/a", "b/z", "c", "d/e/f/g/h", "e",
}

func listOrder(t *testing.T, s *suite) {
	shuffled := slices.Clone(nested)
	slices.Reverse(shuffled)
	s.createAll(shuffled...)
	s.wantKeys(object.ListRequest{Prefix: s.dir}, nested...)
	for _, prefix := range []string{"a", "a/", "a/b", "a/b/", "a/b/d/e/f", "aa", "b", "c", "c/", "d/e/", "d/e/f/g/h", "x", "a/b/x", "-"} {
		var want []string
		for _, key := range nested {
			if strings.HasPrefix(key, prefix) {
				want = append(want, key)
			}
		}
		s.wantKeys(object.ListRequest{Prefix: s.dir + prefix}, want...)
	}
}

func listAfter(t *testing.T, s *suite) {
	s.createAll(nested...)
	afters := slices.Concat(nested, []string{"", "a", "a/", "a/b", "a/b/", "a/b/d", "a/b/d/", "a/b/d/e/f/g", "a/zz", "b", "b/", "d/e/", "zz"})
	for _, after := range afters {
		var want []string
		for _, key := range nested {
			if key > after {
				want = append(want, key)
			}
		}
		s.wantKeys(object.ListRequest{Prefix: s.dir, After: s.dir + after}, want...)
	}
	// Outside of the prefix: before all of it, and past it.
	s.wantKeys(object.ListRequest{Prefix: s.dir + "a/b/", After: s.dir + "a/0"}, "a/b/c", "a/b/d/e/f")
	s.wantKeys(object.ListRequest{Prefix: s.dir + "a/b/", After: s.dir + "b"})
	s.wantKeys(object.ListRequest{Prefix: s.dir + "a/b", After: s.dir + "a/b/c"}, "a/b/d/e/f", "a/b0")
}

func listFolders(t *testing.T, s *suite) {
	s.createAll(nested...)
	for _, c := range []struct {
		prefix, after string
		want          []string
	}{
		{"", "", []string{"a-b", "a-b.x", "a.json", "a/", "a0", "aa/", "b/", "c", "d/", "e"}},
		{"a", "", []string{"a-b", "a-b.x", "a.json", "a/", "a0", "aa/"}},
		{"a/", "", []string{"a/-", "a/0", "a/b-c", "a/b/", "a/b0"}},
		{"a/b", "", []string{"a/b-c", "a/b/", "a/b0"}},
		{"d", "", []string{"d/"}},
		{"d/", "", []string{"d/e/"}},
		{"d/e/f/g/h", "", []string{"d/e/f/g/h"}},
		{"x", "", nil},
		{"", "a-b", []string{"a-b.x", "a.json", "a/", "a0", "aa/", "b/", "c", "d/", "e"}},
		{"", "a", []string{"a-b", "a-b.x", "a.json", "a/", "a0", "aa/", "b/", "c", "d/", "e"}},
		{"", "a.json", []string{"a/", "a0", "aa/", "b/", "c", "d/", "e"}},
		{"", "a/", []string{"a0", "aa/", "b/", "c", "d/", "e"}},  // a folder itself
		{"", "a/b", []string{"a0", "aa/", "b/", "c", "d/", "e"}}, // within a folder
		{"", "d/", []string{"e"}},
		{"", "d/zz", []string{"e"}},
		{"", "e", nil},
		{"a/", "a/b", []string{"a/b-c", "a/b/", "a/b0"}},
		{"a/", "a/b/d", []string{"a/b0"}},
	} {
		after := c.after
		if after != "" {
			after = s.dir + after
		}
		for _, limit := range []int{0, 1, 2, 3} {
			s.wantKeys(object.ListRequest{Prefix: s.dir + c.prefix, After: after, Folders: true, Limit: limit}, c.want...)
		}
	}
	// A folder goes with its last object, also if it was nested.
	if _, err := s.store.Delete(s.ctx, s.dir+"d/e/f/g/h", s.dir+"b/z"); err != nil {
		t.Fatal(err)
	}
	s.wantKeys(object.ListRequest{Prefix: s.dir, After: s.dir + "aa/", Folders: true}, "c", "e")
}

func listPages(t *testing.T, s *suite) {
	var want []string
	for i := range 23 {
		want = append(want, fmt.Sprintf("p/%02d", i))
	}
	s.createAll(want...)
	for _, limit := range []int{1, 2, 7, 22, 23, 24, 5000} {
		s.wantKeys(object.ListRequest{Prefix: s.dir, Limit: limit}, want...)
	}
	l, err := s.store.List(s.ctx, object.ListRequest{Prefix: s.dir, Limit: 7})
	if err != nil || len(l.Objects) != 7 || !l.More || l.Last != s.dir+"p/06" {
		t.Errorf("a page of 7: %d objects, more %v, last %q, %v", len(l.Objects), l.More, l.Last, err)
	}
	if o := l.Objects[0]; o.Key != s.dir+want[0] || o.Size != int64(len(want[0])) || o.Modified.IsZero() {
		t.Errorf("the first object is %+v", o)
	}
}

func listNothing(t *testing.T, s *suite) {
	for _, folders := range []bool{false, true} {
		l, err := s.store.List(s.ctx, object.ListRequest{Prefix: s.dir + "no/such/", Folders: folders})
		if err != nil || len(l.Objects) != 0 || len(l.Folders) != 0 || l.More || l.Now.IsZero() {
			t.Errorf("%+v, %v", l, err)
		}
	}
}
