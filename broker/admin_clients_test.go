package broker

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"sluice/broker/group"
	"sluice/offsets"
	"sluice/storage"
	"sluice/storage/check"
	"sluice/storage/check/checktest"
	"sluice/storage/object/mem"
)

// site is a broker over a memory store, with clients of its own.
type site struct {
	t       *testing.T
	broker  *Broker
	address string
	admin   *kadm.Client
}

func newSite(t *testing.T, change func(*Config)) *site {
	t.Helper()
	ctx, store := t.Context(), mem.New()
	topics, err := storage.Open(ctx, store, storage.Options{CommitInterval: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	committed, err := offsets.Open(ctx, store, offsets.Options{})
	if err != nil {
		t.Fatal(err)
	}
	groups, err := NewGroups(group.Config{Log: slog.New(slog.DiscardHandler)}, committed)
	if err != nil {
		t.Fatal(err)
	}
	config := DefaultConfig()
	config.ClusterID = "AAAAAAAAAAAAAAAAAAAAAA"
	config.AutoCreateTopics = false
	config.Listeners = []Listener{{Name: "PLAINTEXT", Host: "127.0.0.1"}}
	if change != nil {
		change(&config)
	}
	b, err := New(config, topics, committed, groups, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- b.ServeListener("PLAINTEXT", ln) }()

	s := &site{t: t, broker: b, address: ln.Addr().String()}
	s.admin = kadm.NewClient(s.client())
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := errors.Join(b.Shutdown(ctx), committed.Close(ctx), topics.Close(ctx)); err != nil {
			t.Error(err)
		}
		if err := <-served; !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
		checktest.Root(t, store, check.Options{Dense: true})
	})
	return s
}

func (s *site) client(opts ...kgo.Opt) *kgo.Client {
	s.t.Helper()
	client, err := kgo.NewClient(append(opts, kgo.SeedBrokers(s.address))...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(client.Close)
	return client
}

// must makes a topic of one partition, or so many as are given.
func (s *site) must(topic string, partitions ...int32) {
	s.t.Helper()
	n := int32(1)
	if len(partitions) > 0 {
		n = partitions[0]
	}
	if _, err := s.admin.CreateTopic(s.t.Context(), n, -1, nil, topic); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) produce(topic string, records int) {
	s.t.Helper()
	client := s.client(kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	for range records {
		if err := client.ProduceSync(s.t.Context(), kgo.StringRecord("value")).FirstErr(); err != nil {
			s.t.Fatal(err)
		}
	}
}

// raw sends a request in exactly one version and decodes the answer: clients
// would pick the newest.
func (s *site) raw(req kmsg.Request, version int16) kmsg.Response {
	s.t.Helper()
	req.SetVersion(version)
	conn, err := net.Dial("tcp", s.address)
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := conn.Write(kmsg.NewRequestFormatter(kmsg.FormatterClientID("raw")).AppendRequest(nil, req, 7)); err != nil {
		s.t.Fatal(err)
	}
	var size [4]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		s.t.Fatalf("%s v%d: %v", kmsg.NameForKey(req.Key()), version, err)
	}
	frame := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(conn, frame); err != nil {
		s.t.Fatal(err)
	}
	body := frame[4:] // behind the correlation id
	resp := req.ResponseKind()
	if resp.IsFlexible() {
		body = body[1:] // no tags in the header
	}
	if err := resp.ReadFrom(body); err != nil {
		s.t.Fatalf("%s v%d: %v", kmsg.NameForKey(req.Key()), version, err)
	}
	if again := resp.AppendTo(nil); len(again) != len(body) {
		s.t.Errorf("%s v%d: %d bytes, %d of them understood", kmsg.NameForKey(req.Key()), version, len(body), len(again))
	}
	return resp
}

func wantCode(t *testing.T, what string, err error, want *kerr.Error) {
	t.Helper()
	if want == nil && err != nil || want != nil && !errors.Is(err, want) {
		t.Errorf("%s: got %v, want %v", what, err, want)
	}
}

func TestTopicsFromCreationToDeletion(t *testing.T) {
	s := newSite(t, nil)
	ctx := t.Context()
	five := kadm.StringPtr("5")
	made, err := s.admin.CreateTopics(ctx, 3, 3, map[string]*string{"retention.ms": five}, "a", "b")
	if err != nil || made.Error() != nil {
		t.Fatal(err, made.Error())
	}
	a := made["a"]
	if a.NumPartitions != 3 || a.ReplicationFactor != 1 || *a.Configs["retention.ms"].Value != "5" || *a.Configs["segment.bytes"].Value != "1073741824" {
		t.Errorf("%+v", a)
	}
	_, err = s.admin.CreateTopic(ctx, 1, 1, nil, "a")
	wantCode(t, "a second time", err, kerr.TopicAlreadyExists)
	_, err = s.admin.CreateTopic(ctx, 1, 1, nil, "a/b")
	wantCode(t, "an illegal name", err, kerr.InvalidTopicException)
	_, err = s.admin.CreateTopic(ctx, 0, 1, nil, "c")
	wantCode(t, "no partitions", err, kerr.InvalidPartitions)
	_, err = s.admin.CreateTopic(ctx, 10_001, 1, nil, "c")
	wantCode(t, "too many partitions", err, kerr.InvalidPartitions)
	_, err = s.admin.CreateTopic(ctx, 1, 0, nil, "c")
	wantCode(t, "no replicas", err, kerr.InvalidReplicationFactor)
	_, err = s.admin.CreateTopic(ctx, 1, 1, map[string]*string{"no.such.key": five}, "c")
	wantCode(t, "an unknown config", err, kerr.InvalidConfig)
	_, err = s.admin.CreateTopic(ctx, 1, 1, map[string]*string{"retention.ms": nil}, "c")
	wantCode(t, "a null config", err, kerr.InvalidConfig)
	checked, err := s.admin.ValidateCreateTopics(ctx, 1, 1, nil, "c", "b")
	if err != nil || checked["c"].Err != nil || !errors.Is(checked["b"].Err, kerr.TopicAlreadyExists) {
		t.Errorf("validate only: %v, %v", checked, err)
	}

	grown, err := s.admin.CreatePartitions(ctx, 1, "a")
	wantCode(t, "one more partition", errors.Join(err, grown.Error()), nil)
	grown, _ = s.admin.UpdatePartitions(ctx, 2, "a")
	wantCode(t, "fewer partitions", grown["a"].Err, kerr.InvalidPartitions)
	grown, _ = s.admin.ValidateUpdatePartitions(ctx, 9, "a", "z")
	wantCode(t, "validate only", grown["a"].Err, nil)
	wantCode(t, "of no topic", grown["z"].Err, kerr.UnknownTopicOrPartition)

	topics, err := s.admin.ListTopics(ctx)
	if err != nil || len(topics) != 2 || len(topics["a"].Partitions) != 4 || topics["a"].ID != a.ID {
		t.Errorf("%+v, %v", topics, err)
	}

	gone, err := s.admin.DeleteTopics(ctx, "a", "z")
	wantCode(t, "deleting a topic", errors.Join(err, gone["a"].Err), nil)
	wantCode(t, "deleting none", gone["z"].Err, kerr.UnknownTopicOrPartition)
	again, err := s.admin.CreateTopic(ctx, 1, -1, nil, "a")
	if err != nil || again.ID == a.ID {
		t.Errorf("made again: %+v, %v", again, err)
	}
}

func TestATopicIsDeletedByItsID(t *testing.T) {
	s := newSite(t, nil)
	s.must("a")
	info, _ := s.broker.topics.Lookup("a")
	by := func(name *string, id [16]byte) kmsg.DeleteTopicsRequestTopic {
		return kmsg.DeleteTopicsRequestTopic{Topic: name, TopicID: id}
	}
	a := kadm.StringPtr("a")
	for _, c := range []struct {
		topics []kmsg.DeleteTopicsRequestTopic
		codes  []int16
	}{
		{[]kmsg.DeleteTopicsRequestTopic{by(a, info.ID)}, []int16{kerr.InvalidRequest.Code}},
		{[]kmsg.DeleteTopicsRequestTopic{by(nil, [16]byte{})}, []int16{kerr.InvalidRequest.Code}},
		{[]kmsg.DeleteTopicsRequestTopic{by(a, [16]byte{}), by(a, [16]byte{})}, []int16{kerr.InvalidRequest.Code}},
		{[]kmsg.DeleteTopicsRequestTopic{by(nil, info.ID), by(nil, info.ID)}, []int16{kerr.InvalidRequest.Code}},
		{[]kmsg.DeleteTopicsRequestTopic{by(nil, [16]byte{1})}, []int16{kerr.UnknownTopicID.Code}},
		{[]kmsg.DeleteTopicsRequestTopic{by(nil, info.ID)}, []int16{0}},
		{[]kmsg.DeleteTopicsRequestTopic{by(nil, info.ID)}, []int16{kerr.UnknownTopicID.Code}},
	} {
		req := kmsg.NewPtrDeleteTopicsRequest()
		req.Topics = c.topics
		var codes []int16
		for _, answer := range s.raw(req, 6).(*kmsg.DeleteTopicsResponse).Topics {
			codes = append(codes, answer.ErrorCode)
		}
		if !slices.Equal(codes, c.codes) {
			t.Errorf("%+v: %v, want %v", c.topics, codes, c.codes)
		}
	}
}

func TestTopicsStayWhereDeletionIsDisabled(t *testing.T) {
	s := newSite(t, func(c *Config) { c.DeleteTopics = false })
	s.must("a")
	gone, err := s.admin.DeleteTopics(t.Context(), "a")
	wantCode(t, "deleting", errors.Join(err, gone["a"].Err), kerr.TopicDeletionDisabled)
	old := kmsg.NewPtrDeleteTopicsRequest()
	old.TopicNames = []string{"a"}
	if got := s.raw(old, 1).(*kmsg.DeleteTopicsResponse).Topics[0].ErrorCode; got != kerr.InvalidRequest.Code {
		t.Errorf("version 1: %d", got)
	}
}

func TestAbsurdNumbersOfPartitionsAreRefused(t *testing.T) {
	s := newSite(t, func(c *Config) { c.Broker = map[string]string{keyMaxPartitions: "5"} })
	s.must("a", 3)
	_, err := s.admin.CreateTopic(t.Context(), 3, -1, nil, "b")
	wantCode(t, "a topic too many", err, kerr.PolicyViolation)
	grown, err := s.admin.UpdatePartitions(t.Context(), 6, "a")
	wantCode(t, "partitions too many", errors.Join(err, grown["a"].Err), kerr.PolicyViolation)
	s.must("b", 2)
}

func TestTheConfigsOfATopic(t *testing.T) {
	s := newSite(t, func(c *Config) { c.Broker = map[string]string{"log.retention.hours": "1"} })
	s.must("a")
	ctx := t.Context()
	described := func() map[string]kadm.Config {
		t.Helper()
		configs, err := s.admin.DescribeTopicConfigs(ctx, "a")
		if err != nil || configs[0].Err != nil {
			t.Fatal(err, configs[0].Err)
		}
		byKey := map[string]kadm.Config{}
		for _, c := range configs[0].Configs {
			byKey[c.Key] = c
		}
		return byKey
	}
	has := func(key, value string, source kmsg.ConfigSource) {
		t.Helper()
		if c := described()[key]; c.MaybeValue() != value || c.Source != source {
			t.Errorf("%s is %q from %v, want %q from %v", key, c.MaybeValue(), c.Source, value, source)
		}
	}
	alter := func(op kadm.IncrementalOp, key, value string) error {
		results, err := s.admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: op, Name: key, Value: &value}}, "a")
		if err != nil {
			t.Fatal(err)
		}
		return results[0].Err
	}

	if len(described()) != len(storage.ConfigKeys()) {
		t.Errorf("%d configs", len(described()))
	}
	has("retention.ms", "3600000", kmsg.ConfigSourceStaticBrokerConfig)
	wantCode(t, "set", alter(kadm.SetConfig, "retention.ms", "7"), nil)
	has("retention.ms", "7", kmsg.ConfigSourceDynamicTopicConfig)
	wantCode(t, "append", alter(kadm.AppendConfig, "cleanup.policy", "compact"), nil)
	has("cleanup.policy", "delete,compact", kmsg.ConfigSourceDynamicTopicConfig)
	wantCode(t, "subtract", alter(kadm.SubtractConfig, "cleanup.policy", "delete"), nil)
	has("cleanup.policy", "compact", kmsg.ConfigSourceDynamicTopicConfig)
	wantCode(t, "append to a number", alter(kadm.AppendConfig, "retention.ms", "1"), kerr.InvalidConfig)
	wantCode(t, "an unknown key", alter(kadm.SetConfig, "no.such.key", "1"), kerr.InvalidConfig)
	wantCode(t, "an illegal value", alter(kadm.SetConfig, "retention.ms", "soon"), kerr.InvalidConfig)
	wantCode(t, "a contradiction", alter(kadm.SetConfig, "max.compaction.lag.ms", "0"), kerr.InvalidConfig)
	wantCode(t, "a read-only key", alter(kadm.SetConfig, "sluice.table.url", "x"), kerr.InvalidConfig)
	wantCode(t, "delete", alter(kadm.DeleteConfig, "retention.ms", ""), nil)
	has("retention.ms", "3600000", kmsg.ConfigSourceStaticBrokerConfig)

	nine := "9"
	checked, err := s.admin.ValidateAlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: &nine}}, "a", "z")
	if err != nil || checked[0].Err != nil || !errors.Is(checked[1].Err, kerr.UnknownTopicOrPartition) {
		t.Errorf("validate only: %v, %v", checked, err)
	}
	has("retention.ms", "3600000", kmsg.ConfigSourceStaticBrokerConfig)

	all, err := s.admin.AlterTopicConfigsState(ctx, []kadm.AlterConfig{{Name: "flush.ms", Value: &nine}}, "a")
	wantCode(t, "replace all", errors.Join(err, all[0].Err), nil)
	has("flush.ms", "9", kmsg.ConfigSourceDynamicTopicConfig)
	has("cleanup.policy", "delete", kmsg.ConfigSourceDefaultConfig)

	if url := described()["sluice.table.url"]; !strings.HasSuffix(strings.TrimSuffix(url.MaybeValue(), "/"), "/a") || url.Source != kmsg.ConfigSourceDefaultConfig {
		t.Errorf("the table's address: %+v", url)
	}
	if version := described()["sluice.table.version"]; version.MaybeValue() == "" {
		t.Errorf("the table's version: %+v", version)
	}
}

func TestRecordsAreDeletedUpToAnOffset(t *testing.T) {
	s := newSite(t, nil)
	s.must("a")
	s.produce("a", 5)
	ctx := t.Context()
	before := func(topic string, partition int32, offset int64) kadm.DeleteRecordsResponse {
		t.Helper()
		req := kmsg.NewPtrDeleteRecordsRequest()
		req.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: topic, Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Partition: partition, Offset: offset}}}}
		p := s.raw(req, 2).(*kmsg.DeleteRecordsResponse).Topics[0].Partitions[0]
		return kadm.DeleteRecordsResponse{Topic: topic, Partition: partition, LowWatermark: p.LowWatermark, Err: kerr.ErrorForCode(p.ErrorCode)}
	}
	for _, c := range []struct {
		topic     string
		partition int32
		offset    int64
		low       int64
		err       *kerr.Error
	}{
		{"a", 0, 2, 2, nil},
		{"a", 0, 1, 2, nil},
		{"a", 0, 6, -1, kerr.OffsetOutOfRange},
		{"a", 0, -2, -1, kerr.OffsetOutOfRange},
		{"a", 1, 0, -1, kerr.UnknownTopicOrPartition},
		{"z", 0, 0, -1, kerr.UnknownTopicOrPartition},
		{"a", 0, -1, 5, nil},
	} {
		got := before(c.topic, c.partition, c.offset)
		wantCode(t, "deleting records", got.Err, c.err)
		if got.LowWatermark != c.low {
			t.Errorf("%+v: low watermark %d", c, got.LowWatermark)
		}
	}
	starts, err := s.admin.ListStartOffsets(ctx, "a")
	if o, _ := starts.Lookup("a", 0); err != nil || o.Offset != 5 {
		t.Errorf("the log starts at %d, %v", o.Offset, err)
	}
	compact := "compact"
	if _, err := s.admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Name: "cleanup.policy", Value: &compact}}, "a"); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "of a compacted topic", before("a", 0, -1).Err, kerr.PolicyViolation)
}

func TestLogDirsAreTheRoot(t *testing.T) {
	s := newSite(t, func(c *Config) { c.Broker = map[string]string{keyLogDirs: "s3://bucket/root"} })
	s.must("a", 2)
	s.must("idle")
	s.produce("a", 3)
	all := kmsg.NewPtrDescribeLogDirsRequest()
	some := kmsg.NewPtrDescribeLogDirsRequest()
	some.Topics = []kmsg.DescribeLogDirsRequestTopic{{Topic: "a", Partitions: []int32{0, 7}}, {Topic: "z", Partitions: []int32{0}}}
	for _, c := range []struct {
		req  *kmsg.DescribeLogDirsRequest
		want []string
	}{
		{all, []string{"a0", "a1", "idle0"}},
		{some, []string{"a0"}},
	} {
		dir := s.raw(c.req, 5).(*kmsg.DescribeLogDirsResponse).Dirs[0]
		if dir.Dir != "s3://bucket/root" || dir.TotalBytes != -1 || dir.UsableBytes != -1 || dir.ErrorCode != 0 {
			t.Errorf("%+v", dir)
		}
		var got []string
		for _, topic := range dir.Topics {
			for _, p := range topic.Partitions {
				name := fmt.Sprint(topic.Topic, p.Partition)
				got = append(got, name)
				if (p.Size > 0) != (name == "a0") {
					t.Errorf("%s has %d bytes", name, p.Size)
				}
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("got %v, want %v", got, c.want)
		}
	}
	if _, open := s.broker.topics.OpenTopic("idle"); open {
		t.Error("the idle topic was opened")
	}
}

func TestTopicPartitionsAreDescribedInPages(t *testing.T) {
	s := newSite(t, nil)
	s.must("a", 3)
	s.must("b", 2)
	s.must("c", 1)
	var got []string
	req := kmsg.NewPtrDescribeTopicPartitionsRequest()
	req.ResponsePartitionLimit = 2
	for page := 0; page == 0 || req.Cursor != nil; page++ {
		resp := s.raw(req, 0).(*kmsg.DescribeTopicPartitionsResponse)
		for _, topic := range resp.Topics {
			for _, p := range topic.Partitions {
				got = append(got, fmt.Sprint(*topic.Topic, p.Partition))
			}
		}
		req.Cursor = nil
		if resp.NextCursor != nil {
			cursor := kmsg.NewDescribeTopicPartitionsRequestCursor()
			cursor.Topic, cursor.Partition = resp.NextCursor.Topic, resp.NextCursor.Partition
			req.Cursor = &cursor
		}
		if page > 9 {
			t.Fatal("no end")
		}
	}
	if want := []string{"a0", "a1", "a2", "b0", "b1", "c0"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}

	req = kmsg.NewPtrDescribeTopicPartitionsRequest()
	req.Topics = []kmsg.DescribeTopicPartitionsRequestTopic{{Topic: "z"}, {Topic: "a/b"}, {Topic: "a"}}
	var codes []int16
	for _, topic := range s.raw(req, 0).(*kmsg.DescribeTopicPartitionsResponse).Topics {
		codes = append(codes, topic.ErrorCode)
	}
	if want := []int16{0, kerr.InvalidTopicException.Code, kerr.UnknownTopicOrPartition.Code}; !slices.Equal(codes, want) {
		t.Errorf("got %v, want %v", codes, want)
	}
	req.Cursor = &kmsg.DescribeTopicPartitionsRequestCursor{Topic: "b"}
	if got := s.raw(req, 0).(*kmsg.DescribeTopicPartitionsResponse).Topics[0].ErrorCode; got != kerr.InvalidRequest.Code {
		t.Errorf("a cursor that is not in the list: %d", got)
	}
}
