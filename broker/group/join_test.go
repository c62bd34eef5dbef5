package group

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestAMemberWithoutAnIDIsGivenOneAndJoinsWithIt(t *testing.T) { // KIP-394
	inWorld(t, Config{}, func(w *world) {
		c := w.consumer("app")
		w.equal("first join", c.joinOnce(), error(kerr.MemberIDRequired))
		w.equal("id begins with the client's", strings.HasPrefix(c.id, "app-"), true)
		w.state(Empty)
		w.equal("second join", c.joinOnce(), nil)
		w.equal("generation", c.gen, int32(1))
		w.equal("leader", c.joined.LeaderID, c.id)
		w.equal("members", len(c.joined.Members), 1)
		w.state(CompletingRebalance)
		w.equal("sync", c.sync(), nil)
		w.equal("assignment", c.assignment, "for "+c.id)
		w.state(Stable)
	})
}

func TestAnOldClientJoinsAtOnce(t *testing.T) {
	for _, version := range []int16{0, 1, 3} {
		inWorld(t, Config{}, func(w *world) {
			c := w.consumer("old")
			c.version = version
			w.equal("join", c.joinOnce(), nil)
			w.equal("generation", c.gen, int32(1))
		})
	}
}

func TestAnIDThatIsNotUsedExpiresWithItsSession(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		c := w.consumer("app")
		c.joinOnce()
		time.Sleep(c.session - time.Millisecond)
		w.state(Empty)
		time.Sleep(2 * time.Millisecond)
		w.equal("join", c.joinOnce(), error(kerr.UnknownMemberID))
		if _, known := w.m().Info("g"); known {
			t.Error("a group that nobody ever joined is still known")
		}
	})
}

func TestARebalanceWaitsForAnIDThatWasGivenOut(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		a, b := w.consumer("a"), w.consumer("b")
		w.stable(a)
		w.equal("b asks", b.joinOnce(), error(kerr.MemberIDRequired))
		rejoin := later(a.joinOnce) // as leader
		w.state(PreparingRebalance)
		w.all((*consumer).joinOnce, b)
		w.equal("a", <-rejoin, nil)
		w.equal("generation", a.gen, b.gen)

		// And no longer than its session.
		c := w.consumer("c")
		c.joinOnce()
		start := time.Now()
		w.all((*consumer).sync, a, b)
		rejoins := later(a.joinOnce)
		w.equal("b follows", b.heartbeat(), error(kerr.RebalanceInProgress))
		w.all((*consumer).joinOnce, b)
		<-rejoins
		if waited := time.Since(start); waited != c.session {
			t.Errorf("the rebalance took %v, want the pending session of %v", waited, c.session)
		}
	})
}

func TestTheInitialDelayGathersMembersAndIsExtendedByThem(t *testing.T) {
	inWorld(t, Config{InitialRebalanceDelay: 3 * time.Second}, func(w *world) {
		start := time.Now()
		a, b, c := w.consumer("a"), w.consumer("b"), w.consumer("c")
		ra := later(a.join)
		time.Sleep(2 * time.Second)
		rb := later(b.join) // extends the delay to 6 s
		time.Sleep(3 * time.Second)
		rc := later(c.join) // to 9 s
		for _, r := range []<-chan error{ra, rb, rc} {
			w.equal("join", <-r, nil)
		}
		w.equal("waited", time.Since(start), 9*time.Second)
		w.equal("one generation", c.gen, int32(1))
		w.equal("members told to the leader", len(a.joined.Members), 3)
		w.equal("members told to a follower", len(b.joined.Members), 0)
	})
}

func TestTheInitialDelayIsBoundedByTheRebalanceTimeout(t *testing.T) {
	inWorld(t, Config{InitialRebalanceDelay: 3 * time.Second}, func(w *world) {
		start := time.Now()
		a := w.consumer("a")
		a.rebalance = 7 * time.Second
		result := later(a.join)
		for range 10 {
			time.Sleep(time.Second)
			c := w.consumer("more")
			c.rebalance = a.rebalance
			go c.join()
		}
		w.equal("join", <-result, nil)
		if waited := time.Since(start); waited > 10*time.Second {
			t.Errorf("waited %v", waited)
		}
	})
}

func TestTwoGroupsDoNotDisturbEachOther(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		w.stable(w.consumer("a"))
		req := kmsg.NewPtrJoinGroupRequest()
		req.SetVersion(3)
		req.Group, req.ProtocolType, req.Protocols = "other", "connect", protocols("v1", "x")
		req.SessionTimeoutMillis = 10000
		w.equal("join", w.m().Join(context.Background(), Client{}, req).ErrorCode, int16(0))
		w.state(Stable)
	})
}

func TestJoinsThatNoGroupTakesAreRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*kmsg.JoinGroupRequest)
		want   *kerr.Error
	}{
		{"no group", func(r *kmsg.JoinGroupRequest) { r.Group = "" }, kerr.InvalidGroupID},
		{"a group that is not text", func(r *kmsg.JoinGroupRequest) { r.Group = "\xff" }, kerr.InvalidGroupID},
		{"a short session", func(r *kmsg.JoinGroupRequest) { r.SessionTimeoutMillis = 5999 }, kerr.InvalidSessionTimeout},
		{"a long session", func(r *kmsg.JoinGroupRequest) { r.SessionTimeoutMillis = 1800001 }, kerr.InvalidSessionTimeout},
		{"a negative session", func(r *kmsg.JoinGroupRequest) { r.SessionTimeoutMillis = -1 }, kerr.InvalidSessionTimeout},
		{"no protocol type", func(r *kmsg.JoinGroupRequest) { r.ProtocolType = "" }, kerr.InconsistentGroupProtocol},
		{"no protocols", func(r *kmsg.JoinGroupRequest) { r.Protocols = nil }, kerr.InconsistentGroupProtocol},
		{"an id of an unknown group", func(r *kmsg.JoinGroupRequest) { r.MemberID = "x" }, kerr.UnknownMemberID},
		{"too much metadata", func(r *kmsg.JoinGroupRequest) { r.Protocols[0].Metadata = make([]byte, 9<<20) }, kerr.GroupMaxSizeReached},
		{"an endless instance id", func(r *kmsg.JoinGroupRequest) {
			r.InstanceID = kmsg.StringPtr(strings.Repeat("x", 1<<16))
		}, kerr.InvalidRequest},
	} {
		inWorld(t, Config{}, func(w *world) {
			req := kmsg.NewPtrJoinGroupRequest()
			req.SetVersion(9)
			req.Group, req.ProtocolType, req.Protocols = "g", "consumer", protocols("range", "t")
			req.SessionTimeoutMillis = 10000
			c.change(req)
			resp := w.m().Join(context.Background(), Client{ID: "c"}, req)
			w.equal(c.name, kerr.ErrorForCode(resp.ErrorCode), error(c.want))
			w.equal("generation", resp.Generation, int32(-1))
			if groups := w.m().List(nil, nil); len(groups) != 0 {
				t.Errorf("%s: it left a group behind", c.name)
			}
		})
	}
}

func TestAMemberWhoseProtocolsNobodySharesIsRefused(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		w.stable(w.consumer("a"))
		b := w.consumer("b")
		b.protocols = protocols("roundrobin", "topic")
		w.equal("another protocol", b.join(), error(kerr.InconsistentGroupProtocol))
		c := w.consumer("c")
		c.kind = "connect"
		w.equal("another protocol type", c.join(), error(kerr.InconsistentGroupProtocol))
		w.state(Stable)
	})
}

func TestTheProtocolWithMostVotesThatAllKnowWins(t *testing.T) {
	inWorld(t, Config{InitialRebalanceDelay: time.Second}, func(w *world) {
		a, b, c := w.consumer("a"), w.consumer("b"), w.consumer("c")
		a.protocols = protocols("range", "t", "sticky", "t", "own", "t")
		b.protocols = protocols("sticky", "t", "range", "t")
		c.protocols = protocols("sticky", "t", "range", "t")
		w.all((*consumer).join, a, b, c)
		w.equal("protocol", *c.joined.Protocol, "sticky")
	})
}

func TestAGroupTakesNoMoreThanItsSize(t *testing.T) { // KIP-389
	inWorld(t, Config{MaxSize: 2}, func(w *world) {
		a, b := w.consumer("a"), w.consumer("b")
		w.stable(a)
		rejoin := later(b.join)
		w.stable(a) // the leader's own join lets b in
		w.equal("b", <-rejoin, nil)
		w.all((*consumer).sync, a, b)
		w.equal("c", w.consumer("c").join(), error(kerr.GroupMaxSizeReached))
		w.state(Stable)
		w.stay(20*time.Second, a, b)
	})
}

func TestIDsGivenOutAreBoundedToo(t *testing.T) {
	inWorld(t, Config{MaxSize: 2}, func(w *world) {
		w.equal("1", w.consumer("x").joinOnce(), error(kerr.MemberIDRequired))
		w.equal("2", w.consumer("x").joinOnce(), error(kerr.MemberIDRequired))
		w.equal("3", w.consumer("x").joinOnce(), error(kerr.GroupMaxSizeReached))
	})
}

func TestGroupsAreBounded(t *testing.T) {
	inWorld(t, Config{MaxGroups: 1}, func(w *world) {
		w.stable(w.consumer("a"))
		err := w.m().CheckCommit(Commit{Group: "another", Generation: -1})
		w.equal("a second group", err, error(kerr.PolicyViolation))
		w.m().Adopt("another") // it has offsets: it is there already
		w.equal("a known one", w.m().CheckCommit(Commit{Group: "another", Generation: -1}), nil)
	})
}

func TestAllGroupsTogetherAreBounded(t *testing.T) {
	inWorld(t, Config{MaxTotalBytes: 2 * overhead}, func(w *world) {
		a := w.consumer("a")
		w.stable(a)
		w.equal("another", w.consumer("b").join(), error(kerr.PolicyViolation))
		w.stay(20*time.Second, a)
		w.equal("one that is there", a.joinOnce(), nil)
		w.equal("sync", a.sync(), nil)
		w.equal("leave", a.leave(), nil)
		w.equal("all is given back", w.m().bytes.Load(), int64(0))
		w.stable(w.consumer("b"))
	})
}

func TestAMemberWhoseConnectionIsGoneIsKeptUntilItsTimeout(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		a, b := w.consumer("a"), w.consumer("b")
		w.stable(a)
		b.joinOnce()
		ctx, hangUp := context.WithCancel(context.Background())
		result := later(func() error { return b.joinWithin(ctx) })
		hangUp()
		w.equal("b", <-result, error(kerr.RebalanceInProgress))
		w.all((*consumer).joinOnce, a)
		w.equal("members, with b", len(a.joined.Members), 2)

		// b comes back with the same metadata and gets the generation.
		w.equal("b again", b.joinOnce(), nil)
		w.all((*consumer).sync, a, b)
		w.equal("b's assignment", b.assignment, "for "+b.id)
	})
}

func TestAnAbandonedNewMemberLeavesARebalanceAfterFiveMinutes(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		a, b := w.static("a"), w.consumer("b")
		a.rebalance, a.session = 20*time.Minute, 25*time.Minute
		w.stable(a)
		start := time.Now()
		err := b.join() // a does not rejoin
		w.equal("b", err, error(kerr.UnknownMemberID))
		w.equal("b waited", time.Since(start), newMemberJoinTimeout)
	})
}

func TestARetriedJoinReplacesTheLostOne(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		a, b := w.consumer("a"), w.consumer("b")
		w.stable(a)
		b.joinOnce()
		lost, again := *b, b
		first := later(lost.joinOnce)
		second := later(again.joinOnce)
		w.equal("the lost one is answered", <-first, error(kerr.RebalanceInProgress))
		w.all((*consumer).joinOnce, a)
		w.equal("the retry", <-second, nil)
		w.equal("b joined once", len(a.joined.Members), 2)
	})
}

func TestMembersJoiningAtTheSameTimeShareAGeneration(t *testing.T) {
	inWorld(t, Config{InitialRebalanceDelay: 100 * time.Millisecond}, func(w *world) {
		var cs []*consumer
		for range 50 {
			cs = append(cs, w.consumer("c"))
		}
		results := make(chan error, len(cs))
		for _, c := range cs {
			go func() { results <- c.join() }()
		}
		for range cs {
			w.equal("join", <-results, nil)
		}
		leaders := 0
		for _, c := range cs {
			w.equal("generation", c.gen, int32(1))
			if c.leads() {
				leaders++
			}
		}
		w.equal("leaders", leaders, 1)
		w.all((*consumer).sync, cs...)
		w.state(Stable)
	})
}

func TestCloseAnswersEveryWaiter(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		a, b := w.consumer("a"), w.consumer("b")
		w.stable(a)
		b.joinOnce()
		joining := later(b.joinOnce)
		w.m().Close()
		w.equal("join", <-joining, error(kerr.NotCoordinator))
		w.equal("heartbeat", a.heartbeat(), error(kerr.NotCoordinator))
		w.equal("sync", a.sync(), error(kerr.NotCoordinator))
		w.equal("commit", a.commit(), error(kerr.NotCoordinator))
		w.equal("leave", a.leave(), error(kerr.NotCoordinator))
		w.equal("a new one", w.consumer("c").join(), error(kerr.NotCoordinator))
		w.equal("delete", w.m().Delete(context.Background(), "g")[0], error(kerr.NotCoordinator))
		synctest.Wait()
	})
}
