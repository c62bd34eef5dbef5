package group

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
)

func TestAGroupIsDescribedInEachState(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		d := w.m().Describe(5, "g")
		w.equal("unknown", d.State, "Dead")
		w.equal("error", d.ErrorCode, int16(0))
		d = w.m().Describe(6, "g")
		w.equal("since version 6", d.ErrorCode, kerr.GroupIDNotFound.Code)
		w.equal("authorized operations", d.AuthorizedOperations, int32(-2147483648))

		a := w.static("one")
		a.join()
		d = w.m().Describe(6, "g")
		w.equal("state", d.State, "CompletingRebalance")
		w.equal("protocol", d.Protocol, "")
		w.equal("metadata", len(d.Members[0].ProtocolMetadata), 0)
		a.sync()
		d = w.m().Describe(6, "g")
		w.equal("state", d.State, "Stable")
		w.equal("protocol", d.ProtocolType+"/"+d.Protocol, "consumer/range")
		m := d.Members[0]
		w.equal("member", m.MemberID, a.id)
		w.equal("instance", *m.InstanceID, "one")
		w.equal("client", m.ClientID+m.ClientHost, "client/127.0.0.1")
		w.equal("metadata", string(m.ProtocolMetadata), string(a.protocols[0].Metadata))
		w.equal("assignment", string(m.MemberAssignment), a.assignment)
		a.leave()
		d = w.m().Describe(6, "g")
		w.equal("state", d.State, "Empty")
		w.equal("type", d.ProtocolType, "consumer")
	})
}

func TestGroupsAreListedByStateAndType(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		w.stable(w.consumer("a"))
		w.m().Adopt("z", "b")
		for _, c := range []struct {
			states, types []string
			want          string
		}{
			{nil, nil, "[b/Empty/classic// g/Stable/classic/consumer/ z/Empty/classic//]"},
			{[]string{"stable"}, nil, "[g/Stable/classic/consumer/]"},
			{[]string{"Dead", "EMPTY"}, []string{"Classic"}, "[b/Empty/classic// z/Empty/classic//]"},
			{nil, []string{"consumer"}, "[]"},
			{[]string{"nonsense"}, nil, "[]"},
		} {
			got := []string{}
			for _, g := range w.m().List(c.states, c.types) {
				got = append(got, g.Group+"/"+g.GroupState+"/"+g.GroupType+"/"+g.ProtocolType+"/")
			}
			w.equal(fmt.Sprint(c.states, c.types), fmt.Sprint(got), c.want)
		}
	})
}
