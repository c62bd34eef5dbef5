package broker

import (
	"context"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// commit commits one offset in one version of OffsetCommit and answers the
// partition's error.
func (s *site) commit(version int16, name, topic string, partition int32, offset int64, metadata string) error {
	s.t.Helper()
	info, _ := s.broker.topics.Lookup(topic)
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group = name
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Partition, p.Offset, p.Metadata = partition, offset, &metadata
	req.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: topic, TopicID: info.ID, Partitions: []kmsg.OffsetCommitRequestTopicPartition{p}}}
	return kerr.ErrorForCode(s.raw(req, version).(*kmsg.OffsetCommitResponse).Topics[0].Partitions[0].ErrorCode)
}

// fetched is a group's offset of a partition in one version of OffsetFetch, asked
// for with tags.
func (s *site) fetched(version int16, name, topic string, partition int32, tags ...uint32) kmsg.OffsetFetchResponseGroupTopicPartition {
	s.t.Helper()
	info, _ := s.broker.topics.Lookup(topic)
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Group = name
	req.Topics = []kmsg.OffsetFetchRequestTopic{{Topic: topic, Partitions: []int32{partition}}}
	one := kmsg.NewOffsetFetchRequestGroup()
	one.Group = name
	one.Topics = []kmsg.OffsetFetchRequestGroupTopic{{Topic: topic, TopicID: info.ID, Partitions: []int32{partition}}}
	for _, tag := range tags {
		one.UnknownTags.Set(tag, nil)
	}
	req.Groups = append(req.Groups, one)
	resp := s.raw(req, version).(*kmsg.OffsetFetchResponse)
	if version >= 8 {
		return resp.Groups[0].Topics[0].Partitions[0]
	}
	return kmsg.OffsetFetchResponseGroupTopicPartition(resp.Topics[0].Partitions[0])
}

func TestOffsetsAreCommittedAndFetchedInEveryVersion(t *testing.T) {
	s := newSite(t, nil)
	s.must("a", 2)
	s.produce("a", 1) // opens the topic, so that its version is known
	for version := int16(2); version <= 10; version++ {
		wantCode(t, "commit", s.commit(version, "g", "a", 1, int64(100+version), "here"), nil)
	}
	for version := int16(1); version <= 10; version++ {
		got := s.fetched(version, "g", "a", 1, tableVersionTag)
		if got.Offset != 110 || got.ErrorCode != 0 || *got.Metadata != "here" {
			t.Errorf("v%d: %+v", version, got)
		}
		tableVersion := int64(-1)
		got.UnknownTags.Each(func(tag uint32, value []byte) {
			if tag == tableVersionTag {
				tableVersion = int64(binary.BigEndian.Uint64(value))
			}
		})
		if (tableVersion > 0) != (version >= 8) {
			t.Errorf("v%d: table version %d", version, tableVersion)
		}
		// librdkafka 2.0 can not skip a tag: "Local: Read underflow".
		if unasked := s.fetched(version, "g", "a", 1); unasked.UnknownTags.Len() != 0 {
			t.Errorf("v%d: a tag that nobody asked for", version)
		}
		if got := s.fetched(version, "g", "a", 0); got.Offset != -1 || got.ErrorCode != 0 || got.Metadata == nil {
			t.Errorf("v%d, never committed: %+v", version, got)
		}
		if got := s.fetched(version, "nobody", "a", 1); got.Offset != -1 || got.ErrorCode != 0 {
			t.Errorf("v%d, an unknown group: %+v", version, got)
		}
		unknown := s.fetched(version, "g", "z", 0)
		if want := map[bool]int16{true: kerr.UnknownTopicID.Code}[version >= 10]; unknown.ErrorCode != want || unknown.Offset != -1 {
			t.Errorf("v%d, an unknown topic: %+v", version, unknown)
		}
	}
}

func TestOffsetCommitsThatAreRefused(t *testing.T) {
	s := newSite(t, nil)
	s.must("a")
	wantCode(t, "an unknown topic", s.commit(9, "g", "z", 0, 1, ""), kerr.UnknownTopicOrPartition)
	wantCode(t, "an unknown topic id", s.commit(10, "g", "z", 0, 1, ""), kerr.UnknownTopicID)
	wantCode(t, "an unknown partition", s.commit(9, "g", "a", 1, 1, ""), kerr.UnknownTopicOrPartition)
	wantCode(t, "a negative partition", s.commit(9, "g", "a", -1, 1, ""), kerr.UnknownTopicOrPartition)
	wantCode(t, "much metadata", s.commit(9, "g", "a", 0, 1, strings.Repeat("m", maxOffsetMetadata)), nil)
	wantCode(t, "too much metadata", s.commit(9, "g", "a", 0, 2, strings.Repeat("m", maxOffsetMetadata+1)), kerr.OffsetMetadataTooLarge)

	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.Generation, req.MemberID = "g", 5, "stranger"
	req.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: "a", Partitions: []kmsg.OffsetCommitRequestTopicPartition{{}}}}
	got := s.raw(req, 8).(*kmsg.OffsetCommitResponse).Topics[0].Partitions[0].ErrorCode
	if got == 0 {
		t.Error("a stranger's commit to a group without members is accepted")
	}
	if o := s.fetched(9, "g", "a", 0); o.Offset != 1 {
		t.Errorf("the offset is %d", o.Offset)
	}
}

func TestAllOffsetsOfSeveralGroups(t *testing.T) {
	s := newSite(t, nil)
	s.must("a", 2)
	s.must("b")
	for _, name := range []string{"g", "h"} {
		for _, c := range []struct {
			topic     string
			partition int32
		}{{"b", 0}, {"a", 1}, {"a", 0}} {
			wantCode(t, "commit", s.commit(9, name, c.topic, c.partition, 7, ""), nil)
		}
	}
	got := s.admin.FetchManyOffsets(t.Context(), "g", "h", "nobody")
	if got.Error() != nil {
		t.Fatal(got.Error())
	}
	for name, want := range map[string]int{"g": 3, "h": 3, "nobody": 0} {
		n := 0
		got[name].Fetched.Each(func(kadm.OffsetResponse) { n++ })
		if n != want {
			t.Errorf("%s: %d offsets, want %d", name, n, want)
		}
	}
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Group = "g"
	if topics := s.raw(req, 2).(*kmsg.OffsetFetchResponse).Topics; len(topics) != 2 || len(topics[0].Partitions) != 2 {
		t.Errorf("version 2, null topics: %+v", topics)
	}
	req.Topics = []kmsg.OffsetFetchRequestTopic{}
	if topics := s.raw(req, 2).(*kmsg.OffsetFetchResponse).Topics; len(topics) != 0 {
		t.Errorf("version 2, no topics: %+v", topics)
	}
}

func TestADeletedTopicTakesItsOffsetsAlong(t *testing.T) {
	s := newSite(t, nil)
	s.must("a")
	wantCode(t, "commit", s.commit(9, "g", "a", 0, 7, ""), nil)
	if _, err := s.admin.DeleteTopics(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	s.must("a")
	if got := s.fetched(9, "g", "a", 0); got.Offset != -1 {
		t.Errorf("the new topic inherits offset %d", got.Offset)
	}
}

func TestASimpleGroupIsListedAndDeleted(t *testing.T) {
	s := newSite(t, nil)
	ctx := t.Context()
	s.must("a", 2)
	wantCode(t, "commit", s.commit(9, "g", "a", 0, 7, ""), nil)
	wantCode(t, "commit", s.commit(9, "g", "a", 1, 7, ""), nil)
	listed, err := s.admin.ListGroups(ctx)
	if g := listed["g"]; err != nil || g.State != "Empty" || g.ProtocolType != "" || g.Coordinator != 1 {
		t.Errorf("%+v, %v", listed, err)
	}
	if listed, err = s.admin.ListGroups(ctx, "Stable"); err != nil || len(listed) != 0 {
		t.Errorf("stable groups: %+v, %v", listed, err)
	}

	forget := func(topic string, partitions ...int32) kadm.DeleteOffsetsResponses {
		t.Helper()
		set := kadm.TopicsSet{}
		set.Add(topic, partitions...)
		responses, err := s.admin.DeleteOffsets(ctx, "g", set)
		if err != nil {
			t.Fatal(err)
		}
		return responses
	}
	wantCode(t, "an offset", forget("a", 0)["a"][0], nil)
	wantCode(t, "an offset of no topic", forget("z", 0)["z"][0], kerr.UnknownTopicOrPartition)
	if a, b := s.fetched(9, "g", "a", 0).Offset, s.fetched(9, "g", "a", 1).Offset; a != -1 || b != 7 {
		t.Errorf("the offsets are %d and %d", a, b)
	}
	set := kadm.TopicsSet{}
	set.Add("a", 0)
	_, err = s.admin.DeleteOffsets(ctx, "nobody", set)
	wantCode(t, "an offset of no group", err, kerr.GroupIDNotFound)

	deleted, err := s.admin.DeleteGroups(ctx, "g", "nobody")
	wantCode(t, "a group", errors.Join(err, deleted["g"].Err), nil)
	wantCode(t, "no group", deleted["nobody"].Err, kerr.GroupIDNotFound)
	if got := s.fetched(9, "g", "a", 1).Offset; got != -1 {
		t.Errorf("an offset of the deleted group: %d", got)
	}
}

func TestTheLifeOfAConsumerGroup(t *testing.T) {
	s := newSite(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	s.must("a", 2)
	s.produce("a", 4)
	consumer := s.client(kgo.ConsumerGroup("g"), kgo.ConsumeTopics("a"), kgo.DisableAutoCommit(), kgo.ClientID("reader"))
	var records []*kgo.Record
	for len(records) < 4 {
		fetches := consumer.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		records = append(records, fetches.Records()...)
	}
	if err := consumer.CommitRecords(ctx, records...); err != nil {
		t.Fatal(err)
	}

	described, err := s.admin.DescribeGroups(ctx, "g", "nobody")
	if err != nil {
		t.Fatal(err)
	}
	g := described["g"]
	if g.State != "Stable" || g.ProtocolType != "consumer" || len(g.Members) != 1 || g.Members[0].ClientID != "reader" || g.Members[0].ClientHost != "/127.0.0.1" {
		t.Errorf("%+v", g)
	}
	if g := described["nobody"]; g.State != "Dead" && !errors.Is(g.Err, kerr.GroupIDNotFound) {
		t.Errorf("%+v", g)
	}
	lags, err := s.admin.Lag(ctx, "g")
	if err != nil || lags["g"].Lag.Total() != 0 {
		t.Errorf("%+v, %v", lags, err)
	}

	deleted, err := s.admin.DeleteGroups(ctx, "g")
	wantCode(t, "a group with members", errors.Join(err, deleted["g"].Err), kerr.NonEmptyGroup)
	set := kadm.TopicsSet{}
	set.Add("a", 0)
	forgotten, err := s.admin.DeleteOffsets(ctx, "g", set)
	wantCode(t, "an offset in use", errors.Join(err, forgotten["a"][0]), kerr.GroupSubscribedToTopic)

	consumer.LeaveGroup()
	left, err := s.admin.DescribeGroups(ctx, "g")
	if err != nil || left["g"].State != "Empty" {
		t.Errorf("%+v, %v", left["g"], err)
	}
	deleted, err = s.admin.DeleteGroups(ctx, "g")
	wantCode(t, "an empty group", errors.Join(err, deleted["g"].Err), nil)
}

// Every version that the table of APIs serves is sent once, empty or nearly so:
// the answer has to be one that a client of that version can read.
func TestEveryVersionOfTheAdminAPIsIsAnswered(t *testing.T) {
	s := newSite(t, nil)
	s.must("a")
	requests := map[int16]func() kmsg.Request{
		19: func() kmsg.Request {
			r := kmsg.NewPtrCreateTopicsRequest()
			r.ValidateOnly = true
			r.Topics = []kmsg.CreateTopicsRequestTopic{{Topic: "a", NumPartitions: 1, ReplicationFactor: 1}, {Topic: "v", NumPartitions: 1, ReplicationFactor: 1}}
			return r
		},
		20: func() kmsg.Request {
			r := kmsg.NewPtrDeleteTopicsRequest()
			r.TopicNames = []string{"z"}
			r.Topics = []kmsg.DeleteTopicsRequestTopic{{Topic: kadm.StringPtr("z")}}
			return r
		},
		21: func() kmsg.Request {
			r := kmsg.NewPtrDeleteRecordsRequest()
			r.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: "a", Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Offset: 0}}}}
			return r
		},
		32: func() kmsg.Request {
			r := kmsg.NewPtrDescribeConfigsRequest()
			r.IncludeSynonyms, r.IncludeDocumentation = true, true
			r.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: 2, ResourceName: "a"}, {ResourceType: 4, ResourceName: "1"}, {ResourceType: 2, ResourceName: "z"}}
			return r
		},
		33: func() kmsg.Request {
			r := kmsg.NewPtrAlterConfigsRequest()
			r.Resources = []kmsg.AlterConfigsRequestResource{{ResourceType: 2, ResourceName: "a"}}
			return r
		},
		35: func() kmsg.Request { return kmsg.NewPtrDescribeLogDirsRequest() },
		37: func() kmsg.Request {
			r := kmsg.NewPtrCreatePartitionsRequest()
			r.Topics = []kmsg.CreatePartitionsRequestTopic{{Topic: "a", Count: 1}}
			return r
		},
		42: func() kmsg.Request {
			r := kmsg.NewPtrDeleteGroupsRequest()
			r.Groups = []string{"nobody", "nobody"}
			return r
		},
		44: func() kmsg.Request {
			r := kmsg.NewPtrIncrementalAlterConfigsRequest()
			r.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{ResourceType: 2, ResourceName: "a"}}
			return r
		},
		47: func() kmsg.Request {
			r := kmsg.NewPtrOffsetDeleteRequest()
			r.Group = "nobody"
			return r
		},
		15: func() kmsg.Request {
			r := kmsg.NewPtrDescribeGroupsRequest()
			r.Groups, r.IncludeAuthorizedOperations = []string{"nobody"}, true
			return r
		},
	}
	for _, row := range table() {
		if row.key < 8 || row.key == 18 || row.key == 22 || row.key == 23 {
			continue // the data APIs have tests of their own
		}
		for version := row.min; version <= row.max; version++ {
			req := row.key.Request()
			if make, ok := requests[int16(row.key)]; ok {
				req = make()
			}
			s.raw(req, version)
		}
	}
}
