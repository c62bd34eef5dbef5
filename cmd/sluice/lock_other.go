//go:build !unix

package main

// lockDirectory does nothing where there is no flock: put-if-absent keeps two
// brokers on one root safe anyway.
func lockDirectory(string) (unlock func(), err error) { return func() {}, nil }
