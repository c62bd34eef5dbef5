package broker_test

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

func TestABrokerThatWasOvertakenTellsNoOldCommittedOffset(t *testing.T) {
	overtaken(t, func(t *testing.T, atNew, atOld *kgo.Client) {
		commit := func(client *kgo.Client, at int64) error {
			all := make(kadm.Offsets)
			all.AddOffset("t", 0, at, -1)
			return kadm.NewClient(client).CommitAllOffsets(t.Context(), "g", all)
		}
		if err := commit(atNew, 2); err != nil {
			t.Fatal(err)
		}
		told, err := kadm.NewClient(atOld).FetchOffsets(t.Context(), "g")
		if o, ok := told.Lookup("t", 0); err == nil && (!ok || o.At != 2) {
			t.Error("it tells", o.At, ok)
		}
	})
}
