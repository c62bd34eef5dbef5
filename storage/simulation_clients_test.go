package storage

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"sluice/protocol/record"
	"sluice/storage/delta"
)

// rest sleeps between two works of a client: mostly not at all or briefly, now and
// then for long. It answers false when the client is to end.
func (s *simulation) rest(random *rand.Rand) bool {
	d := time.Duration(random.ExpFloat64() * float64(100*time.Millisecond))
	switch random.IntN(40) {
	case 0:
		d = time.Duration(random.ExpFloat64() * float64(20*time.Second))
	case 1, 2, 3, 4:
		d = time.Duration(random.ExpFloat64() * float64(2*time.Second))
	}
	for {
		select {
		case <-time.After(d):
		case <-s.quiet:
			return false
		}
		s.mu.Lock()
		s.energy--
		left := s.energy
		s.mu.Unlock()
		if left >= 0 {
			return true
		}
		d = time.Second
	}
}

func simName(random *rand.Rand) string { return fmt.Sprint("topic", random.IntN(simNames)) }

// sending notes that values are on their way.
func (s *simulation) sending(k *simTopic, once bool, values []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range values {
		k.attempts[v]++
		k.once[v] = once
		if k.first[v].IsZero() {
			k.first[v] = time.Now()
		}
	}
}

// refused notes that values were certainly not appended.
func (s *simulation) refused(k *simTopic, values []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range values {
		k.attempts[v]--
	}
}

// ack notes an acknowledgement.
func (s *simulation) ack(k *simTopic, partition int32, base int64, values []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, v := range values {
		place := simPlace{partition, base + int64(i)}
		if old, taken := k.acked[place]; taken && old != v {
			s.fail("offset %d of %s-%d was given to %s and to %s", place.offset, k.name, partition, old, v)
		}
		if old, taken := k.seen[place]; taken && old != v {
			s.fail("offset %d of %s-%d was given to %s after %s was read there", place.offset, k.name, partition, v, old)
		}
		k.acked[place] = v
	}
}

// answer waits for an append as a client does: until its request times out or its
// broker is killed. ok is false if nothing is known of it.
func (l *simLife) answer(w *Wait, timeout time.Duration) (result Appended, ok bool) {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-l.dead:
		return Appended{}, false
	default:
	}
	select {
	case <-w.Done():
		return w.Result(), true
	case <-l.dead:
	case <-timer.C:
	}
	return Appended{}, false
}

// definite says of an error that nothing was appended, and never will be.
func definite(err error) bool {
	// Closing may leave the last entry undecided. After a long pause an entry of ours
	// may stand in a log that went on from it, which nobody can tell any more.
	return err != nil && !errors.Is(err, ErrClosed) && !errors.Is(err, delta.ErrMoved)
}

// plainProducer sends values one after the other, each until it is acknowledged.
func (s *simulation) plainProducer(random *rand.Rand) {
	for s.rest(random) {
		name := simName(random)
		values := []string{s.record(name, "plain", random)}
		for range random.IntN(3) {
			values = append(values, s.record(name, "plain", random))
		}
		for try := 0; ; try++ {
			life, topic, k := s.topic(name, random)
			if topic != nil {
				partition := int32(random.IntN(int(topic.Info().Partitions)))
				s.sending(k, false, values)
				result, ok := life.answer(topic.Append(partition, simProduced(nil, values...), simSender(random)), 30*time.Second)
				switch {
				case ok && result.Err == nil:
					s.log.Info("acknowledged", "topic", name, "values", values, "at", result.BaseOffset)
					s.ack(k, partition, result.BaseOffset, values)
				case ok && definite(result.Err):
					s.expected("append", result.Err)
					s.log.Info("refused", "topic", name, "values", values, "err", result.Err)
					s.refused(k, values)
				}
				if ok && result.Err == nil {
					break
				}
			}
			if s.over() && try > 100 {
				return // the topic is gone
			}
			time.Sleep(time.Duration(random.Float64() * float64(time.Second)))
		}
	}
}

// simBatch is a batch of an idempotent producer.
type simBatch struct {
	sequence int32
	values   []string
	base     int64 // -1 until it is acknowledged
}

// idempotentProducer keeps up to five batches in flight to one partition and sends
// again, in order, what is not acknowledged, with the same sequences.
func (s *simulation) idempotentProducer(random *rand.Rand) {
	name := simName(random)
	partition := int32(-1)
	var k *simTopic
	var producer record.Producer
	var flight []*simBatch
	last := int64(-1)
	backoff := 0
	for len(flight) > 0 || s.rest(random) {
		life, topic, known := s.topic(name, random)
		if topic == nil {
			if backoff++; s.over() && backoff > 200 {
				return // the topic is gone
			}
			time.Sleep(time.Duration(random.Float64() * float64(time.Second)))
			continue
		}
		if known != k { // a new topic of that name
			k, flight, last = known, nil, -1
			producer = record.Producer{ID: random.Int64()}
			partition = int32(random.IntN(int(topic.Info().Partitions)))
		}
		for n := 1 + random.IntN(5); len(flight) < n && !s.over(); {
			b := &simBatch{sequence: producer.Sequence, base: -1}
			for range 1 + random.IntN(3) {
				b.values = append(b.values, s.record(name, "once", random))
			}
			producer.Sequence += int32(len(b.values))
			flight = append(flight, b)
		}
		if len(flight) == 0 {
			continue
		}
		var waits []*Wait
		timeout := time.Duration(1+random.IntN(30)) * time.Second
		for _, b := range flight {
			s.sending(k, true, b.values)
			from := producer
			from.Sequence = b.sequence
			waits = append(waits, topic.Append(partition, simProduced(&from, b.values...), simSender(random)))
			if random.IntN(4) == 0 {
				time.Sleep(time.Duration(random.IntN(20)) * time.Millisecond)
			}
		}
		for i, b := range flight {
			result, ok := life.answer(waits[i], timeout)
			if !ok {
				s.count("timed out")
				continue
			}
			if result.Err != nil {
				s.log.Info("refused", "topic", name, "partition", partition, "producer", producer.ID, "sequence", b.sequence, "values", b.values, "err", result.Err)
				s.expected("append", result.Err)
				continue
			}
			s.log.Info("acknowledged", "topic", name, "partition", partition, "producer", producer.ID, "sequence", b.sequence, "values", b.values, "at", result.BaseOffset)
			if b.base >= 0 && b.base != result.BaseOffset {
				s.fail("%v was acknowledged at %d and at %d", b.values, b.base, result.BaseOffset)
			}
			b.base = result.BaseOffset
			s.ack(k, partition, b.base, b.values)
		}
		// Kafka's clients drop from the head only: what follows an open batch stays.
		for len(flight) > 0 && flight[0].base >= 0 {
			if flight[0].base <= last {
				s.fail("%v was acknowledged at %d, what came before it at %d", flight[0].values, flight[0].base, last)
			}
			last = flight[0].base
			flight, backoff = flight[1:], 0
		}
		if len(flight) > 0 {
			if backoff++; s.over() && backoff > 200 {
				s.fail("%v of %s-%d is not acknowledged long after the last fault", flight[0].values, name, partition)
				return
			}
			time.Sleep(time.Duration(random.Float64() * float64(500*time.Millisecond)))
		}
	}
}

// consumer reads a partition from a random place on, for a while, again and again.
func (s *simulation) consumer(random *rand.Rand) {
	for s.rest(random) {
		name := simName(random)
		life, topic, k := s.topic(name, random)
		if topic == nil {
			continue
		}
		partition := int32(random.IntN(int(topic.Info().Partitions)))
		offsets, err := topic.Offsets(partition)
		if err != nil {
			s.expected("offsets", err)
			continue
		}
		s.checkStart(k, partition, offsets.LogStart)
		at := offsets.LogStart + random.Int64N(offsets.HighWatermark-offsets.LogStart+1)
		for range 1 + random.IntN(20) {
			now := s.broker(name, random)
			if now == nil || now != life {
				if life, topic, _ = s.topic(name, random); topic == nil {
					break
				}
			}
			if topic.Info().ID != k.id || !s.fetch(life, topic, k, partition, &at, random) {
				break
			}
			time.Sleep(time.Duration(random.ExpFloat64() * float64(50*time.Millisecond)))
		}
	}
}

// fetch reads once, checks what comes and moves at on. False: begin somewhere else.
func (s *simulation) fetch(life *simLife, topic *Topic, k *simTopic, partition int32, at *int64, random *rand.Rand) bool {
	ctx, cancel := life.request(10 * time.Second)
	defer cancel()
	read, err := topic.Read(ctx, partition, *at, 1+random.IntN(3000), true)
	if err != nil {
		// A broker that does not know yet that it was taken over may be behind, and
		// its files may be gone.
		if !errors.Is(err, ErrOffsetOutOfRange) && !errors.Is(err, ErrStopped) {
			s.expected("read", err)
		}
		return false
	}
	if len(read.Batches) == 0 && *at < read.HighWatermark {
		s.fail("nothing to read of %s-%d at %d below the high watermark %d", k.name, partition, *at, read.HighWatermark)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, data := range read.Batches {
		batch := record.Batch(data)
		if dense := s.kinds[k.name].dense(); dense && batch.BaseOffset() > *at || batch.LastOffset() < *at {
			s.fail("asked %s-%d for %d, got %d to %d", k.name, partition, *at, batch.BaseOffset(), batch.LastOffset())
		}
		for offset, v := range values(s.t, batch) {
			place := simPlace{partition, offset}
			if old, known := k.seen[place]; known && old != v {
				s.fail("offset %d of %s-%d is read as %s and as %s", offset, k.name, partition, old, v)
			}
			if old, known := k.acked[place]; known && old != v {
				s.fail("offset %d of %s-%d is read as %s, acknowledged as %s", offset, k.name, partition, v, old)
			}
			k.seen[place] = v
		}
		*at = batch.LastOffset() + 1
	}
	s.counts["reads"]++
	return true
}

// createTopic makes a topic somewhere, or finds it there.
func (s *simulation) createTopic(name string, random *rand.Rand) {
	life := s.broker(name, random)
	if life == nil {
		return
	}
	ctx, cancel := life.request(20 * time.Second)
	defer cancel()
	info, err := life.Create(ctx, name, 1+int32(random.IntN(3)), s.kinds[name].config(random), false)
	if err != nil && !errors.Is(err, ErrTopicExists) {
		if !errors.Is(err, delta.ErrFenced) {
			s.expected("creating "+name, err)
		}
		return
	}
	if k := s.known(name, info); err == nil {
		s.mu.Lock()
		k.partitions = max(k.partitions, info.Partitions)
		s.counts["creations"]++
		s.mu.Unlock()
	}
}

// administrator deletes records, adds partitions, changes configs, deletes topics
// and makes them again.
func (s *simulation) administrator(random *rand.Rand) {
	for s.rest(random) {
		time.Sleep(time.Duration(random.ExpFloat64() * float64(2*time.Second)))
		name := simName(random)
		life := s.broker(name, random)
		if life == nil {
			continue
		}
		if _, there := life.Lookup(name); !there {
			s.createTopic(name, random)
			continue
		}
		_, topic, k := s.topic(name, random)
		if topic == nil {
			continue
		}
		ctx, cancel := life.request(20 * time.Second)
		switch random.IntN(10) {
		case 0, 1, 2:
			if s.kinds[name].open {
				break // an inserted row could go that nobody has seen
			}
			s.deleteRecords(ctx, topic, k, random)
		case 3, 4:
			info := topic.Info()
			if err := life.AddPartitions(ctx, name, info.Partitions+1); err == nil {
				s.mu.Lock()
				k.partitions = max(k.partitions, info.Partitions+1)
				s.mu.Unlock()
			}
		case 5, 6, 7:
			// Drawn here: the change is made on the committer's goroutine, also after we gave up.
			key, value := "sluice.commit.interval.ms", []string{"0", "5", "20", "100"}[random.IntN(4)]
			switch random.IntN(4) {
			case 0:
				key, value = "sluice.table.writers", []string{"any", "sluice"}[random.IntN(2)]
			case 1:
				key, value = configYieldUntil, fmt.Sprint(time.Now().Add(time.Duration(random.IntN(60))*time.Second).UnixMilli())
			}
			topic.Alter(ctx, func(own map[string]string) (map[string]string, error) {
				own[key] = value
				return own, nil
			})
		case 8:
			if random.IntN(3) > 0 {
				break
			}
			if s.deleteTopic(ctx, life, name, k) {
				s.createTopic(name, random)
			}
		}
		cancel()
	}
}

func (s *simulation) deleteRecords(ctx context.Context, topic *Topic, k *simTopic, random *rand.Rand) {
	partition := int32(random.IntN(int(topic.Info().Partitions)))
	offsets, err := topic.Offsets(partition)
	if err != nil {
		return
	}
	before := offsets.LogStart + random.Int64N(offsets.HighWatermark-offsets.LogStart+1)/2
	note := func(i int, offset int64) {
		s.mu.Lock()
		defer s.mu.Unlock()
		starts := k.logStart[partition]
		starts[i] = max(starts[i], offset)
		k.logStart[partition] = starts
	}
	note(1, before)
	if start, err := topic.DeleteRecords(ctx, partition, before); err == nil {
		note(0, start)
		s.count("records deleted")
	}
}

func (s *simulation) deleteTopic(ctx context.Context, life *simLife, name string, k *simTopic) bool {
	s.mu.Lock()
	k.deleted = true
	s.mu.Unlock()
	err := life.Delete(ctx, name, k.id)
	if err == nil {
		s.count("deletions")
	}
	return err == nil
}

// simSender says anything of a producer: it decides when its records are committed, and
// nothing else.
func simSender(random *rand.Rand) Sender {
	return Sender{ID: uint64(random.IntN(3)), Eager: random.IntN(2) == 0, Stalled: random.IntN(2) == 0}
}
