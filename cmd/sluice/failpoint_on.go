//go:build failpoint

package main

import (
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"sluice/storage/object"
	"sluice/storage/object/failpoint"
)

// atFailpoint counts towards the point that SLUICE_FAILPOINT names (POINT:N, see
// package failpoint), where this process ends as by kill -9, or with POINT:N:still stands
// still until SIGCONT. nil: it names none.
var atFailpoint = sync.OnceValues(func() (*failpoint.Counter, error) {
	text := os.Getenv("SLUICE_FAILPOINT")
	if text == "" {
		return nil, nil
	}
	trigger, err := failpoint.Parse(text)
	if err != nil {
		return nil, usagef("SLUICE_FAILPOINT: %w", err)
	}
	if trigger.Still {
		return failpoint.NewCounter(trigger, func() {
			_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
			time.Sleep(stopArrives)
		}), nil
	}
	return failpoint.NewCounter(trigger, func() {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // until it arrives
	}), nil
})

// stopArrives is longer than a signal takes to stop all threads: who gets to the point goes
// no further before that.
const stopArrives = 100 * time.Millisecond

func watchStore(store object.Store) (object.Store, error) {
	counter, err := atFailpoint()
	if counter == nil {
		return store, err
	}
	return failpoint.New(store, counter), nil
}

func watchListener(l net.Listener) net.Listener {
	if counter, _ := atFailpoint(); counter != nil {
		return failpoint.Listen(l, counter)
	}
	return l
}
