package group

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

func TestNoMemberLearnsItsAssignmentBeforeItIsKept(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		w.ledger.slow(300 * time.Millisecond)
		a := w.consumer("a")
		w.equal("join", a.join(), nil)
		start := time.Now()
		w.equal("sync", a.sync(), nil)
		w.equal("waited", time.Since(start), 300*time.Millisecond)
		r := w.ledger.record("g")
		w.equal("generation", r.Generation, a.gen)
		w.equal("protocol", r.ProtocolType+"/"+r.Protocol, "consumer/range")
		w.equal("leader", r.Leader, a.id)
		m := r.Members[0]
		w.equal("member", m.ID, a.id)
		w.equal("client", m.ClientID+m.ClientHost, "a/127.0.0.1")
		w.equal("timeouts", m.SessionTimeout+m.RebalanceTimeout, a.session+a.rebalance)
		w.equal("metadata", string(m.Metadata), string(a.protocols[0].Metadata))
		w.equal("assignment", string(m.Assignment), a.assignment)
	})
}

func TestMembersJoinAgainIfTheirAssignmentIsNotKept(t *testing.T) {
	for _, c := range []struct {
		err  error
		told *kerr.Error
	}{
		{kerr.NotLeaderForPartition, kerr.NotCoordinator},
		{fmt.Errorf("offsets: %w", kerr.KafkaStorageError), kerr.NotCoordinator},
		{kerr.RequestTimedOut, kerr.CoordinatorNotAvailable},
		{kerr.MessageTooLarge, kerr.UnknownServerError},
		{kerr.InvalidGroupID, kerr.InvalidGroupID},
		{errors.New("the store is away"), kerr.CoordinatorNotAvailable},
	} {
		inWorld(t, Config{}, func(w *world) {
			a, b := w.pair()
			rejoin := later(a.joinOnce)
			w.all((*consumer).joinOnce, b)
			<-rejoin
			w.ledger.fail(c.err)
			syncing := later(b.sync)
			w.equal("leader", a.sync(), error(c.told))
			w.equal("follower", <-syncing, error(c.told))
			w.state(PreparingRebalance)
			w.equal("heartbeat", a.heartbeat(), error(kerr.RebalanceInProgress))

			w.ledger.fail(nil)
			rejoin = later(a.joinOnce)
			w.all((*consumer).joinOnce, b)
			<-rejoin
			w.all((*consumer).sync, a, b)
			w.state(Stable)
		})
	}
}

func TestAKeepThatTakesTooLongSendsMembersToJoinAgain(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		w.ledger.slow(25 * time.Second)
		a := w.consumer("a")
		a.join()
		start := time.Now()
		w.equal("sync", a.sync(), error(kerr.CoordinatorNotAvailable))
		w.equal("waited", time.Since(start), defaultKeepTimeout)
		w.equal("rejoin", a.joinOnce(), nil)
		w.equal("sync", a.sync(), error(kerr.CoordinatorNotAvailable)) // behind the first
		w.ledger.slow(time.Millisecond)
		w.equal("rejoin", a.joinOnce(), nil)
		w.equal("sync", a.sync(), nil)
		w.equal("kept", w.ledger.record("g").Generation, a.gen)
		// The second one was never handed over: the third said more.
		w.equal("records", len(w.ledger.all), 2)
	})
}

func TestALeaderThatSyncsTwiceIsKeptOnce(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		a := w.consumer("a")
		a.join()
		lost := *a
		ctx, hangUp := context.WithCancel(context.Background())
		defer hangUp()
		first := later(func() error { return lost.syncWithin(ctx) })
		w.equal("retry", a.sync(), nil)
		w.equal("the lost one", <-first, error(kerr.RebalanceInProgress))
		w.equal("records", len(w.ledger.all), 1)
	})
}

func TestAKeptGenerationThatWasOvertakenIsNotToldToAnyone(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		w.ledger.slow(time.Second)
		a, b := w.consumer("a"), w.consumer("b")
		a.join()
		syncing := later(a.sync)
		joining := later(b.join) // a rebalance while it is being kept
		w.equal("sync", <-syncing, error(kerr.RebalanceInProgress))
		time.Sleep(2 * time.Second)
		w.state(PreparingRebalance)
		w.equal("kept", w.ledger.record("g").Generation, int32(1))
		w.all((*consumer).joinOnce, a)
		w.equal("b", <-joining, nil)
		w.all((*consumer).sync, a, b)
		w.equal("kept", w.ledger.record("g").Generation, int32(2))
	})
}

func TestAnAssignmentThatIsTooLargeIsRefused(t *testing.T) {
	inWorld(t, Config{MaxBytes: 40}, func(w *world) {
		a := w.consumer("a")
		a.join()
		w.equal("sync", a.sync(), error(kerr.UnknownServerError))
		w.state(PreparingRebalance)
		w.equal("records", len(w.ledger.all), 0)
	})
}

func TestLeavingDoesNotWaitForAStoreThatIsAway(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		a := w.consumer("a")
		w.stable(a)
		w.ledger.slow(time.Hour)
		start := time.Now()
		w.equal("leave", a.leave(), nil)
		w.equal("waited", time.Since(start), defaultKeepTimeout)
		w.state(Empty)
	})
}

func TestWithoutAKeepGroupsLiveInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t}
		w.manager.Store(New(Config{Log: slog.New(slog.DiscardHandler)}))
		defer w.m().Close()
		a := w.consumer("a")
		w.stable(a)
		w.equal("leave", a.leave(), nil)
		w.equal("delete", w.m().Delete(context.Background(), "g")[0], nil)
	})
}

func TestAnEmptyGroupIsDeletedOnceThatIsKept(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		ctx := context.Background()
		a := w.consumer("a")
		w.stable(a)
		errs := w.m().Delete(ctx, "g", "unknown")
		w.equal("with members", errs[0], error(kerr.NonEmptyGroup))
		w.equal("unknown", errs[1], error(kerr.GroupIDNotFound))
		a.leave()

		w.ledger.fail(errors.New("away"))
		w.equal("not kept", w.m().Delete(ctx, "g")[0], error(kerr.CoordinatorNotAvailable))
		w.state(Empty)
		w.ledger.fail(nil)

		deleting := later(func() error { return w.m().Delete(ctx, "g")[0] })
		w.state(Dead)
		w.equal("join meanwhile", w.consumer("b").join(), error(kerr.CoordinatorNotAvailable))
		w.equal("commit meanwhile", w.m().CheckCommit(Commit{Group: "g", Generation: -1}), error(kerr.CoordinatorNotAvailable))
		w.equal("delete meanwhile", w.m().Delete(ctx, "g")[0], error(kerr.GroupIDNotFound))
		w.equal("delete", <-deleting, nil)
		w.equal("kept", w.ledger.record("g").Deleted, true)
		_, known := w.m().Info("g")
		w.equal("known", known, false)
		w.restart()
		_, known = w.m().Info("g")
		w.equal("known after a restart", known, false)

		c := w.consumer("c")
		w.stable(c)
		w.equal("its successor begins anew", c.gen, int32(1))
	})
}

func TestADeletionGoesOnWithoutWhoAskedForIt(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		w.m().Adopt("g")
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		w.equal("delete", w.m().Delete(ctx, "g")[0], error(kerr.RequestTimedOut))
		time.Sleep(time.Second)
		w.equal("groups", len(w.m().Infos()), 0)
	})
}

func TestCloseAnswersWhoWaitsForKeep(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		w.ledger.slow(time.Hour)
		a := w.consumer("a")
		a.join()
		syncing := later(a.sync)
		w.m().Adopt("other")
		deleting := later(func() error { return w.m().Delete(context.Background(), "other")[0] })
		w.m().Close()
		w.equal("sync", <-syncing, error(kerr.NotCoordinator))
		w.equal("delete", <-deleting, error(kerr.NotCoordinator))
	})
}
