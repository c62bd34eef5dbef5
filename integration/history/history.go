// Package history records what the clients of a broker did and saw, and checks that
// it could have been a Kafka log whose rows are a Delta table.
//
// The checks are those of Jepsen's workload for Kafka (jepsen-io/jepsen,
// tests/kafka.clj), with its names where it has one, and the promises that a log in
// a table adds: an independent reader of the table sees the same records at the
// same offsets, versions grow with offsets, committed offsets of groups never go back
// by themselves. What Kafka allows is no anomaly: a send that was never answered may
// be there or not, once or, from a producer that is not idempotent, several times.
package history

import (
	"fmt"
	"sync"
)

// Partition names a partition of a topic.
type Partition struct {
	Topic  string
	Number int32
}

func (p Partition) String() string { return fmt.Sprintf("%s-%d", p.Topic, p.Number) }

// Record is a record where somebody saw it. Values tell records apart: every value
// is sent by one Send only.
type Record struct {
	Partition
	Offset int64
	Value  string
}

func (r Record) String() string { return fmt.Sprintf("%q at %v %d", r.Value, r.Partition, r.Offset) }

// History is what clients did. All methods are safe for concurrent use; Check comes
// last, when all clients have ended.
type History struct {
	mu        sync.Mutex
	sends     map[string]*Send // by value
	producers map[string][]*Send
	consumers map[string]*consumer
	groups    map[groupPartition]*group
	readers   map[string][]Record // what independent readers saw, the whole table each
	versions  map[string][]Version
	bounds    map[Partition]bounds
	found     []Anomaly // what is wrong by itself, found when it was recorded
}

// New makes an empty History.
func New() *History {
	return &History{
		sends: map[string]*Send{}, producers: map[string][]*Send{}, consumers: map[string]*consumer{},
		groups: map[groupPartition]*group{}, readers: map[string][]Record{}, versions: map[string][]Version{},
		bounds: map[Partition]bounds{},
	}
}

// outcome is what a producer knows of a send.
type outcome int8

const (
	unknown outcome = iota // never answered, or with an error that leaves it open
	acked
	failed  // certainly not appended
	aborted // appended in a transaction that was aborted
)

// Send is one record on its way.
type Send struct {
	h        *History
	producer string
	once     bool
	value    string
	outcome  outcome
	at       Record // once acked
}

// Sending notes that a producer is about to send a value, and says whether the
// producer is idempotent. The caller reports the outcome, if it ever learns it.
func (h *History) Sending(producer, value string, idempotent bool) *Send {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := &Send{h: h, producer: producer, once: idempotent, value: value}
	if h.sends[value] != nil {
		h.found = append(h.found, anomaly(BadHistory, "%q is sent twice: the checks need values that differ", value))
		return s
	}
	h.sends[value] = s
	h.producers[producer] = append(h.producers[producer], s)
	return s
}

// Acked says that the send was acknowledged, and where.
func (s *Send) Acked(p Partition, offset int64) {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	s.outcome, s.at = acked, Record{p, offset, s.value}
}

// Failed says that the record was certainly not appended, and never will be.
func (s *Send) Failed() { s.end(failed) }

// Aborted says that the transaction of the send was aborted.
func (s *Send) Aborted() { s.end(aborted) }

func (s *Send) end(o outcome) {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	s.outcome = o
}

// consumer is what one consumer saw.
type consumer struct {
	steps []step // in order
}

// step is a poll, or, with no records, a change of where partitions are read from.
type step struct {
	records []Record
	moved   []Partition // nil: all
}

// Polled notes what one poll of a consumer returned, in its order.
func (h *History) Polled(consumer string, records []Record) {
	if len(records) == 0 {
		return
	}
	h.step(consumer, step{records: records})
}

// Moved notes that a consumer was assigned partitions, or sought in them (all of
// them if none is named): its next records of them may be anywhere.
func (h *History) Moved(consumer string, partitions ...Partition) {
	h.step(consumer, step{moved: partitions})
}

func (h *History) step(name string, s step) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.consumers[name]
	if c == nil {
		c = &consumer{}
		h.consumers[name] = c
	}
	c.steps = append(c.steps, s)
}

type groupPartition struct {
	group string
	Partition
}

// group is what is known of a committed offset, in order of the answers.
type group struct {
	steps []groupStep
}

type groupStep struct {
	offset int64
	reset  bool // somebody set it, wherever to
	read   bool // an answer to OffsetFetch; else an acknowledged commit
}

// OffsetCommitted notes that the commit of a group's offset was acknowledged. The
// caller's commits of one partition follow each other.
func (h *History) OffsetCommitted(name string, p Partition, offset int64) {
	h.groupStep(name, p, groupStep{offset: offset})
}

// OffsetReset notes that a group's offset is about to be set by hand.
func (h *History) OffsetReset(name string, p Partition) {
	h.groupStep(name, p, groupStep{reset: true})
}

// OffsetFetched notes what a group's committed offset was said to be; -1 for none.
func (h *History) OffsetFetched(name string, p Partition, offset int64) {
	h.groupStep(name, p, groupStep{offset: offset, read: true})
}

func (h *History) groupStep(name string, p Partition, s groupStep) {
	h.mu.Lock()
	defer h.mu.Unlock()
	key := groupPartition{name, p}
	g := h.groups[key]
	if g == nil {
		g = &group{}
		h.groups[key] = g
	}
	g.steps = append(g.steps, s)
}

// bounds are a partition's offsets in the end.
type bounds struct{ start, end int64 }

// Bounds notes a partition's log start offset and the end of its log, when all has
// been said and done. Records before start may be missing. Partitions without
// bounds are not checked for what is missing.
func (h *History) Bounds(p Partition, start, end int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.bounds[p] = bounds{start, end}
}

// Rows notes all that an independent reader of a table saw at rest: an engine, or a
// consumer that has read everything. Every reader of a topic must have seen the same.
func (h *History) Rows(reader string, records []Record) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.readers[reader] = append(h.readers[reader], records...)
}

// Version is an entry of a topic's log: the rows that it added, from its data files.
type Version struct {
	Number int64
	Err    error // it is not there, or cannot be parsed
	// Added are the records that appeared with it, in any order; nothing for an entry
	// that only rearranges or removes.
	Added []Record
}

// Versions notes the entries of a topic's log, as far as it is kept, in order.
func (h *History) Versions(topic string, versions []Version) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.versions[topic] = append(h.versions[topic], versions...)
}
