//go:build integration

package integration

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// buildTimeout bounds the build of the binary, with nothing in the build cache.
const buildTimeout = 10 * time.Minute

var (
	// source is this folder, cache what installers fill and later runs use again.
	source, cache string
	// binary is the sluice under test.
	binary string
)

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// run builds the binary from this checkout, so that the tests can not meet an old
// one, and runs the tests. SLUICE_BINARY names a built one instead (an image's,
// one with -race).
func run(m *testing.M) (int, error) {
	var err error
	if source, err = os.Getwd(); err != nil {
		return 1, err
	}
	cache = filepath.Join(source, ".cache")
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return 1, err
	}
	if binary = os.Getenv("SLUICE_BINARY"); binary != "" {
		return m.Run(), nil
	}
	dir, err := os.MkdirTemp("", "sluice-integration-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "sluice")
	ctx, cancel := context.WithTimeout(context.Background(), buildTimeout)
	defer cancel()
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, "./cmd/sluice")
	build.Dir = filepath.Dir(source)
	if out, err := build.CombinedOutput(); err != nil {
		return 1, fmt.Errorf("go build ./cmd/sluice: %w\n%s", err, out)
	}
	return m.Run(), nil
}
