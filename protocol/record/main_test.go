package record

import (
	"testing"

	"go.uber.org/goleak"
)

// No codec keeps a goroutine.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
