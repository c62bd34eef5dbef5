package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"sluice/storage/object"
	"sluice/storage/object/latency"
	"sluice/storage/object/s3"
)

const (
	// defaultStoreWait is how long a start waits for a store whose server does not answer: in a
	// compose file or a cluster it may be starting too.
	defaultStoreWait = time.Minute
	// storeRetry is the time between two attempts, storeWaitLogged between two lines
	// that say what is waited for.
	storeRetry      = time.Second
	storeWaitLogged = 10 * time.Second
)

// reached is a store that has passed the probe.
type reached struct {
	object.Store
	probe  string // what the probe found, for people
	unlock func()
}

// reachStore opens the store and probes it. While its server cannot be reached, or
// says that it is not ready, that is tried again until the wait is over; whatever
// waiting does not cure ends it at once.
func reachStore(ctx context.Context, s settings, u storeURL, log *slog.Logger) (reached, error) {
	end := time.Now().Add(s.storeWait)
	var logged time.Time
	for {
		r, err := tryStore(ctx, s, u, log)
		left := time.Until(end)
		if err == nil || !errors.Is(err, s3.ErrDown) || left <= 0 {
			return r, err
		}
		if time.Since(logged) >= storeWaitLogged {
			logged = time.Now()
			log.Warn("the store does not answer; trying again (sluice.store.wait.ms)", "store", s.store, "for", left.Round(time.Second), "err", err)
		}
		select {
		case <-time.After(min(storeRetry, left)):
		case <-ctx.Done():
			return r, err
		}
	}
}

// tryStore is one attempt of openTimeout.
func tryStore(ctx context.Context, s settings, u storeURL, log *slog.Logger) (_ reached, err error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	store, unlock, err := openStore(ctx, u)
	if err != nil {
		return reached{}, err
	}
	defer func() {
		if err != nil {
			unlock()
		}
	}()
	if store, err = watchStore(store); err != nil {
		return reached{}, err
	}
	if profile, ok := latency.Profiles[s.storeLatency]; ok {
		log.Warn("the store is slowed down, for measurements (sluice.store.latency)", "to", s.storeLatency)
		store = latency.New(store, profile(), 1)
	}
	probe, err := probeStore(ctx, store, log)
	return reached{store, probe, unlock}, err
}
