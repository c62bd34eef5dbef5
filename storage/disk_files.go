package storage

import "os"

// diskFiles makes the files of a diskCache.
type diskFiles struct{ dir string }

// named is a file that is created with a name, which it loses at once: where the kernel
// knows no files without names. A broker killed in between leaves an empty file.
func (d diskFiles) named() (*os.File, error) {
	f, err := os.CreateTemp(d.dir, "sluice-cache-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil { // Windows
		f.Close()
		return nil, err
	}
	return f, nil
}
