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

// newDisk finds a place for the disk cache of a store: the one that was named, or a
// directory for temporary files that does not lie in memory. The files of a directory
// store are on a disk of the broker already, and Parquet is read back about as fast: who
// neither names a place nor a size has no cache there, as writing all records twice
// took a third more of the CPU of a busy broker.
func newDisk(u storeURL, dir string, bytes int64) disk {
	if dir == "off" || bytes == 0 || u.scheme != "s3" && dir == "" && bytes < 0 {
		return disk{}
	}
	d := disk{dir: dir, bytes: bytes}
	if bytes < 0 {
		d.bytes, d.share = defaultDiskBytes, diskShare
	}
	if dir != "" {
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
