package object

import (
	"math"
	"path"
	"strings"
	"testing"
)

func TestARangeSelectsBytesWithinTheObject(t *testing.T) {
	for _, c := range []struct {
		r              Range
		size, from, to int64
	}{
		{Range{}, 10, 0, 10},
		{Range{}, 0, 0, 0},
		{Range{Offset: 3}, 10, 3, 10},
		{Range{Offset: 3, Length: 4}, 10, 3, 7},
		{Range{Offset: 3, Length: 7}, 10, 3, 10},
		{Range{Offset: 3, Length: 8}, 10, 3, 10},
		{Range{Offset: 10}, 10, 10, 10},
		{Range{Offset: 11, Length: 1}, 10, 10, 10},
		{Range{Offset: -8}, 10, 2, 10},
		{Range{Offset: -8, Length: 3}, 10, 2, 5},
		{Range{Offset: -8}, 5, 0, 5},
		{Range{Offset: -8, Length: 3}, 5, 0, 3},
		{Range{Offset: -1}, 0, 0, 0},
		{Range{Offset: 1, Length: math.MaxInt64}, 10, 1, 10},
		{Range{Offset: math.MinInt64}, 10, 0, 10},
	} {
		if from, to := c.r.Of(c.size); from != c.from || to != c.to {
			t.Errorf("%+v of %d bytes: [%d, %d), want [%d, %d)", c.r, c.size, from, to, c.from, c.to)
		}
	}
}

func TestLegalKeysAndPrefixes(t *testing.T) {
	long := strings.Repeat("x", MaxElement)
	for key, want := range map[string]bool{
		"a":                                true,
		"a/b.json":                         true,
		"a b/%20+&=?#*'\"~!|<>":            true,
		"...":                              true,
		"a/.b":                             true,
		long:                               true,
		long + "/" + long:                  true,
		"":                                 false,
		".":                                false,
		"..":                               false,
		"/a":                               false,
		"a/":                               false,
		"a//b":                             false,
		"a/../b":                           false,
		"a/./b":                            false,
		`a\b`:                              false,
		"a\x00b":                           false,
		"a\nb":                             false,
		"\x7f":                             false,
		"ä":                                false,
		long + "x":                         false,
		strings.Repeat(long+"/", 3) + long: false,
	} {
		if got := ValidKey(key); got != want {
			t.Errorf("ValidKey(%q) = %v", key, got)
		}
	}
	for prefix, want := range map[string]bool{
		"": true, "a": true, "a/": true, "a/b": true, ".": true, "..": true, "a/..": true, long: true,
		"/": false, "//": false, "a//": false, "../": false, "../a": false, "a/./": false, "ä": false, long + "x": false,
	} {
		if got := ValidPrefix(prefix); got != want {
			t.Errorf("ValidPrefix(%q) = %v", prefix, got)
		}
	}
}

// FuzzValidKey checks that no legal key leaves the root or has a second
// spelling, and that each beginning of a legal key is a legal prefix.
func FuzzValidKey(f *testing.F) {
	for _, s := range []string{"a", "a/b", "../a", "a/../../b", "/etc/passwd", "a//b", ".", "a/..b", `..\a`, "a/.../b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, key string) {
		if !ValidKey(key) {
			return
		}
		if got := path.Join("/base", key); got != "/base/"+key {
			t.Fatalf("key %q is the file %q", key, got)
		}
		for i := range key {
			if !ValidPrefix(key[:i]) {
				t.Fatalf("key %q begins with %q, which is no legal prefix", key, key[:i])
			}
		}
	})
}
