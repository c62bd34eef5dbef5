package storage

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"

	"sluice/protocol/record"
	"sluice/storage/buffer"
)

// diskCache keeps the batches that have left the tail cache on the broker's own disk, as
// the bytes that a Fetch answers with: who reads what was written a while ago costs a
// copy out of the kernel's page cache, where Parquet files would have to be decoded.
//
// Its files are a ring, appended to by one goroutine in large writes, outside of all
// locks. They have no name: a broker that is killed leaves nothing behind, and none ever
// trusts what an earlier one has left. What the disk is too slow for is left out,
// nobody waits for it. If a file cannot be written or read, the cache is given up for the
// life of the process, and readers go on with the table's files.
//
// Where the records of a batch are deleted, or its topic is led here no more, its
// partition is forgotten as in the tail cache (tailCache has the calls).
type diskCache struct {
	bounds diskBounds
	log    *slog.Logger
	fds    diskFiles

	mu      sync.Mutex
	files   queue[*diskFile] // oldest first; the newest is appended to
	bytes   int64            // of all files
	queue   queue[leaving]   // what is not written yet, in order
	waiting int              // bytes of queue
	writing bool             // a goroutine is in write
	off     bool             // closed, or given up: nothing is added or found any more
	number  int              // of the partitions that were added to
	dropped int64            // bytes that were left out
	written int64
	group   sync.WaitGroup
}

// diskBounds are the sizes of a diskCache.
type diskBounds struct {
	files     int   // at most, at least 2
	fileBytes int64 // of one
	fileRuns  int   // of one
	flush     int   // is written at a time, about
	waiting   int   // bytes that may wait for the disk
	share     int64 // of what the disk has free, the cache may take one in so many; 0: all
}

const (
	// diskFileBytes is the size of a file of the cache: what is dropped at a time.
	diskFileBytes = 64 << 20
	// diskFlush is about how much is written at a time, if the tail cache is several times
	// that. It is sorted by partition before, so that a reader of one of many finds its
	// batches side by side.
	diskFlush = 4 << 20
	// leastFlush is the least of it: small tail caches are those of tests.
	leastFlush = 1 << 10
	// diskFileRuns bounds the index: about 50 bytes in memory for a run.
	diskFileRuns = 8192
	// runBytes is up to which size batches side by side are one entry of the index: what a
	// reader in the midst of them reads in vain.
	runBytes = 128 << 10
)

// newDiskBounds divides limit bytes into files. What waits in memory is a share of what the
// tail cache may take.
func newDiskBounds(limit, share int64, tail int) diskBounds {
	b := diskBounds{fileBytes: max(min(diskFileBytes, limit/8), 1), fileRuns: diskFileRuns, share: share}
	b.files = int(max(2, limit/b.fileBytes))
	b.flush = int(max(min(diskFlush, b.fileBytes/4, int64(tail/8)), leastFlush))
	b.waiting = 4 * b.flush
	return b
}

// diskFile is a file of the cache.
type diskFile struct {
	file *os.File
	size int64 // owned by write
	// runs has the partition of each run in the file, in order: the oldest of that
	// partition, unless it was forgotten since.
	runs []*spilled
}

// spilled is what the disk cache holds of a partition, by offset: runs on the disk,
// behind them what waits to be written. There may be gaps: what was left out.
// diskCache.mu guards it.
type spilled struct {
	runs       queue[run]
	waiting    queue[tailBatch]
	number     int // orders partitions within a write
	generation int // how often it was forgotten
}

// run are batches without gap between them that lie side by side.
type run struct {
	first, last int64
	file        *diskFile
	at          int64
	size        int
}

// leaving is a batch that waits to be written.
type leaving struct {
	to         *spilled
	generation int
	tailBatch
}

// openDiskCache tries whether there can be files in dir.
func openDiskCache(dir string, bounds diskBounds, log *slog.Logger) (*diskCache, error) {
	fds := diskFiles{dir}
	probe, err := fds.create()
	if err != nil {
		return nil, err
	}
	probe.Close()
	return &diskCache{bounds: bounds, log: log, fds: fds}, nil
}

// add takes up a batch that leaves the tail of its partition. It never waits.
func (d *diskCache) add(to *spilled, b tailBatch) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.off {
		return
	}
	if d.waiting+len(b.data) > d.bounds.waiting || int64(len(b.data)) > d.bounds.fileBytes {
		d.dropped += int64(len(b.data))
		return
	}
	if to.number == 0 {
		d.number++
		to.number = d.number
	}
	to.waiting.push(b)
	d.queue.push(leaving{to, to.generation, b})
	d.waiting += len(b.data)
	if d.waiting >= d.bounds.flush && !d.writing {
		d.writing = true
		d.group.Go(d.write)
	}
}

// forget drops all that is known of a partition.
func (d *diskCache) forget(p *spilled) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p.generation++
	p.runs, p.waiting = queue[run]{}, queue[tailBatch]{}
}

// close ends the writing and gives the disk back.
func (d *diskCache) close() {
	d.mu.Lock()
	d.off = true
	d.mu.Unlock()
	d.group.Wait()
	d.dropOldest(0)
}

// read answers the batches from offset on and before limit, up to maxBytes; the first
// one counts as fitting if atLeastOne. ok is false if the batch of offset is not here, or
// the file that it was in has just been dropped. Whoever gets a buffer gives it back.
func (d *diskCache) read(p *spilled, offset, limit int64, maxBytes int, atLeastOne bool) (batches [][]byte, bytes int, buf *buffer.Buffer, ok bool) {
	sections, waiting := d.find(p, offset, limit, maxBytes)
	if sections == nil {
		batches, bytes = fitting(waiting, maxBytes, atLeastOne)
		return batches, bytes, nil, waiting != nil
	}
	size := 0
	for _, s := range sections {
		size += s.size
	}
	buf = buffer.Get(size)
	n := 0
	for _, s := range sections {
		if _, err := s.file.file.ReadAt(buf.Bytes[n:n+s.size], s.at); err != nil {
			buf.Release()
			if !errors.Is(err, os.ErrClosed) {
				d.giveUp(fmt.Errorf("reading: %w", err))
			}
			return nil, 0, nil, false
		}
		n += s.size
	}
	found, err := split(buf.Bytes, sections[0].first, offset)
	if err != nil {
		buf.Release()
		d.giveUp(err)
		return nil, 0, nil, false
	}
	batches, bytes = fitting(found, maxBytes, atLeastOne)
	return batches, bytes, buf, true
}

// find answers what to read for offset and behind it, up to about maxBytes: whole runs, side by
// side those that lie so, or batches that wait to be written. Both are nil if the batch
// of offset is not here.
func (d *diskCache) find(p *spilled, offset, limit int64, maxBytes int) (sections []run, waiting []tailBatch) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.off {
		return nil, nil
	}
	next, bytes := offset, 0
	for i := search(&p.runs, offset, func(r *run) int64 { return r.last }); i < p.runs.len(); i++ {
		r := *p.runs.at(i)
		if r.first > next || r.last >= limit || bytes > 0 && bytes+r.size > maxBytes {
			break
		}
		next = r.last + 1
		bytes += r.size
		if n := len(sections); n > 0 && sections[n-1].file == r.file && sections[n-1].at+int64(sections[n-1].size) == r.at {
			sections[n-1].size += r.size
			sections[n-1].last = r.last
			continue
		}
		sections = append(sections, r)
	}
	if sections != nil {
		return sections, nil
	}
	for i := search(&p.waiting, offset, func(b *tailBatch) int64 { return b.last }); i < p.waiting.len(); i++ {
		b := *p.waiting.at(i)
		if b.first > next || b.first >= limit || bytes > maxBytes {
			break
		}
		next = b.last + 1
		bytes += len(b.data)
		waiting = append(waiting, b)
	}
	return nil, waiting
}

// fitting are the batches that fit into maxBytes, the first if atLeastOne.
func fitting(found []tailBatch, maxBytes int, atLeastOne bool) (batches [][]byte, bytes int) {
	for _, b := range found {
		if bytes+len(b.data) > maxBytes && !(atLeastOne && len(batches) == 0) {
			break
		}
		batches = append(batches, b.data)
		bytes += len(b.data)
	}
	return batches, bytes
}

// errDiskBytes: a file of the cache holds something other than what was written to it.
var errDiskBytes = errors.New("the disk gives back other bytes than were written")

// split finds the batches in buf, which begins with that of first, and answers those from
// the one that holds offset on. Their checksums are left to the client, as in Kafka.
func split(buf []byte, first, offset int64) (batches []tailBatch, err error) {
	for rest := buf; len(rest) > 0; {
		b, _, err := record.Next(rest)
		if err != nil || b.BaseOffset() != first || b.LastOffsetDelta() < 0 {
			return nil, errDiskBytes
		}
		last := b.LastOffset()
		if last >= offset {
			// With what is behind it in reach: it may be sent in one piece with that.
			batches = append(batches, tailBatch{first, last, rest[:len(b)]})
		}
		first, rest = last+1, rest[len(b):]
	}
	return batches, nil
}
