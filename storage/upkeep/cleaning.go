package upkeep

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"math"
	"slices"

	"sluice/protocol/record"
	"sluice/storage/rows"
)

// Cleaning is one cleaning of a compacted topic (cleanup.policy=compact): it is
// told the keys of what is dirty (Learn), and then says of each record whether it
// stays (Keep) and of each new file what of it is clean (Marks). The rules are those
// of Kafka's cleaner (LogCleaner.buildOffsetMap, shouldRetainRecord; KIP-534).
// Not for concurrent use.
type Cleaning struct {
	now, retention int64 // ms
	partitions     []Partition
	// latest is the greatest offset of each key that was learned, by a hash of
	// partition and key. Two keys with one hash would lose a record, so the hash is
	// SHA-256, cut to 128 bits: with a million keys an accident has a chance of
	// 1 in 10^26, and nobody can look for one, since each cleaning has a seed of its own.
	latest  map[[hashSize]byte]int64
	maxKeys int
	seed    [hashSize]byte
	scratch []byte
	dying   [][]tombstones // by partition, of what was kept

	kept, removed int64
}

const (
	hashSize = 16
	// MaxKeys bounds the keys of one cleaning: about 40 MB. Kafka's map
	// (log.cleaner.dedupe.buffer.size, 128 MB) has room for five times that.
	MaxKeys = 1 << 20
)

// Partition is the part of a partition that a cleaning looks at.
type Partition struct {
	// Start is the log start offset: records before it go.
	Start int64
	// Dirty is the first offset that has not been through a cleaning.
	Dirty int64
	// Through is the last offset that will have been when this cleaning is done; what
	// is behind it stays as it is.
	Through int64
	// Newest is the partition's last record. It stays even if it is a tombstone
	// whose time is over, so that the partition's end is always to be seen in its rows.
	Newest int64
	// Marks are those of its files before Dirty, sorted.
	Marks []Mark
}

// tombstones are neighbours that may go at the same time.
type tombstones struct{ first, last, horizon int64 }

// NewCleaning begins a cleaning at the time now; retention is delete.retention.ms.
func NewCleaning(now, retention int64, partitions []Partition, maxKeys int) *Cleaning {
	c := &Cleaning{
		now: now, retention: retention, partitions: partitions, maxKeys: maxKeys,
		latest: map[[hashSize]byte]int64{}, dying: make([][]tombstones, len(partitions)),
	}
	rand.Read(c.seed[:]) // it never fails
	return c
}

// Learn takes up the key of a dirty record. It answers false if there is no room
// for it: then the cleaning can reach no further than the record before.
func (c *Cleaning) Learn(partition int32, offset int64, key []byte) bool {
	if key == nil {
		return true
	}
	h := c.hash(partition, key)
	known, ok := c.latest[h]
	if !ok && len(c.latest) >= c.maxKeys {
		return false
	}
	if !ok || offset > known {
		c.latest[h] = offset
	}
	return true
}

// End says that a partition is not to be cleaned behind an offset.
func (c *Cleaning) End(partition int32, through int64) {
	if partition < 0 || int(partition) >= len(c.partitions) {
		return
	}
	p := &c.partitions[partition]
	p.Through = max(min(p.Through, through), p.Dirty-1)
}

func (c *Cleaning) hash(partition int32, key []byte) (h [hashSize]byte) {
	c.scratch = append(c.scratch[:0], c.seed[:]...)
	c.scratch = binary.BigEndian.AppendUint32(c.scratch, uint32(partition))
	c.scratch = append(c.scratch, key...)
	sum := sha256.Sum256(c.scratch)
	copy(h[:], sum[:])
	return h
}

// Superseded reports whether a record goes whatever its value: because a newer one
// has its key, it has none (of a time when the topic was not compacted), or it lies
// before the log start.
func (c *Cleaning) Superseded(partition int32, offset int64, key []byte) bool {
	if partition < 0 || int(partition) >= len(c.partitions) {
		return false // another writer's: leave it alone
	}
	switch p := &c.partitions[partition]; {
	case offset == p.Newest, offset > p.Through:
		return false
	case offset < p.Start, key == nil:
		return true
	}
	latest, known := c.latest[c.hash(partition, key)]
	return known && latest > offset
}

// Keep reports whether a record stays. Records of a partition come in order of
// their offsets, each once.
func (c *Cleaning) Keep(partition int32, offset int64, r *record.Record) bool {
	stays := !c.Superseded(partition, offset, r.Key) && (r.Value != nil || c.keepTombstone(partition, offset))
	if stays {
		c.kept++
	} else {
		c.removed++
	}
	return stays
}

// keepTombstone reports whether a tombstone that is its key's latest record stays,
// and notes when it may go.
func (c *Cleaning) keepTombstone(partition int32, offset int64) bool {
	if partition < 0 || int(partition) >= len(c.partitions) {
		return true
	}
	p := &c.partitions[partition]
	if offset == p.Newest || offset > p.Through {
		return true // its time begins once it is not the newest any more
	}
	horizon := p.horizon(offset)
	switch {
	case horizon == 0 && c.retention > math.MaxInt64-c.now:
		horizon = math.MaxInt64
	case horizon == 0:
		horizon = c.now + c.retention
	case horizon <= c.now:
		return false
	}
	dying := c.dying[partition]
	if i := len(dying) - 1; i >= 0 && dying[i].horizon == horizon {
		dying[i].last = offset
	} else {
		c.dying[partition] = append(dying, tombstones{offset, offset, horizon})
	}
	return true
}

// horizon is when a tombstone may go, 0 if that is not settled yet. Where the
// partition is dirty nothing is: an older record of the key may still be there.
func (p *Partition) horizon(offset int64) int64 {
	if offset >= p.Dirty {
		return 0
	}
	i, _ := slices.BinarySearchFunc(p.Marks, offset, func(m Mark, offset int64) int {
		if m.Through < offset {
			return -1
		}
		return 1
	})
	if i == len(p.Marks) {
		return 0
	}
	return p.Marks[i].Horizon
}

// Marks are what can be said of a file of records that Keep has kept.
func (c *Cleaning) Marks(ranges []rows.Range) (marks Marks) {
	for _, r := range ranges {
		if r.Partition < 0 || int(r.Partition) >= len(c.partitions) {
			continue
		}
		through := min(r.Last, c.partitions[r.Partition].Through)
		if through < r.First {
			continue
		}
		marked := r.First - 1
		for _, t := range c.dying[r.Partition] {
			if t.last < r.First || t.first > through {
				continue
			}
			marked = min(t.last, through)
			marks = append(marks, Mark{r.Partition, marked, t.horizon})
		}
		if marked < through {
			marks = append(marks, Mark{r.Partition, through, 0})
		}
	}
	return marks
}

// Counts are how many records Keep has kept and removed.
func (c *Cleaning) Counts() (kept, removed int64) { return c.kept, c.removed }
