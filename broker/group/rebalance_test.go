package group

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// pair is two dynamic members in one stable generation; a leads.
func (w *world) pair() (a, b *consumer) {
	w.Helper()
	a, b = w.consumer("a"), w.consumer("b")
	w.stable(a)
	joining := later(b.join)
	w.all((*consumer).joinOnce, a)
	w.equal("b", <-joining, nil)
	w.all((*consumer).sync, a, b)
	w.state(Stable)
	w.equal("a leads", a.leads(), true)
	return a, b
}

func TestALeaderThatRejoinsCausesARebalance(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		a, b := w.pair()
		rejoin := later(a.joinOnce)
		w.state(PreparingRebalance)
		w.equal("b's heartbeat", b.heartbeat(), error(kerr.RebalanceInProgress))
		w.equal("b", b.joinOnce(), nil)
		w.equal("a", <-rejoin, nil)
		w.equal("generation", a.gen, int32(3))
	})
}

func TestAFollowerThatRejoinsAsItWasGetsTheGeneration(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		a, b := w.pair()
		w.equal("b", b.joinOnce(), nil)
		w.equal("generation", b.gen, a.gen)
		w.equal("sync", b.sync(), nil)
		w.equal("assignment", b.assignment, "for "+b.id)
		w.state(Stable)
	})
}

func TestAFollowerThatChangesItsSubscriptionCausesARebalance(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		a, b := w.pair()
		b.protocols = protocols("range", "another topic")
		rejoin := later(b.joinOnce)
		w.state(PreparingRebalance)
		w.equal("a", a.joinOnce(), nil)
		w.equal("b", <-rejoin, nil)
		w.equal("generation", b.gen, int32(3))
	})
}

func TestALostJoinAnswerIsToldAgain(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		a := w.consumer("a")
		w.equal("join", a.join(), nil)
		w.state(CompletingRebalance)
		w.equal("again", a.joinOnce(), nil)
		w.equal("generation", a.gen, int32(1))
		w.equal("members told to the leader", len(a.joined.Members), 1)

		// With another subscription, it is a new generation.
		a.protocols = protocols("range", "another")
		w.equal("changed", a.joinOnce(), nil)
		w.equal("generation", a.gen, int32(2))
	})
}

func TestARebalanceWhileOthersSyncSendsThemBack(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		a, b := w.pair()
		rejoin := later(a.joinOnce)
		w.all((*consumer).joinOnce, b)
		<-rejoin
		syncing := later(b.sync) // a has not assigned yet
		w.state(CompletingRebalance)
		c := w.consumer("c")
		joining := later(c.join)
		w.equal("b's sync", <-syncing, error(kerr.RebalanceInProgress))
		w.equal("a's sync", a.sync(), error(kerr.RebalanceInProgress))
		rejoin = later(a.joinOnce)
		w.all((*consumer).joinOnce, b)
		w.equal("c", <-joining, nil)
		<-rejoin
		w.all((*consumer).sync, a, b, c)
		w.state(Stable)
	})
}

func TestWhoDoesNotRejoinInTimeIsRemoved(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		a, b := w.pair()
		a.rebalance = 20 * time.Second // b's is a minute: the slowest counts
		start := time.Now()
		var waited time.Duration
		rejoin := later(func() error {
			defer func() { waited = time.Since(start) }()
			return a.joinOnce()
		})
		for b.heartbeat() == error(kerr.RebalanceInProgress) { // and never rejoins
			time.Sleep(time.Second)
		}
		w.equal("a", <-rejoin, nil)
		w.equal("waited", waited, b.rebalance)
		w.equal("members", len(a.joined.Members), 1)
		w.equal("b", b.heartbeat(), error(kerr.UnknownMemberID))
	})
}

func TestALeaderThatDoesNotRejoinIsReplaced(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		a, b := w.pair()
		b.protocols = protocols("range", "another")
		w.equal("b", b.joinOnce(), nil) // a's session ends meanwhile
		w.equal("b leads", b.leads(), true)
		w.equal("members", len(b.joined.Members), 1)
		w.equal("a", a.heartbeat(), error(kerr.UnknownMemberID))
	})
}

func TestASilentMemberOfAStableGroupIsRemovedAfterItsSession(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		a, b := w.pair()
		time.Sleep(a.session / 2)
		w.equal("b", b.heartbeat(), nil)
		time.Sleep(a.session/2 - time.Millisecond)
		w.state(Stable)
		time.Sleep(2 * time.Millisecond)
		w.state(PreparingRebalance)
		w.equal("a", a.heartbeat(), error(kerr.UnknownMemberID))
		w.equal("b", b.joinOnce(), nil)
		w.equal("b leads", b.leads(), true)
	})
}

func TestHeartbeatsSyncsAndCommitsKeepAMemberAlive(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		a := w.consumer("a")
		w.stable(a)
		for range 3 {
			time.Sleep(9 * time.Second)
			w.equal("heartbeat", a.heartbeat(), nil)
			time.Sleep(9 * time.Second)
			w.equal("commit", a.commit(), nil)
			time.Sleep(9 * time.Second)
			w.equal("sync", a.sync(), nil)
		}
		time.Sleep(10*time.Second + 100*time.Millisecond)
		w.state(Empty)
	})
}

func TestAMemberThatDoesNotSyncInTimeIsRemoved(t *testing.T) { // KAFKA-9935
	inWorld(t, Config{}, func(w *world) {
		a, b := w.pair()
		rejoin := later(a.joinOnce)
		w.all((*consumer).joinOnce, b)
		<-rejoin
		w.equal("a syncs", a.sync(), nil)
		w.state(Stable)
		w.stay(50*time.Second, a, b) // b heartbeats and does not sync
		time.Sleep(5 * time.Second)
		a.heartbeat()
		b.heartbeat()
		time.Sleep(5 * time.Second)
		w.state(PreparingRebalance)
		w.equal("b", b.heartbeat(), error(kerr.UnknownMemberID))
		w.equal("a", a.heartbeat(), error(kerr.RebalanceInProgress))
	})
}

func TestALeaderThatDiesWhileItAssignsIsReplaced(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		a, b := w.pair()
		rejoin := later(a.joinOnce)
		w.all((*consumer).joinOnce, b)
		<-rejoin
		start := time.Now()
		w.equal("b's sync", b.sync(), error(kerr.RebalanceInProgress))
		w.equal("after a's session", time.Since(start), a.session)
		w.equal("b", b.joinOnce(), nil)
		w.equal("b leads", b.leads(), true)
		w.equal("b syncs", b.sync(), nil)
		w.state(Stable)
	})
}

func TestAMemberWithoutAnAssignmentGetsAnEmptyOne(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		a, b := w.pair()
		rejoin := later(a.joinOnce)
		w.all((*consumer).joinOnce, b)
		<-rejoin
		a.joined.Members = a.joined.Members[:1] // the leader forgets b
		w.all((*consumer).sync, a, b)           // and null bytes are caught there
		w.equal("a", a.assignment, "for "+a.id)
		w.equal("b", b.assignment, "")
	})
}

func TestSyncsThatDoNotMatchTheGroupAreRefused(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		a := w.consumer("a")
		w.stable(a)
		for _, c := range []struct {
			name   string
			change func(*kmsg.SyncGroupRequest)
			want   *kerr.Error
		}{
			{"no group", func(r *kmsg.SyncGroupRequest) { r.Group = "" }, kerr.InvalidGroupID},
			{"unknown group", func(r *kmsg.SyncGroupRequest) { r.Group = "x" }, kerr.UnknownMemberID},
			{"unknown member", func(r *kmsg.SyncGroupRequest) { r.MemberID = "x" }, kerr.UnknownMemberID},
			{"unknown instance", func(r *kmsg.SyncGroupRequest) { r.InstanceID = kmsg.StringPtr("x") }, kerr.UnknownMemberID},
			{"old generation", func(r *kmsg.SyncGroupRequest) { r.Generation = 0 }, kerr.IllegalGeneration},
			{"another type", func(r *kmsg.SyncGroupRequest) { r.ProtocolType = kmsg.StringPtr("x") }, kerr.InconsistentGroupProtocol},
			{"another protocol", func(r *kmsg.SyncGroupRequest) { r.Protocol = kmsg.StringPtr("x") }, kerr.InconsistentGroupProtocol},
			{"no protocol", func(r *kmsg.SyncGroupRequest) { r.Protocol = nil }, kerr.InconsistentGroupProtocol},
			{"no protocol, as it was before v5", func(r *kmsg.SyncGroupRequest) { r.Protocol = nil; r.Version = 4 }, nil},
		} {
			req := kmsg.NewPtrSyncGroupRequest()
			req.SetVersion(5)
			req.Group, req.MemberID, req.Generation = "g", a.id, a.gen
			req.ProtocolType, req.Protocol = kmsg.StringPtr("consumer"), kmsg.StringPtr("range")
			c.change(req)
			var want int16
			if c.want != nil {
				want = c.want.Code
			}
			w.equal(c.name, w.m().Sync(context.Background(), req).ErrorCode, want)
		}
		rejoin := later(w.consumer("b").join)
		w.equal("while it rebalances", a.sync(), error(kerr.RebalanceInProgress))
		w.equal("heartbeat of an old generation", (&consumer{w: w, id: a.id, gen: 0}).heartbeat(), error(kerr.IllegalGeneration))
		a.leave()
		<-rejoin
	})
}

func TestARetriedSyncReplacesTheLostOne(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		a, b := w.pair()
		rejoin := later(a.joinOnce)
		w.all((*consumer).joinOnce, b)
		<-rejoin
		lost := *b
		ctx, hangUp := context.WithCancel(context.Background())
		first := later(func() error { return lost.syncWithin(ctx) })
		second := later(b.sync)
		w.equal("the lost one", <-first, error(kerr.RebalanceInProgress))
		hangUp()
		w.equal("a", a.sync(), nil)
		w.equal("the retry", <-second, nil)
		w.equal("assignment", b.assignment, "for "+b.id)
	})
}

func TestTheLastToLeaveLeavesAnEmptyGroup(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		a, b := w.pair()
		w.equal("a leaves", a.leave(), nil)
		w.state(PreparingRebalance)
		w.equal("b rejoins", b.joinOnce(), nil)
		w.equal("b leads", b.leads(), true)
		left := time.Now()
		w.equal("b leaves", b.leave(), nil)
		w.state(Empty)
		w.equal("it is kept when that is answered", w.ledger.record("g").Generation, b.gen+1)
		w.equal("members kept", len(w.ledger.record("g").Members), 0)
		i, _ := w.m().Info("g")
		since, empty := i.EmptySince()
		w.equal("empty", empty, true)
		w.equal("since", since.Equal(left), true)
		w.equal("b is gone", b.leave(), error(kerr.UnknownMemberID))

		// A new member founds the next generation.
		c := w.consumer("c")
		w.stable(c)
		w.equal("generation", c.gen, b.gen+2)
	})
}

func TestLeavingEndsAJoinPhaseThatOnlyWaitedForTheLeaver(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		a, b := w.pair()
		rejoin := later(a.joinOnce)
		w.equal("b leaves", b.leave(), nil)
		w.equal("a", <-rejoin, nil)
		w.equal("members", len(a.joined.Members), 1)

		// The same for an id that was only given out.
		c := w.consumer("c")
		c.joinOnce()
		w.equal("a syncs", a.sync(), nil)
		rejoin = later(a.joinOnce)
		w.state(PreparingRebalance)
		w.equal("c leaves", c.leave(), nil)
		w.equal("a", <-rejoin, nil)
	})
}

func TestAMemberThatLeavesWhileItWaitsIsAnswered(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		a, b := w.pair()
		rejoin := later(a.joinOnce)
		w.equal("a leaves", a.leave(), nil)
		w.equal("its join", <-rejoin, error(kerr.UnknownMemberID))
		w.equal("b", b.joinOnce(), nil)
	})
}

func TestOldLeavesNameOneMember(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		a := w.consumer("a")
		w.stable(a)
		req := kmsg.NewPtrLeaveGroupRequest()
		req.Version, req.Group, req.MemberID = 1, "g", "nobody"
		w.equal("unknown", w.m().Leave(context.Background(), req).ErrorCode, kerr.UnknownMemberID.Code)
		req.MemberID = a.id
		w.equal("known", w.m().Leave(context.Background(), req).ErrorCode, int16(0))
		w.state(Empty)
		req.Group = ""
		w.equal("no group", w.m().Leave(context.Background(), req).ErrorCode, kerr.InvalidGroupID.Code)
	})
}
