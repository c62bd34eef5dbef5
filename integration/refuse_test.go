//go:build integration

package integration

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/twmb/franz-go/pkg/kgo"

	"sluice/integration/setup"
)

// refuseTimeout bounds how long a broker takes to say that it can not start.
const refuseTimeout = 30 * time.Second

// requireRefused starts a broker that can not serve: it must end with exit code 1
// and say all of words, in few lines and without a stack.
func requireRefused(t *testing.T, s store, address string, words ...string) {
	t.Helper()
	p := start(t, "sluice", s.env, binary, "serve", "--store", s.url, "--http", "off", "--listeners", "PLAINTEXT://"+address)
	if code := p.wait(refuseTimeout); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	said := p.err.String()
	for _, word := range words {
		if !strings.Contains(said, word) {
			t.Errorf("it says nothing of %q:\n%s", word, said)
		}
	}
	if strings.Contains(said, "goroutine ") || strings.Count(said, "\n") > 10 {
		t.Errorf("that is not for people:\n%s", said)
	}
}

func TestASecondBrokerOnADirectoryOrPortIsRefused(t *testing.T) {
	b := startSluice(t, directory(t))
	requireRefused(t, b.store, freeAddress(t), "another sluice serves it", strconv.Itoa(b.cmd.Process.Pid), "--store")
	requireRefused(t, directory(t), b.address, "address already in use", b.address, "--listeners")
	// The first goes on.
	cl := connect(t, b, kgo.AllowAutoTopicCreation())
	produceOne(t, cl, "still-here", record{value: []byte("v"), timestamp: time.Now().UnixMilli()})
}

func TestADirectoryThatCanNotBeWrittenIsRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, "not a directory")
	requireRefused(t, store{url: file}, freeAddress(t), file, "is not a directory")

	path := filepath.Join(t.TempDir(), "locked")
	if err := os.Mkdir(path, 0o555); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		path = "/sys/sluice" // where not even root makes one
	}
	requireRefused(t, store{url: path}, freeAddress(t), path)
}

func TestAStoreThatDeniesOrIsNotThereIsRefused(t *testing.T) {
	m := startMinIO(t)
	s := m.store("lake/kafka")
	address := freeAddress(t)

	t.Run("a wrong secret", func(t *testing.T) {
		s.env = m.credentials(setup.MinIOUser, "wrong-secret")
		requireRefused(t, s, address, "credentials", "AWS_SECRET_ACCESS_KEY", "s3://lake")
	})
	t.Run("an unknown key", func(t *testing.T) {
		s.env = m.credentials("nobody", setup.MinIOPassword)
		requireRefused(t, s, address, "credentials", "AWS_ACCESS_KEY_ID")
	})
	t.Run("no server", func(t *testing.T) {
		s.env = append(m.credentials(setup.MinIOUser, setup.MinIOPassword), "AWS_ENDPOINT_URL=http://"+freeAddress(t))
		s.env = append(s.env, "SLUICE_STORE_WAIT_MS=2000")
		start := time.Now()
		requireRefused(t, s, address, "does not answer; trying again", "cannot be reached", "AWS_ENDPOINT_URL")
		if took := time.Since(start); took < 2*time.Second {
			t.Errorf("it gave up after %s", took)
		}
	})
	t.Run("a missing bucket and no right to create it", func(t *testing.T) {
		s.env = m.session(t, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow",
			"Action":["s3:GetObject","s3:PutObject","s3:ListBucket"],"Resource":["arn:aws:s3:::*"]}]}`)
		requireRefused(t, s, address, "s3://lake", "bucket")
	})
	t.Run("no right to write", func(t *testing.T) {
		startSluice(t, m.store("lake/kafka")).stop(t) // it makes the bucket
		s.env = m.session(t, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow",
			"Action":["s3:GetObject","s3:ListBucket"],"Resource":["arn:aws:s3:::*"]}]}`)
		requireRefused(t, s, address, "s3://lake", "denied")
	})
}

// The tables of the broker's own: it does not start on damaged ones, and says what to do.
func TestADamagedTableOfTheBrokerIsRefused(t *testing.T) {
	b := startSluice(t, directory(t))
	b.stop(t)
	for table, todo := range map[string]string{"topics": "made anew from the topics' own tables", "consumer_offsets": "Put back what was there"} {
		log := filepath.Join(b.store.url, "_sluice", table, "_delta_log")
		entries, err := filepath.Glob(filepath.Join(log, "*.json"))
		if err != nil {
			t.Fatal(err)
		}
		bad := filepath.Join(log, fmt.Sprintf("%020d.json", len(entries)))
		write(t, bad, "{")
		requireRefused(t, b.store, b.address, table, "corrupt delta log", todo)
		if err := os.Truncate(bad, 1<<30); err != nil {
			t.Fatal(err)
		}
		requireRefused(t, b.store, b.address, table, "larger than memory allows", todo)
		if err := os.Remove(bad); err != nil {
			t.Fatal(err)
		}
	}
	b.restart(t)
}

// A compose file or a cluster starts all at once: the broker may be there before its store.
func TestABrokerWaitsForItsStore(t *testing.T) {
	m := startMinIO(t)
	m.kill()
	b := newSluice(t, m.store("lake/kafka"))
	b.process = start(t, "sluice", b.store.env, b.command()...)
	for deadline := time.Now().Add(refuseTimeout); !strings.Contains(b.err.String(), "the store does not answer"); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it does not say what it waits for:\n%s", b.err)
		}
	}
	m.restart(t)
	b.process.ready(t, "http://"+b.http+"/readyz")
	produceOne(t, connect(t, b, kgo.AllowAutoTopicCreation()), "late", record{value: []byte("v"), timestamp: time.Now().UnixMilli()})
}

// session is the environment of temporary credentials with no more rights than a
// policy gives (STS AssumeRole).
func (m *minio) session(t *testing.T, policy string) []string {
	t.Helper()
	form := url.Values{"Action": {"AssumeRole"}, "Version": {"2011-06-15"}, "DurationSeconds": {"3600"}, "Policy": {policy}}.Encode()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+m.address+"/", strings.NewReader(form))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	sum := sha256.Sum256([]byte(form))
	who := aws.Credentials{AccessKeyID: setup.MinIOUser, SecretAccessKey: setup.MinIOPassword}
	if err := v4.NewSigner().SignHTTP(t.Context(), who, req, hex.EncodeToString(sum[:]), "sts", "us-east-1", time.Now()); err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Key    string `xml:"AssumeRoleResult>Credentials>AccessKeyId"`
		Secret string `xml:"AssumeRoleResult>Credentials>SecretAccessKey"`
		Token  string `xml:"AssumeRoleResult>Credentials>SessionToken"`
	}
	if err := xml.Unmarshal(text, &answer); err != nil || answer.Token == "" {
		t.Fatalf("AssumeRole: %s: %v\n%s", resp.Status, err, text)
	}
	return append(m.credentials(answer.Key, answer.Secret), "AWS_SESSION_TOKEN="+answer.Token)
}

// Bytes that are not Kafka's end their connection and nothing else: a client goes
// on meanwhile.
func TestGarbageOnThePortDisturbsNobody(t *testing.T) {
	b := startSluice(t, directory(t))
	cl := connect(t, b, kgo.AllowAutoTopicCreation())
	random := make([]byte, 64<<10)
	source := rand.NewChaCha8([32]byte{1})
	_, _ = source.Read(random)
	garbage := map[string][]byte{
		"HTTP":               []byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
		"TLS":                {0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03},
		"random bytes":       random,
		"zeros":              make([]byte, 64<<10),
		"a frame of 2 GB":    append([]byte{0x7f, 0xff, 0xff, 0xff, 0, 18, 0, 3}, random[:1024]...),
		"a negative frame":   {0xff, 0xff, 0xff, 0xff, 0, 18},
		"an unknown API":     {0, 0, 0, 10, 0x7f, 0xff, 0, 0, 0, 0, 0, 1, 0xff, 0xff},
		"a cut Produce":      append([]byte{0, 0, 4, 0, 0, 0, 0, 9, 0, 0, 0, 1, 0xff, 0xff, 0}, random[:1009]...),
		"a Fetch of garbage": append([]byte{0, 0, 4, 0, 0, 1, 0, 12, 0, 0, 0, 1, 0xff, 0xff, 0}, random[:1009]...),
	}
	for name, bad := range garbage {
		for range 5 {
			c, err := net.Dial("tcp", b.address)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			_ = c.SetDeadline(time.Now().Add(10 * time.Second))
			_, _ = io.Copy(c, bytes.NewReader(bad)) // it may close before the end
			// Nothing more comes: the broker may answer, and must not wait for ever.
			_ = c.(*net.TCPConn).CloseWrite()
			if _, err := io.Copy(io.Discard, c); err != nil && os.IsTimeout(err) {
				t.Errorf("%s: the connection hangs", name)
			}
			c.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			if err := cl.ProduceSync(ctx, &kgo.Record{Topic: "undisturbed", Value: []byte(name)}).FirstErr(); err != nil {
				t.Fatalf("after %s: %v", name, err)
			}
			cancel()
		}
	}
	if said := b.err.String(); strings.Contains(said, "panic") || strings.Contains(said, "goroutine ") {
		t.Fatalf("it panicked:\n%s", said)
	}
	got := rows(t, b.store, deltaRs, "undisturbed")
	if len(got) != 5*len(garbage) {
		t.Fatalf("%d rows, want %d", len(got), 5*len(garbage))
	}
}
