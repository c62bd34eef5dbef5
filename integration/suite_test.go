//go:build integration

package integration

import (
	"os"
	"os/exec"
	"testing"
)

// TestMinIOPassesTheSuiteOfStores runs the suite that every object store passes
// (storage/object/objecttest) on a real server: conditional puts raced by 16
// writers, ranges, listings. `go test` alone has an S3 server in process only.
func TestMinIOPassesTheSuiteOfStores(t *testing.T) {
	passesTheSuite(t, startMinIO(t).store("suite/store"))
}

// TestVersitygwPassesTheSuiteOfStores does so on a server of another make, whose
// objects are files.
func TestVersitygwPassesTheSuiteOfStores(t *testing.T) {
	passesTheSuite(t, startVersitygw(t))
}

func passesTheSuite(t *testing.T, s store) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-run", "^TestServer$", "-v", "../storage/object/s3")
	cmd.Env = append(append(os.Environ(), s.env...), "SLUICE_TEST_S3="+s.url)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out[max(0, len(out)-2000):])
}
