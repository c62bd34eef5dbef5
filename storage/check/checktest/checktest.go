// Package checktest ends tests that wrote tables: each of them is read again by
// package check, and no promise may be broken.
package checktest

import (
	"context"
	"testing"

	"sluice/storage/check"
	"sluice/storage/object"
	"sluice/storage/object/mem"
)

// Root fails the test for every error in the tables of a root. The faults of a
// store in memory do not apply to the check.
func Root(t testing.TB, store object.Store, o check.Options) {
	t.Helper()
	if m, ok := store.(*mem.Store); ok {
		store = m.Handle()
	}
	// The test's own context has ended where this is called from a Cleanup.
	report, err := check.All(context.Background(), store, o, nil)
	if err != nil {
		t.Errorf("the tables cannot be checked: %v", err)
		return
	}
	for _, p := range report.Problems() {
		if p.Severity == check.Error {
			t.Errorf("check: %s", &p)
		}
	}
}
