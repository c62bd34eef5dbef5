package latency_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"sluice/storage/object"
	"sluice/storage/object/latency"
	"sluice/storage/object/mem"
	"sluice/storage/object/objecttest"
)

func TestASlowStoreIsAStore(t *testing.T) {
	root := mem.New() // one root, as the suite wants it
	fast := latency.Profile{object.KindCreate: {Median: time.Microsecond, P99: 10 * time.Microsecond}}
	objecttest.Run(t, func(*testing.T) object.Store { return latency.New(root.Handle(), fast, 1) })
}

func TestLatenciesFollowTheProfileAndTheSeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		measure := func(seed uint64) (all []time.Duration) {
			s := latency.New(mem.New(), latency.S3Standard(), seed)
			for range 2000 {
				began := time.Now()
				if _, err := s.Put(t.Context(), "key", make([]byte, 100)); err != nil {
					t.Fatal(err)
				}
				all = append(all, time.Since(began))
			}
			return all
		}
		once, again, other := measure(1), measure(1), measure(2)
		if !slices.Equal(once, again) || slices.Equal(once, other) {
			t.Error("the latencies are not those of the seed")
		}
		slices.Sort(once)
		near := func(got, want time.Duration) bool { return got > want*8/10 && got < want*12/10 }
		if p50, p99 := once[len(once)/2], once[len(once)*99/100]; !near(p50, 42*time.Millisecond) || !near(p99, 166*time.Millisecond) {
			t.Errorf("p50 %v, p99 %v", p50, p99)
		}
	})
}

func TestARequestLandsHalfWayThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inside := mem.New()
		s := latency.New(inside, latency.Profile{object.KindPut: {Median: 10 * time.Millisecond, P99: 10 * time.Millisecond}}, 1)
		ctx, cancel := context.WithTimeout(t.Context(), 7*time.Millisecond)
		defer cancel()
		if _, err := s.Put(ctx, "key", nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		if _, err := inside.Get(t.Context(), "key", object.Range{}); err != nil {
			t.Error("who gives up late has written:", err)
		}
		ctx, cancel = context.WithTimeout(t.Context(), 3*time.Millisecond)
		defer cancel()
		s.Put(ctx, "other", nil)
		if _, err := inside.Get(t.Context(), "other", object.Range{}); !errors.Is(err, object.ErrNotFound) {
			t.Error("who gives up early has not:", err)
		}
	})
}
