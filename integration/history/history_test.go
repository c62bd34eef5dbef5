package history

import (
	"errors"
	"slices"
	"testing"
)

var p0 = Partition{"t", 0}

func at(offset int64, value string) Record { return Record{p0, offset, value} }

// good is a history without anomalies, which each case spoils in one way.
func good() *History {
	h := New()
	for i, v := range []string{"a", "b", "c", "d"} {
		h.Sending("p", v, true).Acked(p0, int64(i))
	}
	h.Sending("p", "lost on the way", true)
	h.Sending("q", "refused", false).Failed()
	h.Polled("one", []Record{at(0, "a"), at(1, "b")})
	h.Polled("one", []Record{at(2, "c"), at(3, "d")})
	h.Moved("two")
	h.Polled("two", []Record{at(2, "c"), at(3, "d")})
	h.Moved("two", p0)
	h.Polled("two", []Record{at(0, "a")})
	h.OffsetCommitted("g", p0, 2)
	h.OffsetCommitted("g", p0, 4)
	h.OffsetFetched("g", p0, 4)
	h.OffsetReset("g", p0)
	h.OffsetFetched("g", p0, 1)
	h.Bounds(p0, 0, 4)
	all := []Record{at(0, "a"), at(1, "b"), at(2, "c"), at(3, "d")}
	h.Rows("consumer", all)
	h.Rows("engine", all)
	h.Versions("t", []Version{{Number: 1, Added: all[:2]}, {Number: 2}, {Number: 3, Added: all[2:]}})
	return h
}

func TestAHistoryOfALogIsFine(t *testing.T) {
	if found := good().Check(); len(found) > 0 {
		t.Fatal(found)
	}
}

func TestEachCheckFindsWhatItIsFor(t *testing.T) {
	for name, c := range map[string]struct {
		want  Kind
		spoil func(h *History)
	}{
		"an acked record below what was read is gone": {LostWrite, func(h *History) {
			q := Partition{"t", 1}
			h.Sending("p", "x", true).Acked(q, 0)
			h.Sending("p", "y", true).Acked(q, 1)
			h.Polled("one", []Record{{q, 1, "y"}})
		}},
		"the last acked record is gone": {Unseen, func(h *History) { h.Sending("p", "e", true).Acked(p0, 4) }},
		"an idempotent producer's record is there twice": {Duplicate, func(h *History) {
			h.Moved("one")
			h.Polled("one", []Record{at(4, "d")})
		}},
		"two records have one offset": {InconsistentOffsets, func(h *History) {
			h.Sending("q", "z", false).Acked(p0, 2)
		}},
		"a consumer goes back": {NonmonotonicPoll, func(h *History) { h.Polled("one", []Record{at(3, "d")}) }},
		"a consumer leaves one out": {SkippedPoll, func(h *History) {
			h.Polled("three", []Record{at(0, "a")})
			h.Polled("three", []Record{at(2, "c")})
		}},
		"a poll goes back":      {InternalNonmonotonicPoll, func(h *History) { h.Polled("three", []Record{at(1, "b"), at(0, "a")}) }},
		"a poll leaves one out": {InternalSkippedPoll, func(h *History) { h.Polled("three", []Record{at(0, "a"), at(2, "c")}) }},
		"acks are in wrong order": {NonmonotonicSend, func(h *History) {
			q := Partition{"t", 1}
			h.Sending("p", "x", true).Acked(q, 1)
			h.Sending("p", "y", true).Acked(q, 0)
			h.Polled("one", []Record{{q, 0, "y"}, {q, 1, "x"}})
		}},
		"an aborted record is read": {AbortedRead, func(h *History) {
			h.Sending("p", "x", true).Aborted()
			h.Polled("one", []Record{{Partition{"t", 1}, 0, "x"}})
		}},
		"a record comes from nowhere": {Invented, func(h *History) { h.Polled("one", []Record{{Partition{"t", 1}, 0, "x"}}) }},
		"a refused record is there":   {Invented, func(h *History) { h.Polled("one", []Record{{Partition{"t", 1}, 0, "refused"}}) }},
		"an engine lacks a row":       {Disagreement, func(h *History) { h.Rows("other", []Record{at(0, "a"), at(1, "b"), at(2, "c")}) }},
		"an engine has a row more": {Disagreement, func(h *History) {
			h.Rows("engine", []Record{{Partition{"t", 1}, 0, "lost on the way"}})
		}},
		"an engine has a row twice":      {Disagreement, func(h *History) { h.Rows("engine", []Record{at(3, "d")}) }},
		"an engine reads behind the end": {Disagreement, func(h *History) { h.Bounds(p0, 0, 3) }},
		"a version adds an older offset": {VersionOrder, func(h *History) { h.Versions("t", []Version{{Number: 4, Added: []Record{at(3, "d")}}}) }},
		"a version is missing":           {VersionMissing, func(h *History) { h.Versions("t", []Version{{Number: 5}}) }},
		"a version cannot be parsed":     {VersionMissing, func(h *History) { h.Versions("t", []Version{{Number: 4, Err: errors.New("bad")}}) }},
		"a group's offset goes back":     {OffsetBack, func(h *History) { h.OffsetCommitted("g", p0, 3); h.OffsetFetched("g", p0, 2) }},
		"a group's offset is lost":       {OffsetBack, func(h *History) { h.OffsetFetched("g", p0, -1) }},
		"a group is behind the end":      {OffsetBeyondEnd, func(h *History) { h.OffsetCommitted("g", p0, 5) }},
		"two sends have the same value":  {BadHistory, func(h *History) { h.Sending("p", "a", true) }},
	} {
		t.Run(name, func(t *testing.T) {
			h := good()
			c.spoil(h)
			found := h.Check()
			if !slices.ContainsFunc(found, func(a Anomaly) bool { return a.Kind == c.want }) {
				t.Fatalf("want %s, found %v", c.want, found)
			}
		})
	}
}

func TestWhatKafkaAllowsIsNoAnomaly(t *testing.T) {
	h := good()
	// A producer that is not idempotent sends again what was not answered in time.
	h.Sending("q", "again", false).Acked(p0, 5)
	h.Polled("one", []Record{at(4, "again"), at(5, "again")})
	// Records below the log start may be missing, and be skipped.
	h.Sending("p", "old", true).Acked(Partition{"t", 1}, 0)
	h.Bounds(Partition{"t", 1}, 1, 1)
	h.Bounds(p0, 0, 6)
	for _, reader := range []string{"consumer", "engine"} {
		h.Rows(reader, []Record{at(4, "again"), at(5, "again")})
	}
	if found := h.Check(); len(found) > 0 {
		t.Fatal(found)
	}
}

func TestManyAnomaliesOfAKindAreCounted(t *testing.T) {
	h := New()
	for i := range int64(30) {
		h.Polled("one", []Record{at(i, "nobody's")})
	}
	found := h.Check()
	if last := found[len(found)-1]; len(found) > 2*perKind+2 || last.Detail == "" {
		t.Fatal(len(found), last)
	}
	for i := range int64(30) {
		h.Sending("p", string(rune('A'+i)), true).Acked(Partition{"u", 0}, i)
	}
	h.Polled("one", []Record{{Partition{"u", 0}, 40, "A"}})
	if !slices.Contains(h.Check(), Anomaly{LostWrite, "30 in all"}) {
		t.Fatal(h.Check())
	}
}
