package storage

import (
	"os"

	"golang.org/x/sys/unix"
)

// create makes a file that has no name and is gone with its last user.
func (d diskFiles) create() (*os.File, error) {
	fd, err := unix.Open(d.dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil { // not every file system has such files
		return d.named()
	}
	return os.NewFile(uintptr(fd), d.dir), nil
}

// free is how many bytes the disk has for this process; -1 if that is not known.
func (d diskFiles) free() int64 {
	var s unix.Statfs_t
	if err := unix.Statfs(d.dir, &s); err != nil {
		return -1
	}
	return int64(s.Bavail) * s.Bsize
}

// startWriteback has the disk take up a part of a file now, and does not wait for it: left to
// the kernel, what a broker at full speed has written half a minute ago goes out at
// once, and the fsyncs of commits wait for all of it. An error is the next write's.
func startWriteback(f *os.File, at, size int64) {
	_ = unix.SyncFileRange(int(f.Fd()), at, size, unix.SYNC_FILE_RANGE_WRITE)
}
