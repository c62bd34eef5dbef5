package broker

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// metadataOf asks for topics in one version; nil means a null array.
func (w *world) metadata(version int16, allow bool, topics ...kmsg.MetadataRequestTopic) *kmsg.MetadataResponse {
	w.t.Helper()
	p := w.peer()
	defer p.hangUp()
	req := kmsg.NewPtrMetadataRequest()
	req.Version, req.AllowAutoTopicCreation, req.Topics = version, allow, topics
	resp := req.ResponseKind().(*kmsg.MetadataResponse)
	w.ask(p, req, resp)
	return resp
}

func named(names ...string) []kmsg.MetadataRequestTopic {
	topics := []kmsg.MetadataRequestTopic{}
	for _, name := range names {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = &name
		topics = append(topics, t)
	}
	return topics
}

// outline is names and error codes of a response, in order.
func outline(resp *kmsg.MetadataResponse) string {
	text := ""
	for _, t := range resp.Topics {
		name := "null"
		if t.Topic != nil {
			name = *t.Topic
		}
		text += fmt.Sprintf("%s:%d/%d ", name, t.ErrorCode, len(t.Partitions))
	}
	return text
}

func TestMetadataInEveryVersion(t *testing.T) {
	inWorld(t, func(w *world) { w.config.NumPartitions = 3 }, func(w *world) {
		if got := outline(w.metadata(4, true, named("b", "a", "b")...)); got != "b:0/3 a:0/3 " {
			t.Fatalf("made on demand: %s", got)
		}
		for version := int16(0); version <= 13; version++ {
			all := w.metadata(version, false)
			if got := outline(all); got != "a:0/3 b:0/3 " {
				t.Errorf("version %d, all: %s", version, got)
			}
			if len(all.Brokers) != 1 || all.Brokers[0].Host != "localhost" || all.Brokers[0].Port != 9092 || all.Brokers[0].NodeID != 1 {
				t.Errorf("version %d: %+v", version, all.Brokers)
			}
			p := all.Topics[0].Partitions[2]
			if p.Partition != 2 || p.Leader != 1 || len(p.Replicas) != 1 || len(p.ISR) != 1 {
				t.Errorf("version %d: %+v", version, p)
			}
			if version >= 2 && *all.ClusterID != w.config.ClusterID {
				t.Errorf("version %d: cluster %s", version, *all.ClusterID)
			}
			if version >= 1 {
				if all.ControllerID != 1 {
					t.Errorf("version %d: controller %d", version, all.ControllerID)
				}
				if got := outline(w.metadata(version, true, named()...)); got != "" {
					t.Errorf("version %d, none: %s", version, got)
				}
			}
			if got := outline(w.metadata(version, true, named("b", "no good", "..")...)); got != "b:0/3 no good:17/0 ..:17/0 " {
				t.Errorf("version %d, illegal names: %s", version, got)
			}
			if version >= 4 {
				if got := outline(w.metadata(version, false, named("missing", "__consumer_offsets")...)); got != "missing:3/0 __consumer_offsets:3/0 " {
					t.Errorf("version %d, missing: %s", version, got)
				}
			}
		}
	})
}

func TestTopicsAreFoundByID(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		id := w.metadata(12, true, named("a")...).Topics[0].TopicID
		byID := func(id [16]byte) kmsg.MetadataRequestTopic {
			t := kmsg.NewMetadataRequestTopic()
			t.TopicID = id
			return t
		}
		for version := int16(12); version <= 13; version++ {
			resp := w.metadata(version, false, byID(id), byID([16]byte{1}))
			if got := outline(resp); got != "a:0/1 null:100/0 " || resp.Topics[1].TopicID != [16]byte{1} {
				t.Errorf("version %d: %s", version, got)
			}
		}
		for version := int16(10); version <= 11; version++ {
			if got := w.metadata(version, false, byID(id)).Topics[0].ErrorCode; got != kerr.InvalidRequest.Code {
				t.Errorf("version %d: %d", version, got)
			}
		}
	})
}

func TestTopicsAreNotMadeWhereThatIsForbidden(t *testing.T) {
	inWorld(t, func(w *world) { w.config.AutoCreateTopics = false }, func(w *world) {
		for version := int16(0); version <= 13; version++ {
			if got := outline(w.metadata(version, true, named("t")...)); got != "t:3/0 " {
				t.Errorf("version %d: %s", version, got)
			}
		}
	})
}

func TestTopicsOnDemandAreNoMoreThanThereMayBe(t *testing.T) {
	inWorld(t, func(w *world) {
		w.config.NumPartitions = 2
		w.config.Broker = map[string]string{keyMaxPartitions: "5"}
	}, func(w *world) {
		if got := outline(w.metadata(4, true, named("a", "b", "c", "d")...)); got != "a:0/2 b:0/2 c:3/0 d:3/0 " {
			t.Errorf("room for two: %s", got)
		}
		if got := outline(w.metadata(4, true, named("a", "c")...)); got != "a:0/2 c:3/0 " {
			t.Errorf("no room: %s", got)
		}
	})
}

func TestMetadataTellTheEpochsOfNamedTopicsWithoutLeadingThem(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.metadata(4, true, named("t", "never")...)
		epoch := func(name string) int32 {
			w.t.Helper()
			return w.metadata(13, false, named(name)...).Topics[0].Partitions[0].LeaderEpoch
		}
		if _, err := w.topics.Topic(w.t.Context(), "t"); err != nil {
			w.t.Fatal(err)
		}
		if e := epoch("t"); e != 1 {
			w.t.Error("of an open topic:", e)
		}
		w.stop()
		w.start()
		for range 2 {
			if told, never := epoch("t"), epoch("never"); told != 1 || never != 0 {
				w.t.Error("of topics that are not open:", told, never)
			}
		}
		if topic, open := w.topics.OpenTopic("t"); open {
			w.t.Error("it is open, at version", topic.Version())
		}
		if _, err := w.topics.Topic(w.t.Context(), "t"); err != nil {
			w.t.Fatal(err)
		}
		if e := epoch("t"); e != 2 {
			w.t.Error("of one that is open again:", e)
		}
	})
}
