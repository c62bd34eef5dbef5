//go:build integration

package integration

import (
	"bufio"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"sluice/integration/setup"
)

// store is where a broker keeps its topics, and how others get there.
type store struct {
	name string
	url  string   // for --store
	env  []string // for sluice and for engines
	// wake starts the store's server again if the test has ended it; nil: there is none.
	wake func(t *testing.T)
	// past is the environment that leads to the store past whatever stands before it (a proxy);
	// nil: env does.
	past []string
	// gaps says that the test deletes rows: offsets need not be dense in the end.
	gaps bool
}

// table is the URL of a table in the store as Delta engines take it.
func (s store) table(path string) string { return strings.TrimRight(s.url, "/") + "/" + path }

// direct is the store as those see it for whom nothing stands in between.
func (s store) direct() store {
	if s.past != nil {
		s.env = s.past
	}
	return s
}

// eachStore runs a test on a local directory and on MinIO.
func eachStore(t *testing.T, test func(t *testing.T, s store)) {
	t.Run("directory", func(t *testing.T) { test(t, directory(t)) })
	t.Run("MinIO", func(t *testing.T) { test(t, startMinIO(t).store("lake/kafka")) })
}

// cardStores runs a suite of the report card on the stores that it has rows for. wanted
// tells whether a row runs there: the core always, the others where the whole card is
// made, on which a second S3 server has the core only.
func cardStores(t *testing.T, test func(t *testing.T, s store, wanted func(core bool) bool)) {
	full := os.Getenv("SLUICE_TEST_CARD") == "full"
	eachStore(t, func(t *testing.T, s store) { test(t, s, func(core bool) bool { return core || full }) })
	if full {
		t.Run("versitygw", func(t *testing.T) { test(t, startVersitygw(t), func(core bool) bool { return core }) })
	}
}

func directory(t *testing.T) store {
	t.Helper()
	return store{name: "directory", url: filepath.Join(t.TempDir(), "store")}
}

// startVersitygw starts a versitygw over an empty directory, which ends with the test,
// and is a store in it.
func startVersitygw(t *testing.T) store {
	t.Helper()
	address := freeAddress(t)
	p := start(t, "versitygw", []string{"ROOT_ACCESS_KEY=" + setup.MinIOUser, "ROOT_SECRET_KEY=" + setup.MinIOPassword},
		versitygw(t), "--port", address, "--health", "/health", "--quiet", "posix", t.TempDir())
	p.ready(t, "http://"+address+"/health")
	return store{name: "versitygw", url: "s3://lake/kafka", env: setup.S3Env(address, setup.MinIOUser, setup.MinIOPassword)}
}

// minio is a running MinIO with one drive.
type minio struct {
	*process
	address, drive string
}

// startMinIO starts a MinIO with an empty drive that ends with the test.
func startMinIO(t *testing.T) *minio {
	t.Helper()
	m := &minio{address: freeAddress(t), drive: t.TempDir()}
	m.restart(t)
	return m
}

// restart starts the server once more: same drive, same port.
func (m *minio) restart(t *testing.T) {
	t.Helper()
	server, err := setup.MinIO(cache)
	if err != nil {
		t.Fatal(err)
	}
	m.process = start(t, "minio", setup.MinIOEnv(t.TempDir()), server, "server", "--quiet", "--address", m.address, m.drive)
	m.process.ready(t, setup.MinIOReady(m.address))
}

// ready waits until a URL of the process answers 200.
func (p *process) ready(t *testing.T, url string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		resp, err := http.Get(url)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-p.ended:
			t.Fatalf("%s has ended:\n%s", p.name, p.err)
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is not ready: %v", p.name, err)
		}
	}
}

// store is a store in a bucket, which sluice makes.
func (m *minio) store(path string) store {
	wake := func(t *testing.T) {
		select {
		case <-m.ended:
			m.restart(t)
		default:
		}
	}
	return store{name: "MinIO", url: "s3://" + path, env: m.credentials(setup.MinIOUser, setup.MinIOPassword), wake: wake}
}

// credentials is the environment of a client of this server.
func (m *minio) credentials(user, password string) []string {
	return setup.S3Env(m.address, user, password)
}

// sluice is a running `sluice serve`.
type sluice struct {
	*process
	store   store
	address string // of Kafka
	http    string
	binary  string
	args    []string

	mu      sync.Mutex
	clients []*kgo.Client // that tests have made; guarded by mu
}

// startSluice starts a broker on a store and waits until it serves.
func startSluice(t *testing.T, s store, args ...string) *sluice {
	t.Helper()
	b := newSluice(t, s, args...)
	b.restart(t)
	return b
}

// newSluice is a broker on a store that is not started yet.
func newSluice(t *testing.T, s store, args ...string) *sluice {
	t.Helper()
	b := &sluice{store: s, binary: binary, args: args}
	t.Cleanup(func() { checkTables(t, s.direct()) }) // when the broker has ended
	b.address = freeAddress(t)
	b.http = freeAddress(t)
	return b
}

// command is what starts the broker.
func (b *sluice) command() []string {
	return append([]string{b.binary, "serve", "--store", b.store.url, "--http", b.http,
		"--listeners", "PLAINTEXT://" + b.address, "--log-level", "debug"}, b.args...)
}

// restart starts the broker once more: same store, same port.
func (b *sluice) restart(t *testing.T) {
	t.Helper()
	b.process = start(t, "sluice", b.store.env, b.command()...)
	b.process.ready(t, "http://"+b.http+"/readyz")
}

// stop ends the broker in order.
func (b *sluice) stop(t *testing.T) {
	t.Helper()
	b.terminate()
	if code := b.wait(stopTimeout); code != 0 {
		t.Fatalf("sluice ended with exit code %d", code)
	}
}

// metric is a number that the broker tells; name is with its labels, if it has any.
func (b *sluice) metric(t *testing.T, name string) float64 {
	t.Helper()
	resp, err := http.Get("http://" + b.http + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			n, err := strconv.ParseFloat(text, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}
