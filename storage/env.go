package storage

import (
	"bytes"
	"context"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"sluice/storage/delta"
	"sluice/storage/object"
	"sluice/storage/rows"
	"sluice/storage/upkeep"
)

// env is what all topics of a broker share: the store, the bounds, the caches.
type env struct {
	store   *object.Tally
	options Options
	log     *slog.Logger
	budget  *delta.Budget
	memory  *delta.Memory
	metrics *metrics
	tails   *tailCache
	blocks  *blockCache
	// encoders has a slot for each encoding that may run at a time: it is CPU work,
	// and an encoder keeps its buffers.
	encoders chan *encoders
	// packers are the places for packing large batches at a time, one for each processor.
	packers chan *rows.Packer
	// checks has a slot for each compressed batch that may be checked at a time: it is
	// CPU work, and holds the batch decompressed.
	checks chan struct{}
	// bulk has a slot for each large batch or pool that is checked or encoded at a time, so
	// that some processors are left to small ones: half of them, and one of two.
	bulk chan struct{}
	// rewriting is held by the compaction that runs: one at a time in a broker,
	// beside the encodings that producers wait for.
	rewriting chan struct{}
	// adopting is held by the adoption that runs, one at a time.
	adopting chan struct{}
	// cleanLimits bound what a cleaning does at a time.
	cleanLimits cleanLimits
	// background is the upkeep under way; ctx ends it.
	background sync.WaitGroup
	ctx        context.Context
	cancel     context.CancelFunc
	// pending counts the bytes that are appended and not settled.
	pending atomic.Int64
}

const (
	// smallBody is up to how many bytes of records a batch is checked beside others, and
	// smallPool up to how many a pool is encoded so. Clients' batches are below 1 MiB, and
	// pools are closed at 2 MiB.
	smallBody = 2 << 20
	smallPool = 32 << 20
)

// checkSlots is how many compressed batches are checked at a time: one for each
// processor, but no more than the memory of a small container holds decompressed.
func checkSlots(pending int64) int {
	return int(max(1, min(int64(runtime.GOMAXPROCS(0)), pending>>24)))
}

// encoders are the encoders of one slot, by codec.
type encoders map[rows.Codec]*rows.Encoder

const (
	defaultTailBytes    = 128 << 20
	defaultBlockBytes   = 64 << 20
	defaultPendingBytes = 256 << 20
)

func newEnv(store object.Store, options Options) *env {
	if options.TailBytes <= 0 {
		options.TailBytes = defaultTailBytes
	}
	if options.BlockBytes <= 0 {
		options.BlockBytes = defaultBlockBytes
	}
	if options.PendingBytes <= 0 {
		options.PendingBytes = defaultPendingBytes
	}
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	e := &env{
		store: object.NewTally(store), options: options, log: options.Log,
		budget:   delta.NewBudget(options.PutsPerSecond),
		memory:   delta.NewMemory(options.TableBytes, options.TablesBytes),
		metrics:  newMetrics(options.Registerer),
		encoders: make(chan *encoders, runtime.GOMAXPROCS(0)),
		packers:  make(chan *rows.Packer, runtime.GOMAXPROCS(0)),
		checks:   make(chan struct{}, checkSlots(options.PendingBytes)),
		bulk:     make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)),
	}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	e.tails = newTailCache(options.TailBytes, e.openDisk())
	e.blocks = newBlockCache(options.BlockBytes, e.metrics)
	for range cap(e.encoders) {
		e.encoders <- &encoders{}
		e.packers <- &rows.Packer{}
	}
	e.rewriting = make(chan struct{}, 1)
	e.adopting = make(chan struct{}, 1)
	e.cleanLimits = cleanLimits{keys: upkeep.MaxKeys, bytes: cleanBytes}
	return e
}

// openDisk answers the disk cache, nil if there is none: Sluice works without.
func (e *env) openDisk() *diskCache {
	o := &e.options
	if o.DiskDir == "" || o.DiskBytes <= 0 {
		return nil
	}
	disk, err := openDiskCache(o.DiskDir, newDiskBounds(o.DiskBytes, o.DiskShare, o.TailBytes), e.log)
	if err != nil {
		e.log.Warn("no disk cache: old records are read from the tables' files", "dir", o.DiskDir, "err", err)
		return nil
	}
	if o.Registerer != nil {
		registerDisk(o.Registerer, disk)
	}
	return disk
}

func (e *env) newLog(table string) *delta.Log {
	return delta.NewLog(e.store, table, delta.Options{Window: e.options.Window, Memory: e.memory, Log: e.log})
}

// tableURL is where engines find a table.
func (e *env) tableURL(table string) string {
	return strings.TrimSuffix(e.store.URL(), "/") + "/" + table
}

// encode makes the data file of batches, which have so many bytes of records, waiting for a
// free encoder.
func (e *env) encode(ctx context.Context, topic string, codec rows.Codec, batches []rows.Batch, size int64) (*delta.File, error) {
	if size > smallPool {
		select {
		case e.bulk <- struct{}{}:
			defer func() { <-e.bulk }()
		case <-ctx.Done():
			return nil, delta.ErrStopping
		}
	}
	var slot *encoders
	select {
	case slot = <-e.encoders:
	case <-ctx.Done():
		return nil, delta.ErrStopping
	}
	defer func() { e.encoders <- slot }()
	encoder := slot.get(codec)
	if size > smallPool {
		delete(*slot, codec) // its buffers are as large now
	}
	file, err := encoder.Encode(topic, batches)
	if err != nil {
		return nil, err
	}
	body := file.Body
	if size <= smallPool {
		body = bytes.Clone(body) // the buffer goes to the next file while this one is uploaded
	}
	return &delta.File{Path: newPath(), Body: body, Stats: file.Stats, Tags: file.Tags}, nil
}

// get is the slot's encoder for a codec.
func (s encoders) get(codec rows.Codec) *rows.Encoder {
	if s[codec] == nil {
		s[codec] = rows.NewEncoder(rows.Options{Codec: codec})
	}
	return s[codec]
}

// newPath names a new data file: unique, and found by its day.
func newPath() string {
	return "data/" + time.Now().UTC().Format(time.DateOnly) + "/" + uuid.NewString() + ".parquet"
}

// close ends what runs in the background and waits for it.
func (e *env) close(ctx context.Context) error {
	e.cancel()
	e.blocks.cancel() // also where ctx has ended already
	if e.tails.disk != nil {
		e.tails.disk.close()
	}
	ended := make(chan struct{})
	go func() { e.background.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-ctx.Done():
		return ctx.Err()
	}
	return e.blocks.close(ctx)
}
