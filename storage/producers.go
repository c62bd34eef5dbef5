package storage

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"sluice/protocol/record"
)

// producers is the state of a topic's idempotent producers (KIP-98): for each
// partition and producer id the epoch and the last five batches. Batches enter it
// when they are appended, before they are committed: sequences are checked in
// order of arrival. What is persisted is what is committed; see state.go.
// Guarded by Topic.mu.
type producers struct {
	byID map[producerKey]*producer
	next time.Time // when the expired ones are looked for again
	// refused are the first sequences of unknown producers whose first batch was
	// refused for want of memory: what they sent behind it must not get in before it.
	refused map[producerKey]int32
}

type producerKey struct {
	partition int32
	id        int64
}

type producer struct {
	epoch   int16   // of the newest batch
	touched int64   // ms, when the newest batch arrived
	batches []batch // oldest first: at most maxBatches that are committed, then those that are not
}

// batch is one of a producer's last batches. What is committed stays until as much
// behind it is committed too: should that fail, this is the producer's state.
type batch struct {
	epoch       int16
	first, last int32 // sequence numbers
	base        int64
	timestamp   int64 // LogAppendTime, or -1
	wait        *Wait // while it is not committed
}

const (
	// maxBatches is how many batches a producer may have in flight
	// (ProducerStateEntry.NUM_BATCHES_TO_RETAIN).
	maxBatches = 5
	// maxProducers bounds a topic's producers; beyond it the least recently active
	// leave. Kafka has no such bound: a producer that is dropped starts anew, as it
	// would after its expiry.
	maxProducers = 20_000
	// producerExpiry is Kafka's producer.id.expiration.ms.
	producerExpiry = 24 * time.Hour
	// noProducer is the producer id of batches that are not idempotent.
	noProducer = -1
)

func newProducers() *producers { return &producers{byID: map[producerKey]*producer{}} }

// check judges a batch by its producer's sequence. A duplicate of one of the last
// five batches is answered with that batch (rules in their order:
// ProducerAppendInfo.checkSequence, UnifiedLog.analyzeAndValidateProducerState).
func (ps *producers) check(key producerKey, b record.Batch) (duplicate *batch, err error) {
	p := ps.byID[key]
	epoch, first, last := b.ProducerEpoch(), b.BaseSequence(), b.LastSequence()
	if p == nil { // forgotten or new: any sequence begins it
		if wanted, ok := ps.refused[key]; ok && first != wanted && first != 0 {
			return nil, fmt.Errorf("%w: producer %d, epoch %d, sequence %d comes before %d, which was refused", ErrOutOfOrderSequence, key.id, epoch, first, wanted)
		}
		return nil, nil
	}
	if epoch == p.epoch {
		for i := range p.batches {
			if d := &p.batches[i]; d.epoch == epoch && d.first == first && d.last == last {
				return d, nil
			}
		}
	}
	newest := p.batches[len(p.batches)-1].last
	switch {
	case epoch < p.epoch:
		return nil, fmt.Errorf("%w: producer %d, epoch %d, current %d", ErrInvalidProducerEpoch, key.id, epoch, p.epoch)
	case epoch > p.epoch && first != 0:
		return nil, fmt.Errorf("%w: producer %d begins epoch %d with sequence %d", ErrOutOfOrderSequence, key.id, epoch, first)
	case epoch == p.epoch && first != record.AddSequence(newest, 1):
		return nil, fmt.Errorf("%w: producer %d, epoch %d, sequence %d follows %d", ErrOutOfOrderSequence, key.id, epoch, first, newest)
	}
	return nil, nil
}

// add takes up an accepted batch.
func (ps *producers) add(key producerKey, b batch, now int64) {
	p := ps.byID[key]
	if p == nil {
		p = &producer{}
		ps.byID[key] = p
		delete(ps.refused, key)
	}
	p.batches = append(p.batches, b)
	p.epoch, p.touched = b.epoch, now
	p.trim()
}

// refuse notes that a batch that check has passed is not taken up.
func (ps *producers) refuse(key producerKey, first int32) {
	if ps.byID[key] == nil && len(ps.refused) < maxProducers {
		if ps.refused == nil {
			ps.refused = map[producerKey]int32{}
		}
		ps.refused[key] = first
	}
}

// trim drops committed batches, which come first, beyond the newest maxBatches.
func (p *producer) trim() {
	drop := 0
	for drop+maxBatches < len(p.batches) && p.batches[drop+maxBatches].wait == nil {
		drop++
	}
	if drop > 0 {
		p.batches = append(p.batches[:0], p.batches[drop:]...)
	}
}

// committed marks a batch that is in the table now.
func (ps *producers) committed(key producerKey, wait *Wait) {
	if p := ps.byID[key]; p != nil {
		for i := range p.batches {
			if p.batches[i].wait == wait {
				p.batches[i].wait = nil
			}
		}
		p.trim()
	}
}

// expire forgets producers that have been quiet for long, and the quietest of too many.
func (ps *producers) expire(now time.Time) {
	if now.Before(ps.next) && len(ps.byID) <= maxProducers {
		return
	}
	ps.next = now.Add(time.Minute)
	clear(ps.refused)
	cutoff := now.Add(-producerExpiry).UnixMilli()
	type aged struct {
		key     producerKey
		touched int64
	}
	var left []aged
	for key, p := range ps.byID {
		switch {
		case p.pending():
		case p.touched < cutoff:
			delete(ps.byID, key)
		default:
			left = append(left, aged{key, p.touched})
		}
	}
	// A tenth more than needed goes, so that this is not done for each new producer.
	if excess := len(ps.byID) - maxProducers; excess > 0 {
		slices.SortFunc(left, func(a, b aged) int { return cmp.Compare(a.touched, b.touched) })
		for _, a := range left[:min(len(left), excess+maxProducers/10)] {
			delete(ps.byID, a.key)
		}
	}
}

// pending reports whether a batch is on its way.
func (p *producer) pending() bool {
	return len(p.batches) > 0 && p.batches[len(p.batches)-1].wait != nil
}
