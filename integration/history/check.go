package history

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
)

// Kind is a way in which a history can be impossible.
type Kind string

// What Check finds. The first ones have the names of Jepsen's checks.
const (
	// LostWrite: acked, below an offset of its partition that somebody read, and read
	// by nobody.
	LostWrite Kind = "lost-write"
	// Unseen: acked, not lost by the rule above, and read by nobody in the end.
	Unseen Kind = "unseen"
	// Duplicate: a value of an idempotent producer at two offsets.
	Duplicate Kind = "duplicate"
	// InconsistentOffsets: an offset with two values, for whoever saw it.
	InconsistentOffsets Kind = "inconsistent-offsets"
	// NonmonotonicPoll and SkippedPoll: from one poll to the next a consumer went back,
	// or over a record that is there, though nobody had moved it.
	NonmonotonicPoll Kind = "nonmonotonic-poll"
	SkippedPoll      Kind = "poll-skip"
	// The same within one poll.
	InternalNonmonotonicPoll Kind = "int-nonmonotonic-poll"
	InternalSkippedPoll      Kind = "int-poll-skip"
	// NonmonotonicSend: the acked offsets of a producer's sends to a partition do not
	// rise in the order of the sends.
	NonmonotonicSend Kind = "nonmonotonic-send"
	// AbortedRead (G1a): a record of an aborted transaction was read.
	AbortedRead Kind = "aborted-read"

	// Invented: a record was read that nobody sent, or whose send certainly failed.
	Invented Kind = "invented"
	// Disagreement: two readers of the whole topic differ, a consumer and a Delta
	// engine for instance.
	Disagreement Kind = "delta-disagreement"
	// VersionOrder: a version added a record at an offset below one of an earlier version.
	VersionOrder Kind = "version-order"
	// VersionMissing: a version of the log is not there or cannot be parsed.
	VersionMissing Kind = "version-missing"
	// OffsetBack: a group's committed offset went back by itself.
	OffsetBack Kind = "committed-offset-back"
	// OffsetBeyondEnd: a group's committed offset lies behind the end of the log.
	OffsetBeyondEnd Kind = "committed-offset-beyond-end"
	// BadHistory: the recording is at fault.
	BadHistory Kind = "bad-history"
)

// Anomaly is something that must not happen.
type Anomaly struct {
	Kind   Kind
	Detail string
}

func (a Anomaly) String() string { return string(a.Kind) + ": " + a.Detail }

func anomaly(kind Kind, format string, args ...any) Anomaly {
	return Anomaly{kind, fmt.Sprintf(format, args...)}
}

// perKind bounds the anomalies of a kind that are told one by one.
const perKind = 10

// place is where a record is.
type place struct {
	Partition
	offset int64
}

func (p place) String() string { return fmt.Sprintf("%v %d", p.Partition, p.offset) }

// checker is one Check.
type checker struct {
	*History
	anomalies []Anomaly
	counts    map[Kind]int

	at     map[place]string // every value that somebody saw or was told of
	read   map[place]bool   // places that somebody read
	places map[string][]place
	// known are the offsets of each partition at which a record stands, ascending.
	known map[Partition][]int64
	end   map[Partition]int64 // the highest offset that was read
}

// Check answers all anomalies, at most ten of a kind and then their number.
func (h *History) Check() []Anomaly {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := &checker{
		History: h, counts: map[Kind]int{}, at: map[place]string{}, read: map[place]bool{},
		places: map[string][]place{}, known: map[Partition][]int64{}, end: map[Partition]int64{},
	}
	c.anomalies = append(c.anomalies, h.found...)
	c.gather()
	c.checkSends()
	c.checkPolls()
	c.checkReaders()
	c.checkVersions()
	c.checkGroups()
	for _, kind := range slices.Sorted(maps.Keys(c.counts)) {
		if n := c.counts[kind]; n > perKind {
			c.anomalies = append(c.anomalies, anomaly(kind, "%d in all", n))
		}
	}
	return c.anomalies
}

func (c *checker) add(kind Kind, format string, args ...any) {
	if c.counts[kind]++; c.counts[kind] <= perKind {
		c.anomalies = append(c.anomalies, anomaly(kind, format, args...))
	}
}

// gather takes up what everybody saw.
func (c *checker) gather() {
	for _, s := range c.sends {
		if s.outcome == acked {
			c.see(s.at, "the ack")
		}
	}
	for name, consumer := range c.consumers {
		for _, step := range consumer.steps {
			for _, r := range step.records {
				c.saw(r, name)
			}
		}
	}
	for name, records := range c.readers {
		for _, r := range records {
			c.saw(r, name)
		}
	}
	for at := range c.at {
		c.known[at.Partition] = append(c.known[at.Partition], at.offset)
	}
	for _, offsets := range c.known {
		slices.Sort(offsets)
	}
}

// saw takes up what a reader saw.
func (c *checker) saw(r Record, who string) {
	c.see(r, who)
	c.read[place{r.Partition, r.Offset}] = true
	if end, ok := c.end[r.Partition]; !ok || r.Offset > end {
		c.end[r.Partition] = r.Offset
	}
}

// see takes up a record at its place.
func (c *checker) see(r Record, who string) {
	at := place{r.Partition, r.Offset}
	switch old, ok := c.at[at]; {
	case !ok:
		c.at[at] = r.Value
		c.places[r.Value] = append(c.places[r.Value], at)
	case old != r.Value:
		c.add(InconsistentOffsets, "%v %d is %q and, by %s, %q", at.Partition, at.offset, old, who, r.Value)
	}
}

// checkSends looks at what became of each record.
func (c *checker) checkSends() {
	for value, places := range c.places {
		s := c.sends[value]
		switch {
		case s == nil:
			c.add(Invented, "%q at %v %d was sent by nobody", value, places[0].Partition, places[0].offset)
		case s.outcome == failed:
			c.add(Invented, "%q is at %v %d, its send failed for certain", value, places[0].Partition, places[0].offset)
		case s.outcome == aborted:
			c.add(AbortedRead, "%q of an aborted transaction was read at %v %d", value, places[0].Partition, places[0].offset)
		case len(places) > 1 && s.once:
			c.add(Duplicate, "%q is at %v", value, places)
		}
	}
	for _, s := range c.sends {
		at := place{s.at.Partition, s.at.Offset}
		if s.outcome != acked || c.read[at] || s.at.Offset < c.bounds[at.Partition].start {
			continue
		}
		if s.at.Offset < c.end[at.Partition] {
			c.add(LostWrite, "%v was acked; offset %d was read, this never", s.at, c.end[at.Partition])
		} else {
			c.add(Unseen, "%v was acked and read by nobody", s.at)
		}
	}
	for name, sends := range c.producers {
		last := map[Partition]Record{}
		for _, s := range sends {
			if s.outcome != acked {
				continue
			}
			if before, ok := last[s.at.Partition]; ok && s.at.Offset <= before.Offset && s.once {
				c.add(NonmonotonicSend, "%s sent %v before %v", name, before, s.at)
			}
			last[s.at.Partition] = s.at
		}
	}
}

// checkPolls follows each consumer through its partitions.
func (c *checker) checkPolls() {
	for name, consumer := range c.consumers {
		position := map[Partition]int64{} // the last offset that it saw
		for _, step := range consumer.steps {
			if len(step.records) == 0 {
				if len(step.moved) == 0 {
					clear(position)
				}
				for _, p := range step.moved {
					delete(position, p)
				}
				continue
			}
			within := map[Partition]bool{}
			for _, r := range step.records {
				back, skip := NonmonotonicPoll, SkippedPoll
				if within[r.Partition] {
					back, skip = InternalNonmonotonicPoll, InternalSkippedPoll
				}
				within[r.Partition] = true
				if last, ok := position[r.Partition]; ok {
					if r.Offset <= last {
						c.add(back, "%s read %v after offset %d", name, r, last)
					} else if missed, ok := c.between(r.Partition, last, r.Offset); ok {
						c.add(skip, "%s read %v after offset %d: %d is missing", name, r, last, missed)
					}
				}
				position[r.Partition] = r.Offset
			}
		}
	}
}

// between finds a record between two offsets that was not removed since.
func (c *checker) between(p Partition, after, before int64) (int64, bool) {
	after = max(after, c.bounds[p].start-1)
	offsets := c.known[p]
	i, _ := slices.BinarySearch(offsets, after+1)
	if i < len(offsets) && offsets[i] < before {
		return offsets[i], true
	}
	return 0, false
}

// checkReaders compares those who read everything with each other, within the
// bounds of the partitions.
func (c *checker) checkReaders() {
	names := slices.Sorted(maps.Keys(c.readers))
	held := make([]map[place]string, len(names))
	for i, name := range names {
		held[i] = map[place]string{}
		for _, r := range c.readers[name] {
			b, bounded := c.bounds[r.Partition]
			if r.Offset < b.start {
				continue // rows below the log start share their files with live ones
			}
			at := place{r.Partition, r.Offset}
			if _, twice := held[i][at]; twice {
				c.add(Disagreement, "%s sees %v twice", name, r)
			}
			if bounded && r.Offset >= b.end {
				c.add(Disagreement, "%s sees %v behind the end of the log, %d", name, r, b.end)
			}
			held[i][at] = r.Value
		}
	}
	for i := 1; i < len(names); i++ {
		for at, value := range held[0] {
			if other, ok := held[i][at]; !ok {
				c.add(Disagreement, "%s sees %v, %s does not", names[0], Record{at.Partition, at.offset, value}, names[i])
			} else if other != value {
				c.add(Disagreement, "%v %d is %q to %s and %q to %s", at.Partition, at.offset, value, names[0], other, names[i])
			}
		}
		for at, value := range held[i] {
			if _, ok := held[0][at]; !ok {
				c.add(Disagreement, "%s sees %v, %s does not", names[i], Record{at.Partition, at.offset, value}, names[0])
			}
		}
	}
}

// checkVersions looks at the log as it grew.
func (c *checker) checkVersions() {
	for topic, versions := range c.versions {
		highest := map[Partition]int64{}
		for i, v := range versions {
			switch {
			case v.Err != nil:
				c.add(VersionMissing, "version %d of %s: %v", v.Number, topic, v.Err)
			case i > 0 && v.Number != versions[i-1].Number+1:
				c.add(VersionMissing, "version %d of %s follows %d", v.Number, topic, versions[i-1].Number)
			}
			added := slices.SortedFunc(slices.Values(v.Added), func(a, b Record) int { return cmp.Compare(a.Offset, b.Offset) })
			for _, r := range added {
				if last, ok := highest[r.Partition]; ok && r.Offset <= last {
					c.add(VersionOrder, "version %d added %v, offset %d was there before", v.Number, r, last)
				}
				highest[r.Partition] = max(highest[r.Partition], r.Offset)
			}
		}
	}
}

// checkGroups follows the committed offsets of groups.
func (c *checker) checkGroups() {
	for key, g := range c.groups {
		last := int64(-1)
		for _, s := range g.steps {
			if s.reset {
				last = -1
				continue
			}
			b, bounded := c.bounds[key.Partition]
			if bounded && s.offset > b.end {
				c.add(OffsetBeyondEnd, "group %s of %v is at %d, the log ends at %d", key.group, key.Partition, s.offset, b.end)
			}
			if s.read && s.offset < last {
				c.add(OffsetBack, "group %s of %v is at %d after %d was committed", key.group, key.Partition, s.offset, last)
			}
			last = max(last, s.offset)
		}
	}
}
