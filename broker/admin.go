package broker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"sluice/storage"
)

// Bounds of what admin requests may ask for.
const (
	// adminTimeout bounds admin requests that give no timeout of their own; it is
	// below the 30 s after which clients stop waiting (request.timeout.ms).
	adminTimeout = 25 * time.Second
	// maxAdminTimeout bounds the timeout that a request may give.
	maxAdminTimeout = 10 * time.Minute
	// adminParallel is how many topics one admin request works on at a time: their
	// commits overlap, and other connections keep most of the store's attention.
	adminParallel = 8
	// maxPartitionsPerRequest is how many partitions one request may make (Kafka:
	// QuorumController.MAX_RECORDS_PER_USER_OP, also a POLICY_VIOLATION).
	maxPartitionsPerRequest = 10_000
)

// What everybody may do while there are no ACLs, as bits 1<<operation of
// AclOperation: all operations that the resource has (Kafka without an authorizer
// answers the same, AclEntry.supportedOperations).
const (
	topicOperations   = 1<<3 | 1<<4 | 1<<5 | 1<<6 | 1<<7 | 1<<8 | 1<<10 | 1<<11 // read, write, create, delete, alter, describe, describe and alter configs
	groupOperations   = 1<<3 | 1<<6 | 1<<8 | 1<<10 | 1<<11                      // read, delete, describe, describe and alter configs
	clusterOperations = 1<<5 | 1<<7 | 1<<8 | 1<<9 | 1<<10 | 1<<11 | 1<<12       // create, alter, describe, cluster action, describe and alter configs, idempotent write
)

// refusal is a Kafka error with a text of our own for the person at the client;
// errorCode finds the code, errorMessage the text.
type refusal struct {
	kafka *kerr.Error
	text  string
}

func (r *refusal) Error() string { return r.text }
func (r *refusal) Unwrap() error { return r.kafka }

func refuse(kafka *kerr.Error, format string, args ...any) error {
	return &refusal{kafka, fmt.Sprintf(format, args...)}
}

// unknownTopic is the answer to a name that no topic has.
func unknownTopic(name string) error {
	return refuse(kerr.UnknownTopicOrPartition, "The topic '%s' does not exist.", name)
}

// within bounds the work on a request by the timeout that it gives, in ms. None
// (0 or less) means adminTimeout.
func within(ctx context.Context, millis int32) (context.Context, context.CancelFunc) {
	timeout := min(time.Duration(millis)*time.Millisecond, maxAdminTimeout)
	if timeout <= 0 {
		timeout = adminTimeout
	}
	return context.WithTimeout(ctx, timeout)
}

// inTime makes a failure that comes of the end of ctx, which within has set,
// REQUEST_TIMED_OUT: the store is not to blame for it.
func inTime(ctx context.Context, err error) error {
	if ctx.Err() != nil && (errors.Is(err, storage.ErrUnavailable) || errors.Is(err, ctx.Err())) {
		return &refusal{kerr.RequestTimedOut, err.Error()}
	}
	return err
}

// each calls f with 0 to n-1, some at a time, and returns when all have returned.
// A panic of one call becomes a panic of each, so that it ends one connection and
// not the process.
func each(n int, f func(i int)) {
	if n == 1 {
		f(0)
		return
	}
	var (
		wg     sync.WaitGroup
		slots  = make(chan struct{}, adminParallel)
		once   sync.Once
		caught any
	)
	for i := range n {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() {
				if p := recover(); p != nil {
					once.Do(func() { caught = p })
				}
				<-slots
			}()
			f(i)
		})
	}
	wg.Wait()
	if caught != nil {
		panic(caught)
	}
}

// topic opens a topic by name for a request about its configs: an illegal name is
// INVALID_TOPIC_EXCEPTION, not merely unknown.
func (b *Broker) topic(ctx context.Context, name string) (*storage.Topic, error) {
	if err := storage.ValidName(name); err != nil {
		return nil, err
	}
	if _, ok := b.topics.Lookup(name); !ok {
		return nil, unknownTopic(name)
	}
	return b.topics.Topic(ctx, name)
}

// topicDefaults are the topic configs that this broker's settings change. Storage
// was opened with the same ones (storage.Options.Defaults), which it has checked,
// so that there is no error left.
func (b *Broker) topicDefaults() map[string]string {
	defaults, _ := storage.TopicDefaults(b.config.Broker)
	return defaults
}
