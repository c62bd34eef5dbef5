package storage

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"sluice/protocol/record"
	"sluice/storage/buffer"
	"sluice/storage/delta"
	"sluice/storage/rows"
)

// Wait is the coming result of an Append.
type Wait struct {
	done   chan struct{}
	result Appended
}

// Appended is where a batch went.
type Appended struct {
	BaseOffset int64
	// LogAppendTime in ms if the topic stamps records itself, otherwise -1.
	LogAppendTime int64
	LogStart      int64
	// Err is nil once the batch is committed, a record error or one of this
	// package's if it was refused.
	Err error
}

// Done is closed when the result is known.
func (w *Wait) Done() <-chan struct{} { return w.done }

// Result is the result; call it after Done is closed.
func (w *Wait) Result() Appended { return w.result }

// appended is a batch on its way into the table: the committer's item.
type appended struct {
	partition int32
	batch     record.Batch
	base      int64
	count     int64
	// size is what the batch takes up until it is committed, in bytes: decompressed,
	// as it stands in the file that is made of it, if that is more, and packed.
	size int64
	// packed is its rows, packed; nil if that is left to the encoding of its pool, or done.
	packed *packed
	wait   *Wait
}

// packed is a batch that was packed when it arrived, with the memory that its pages lie in.
type packed struct {
	*rows.Pages
	buffer *buffer.Buffer
}

// refused is a Wait that has ended.
func refused(err error) *Wait {
	w := &Wait{done: make(chan struct{}), result: Appended{BaseOffset: -1, LogAppendTime: -1, LogStart: -1, Err: err}}
	close(w.done)
	return w
}

// Sender is what is known of the connection that sends a batch: it decides how long
// the batch waits for company.
type Sender = delta.Sender

// Append adds the records of a produce request's partition: one batch. It never
// blocks: the batch joins the filling pool and the Wait resolves when its version is
// committed (or it is refused). It takes ownership of the memory, which is
// patched in place, kept in the tail cache and served to consumers.
func (t *Topic) Append(n int32, records []byte, from Sender) *Wait {
	settings := t.settings.Load()
	now := time.Now()
	t.used.Store(now.UnixMilli())
	batch, packed, size, err := t.env.checkBatch(records, settings, now)
	if err != nil {
		return refused(err)
	}
	item := &appended{
		partition: n, batch: batch, packed: packed, size: int64(size), count: int64(batch.NumRecords()),
		wait: &Wait{done: make(chan struct{}), result: Appended{BaseOffset: -1, LogAppendTime: -1}},
	}
	if packed != nil {
		item.size += int64(packed.Packed)
	}
	if settings.LogAppendTime {
		item.wait.result.LogAppendTime = batch.MaxTimestamp()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	p, err := t.partition(n)
	if err != nil {
		if t.gone == nil {
			t.doubt(now) // another broker may have added it
		}
		return refused(err)
	}
	key := producerKey{n, batch.ProducerID()}
	if key.id != noProducer {
		duplicate, err := t.producers.check(key, batch)
		if err != nil {
			return t.doubted(err)
		}
		if duplicate != nil {
			return p.again(duplicate)
		}
	}
	if t.env.pending.Add(item.size) > t.env.options.PendingBytes {
		t.env.pending.Add(-item.size)
		if key.id != noProducer {
			t.producers.refuse(key, batch.BaseSequence())
		}
		return refused(fmt.Errorf("%w: %d bytes wait to be committed already", ErrUnavailable, t.env.options.PendingBytes))
	}
	item.base = p.next
	batch.SetBaseOffset(item.base)
	batch.SetLeaderEpoch(t.epoch)
	item.wait.result.BaseOffset = item.base
	if err := t.committer.Append(item, size, from); err != nil {
		t.env.pending.Add(-item.size)
		return refused(storeError(err))
	}
	p.next += item.count
	if key.id != noProducer {
		t.producers.expire(now)
		t.producers.add(key, newBatch(item), now.UnixMilli())
	}
	return item.wait
}

// doubted refuses a batch for what this broker remembers of its producer, once a look at
// the log has shown that it still leads. Another leader may have served the producer
// meanwhile: told that its sequences do not fit, it would begin anew with what it has
// not seen acknowledged, and double what is committed.
func (t *Topic) doubted(err error) *Wait {
	w := &Wait{done: make(chan struct{}), result: Appended{BaseOffset: -1, LogAppendTime: -1, LogStart: -1, Err: err}}
	t.env.background.Go(func() {
		defer close(w.done)
		ctx, cancel := context.WithTimeout(t.env.ctx, lookDeadline)
		defer cancel()
		if stale := t.committer.Look(ctx); stale != nil {
			w.result.Err = storeError(stale)
		}
	})
	return w
}

// maxFold is how many times max.message.bytes the records of a batch may decompress
// to. Clients count batch.size before compression, so that theirs do not come near.
const maxFold = 16

// checkBatch validates a produced batch, stamps it, and packs it if it is large. size is
// that of the batch in bytes, decompressed if that is more.
func (e *env) checkBatch(records []byte, s *Settings, now time.Time) (batch record.Batch, packed *packed, size int, err error) {
	rules := record.Rules{MaxBytes: s.MaxMessageBytes, MaxBody: e.maxBody(s), RequireKeys: s.Compact, LogAppendTime: s.LogAppendTime}
	ms := now.UnixMilli()
	if limit := s.MessageTimestampBeforeMaxMs; limit < ms-record.MinTimestamp {
		rules.Earliest = ms - limit
	}
	if limit := s.MessageTimestampAfterMaxMs; limit < record.MaxTimestamp-ms {
		rules.Latest = ms + limit
	}
	checked, d, err := e.check(records, rules)
	if err != nil {
		return nil, nil, 0, err
	}
	defer d.Release()
	batch = checked.Batch
	switch {
	case s.LogAppendTime:
		batch.SetLogAppendTime(ms)
	case batch.MaxTimestamp() != checked.MaxTimestamp || batch.Attributes().TimestampType() != record.CreateTime:
		batch.SetCreateTime(checked.MaxTimestamp)
	}
	if batch.Attributes().Transactional() {
		return nil, nil, 0, fmt.Errorf("%w: transactions are not supported", record.ErrInvalid)
	}
	packed = e.packBatch(batch, checked.Body, codecOf(s.ParquetCompression))
	return batch, packed, max(len(batch), len(checked.Body)), nil
}

// maxPack is the largest batch, decompressed, that is packed when it arrives, in bytes:
// larger than what clients send by default, and nothing that a broker has not the memory for.
const maxPack = 4 << 20

// packBatch packs a batch while its pool waits for the one before it, if it is of some size
// and there is a free place: nobody waits for one, since the encoding of the pool does it too.
func (e *env) packBatch(batch record.Batch, body []byte, codec rows.Codec) *packed {
	if codec == rows.None || len(body) < rows.MinPack || len(body) > maxPack {
		return nil
	}
	select {
	case p := <-e.packers:
		defer func() { e.packers <- p }()
		out := &packed{}
		var err error
		out.Pages, err = p.Pack(batch, body, codec, func(size int) []byte {
			out.buffer = buffer.Get(size)
			return out.buffer.Bytes
		})
		if err != nil {
			return nil // the encoding says why
		}
		return out
	default:
		return nil
	}
}

// check is record.Check in its turn. A compressed batch is first taken for a small one: those
// that unfold to much take turns of their own, and hold up no others. The caller releases
// the Decompressor, which has the batch's records, if there is no error.
func (e *env) check(records []byte, rules record.Rules) (record.Checked, *record.Decompressor, error) {
	if b, _, err := record.Next(records); err != nil || b.Attributes().Codec() == record.None {
		return checkIn(nil, records, rules)
	}
	small := rules
	small.MaxBody = min(rules.MaxBody, smallBody)
	checked, d, err := checkIn(e.checks, records, small)
	if small.MaxBody == rules.MaxBody || !errors.Is(err, record.ErrTooLarge) || len(records) > rules.MaxBytes {
		return checked, d, err
	}
	return checkIn(e.bulk, records, rules)
}

// checkIn checks while it has a turn, if there are turns. Nobody holds what was decompressed
// while waiting for one: of forty connections that send bombs, two have memory for them.
func checkIn(turns chan struct{}, records []byte, rules record.Rules) (record.Checked, *record.Decompressor, error) {
	if turns != nil {
		turns <- struct{}{}
		defer func() { <-turns }()
	}
	d := record.GetDecompressor()
	checked, err := record.Check(records, rules, d)
	if err != nil {
		d.Release()
		return record.Checked{}, nil, err
	}
	return checked, d, nil
}

// maxBody is what the records of one batch may decompress to, in bytes: less where
// memory is short, since a few such batches may be checked at a time.
func (e *env) maxBody(s *Settings) int {
	fold := int64(max(s.MaxMessageBytes, 1<<20)) * maxFold
	return int(min(fold, record.DefaultMaxBody, max(e.options.PendingBytes/2, 1<<20)))
}

func newBatch(item *appended) batch {
	return batch{
		epoch: item.batch.ProducerEpoch(), first: item.batch.BaseSequence(), last: item.batch.LastSequence(),
		base: item.base, timestamp: item.wait.result.LogAppendTime, wait: item.wait,
	}
}

// again answers a batch that was appended before: with its own Wait if it is
// not committed yet, otherwise with the offset that it got.
func (p *partition) again(b *batch) *Wait {
	if b.wait != nil {
		return b.wait
	}
	w := &Wait{done: make(chan struct{}), result: Appended{BaseOffset: b.base, LogAppendTime: b.timestamp, LogStart: p.logStart}}
	close(w.done)
	return w
}

// The hooks of the committer.

// encodePool makes the data file of a pool.
func (t *Topic) encodePool(ctx context.Context, pool []*appended) (*delta.File, error) {
	batches := make([]rows.Batch, len(pool))
	size := int64(0)
	for i, a := range pool {
		size += a.size
		batches[i] = rows.Batch{Partition: a.partition, BaseOffset: a.base, Data: a.batch}
		if a.packed != nil {
			a.packed.Place(a.partition, a.base)
			batches[i].Pages = a.packed.Pages
		}
	}
	// Stable: batches of one partition are in order already.
	slices.SortStableFunc(batches, func(a, b rows.Batch) int { return cmp.Compare(a.Partition, b.Partition) })
	file, err := t.env.encode(ctx, t.name, codecOf(t.settings.Load().ParquetCompression), batches, size)
	for _, a := range pool {
		if a.packed != nil {
			a.packed.buffer.Release()
			a.packed = nil // if the pool is encoded once more, it is out of its batches
		}
	}
	if err != nil && ctx.Err() == nil {
		return nil, fmt.Errorf("%w: encoding a data file: %w", ErrStopped, err)
	}
	if err == nil {
		if key, err := t.log.DataKey(file.Path); err == nil {
			t.env.blocks.written.add(key, file.Body)
		}
	}
	return file, err
}

func codecOf(name string) rows.Codec {
	switch name {
	case "zstd":
		return rows.Zstd
	case "none":
		return rows.None
	}
	return rows.Snappy
}

// completeEntry adds what an entry says beside its files: the next offset of each
// partition, and the producer state of its batches.
func (t *Topic) completeEntry(e *delta.Entry, snap *delta.Snapshot, pools [][]*appended) {
	next := map[int32]int64{}
	newest := map[producerKey][]producerNote{}
	var order []producerKey
	for _, pool := range pools {
		for _, a := range pool {
			next[a.partition] = max(next[a.partition], a.base+a.count)
			id := a.batch.ProducerID()
			if id == noProducer {
				continue
			}
			key := producerKey{a.partition, id}
			notes := newest[key]
			if notes == nil {
				order = append(order, key)
			}
			if len(notes) == maxBatches { // more than the last five are of no use
				notes = notes[1:]
			}
			newest[key] = append(notes, producerNote{
				int64(a.partition), id, int64(a.batch.ProducerEpoch()), int64(a.batch.BaseSequence()), int64(a.batch.LastSequence()),
				a.base, e.Info.Timestamp, a.wait.result.LogAppendTime,
			})
		}
	}
	for n, offset := range next {
		e.Txns = append(e.Txns, t.nextTxn(snap, n, offset, e.Info.Timestamp))
	}
	slices.SortFunc(e.Txns, func(a, b delta.Txn) int { return cmp.Compare(a.AppID, b.AppID) })
	if len(order) == 0 {
		return
	}
	n := note{Table: t.id}
	for _, key := range order {
		n.Producers = append(n.Producers, newest[key]...)
	}
	e.Info.Sluice, _ = json.Marshal(n) // numbers and a string: it cannot fail
}

// nextTxn raises the next offset of a partition. Inserted rows that got theirs later may
// have been committed before: it never falls.
func (t *Topic) nextTxn(snap *delta.Snapshot, n int32, offset, ms int64) delta.Txn {
	app := nextOffsetApp(t.id, n)
	return delta.Txn{AppID: app, Version: max(offset, snap.Txns[app].Version), LastUpdated: ms}
}

// applied takes up an entry that stands in the log, ours or another's. Behind the
// one that deletes the topic nothing may be committed: the next incarnation would
// inherit it.
func (t *Topic) applied(e *delta.Entry, snap *delta.Snapshot, pools [][]*appended) error {
	foreign := t.foreign == e.Version
	t.mu.Lock()
	t.version.Store(e.Version)
	if e.Metadata != nil {
		if err := t.configure(e.Metadata); err != nil {
			t.env.log.Error("a topic's new configuration is not used", "topic", t.name, "err", err)
		}
	}
	t.forgetTails(e, foreign)
	t.noteMoved(e, t.pending)
	place := t.index.place(e.Removes)
	// Removes first, as in delta.Snapshot: a path that is in both lives.
	t.index.remove(e.Removes)
	t.addFiles(e, snap, place, foreign)
	for _, txn := range e.Txns {
		if n, ok := parseLogStartApp(t.id, txn.AppID); ok && int(n) < len(t.partitions) {
			t.partitions[n].logStart = max(t.partitions[n].logStart, txn.Version)
		}
	}
	t.commit(pools)
	t.judge()
	t.reviewLater()
	t.notify()
	t.compactLater()
	t.mu.Unlock()
	for _, pool := range pools {
		for _, a := range pool {
			t.env.pending.Add(-a.size)
			close(a.wait.done)
		}
	}
	if e.Metadata != nil && e.Metadata.Configuration[propertyDeleted] == "true" {
		return t.errDeleted()
	}
	return nil
}

func (t *Topic) errDeleted() error { return fmt.Errorf("%w: %s is deleted", ErrUnknownTopic, t.name) }

// commit makes batches visible; t.mu is held.
func (t *Topic) commit(pools [][]*appended) {
	for _, pool := range pools {
		for _, a := range pool {
			p := t.partitions[a.partition]
			last := a.base + a.count - 1
			t.env.tails.add(&p.tail, tailBatch{a.base, last, a.batch})
			p.pooled = last + 1
			t.advance(p)
			a.wait.result.LogStart = p.logStart
			if id := a.batch.ProducerID(); id != noProducer {
				t.producers.committed(producerKey{a.partition, id}, a.wait)
			}
		}
	}
}

// failed answers batches that will not be committed.
func (t *Topic) failed(items []*appended, err error) {
	err = storeError(err)
	t.end(err) // offsets have been given out: nothing behind them may be appended here
	for _, a := range items {
		t.env.pending.Add(-a.size)
		a.wait.result = Appended{BaseOffset: -1, LogAppendTime: -1, LogStart: -1, Err: err}
		close(a.wait.done)
	}
}

// stopped is told why the committer has stopped.
func (t *Topic) stopped(err error) {
	defer t.end(storeError(err))
	if errors.Is(err, ErrUnknownTopic) {
		return // we have deleted it
	}
	t.env.log.Error("topic lost", "topic", t.name, "leader_epoch", t.Info().LeaderEpoch, "err", err,
		"hint", "if two brokers run on this store, stop one of them")
}

// beside keeps the producer state with a checkpoint.
func (t *Topic) beside(snap *delta.Snapshot) func(context.Context) error {
	t.mu.Lock()
	state := stateSnapshot{Version: snap.Version, note: note{Table: t.id, Producers: t.producers.notes()}}
	t.mu.Unlock()
	return func(ctx context.Context) error { return writeState(ctx, t.env.store, t.log.Table(), state) }
}

// parseID is a metaData.id as Kafka's topic id; zero if it is no UUID.
func parseID(id string) [16]byte {
	parsed, err := uuid.Parse(id)
	if err != nil {
		return [16]byte{}
	}
	return parsed
}
