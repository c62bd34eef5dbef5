//go:build unix

// Package setup is what the black box tests and the measurements beside them both
// need: programs installed from their registries at pinned versions, free ports, and
// MinIO as it is run here.
package setup

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// installTimeout bounds one command of an installation: the longest is the build of
// MinIO, two minutes on two idle cores.
const installTimeout = 15 * time.Minute

// Install answers a folder below the cache that holds what pins describe, filled by
// fill if it is not there yet. It counts as there once fill has come to its end; all
// happens under a lock that other processes respect. The folder is named by the pins,
// so that another pin is another folder.
func Install(cache, name, pins string, fill func(dir string) error) (string, error) {
	sum := sha256.Sum256([]byte(pins))
	dir := filepath.Join(cache, name+"-"+hex.EncodeToString(sum[:6]))
	done := filepath.Join(dir, ".installed")
	if _, err := os.Stat(done); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	lock, err := os.OpenFile(filepath.Join(cache, name+".lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return "", err
	}
	defer lock.Close() // and with it goes the lock
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return "", err
	}
	if _, err := os.Stat(done); err == nil {
		return dir, nil
	}
	// What an interrupted installation left, and older pins.
	old, err := filepath.Glob(filepath.Join(cache, name+"-*"))
	if err != nil {
		return "", err
	}
	for _, path := range old {
		if err := os.RemoveAll(path); err != nil {
			return "", err
		}
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", err
	}
	if err := fill(dir); err != nil {
		return "", err
	}
	return dir, os.WriteFile(done, []byte(pins), 0o644)
}

// Run runs a command of an installation, in dir, with env added to the environment.
// The error has all that it printed.
func Run(dir string, env []string, command ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), installTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(command, " "), err, out.String())
	}
	return nil
}

// Jars answers the folder with what a pom.xml depends on, from Maven Central.
func Jars(cache, name, pom string) (string, error) {
	pins, err := os.ReadFile(pom)
	if err != nil {
		return "", err
	}
	return Install(cache, name, string(pins), func(dir string) error {
		return Run(dir, nil, "mvn", "--batch-mode", "--quiet", "--file", pom,
			"dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory="+dir)
	})
}
