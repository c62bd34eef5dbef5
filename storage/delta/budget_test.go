package delta

import (
	"slices"
	"testing"
	"time"
)

func TestTablesOfABudgetTakeTurns(t *testing.T) {
	const tables, versions = 50, 100 // versions per second, so each table has two
	now := time.Unix(1_700_000_000, 0)
	b := NewBudget(versions * putsPerVersion)
	b.next = now
	shares := make([]share, tables)
	asks := make([]time.Time, tables) // when each asks again
	for i := range asks {
		asks[i] = now.Add(time.Duration(i*i%17) * time.Millisecond)
	}
	granted := make([][]time.Time, tables)
	for end := now.Add(20 * time.Second); now.Before(end); {
		i := slices.IndexFunc(asks, func(at time.Time) bool { return at.Equal(slices.MinFunc(asks, time.Time.Compare)) })
		now = asks[i]
		wait := b.take(&shares[i], now, 1000, 1)
		if wait == 0 {
			granted[i] = append(granted[i], now)
			wait = time.Millisecond
		}
		asks[i] = now.Add(wait)
	}
	sum := 0
	for i, at := range granted {
		sum += len(at)
		for j := 5; j < len(at); j++ { // the shares have settled by then
			if d := at[j].Sub(at[j-1]); d < 400*time.Millisecond || d > 600*time.Millisecond {
				t.Fatalf("table %d: %v between two versions, want 500 ms", i, d)
			}
		}
	}
	if sum < 19*versions || sum > 21*versions {
		t.Errorf("%d versions in 20 s of %d per second", sum, versions)
	}
}

func TestABudgetOfLessThanAVersionPerSecondIsKept(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	b := NewBudget(0.5)
	b.next = now
	var s share
	versions := 0
	for end := now.Add(100 * time.Second); now.Before(end); {
		wait := b.take(&s, now, 10, 1)
		if wait == 0 {
			versions++
		}
		now = now.Add(max(wait, time.Millisecond))
	}
	if versions < 24 || versions > 26 {
		t.Errorf("%d versions in 100 s of half a put per second, want 25", versions)
	}
}

func TestAVersionOfManyFilesCostsAsManyPuts(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	b := NewBudget(100)
	b.next = now
	var s share
	puts := 0
	for end := now.Add(20 * time.Second); now.Before(end); {
		wait := b.take(&s, now, 10<<20, 9)
		if wait == 0 {
			puts += 9 + 1
		}
		now = now.Add(max(wait, time.Millisecond))
	}
	if puts < 1900 || puts > 2100 {
		t.Errorf("%d puts in 20 s of 100 a second", puts)
	}
}
