//go:build integration

package integration

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// installTimeout bounds one installation: the longest is the build of MinIO, two
// minutes on two idle cores.
const installTimeout = 15 * time.Minute

// installed is a folder below the cache that holds what pins describe, made by
// make if it is not there yet. The folder appears at once and whole: it is made
// beside its place and moved there, under a lock that also other processes
// respect. It is named by the pins, so that another pin is another folder.
//
// What can not be installed fails the test: a skipped client would look like one
// that works.
func installed(t *testing.T, name, pins string, make func(t *testing.T, dir string)) string {
	t.Helper()
	sum := sha256.Sum256([]byte(pins))
	dir := filepath.Join(cache, name+"-"+hex.EncodeToString(sum[:6]))
	done := filepath.Join(dir, ".installed")
	if _, err := os.Stat(done); err == nil {
		return dir
	}
	lock, err := os.OpenFile(filepath.Join(cache, name+".lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close() // and with it goes the lock
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(done); err == nil {
		return dir
	}
	// What an interrupted installation left, and older pins.
	old, err := filepath.Glob(filepath.Join(cache, name+"-*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range old {
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	make(t, dir)
	if err := os.WriteFile(done, []byte(pins), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Logf("installed %s in %s", name, time.Since(start).Round(time.Second))
	return dir
}

// sh runs a command of an installation, in dir, and fails the test with all that
// it printed.
func sh(t *testing.T, dir string, env []string, command ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), installTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(command, " "), err, out.String())
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
