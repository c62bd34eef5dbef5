package mem_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"sluice/storage/object"
	"sluice/storage/object/mem"
	"sluice/storage/object/objecttest"
)

func TestStore(t *testing.T) {
	s := mem.New()
	objecttest.Run(t, func(*testing.T) object.Store { return s.Handle() })
}

func TestANamedRootIsSharedUntilDropped(t *testing.T) {
	defer mem.Drop(t.Name())
	a, b := mem.Open(t.Name()), mem.Open(t.Name())
	if _, err := a.Create(t.Context(), "k", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Create(t.Context(), "k", nil); !errors.Is(err, object.ErrExists) {
		t.Fatalf("second handle: %v", err)
	}
	if a.URL() != "mem://"+t.Name() {
		t.Errorf("URL is %s", a.URL())
	}
	mem.Drop(t.Name())
	if _, err := mem.Open(t.Name()).Create(t.Context(), "k", nil); err != nil {
		t.Fatalf("after drop: %v", err)
	}
}

// only faults the first attempt of one kind.
func only(kind object.Kind, f mem.Fault) mem.Faults {
	return func(r mem.Request) mem.Fault {
		if r.Kind == kind && r.Attempt == 1 {
			return f
		}
		return mem.Fault{}
	}
}

func TestFaultsOfAWrite(t *testing.T) {
	broken := errors.New("connection reset")
	for _, c := range []struct {
		name    string
		fault   mem.Fault
		want    error
		applied bool
	}{
		{"no fault", mem.Fault{}, nil, true},
		{"slow", mem.Fault{Delay: time.Second}, nil, true},
		{"refused", mem.Fault{Outcome: mem.Refuse}, mem.ErrInjected, false},
		{"refused with an error", mem.Fault{Outcome: mem.Refuse, Err: object.ErrDenied}, object.ErrDenied, false},
		{"answer lost", mem.Fault{Outcome: mem.Lose, Err: broken}, broken, true},
		{"hangs", mem.Fault{Outcome: mem.Hang}, context.DeadlineExceeded, false},
		{"hangs after it is applied", mem.Fault{Outcome: mem.HangApplied}, context.DeadlineExceeded, true},
		{"too slow", mem.Fault{Delay: time.Hour}, context.DeadlineExceeded, false},
		{"applied twice", mem.Fault{Outcome: mem.Twice}, object.ErrExists, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := mem.New()
				s.SetFaults(only(object.KindCreate, c.fault))
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if _, err := s.Create(ctx, "k", []byte("x")); !errors.Is(err, c.want) {
					t.Errorf("create: %v, want %v", err, c.want)
				}
				if _, err := s.Get(t.Context(), "k", object.Range{}); (err == nil) != c.applied {
					t.Errorf("get: %v, want applied %v", err, c.applied)
				}
				if _, err := s.Create(t.Context(), "k", []byte("y")); errors.Is(err, object.ErrExists) != c.applied {
					t.Errorf("second attempt: %v", err)
				}
			})
		})
	}
}

func TestALateWriteLandsAfterItsCallerGaveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mem.New()
		s.SetFaults(only(object.KindCreate, mem.Fault{Outcome: mem.Late, Lag: time.Second}))
		body := []byte("late")
		if _, err := s.Create(t.Context(), "k", body); !errors.Is(err, mem.ErrInjected) {
			t.Fatal(err)
		}
		copy(body, "xxxx")
		if _, err := s.Get(t.Context(), "k", object.Range{}); !errors.Is(err, object.ErrNotFound) {
			t.Fatalf("at once: %v", err)
		}
		time.Sleep(2 * time.Second)
		if o, err := s.Get(t.Context(), "k", object.Range{}); err != nil || string(o.Body) != "late" {
			t.Fatalf("later: %q, %v", o.Body, err)
		}
	})
}

func TestFaultsBelongToAHandleAndMayUseAnother(t *testing.T) {
	s := mem.New()
	foreign := s.Handle()
	s.SetFaults(func(r mem.Request) mem.Fault {
		if r.Kind == object.KindCreate {
			if _, err := foreign.Create(t.Context(), r.Key, []byte("foreign")); err != nil {
				t.Error(err)
			}
		}
		return mem.Fault{}
	})
	if _, err := s.Create(t.Context(), "k", []byte("own")); !errors.Is(err, object.ErrExists) {
		t.Fatalf("create: %v", err)
	}
	if o, err := s.Get(t.Context(), "k", object.Range{}); err != nil || string(o.Body) != "foreign" {
		t.Fatalf("get: %q, %v", o.Body, err)
	}
}

func TestTheClockCanBeShifted(t *testing.T) {
	s := mem.New()
	noon := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	s.SetClock(func() time.Time { return noon })
	if now, err := s.Handle().Put(t.Context(), "k", nil); err != nil || !now.Equal(noon) {
		t.Errorf("put at %v, %v", now, err)
	}
	s.SetClock(func() time.Time { return noon.Add(time.Hour) })
	o, err := s.Get(t.Context(), "k", object.Range{})
	if err != nil || !o.Modified.Equal(noon) || !o.Now.Equal(noon.Add(time.Hour)) {
		t.Errorf("modified %v, now %v, %v", o.Modified, o.Now, err)
	}
	if o, _ := s.Get(t.Context(), "none", object.Range{}); !o.Now.Equal(noon.Add(time.Hour)) {
		t.Errorf("not found at %v", o.Now)
	}
}

func TestChaosKeepsTheContract(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mem.New()
		s.SetFaults(mem.Chaos(7, 0.5))
		kinds := map[bool]int{}
		for range 200 {
			_, err := s.Put(t.Context(), "k", []byte("x"))
			kinds[err == nil]++
			if err != nil && !errors.Is(err, mem.ErrInjected) {
				t.Fatal(err)
			}
		}
		if kinds[true] < 50 || kinds[false] < 50 {
			t.Errorf("of 200 puts %d were answered and %d not", kinds[true], kinds[false])
		}
		synctest.Wait()
		time.Sleep(time.Second)
	})
}
