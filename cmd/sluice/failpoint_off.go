//go:build !failpoint

package main

import (
	"net"

	"sluice/storage/object"
)

// watchStore and watchListener are for tests that end the broker at a chosen point
// (failpoint_on.go); here is none.
func watchStore(store object.Store) (object.Store, error) { return store, nil }

func watchListener(l net.Listener) net.Listener { return l }
