package delta

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"sluice/storage/object"
)

// A log may be anybody's bytes, and its objects may be of any size. What they take is
// bounded before they are read: a broker in a small container refuses a table that it
// has no room for, and serves the others.

const (
	// DefaultMemory is the bound of one table's state without a memory limit: about a
	// million files.
	DefaultMemory = 1 << 30
	// minMemory is what is left of it in the smallest container.
	minMemory = 16 << 20
	// entryPart and checkpointPart are the parts of it that an entry and a checkpoint
	// may have as bytes. JSON of very small actions takes a dozen times its size in memory,
	// a checkpoint is compressed.
	entryPart, checkpointPart = 16, 2
	// smallBytes is what is read without asking, many at a time. Ordinary entries have
	// some kB.
	smallBytes = 256 << 10
	// aheadBytes is the same of entries, of which one load reads many ahead.
	aheadBytes = 32 << 10
	// allTables is how many times what one table may take all may, unless it is said.
	allTables = 4
)

// ErrTooLarge says that a table, or one object of it, takes more memory than one table
// may. It matches ErrCorrupt too: nobody makes such a thing in good faith, or the memory
// is too small for the table.
var ErrTooLarge = fmt.Errorf("%w: larger than memory allows", ErrCorrupt)

// Memory bounds what the logs that share it take while they are read, and what the
// state of each and of all may take afterwards. nil means the default. Safe for concurrent use.
type Memory struct {
	table, all int64
	used       atomic.Int64 // of all; see room
	// loads has a place for each load that may run at a time, unfolding for a checkpoint of
	// more than unfoldAlone.
	loads, unfolding chan struct{}
	// large is held while an object of more than smallBytes is read: one at a time.
	large chan struct{}
}

// NewMemory bounds the state of one table, and of all together, by so many bytes, 0 for the
// defaults.
func NewMemory(table, all int64) *Memory {
	if table <= 0 {
		table = DefaultMemory
	}
	table = max(table, minMemory)
	if all <= 0 {
		all = allTables * table
	}
	all = max(all, table)
	return &Memory{
		table: table, all: all,
		loads:     make(chan struct{}, max(loadsMin, min(loadsMax, all/loadBytes))),
		unfolding: make(chan struct{}, 1),
		large:     make(chan struct{}, 1),
	}
}

// Table is how many bytes the state of a table may take.
func (m *Memory) Table() int64 { return m.table }

func (m *Memory) maxEntry() int64      { return m.table / entryPart }
func (m *Memory) maxCheckpoint() int64 { return m.table / checkpointPart }

// Get reads a whole object of limit bytes at most, else ErrTooLarge. done must be called
// when what was made of it needs no more room than it will keep; it is never nil.
func (m *Memory) Get(ctx context.Context, store object.Store, key string, limit int64) (o object.Object, done func(), err error) {
	if o, err = getSmall(ctx, store, key, smallBytes); !errors.Is(err, errLarge) {
		return o, func() {}, err
	}
	if o.Size > limit {
		return o, func() {}, fmt.Errorf("%w: %s of %d bytes, of which %d may be read", ErrTooLarge, key, o.Size, limit)
	}
	unlock, err := hold(ctx, m.large)
	if err != nil {
		return o, func() {}, err
	}
	if o, err = store.Get(ctx, key, object.Range{Length: limit + 1}); err == nil && int64(len(o.Body)) > limit {
		o.Body, err = nil, fmt.Errorf("%w: %s of %d bytes, of which %d may be read", ErrTooLarge, key, o.Size, limit)
	}
	if err != nil {
		unlock()
		return o, func() {}, err
	}
	return o, unlock, nil
}

// errLarge says that an object is not to be read beside others.
var errLarge = errors.New("a large object")

// getSmall reads an object of up to limit bytes; the error of a larger one is errLarge.
func getSmall(ctx context.Context, store object.Store, key string, limit int) (object.Object, error) {
	o, err := store.Get(ctx, key, object.Range{Length: int64(limit) + 1})
	if err == nil && len(o.Body) > limit {
		o.Body, err = nil, errLarge
	}
	return o, err
}

// What an action takes in memory, about, apart from its strings: the struct, its places in
// the maps of a snapshot, and what is made of it in the index of a topic.
const (
	actionBytes = 512
	pairBytes   = 64 // an element of a map or a list
)

func pairsMemory(m map[string]string) (n int64) {
	for key, value := range m {
		n += pairBytes + int64(len(key)+len(value))
	}
	return n
}

func (a *Add) memory() int64 {
	return actionBytes + int64(2*len(a.Path)+len(a.Stats)) + pairsMemory(a.PartitionValues) + pairsMemory(a.Tags)
}

func (r *Remove) memory() int64 {
	return actionBytes + int64(2*len(r.Path)) + pairsMemory(r.PartitionValues)
}

func (t *Txn) memory() int64 { return 2*pairBytes + int64(2*len(t.AppID)) }

func (m *Metadata) memory() int64 {
	n := int64(len(m.SchemaString)+len(m.Description)+len(m.Name)) + pairsMemory(m.Configuration) + pairsMemory(m.Format.Options)
	return n + pairBytes*int64(len(m.PartitionColumns))
}

// memory is about what an entry takes.
func (e *Entry) memory() (n int64) {
	if e.Info != nil {
		n += int64(len(e.Info.Sluice)) + pairsMemory(e.Info.OperationParameters)
	}
	if e.Metadata != nil {
		n += e.Metadata.memory()
	}
	for i := range e.Txns {
		n += e.Txns[i].memory()
	}
	for i := range e.Adds {
		n += e.Adds[i].memory()
	}
	for i := range e.Removes {
		n += e.Removes[i].memory()
	}
	return n
}

// memory is about what a snapshot takes.
func (s *Snapshot) memory() int64 {
	n := s.Metadata.memory()
	for _, t := range s.Txns {
		n += t.memory()
	}
	for _, a := range s.Files {
		n += a.memory()
	}
	for _, r := range s.Tombstones {
		n += r.memory()
	}
	return n
}
