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

// stagedBatch is up to which size batches are gathered before they are written.
const stagedBatch = 64 << 10

// writeBatches writes the batches of items one behind the other.
func writeBatches(f *os.File, at int64, items []leaving) error {
	var staged []byte
	write := func(b []byte) error {
		_, err := f.WriteAt(b, at)
		at += int64(len(b))
		return err
	}
	for i := range items {
		data := items[i].data
		if len(staged) > 0 && (len(data) > stagedBatch || len(staged)+len(data) > cap(staged)) {
			if err := write(staged); err != nil {
				return err
			}
			staged = staged[:0]
		}
		if len(data) > stagedBatch {
			if err := write(data); err != nil {
				return err
			}
			continue
		}
		if staged == nil {
			staged = make([]byte, 0, 8*stagedBatch)
		}
		staged = append(staged, data...)
	}
	if len(staged) == 0 {
		return nil
	}
	return write(staged)
}
