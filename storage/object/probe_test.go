package object_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/storage/object"
	"sluice/storage/object/latency"
	"sluice/storage/object/mem"
)

// wrong is a store that deviates from a sound one in the methods that are set.
type wrong struct {
	object.Store
	create func(ctx context.Context, key string, body []byte) (time.Time, error)
	get    func(ctx context.Context, key string, r object.Range) (object.Object, error)
	list   func(ctx context.Context, req object.ListRequest) (object.Listing, error)
}

func (w wrong) Create(ctx context.Context, key string, body []byte, after ...string) (time.Time, error) {
	if w.create != nil {
		return w.create(ctx, key, body)
	}
	return w.Store.Create(ctx, key, body, after...)
}

func (w wrong) Get(ctx context.Context, key string, r object.Range) (object.Object, error) {
	if w.get != nil {
		return w.get(ctx, key, r)
	}
	return w.Store.Get(ctx, key, r)
}

func (w wrong) List(ctx context.Context, req object.ListRequest) (object.Listing, error) {
	if w.list != nil {
		return w.list(ctx, req)
	}
	return w.Store.List(ctx, req)
}

func left(t *testing.T, s object.Store) (keys []string) {
	t.Helper()
	if _, err := object.All(t.Context(), s, object.ListRequest{}, func(i object.Info) error {
		keys = append(keys, i.Key)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return keys
}

func TestProbeAcceptsASoundStoreAndMeasuresIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mem.New()
		slow := latency.New(s, latency.S3Standard(), 1)
		start := time.Now()
		report, err := object.Probe(t.Context(), slow)
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("start-up waited %v for the probe", took)
		}
		if report.Put < 10*time.Millisecond || report.Put > 200*time.Millisecond || report.Get == 0 || report.Now.IsZero() || report.Local.IsZero() {
			t.Errorf("%+v", report)
		}
		if keys := left(t, s); len(keys) != 0 {
			t.Errorf("left behind: %q", keys)
		}
	})
}

func TestProbeRefusesABrokenStoreAndSaysHowItIs(t *testing.T) {
	for _, c := range []struct {
		name  string
		store func(*mem.Store) object.Store
		says  string
	}{
		{"conditions ignored", func(s *mem.Store) object.Store {
			return wrong{Store: s, create: s.Put}
		}, "accepted 16 of 16 conditional puts of one key: it ignores If-None-Match"},
		{"condition checked before the write", func(s *mem.Store) object.Store {
			// All that check before the first write lands win; later ones are refused.
			var checks sync.WaitGroup
			checks.Add(3)
			var mu sync.Mutex
			count := 0
			return wrong{Store: s, create: func(ctx context.Context, key string, body []byte) (time.Time, error) {
				mu.Lock()
				early := count < 3
				count++
				mu.Unlock()
				if !early {
					checks.Wait()
					now, _ := s.Put(ctx, key+"x", nil)
					return now, object.ErrExists
				}
				checks.Done()
				checks.Wait()
				return s.Put(ctx, key, body)
			}}
		}, "accepted 3 of 16 conditional puts"},
		{"a loser's body is kept", func(s *mem.Store) object.Store {
			return wrong{Store: s, create: func(ctx context.Context, key string, body []byte) (time.Time, error) {
				now, err := s.Create(ctx, key, body)
				if err != nil {
					s.Put(ctx, key, body)
				}
				return now, err
			}}
		}, "instead of its body"},
		{"all are refused", func(s *mem.Store) object.Store {
			return wrong{Store: s, create: func(context.Context, string, []byte) (time.Time, error) {
				return time.Time{}, object.ErrExists
			}}
		}, `answered "exists" to all of 48 conditional puts of 3 new keys`},
		{"condition not implemented", func(s *mem.Store) object.Store {
			return wrong{Store: s, create: func(context.Context, string, []byte) (time.Time, error) {
				return time.Time{}, errors.New("501 NotImplemented")
			}}
		}, "takes puts but no conditional ones (501 NotImplemented)"},
		{"condition holds only for a while", func(s *mem.Store) object.Store {
			var mu sync.Mutex
			n := 0
			return wrong{Store: s, create: func(ctx context.Context, key string, body []byte) (time.Time, error) {
				mu.Lock()
				n++
				late := n > 16
				mu.Unlock()
				if late {
					return s.Put(ctx, key+"-elsewhere", body)
				}
				return s.Create(ctx, key, body)
			}}
		}, "a key that it had accepted before"},
		{"reads lag", func(s *mem.Store) object.Store {
			return wrong{Store: s, get: func(context.Context, string, object.Range) (object.Object, error) {
				return object.Object{}, object.ErrNotFound
			}}
		}, "was not found right after"},
		{"listings lag", func(s *mem.Store) object.Store {
			return wrong{Store: s, list: func(context.Context, object.ListRequest) (object.Listing, error) {
				return object.Listing{}, nil
			}}
		}, "does not list an object right after"},
		{"ranges ignored", func(s *mem.Store) object.Store {
			return wrong{Store: s, get: func(ctx context.Context, key string, _ object.Range) (object.Object, error) {
				return s.Get(ctx, key, object.Range{})
			}}
		}, "for bytes"},
		{"everything exists", func(s *mem.Store) object.Store {
			return wrong{Store: s, get: func(ctx context.Context, key string, r object.Range) (object.Object, error) {
				o, err := s.Get(ctx, key, r)
				if errors.Is(err, object.ErrNotFound) {
					err = nil
				}
				return o, err
			}}
		}, "never written"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := object.Probe(t.Context(), c.store(mem.New()))
			if !errors.Is(err, object.ErrUnsafe) {
				t.Fatalf("error: %v", err)
			}
			for _, part := range []string{"mem://: ", c.says, "acked records are not safe here", "use a store that implements conditional writes"} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not say %q", err, part)
				}
			}
		})
	}
}

func TestProbeTellsAnOutageFromABrokenStore(t *testing.T) {
	for _, err := range []error{errors.New("connection refused"), object.ErrDenied} {
		synctest.Test(t, func(t *testing.T) {
			s := mem.New()
			s.SetFaults(func(mem.Request) mem.Fault { return mem.Fault{Outcome: mem.Refuse, Err: err} })
			if _, got := object.Probe(t.Context(), s); !errors.Is(got, err) || errors.Is(got, object.ErrUnsafe) {
				t.Errorf("all requests answered %q: %v", err, got)
			}
		})
	}
}

func TestProbeOutlivesLostAnswers(t *testing.T) {
	for _, fault := range []mem.Fault{{Outcome: mem.Lose}, {Outcome: mem.Refuse}, {Outcome: mem.Twice}} {
		synctest.Test(t, func(t *testing.T) {
			s := mem.New()
			// One request of the first race: the winner's, as it is the first.
			var first sync.Once
			s.SetFaults(func(r mem.Request) (f mem.Fault) {
				if r.Kind == object.KindCreate {
					first.Do(func() { f = fault })
				}
				return f
			})
			if _, err := object.Probe(t.Context(), s); err != nil {
				t.Errorf("fault %+v: %v", fault, err)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		s := mem.New()
		s.SetFaults(func(r mem.Request) mem.Fault { // a whole race in vain
			if r.Kind == object.KindCreate && strings.Contains(r.Key, "race-0") {
				return mem.Fault{Outcome: mem.Lose}
			}
			return mem.Fault{}
		})
		if _, err := object.Probe(t.Context(), s); err != nil {
			t.Errorf("one race in vain: %v", err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		s := mem.New()
		creates := 0
		var mu sync.Mutex
		s.SetFaults(func(r mem.Request) mem.Fault { // the one that comes after the race
			mu.Lock()
			defer mu.Unlock()
			if r.Kind == object.KindCreate {
				creates++
			}
			if creates == 17 && r.Kind == object.KindCreate {
				return mem.Fault{Outcome: mem.Refuse}
			}
			return mem.Fault{}
		})
		if _, err := object.Probe(t.Context(), s); err != nil {
			t.Errorf("a second conditional put in vain: %v", err)
		}
	})
}

func TestProbeTakesAStoreThatComesOutOfTroubleForSound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mem.New()
		began := time.Now()
		s.SetFaults(func(r mem.Request) (f mem.Fault) {
			switch r.Kind {
			case object.KindCreate: // none comes through for a second
				if time.Since(began) < time.Second {
					f.Outcome = mem.Refuse
				}
			case object.KindPut: // repeated by the store until it does
				f.Delay = time.Second
			}
			return f
		})
		if _, err := object.Probe(t.Context(), s); err != nil {
			t.Error(err)
		}
	})
}

func TestProbeHonoursItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mem.New()
		s.SetFaults(func(r mem.Request) mem.Fault { return mem.Fault{Outcome: mem.Hang} })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := object.Probe(ctx, s); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error: %v", err)
		}
	})
}
