package storage

import (
	"cmp"
	"fmt"
	"os"
	"slices"
)

// write writes what waits until it is too little for a write.
func (d *diskCache) write() {
	for {
		items := d.take()
		if items == nil {
			return
		}
		if err := d.store(items); err != nil {
			d.giveUp(err)
		}
	}
}

// take is what is to be written next; after nil write has ended.
func (d *diskCache) take() (items []leaving) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.off || d.waiting < d.bounds.flush {
		d.writing = false
		return nil
	}
	for bytes := 0; bytes < d.bounds.flush && d.queue.len() > 0; {
		item := d.queue.pop()
		bytes += len(item.data)
		// What was forgotten need not be written.
		if item.generation == item.to.generation {
			items = append(items, item)
		} else {
			d.waiting -= len(item.data)
		}
	}
	if items == nil {
		items = []leaving{} // there may be more
	}
	return items
}

// store writes items and puts them into the index.
func (d *diskCache) store(items []leaving) error {
	slices.SortStableFunc(items, func(a, b leaving) int { return cmp.Compare(a.to.number, b.to.number) })
	size := int64(0)
	for i := range items {
		size += int64(len(items[i].data))
	}
	if size == 0 {
		return nil
	}
	f, err := d.room(size)
	if err != nil {
		return err
	}
	if err := writeBatches(f.file, f.size, items); err != nil {
		return err
	}
	startWriteback(f.file, f.size, size)
	d.publish(f, items, size)
	return nil
}

// publish moves items from what waits to what is on the disk.
func (d *diskCache) publish(f *diskFile, items []leaving, size int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.off {
		return
	}
	at := f.size
	f.size += size
	d.bytes += size
	d.written += size
	d.waiting -= int(size)
	for i := range items {
		item := &items[i]
		start := at
		at += int64(len(item.data))
		if item.generation != item.to.generation {
			continue
		}
		item.to.waiting.pop()
		runs := &item.to.runs
		if n := runs.len(); n > 0 {
			r := runs.at(n - 1)
			if r.file == f && r.at+int64(r.size) == start && r.last+1 == item.first && r.size+len(item.data) <= runBytes {
				r.last, r.size = item.last, r.size+len(item.data)
				continue
			}
		}
		runs.push(run{item.first, item.last, f, start, len(item.data)})
		f.runs = append(f.runs, item.to)
	}
}

// room answers the file to append size bytes to: the newest one, or another in the
// place of the oldest.
func (d *diskCache) room(size int64) (*diskFile, error) {
	d.mu.Lock()
	if n := d.files.len(); n > 0 {
		f := *d.files.at(n - 1)
		if f.size+size <= d.bounds.fileBytes && len(f.runs) < d.bounds.fileRuns {
			d.mu.Unlock()
			return f, nil
		}
	}
	bytes := d.bytes
	d.mu.Unlock()
	files := d.bounds.files
	if free := d.fds.free(); d.bounds.share > 0 && free >= 0 {
		files = int(min(int64(files), (free+bytes)/d.bounds.share/d.bounds.fileBytes))
	}
	d.dropOldest(files - 1)
	if files < 1 {
		return nil, fmt.Errorf("%s has %d bytes free, which is too little", d.fds.dir, d.fds.free())
	}
	file, err := d.fds.create()
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.off {
		file.Close()
		return nil, os.ErrClosed
	}
	f := &diskFile{file: file}
	d.files.push(f)
	return f, nil
}

// dropOldest drops all but the newest files.
func (d *diskCache) dropOldest(keep int) {
	d.mu.Lock()
	var old []*diskFile
	for d.files.len() > max(keep, 0) {
		f := d.files.pop()
		old = append(old, f)
		d.bytes -= f.size
		for _, p := range f.runs {
			if p.runs.len() > 0 && p.runs.at(0).file == f {
				p.runs.pop()
			}
		}
	}
	d.mu.Unlock()
	for _, f := range old {
		f.file.Close() // readers within it come to their end first
	}
}

// giveUp goes on without the cache, because of a file that cannot be written or read.
func (d *diskCache) giveUp(err error) {
	d.mu.Lock()
	first := !d.off
	d.off = true
	for d.queue.len() > 0 {
		item := d.queue.pop()
		item.to.waiting = queue[tailBatch]{}
	}
	d.waiting = 0
	d.mu.Unlock()
	if !first {
		return
	}
	d.log.Warn("the disk cache is off from now on: old records are read from the tables' files", "dir", d.fds.dir, "err", err)
	d.dropOldest(0)
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
