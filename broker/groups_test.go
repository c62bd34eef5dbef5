package broker

import (
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"sluice/broker/group"
	"sluice/offsets"
	"sluice/storage/object/mem"
)

// A generation that another broker has ended commits nothing when the offsets come
// back: neither what was on its way then, nor what its members send later.
func TestMembersOfAGenerationThatAnotherBrokerEndedCommitNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, log := mem.New(), slog.New(slog.DiscardHandler)
		open := func(store *mem.Store) *offsets.Offsets {
			o, err := offsets.Open(t.Context(), store, offsets.Options{Log: log})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { o.Close(t.Context()) })
			return o
		}
		commit := func(term offsets.Term, offset int64) error {
			return term.Commit("g", []offsets.Offset{{Topic: "t", Offset: offset, Committed: time.Now()}}).Get(t.Context())
		}
		generation := func(o *offsets.Offsets, n int32) {
			record := group.Record{
				Group: "g", Generation: n, ProtocolType: "consumer", Protocol: "range", Leader: "m", Since: time.Now(),
				Members: []group.RecordMember{{ID: "m", SessionTimeout: time.Hour, RebalanceTimeout: time.Hour}},
			}
			if err := o.Term().KeepGroup("g", record.Encode()).Get(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		allowed := func(m *group.Manager, n int32) error {
			return m.CheckCommit(group.Commit{Group: "g", MemberID: "m", Generation: n, Version: 8})
		}

		ours := open(store)
		generation(ours, 1)
		groups, err := NewGroups(group.Config{Log: log}, ours)
		if err != nil {
			t.Fatal(err)
		}
		defer groups.Close()
		before := groups.current()
		if err := errors.Join(allowed(before.manager, 1), commit(before.term, 5)); err != nil {
			t.Fatal(err)
		}

		theirs := open(store.Handle())
		generation(theirs, 2)
		if err := commit(theirs.Term(), 76); err != nil {
			t.Fatal(err)
		}
		for range 3 { // finds out, has the table taken back, comes after that
			if err := commit(before.term, 70); !errors.Is(err, offsets.ErrFenced) {
				t.Error("committed in a term that is over:", err)
			}
			time.Sleep(4 * time.Second)
		}

		now := groups.current()
		if err := allowed(before.manager, 1); !errors.Is(err, kerr.NotCoordinator) {
			t.Error("the manager of a term that is over:", err)
		}
		if err := allowed(now.manager, 1); !errors.Is(err, kerr.IllegalGeneration) {
			t.Error("a member of the generation before:", err)
		}
		if got, _ := ours.Fetch("g", "t", [16]byte{}, 0); got.Offset != 76 {
			t.Error("committed is", got.Offset)
		}
		if err := errors.Join(allowed(now.manager, 2), commit(now.term, 80)); err != nil {
			t.Error("the generation that stands:", err)
		}
	})
}
