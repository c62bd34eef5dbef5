package s3_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/google/uuid"
	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"sluice/storage/object"
	"sluice/storage/object/objecttest"
	"sluice/storage/object/s3"
)

// TestMain keeps the SDK from the machine's own AWS configuration, but for the
// server that SLUICE_TEST_S3 names.
func TestMain(m *testing.M) {
	if os.Getenv("SLUICE_TEST_S3") == "" {
		for _, v := range []string{
			"AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_S3_FORCE_PATH_STYLE",
			"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_CA_BUNDLE",
		} {
			os.Unsetenv(v)
		}
		os.Setenv("AWS_CONFIG_FILE", os.DevNull)
		os.Setenv("AWS_SHARED_CREDENTIALS_FILE", os.DevNull)
		os.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	}
	os.Exit(m.Run())
}

var keys = credentials.NewStaticCredentialsProvider("test-id", "test-secret", "")

// fake starts an S3 server in this process.
func fake(t testing.TB) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(gofakes3.New(s3mem.New(), gofakes3.WithLogger(gofakes3.DiscardLog())).Server())
	t.Cleanup(server.Close)
	return server
}

func open(t testing.TB, bucket, prefix string, o s3.Options) *s3.Store {
	t.Helper()
	s, err := s3.Open(t.Context(), bucket, prefix, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStore(t *testing.T) {
	o := s3.Options{Endpoint: fake(t).URL, Credentials: keys}
	t.Run("below a prefix", func(t *testing.T) {
		objecttest.Run(t, func(t *testing.T) object.Store { return open(t, "bucket", "some/prefix", o) })
	})
	t.Run("in a whole bucket", func(t *testing.T) {
		objecttest.Run(t, func(t *testing.T) object.Store { return open(t, "bucket", "", o) })
	})
}

// TestServer runs the suite against the server at SLUICE_TEST_S3, an
// s3://bucket/prefix URL, with the SDK's environment (AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, ...).
func TestServer(t *testing.T) {
	at := os.Getenv("SLUICE_TEST_S3")
	if at == "" {
		t.Skip("SLUICE_TEST_S3 names no server")
	}
	u, err := url.Parse(at)
	if err != nil || u.Scheme != "s3" {
		t.Fatalf("SLUICE_TEST_S3=%s is not an s3:// URL", at)
	}
	prefix := strings.Trim(u.Path, "/") + "/test-" + uuid.NewString()
	objecttest.Run(t, func(t *testing.T) object.Store { return open(t, u.Host, prefix, s3.Options{}) })
	report, err := object.Probe(t.Context(), open(t, u.Host, prefix, s3.Options{}))
	t.Logf("probe: %+v, %v", report, err)
	if err != nil {
		t.Error("the probe refuses the server")
	}
}

func TestURLNamesTheRootWithoutCredentials(t *testing.T) {
	server := fake(t)
	for _, c := range [][2]string{{"", "s3://bucket"}, {"a/b", "s3://bucket/a/b"}, {"/a/b/", "s3://bucket/a/b"}} {
		s := open(t, "bucket", c[0], s3.Options{Endpoint: strings.Replace(server.URL, "http://", "http://user:pass@", 1), Credentials: keys})
		if s.URL() != c[1] {
			t.Errorf("prefix %q: URL %s, want %s", c[0], s.URL(), c[1])
		}
	}
}

func TestPrefixesAreApart(t *testing.T) {
	o := s3.Options{Endpoint: fake(t).URL, Credentials: keys}
	a, ab := open(t, "bucket", "a", o), open(t, "bucket", "ab", o)
	for _, s := range []*s3.Store{a, ab} {
		if _, err := s.Create(t.Context(), "k", []byte(s.URL())); err != nil {
			t.Fatal(err)
		}
	}
	l, err := a.List(t.Context(), object.ListRequest{})
	if err != nil || len(l.Objects) != 1 || l.Objects[0].Key != "k" {
		t.Errorf("%+v, %v", l, err)
	}
	if o, err := open(t, "bucket", "", o).Get(t.Context(), "ab/k", object.Range{}); err != nil || string(o.Body) != "s3://bucket/ab" {
		t.Errorf("%q, %v", o.Body, err)
	}
}

func TestTheEnvironmentConfigures(t *testing.T) {
	server := fake(t)
	t.Setenv("AWS_ACCESS_KEY_ID", "id")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	for _, v := range []string{"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"} {
		t.Run(v, func(t *testing.T) {
			t.Setenv(v, server.URL)
			s := open(t, "bucket", v, s3.Options{})
			if _, err := s.Create(t.Context(), "k", nil); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	server := fake(t)
	notS3 := httptest.NewServer(nil) // 404 page not found, in plain text
	t.Cleanup(notS3.Close)
	gone := httptest.NewServer(nil)
	gone.Close()
	for _, c := range []struct {
		name, bucket, prefix string
		options              s3.Options
		is                   error
		says                 string
	}{
		{"bucket missing", "missing", "", s3.Options{Endpoint: server.URL, NoCreateBucket: true}, s3.ErrNoBucket, "create it, or correct its name"},
		{"nobody there", "bucket", "", s3.Options{Endpoint: gone.URL}, s3.ErrEndpoint, "start the server, or correct AWS_ENDPOINT_URL"},
		{"not an S3 server", "bucket", "", s3.Options{Endpoint: notS3.URL}, s3.ErrEndpoint, "does not answer as an S3 server"},
		{"endpoint is no URL", "bucket", "", s3.Options{Endpoint: "localhost:9000"}, s3.ErrEndpoint, "such as http://localhost:9000"},
		{"prefix illegal", "bucket", "a/../b", s3.Options{Endpoint: server.URL}, object.ErrBadKey, "prefix"},
		{"prefix too long", "bucket", strings.Repeat("x", 200), s3.Options{Endpoint: server.URL}, object.ErrBadKey, "at most 123 bytes"},
		{"directory bucket", "b--use1-az4--x-s3", "", s3.Options{}, nil, "general purpose bucket"},
		{"bucket name illegal", "Not A Bucket", "", s3.Options{Endpoint: server.URL}, nil, ""},
		{"no bucket", "", "", s3.Options{}, nil, "s3://bucket/prefix"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.options.Credentials = keys
			_, err := s3.Open(t.Context(), c.bucket, c.prefix, c.options)
			if err == nil || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("error: %v", err)
			}
			if strings.Contains(err.Error(), "test-secret") {
				t.Errorf("the error shows the secret: %v", err)
			}
		})
	}
	t.Run("no credentials", func(t *testing.T) {
		_, err := s3.Open(t.Context(), "bucket", "", s3.Options{Endpoint: server.URL})
		if !errors.Is(err, s3.ErrCredentials) || !strings.Contains(err.Error(), "set AWS_ACCESS_KEY_ID") {
			t.Fatalf("error: %v", err)
		}
	})
	t.Run("context done", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := s3.Open(ctx, "bucket", "", s3.Options{Endpoint: server.URL, Credentials: keys})
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("error: %v", err)
		}
	})
}

func TestBrokersMayMakeTheBucketAtOnce(t *testing.T) {
	server := fake(t)
	errs := make(chan error)
	for range 4 {
		go func() {
			_, err := s3.Open(t.Context(), "fresh", "", s3.Options{Endpoint: server.URL, Credentials: keys})
			errs <- err
		}()
	}
	for range 4 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

func TestKeysOfOthersAreLeftOut(t *testing.T) {
	backend := s3mem.New()
	server := httptest.NewServer(gofakes3.New(backend, gofakes3.WithLogger(gofakes3.DiscardLog())).Server())
	t.Cleanup(server.Close)
	s := open(t, "bucket", "root", s3.Options{Endpoint: server.URL, Credentials: keys})
	for _, key := range []string{"root/", "root/t/", "root/t/x//y", "root/ä", "root/t/fine", "elsewhere"} {
		if _, err := backend.PutObject("bucket", key, nil, strings.NewReader("x"), 1, nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, limit := range []int{0, 1, 2} {
		var got []string
		if _, err := object.All(t.Context(), s, object.ListRequest{Limit: limit}, func(i object.Info) error {
			got = append(got, i.Key)
			return nil
		}); err != nil || len(got) != 1 || got[0] != "t/fine" {
			t.Errorf("limit %d: %q, %v", limit, got, err)
		}
	}
}

// BenchmarkCreate measures the client's cost of 100 KiB, server included.
func BenchmarkCreate(b *testing.B) {
	s := open(b, "bucket", "bench", s3.Options{Endpoint: fake(b).URL, Credentials: keys})
	body := make([]byte, 100<<10)
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if _, err := s.Create(b.Context(), uuid.NewString(), body); err != nil {
			b.Fatal(err)
		}
	}
}
