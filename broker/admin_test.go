package broker

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"sluice/offsets"
	"sluice/storage"
)

// told is a broker that only knows what it was told: enough for what needs
// neither topics nor groups.
func told(settings map[string]string) *Broker {
	config := DefaultConfig()
	config.ClusterID = "AAAAAAAAAAAAAAAAAAAAAA"
	config.Broker = settings
	return &Broker{config: config, answerMemory: newBudget(config.AnswerMemory), turns: make(chan struct{}, 1)}
}

func ask[R kmsg.Response](t *testing.T, handle func(context.Context, *request) (kmsg.Response, error), req kmsg.Request, version int16) R {
	t.Helper()
	req.SetVersion(version)
	r := &request{version: version, body: req, listener: &Listener{Name: "PLAINTEXT", Host: "example.org", Port: 9092}}
	resp, err := handle(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return resp.(R)
}

func TestARefusalHasItsCodeAndItsText(t *testing.T) {
	err := refuse(kerr.InvalidRequest, "Topic %d is odd.", 3)
	if errorCode(err) != kerr.InvalidRequest.Code || *errorMessage(err) != "Topic 3 is odd." {
		t.Errorf("got %d, %q", errorCode(err), *errorMessage(err))
	}
}

func TestEachCallsEveryNumberOnceAndPassesOnAPanic(t *testing.T) {
	for _, n := range []int{0, 1, 2, 100} {
		calls := make([]int, n)
		each(n, func(i int) { calls[i]++ })
		if slices.ContainsFunc(calls, func(c int) bool { return c != 1 }) {
			t.Errorf("%d: %v", n, calls)
		}
	}
	for _, n := range []int{1, 20} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%d: the panic is lost", n)
				}
			}()
			each(n, func(i int) {
				if i == n/2 {
					panic("at once")
				}
			})
		}()
	}
}

func TestWithinBoundsTheTimeoutOfARequest(t *testing.T) {
	for millis, want := range map[int32]time.Duration{
		-1: adminTimeout, 0: adminTimeout, 1000: time.Second, math.MaxInt32: maxAdminTimeout,
	} {
		ctx, cancel := within(t.Context(), millis)
		deadline, ok := ctx.Deadline()
		if left := time.Until(deadline); !ok || left > want || left < want-time.Minute/2 {
			t.Errorf("%d ms: %v left, want %v", millis, left, want)
		}
		cancel()
	}
}

func TestOnlyTheEndOfItsTimeIsATimeout(t *testing.T) {
	running, ended := t.Context(), func() context.Context {
		ctx, cancel := context.WithTimeout(t.Context(), 0)
		defer cancel()
		return ctx
	}()
	for _, c := range []struct {
		ctx  context.Context
		err  error
		want int16
	}{
		{running, nil, 0},
		{ended, nil, 0},
		{running, storage.ErrUnavailable, kerr.KafkaStorageError.Code},
		{ended, storage.ErrUnavailable, kerr.RequestTimedOut.Code},
		{ended, context.DeadlineExceeded, kerr.RequestTimedOut.Code},
		{ended, storage.ErrTopicExists, kerr.TopicAlreadyExists.Code},
	} {
		if got := errorCode(inTime(c.ctx, c.err)); got != c.want {
			t.Errorf("%v after %v: %d, want %d", c.err, c.ctx.Err(), got, c.want)
		}
	}
}

func TestManualAssignments(t *testing.T) {
	partition := func(index int32, replicas ...int32) kmsg.CreateTopicsRequestTopicReplicaAssignment {
		return kmsg.CreateTopicsRequestTopicReplicaAssignment{Partition: index, Replicas: replicas}
	}
	for name, c := range map[string]struct {
		assignment []kmsg.CreateTopicsRequestTopicReplicaAssignment
		legal      bool
	}{
		"of one partition":            {[]kmsg.CreateTopicsRequestTopicReplicaAssignment{partition(0, 1)}, true},
		"in any order, other brokers": {[]kmsg.CreateTopicsRequestTopicReplicaAssignment{partition(1, 7, 8), partition(0, 8, 7)}, true},
		"with a gap":                  {[]kmsg.CreateTopicsRequestTopicReplicaAssignment{partition(0, 1), partition(2, 1)}, false},
		"of a partition twice":        {[]kmsg.CreateTopicsRequestTopicReplicaAssignment{partition(0, 1), partition(0, 1)}, false},
		"without replicas":            {[]kmsg.CreateTopicsRequestTopicReplicaAssignment{partition(0)}, false},
		"with a broker twice":         {[]kmsg.CreateTopicsRequestTopicReplicaAssignment{partition(0, 1, 1)}, false},
		"with a broker of -1":         {[]kmsg.CreateTopicsRequestTopicReplicaAssignment{partition(0, -1)}, false},
		"of unlike numbers":           {[]kmsg.CreateTopicsRequestTopicReplicaAssignment{partition(0, 1), partition(1, 1, 2)}, false},
	} {
		err := checkAssignment(c.assignment)
		if (err == nil) != c.legal {
			t.Errorf("%s: legal %t, got %v", name, c.legal, err)
		}
		if err != nil && !errors.Is(err, kerr.InvalidReplicaAssignment) {
			t.Errorf("%s: %d", name, errorCode(err))
		}
	}
}

func TestRoomForPartitionsIsUsedUp(t *testing.T) {
	room := &partitionRoom{request: 10, cluster: 7}
	if err := room.take(5); err != nil {
		t.Error(err)
	}
	for _, partitions := range []int32{3, 6} {
		if err := room.take(partitions); !errors.Is(err, kerr.PolicyViolation) {
			t.Errorf("%d: %v", partitions, err)
		}
	}
	if err := room.take(2); err != nil {
		t.Error(err)
	}
}

func entry(t *testing.T, entries []configEntry, name string) configEntry {
	t.Helper()
	i := slices.IndexFunc(entries, func(e configEntry) bool { return e.name == name })
	if i < 0 {
		t.Fatalf("%s is missing", name)
	}
	return entries[i]
}

func TestATopicsConfigSaysWhereItIsFrom(t *testing.T) {
	b := told(map[string]string{"log.retention.minutes": "2"})
	entries := b.topicConfigs(map[string]string{"cleanup.policy": "compact"})
	if len(entries) != len(storage.ConfigKeys()) {
		t.Errorf("%d of %d keys", len(entries), len(storage.ConfigKeys()))
	}
	for _, c := range []struct {
		key, value string
		source     kmsg.ConfigSource
		synonyms   []configSynonym
	}{
		{"cleanup.policy", "compact", kmsg.ConfigSourceDynamicTopicConfig, []configSynonym{
			{"cleanup.policy", "compact", kmsg.ConfigSourceDynamicTopicConfig},
			{"log.cleanup.policy", "delete", kmsg.ConfigSourceDefaultConfig}}},
		{"retention.ms", "120000", kmsg.ConfigSourceStaticBrokerConfig, []configSynonym{
			{"log.retention.minutes", "2", kmsg.ConfigSourceStaticBrokerConfig},
			{"log.retention.hours", "168", kmsg.ConfigSourceDefaultConfig}}},
		{"max.message.bytes", "1048588", kmsg.ConfigSourceDefaultConfig, []configSynonym{
			{"message.max.bytes", "1048588", kmsg.ConfigSourceDefaultConfig}}},
		{"leader.replication.throttled.replicas", "", kmsg.ConfigSourceDefaultConfig, []configSynonym{
			{"leader.replication.throttled.replicas", "", kmsg.ConfigSourceDefaultConfig}}},
	} {
		e := entry(t, entries, c.key)
		if *e.value != c.value || e.source != c.source || !slices.Equal(e.synonyms, c.synonyms) {
			t.Errorf("%s: %q from %v, %v", c.key, *e.value, e.source, e.synonyms)
		}
	}
	// MirrorMaker copies what differs from the defaults: never the table's address.
	if e := entry(t, entries, "sluice.table.url"); !e.readOnly || e.source != kmsg.ConfigSourceDefaultConfig {
		t.Errorf("sluice.table.url: %+v", e)
	}
}

func TestABrokersConfigsAreDistinctAndSorted(t *testing.T) {
	b := told(map[string]string{"log.dirs": "s3://bucket", "log.retention.hours": "1", "sluice.max.partitions": "5"})
	b.config.NumPartitions = 3
	entries := b.brokerConfigs()
	for i, e := range entries {
		if i > 0 && entries[i-1].name >= e.name {
			t.Errorf("%s comes before %s", entries[i-1].name, e.name)
		}
		if !e.readOnly || e.doc == "" {
			t.Errorf("%s: read-only %t, doc %q", e.name, e.readOnly, e.doc)
		}
	}
	for name, c := range map[string]struct {
		value  string
		source kmsg.ConfigSource
	}{
		"num.partitions":                {"3", kmsg.ConfigSourceStaticBrokerConfig},
		"delete.topic.enable":           {"true", kmsg.ConfigSourceDefaultConfig},
		"log.dirs":                      {"s3://bucket", kmsg.ConfigSourceStaticBrokerConfig},
		"log.retention.hours":           {"1", kmsg.ConfigSourceStaticBrokerConfig},
		"log.roll.hours":                {"168", kmsg.ConfigSourceDefaultConfig},
		"sluice.max.partitions":         {"5", kmsg.ConfigSourceStaticBrokerConfig},
		"inter.broker.protocol.version": {"4.0-IV3", kmsg.ConfigSourceDefaultConfig},
	} {
		if e := entry(t, entries, name); *e.value != c.value || e.source != c.source {
			t.Errorf("%s: %q from %v", name, *e.value, e.source)
		}
	}
	if e := entry(t, entries, "log.retention.ms"); e.value != nil {
		t.Errorf("log.retention.ms is not set, got %q", *e.value)
	}
}

func TestDescribeConfigsAnswersEveryKindOfResource(t *testing.T) {
	b := told(nil)
	for _, c := range []struct {
		kind kmsg.ConfigResourceType
		name string
		code int16
		some bool // configs
	}{
		{kmsg.ConfigResourceTypeBroker, "1", 0, true},
		{kmsg.ConfigResourceTypeBroker, "", 0, false},
		{kmsg.ConfigResourceTypeBroker, "2", kerr.InvalidRequest.Code, false},
		{kmsg.ConfigResourceTypeBroker, "one", kerr.InvalidRequest.Code, false},
		{kmsg.ConfigResourceTypeBrokerLogger, "1", 0, false},
		{kmsg.ConfigResourceTypeBrokerLogger, "", kerr.InvalidRequest.Code, false},
		{kmsg.ConfigResourceTypeClientMetrics, "m", 0, false},
		{kmsg.ConfigResourceTypeClientMetrics, "", kerr.InvalidRequest.Code, false},
		{kmsg.ConfigResourceTypeGroupConfig, "g", 0, false},
		{kmsg.ConfigResourceTypeGroupConfig, "", kerr.InvalidRequest.Code, false},
		{0, "x", kerr.InvalidRequest.Code, false},
		{127, "x", kerr.InvalidRequest.Code, false},
	} {
		for version := int16(1); version <= 4; version++ {
			req := kmsg.NewPtrDescribeConfigsRequest()
			resource := kmsg.NewDescribeConfigsRequestResource()
			resource.ResourceType, resource.ResourceName = c.kind, c.name
			req.Resources = append(req.Resources, resource)
			got := ask[*kmsg.DescribeConfigsResponse](t, b.describeConfigs, req, version).Resources[0]
			if got.ErrorCode != c.code || (len(got.Configs) > 0) != c.some || got.ResourceName != c.name {
				t.Errorf("v%d %d %q: code %d, %d configs", version, c.kind, c.name, got.ErrorCode, len(got.Configs))
			}
		}
	}
}

func TestDescribeConfigsTellsWhatIsAskedFor(t *testing.T) {
	req := kmsg.NewPtrDescribeConfigsRequest()
	resource := kmsg.NewDescribeConfigsRequestResource()
	resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeBroker, "1"
	resource.ConfigNames = []string{"num.partitions", "no.such.key"}
	req.Resources = append(req.Resources, resource)
	for _, wanted := range []bool{false, true} {
		req.IncludeSynonyms, req.IncludeDocumentation = wanted, wanted
		configs := ask[*kmsg.DescribeConfigsResponse](t, told(nil).describeConfigs, req, 4).Resources[0].Configs
		if len(configs) != 1 || (len(configs[0].ConfigSynonyms) > 0) != wanted || (configs[0].Documentation != nil) != wanted {
			t.Errorf("asked for synonyms and documentation: %t, got %+v", wanted, configs)
		}
	}
}

func TestOnlyTopicsHaveConfigsThatCanBeAltered(t *testing.T) {
	for _, kind := range []kmsg.ConfigResourceType{0, 4, 8, 16, 32, 99} {
		set := kmsg.NewPtrIncrementalAlterConfigsRequest()
		one := kmsg.NewIncrementalAlterConfigsRequestResource()
		one.ResourceType, one.ResourceName = kind, "1"
		set.Resources = append(set.Resources, one)
		if got := ask[*kmsg.IncrementalAlterConfigsResponse](t, told(nil).incrementalAlterConfigs, set, 1).Resources[0]; got.ErrorCode != kerr.InvalidRequest.Code {
			t.Errorf("%d, incrementally: %d", kind, got.ErrorCode)
		}
		replace := kmsg.NewPtrAlterConfigsRequest()
		all := kmsg.NewAlterConfigsRequestResource()
		all.ResourceType, all.ResourceName = kind, "1"
		replace.Resources = append(replace.Resources, all)
		if got := ask[*kmsg.AlterConfigsResponse](t, told(nil).alterConfigs, replace, 2).Resources[0]; got.ErrorCode != kerr.InvalidRequest.Code {
			t.Errorf("%d, all: %d", kind, got.ErrorCode)
		}
	}
}

func TestAlterationsThatAreRefusedBeforeAnythingElse(t *testing.T) {
	for name, c := range map[string]struct {
		times        int
		names, nulls []string
		legal        bool
	}{
		"nothing":        {1, nil, nil, true},
		"two keys":       {1, []string{"a", "b"}, nil, true},
		"a key twice":    {1, []string{"a", "a"}, nil, false},
		"a null":         {1, []string{"a"}, []string{"a"}, false},
		"a topic twice":  {2, []string{"a"}, nil, false},
		"twice and null": {2, nil, []string{"a"}, false},
	} {
		if err := checkAlteration(c.times, c.names, c.nulls); (err == nil) != c.legal || err != nil && !errors.Is(err, kerr.InvalidRequest) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestIncrementalOperations(t *testing.T) {
	const (
		set, remove = kmsg.IncrementalAlterConfigOpSet, kmsg.IncrementalAlterConfigOpDelete
		add, take   = kmsg.IncrementalAlterConfigOpAppend, kmsg.IncrementalAlterConfigOpSubtract
	)
	for _, c := range []struct {
		op         kmsg.IncrementalAlterConfigOp
		key, value string
		result     string // "-" for not set
		refused    *kerr.Error
	}{
		{set, "retention.ms", "5", "5", nil},
		{remove, "retention.ms", "", "-", nil},
		{remove, "no.such.key", "", "-", nil},
		{add, "cleanup.policy", "compact", "delete,compact", nil},
		{add, "cleanup.policy", "delete", "delete", nil},
		{take, "cleanup.policy", "delete", "", nil},
		{take, "cleanup.policy", "compact", "delete", nil},
		{add, "follower.replication.throttled.replicas", "0:1,1:1", "0:1,1:1", nil},
		{add, "retention.ms", "5", "", kerr.InvalidConfig},
		{take, "retention.ms", "5", "", kerr.InvalidConfig},
		{9, "retention.ms", "5", "", kerr.InvalidRequest},
	} {
		op := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		op.Op, op.Name, op.Value = c.op, c.key, &c.value
		own := map[string]string{"retention.ms": "1"}
		got, err := applyOps(own, nil, []kmsg.IncrementalAlterConfigsRequestResourceConfig{op})
		if c.refused != nil {
			if !errors.Is(err, c.refused) {
				t.Errorf("%v %s: %v", c.op, c.key, err)
			}
			continue
		}
		value, ok := got[c.key]
		if !ok {
			value = "-"
		}
		if err != nil || value != c.result {
			t.Errorf("%v %s: %q, %v", c.op, c.key, value, err)
		}
		if own["retention.ms"] != "1" {
			t.Error("the topic's own configuration was changed")
		}
	}
}

func TestFindCoordinator(t *testing.T) {
	b := newSite(t, nil).broker
	for _, c := range []struct {
		version int16
		kind    int8
		code    int16
	}{
		{0, 0, 0}, {3, 0, 0}, {4, 0, 0}, {6, 0, 0},
		{1, 1, kerr.TransactionalIDAuthorizationFailed.Code}, {6, 1, kerr.TransactionalIDAuthorizationFailed.Code},
		{5, 2, kerr.InvalidRequest.Code}, {6, 2, kerr.InvalidRequest.Code}, {6, 3, kerr.InvalidRequest.Code},
	} {
		req := kmsg.NewPtrFindCoordinatorRequest()
		req.CoordinatorType, req.CoordinatorKey, req.CoordinatorKeys = c.kind, "a", []string{"a", "b"}
		resp := ask[*kmsg.FindCoordinatorResponse](t, b.findCoordinator, req, c.version)
		answers := resp.Coordinators
		if c.version < 4 {
			answers = []kmsg.FindCoordinatorResponseCoordinator{{Key: "a", NodeID: resp.NodeID, Host: resp.Host, Port: resp.Port, ErrorCode: resp.ErrorCode}}
		} else if len(answers) != 2 || answers[1].Key != "b" {
			t.Errorf("v%d: %+v", c.version, answers)
		}
		node, host := int32(1), "example.org"
		if c.code != 0 {
			node, host = -1, ""
		}
		for _, a := range answers {
			if a.ErrorCode != c.code || a.NodeID != node || a.Host != host {
				t.Errorf("v%d type %d: %+v", c.version, c.kind, a)
			}
		}
	}
}

func TestDescribeCluster(t *testing.T) {
	for _, c := range []struct {
		version  int16
		endpoint int8
		code     int16
	}{
		{0, 0, 0}, {1, 1, 0}, {2, 1, 0},
		{1, 2, kerr.MismatchedEndpointType.Code}, {2, 3, kerr.UnsupportedEndpointType.Code},
	} {
		req := kmsg.NewPtrDescribeClusterRequest()
		req.EndpointType, req.IncludeClusterAuthorizedOperations = c.endpoint, true
		got := ask[*kmsg.DescribeClusterResponse](t, told(nil).describeCluster, req, c.version)
		if got.ErrorCode != c.code {
			t.Errorf("v%d endpoint %d: %d", c.version, c.endpoint, got.ErrorCode)
		}
		if c.code == 0 && (got.ClusterID == "" || got.ControllerID != 1 || len(got.Brokers) != 1 || got.Brokers[0].Host != "example.org" || got.ClusterAuthorizedOperations != clusterOperations) {
			t.Errorf("v%d: %+v", c.version, got)
		}
	}
}

func TestAnOldRetentionTimeIsAnExpiry(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	if got := expiry(now, -1); !got.IsZero() {
		t.Errorf("-1: %v", got)
	}
	if got := expiry(now, 1000); !got.Equal(now.Add(time.Second)) {
		t.Errorf("1000: %v", got)
	}
	if got := expiry(now, math.MaxInt64); got.Before(now.AddDate(200, 0, 0)) {
		t.Errorf("the greatest: %v", got)
	}
}

func TestAFailedOffsetCommitSendsClientsToTheCoordinator(t *testing.T) {
	for err, want := range map[error]*kerr.Error{
		offsets.ErrFenced:        kerr.NotCoordinator,
		offsets.ErrClosed:        kerr.NotCoordinator,
		storage.ErrUnavailable:   kerr.CoordinatorNotAvailable,
		context.DeadlineExceeded: kerr.CoordinatorNotAvailable,
		kerr.InvalidGroupID:      kerr.InvalidGroupID,
	} {
		if got := coordinatorErrorCode(err); got != want.Code {
			t.Errorf("%v: %d, want %s", err, got, want.Message)
		}
	}
}

func TestTheTableVersionTravelsAsAnUnknownTag(t *testing.T) {
	resp := kmsg.NewPtrOffsetFetchResponse()
	resp.SetVersion(8)
	group := kmsg.NewOffsetFetchResponseGroup()
	topic := kmsg.NewOffsetFetchResponseGroupTopic()
	topic.Partitions = append(topic.Partitions, committedAtVersion(offsets.Offset{TableVersion: 42}), committedAtVersion(offsets.Offset{TableVersion: -1}))
	group.Topics = append(group.Topics, topic)
	resp.Groups = append(resp.Groups, group)

	read := kmsg.NewPtrOffsetFetchResponse()
	read.SetVersion(8)
	if err := read.ReadFrom(resp.AppendTo(nil)); err != nil {
		t.Fatal(err)
	}
	tags := 0
	for _, p := range read.Groups[0].Topics[0].Partitions {
		p.UnknownTags.Each(func(tag uint32, value []byte) {
			tags++
			if tag != tableVersionTag || string(value) != "\x00\x00\x00\x00\x00\x00\x00\x2a" {
				t.Errorf("tag %d: %x", tag, value)
			}
		})
	}
	if tags != 1 {
		t.Errorf("%d tags; an unknown version has none", tags)
	}
}
