package broker

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/errgroup"

	"sluice/protocol/record"
	"sluice/storage"
)

// Fetch, versions 4 to 18 (13 and later name topics by id). It is sessionless: the
// session id of an answer is always 0, which is a legal answer to each client that
// asks for a session (KIP-227), and a request within a session is
// FETCH_SESSION_ID_NOT_FOUND.
//
// A request that finds less than min_bytes is parked until a topic of it has a new
// version, at most max_wait. The sizes follow KIP-74: partitions in the order of the
// request, the first that has records gives at least one whole batch.
// Error codes are only those that Java consumers survive, see fetchErrorCode.

const (
	// openParallel is how many tables one request opens at a time.
	openParallel = 16
	// leastFetch is what a fetch may read whatever memory is in use, in bytes.
	leastFetch = 64 << 10
	// readTimeout bounds the reading for one request, should the store be slow.
	readTimeout = 15 * time.Second
	// maxFetchWait bounds max_wait: no client waits longer for an answer
	// (request.timeout.ms is 30 s), and while a fetch is parked the end of its
	// connection may go unnoticed, as nothing more may be read from it.
	maxFetchWait = time.Minute
	// futilePause is how long an answer is held back that has errors and no records.
	futilePause = 100 * time.Millisecond
	// yieldEvery is how often a parked fetch looks whether others want its memory.
	yieldEvery = 500 * time.Millisecond
)

func (b *Broker) fetch(ctx context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.FetchRequest)
	resp := &fetchResponse{FetchResponse: req.ResponseKind().(*kmsg.FetchResponse), committed: req.IsolationLevel == 1}
	if code := sessionError(req); code != 0 {
		resp.ErrorCode = code
		return resp, nil
	}
	f := b.newFetch(req)
	f.memory, f.held, f.request = b.answerMemory, &r.answer, &r.held
	resp.topics = f.topics
	f.deadline = r.received.Add(min(time.Duration(req.MaxWaitMillis)*time.Millisecond, maxFetchWait))
	f.open(ctx, b)
	f.first(ctx)

	if !f.enough() {
		if err := f.park(ctx, b.stopping); err != nil {
			return nil, err
		}
	}
	if f.bytes == 0 && (f.failed || f.unknown == f.count) {
		f.pause(ctx, b.stopping)
	}
	return resp, nil
}

// sessionError refuses requests within a session: none was ever made. Epoch 0
// asks for a new one and -1 for none (or the end of one), which is all the same.
func sessionError(req *kmsg.FetchRequest) int16 {
	if req.Version >= 7 && req.SessionEpoch > 0 {
		return kerr.FetchSessionIDNotFound.Code
	}
	return 0
}

// fetching is a Fetch request being served. Not for concurrent use.
type fetching struct {
	minBytes, maxBytes int
	committed          bool // isolation level read_committed
	byID               bool
	deadline           time.Time // received + max_wait
	topics             []fetchTopic

	request *held   // what the request itself takes up, if it is large
	memory  *budget // the broker's, for answers
	held    *held   // this request's share of it
	limit   int     // of bytes, in this pass over the partitions

	bytes   int // of records found
	failed  bool
	unknown int // partitions that do not exist
	count   int // partitions
}

// fetchTopic is a topic of a request, and of its response.
type fetchTopic struct {
	name       string
	id         [16]byte
	topic      *storage.Topic
	err        error
	partitions []fetchPartition
}

// fetchPartition is a partition of a request, and of its response.
type fetchPartition struct {
	partition        int32
	offset           int64
	maxBytes         int
	epoch            int32 // the client's idea of the leader epoch, -1 for none
	lastFetchedEpoch int32

	err       error
	offsets   storage.Offsets
	found     storage.Read // what batches are of
	batches   [][]byte
	bytes     int
	diverging *diverging
}

// diverging is where the log left the one that the client has read (KIP-595).
type diverging struct {
	epoch     int32
	endOffset int64
}

// noOffsets is what a partition with an error is answered.
var noOffsets = storage.Offsets{LogStart: -1, LastStable: -1, HighWatermark: -1}

func (b *Broker) newFetch(req *kmsg.FetchRequest) *fetching {
	f := &fetching{
		maxBytes:  int(min(max(req.MaxBytes, 0), b.config.FetchMaxBytes)),
		committed: req.IsolationLevel == 1,
		byID:      req.Version >= 13,
		topics:    make([]fetchTopic, len(req.Topics)),
	}
	f.minBytes = min(int(req.MinBytes), f.maxBytes)
	for i := range req.Topics {
		t := &f.topics[i]
		t.name, t.id = req.Topics[i].Topic, req.Topics[i].TopicID
		t.partitions = make([]fetchPartition, len(req.Topics[i].Partitions))
		f.count += len(t.partitions)
		for j, p := range req.Topics[i].Partitions {
			t.partitions[j] = fetchPartition{
				partition: p.Partition, offset: p.FetchOffset, maxBytes: int(max(p.PartitionMaxBytes, 0)),
				epoch: p.CurrentLeaderEpoch, lastFetchedEpoch: p.LastFetchedEpoch,
				offsets: noOffsets,
			}
		}
	}
	return f
}

// open finds the topics, those that are not open yet at the same time.
func (f *fetching) open(ctx context.Context, b *Broker) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	var group errgroup.Group
	group.SetLimit(openParallel)
	for i := range f.topics {
		t := &f.topics[i]
		info, ok := storage.TopicInfo{}, false
		if f.byID {
			info, ok = b.topics.LookupID(t.id)
		} else {
			info, ok = b.topics.Lookup(t.name)
		}
		_, open := b.topics.OpenTopic(info.Name)
		switch {
		case !ok && f.byID:
			t.err = kerr.UnknownTopicID
		case !ok:
			t.err = storage.ErrUnknownTopic
		case open:
			t.topic, t.err = f.openOne(ctx, b, info.Name, t.id)
		default:
			group.Go(func() error {
				t.topic, t.err = f.openOne(ctx, b, info.Name, t.id)
				return nil
			})
		}
	}
	group.Wait()
}

func (f *fetching) openOne(ctx context.Context, b *Broker, name string, id [16]byte) (*storage.Topic, error) {
	topic, err := b.topics.Topic(ctx, name)
	switch {
	case err != nil:
		return nil, err
	case f.byID && topic.Info().ID != id: // deleted and made again meanwhile
		return nil, kerr.UnknownTopicID
	}
	return topic, nil
}

// pass begins a pass over the partitions: it takes memory for what may be read, as
// much as there is, and gives back at its end what was not needed. With all
// memory in use (by clients that do not read their answers) there is still leastFetch.
func (f *fetching) pass(ctx context.Context) (_ context.Context, end func()) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	share := f.memory.some(int64(f.maxBytes-f.bytes), leastFetch)
	f.limit = min(f.maxBytes, f.bytes+int(max(share.bytes, leastFetch)))
	f.held.add(share)
	return ctx, func() {
		cancel()
		f.held.shrink(int64(f.bytes))
	}
}

// first reads all partitions.
func (f *fetching) first(ctx context.Context) {
	ctx, end := f.pass(ctx)
	defer end()
	for i := range f.topics {
		t := &f.topics[i]
		for j := range t.partitions {
			p := &t.partitions[j]
			if p.err = t.err; p.err == nil {
				f.read(ctx, t.topic, p)
			}
			switch {
			case errors.Is(p.err, kerr.UnknownTopicID), errors.Is(p.err, storage.ErrUnknownTopic), errors.Is(p.err, storage.ErrUnknownPartition):
				f.unknown++
			case p.err != nil, p.diverging != nil:
				f.failed = true
			}
		}
	}
}

// enough reports whether there is something to answer. As in Kafka (measured), an
// error is, but partitions that do not exist are only if there are no others.
func (f *fetching) enough() bool {
	return f.bytes >= f.minBytes || f.failed || f.unknown == f.count
}

// pause holds an error back, within max_wait. A client that has other partitions as well does
// not wait before it asks again (franz-go: only if all have failed), be it because it has to wait
// for new metadata: without records in between that is a loop as fast as the network.
func (f *fetching) pause(ctx context.Context, stopping <-chan struct{}) {
	timer := time.NewTimer(min(futilePause, time.Until(f.deadline)))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-stopping:
	case <-ctx.Done():
	}
}

// read reads one partition, within what the others have left of the limit.
func (f *fetching) read(ctx context.Context, topic *storage.Topic, p *fetchPartition) {
	f.bytes -= p.bytes
	p.found.Release()
	p.batches, p.bytes, p.offsets = nil, 0, noOffsets
	if p.err = p.check(ctx, topic); p.err != nil || p.diverging != nil {
		return
	}
	if f.full() {
		p.skip(topic)
		return
	}
	found, err := topic.Read(ctx, p.partition, p.offset, min(p.maxBytes, f.limit-f.bytes), f.bytes == 0)
	if err != nil {
		p.err = err
		return
	}
	p.found, p.offsets, p.batches = found, found.Offsets, found.Batches
	if f.committed {
		p.batches = stable(p.batches, p.offsets.LastStable)
	}
	for _, batch := range p.batches {
		p.bytes += len(batch)
	}
	f.bytes += p.bytes
}

// full reports whether no more records are to be read: the response is full, or it
// has some and its time is over, as when many partitions are read from the store.
func (f *fetching) full() bool {
	return f.bytes > 0 && (f.bytes >= f.limit || time.Now().After(f.deadline))
}

// skip answers a partition without reading it.
func (p *fetchPartition) skip(topic *storage.Topic) {
	offsets, err := topic.Offsets(p.partition)
	switch {
	case err != nil:
		p.err = err
	case p.offset < offsets.LogStart:
		p.err = storage.ErrOffsetOutOfRange
	default: // also behind the end: that takes a look at the log (storage.Topic.Read)
		p.offsets = offsets
	}
}

// check compares what the client thinks of the leader epochs with what is (KIP-320, KIP-595).
func (p *fetchPartition) check(ctx context.Context, topic *storage.Topic) error {
	if err := checkEpoch(topic, p.epoch); err != nil {
		return err
	}
	if p.lastFetchedEpoch < 0 {
		return nil
	}
	epoch, end, err := topic.EpochEnd(ctx, p.partition, p.lastFetchedEpoch, p.offset)
	switch {
	case err != nil:
		return err
	case end < 0: // nothing is known of that epoch
		return storage.ErrOffsetOutOfRange
	case epoch < p.lastFetchedEpoch || end < p.offset:
		p.diverging = &diverging{epoch, end}
		p.offsets, err = topic.Offsets(p.partition)
	}
	return err
}

// checkEpoch answers the current_leader_epoch of a request; -1 says nothing.
func checkEpoch(topic *storage.Topic, epoch int32) error {
	if epoch < 0 {
		return nil
	}
	switch low, high := topic.EpochRange(); {
	case epoch < low:
		return kerr.FencedLeaderEpoch
	case epoch > high: // it has met another leader
		topic.Doubt()
		return kerr.UnknownLeaderEpoch
	}
	return nil
}

// stable is what of some batches a read_committed consumer may see.
func stable(batches [][]byte, lastStable int64) [][]byte {
	for i, b := range batches {
		if record.Batch(b).BaseOffset() >= lastStable {
			return batches[:i]
		}
	}
	return batches
}

// park waits for new versions until there is enough, the deadline is over, the
// broker stops, or others wait for the memory that the request or what was found for it
// takes up: max_wait is how long a client waits at most. The error is that of ctx: the client is gone.
func (f *fetching) park(ctx context.Context, stopping <-chan struct{}) error {
	timer := time.NewTimer(time.Until(f.deadline))
	defer timer.Stop()
	var yield *time.Ticker // of one that holds memory
	var yields <-chan time.Time
	defer func() {
		if yield != nil {
			yield.Stop()
		}
	}()
	wake := make(chan struct{}, 1)
	for i := range f.topics {
		if topic := f.topics[i].topic; topic != nil {
			defer topic.Notify(wake)()
		}
	}
	for {
		// What came between the first read and Notify is found by this one.
		if f.again(ctx); f.enough() {
			return nil
		}
		if yield == nil && (f.request.bytes > 0 || f.bytes > 0) {
			yield = time.NewTicker(yieldEvery)
			yields = yield.C
		}
		select {
		case <-wake:
		case <-yields:
			if f.request.wanted() || f.bytes > 0 && f.held.pressed() {
				return nil
			}
		case <-timer.C:
			return nil
		case <-stopping:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// again reads the partitions that have moved since they were read, which is seen
// from memory.
func (f *fetching) again(ctx context.Context) {
	ctx, end := f.pass(ctx)
	defer end()
	for i := range f.topics {
		t := &f.topics[i]
		if t.topic == nil {
			continue
		}
		for j := range t.partitions {
			p := &t.partitions[j]
			if p.err != nil {
				continue
			}
			if now, err := t.topic.Offsets(p.partition); err == nil && now == p.offsets {
				continue
			}
			f.read(ctx, t.topic, p)
			if p.err != nil || p.diverging != nil {
				f.failed = true
			}
		}
	}
}
