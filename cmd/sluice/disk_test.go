package main

import (
	"path/filepath"
	"testing"
)

func TestTheDiskCacheLiesWhereItIsToldTo(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	if inMemory(dir) {
		t.Skip("temporary files lie in memory here")
	}
	for _, test := range []struct {
		environ []string
		want    disk
	}{
		{nil, disk{dir, defaultDiskBytes, diskShare}},
		{[]string{"SLUICE_CACHE_DIR=/cache"}, disk{"/cache", defaultDiskBytes, diskShare}},
		{[]string{"SLUICE_CACHE_DIR=/cache", "SLUICE_CACHE_BYTES=1000"}, disk{"/cache", 1000, 0}},
		{[]string{"SLUICE_CACHE_BYTES=0"}, disk{}},
		{[]string{"SLUICE_CACHE_DIR=off"}, disk{}},
	} {
		s, err := fromEnvironment(t, test.environ...)
		if err != nil || s.disk != test.want {
			t.Errorf("%v: %+v, %v, want %+v", test.environ, s.disk, err, test.want)
		}
	}
}

func TestTemporaryFilesOnADiskAreLookedFor(t *testing.T) {
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "none"))
	if got := newDisk("", -1); got.dir != "" && got.dir != "/var/tmp" {
		t.Errorf("%+v", got)
	}
	if !inMemory("/dev/shm") {
		t.Skip("there is no tmpfs here")
	}
	t.Setenv("TMPDIR", "/dev/shm")
	if got := newDisk("", -1); got.dir == "/dev/shm" {
		t.Error("the cache lies in memory")
	}
}

func TestADiskTakesTheTailOutOfMemory(t *testing.T) {
	s, err := fromEnvironment(t, "SLUICE_CACHE_DIR=off")
	if err != nil {
		t.Fatal(err)
	}
	without := newBounds(s, storeURL{scheme: "file"}, 0)
	s.disk = newDisk(t.TempDir(), 1<<30)
	if with := newBounds(s, storeURL{scheme: "file"}, 0); with.tail >= without.tail || with.disk.bytes != 1<<30 {
		t.Errorf("with a disk %d bytes, without %d", with.tail, without.tail)
	}
}
