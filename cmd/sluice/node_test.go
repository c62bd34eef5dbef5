package main

import (
	"testing"
	"time"

	"sluice/broker/group"
	"sluice/offsets"
)

func TestOffsetsExpireWithTheirGroup(t *testing.T) {
	s, err := fromEnvironment(t, "SLUICE_STORE="+memory(t))
	if err != nil {
		t.Fatal(err)
	}
	u, err := parseStore(s.store)
	if err != nil {
		t.Fatal(err)
	}
	n, err := openNode(t.Context(), s, u, 0, discard)
	if err != nil {
		t.Fatal(err)
	}
	defer n.abandon()

	now := time.Now()
	for _, name := range []string{"left", "used"} {
		wait := n.offsets.Term().Commit(name, []offsets.Offset{{Topic: "orders", TopicID: [16]byte{1}, Offset: 7, Committed: now, TableVersion: -1}})
		<-wait.Done()
		if wait.Err() != nil {
			t.Fatal(wait.Err())
		}
	}
	n.groups.Manager().Adopt("left")
	n.groups.Manager().Load([]group.Record{{Group: "used", ProtocolType: "consumer", Protocol: "range", Generation: 1, Leader: "m", Since: now,
		Members: []group.RecordMember{{ID: "m", SessionTimeout: time.Hour, RebalanceTimeout: time.Hour}}}})

	n.expireAt(t.Context(), now.Add(6*24*time.Hour))
	if got := len(n.offsets.Groups()); got != 2 {
		t.Fatalf("after six days %d groups have offsets", got)
	}
	n.expireAt(t.Context(), now.Add(8*24*time.Hour))
	if got := n.offsets.Groups(); len(got) != 1 || got[0] != "used" {
		t.Errorf("after eight days %v have offsets", got)
	}
	if _, known := n.groups.Manager().Info("left"); known {
		t.Error("a group of which nothing is left is still known")
	}
	if _, known := n.groups.Manager().Info("used"); !known {
		t.Error("a group with a member is forgotten")
	}
}
