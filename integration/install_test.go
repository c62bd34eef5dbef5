//go:build integration

package integration

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"sluice/integration/setup"
)

// installed is a folder below the cache that holds what pins describe, made by
// make if it is not there yet (setup.Install).
//
// What can not be installed fails the test: a skipped client would look like one
// that works.
func installed(t *testing.T, name, pins string, make func(t *testing.T, dir string)) string {
	t.Helper()
	dir, err := setup.Install(cache, name, pins, func(dir string) error {
		start := time.Now()
		make(t, dir)
		t.Logf("installed %s in %s", name, time.Since(start).Round(time.Second))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// sh runs a command of an installation, in dir, and fails the test with all that
// it printed.
func sh(t *testing.T, dir string, env []string, command ...string) {
	t.Helper()
	if err := setup.Run(dir, env, command...); err != nil {
		t.Fatal(err)
	}
}

// pinned is a file of this folder as text: the pins of an installation.
func pinned(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(append([]string{source}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
