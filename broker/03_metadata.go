package broker

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"sluice/storage"
)

// Metadata, versions 0 to 13: this broker and the topics, from the catalogue,
// without opening a table; of topics that are named and not open the leader epoch is
// read from their tables, once. No topics means all in version 0 and none later, null
// means all from version 1 on. From version 12 on topics may be asked for by id.
//
// A topic that does not exist is made if the request allows it (before version 4
// each does) and the broker is configured so, and answered as existing at once,
// since some clients take LEADER_NOT_AVAILABLE for final. Authorized operations are
// not told (their default), as nothing is authorized.

const (
	// createTimeout bounds how long a request waits for the topics that it makes.
	createTimeout = 15 * time.Second
	// epochTimeout bounds how long it waits for leader epochs, without which most clients live.
	epochTimeout = time.Second
)

func (b *Broker) metadata(ctx context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.MetadataRequest)
	resp := req.ResponseKind().(*kmsg.MetadataResponse)
	broker := kmsg.NewMetadataResponseBroker()
	broker.NodeID, broker.Host, broker.Port = b.config.NodeID, r.listener.Host, r.listener.Port
	broker.Rack = b.rack()
	resp.Brokers = append(resp.Brokers, broker)
	resp.ClusterID, resp.ControllerID = &b.config.ClusterID, b.config.NodeID

	switch {
	case req.Topics == nil, req.Version == 0 && len(req.Topics) == 0:
		if err := b.expect(ctx, r, metadataBytes(b.topics.Totals())); err != nil {
			return nil, err
		}
		defer b.turn(r)()
		all := b.topics.All()
		resp.Topics = make([]kmsg.MetadataResponseTopic, len(all))
		for i := range all {
			resp.Topics[i] = b.described(all[i])
		}
	case illegalMetadata(req):
		for i := range req.Topics {
			t := unknownMetadata(req.Topics[i].Topic, req.Topics[i].TopicID, kerr.InvalidRequest)
			if t.Topic == nil {
				t.Topic = new(string) // not nullable in these versions
			}
			resp.Topics = append(resp.Topics, t)
		}
	default:
		eachTopicOnce(req)
		if err := b.expect(ctx, r, metadataBytes(b.named(req))); err != nil {
			return nil, err
		}
		resp.Topics = b.metadataOf(ctx, req)
	}
	return resp, nil
}

// rack is the broker's rack, nil if it has none.
func (b *Broker) rack() *string {
	if b.config.Rack == "" {
		return nil
	}
	return &b.config.Rack
}

// illegalMetadata reports whether a request asks by id in versions 10 and 11, which
// have the field but not the feature (KafkaApis.handleTopicMetadataRequest).
func illegalMetadata(req *kmsg.MetadataRequest) bool {
	if req.Version >= 12 {
		return false
	}
	for i := range req.Topics {
		if req.Topics[i].Topic == nil || req.Topics[i].TopicID != [16]byte{} {
			return true
		}
	}
	return false
}

// metadataBytes is about what so many topics with so many partitions take in an answer, and
// in the list that it is made from.
func metadataBytes(topics, partitions int) int {
	return topicAnswer*topics + partitionAnswer*partitions
}

// eachTopicOnce leaves each topic that a request asks for there once, in order, before
// any of them is looked up: tens of thousands fit into a request.
func eachTopicOnce(req *kmsg.MetadataRequest) {
	type wanted struct {
		name string
		id   [16]byte
	}
	seen := make(map[wanted]bool)
	req.Topics = slices.DeleteFunc(req.Topics, func(t kmsg.MetadataRequestTopic) bool {
		w := wanted{id: t.TopicID}
		if t.Topic != nil && w.id == [16]byte{} {
			w.name = *t.Topic
		}
		again := seen[w]
		seen[w] = true
		return again
	})
}

// named counts the topics that a request asks for and their partitions, with those that may
// be made for it.
func (b *Broker) named(req *kmsg.MetadataRequest) (topics, partitions int) {
	for i := range req.Topics {
		info, ok := storage.TopicInfo{}, false
		if t := &req.Topics[i]; t.TopicID != [16]byte{} {
			info, ok = b.topics.LookupID(t.TopicID)
		} else if t.Topic != nil {
			info, ok = b.topics.Lookup(*t.Topic)
		}
		if !ok {
			info.Partitions = b.config.NumPartitions
		}
		partitions += int(info.Partitions)
	}
	return len(req.Topics), partitions
}

// learnEpochs makes the leader epochs known of the topics that a request names, if that is
// possible soon.
func (b *Broker) learnEpochs(ctx context.Context, req *kmsg.MetadataRequest) {
	names := make([]string, 0, len(req.Topics))
	for i := range req.Topics {
		if t := &req.Topics[i]; t.Topic != nil {
			names = append(names, *t.Topic)
		} else if info, ok := b.topics.LookupID(t.TopicID); ok {
			names = append(names, info.Name)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, epochTimeout)
	defer cancel()
	b.topics.LearnEpochs(ctx, names)
}

// metadataOf describes the topics that a request names.
func (b *Broker) metadataOf(ctx context.Context, req *kmsg.MetadataRequest) []kmsg.MetadataResponseTopic {
	b.learnEpochs(ctx, req)
	answers := make([]kmsg.MetadataResponseTopic, 0, len(req.Topics))
	var missing []int // answers to topics that do not exist, asked for by name
	for i := range req.Topics {
		t := &req.Topics[i]
		if t.TopicID != [16]byte{} {
			info, ok := b.topics.LookupID(t.TopicID)
			if ok {
				answers = append(answers, b.described(info))
			} else {
				answers = append(answers, unknownMetadata(nil, t.TopicID, kerr.UnknownTopicID))
			}
			continue
		}
		if t.Topic == nil {
			answers = append(answers, unknownMetadata(nil, t.TopicID, kerr.UnknownTopicID))
			continue
		}
		name := *t.Topic
		if info, ok := b.topics.Lookup(name); ok {
			answers = append(answers, b.described(info))
			continue
		}
		missing = append(missing, len(answers))
		answers = append(answers, unknownMetadata(&name, t.TopicID, kerr.UnknownTopicOrPartition))
	}

	if len(missing) > 0 { // whoever has made them elsewhere asks again until they are there
		ctx, cancel := context.WithTimeout(ctx, epochTimeout)
		b.topics.Renew(ctx)
		cancel()
	}
	create := b.config.AutoCreateTopics && (req.Version < 4 || req.AllowAutoTopicCreation)
	ctx, cancel := context.WithTimeout(ctx, createTimeout)
	defer cancel()
	room := len(missing)
	if create && room > 0 {
		room = b.topicRoom()
	}
	each(len(missing), func(i int) {
		t := &answers[missing[i]]
		*t = b.missing(ctx, *t.Topic, create && i < room)
	})
	return answers
}

// topicRoom is how many topics may be made on demand for one request: a bound as that of
// CreateTopics, on what all of them and all there are have in partitions.
func (b *Broker) topicRoom() int {
	room := b.partitionRoom()
	return int(min(room.request, room.cluster) / max(b.config.NumPartitions, 1))
}

// missing answers for a topic that does not exist, by making it where that is wanted.
func (b *Broker) missing(ctx context.Context, name string, create bool) kmsg.MetadataResponseTopic {
	if err := storage.ValidName(name); err != nil {
		return unknownMetadata(&name, [16]byte{}, kerr.InvalidTopicException)
	}
	if !create || internalTopic(name) {
		return unknownMetadata(&name, [16]byte{}, kerr.UnknownTopicOrPartition)
	}
	info, err := b.topics.Create(ctx, name, b.config.NumPartitions, nil, false)
	switch {
	case err == nil:
		b.log.Info("topic created on demand", "topic", name, "partitions", info.Partitions)
		return b.described(info)
	case errors.Is(err, storage.ErrTopicExists): // somebody else was first
		return b.described(info)
	case errors.Is(err, storage.ErrInvalidTopic):
		return unknownMetadata(&name, [16]byte{}, kerr.InvalidTopicException)
	}
	b.warnings.warn("topic could not be created on demand", "topic", name, "error", err)
	return unknownMetadata(&name, [16]byte{}, kerr.LeaderNotAvailable) // clients ask again
}

func unknownMetadata(name *string, id [16]byte, err *kerr.Error) kmsg.MetadataResponseTopic {
	t := kmsg.NewMetadataResponseTopic()
	t.Topic, t.TopicID, t.ErrorCode = name, id, err.Code
	return t
}

// described is what Metadata tells of a topic: this broker leads all of it.
func (b *Broker) described(info storage.TopicInfo) kmsg.MetadataResponseTopic {
	t := kmsg.NewMetadataResponseTopic()
	t.Topic, t.TopicID, t.IsInternal = &info.Name, info.ID, internalTopic(info.Name)
	t.Partitions = make([]kmsg.MetadataResponseTopicPartition, info.Partitions)
	replicas := []int32{b.config.NodeID} // shared: read only
	for i := range t.Partitions {
		p := kmsg.NewMetadataResponseTopicPartition()
		p.Partition, p.Leader, p.LeaderEpoch = int32(i), b.config.NodeID, info.LeaderEpoch
		p.Replicas, p.ISR, p.OfflineReplicas = replicas, replicas, []int32{}
		t.Partitions[i] = p
	}
	return t
}
