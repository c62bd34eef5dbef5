//go:build integration

package integration

import (
	"strings"
	"testing"
)

// Rows are deleted and files rewritten while a topic is written and read: nobody
// sees an error, the rows are gone for a new consumer and for engines, and nothing else is.
func TestRowsDeletedFromALiveTopicAreGoneForConsumersAndEngines(t *testing.T) {
	eachStore(t, func(t *testing.T, s store) {
		s.gaps = true
		b := startSluice(t, s)
		l := startLoad(t, b, "deleted-from")
		l.progress(1500)
		table := func(command string, args ...string) string {
			t.Helper()
			args = append([]string{binary, "table", command, l.topic, "--brokers", b.address}, args...)
			p := start(t, "sluice table "+command, s.env, args...)
			if code := p.wait(engineTimeout); code != 0 {
				t.Fatalf("sluice table %s: exit code %d", command, code)
			}
			return p.out.String()
		}
		// The readers have read them long since.
		if out := table("delete", "--key", "3", "--key", "14"); !strings.Contains(out, "deleted 2 rows") {
			t.Errorf("by key: %s", out)
		}
		table("optimize")
		l.progress(500)
		if out := table("delete", "--offsets", "1:5-9", "--purge", "--yes"); !strings.Contains(out, " rows") {
			t.Errorf("by offsets: %s", out)
		}
		table("vacuum")
		l.progress(500)
		l.finish(t)
		l.requireUnmoved(t)
		want := index(t, l.acked)
		for at, r := range want {
			if key := string(r.key); key == "3" || key == "14" || at.partition == 1 && at.offset >= 5 && at.offset <= 9 {
				delete(want, at)
			}
		}
		l.check(t)
		requireSame(t, "a new consumer", want, whole(t, b, l.topic))
	})
}
