package group

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

func TestARestartInAStableGroupIsNoticedByNobody(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		a, b := w.pair()
		w.stay(5*time.Second, a, b)
		w.restart()
		w.state(Stable)
		w.stay(30*time.Second, a, b)
		w.equal("commit", b.commit(), nil)
		w.equal("sync", b.sync(), nil)
		w.equal("assignment", b.assignment, "for "+b.id)
		w.equal("follower rejoins", b.joinOnce(), nil)
		w.equal("generation", b.gen, a.gen)
		subscribed, err := w.m().CheckOffsetDelete("g", []string{"topic", "other"})
		w.equal("offset delete", err, nil)
		w.equal("subscribed", len(subscribed), 1)
	})
}

func TestAfterARestartSilentMembersExpireAfterAWholeSession(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		a := w.consumer("a")
		w.stable(a)
		time.Sleep(a.session - time.Second)
		w.restart()
		time.Sleep(a.session - time.Millisecond)
		w.state(Stable)
		time.Sleep(time.Second)
		w.state(Empty)
		w.equal("kept", len(w.ledger.record("g").Members), 0)
	})
}

func TestARestartWhilePreparingReturnsToTheLastGeneration(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		a, b := w.pair()
		rejoin := later(a.joinOnce)
		w.state(PreparingRebalance)
		w.restart()
		w.equal("the waiting join", <-rejoin, error(kerr.NotCoordinator))
		w.state(Stable)
		w.equal("b is fine", b.heartbeat(), nil)
		rejoin = later(a.joinOnce) // as clients do with NOT_COORDINATOR
		w.state(PreparingRebalance)
		w.all((*consumer).joinOnce, b)
		w.equal("a", <-rejoin, nil)
		w.all((*consumer).sync, a, b)
	})
}

func TestARestartWhileCompletingReturnsToTheLastGeneration(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		a, b := w.pair()
		rejoin := later(a.joinOnce)
		w.all((*consumer).joinOnce, b)
		<-rejoin
		syncing := later(b.sync)
		w.state(CompletingRebalance)
		w.restart()
		w.equal("the waiting sync", <-syncing, error(kerr.NotCoordinator))
		w.state(Stable)
		// The generation was not kept: to its members the rebalance goes on.
		w.equal("heartbeat", b.heartbeat(), error(kerr.RebalanceInProgress))
		w.equal("sync", b.sync(), error(kerr.RebalanceInProgress))
		w.equal("commit", b.commit(), error(kerr.RebalanceInProgress))
		// Known by their ids, they join again.
		rejoin = later(a.joinOnce)
		w.all((*consumer).joinOnce, b)
		w.equal("a", <-rejoin, nil)
		w.all((*consumer).sync, a, b)
		w.state(Stable)
		b.gen++
		w.equal("a generation that nobody was ever given", b.heartbeat(), error(kerr.IllegalGeneration))
	})
}

func TestAMemberThatJoinedBeforeARestartAndWasNotKeptJoinsAsNew(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		a, b := w.pair()
		c := w.consumer("c")
		joined := later(c.join)
		w.state(PreparingRebalance)
		w.all((*consumer).joinOnce, a, b)
		w.equal("c", <-joined, nil)
		w.restart() // before anybody synced
		w.equal("sync", c.sync(), error(kerr.RebalanceInProgress))
		w.equal("its id", c.joinOnce(), error(kerr.UnknownMemberID))
		c.id = ""
		joined = later(c.join)
		w.state(PreparingRebalance)
		w.all((*consumer).joinOnce, a, b)
		w.equal("c", <-joined, nil)
		w.all((*consumer).sync, a, b, c)
		w.state(Stable)
	})
}

func TestARestartInTheInitialRebalanceStartsOver(t *testing.T) {
	inWorld(t, Config{InitialRebalanceDelay: 3 * time.Second}, func(w *world) {
		a := w.consumer("a")
		joining := later(a.join)
		w.state(PreparingRebalance)
		w.restart()
		w.equal("join", <-joining, error(kerr.NotCoordinator))
		w.equal("its id", a.joinOnce(), error(kerr.UnknownMemberID))
		a.id = ""
		w.stable(a)
	})
}

func TestARestartOfAnEmptyGroupKeepsWhenItBecameEmpty(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		a := w.consumer("a")
		w.stable(a)
		left := time.Now()
		a.leave()
		time.Sleep(time.Hour)
		w.restart()
		w.state(Empty)
		i, _ := w.m().Info("g")
		since, empty := i.EmptySince()
		w.equal("empty", empty, true)
		w.equal("since", since.Equal(left), true)
		w.equal("type", i.ProtocolType, "consumer")
		b := w.consumer("b")
		w.stable(b)
		w.equal("generations go on", b.gen, a.gen+2)
	})
}

func TestARestartAfterATakeOverKnowsTheNewID(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		_, b := w.statics()
		again := w.static("two")
		w.equal("join", again.join(), nil)
		w.restart()
		w.equal("the new id", again.heartbeat(), nil)
		w.equal("the former", b.heartbeat(), error(kerr.FencedInstanceID))
		w.equal("sync", again.sync(), nil)
		w.equal("assignment", again.assignment, "for "+b.id)
		third := w.static("two")
		w.equal("and it can restart again", third.join(), nil)
		w.state(Stable)
	})
}

func TestAGroupThatIsOverALoweredSizeRebalances(t *testing.T) { // KIP-389
	inWorld(t, Config{}, func(w *world) {
		a, b := w.pair()
		w.config.MaxSize = 1
		w.restart()
		w.state(PreparingRebalance)
		w.equal("commit before that", b.commit(), nil)
		rejoin := later(a.joinOnce)
		w.equal("the last to rejoin", b.joinOnce(), error(kerr.GroupMaxSizeReached))
		w.equal("a", <-rejoin, nil)
		w.equal("sync", a.sync(), nil)
		w.state(Stable)
	})
}

func TestOfSeveralRecordsTheLastCounts(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		w.m().Load([]Record{
			{Group: "g", Generation: 1, ProtocolType: "consumer", Since: time.Now()},
			{Group: "h", Generation: 1, ProtocolType: "consumer"},
			{Group: "g", Generation: 2, ProtocolType: "consumer", Since: time.Now()},
			{Group: "h", Deleted: true},
		})
		w.equal("groups", len(w.m().Infos()), 1)
		i, _ := w.m().Info("g")
		w.equal("generation", i.Generation, int32(2))
	})
}

func TestARecordThatMakesNoSenseIsLoadedAsFarAsItDoes(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		w.m().Load([]Record{{
			Group: "g", Generation: 7, ProtocolType: "consumer", Protocol: "range", Leader: "nobody",
			Members: []RecordMember{{ID: "a"}, {ID: "a"}, {ID: ""}, {ID: "b", InstanceID: "i"}, {ID: "c", InstanceID: "i"}},
		}})
		i, _ := w.m().Info("g")
		w.equal("members", i.Members, 2)
		a := w.consumer("a")
		a.id, a.gen = "a", 7
		w.equal("heartbeat", a.heartbeat(), nil)
		time.Sleep(time.Hour)
		w.state(Empty)
	})
}

func TestAStaticMemberWhoseNewIDWasNotKeptYetIsNotFenced(t *testing.T) {
	for _, request := range []func(*consumer) error{(*consumer).heartbeat, (*consumer).sync, (*consumer).commit} {
		inWorld(t, Config{}, func(w *world) {
			a, b := w.statics()
			rejoin := later(a.joinOnce)
			again := w.static("two")
			w.equal("the new id", again.join(), nil)
			w.equal("a", <-rejoin, nil)
			w.restart() // before anybody synced
			w.equal("the new id", request(again), error(kerr.RebalanceInProgress))
			w.equal("joining with it", again.joinOnce(), error(kerr.UnknownMemberID))
			w.equal("the former id, which the record has", b.heartbeat(), nil)
			w.equal("now it is known to be alive", again.joinOnce(), error(kerr.FencedInstanceID))
			w.equal("and is replaced as ever", w.static("two").join(), nil)
			w.equal("by which it is fenced", b.heartbeat(), error(kerr.FencedInstanceID))
		})
	}
}

func TestTheFormerHolderStaysFencedAfterARestart(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		_, b := w.statics()
		again := w.static("two")
		w.equal("join", again.join(), nil)
		w.restart()
		w.equal("the former", b.heartbeat(), error(kerr.FencedInstanceID))
		w.equal("the new one", again.heartbeat(), nil)
	})
}
