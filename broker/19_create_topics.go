package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"sluice/storage"
)

// CreateTopics, versions 0 to 7 (Kafka 4 dropped 0 and 1, kafka-go still sends
// them). Each topic succeeds or fails by itself. The object store replicates, so
// any replication factor and any brokers in a manual assignment are accepted and
// answered as 1; what contradicts itself is refused as by Kafka's
// ReplicationControlManager. From version 5 on the answer tells the topic's
// configs (KIP-525): never null, since Java's AdminClient fails on null.
func (b *Broker) createTopics(ctx context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.CreateTopicsRequest)
	resp := req.ResponseKind().(*kmsg.CreateTopicsResponse)
	ctx, cancel := within(ctx, req.TimeoutMillis)
	defer cancel()

	if err := b.expect(ctx, r, (topicAnswer+configsAnswer/4)*len(req.Topics)); err != nil { // without documentation
		return nil, err
	}
	plans, errs := b.planTopics(req.Topics)
	infos := make([]storage.TopicInfo, len(plans))
	each(len(plans), func(i int) {
		if errs[i] == nil {
			p := plans[i]
			infos[i], errs[i] = b.topics.Create(ctx, p.name, p.partitions, p.configs, req.ValidateOnly)
			errs[i] = inTime(ctx, errs[i])
		}
	})

	resp.Topics = make([]kmsg.CreateTopicsResponseTopic, len(plans))
	for i, p := range plans {
		t := kmsg.NewCreateTopicsResponseTopic()
		t.Topic = p.name
		t.ErrorCode, t.ErrorMessage = errorCode(errs[i]), errorMessage(errs[i])
		t.NumPartitions, t.ReplicationFactor = -1, -1
		t.Configs = []kmsg.CreateTopicsResponseTopicConfig{}
		if errs[i] == nil {
			t.TopicID = infos[i].ID
			t.NumPartitions, t.ReplicationFactor = p.partitions, 1
			t.Configs = b.createdConfigs(p.configs)
		}
		resp.Topics[i] = t
	}
	return resp, nil
}

// topicPlan is a topic as it would be made.
type topicPlan struct {
	name       string
	partitions int32
	configs    map[string]string
}

// planTopics checks a request as a whole: the n-th error is that of the n-th plan.
// Of topics that are named twice neither is made; they share one answer.
func (b *Broker) planTopics(topics []kmsg.CreateTopicsRequestTopic) (plans []topicPlan, errs []error) {
	times := map[string]int{}
	for i := range topics {
		times[topics[i].Topic]++
	}
	room := b.partitionRoom()
	answered := map[string]bool{}
	for i := range topics {
		name := topics[i].Topic
		if answered[name] {
			continue
		}
		answered[name] = true
		plan, err := topicPlan{name: name}, error(nil)
		if times[name] > 1 {
			err = refuse(kerr.InvalidRequest, "Duplicate topic name.")
		} else {
			plan, err = b.planTopic(&topics[i])
		}
		if err == nil {
			err = room.take(plan.partitions)
		}
		plans, errs = append(plans, plan), append(errs, err)
	}
	return plans, errs
}

func (b *Broker) planTopic(t *kmsg.CreateTopicsRequestTopic) (topicPlan, error) {
	plan := topicPlan{name: t.Topic, partitions: t.NumPartitions}
	if err := storage.ValidName(t.Topic); err != nil {
		return plan, err
	}
	if _, ok := b.topics.Lookup(t.Topic); ok {
		return plan, refuse(kerr.TopicAlreadyExists, "Topic '%s' already exists.", t.Topic)
	}
	switch {
	case len(t.ReplicaAssignment) > 0:
		if t.ReplicationFactor != -1 {
			return plan, refuse(kerr.InvalidRequest, "A manual partition assignment was specified, but replication factor was not set to -1.")
		}
		if t.NumPartitions != -1 {
			return plan, refuse(kerr.InvalidRequest, "A manual partition assignment was specified, but numPartitions was not set to -1.")
		}
		if err := checkAssignment(t.ReplicaAssignment); err != nil {
			return plan, err
		}
		plan.partitions = int32(len(t.ReplicaAssignment))
	case t.ReplicationFactor < -1 || t.ReplicationFactor == 0:
		return plan, refuse(kerr.InvalidReplicationFactor, "Replication factor must be larger than 0, or -1 to use the default value.")
	case t.NumPartitions < -1 || t.NumPartitions == 0:
		return plan, refuse(kerr.InvalidPartitions, "Number of partitions was set to an invalid non-positive value.")
	case t.NumPartitions == -1:
		plan.partitions = b.config.NumPartitions
	}
	if most := b.maxPartitionsPerTopic(); plan.partitions > most {
		return plan, refuse(kerr.InvalidPartitions, "A topic can have at most %d partitions.", most)
	}

	plan.configs = make(map[string]string, len(t.Configs))
	for _, c := range t.Configs {
		if c.Value == nil {
			return plan, refuse(kerr.InvalidConfig, "Null value not supported for topic configs: %s", c.Name)
		}
		plan.configs[c.Name] = *c.Value
	}
	_, err := storage.ParseSettings(plan.configs, b.topicDefaults())
	return plan, err
}

// checkAssignment wants what Kafka wants of a manual assignment, save that the
// brokers exist: partitions from 0 without gaps, and as many replicas each.
func checkAssignment(assignment []kmsg.CreateTopicsRequestTopicReplicaAssignment) error {
	seen := make(map[int32]bool, len(assignment))
	for _, a := range assignment {
		if seen[a.Partition] {
			return refuse(kerr.InvalidReplicaAssignment, "Found multiple manual partition assignments for partition %d", a.Partition)
		}
		seen[a.Partition] = true
		if err := checkReplicas(a.Replicas, len(assignment[0].Replicas)); err != nil {
			return err
		}
	}
	for i := range assignment {
		if !seen[int32(i)] {
			return refuse(kerr.InvalidReplicaAssignment, "partitions should be a consecutive 0-based integer sequence")
		}
	}
	return nil
}

// checkReplicas checks one partition's replicas, of which there should be want.
func checkReplicas(replicas []int32, want int) error {
	if len(replicas) == 0 {
		return refuse(kerr.InvalidReplicaAssignment, "The manual partition assignment includes an empty replica list.")
	}
	seen := make(map[int32]bool, len(replicas))
	for _, id := range replicas {
		switch {
		case id < 0:
			return refuse(kerr.InvalidReplicaAssignment, "The manual partition assignment includes broker %d, but no such broker is registered.", id)
		case seen[id]:
			return refuse(kerr.InvalidReplicaAssignment, "The manual partition assignment includes the broker %d more than once.", id)
		}
		seen[id] = true
	}
	if len(replicas) != want {
		return refuse(kerr.InvalidReplicaAssignment,
			"The manual partition assignment includes a partition with %d replica(s), but this is not consistent with previous partitions, which have %d replica(s).",
			len(replicas), want)
	}
	return nil
}

// partitionRoom is how many partitions a request may still make.
type partitionRoom struct {
	request, cluster int32
}

// partitionRoom counts what the cluster has room for. Two requests at the same
// time may both use it: the bound is there for absurd numbers, not for exact ones.
func (b *Broker) partitionRoom() *partitionRoom {
	_, used := b.topics.Totals()
	free := max(int64(b.maxPartitions())-int64(used), 0)
	return &partitionRoom{request: maxPartitionsPerRequest, cluster: int32(free)}
}

func (p *partitionRoom) take(partitions int32) error {
	switch {
	case partitions > p.request:
		return refuse(kerr.PolicyViolation, "Unable to perform excessively large batch operation: more than %d partitions in a request.", maxPartitionsPerRequest)
	case partitions > p.cluster:
		return refuse(kerr.PolicyViolation, "The cluster has room for %d more partition(s) (%s).", p.cluster, keyMaxPartitions)
	}
	p.request -= partitions
	p.cluster -= partitions
	return nil
}

// createdConfigs are the configs of a topic that has just been made.
func (b *Broker) createdConfigs(overrides map[string]string) []kmsg.CreateTopicsResponseTopicConfig {
	entries := b.topicConfigs(overrides)
	configs := make([]kmsg.CreateTopicsResponseTopicConfig, 0, len(entries))
	for _, e := range entries {
		if e.readOnly {
			continue // the table's url and version, which ask for an open topic
		}
		c := kmsg.NewCreateTopicsResponseTopicConfig()
		c.Name, c.Value, c.ReadOnly, c.Source = e.name, e.value, e.readOnly, int8(e.source)
		configs = append(configs, c)
	}
	return configs
}
