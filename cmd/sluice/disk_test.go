package main

import (
	"path/filepath"
	"testing"
)

var (
	inDirectory = storeURL{scheme: "file", path: "data"}
	inBucket    = storeURL{scheme: "s3", bucket: "bucket"}
)

func TestTheDiskCacheLiesWhereItIsToldTo(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	if inMemory(dir) {
		t.Skip("temporary files lie in memory here")
	}
	for _, test := range []struct {
		environ []string
		store   storeURL
		want    disk
	}{
		{nil, inBucket, disk{dir, defaultDiskBytes, diskShare}},
		{nil, inDirectory, disk{}},
		{[]string{"SLUICE_CACHE_DIR=/cache"}, inBucket, disk{"/cache", defaultDiskBytes, diskShare}},
		{[]string{"SLUICE_CACHE_DIR=/cache"}, inDirectory, disk{"/cache", defaultDiskBytes, diskShare}},
		{[]string{"SLUICE_CACHE_DIR=/cache", "SLUICE_CACHE_BYTES=1000"}, inBucket, disk{"/cache", 1000, 0}},
		{[]string{"SLUICE_CACHE_BYTES=1000"}, inDirectory, disk{dir, 1000, 0}},
		{[]string{"SLUICE_CACHE_BYTES=0"}, inBucket, disk{}},
		{[]string{"SLUICE_CACHE_DIR=off"}, inBucket, disk{}},
	} {
		s, err := fromEnvironment(t, test.environ...)
		if err != nil {
			t.Fatalf("%v: %v", test.environ, err)
		}
		if got := newDisk(test.store, s.cacheDir, s.cacheBytes); got != test.want {
			t.Errorf("%v, %+v: %+v, want %+v", test.environ, test.store, got, test.want)
		}
	}
}

func TestTemporaryFilesOnADiskAreLookedFor(t *testing.T) {
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "none"))
	if got := newDisk(inBucket, "", -1); got.dir != "" && got.dir != "/var/tmp" {
		t.Errorf("%+v", got)
	}
	if !inMemory("/dev/shm") {
		t.Skip("there is no tmpfs here")
	}
	t.Setenv("TMPDIR", "/dev/shm")
	if got := newDisk(inBucket, "", -1); got.dir == "/dev/shm" {
		t.Error("the cache lies in memory")
	}
}

func TestADiskTakesTheTailOutOfMemory(t *testing.T) {
	s, err := fromEnvironment(t)
	if err != nil {
		t.Fatal(err)
	}
	s.cacheDir = t.TempDir()
	with, files := newBounds(s, inBucket, 0), newBounds(s, inDirectory, 0)
	if with.blocks < files.blocks || files.blocks < 16<<20 {
		t.Errorf("%d bytes of blocks beside S3, %d beside files on a disk", with.blocks, files.blocks)
	}
	s.cacheDir = "off"
	if without := newBounds(s, inBucket, 0); with.tail >= without.tail || files.tail != with.tail {
		t.Errorf("with a disk cache %d bytes, beside files on a disk %d, without %d", with.tail, files.tail, without.tail)
	}
}
