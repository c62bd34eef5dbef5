package storage

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"sluice/storage/object/mem"
)

// yield leaves the topic's table to others for d.
func yield(t *testing.T, topic *Topic, d time.Duration) error {
	t.Helper()
	return topic.Alter(t.Context(), func(own map[string]string) (map[string]string, error) {
		delete(own, configYieldUntil)
		if d > 0 {
			own[configYieldUntil] = fmt.Sprint(time.Now().Add(d).UnixMilli())
		}
		return own, nil
	})
}

func committedYet(w *Wait) bool {
	synctest.Wait()
	select {
	case <-w.Done():
		return true
	default:
		return false
	}
}

func TestATableThatIsYieldedGetsNoVersionUntilItIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, mem.New(), Options{})
		topic := r.create("t", 1)
		if err := yield(t, topic, time.Minute); err != nil {
			t.Fatal(err)
		}
		version := topic.Version()
		w := topic.Append(0, produced(nil, "a"), eager)
		time.Sleep(59 * time.Second)
		if committedYet(w) || topic.Version() != version {
			t.Fatalf("version %d after %d", topic.Version(), version)
		}
		time.Sleep(2 * time.Second)
		if !committedYet(w) || w.Result().Err != nil {
			t.Fatal("the record is not committed when the time is over")
		}
		r.Close(t.Context())
	})
}

func TestAYieldedTableIsTakenBackEarlyAndDeletedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, mem.New(), Options{})
		topic := r.create("t", 1)
		if err := yield(t, topic, time.Minute); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		w := topic.Append(0, produced(nil, "a"), eager)
		time.Sleep(time.Second)
		if err := yield(t, topic, 0); err != nil {
			t.Fatal(err)
		}
		if result := await(t, w); result.Err != nil {
			t.Fatal(result.Err)
		}
		if err := yield(t, topic, time.Minute); err != nil {
			t.Fatal(err)
		}
		if err := r.Delete(t.Context(), "t", topic.Info().ID); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("it took %v", took)
		}
		r.Close(t.Context())
	})
}

func TestABrokerThatTakesAYieldedTableOverKeepsToIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		first := start(t, store, Options{})
		if err := yield(t, first.create("t", 1), time.Minute); err != nil {
			t.Fatal(err)
		}
		lost := first.topic("t").Append(0, produced(nil, "a"), eager)
		began := time.Now()
		first.Close(t.Context())
		if result := await(t, lost); result.Err == nil {
			t.Error("a record was committed during the time given to others")
		}

		second := start(t, store, Options{})
		topic := second.topic("t")
		w := topic.Append(0, produced(nil, "a"), eager)
		<-w.Done()
		if result := w.Result(); result.Err != nil || result.BaseOffset != 0 {
			t.Fatal(result)
		}
		if took := time.Since(began); took < 59*time.Second {
			t.Errorf("committed after %v", took)
		}
		second.Close(t.Context())
	})
}

func TestATableIsNotYieldedForLongerThanTenMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		r := start(t, store, Options{})
		topic := r.create("t", 1)
		if err := yield(t, topic, 11*time.Minute); !errors.Is(err, ErrInvalidConfig) {
			t.Errorf("eleven minutes: %v", err)
		}
		// Another clock's time does not count, and does not keep other configs from changing.
		far := r.createWith("far", 1, map[string]string{configYieldUntil: fmt.Sprint(time.Now().Add(time.Hour).UnixMilli())})
		if result := await(t, far.Append(0, produced(nil, "a"), eager)); result.Err != nil {
			t.Fatal(result.Err)
		}
		err := far.Alter(t.Context(), func(own map[string]string) (map[string]string, error) {
			own["retention.ms"] = "-1"
			return own, nil
		})
		if err != nil {
			t.Error(err)
		}
		r.Close(t.Context())
	})
}
