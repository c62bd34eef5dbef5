package s3_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"sluice/storage/object"
	"sluice/storage/object/s3"
)

// flaky is an S3 server that a test interferes with.
type flaky struct {
	*httptest.Server
	mu       sync.Mutex
	fault    func(n int, w http.ResponseWriter, r *http.Request, apply http.Handler) bool
	requests []*http.Request // with the fault set, those to objects
}

// newFlaky returns a server and a store on it, opened before there are faults.
func newFlaky(t *testing.T, o s3.Options) (*flaky, *s3.Store) {
	t.Helper()
	apply := gofakes3.New(s3mem.New(), gofakes3.WithLogger(gofakes3.DiscardLog())).Server()
	f := &flaky{}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		fault := f.fault
		if fault != nil {
			f.requests = append(f.requests, r)
		}
		n := len(f.requests)
		f.mu.Unlock()
		if fault == nil || !fault(n, w, r, apply) {
			apply.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(f.Close)
	o.Endpoint, o.Credentials = f.URL, keys
	return f, open(t, "bucket", "root", o)
}

// answer makes the first n requests fail with an S3 error.
func (f *flaky) answer(n, status int, code string) {
	f.set(func(i int, w http.ResponseWriter, _ *http.Request, _ http.Handler) bool {
		if i > n {
			return false
		}
		w.WriteHeader(status)
		fmt.Fprintf(w, "<Error><Code>%s</Code><Message>injected</Message></Error>", code)
		return true
	})
}

// set replaces the fault, which counts requests from 1, and forgets the requests.
func (f *flaky) set(fault func(int, http.ResponseWriter, *http.Request, http.Handler) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault, f.requests = fault, nil
}

func (f *flaky) seen() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.requests)
}

const always = 1 << 30

// cut applies the first n requests and closes the connection instead of answering.
func cut(n int) func(int, http.ResponseWriter, *http.Request, http.Handler) bool {
	return func(i int, w http.ResponseWriter, r *http.Request, apply http.Handler) bool {
		if i > n {
			return false
		}
		apply.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	}
}

func TestCreateMakesASingleAttempt(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault func(*flaky)
	}{
		{"answer lost", func(f *flaky) { f.set(cut(always)) }},
		{"503", func(f *flaky) { f.answer(always, 503, "SlowDown") }},
		{"500", func(f *flaky) { f.answer(always, 500, "InternalError") }},
		{"409", func(f *flaky) { f.answer(always, 409, "ConditionalRequestConflict") }},
		{"501", func(f *flaky) { f.answer(always, 501, "NotImplemented") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, s := newFlaky(t, s3.Options{})
			c.fault(f)
			_, err := s.Create(t.Context(), "k", []byte("x"))
			if err == nil || errors.Is(err, object.ErrExists) || errors.Is(err, object.ErrDenied) || errors.Is(err, context.Canceled) {
				t.Errorf("not an unclear error: %v", err)
			}
			if n := f.seen(); n != 1 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

func TestARefusedWriteIsRepeatedAFewTimes(t *testing.T) {
	f, s := newFlaky(t, s3.Options{})
	writes := map[string]func(context.Context, string, []byte) (time.Time, error){
		"put":    s.Put,
		"create": func(ctx context.Context, key string, body []byte) (time.Time, error) { return s.Create(ctx, key, body) },
	}
	for name, write := range writes {
		f.answer(2, 403, "AccessDenied")
		if _, err := write(t.Context(), name, []byte("x")); err != nil {
			t.Errorf("%s, refused in passing: %v", name, err)
		}
		f.answer(2, 409, "ExistingObjectIsDirectory")
		if _, err := write(t.Context(), name+"-beside", []byte("x")); err != nil {
			t.Errorf("%s, as its folder goes: %v", name, err)
		}
		f.answer(always, 403, "AccessDenied")
		now, err := write(t.Context(), name+"-denied", []byte("x"))
		if !errors.Is(err, object.ErrDenied) || now.IsZero() {
			t.Errorf("%s, refused: %v at %v", name, err, now)
		}
		if n := f.seen(); n != 4 {
			t.Errorf("%s: %d requests", name, n)
		}
	}
}

func TestOtherRequestsAreRepeated(t *testing.T) {
	calls := map[string]func(*s3.Store) error{
		"put": func(s *s3.Store) error { _, err := s.Put(t.Context(), "k", []byte("new")); return err },
		"get": func(s *s3.Store) error {
			o, err := s.Get(t.Context(), "k", object.Range{Length: 1})
			if err == nil && len(o.Body) != 1 {
				return fmt.Errorf("body %q", o.Body)
			}
			return err
		},
		"list": func(s *s3.Store) error {
			l, err := s.List(t.Context(), object.ListRequest{})
			if err == nil && len(l.Objects) != 1 {
				return fmt.Errorf("listing %+v", l)
			}
			return err
		},
		"delete": func(s *s3.Store) error { _, err := s.Delete(t.Context(), "other"); return err },
	}
	for name, fault := range map[string]func(*flaky){
		"answer lost": func(f *flaky) { f.set(cut(2)) },
		"500":         func(f *flaky) { f.answer(2, 500, "InternalError") },
		"400":         func(f *flaky) { f.answer(2, 400, "RequestTimeout") },
	} {
		f, s := newFlaky(t, s3.Options{})
		if _, err := s.Put(t.Context(), "k", []byte("body")); err != nil {
			t.Fatal(err)
		}
		for call, do := range calls {
			fault(f)
			if err := do(s); err != nil {
				t.Errorf("%s, %s: %v", call, name, err)
			}
			if n := f.seen(); n != 3 {
				t.Errorf("%s, %s: %d requests", call, name, n)
			}
		}
	}
}

func TestWhatCannotHelpIsNotRepeated(t *testing.T) {
	f, s := newFlaky(t, s3.Options{})
	f.answer(always, 403, "AccessDenied")
	if _, err := s.Get(t.Context(), "k", object.Range{}); !errors.Is(err, object.ErrDenied) || f.seen() != 1 {
		t.Errorf("denied: %v after %d requests", err, f.seen())
	}
	f.answer(always, 404, "NoSuchBucket")
	if _, err := s.Get(t.Context(), "k", object.Range{}); !errors.Is(err, s3.ErrNoBucket) || errors.Is(err, object.ErrNotFound) || f.seen() != 1 {
		t.Errorf("bucket gone: %v after %d requests", err, f.seen())
	}
	f.answer(always, 400, "InvalidArgument")
	if _, err := s.Put(t.Context(), "k", nil); err == nil || f.seen() != 1 {
		t.Errorf("bad request: %v after %d requests", err, f.seen())
	}
}

func TestRepeatingEndsWithTheContext(t *testing.T) {
	f, s := newFlaky(t, s3.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	f.set(func(n int, w http.ResponseWriter, _ *http.Request, _ http.Handler) bool {
		if n == 2 {
			cancel()
		}
		w.WriteHeader(http.StatusInternalServerError)
		return true
	})
	if _, err := s.Put(ctx, "k", nil); !errors.Is(err, context.Canceled) || f.seen() != 2 {
		t.Errorf("%v after %d requests", err, f.seen())
	}
}

func TestAnAttemptThatHangsIsGivenUp(t *testing.T) {
	f, s := newFlaky(t, s3.Options{AttemptTimeout: 100 * time.Millisecond})
	hang := func(n int) func(int, http.ResponseWriter, *http.Request, http.Handler) bool {
		return func(i int, _ http.ResponseWriter, r *http.Request, _ http.Handler) bool {
			if i > n {
				return false
			}
			io.Copy(io.Discard, r.Body) // only then does the server see the client leave
			<-r.Context().Done()
			return true
		}
	}
	f.set(hang(1))
	if _, err := s.Put(t.Context(), "k", []byte("x")); err != nil || f.seen() != 2 {
		t.Errorf("put: %v after %d requests", err, f.seen())
	}
	f.set(hang(1))
	_, err := s.Create(t.Context(), "k2", []byte("x"))
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no answer in time") {
		t.Errorf("create: %v", err)
	}
}

func TestGetMistrustsTheServer(t *testing.T) {
	f, s := newFlaky(t, s3.Options{})
	if _, err := s.Put(t.Context(), "k", []byte("0123456789")); err != nil {
		t.Fatal(err)
	}
	respond := func(n, status int, contentRange, announced, body string) {
		f.set(func(i int, w http.ResponseWriter, _ *http.Request, _ http.Handler) bool {
			if i > n {
				return false
			}
			if contentRange != "" {
				w.Header().Set("Content-Range", contentRange)
			}
			w.Header().Set("Content-Length", announced)
			w.WriteHeader(status)
			io.WriteString(w, body)
			return true
		})
	}
	want := object.Range{Offset: 3, Length: 4}
	respond(always, 200, "", "10", "0123456789")
	if o, err := s.Get(t.Context(), "k", want); err != nil || string(o.Body) != "3456" || o.Size != 10 {
		t.Errorf("ranges ignored: %q of %d, %v", o.Body, o.Size, err)
	}
	respond(2, 206, "bytes 3-6/10", "4", "34")
	if o, err := s.Get(t.Context(), "k", want); err != nil || string(o.Body) != "3456" || f.seen() != 3 {
		t.Errorf("body broken off: %q, %v after %d requests", o.Body, err, f.seen())
	}
	for _, h := range []string{"bytes 0-3/10", "bytes 4-7/10", "bytes 3-5/10", "bytes 3-6/x", "bytes x", "bytes 3-6/2", "bytes -5-6/9"} {
		respond(always, 206, h, "4", "3456")
		if o, err := s.Get(t.Context(), "k", want); err == nil {
			t.Errorf("Content-Range %s: %q", h, o.Body)
		}
	}
}

func TestDeleteWithoutDeleteObjects(t *testing.T) {
	f, s := newFlaky(t, s3.Options{})
	var all []string
	for i := range 20 {
		all = append(all, fmt.Sprintf("d/%d", i))
		if _, err := s.Put(t.Context(), all[i], nil); err != nil {
			t.Fatal(err)
		}
	}
	f.set(func(_ int, w http.ResponseWriter, r *http.Request, _ http.Handler) bool {
		if r.Method != http.MethodPost {
			return false
		}
		w.WriteHeader(http.StatusNotImplemented)
		io.WriteString(w, "<Error><Code>NotImplemented</Code></Error>")
		return true
	})
	for range 2 {
		now, err := s.Delete(t.Context(), all...)
		if err != nil || now.IsZero() {
			t.Fatalf("%v at %v", err, now)
		}
	}
	if n := f.seen(); n != 1+2*len(all) {
		t.Errorf("%d requests: DeleteObjects was tried again", n)
	}
	if l, err := s.List(t.Context(), object.ListRequest{}); err != nil || len(l.Objects) != 0 {
		t.Errorf("left: %+v, %v", l.Objects, err)
	}
}

func TestKeysThatDeleteObjectsReportsAreTriedAgain(t *testing.T) {
	f, s := newFlaky(t, s3.Options{})
	report := func(n int, code string) {
		f.set(func(i int, w http.ResponseWriter, r *http.Request, _ http.Handler) bool {
			if i > n {
				return false
			}
			fmt.Fprintf(w, "<DeleteResult><Error><Key>root/b</Key><Code>%s</Code><Message>injected</Message></Error></DeleteResult>", code)
			return true
		})
	}
	report(1, "InternalError")
	if _, err := s.Delete(t.Context(), "a", "b", "c"); err != nil || f.seen() != 2 {
		t.Errorf("%v after %d requests", err, f.seen())
	}
	report(always, "AccessDenied")
	if _, err := s.Delete(t.Context(), "a", "b", "c"); !errors.Is(err, object.ErrDenied) || f.seen() != 1 {
		t.Errorf("denied: %v after %d requests", err, f.seen())
	}
	report(always, "NoSuchKey")
	if _, err := s.Delete(t.Context(), "a", "b", "c"); err != nil {
		t.Errorf("not there: %v", err)
	}
}

func TestOpenExplainsRefusals(t *testing.T) {
	for _, c := range []struct {
		status int
		code   string
		is     []error
		says   string
	}{
		{403, "InvalidAccessKeyId", []error{s3.ErrCredentials, object.ErrDenied}, "check AWS_ACCESS_KEY_ID"},
		{403, "SignatureDoesNotMatch", []error{s3.ErrCredentials, object.ErrDenied}, "check AWS_ACCESS_KEY_ID"},
		{400, "ExpiredToken", []error{s3.ErrCredentials, object.ErrDenied}, "check AWS_ACCESS_KEY_ID"},
		{403, "AccessDenied", []error{object.ErrDenied}, "grant s3:ListBucket"},
		{403, "RequestTimeTooSkewed", []error{object.ErrDenied}, "clock"},
		{301, "PermanentRedirect", []error{s3.ErrRegion}, "us-east-1 (it lies in eu-west-1): set AWS_REGION"},
		{400, "AuthorizationHeaderMalformed", []error{s3.ErrRegion}, "set AWS_REGION"},
		{404, "NoSuchBucket", []error{s3.ErrNoBucket}, "could not be made: create it, or grant s3:CreateBucket"},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Amz-Bucket-Region", "eu-west-1")
			if r.Method == http.MethodPut {
				w.WriteHeader(http.StatusForbidden)
				io.WriteString(w, "<Error><Code>AccessDenied</Code></Error>")
				return
			}
			w.WriteHeader(c.status)
			fmt.Fprintf(w, "<Error><Code>%s</Code><Message>injected</Message></Error>", c.code)
		}))
		_, err := s3.Open(t.Context(), "bucket", "", s3.Options{Endpoint: server.URL, Credentials: keys})
		server.Close()
		for _, want := range c.is {
			if !errors.Is(err, want) {
				t.Errorf("%s: %v", c.code, err)
			}
		}
		if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "test-secret") {
			t.Errorf("%s: %v", c.code, err)
		}
	}
}

func TestBodiesOverPlainHTTPCarryACRCInsteadOfASignature(t *testing.T) {
	f, s := newFlaky(t, s3.Options{})
	f.set(func(_ int, _ http.ResponseWriter, r *http.Request, _ http.Handler) bool {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		// The CRC-32 of "123456789" is the check value of its specification, cbf43926.
		if string(body) != "123456789" || r.Header.Get("X-Amz-Checksum-Crc32") != "y/Q5Jg==" ||
			r.Header.Get("X-Amz-Content-Sha256") != "UNSIGNED-PAYLOAD" || r.Header.Get("If-None-Match") != "*" {
			t.Errorf("body %q, header %v", body, r.Header)
		}
		return false
	})
	if _, err := s.Create(t.Context(), "k", []byte("123456789")); err != nil {
		t.Error(err)
	}
}
