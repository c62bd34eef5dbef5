package storage

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"sluice/protocol/record"
	"sluice/storage/buffer"
	"sluice/storage/rows"
)

// Offsets are a partition's watermarks.
type Offsets struct {
	LogStart      int64
	LastStable    int64 // below it nothing changes any more; read_committed ends here
	HighWatermark int64 // the next offset of what is committed
}

// Read is what a Read found: whole record batches as on the wire, the first of
// which holds the offset asked for (or the next one behind a gap).
type Read struct {
	Offsets
	Batches [][]byte
	Bytes   int
	buffer  *buffer.Buffer // that Batches lie in, if nobody else has them
	blocks  []*block       // that they are of
	readOn  func()         // loads ahead what comes next; nil: nothing that is known of
}

// Release gives back the memory of Batches, which are of no use then. It is called once they
// are sent, if at all, and once only: without it the garbage collector does it. What the reader
// will ask for next is loaded from then on, while it is at what it has got: before, the
// loads would take the processors from the answer and from who waits for it.
func (r *Read) Release() {
	r.buffer.Release()
	for _, b := range r.blocks {
		b.release()
	}
	if r.readOn != nil {
		r.readOn()
	}
	r.buffer, r.blocks, r.readOn, r.Batches, r.Bytes = nil, nil, nil, nil, 0
}

// Offsets answers the watermarks of a partition.
func (t *Topic) Offsets(n int32) (Offsets, error) {
	_, offsets, err := t.watermarks(n)
	return offsets, err
}

// watermarks are a partition and what Offsets says of it.
func (t *Topic) watermarks(n int32) (*partition, Offsets, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p, err := t.partition(n)
	if err != nil {
		return nil, Offsets{}, err
	}
	return p, p.offsets(), nil
}

func (p *partition) offsets() Offsets {
	return Offsets{LogStart: p.logStart, LastStable: p.high, HighWatermark: p.high}
}

// Read reads from offset on up to about maxBytes, at least one whole batch if
// there is one and atLeastOne is set, otherwise only what fits. It answers with no
// batches at the high watermark, and with one that has no records where all up to
// there are deleted. The batches are shared: read only.
// ErrOffsetOutOfRange comes with the watermarks.
func (t *Topic) Read(ctx context.Context, n int32, offset int64, maxBytes int, atLeastOne bool) (Read, error) {
	p, offsets, err := t.watermarks(n)
	if err == nil && offset > offsets.HighWatermark {
		// A consumer that is told so gives up its place. It may be a newer leader that has
		// told it of what is there.
		if err = storeError(t.committer.Look(ctx)); err == nil {
			p, offsets, err = t.watermarks(n)
		}
	}
	if err != nil {
		return Read{}, err
	}
	read := Read{Offsets: offsets}
	t.used.Store(time.Now().UnixMilli())
	switch {
	case offset < read.LogStart || offset > read.HighWatermark:
		return read, fmt.Errorf("%w: %d is not within %d and %d", ErrOffsetOutOfRange, offset, read.LogStart, read.HighWatermark)
	case offset == read.HighWatermark:
		t.lookIfSuspected()
		return read, nil
	case maxBytes <= 0 && !atLeastOne:
		return read, nil
	}
	if batches, bytes, ok := p.tail.read(offset, read.HighWatermark, maxBytes, atLeastOne); ok {
		t.env.metrics.tailHits.Inc()
		read.Batches, read.Bytes = batches, bytes
		return read, nil
	}
	t.env.metrics.tailMisses.Inc()
	t.mu.Lock()
	t.lookAfter(time.Now(), behindEvery)
	t.mu.Unlock()
	if t.readDisk(p, offset, maxBytes, atLeastOne, &read) {
		return read, nil
	}
	err = t.upToDate(ctx, func() error {
		read.Release()
		return t.readFiles(ctx, n, offset, maxBytes, atLeastOne, &read)
	})
	if err != nil {
		t.noteUnread(err)
	}
	return read, err
}

// readDisk reads what the disk cache holds, if it does.
func (t *Topic) readDisk(p *partition, offset int64, maxBytes int, atLeastOne bool, read *Read) (ok bool) {
	disk := t.env.tails.disk
	if disk == nil {
		return false
	}
	read.Batches, read.Bytes, read.buffer, ok = disk.read(&p.tail.spilled, offset, read.HighWatermark, maxBytes, atLeastOne)
	if ok {
		t.env.metrics.diskHits.Inc()
	} else {
		t.env.metrics.diskMisses.Inc()
	}
	return ok
}

// skip answers a reader who is at offset, where nothing is left up to the high
// watermark, with a batch of no records that covers those offsets, so that it goes
// on behind them. Kafka's log cleaner leaves such batches too, and clients know them;
// without one the reader would stay there, with its lag, until there is a newer record.
func (r *Read) skip(offset int64, maxBytes int, atLeastOne bool) {
	if len(r.Batches) > 0 || record.HeaderSize > maxBytes && !atLeastOne {
		return
	}
	r.Batches = append(r.Batches, record.Empty(offset, r.HighWatermark-1))
	r.Bytes += record.HeaderSize
}

// readFiles reads what the tail cache does not hold any more.
func (t *Topic) readFiles(ctx context.Context, n int32, offset int64, maxBytes int, atLeastOne bool, read *Read) error {
	asked := offset
	for {
		extents, err := t.extents(ctx, n, offset, read.HighWatermark, readAhead)
		if err != nil {
			return err
		}
		if len(extents) == 0 {
			read.skip(asked, maxBytes, atLeastOne)
			return nil
		}
		t.env.blocks.prefetch(t.env.store, n, offset, extents, true, min(int64(maxBytes), aheadBytes))
		for len(extents) > 0 {
			group := overlapping(extents)
			extents = extents[len(group):]
			block, err := t.env.blocks.find(ctx, t.env.store, n, offset, group)
			if err != nil {
				return fmt.Errorf("reading %s-%d at %d: %w", t.name, n, offset, storeError(err))
			}
			before := len(read.Batches)
			read.blocks = append(read.blocks, block)
			for _, b := range block.batches {
				if b.Last < offset {
					continue
				}
				if b.First >= read.HighWatermark { // committed since
					read.skip(asked, maxBytes, atLeastOne)
					return nil
				}
				if read.Bytes+len(b.Data) > maxBytes && !(atLeastOne && len(read.Batches) == 0) {
					read.readOn = func() { t.readOn(n, offset, read.HighWatermark) }
					return nil
				}
				read.Batches = append(read.Batches, b.Data)
				read.Bytes += len(b.Data)
				offset = b.Last + 1
			}
			if len(read.Batches) == before {
				block.release()
				read.blocks = read.blocks[:len(read.blocks)-1]
			}
			offset = max(offset, block.next)
			if offset <= reach(group) {
				break // more of this group follows
			}
		}
		if offset >= read.HighWatermark {
			read.skip(asked, maxBytes, atLeastOne)
			return nil
		}
		if len(read.Batches) > 0 && read.Bytes >= maxBytes {
			read.readOn = func() { t.readOn(n, offset, read.HighWatermark) }
			return nil
		}
	}
}

// readOn loads ahead what a reader will ask for next, at offset. Whoever reads on meets the errors.
func (t *Topic) readOn(n int32, offset, limit int64) {
	t.mu.Lock()
	if len(t.index.unresolved) > 0 { // no answer waits for footers that it does not need
		t.mu.Unlock()
		return
	}
	extents := t.index.from(n, offset, limit, readAhead)
	t.mu.Unlock()
	t.env.blocks.prefetch(t.env.store, n, offset, extents, false, aheadBytes)
}

// overlapping is the head of sorted extents whose offsets are interleaved: one
// file, unless an engine has rewritten the table.
func overlapping(extents []extent) []extent {
	last := extents[0].last
	for i, e := range extents[1:] {
		if e.first > last {
			return extents[:i+1]
		}
		last = max(last, e.last)
	}
	return extents
}

// extents lists the next files that hold records of a partition, reading first the
// footers of files that do not say in the log what they hold.
func (t *Topic) extents(ctx context.Context, n int32, offset, limit int64, count int) ([]extent, error) {
	for {
		t.mu.Lock()
		if _, err := t.partition(n); err != nil {
			t.mu.Unlock()
			return nil, err
		}
		if len(t.index.unresolved) == 0 {
			found := t.index.from(n, offset, limit, count)
			t.mu.Unlock()
			return found, nil
		}
		t.mu.Unlock()
		if err := t.resolve(ctx); err != nil {
			return nil, err
		}
	}
}

// resolve reads the footers of the files that other writers made, and more of those
// that hold other rows than records. It goes on after one that the store does not
// give out, and returns the first error.
func (t *Topic) resolve(ctx context.Context) (failed error) {
	select {
	case t.resolving <- struct{}{}:
		defer func() { <-t.resolving }()
	case <-ctx.Done():
		return storeError(ctx.Err())
	}
	t.mu.Lock()
	waiting := slices.Collect(maps.Values(t.index.unresolved))
	t.mu.Unlock()
	// In this order the first of two rows with the same place is the one that counts.
	slices.SortFunc(waiting, fileOrder)
	for _, f := range waiting {
		found, err := t.lookInto(ctx, f)
		if err != nil && !unreadableFile(err) {
			if failed == nil {
				failed = fmt.Errorf("file %s: %w", f.key, storeError(err))
			}
			if ctx.Err() != nil {
				break
			}
			continue
		}
		t.mu.Lock()
		switch {
		case t.index.files[f.name] != f: // removed meanwhile
		case err != nil:
			delete(t.index.unresolved, f.name)
			t.unreadable(f.name, err)
		default:
			t.index.resolve(f, found.ranges)
			if found.inserts > 0 {
				t.index.inserts[f.name] = f
				t.judge()
			}
		}
		t.mu.Unlock()
	}
	return failed
}

// lookInto reads what a file holds.
func (t *Topic) lookInto(ctx context.Context, f *file) (examined, error) {
	reader, err := t.env.blocks.reader(ctx, t.env.store, f)
	if err != nil {
		return examined{}, err
	}
	return t.examine(ctx, f, reader)
}

// OffsetForTime finds the first record with a timestamp of at least ms.
// offset is -1 if there is none.
func (t *Topic) OffsetForTime(ctx context.Context, n int32, ms int64) (offset, timestamp int64, err error) {
	err = t.upToDate(ctx, func() (err error) {
		offset, timestamp, err = t.offsetForTime(ctx, n, ms)
		return err
	})
	return offset, timestamp, err
}

func (t *Topic) offsetForTime(ctx context.Context, n int32, ms int64) (offset, timestamp int64, err error) {
	offset, timestamp = -1, -1
	extents, offsets, err := t.all(ctx, n)
	for len(extents) > 0 && err == nil && offset == -1 {
		group := overlapping(extents)
		extents = extents[len(group):]
		for _, e := range group {
			if e.file.span.MaxTimestamp >= 0 && e.file.span.MaxTimestamp < ms {
				continue
			}
			var r *rows.Reader
			if r, err = t.env.blocks.reader(ctx, t.env.store, e.file); err != nil {
				break
			}
			at, stamp, ok, failed := r.OffsetForTime(ctx, n, max(e.first, offsets.LogStart), ms)
			if err = failed; err != nil {
				break
			}
			if ok && at < offsets.HighWatermark && (offset == -1 || at < offset) {
				offset, timestamp = at, stamp
			}
		}
	}
	if err != nil {
		return -1, -1, fmt.Errorf("searching %s-%d by time: %w", t.name, n, storeError(err))
	}
	return offset, timestamp, nil
}

// MaxTimestamp finds the first record with the greatest timestamp; -1, -1 in an
// empty partition.
func (t *Topic) MaxTimestamp(ctx context.Context, n int32) (offset, timestamp int64, err error) {
	err = t.upToDate(ctx, func() (err error) {
		offset, timestamp, err = t.maxTimestamp(ctx, n)
		return err
	})
	return offset, timestamp, err
}

func (t *Topic) maxTimestamp(ctx context.Context, n int32) (offset, timestamp int64, err error) {
	offset, timestamp = -1, -1
	extents, offsets, err := t.all(ctx, n)
	// The most promising files first: mostly one is enough.
	bound := func(e extent) int64 {
		if e.file.span.MaxTimestamp < 0 {
			return math.MaxInt64
		}
		return e.file.span.MaxTimestamp
	}
	slices.SortStableFunc(extents, func(a, b extent) int { return cmp.Compare(bound(b), bound(a)) })
	for _, e := range extents {
		if err != nil || bound(e) < timestamp {
			break
		}
		var r *rows.Reader
		if r, err = t.env.blocks.reader(ctx, t.env.store, e.file); err != nil {
			break
		}
		at, stamp, ok, failed := r.MaxTimestamp(ctx, n, max(e.first, offsets.LogStart))
		if err = failed; err != nil {
			break
		}
		if ok && at < offsets.HighWatermark && (stamp > timestamp || stamp == timestamp && at < offset) {
			offset, timestamp = at, stamp
		}
	}
	if err != nil {
		return -1, -1, fmt.Errorf("searching %s-%d by time: %w", t.name, n, storeError(err))
	}
	return offset, timestamp, nil
}

// all lists the files of a partition's visible records.
func (t *Topic) all(ctx context.Context, n int32) ([]extent, Offsets, error) {
	offsets, err := t.Offsets(n)
	if err != nil {
		return nil, offsets, err
	}
	extents, err := t.extents(ctx, n, offsets.LogStart, offsets.HighWatermark, math.MaxInt)
	return extents, offsets, err
}

// OffsetAtVersion is the next offset that the partition had at a version of the
// table: what had been committed by then. ErrVersionGone if the log does not hold it. Whoever
// knows of a version that is not known here, another writer's, finds it taken up from then on.
func (t *Topic) OffsetAtVersion(ctx context.Context, n int32, version int64) (int64, error) {
	t.mu.Lock()
	_, err := t.partition(n)
	t.mu.Unlock()
	if err != nil {
		return -1, err
	}
	snap, err := t.log.OpenAt(ctx, version)
	if err != nil {
		return -1, versionError(err)
	}
	defer snap.Release()
	if snap.Metadata.ID != t.id {
		return -1, fmt.Errorf("%w: version %d is of a topic of this name that was deleted", ErrVersionGone, version)
	}
	if version > t.Version() {
		if err := t.committer.Look(ctx); err != nil {
			return -1, storeError(err)
		}
	}
	return snap.Txns[nextOffsetApp(t.id, n)].Version, nil
}

// EpochEnd answers OffsetForLeaderEpoch (KIP-320). Nothing that was committed is
// ever truncated, so every epoch up to the current one ends at the high watermark;
// -1, -1 for one that never was, after which a consumer gives up its place. Who names an
// epoch after ours, or has read beyond the high watermark (its next offset is seen; the
// greatest number if it does not say), has mostly met a newer leader: ErrNotLeader.
func (t *Topic) EpochEnd(ctx context.Context, n int32, epoch int32, seen int64) (int32, int64, error) {
	offsets, err := t.Offsets(n)
	if err == nil && (epoch > t.epoch || seen > offsets.HighWatermark) {
		if err = storeError(t.committer.Look(ctx)); err == nil {
			offsets, err = t.Offsets(n)
		}
	}
	switch {
	case err != nil:
		return -1, -1, err
	case epoch < 0 || epoch > t.epoch:
		return -1, -1, nil
	}
	return epoch, offsets.HighWatermark, nil
}

// EpochRange is the span of leader epochs that a request may name: older than
// min is fenced, newer than max is unknown here. The epoch before ours passes: a
// client that came through a restart of the broker has missed nothing.
func (t *Topic) EpochRange() (min, max int32) { return t.lastEpoch, t.epoch }

// Size is the number of bytes that a partition's records take up in the table, estimated.
func (t *Topic) Size(n int32) int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, err := t.partition(n); err != nil {
		return 0
	}
	return t.index.bytes(n)
}
