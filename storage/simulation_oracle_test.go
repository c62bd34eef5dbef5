package storage

import (
	"time"
)

// What a topic must hold in the end, as far as its clients know.

// checkStart checks a log start offset that a broker shows: what lies before it must have
// been old enough, and it never moves back.
func (s *simulation) checkStart(k *simTopic, partition int32, start int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k.shown[partition] = max(k.shown[partition], start)
	retention := s.kinds[k.name].retention
	if retention == 0 || start <= k.logStart[partition][1] {
		return
	}
	v := k.acked[simPlace{partition, start - 1}]
	if sent := k.first[v]; !sent.IsZero() && time.Since(sent) < retention {
		s.fail("%s-%d begins at %d, %s after %s was sent, retention is %s", k.name, partition, start, time.Since(sent), v, retention)
	}
}

// checkTopic compares what clients know of a topic with what it holds.
func (s *simulation) checkTopic(topic *Topic, known *simTopic) {
	kind := s.kinds[known.name]
	partitions := topic.Info().Partitions
	if partitions < known.partitions {
		s.fail("%s has %d partitions, %d were acknowledged", known.name, partitions, known.partitions)
	}
	held := map[simPlace]string{}
	offsets := make([]Offsets, partitions)
	for p := range partitions {
		o, err := topic.Offsets(p)
		if err != nil {
			s.fail("%s-%d: %v", known.name, p, err)
			return
		}
		offsets[p] = o
		acked, asked := known.logStart[p][0], known.logStart[p][1]
		if o.LogStart < max(acked, known.shown[p]) || kind.fixed() && o.LogStart > max(acked, asked) {
			s.fail("%s-%d begins at %d; %d was acknowledged, %d asked for, %d shown", known.name, p, o.LogStart, acked, asked, known.shown[p])
		}
		if kind.retention > 0 && o.LogStart < o.HighWatermark {
			s.fail("%s-%d holds %d to %d, long after retention.ms", known.name, p, o.LogStart, o.HighWatermark)
		}
		records := consume(s.t, topic, p, o.LogStart)
		if n := o.HighWatermark - o.LogStart; kind.dense() && int64(len(records)) != n {
			s.fail("%s-%d holds %d records between %d and %d", known.name, p, len(records), o.LogStart, o.HighWatermark)
		}
		for at, value := range records {
			held[simPlace{p, at}] = value
		}
	}
	s.counts["records"] += len(held)
	m := missing{s: s, topic: known, held: held}
	for what, those := range map[string]map[simPlace]string{"acknowledged": known.acked, "seen": known.seen} {
		for place, value := range those {
			if got, ok := held[place]; place.offset >= offsets[place.partition].LogStart && got != value && (ok || !m.excused(place, value)) {
				s.fail("%s-%d holds %q at %d where %q was %s", known.name, place.partition, got, place.offset, value, what)
			}
		}
	}
	table := s.readTable(topic, known.name)
	for place, value := range held {
		if table[place] != value {
			s.fail("row %d-%d of %s is %q, consumers read %q", place.partition, place.offset, known.name, table[place], value)
		}
	}
	times := map[string]int{}
	for place, value := range table {
		times[value]++
		if int(place.partition) >= len(offsets) || place.offset >= offsets[place.partition].HighWatermark {
			s.fail("row %d-%d of %s, %s, lies behind the high watermark", place.partition, place.offset, known.name, value)
		}
		if known.erased[place] {
			s.fail("row %d-%d of %s, %s, was deleted by another writer", place.partition, place.offset, known.name, value)
		}
	}
	for value, n := range times {
		if known.once[value] && n > 1 || n > known.attempts[value] {
			s.fail("%s is %d times in %s, sent %d times, idempotent: %v", value, n, known.name, known.attempts[value], known.once[value])
		}
	}
	seen := map[string]bool{}
	for place, v := range known.seen {
		if known.deletable[place] || place.offset < offsets[place.partition].LogStart {
			seen[v] = true // and deleted since
		}
	}
	for value := range known.inserted {
		if times[value] == 0 && !seen[value] && !known.deleted && !m.mayBeDeleted(value) {
			s.fail("%s, which an engine has inserted into %s, is not there", value, known.name)
		}
	}
	if kind.compact {
		s.checkClean(known, held)
	}
	s.counts["acknowledged"] += len(known.acked)
}

// missing judges whether a record may be missing.
type missing struct {
	s     *simulation
	topic *simTopic
	held  map[simPlace]string
}

func (m *missing) excused(place simPlace, value string) bool {
	key, tombstone := parseValue(value)
	if m.topic.deletable[place] || m.topic.forgotten[key] {
		return true
	}
	if !m.s.kinds[m.topic.name].compact {
		return false
	}
	if tombstone {
		return true // all are gone in the end, but for the newest record's
	}
	newer := func(those map[simPlace]string) bool {
		for other, v := range those {
			if k, _ := parseValue(v); k == key && other.partition == place.partition && other.offset > place.offset {
				return true
			}
		}
		return false
	}
	if newer(m.topic.acked) || newer(m.topic.seen) || newer(m.held) {
		return true
	}
	// A tombstone has come and gone whose producer was not answered: that of an idempotent
	// one is nowhere else than where it was acknowledged, others' may be there as well.
	acked := map[string]int{}
	for _, v := range m.topic.acked {
		acked[v]++
	}
	for v, n := range m.topic.attempts {
		if k, tombstone := parseValue(v); tombstone && k == key && n > acked[v] && (acked[v] == 0 || !m.topic.once[v]) {
			return true
		}
	}
	return false
}

// mayBeDeleted: an engine deletes by place, and nobody else has seen what that row's was.
func (m *missing) mayBeDeleted(string) bool {
	for place := range m.topic.deletable {
		if _, ok := m.topic.seen[place]; !ok {
			if _, ok := m.topic.acked[place]; !ok {
				return true
			}
		}
	}
	return false
}

// checkClean checks that a compacted topic has come to rest: one record of each key,
// and no tombstone but the newest record.
func (s *simulation) checkClean(known *simTopic, held map[simPlace]string) {
	type keyed struct {
		partition int32
		key       string
	}
	newest := map[int32]int64{}
	latest := map[keyed]simPlace{}
	for place, v := range held {
		key, _ := parseValue(v)
		k := keyed{place.partition, key}
		if other, twice := latest[k]; twice {
			s.fail("%s-%d holds %s at %d and at %d: %s, %s", known.name, place.partition, key, other.offset, place.offset, held[other], v)
		}
		latest[k] = place
		newest[place.partition] = max(newest[place.partition], place.offset)
	}
	for place, v := range held {
		if _, tombstone := parseValue(v); tombstone && place.offset < newest[place.partition] {
			s.fail("%s-%d still holds the tombstone %s at %d", known.name, place.partition, v, place.offset)
		}
	}
}
