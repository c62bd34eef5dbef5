package group

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestSimpleConsumersCommitToGroupsWithoutMembers(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		simple := Commit{Group: "g", Generation: -1, Version: 8}
		w.equal("an unknown group", w.m().CheckCommit(simple), nil)
		i, known := w.m().Info("g")
		w.equal("it is known now", known, true)
		w.equal("as empty", i.State, Empty)
		w.equal("without a type", i.ProtocolType, "")
		_, empty := i.EmptySince()
		w.equal("that was never in use", empty, false)

		a := w.consumer("a")
		w.stable(a)
		w.equal("with members", w.m().CheckCommit(simple), error(kerr.UnknownMemberID))
		a.leave()
		w.equal("empty again", w.m().CheckCommit(simple), nil)
		w.equal("no name is a name, too", w.m().CheckCommit(Commit{Generation: -1}), nil)
	})
}

func TestCommitsOfMembersAreChecked(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		a := w.consumer("a")
		w.stable(a)
		of := func(c Commit) error { c.Group = "g"; return w.m().CheckCommit(c) }
		w.equal("a member", a.commit(), nil)
		w.equal("an old generation", of(Commit{MemberID: a.id, Generation: 0}), error(kerr.IllegalGeneration))
		w.equal("without its generation", of(Commit{MemberID: a.id, Generation: -1}), error(kerr.IllegalGeneration))
		w.equal("a stranger", of(Commit{MemberID: "x", Generation: a.gen}), error(kerr.UnknownMemberID))
		w.equal("an instance", of(Commit{MemberID: a.id, InstanceID: kmsg.StringPtr("x"), Generation: a.gen}), error(kerr.UnknownMemberID))

		unknown := Commit{Group: "x", MemberID: "m", Generation: 1, Version: 8}
		w.equal("an unknown group", w.m().CheckCommit(unknown), error(kerr.IllegalGeneration))
		unknown.Version = 9
		w.equal("since version 9", w.m().CheckCommit(unknown), error(kerr.GroupIDNotFound))
		unknown.Transactional = true
		w.equal("in a transaction", w.m().CheckCommit(unknown), error(kerr.IllegalGeneration))
	})
}

func TestMembersMayCommitWhileTheyPrepareButNotWhileTheyComplete(t *testing.T) { // KIP-429
	inWorld(t, Config{}, func(w *world) {
		a, b := w.pair()
		rejoin := later(a.joinOnce)
		w.state(PreparingRebalance)
		w.equal("preparing", b.commit(), nil)
		w.all((*consumer).joinOnce, b)
		<-rejoin
		w.state(CompletingRebalance)
		w.equal("completing", b.commit(), error(kerr.RebalanceInProgress))
		w.equal("in a transaction", w.m().CheckCommit(Commit{
			Group: "g", MemberID: b.id, Generation: b.gen, Transactional: true,
		}), nil)
		w.all((*consumer).sync, a, b)
		w.equal("stable", b.commit(), nil)
	})
}

func TestTransactionsOfOldProducersNeedNoMember(t *testing.T) { // before KIP-447
	inWorld(t, Config{}, func(w *world) {
		old := Commit{Group: "g", Generation: -1, Transactional: true}
		w.equal("unknown group", w.m().CheckCommit(old), nil)
		a := w.consumer("a")
		w.stable(a)
		w.equal("with members", w.m().CheckCommit(old), nil)
		w.equal("a zombie", w.m().CheckCommit(Commit{Group: "g", MemberID: "x", Generation: 1, Transactional: true}), error(kerr.UnknownMemberID))
	})
}

func TestOffsetsOfSubscribedTopicsAreNotDeleted(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		topics := []string{"topic", "other"}
		_, err := w.m().CheckOffsetDelete("g", topics)
		w.equal("unknown", err, error(kerr.GroupIDNotFound))
		a := w.consumer("a")
		w.stable(a)
		subscribed, err := w.m().CheckOffsetDelete("g", topics)
		w.equal("stable", err, nil)
		w.equal("subscribed", subscribed["topic"], true)
		w.equal("not subscribed", subscribed["other"], false)
		a.leave()
		subscribed, _ = w.m().CheckOffsetDelete("g", topics)
		w.equal("empty", len(subscribed), 0)
	})
}

func TestConsumersThatCannotBeUnderstoodMayUseAnyTopic(t *testing.T) {
	for _, metadata := range []string{"", "\x00", "\xff\xff\x00\x00\x00\x00", "\x00\x01\x7f\xff\xff\xff", "garbage"} {
		inWorld(t, Config{}, func(w *world) {
			a := w.consumer("a")
			a.protocols[0].Metadata = []byte(metadata)
			w.stable(a)
			subscribed, err := w.m().CheckOffsetDelete("g", []string{"other"})
			w.equal("error", err, nil)
			w.equal("subscribed", subscribed["other"], true)
		})
	}
}

func TestASubscriptionOfALaterVersionIsUnderstood(t *testing.T) {
	topics, ok := subscription([]byte("\x00\x63" + "\x00\x00\x00\x01" + "\x00\x01t" + "\xff\xff\xff\xff" + "news"))
	if !ok || len(topics) != 1 || topics[0] != "t" {
		t.Errorf("got %q, %v", topics, ok)
	}
}

func TestOffsetsOfOtherGroupsThanConsumersNeedAnEmptyGroup(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		a := w.consumer("a")
		a.kind = "connect"
		w.stable(a)
		_, err := w.m().CheckOffsetDelete("g", []string{"t"})
		w.equal("error", err, error(kerr.NonEmptyGroup))
		a.leave()
		_, err = w.m().CheckOffsetDelete("g", []string{"t"})
		w.equal("empty", err, nil)
	})
}

func TestOffsetsExpireWhenNobodyUsesThem(t *testing.T) { // KIP-211
	early, late := time.Unix(1000, 0), time.Unix(2000, 0)
	for _, c := range []struct {
		name      string
		info      Info
		committed time.Time
		since     time.Time
		unused    bool
	}{
		{"a simple group", Info{State: Empty}, early, early, true},
		{"an empty group", Info{State: Empty, ProtocolType: "consumer", Since: late}, early, late, true},
		{"reset while it is empty", Info{State: Empty, ProtocolType: "consumer", Since: early}, late, late, true},
		{"a topic in use", Info{State: Stable, ProtocolType: "consumer", subscribedKnown: true, subscribed: map[string]bool{"t": true}}, early, time.Time{}, false},
		{"a topic given up", Info{State: Stable, ProtocolType: "consumer", subscribedKnown: true}, early, early, true},
		{"a subscription unknown", Info{State: Stable, ProtocolType: "consumer"}, early, time.Time{}, false},
		{"a rebalance", Info{State: PreparingRebalance, ProtocolType: "consumer", subscribedKnown: true}, early, time.Time{}, false},
		{"another type", Info{State: Stable, ProtocolType: "connect"}, early, time.Time{}, false},
	} {
		since, unused := c.info.OffsetUnusedSince("t", c.committed)
		if unused != c.unused || !since.Equal(c.since) {
			t.Errorf("%s: got %v, %v", c.name, since, unused)
		}
	}
}
