package broker

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// wide makes a topic of so many partitions.
func (w *world) wide(name string, partitions int32) {
	w.t.Helper()
	if _, err := w.topics.Create(w.ctx(), name, partitions, nil, false); err != nil {
		w.t.Fatal(err)
	}
}

// mute is a client that asks and reads nothing.
func (w *world) mute(req kmsg.Request) net.Conn {
	w.t.Helper()
	nc, err := w.pipes.Load().dial()
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { nc.Close() })
	if _, err := nc.Write(frameOf(1, req)); err != nil {
		w.t.Fatal(err)
	}
	return nc
}

// takes reads n bytes of an answer, if they come.
func takes(nc net.Conn, n int) bool {
	_, err := io.ReadFull(nc, make([]byte, n))
	return err == nil
}

func allMetadata() *kmsg.MetadataRequest {
	req := kmsg.NewPtrMetadataRequest()
	req.Version = 9
	return req
}

func TestLargeAnswersTakeNoMoreThanThereIsAndThoseThatNobodyReadsAreCutOff(t *testing.T) {
	inWorld(t, func(w *world) { w.config.AnswerMemory = 2 << 20 }, func(w *world) {
		w.wide("wide", 5000) // 1.3 MiB to make, 150 kB to send
		var crowd []net.Conn
		for range 60 {
			crowd = append(crowd, w.mute(allMetadata()))
		}
		used := func() int64 { synctest.Wait(); return w.broker.answerMemory.used.Load() }
		if n := used(); n == 0 || n > 2<<20 {
			t.Errorf("%d bytes are held for answers", n)
		}
		// One who reads is served behind them, soon: they have a second each.
		start := time.Now()
		resp := kmsg.NewPtrMetadataResponse()
		resp.Version = 9
		w.ask(w.peer(), allMetadata(), resp)
		if took := time.Since(start); took > 15*time.Second || len(resp.Topics) == 0 {
			t.Errorf("%d topics after %s", len(resp.Topics), took)
		}
		time.Sleep(time.Minute)
		cut := 0
		for _, m := range crowd {
			if !takes(m, 100_000) {
				cut++
			}
		}
		if cut < 40 || used() > 2<<20 {
			t.Errorf("%d were cut off, %d bytes are held", cut, used())
		}
	})
}

func TestAnAnswerIsWaitedForWhileThereIsMemory(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.wide("wide", 5000)
		m := w.mute(allMetadata())
		time.Sleep(20 * time.Second) // within WriteTimeout
		if !takes(m, 100_000) {
			t.Error("it was cut off")
		}
	})
}

func TestASmallAnswerWaitsForNoMemory(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		all, err := w.broker.answerMemory.acquire(w.ctx(), "test", w.broker.config.AnswerMemory)
		if err != nil {
			t.Fatal(err)
		}
		defer all.release()
		w.wide("small", 3)
		resp := kmsg.NewPtrMetadataResponse()
		resp.Version = 9
		start := time.Now()
		w.ask(w.peer(), allMetadata(), resp)
		if took := time.Since(start); took > time.Millisecond {
			t.Errorf("answered after %s", took)
		}
	})
}

// Thousands may wait, and what each holds of its answer meanwhile is in no budget.
func TestWhoWaitsForTheMemoryOfAnAnswerHasNoneOfItYet(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		for i := range 400 {
			w.wide(fmt.Sprint("t-", i), 3)
		}
		dirs := kmsg.NewPtrDescribeLogDirsRequest()
		dirs.Version = 4
		fetch := kmsg.NewPtrOffsetFetchRequest()
		fetch.Version, fetch.Group = 7, "g"
		topic := kmsg.NewOffsetFetchRequestTopic()
		topic.Topic, topic.Partitions = "t-0", slices.Repeat([]int32{1}, 400)
		fetch.Topics = append(fetch.Topics, topic)
		commit := kmsg.NewPtrOffsetCommitRequest()
		commit.Version, commit.Group = 8, "g"
		offset := kmsg.NewOffsetCommitRequestTopicPartition()
		offset.Partition, offset.Metadata = 1, kmsg.StringPtr(strings.Repeat("m", 4000))
		commit.Topics = append(commit.Topics, kmsg.OffsetCommitRequestTopic{Topic: "t-0", Partitions: []kmsg.OffsetCommitRequestTopicPartition{offset}})
		committed := kmsg.NewPtrOffsetCommitResponse()
		committed.Version = 8
		w.ask(w.peer(), commit, committed)
		for _, req := range []kmsg.Request{allMetadata(), dirs, kmsg.NewPtrDescribeTopicPartitionsRequest(), fetch} {
			const crowd = 50
			var peers []*peer
			for range crowd {
				peers = append(peers, w.peer())
			}
			all, err := w.broker.answerMemory.acquire(w.ctx(), "test", w.broker.config.AnswerMemory)
			if err != nil {
				t.Fatal(err)
			}
			before := inUse()
			for _, p := range peers {
				p.send(1, req)
			}
			after := inUse()
			if waiting := w.broker.answerMemory.waiting.Load(); waiting != crowd {
				t.Errorf("%s: %d wait for memory", kmsg.NameForKey(req.Key()), waiting)
			}
			if each := (after - before) / crowd; each > 8<<10 {
				t.Errorf("%s: each of them holds %d bytes", kmsg.NameForKey(req.Key()), each)
			}
			for _, p := range peers {
				p.hangUp()
			}
			all.release()
			synctest.Wait()
		}
	})
}

// inUse is how many bytes of memory are in use once everything waits.
func inUse() int64 {
	synctest.Wait()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// What a handler expects its answer to take must not be less than what it takes to send.
func TestAnswersAreNotLargerThanExpected(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.wide("wide", 2000)
		for i := range 50 {
			w.wide(fmt.Sprintf("%s-%d", strings.Repeat("n", 200), i), 1)
		}
		configs := kmsg.NewPtrDescribeConfigsRequest()
		configs.Version, configs.IncludeSynonyms, configs.IncludeDocumentation = 4, true, true
		for _, kind := range []kmsg.ConfigResourceType{kmsg.ConfigResourceTypeTopic, kmsg.ConfigResourceTypeBroker} {
			resource := kmsg.NewDescribeConfigsRequestResource()
			resource.ResourceType, resource.ResourceName = kind, map[kmsg.ConfigResourceType]string{kmsg.ConfigResourceTypeTopic: "wide", kmsg.ConfigResourceTypeBroker: "1"}[kind]
			configs.Resources = append(configs.Resources, resource)
		}
		dirs := kmsg.NewPtrDescribeLogDirsRequest()
		dirs.Version = 4
		pages := kmsg.NewPtrDescribeTopicPartitionsRequest()
		pages.ResponsePartitionLimit = 2000
		creation := kmsg.NewPtrCreateTopicsRequest()
		creation.Version, creation.ValidateOnly = 7, true
		for i := range 20 {
			topic := kmsg.NewCreateTopicsRequestTopic()
			topic.Topic, topic.NumPartitions, topic.ReplicationFactor = fmt.Sprint("new-", i), 1, 1
			creation.Topics = append(creation.Topics, topic)
		}
		for _, req := range []kmsg.Request{allMetadata(), configs, dirs, pages, creation} {
			a := w.broker.byKey[req.Key()]
			r := &request{api: a, version: req.GetVersion(), body: req, listener: w.broker.listeners[0], received: time.Now()}
			resp, err := a.handle(w.broker, w.ctx(), r)
			if err != nil {
				t.Fatal(err)
			}
			_, size, err := encode(nil, r, resp)
			if err != nil || int64(size) > r.answer.bytes || r.answer.bytes > 100*int64(size) {
				t.Errorf("%s takes %d bytes, %d were expected; %v", a.key.Name(), size, r.answer.bytes, err)
			}
			r.answer.release()
		}
	})
}

// Metadata that members and committers have left is counted before it is copied.
func TestBytesOfOthersAreCountedBeforeTheyAreEncoded(t *testing.T) {
	join := kmsg.NewPtrJoinGroupResponse()
	member := kmsg.NewJoinGroupResponseMember()
	member.ProtocolMetadata = make([]byte, 1<<20)
	join.Members = append(join.Members, member, member)
	fetched := kmsg.NewPtrOffsetFetchResponse()
	group, topic, partition := kmsg.NewOffsetFetchResponseGroup(), kmsg.NewOffsetFetchResponseGroupTopic(), kmsg.NewOffsetFetchResponseGroupTopicPartition()
	partition.Metadata = kmsg.StringPtr(strings.Repeat("m", 4000))
	for range 1000 {
		topic.Partitions = append(topic.Partitions, partition)
	}
	group.Topics = append(group.Topics, topic)
	fetched.Groups = append(fetched.Groups, group)
	fetched.Version = 8
	for _, resp := range []kmsg.Response{join, fetched} {
		if n, size := bulk(resp), len(resp.AppendTo(nil)); n < size || n > 2*size {
			t.Errorf("%T is taken for %d bytes and has %d", resp, n, size)
		}
	}
}

func TestAGroupThatIsNamedTwiceIsDescribedOnce(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		req := kmsg.NewPtrDescribeGroupsRequest()
		req.Version = 5
		req.Groups = []string{"a", "b", "a", "a"}
		resp := kmsg.NewPtrDescribeGroupsResponse()
		resp.Version = 5
		w.ask(w.peer(), req, resp)
		if len(resp.Groups) != 2 || resp.Groups[0].Group != "a" || resp.Groups[1].Group != "b" {
			t.Errorf("%+v", resp.Groups)
		}
	})
}

func TestLargeAnswersTakeTurnsAndSmallOnesDoNot(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.wide("wide", 5000)
		for range cap(w.broker.turns) { // all are taken
			w.broker.turns <- struct{}{}
		}
		large, told := w.peer(), func(p *peer) bool { synctest.Wait(); return len(p.in) > 0 }
		large.send(1, allMetadata())
		small := kmsg.NewPtrMetadataRequest()
		small.Version = 9
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = kmsg.StringPtr("none")
		small.Topics = append(small.Topics, topic)
		resp := kmsg.NewPtrMetadataResponse()
		resp.Version = 9
		w.ask(w.peer(), small, resp)
		if told(large) {
			t.Error("a large answer did not wait for its turn")
		}
		for range cap(w.broker.turns) {
			<-w.broker.turns
		}
		if !told(large) {
			t.Error("it is not answered in its turn")
		}
	})
}
