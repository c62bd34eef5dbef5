//go:build unix

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// lockDirectory takes the lock on a store in a directory. Put-if-absent makes
// two brokers on one root safe; on one machine two are a mistake all the same,
// and this says so at once. The lock is the kernel's and ends with the process,
// however it ends; the file stays and holds the process id of its last owner.
func lockDirectory(root string) (unlock func(), err error) {
	path := filepath.Join(root, "_sluice", "lock")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer file.Close()
		switch {
		case errors.Is(err, unix.EWOULDBLOCK):
			return nil, advise(fmt.Errorf("another sluice serves it%s", owner(file)),
				"Stop that one, or name another directory with --store.")
		case errors.Is(err, unix.ENOLCK), errors.Is(err, unix.ENOTSUP), errors.Is(err, unix.ENOSYS):
			return func() {}, nil // a file system without locks: see above
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	// For people only, so that an error here does not matter.
	if err := file.Truncate(0); err == nil {
		file.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return func() { file.Close() }, nil
}

// owner tells the process id in the lock file, if there is one.
func owner(file *os.File) string {
	text, err := io.ReadAll(io.LimitReader(file, 32))
	if err != nil {
		return ""
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return ""
	}
	return fmt.Sprintf(" (process %d)", pid)
}
