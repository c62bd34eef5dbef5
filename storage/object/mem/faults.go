package mem

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"time"

	"sluice/storage/object"
)

// ErrInjected is the answer of a fault that names no other error. It stands for
// a timeout, a reset or a 5xx: nothing can be concluded from it.
var ErrInjected = errors.New("injected fault")

// Request describes a request to Faults.
type Request struct {
	Kind object.Kind
	// Key is the key, the prefix of a List or the first key of a Delete.
	Key string
	// Attempt counts the requests of this kind and key on this handle, from 1.
	Attempt int
	// Size is the length of the body to write, 0 for reads.
	Size int
}

// Faults decides what happens to a request; the zero Fault lets it pass. It is
// called once for each request, by the caller's goroutine and with no lock
// held: it may block, and may use other handles on the root (a foreign writer
// that gets in first). It must be safe for concurrent use.
//
// It sees all requests but those refused as ErrBadKey.
type Faults func(Request) Fault

// Fault is what happens to one request.
type Fault struct {
	// Delay comes before the outcome. The context can end it.
	Delay   time.Duration
	Outcome Outcome
	// Err is the answer of Refuse, Lose and Late; nil means ErrInjected.
	Err error
	// Lag is how long after its answer a Late request is applied.
	Lag time.Duration
}

// Outcome says whether a request is applied and whether its answer arrives.
type Outcome int

const (
	// Apply applies the request and answers it, as without a fault.
	Apply Outcome = iota
	// Refuse answers Err and does not apply the request.
	Refuse
	// Lose applies the request and answers Err (a connection cut before the answer).
	Lose
	// Late answers Err at once and applies the request after Lag (it was still
	// under way when its caller gave up).
	Late
	// Hang does not apply the request and waits until its context is done.
	Hang
	// HangApplied applies the request, then waits until its context is done.
	HangApplied
	// Twice applies the request twice and gives the second answer (a retry by a
	// library or a proxy): a Create that wins is answered ErrExists.
	Twice
)

// SetFaults replaces the faults of this handle; nil is none. Attempts start
// again at 1.
func (s *Store) SetFaults(f Faults) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults, s.attempts = f, nil
}

// attemptKey says which requests are attempts of the same thing.
type attemptKey struct {
	kind object.Kind
	key  string
}

// do runs one request and its fault.
func (s *Store) do(ctx context.Context, req Request, apply func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	faults := s.faults
	if faults != nil {
		if s.attempts == nil {
			s.attempts = map[attemptKey]int{}
		}
		s.attempts[attemptKey{req.Kind, req.Key}]++
		req.Attempt = s.attempts[attemptKey{req.Kind, req.Key}]
	}
	s.mu.Unlock()

	var f Fault
	if faults != nil {
		f = faults(req)
	}
	if err := wait(ctx, f.Delay); err != nil {
		return err
	}
	answer := func() error {
		if f.Err != nil {
			return f.Err
		}
		return ErrInjected
	}
	switch f.Outcome {
	case Refuse:
		return answer()
	case Hang:
		<-ctx.Done()
		return ctx.Err()
	case Late:
		time.AfterFunc(f.Lag, func() { _ = apply() }) // its answer has nobody left to go to
		return answer()
	case Lose:
		_ = apply() // the answer is what gets lost
		return answer()
	case HangApplied:
		_ = apply()
		<-ctx.Done()
		return ctx.Err()
	case Twice:
		_ = apply()
	}
	return apply()
}

// wait sleeps for d or until ctx is done.
func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Chaos returns faults that hit the given share of requests (0 to 1) in all
// ways that the contract allows and that need no deadline: refused, answer lost,
// applied late, and for a Create applied twice. What happens to a request
// depends on seed, kind, key and attempt only, not on the order of goroutines.
func Chaos(seed uint64, share float64) Faults {
	return func(req Request) Fault {
		r := req.random(seed)
		if r.Float64() >= share {
			return Fault{}
		}
		f := Fault{
			Outcome: []Outcome{Refuse, Lose, Late, Twice}[r.IntN(4)],
			Delay:   time.Duration(r.Int64N(int64(20 * time.Millisecond))),
			Lag:     time.Duration(r.Int64N(int64(200 * time.Millisecond))),
		}
		f.Err = fmt.Errorf("%w (%s %s, attempt %d)", ErrInjected, req.Kind, req.Key, req.Attempt)
		switch {
		case req.Kind == object.KindGet || req.Kind == object.KindList:
			f.Outcome = Refuse // a read leaves nothing behind
		case f.Outcome == Late && req.Kind != object.KindCreate:
			// Put and Delete are retried by real stores: one that lands after a
			// later one of the same key breaks no promise, but tests nothing either.
			f.Outcome = Lose
		}
		return f
	}
}

// random returns a source that depends on the request and seed only.
func (req Request) random(seed uint64) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(req.Kind))
	h.Write([]byte(req.Key))
	var attempt [8]byte
	binary.LittleEndian.PutUint64(attempt[:], uint64(req.Attempt))
	h.Write(attempt[:])
	return rand.New(rand.NewPCG(seed, h.Sum64()))
}
