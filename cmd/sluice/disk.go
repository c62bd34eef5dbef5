package main

import "os"

const (
	// defaultDiskBytes is the size of the disk cache where sluice.cache.bytes does not say:
	// half a minute of 1,000,000 small records a second.
	defaultDiskBytes = 4 << 30
	// diskShare of what the disk has free, one part in so many, is the most that the cache
	// takes then.
	diskShare = 10
)

// disk is the broker's disk cache, of batches that have left memory.
type disk struct {
	dir   string // empty: none, or with bytes: no place was found
	bytes int64
	share int64 // see storage.Options
}

// newDisk finds a place for the disk cache: the one that was named, or a directory
// for temporary files that does not lie in memory.
func newDisk(dir string, bytes int64) disk {
	d := disk{dir: dir, bytes: bytes}
	if bytes < 0 {
		d.bytes, d.share = defaultDiskBytes, diskShare
	}
	switch {
	case dir == "off" || d.bytes == 0:
		return disk{}
	case dir != "":
		return d
	}
	for _, temporary := range []string{os.TempDir(), "/var/tmp"} {
		if info, err := os.Stat(temporary); err == nil && info.IsDir() && !inMemory(temporary) {
			d.dir = temporary
			return d
		}
	}
	return d
}
