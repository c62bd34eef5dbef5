//go:build unix

package setup

import (
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
)

// MinIOVersion is the last of MinIO's public history, which the Go proxy has.
const MinIOVersion = "v0.0.0-20260212201848-7aac2a2c5b7c"

// Who MinIO lets in.
const (
	MinIOUser     = "integration"
	MinIOPassword = "integration-secret"
)

// MinIO is the path of MinIO, built from its source (which is under the AGPL: it is a
// program beside ours and never linked). SLUICE_TEST_MINIO names a built one and
// saves minutes.
func MinIO(cache string) (string, error) {
	if path := os.Getenv("SLUICE_TEST_MINIO"); path != "" {
		return path, nil
	}
	dir, err := Install(cache, "minio", MinIOVersion, func(dir string) error {
		return Run(dir, []string{"GOBIN=" + dir, "GOFLAGS=", "CGO_ENABLED=0"},
			"go", "install", "-trimpath", "-ldflags=-s -w", "github.com/minio/minio@"+MinIOVersion)
	})
	return filepath.Join(dir, "minio"), err
}

// MinIOEnv is the environment of a MinIO server that keeps to itself.
func MinIOEnv(home string) []string {
	return []string{"MINIO_ROOT_USER=" + MinIOUser, "MINIO_ROOT_PASSWORD=" + MinIOPassword,
		"MINIO_BROWSER=off", "MINIO_CALLHOME_ENABLE=off", "MINIO_UPDATE=off", "HOME=" + home}
}

// MinIOReady is the URL that answers 200 when the server at an address serves.
func MinIOReady(address string) string { return "http://" + address + "/minio/health/cluster" }

// S3Env is the environment of a client of the S3 server at an address. Profiles of the
// user stay out.
func S3Env(address, user, password string) []string {
	return []string{
		"AWS_ENDPOINT_URL=http://" + address, "AWS_ALLOW_HTTP=true", "AWS_REGION=us-east-1",
		"AWS_ACCESS_KEY_ID=" + user, "AWS_SECRET_ACCESS_KEY=" + password, "AWS_SESSION_TOKEN=",
		"AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE=" + os.DevNull, "AWS_SHARED_CREDENTIALS_FILE=" + os.DevNull,
	}
}

// FreeAddress is an address of the loopback interface whose port nobody has. It lies
// below the range that the kernel takes ports of outgoing connections from: a broker
// that restarts must get the same one again.
func FreeAddress() (string, error) {
	for range 100 {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(20000+rand.IntN(12000)))
		ln, err := net.Listen("tcp", address)
		if err != nil {
			continue
		}
		ln.Close()
		return address, nil
	}
	return "", errors.New("no free port between 20000 and 32000")
}
