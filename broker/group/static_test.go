package group

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// statics are two static members in one stable generation; a leads.
func (w *world) statics() (a, b *consumer) {
	w.Helper()
	a, b = w.static("one"), w.static("two")
	w.stable(a)
	joining := later(b.join)
	w.all((*consumer).joinOnce, a)
	w.equal("b", <-joining, nil)
	w.all((*consumer).sync, a, b)
	w.state(Stable)
	return a, b
}

func TestAStaticMemberThatRestartsKeepsItsAssignment(t *testing.T) { // KIP-345
	inWorld(t, Config{}, func(w *world) {
		a, b := w.statics()
		again := w.static("two")
		again.client.Host = "/10.0.0.2"
		w.equal("join", again.join(), nil)
		w.equal("a new id", again.id != b.id && strings.HasPrefix(again.id, "two-"), true)
		w.equal("generation", again.gen, a.gen)
		w.equal("leader", again.joined.LeaderID, a.id)
		w.equal("skip", again.joined.SkipAssignment, false)
		w.equal("sync", again.sync(), nil)
		w.equal("assignment", again.assignment, "for "+b.id)
		w.state(Stable)
		w.equal("the others notice nothing", a.heartbeat(), nil)
		w.equal("host", w.m().Describe(5, "g").Members[1].ClientHost, "/10.0.0.2")

		kept := w.ledger.record("g").Members
		w.equal("the new id is kept", kept[1].ID, again.id)
		w.equal("with its assignment", string(kept[1].Assignment), "for "+b.id)
	})
}

func TestTheFormerHolderOfAnInstanceIDIsFenced(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		_, b := w.statics()
		again := w.static("two")
		w.equal("join", again.join(), nil)
		w.equal("heartbeat", b.heartbeat(), error(kerr.FencedInstanceID))
		w.equal("sync", b.sync(), error(kerr.FencedInstanceID))
		w.equal("join", b.joinOnce(), error(kerr.FencedInstanceID))
		w.equal("commit", b.commit(), error(kerr.FencedInstanceID))
		w.equal("leave", b.leave(), error(kerr.FencedInstanceID))
		w.equal("the new one", again.heartbeat(), nil)
	})
}

func TestWhatTheFormerHolderWaitsForIsFenced(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		a, b := w.statics()
		a.protocols = protocols("range", "another")
		rejoin := later(a.joinOnce)
		again := w.static("one")
		again.protocols = a.protocols
		joining := later(again.join)
		w.equal("the join of before", <-rejoin, error(kerr.FencedInstanceID))
		w.equal("b", b.joinOnce(), nil)
		w.equal("the new one", <-joining, nil)

		syncing := later(b.sync)
		other := w.static("two")
		joining = later(other.join) // in CompletingRebalance: a new generation
		w.equal("the sync of before", <-syncing, error(kerr.FencedInstanceID))
		w.equal("rejoin", again.joinOnce(), nil)
		w.equal("the new one", <-joining, nil)
		w.all((*consumer).sync, again, other)
		w.state(Stable)
	})
}

func TestAStaticLeaderThatRestartsIsToldToSkipItsAssignment(t *testing.T) { // KIP-814
	inWorld(t, Config{}, func(w *world) {
		a, b := w.statics()
		again := w.static("one")
		w.equal("join", again.join(), nil)
		w.equal("leads", again.leads(), true)
		w.equal("skip", again.joined.SkipAssignment, true)
		w.equal("members", len(again.joined.Members), 2)
		w.equal("sync", again.sync(), nil)
		w.equal("assignment", again.assignment, "for "+a.id)
		w.equal("b", b.heartbeat(), nil)
	})
}

func TestAnOldStaticLeaderThatRestartsIsTakenForAFollower(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		a, _ := w.statics()
		again := w.static("one")
		again.version = 8
		w.equal("join", again.join(), nil)
		w.equal("leader", again.joined.LeaderID, a.id)
		w.equal("members", len(again.joined.Members), 0)
		w.equal("sync", again.sync(), nil)
		w.equal("assignment", again.assignment, "for "+a.id)

		// It is the leader all the same: its next join is a rebalance.
		later(again.joinOnce)
		w.state(PreparingRebalance)
	})
}

func TestAStaticMemberThatChangesTheVoteCausesARebalance(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		a := w.static("one")
		a.protocols = protocols("range", "t", "sticky", "t")
		w.stable(a)
		again := w.static("one")
		again.protocols = protocols("sticky", "t", "range", "t")
		w.equal("join", again.join(), nil)
		w.equal("generation", again.gen, a.gen+1)
		w.equal("protocol", *again.joined.Protocol, "sticky")
	})
}

func TestATakeOverThatIsNotKeptIsTakenBack(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		_, b := w.statics()
		w.ledger.fail(kerr.NotLeaderForPartition)
		again := w.static("two")
		w.equal("join", again.join(), error(kerr.NotCoordinator))
		w.ledger.fail(nil)
		w.equal("the former id", b.heartbeat(), nil)
		w.state(Stable)
		again = w.static("two")
		w.equal("a later try", again.join(), nil)
		w.equal("fences it", b.heartbeat(), error(kerr.FencedInstanceID))
	})
}

func TestARebalanceDuringATakeOverAnswersIt(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		w.ledger.slow(time.Second)
		a, _ := w.statics()
		again := w.static("two")
		joining := later(again.join)
		a.protocols = protocols("range", "another")
		w.equal("a", a.joinOnce(), nil)
		w.equal("the new one", <-joining, nil)
		w.equal("one generation", again.gen, a.gen)
		time.Sleep(5 * time.Second) // the take-over's record comes too late to matter
		w.state(CompletingRebalance)
		w.all((*consumer).sync, a, again)
		w.equal("assignment", again.assignment, "for "+again.id)
	})
}

func TestAStaticMemberThatIsAwayStaysForOneMoreGeneration(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		a, b := w.static("one"), w.static("two")
		a.rebalance, b.rebalance = 8*time.Second, 8*time.Second
		b.session = 30 * time.Second
		w.stable(a)
		joining := later(b.join)
		w.all((*consumer).joinOnce, a)
		<-joining
		w.all((*consumer).sync, a, b)

		// b is away: the next generation has it all the same, if late.
		start := time.Now()
		w.equal("a", a.joinOnce(), nil)
		w.equal("waited", time.Since(start), b.rebalance)
		w.equal("members", len(a.joined.Members), 2)
		w.equal("sync", a.sync(), nil)
		w.state(Stable)
		// But b does not sync, and is removed then.
		w.stay(7*time.Second, a)
		w.state(Stable)
		time.Sleep(time.Second)
		w.state(PreparingRebalance)
		w.equal("a", a.joinOnce(), nil)
		w.equal("members", len(a.joined.Members), 1)
	})
}

func TestAnAdministratorRemovesStaticMembersByInstanceID(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		a, b := w.statics()
		var members []kmsg.LeaveGroupRequestMember
		for _, l := range [][2]string{{"", "one"}, {"", "nobody"}, {"wrong", "two"}, {b.id, "two"}, {"", ""}} {
			m := kmsg.NewLeaveGroupRequestMember()
			m.MemberID, m.InstanceID = l[0], &l[1]
			members = append(members, m)
		}
		errs := w.leave(members...)
		w.equal("one", errs[0], nil)
		w.equal("nobody", errs[1], error(kerr.UnknownMemberID))
		w.equal("wrong", errs[2], error(kerr.FencedInstanceID))
		w.equal("two", errs[3], nil)
		w.equal("neither", errs[4], error(kerr.UnknownMemberID))
		w.state(Empty)
		w.equal("a", a.heartbeat(), error(kerr.UnknownMemberID))
	})
}

func TestAPendingIDCannotBecomeStatic(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		c := w.consumer("c")
		c.joinOnce()
		c.instance = kmsg.StringPtr("i")
		w.equal("join", c.joinOnce(), error(kerr.UnknownMemberID))
	})
}

// away is two static members, one leading, whose sessions outlast their rebalance
// timeout; neither is heard of any more.
func (w *world) away() (a, b *consumer) {
	w.Helper()
	a, b = w.static("one"), w.static("two")
	for _, c := range []*consumer{a, b} {
		c.session, c.rebalance = 30*time.Second, 8*time.Second
	}
	w.stable(a)
	joining := later(b.join)
	w.all((*consumer).joinOnce, a)
	<-joining
	w.all((*consumer).sync, a, b)
	return a, b
}

func TestAStaticLeaderThatIsAwayIsReplacedAndStaysAMember(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		_, b := w.away()
		b.protocols = protocols("range", "another")
		w.equal("b", b.joinOnce(), nil)
		w.equal("b leads", b.leads(), true)
		w.equal("members", len(b.joined.Members), 2)
	})
}

func TestARebalanceGoesOnWhenOneOfTheAbsentIsBack(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		_, b := w.away()
		c := w.consumer("c")
		joining := later(c.join)
		w.equal("c leaves", c.leave(), nil)
		<-joining
		time.Sleep(12 * time.Second) // the timeout passes with nobody there
		w.state(PreparingRebalance)
		w.equal("generation", b.gen, int32(2))
		w.equal("b", b.joinOnce(), nil)
		w.equal("generation", b.gen, int32(3))
		w.equal("b leads", b.leads(), true)
	})
}

func TestARebalanceEndsWhenTheAbsentHaveExpired(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		w.away()
		c := w.consumer("c")
		joining := later(c.join)
		c.leave()
		<-joining
		time.Sleep(29 * time.Second)
		w.state(PreparingRebalance)
		time.Sleep(2 * time.Second)
		w.state(Empty)
	})
}
