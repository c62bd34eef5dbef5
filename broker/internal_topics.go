package broker

import (
	"context"
	"errors"

	"sluice/storage"
)

// Kafka keeps state of its own in topics, which clients see: tools look for them in
// Metadata, consumers of a regular expression leave them out by their being internal.
// Sluice keeps that state elsewhere (package offsets), so its __consumer_offsets is
// a topic like any other, except that clients cannot write to it and nobody does.
const (
	offsetsTopic      = "__consumer_offsets"
	transactionsTopic = "__transaction_state"
)

// offsetsTopicPartitions is 1, not Kafka's 50: a client that reckons which partition
// coordinates a group is then right, since one broker coordinates all of them.
const offsetsTopicPartitions = 1

// internalTopic reports whether a topic is one of Kafka's own: clients may
// neither write nor make them.
func internalTopic(name string) bool {
	return name == offsetsTopic || name == transactionsTopic
}

// ensureOffsetsTopic makes __consumer_offsets if there is none, when a client first
// looks for the coordinator of a group, as Kafka does (KafkaApis.getCoordinator).
// It does not wait, since groups do not need the topic: if the store fails now, the
// next client to ask tries again.
func (b *Broker) ensureOffsetsTopic() {
	if _, ok := b.topics.Lookup(offsetsTopic); ok || !b.makingOffsetsTopic.CompareAndSwap(false, true) {
		return
	}
	b.background.Go(func() {
		defer b.makingOffsetsTopic.Store(false)
		ctx, cancel := context.WithTimeout(b.life, createTimeout)
		defer cancel()
		_, err := b.topics.Create(ctx, offsetsTopic, offsetsTopicPartitions, map[string]string{"cleanup.policy": "compact"}, false)
		switch {
		case err == nil, b.life.Err() != nil:
		case errors.Is(err, storage.ErrTopicExists): // another broker was first
		default:
			b.warnings.warn("internal topic could not be created", "topic", offsetsTopic, "error", err)
		}
	})
}
