//go:build integration

package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/integration/setup"
)

// snippetTimeout bounds one snippet of README.md.
const snippetTimeout = 3 * time.Minute

// fenced finds the snippets of a page.
var fenced = regexp.MustCompile("(?ms)^```sh\n(.*?)^```$")

// shims stand for programs in front of a snippet's PATH. They do what the real one does
// with what is installed already, and complain about names that do not exist.
var shims = map[string]string{
	// The binary under test. A server goes on behind the snippet, which nobody would
	// end by Ctrl-C.
	"sluice": `if [ "$1" != serve ]; then exec "$SLUICE" "$@"; fi
"$SLUICE" "$@" > "$SERVED.log" 2>&1 < /dev/null &
echo $! > "$SERVED"
until "$SLUICE" health 2> /dev/null; do kill -0 $! || { cat "$SERVED.log" >&2; exit 1; }; sleep 0.1; done`,
	// go run is the binary under test; install and test are only looked up.
	"go": `verb=$1; shift
if [ "$verb" = run ]; then shift; exec sluice "$@"; fi
cd "$SOURCE" && exec "$GO" list "$@" > /dev/null`,
	// The packages are there, at the tests' pins.
	"pip": `shift; exec python -m pip show --quiet "$@"`,
}

// TestTheSnippetsOfTheReadmeWork runs each fenced snippet of the page that users read
// first, as it is but for ports, keys and waits, in a folder and with a broker of its own.
// What `sluice table sql` prints is run for each engine by TestEngineCard.
func TestTheSnippetsOfTheReadmeWork(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(source, "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{ // what snippets that begin so must show
		"sluice produce hello":      "first record",
		"pip install":               `b"first`,
		"sluice check orders":       `"problems"`,
		"sluice table describe":     "orders",
		"go run ./cmd/sluice serve": "", "go install": "", "export AWS_ENDPOINT_URL": "", "docker compose": "",
	}
	found := fenced.FindAllStringSubmatch(string(page), -1)
	if len(found) != len(want) {
		t.Errorf("%d snippets, %d are known here", len(found), len(want))
	}
	for _, snippet := range found {
		text := snippet[1]
		first, _, _ := strings.Cut(text, "\n")
		t.Run(strings.TrimSpace(strings.SplitN(first, "#", 2)[0]), func(t *testing.T) {
			if strings.HasPrefix(text, "docker ") {
				t.Skip("not run: no test has Docker; the image's binary is the one under test")
			}
			said := runSnippet(t, text)
			for begins, words := range want {
				if strings.HasPrefix(text, begins) && !strings.Contains(said, words) {
					t.Errorf("it does not show %q:\n%s", words, said)
				}
			}
		})
	}
}

// runSnippet runs a snippet with what it takes for granted: a broker with the topics hello
// and orders, unless it starts one, and a MinIO if it talks to one. It returns what the
// snippet printed.
func runSnippet(t *testing.T, text string) string {
	t.Helper()
	dir, bin := t.TempDir(), t.TempDir()
	address, web := freeAddress(t), freeAddress(t)
	interpreter := python(t, "engines")
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	served := filepath.Join(bin, "served")
	env := append([]string{
		"SLUICE=" + binary, "SOURCE=" + filepath.Dir(source), "GO=" + goTool, "SERVED=" + served,
		"SLUICE_BROKERS=" + address, "KAFKA_LISTENERS=PLAINTEXT://" + address, "SLUICE_HTTP=" + web,
		"PATH=" + bin + string(os.PathListSeparator) + filepath.Dir(interpreter) + string(os.PathListSeparator) + os.Getenv("PATH"),
	}, quiet...)
	for name, body := range shims {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"+body+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { endServed(t, served) })

	script := text
	if strings.Contains(text, "localhost:9000") {
		m := startMinIO(t)
		env = append(env, m.credentials(setup.MinIOUser, setup.MinIOPassword)...)
		script = strings.NewReplacer("localhost:9000", m.address,
			"AWS_ACCESS_KEY_ID=minioadmin", "AWS_ACCESS_KEY_ID="+setup.MinIOUser,
			"AWS_SECRET_ACCESS_KEY=minioadmin", "AWS_SECRET_ACCESS_KEY="+setup.MinIOPassword).Replace(script)
	}
	script = strings.ReplaceAll(script, "--for 60s", "--for 1s")
	if !regexp.MustCompile(`(?m)^(sluice|go run \S+) serve`).MatchString(script) {
		script = `sluice serve
sluice produce hello "first record" "second record" > /dev/null
for n in 15 16 17; do sluice produce orders "an order" --key customer-$n > /dev/null; done
` + script
	}
	p := startIn(t, dir, "the snippet", env, "sh", "-eux", "-c", script)
	p.in.Close()
	if code := p.wait(snippetTimeout); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	return p.out.String()
}

// endServed ends the broker that a snippet has left.
func endServed(t *testing.T, path string) {
	text, err := os.ReadFile(path)
	if err != nil {
		return // it started none
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	_ = syscall.Kill(pid, syscall.SIGTERM)
	for deadline := time.Now().Add(stopTimeout); syscall.Kill(pid, 0) == nil; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			t.Fatal("the broker does not end")
		}
	}
	if t.Failed() {
		said, _ := os.ReadFile(path + ".log")
		t.Logf("the broker: %s", said)
	}
}
