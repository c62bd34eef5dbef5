package s3

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"sluice/storage/object"
)

const (
	// attemptTimeout bounds a small request: far beyond the 99th percentile of any
	// healthy store, and below the 10 s after which clients show errors.
	attemptTimeout = 5 * time.Second
	// slowest is the rate in bytes per second below which a transfer is given up.
	slowest = 1 << 20
	// maxAttempts bounds a call whose context does not: about 10 s of backoff.
	maxAttempts = 10
	// firstBackoff and maxBackoff bound the pause before an attempt; each pause is
	// drawn evenly from zero up to its bound (full jitter), so that many callers
	// do not come back at once.
	firstBackoff = 50 * time.Millisecond
	maxBackoff   = 3 * time.Second
	// throttledBackoff is the first bound if the server asks for fewer requests.
	throttledBackoff = 400 * time.Millisecond
	// refusedRepeats is how often a write is repeated that was refused perhaps only
	// in passing. Where deletes keep removing the folder that they are about to write
	// to, servers answer, having written nothing, MinIO 403 AccessDenied (mkdirAll in
	// its cmd/os-reliable.go) and versitygw 409 ExistingObjectIsDirectory (PutObject
	// in its backend/posix/posix.go); a real refusal stays one.
	refusedRepeats = 3
)

// errAttemptTimeout ends an attempt that the server did not answer in time.
var errAttemptTimeout = errors.New("no answer in time")

// retries is how requests are repeated.
type retries struct {
	timeout time.Duration
	backoff time.Duration
	again   func(error) bool
}

func newRetries(timeout time.Duration) retries {
	if timeout <= 0 {
		timeout = attemptTimeout
	}
	return retries{timeout: timeout, backoff: firstBackoff, again: retriable}
}

// run makes attempts at a request that moves size bytes until one succeeds or
// repeating cannot help, and returns the last one's answer and error.
func (r retries) run(ctx context.Context, size int, request func(context.Context) error) (answer, error) {
	for attempt := 0; ; attempt++ {
		a, err := r.once(ctx, size, request)
		if err == nil || attempt+1 == maxAttempts || ctx.Err() != nil || !r.again(err) {
			return a, err
		}
		bound := r.backoff
		if throttled(a.status) {
			bound = max(bound, throttledBackoff)
		}
		bound = min(bound<<attempt, maxBackoff)
		select {
		case <-time.After(rand.N(bound)):
		case <-ctx.Done():
			return a, fmt.Errorf("%w while waiting to repeat after: %w", ctx.Err(), err)
		}
	}
}

// once makes one attempt. Its error is the context's only if that is done.
func (r retries) once(ctx context.Context, size int, request func(context.Context) error) (a answer, err error) {
	if err := ctx.Err(); err != nil {
		return a, err
	}
	bound := r.timeout + transfer(size)
	attempt, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timer := time.AfterFunc(bound, func() { cancel(errAttemptTimeout) })
	defer timer.Stop()
	attempt = context.WithValue(attempt, answerKey{}, &a)
	attempt = context.WithValue(attempt, extendKey{}, func(size int) { timer.Reset(r.timeout + transfer(size)) })
	err = request(attempt)
	switch {
	case err == nil:
		return a, nil
	case ctx.Err() != nil:
		// The request's own error may speak of the attempt only.
		return a, fmt.Errorf("%w: %w", ctx.Err(), err)
	case context.Cause(attempt) == errAttemptTimeout:
		// Not wrapped: it is a cancellation, but not the caller's.
		return a, fmt.Errorf("%w (%v): %v", errAttemptTimeout, bound, err)
	}
	return a, err
}

func transfer(size int) time.Duration {
	return time.Duration(float64(size) / slowest * float64(time.Second))
}

type extendKey struct{}

// extend gives the attempt in ctx the time to read a body of size bytes, which
// is known only once the answer has begun.
func extend(ctx context.Context, size int64) {
	if f, ok := ctx.Value(extendKey{}).(func(int)); ok && size > 0 {
		f(int(size))
	}
}

// retriable reports whether the same request may succeed later.
func retriable(err error) bool {
	status := statusOf(err)
	switch {
	case errors.Is(err, object.ErrDenied), errors.Is(err, errBadRange):
		return false
	case status < 400: // 0: no answer; else one that broke off
		return true
	case status == http.StatusNotImplemented:
		return false
	case status >= 500, throttled(status), status == http.StatusRequestTimeout:
		return true
	case status == http.StatusConflict: // another request for the same thing is under way
		return hasCode(err, "OperationAborted") || hasCode(err, "ConditionalRequestConflict")
	}
	// 400s that tell of the way there, not of the request.
	return hasCode(err, "RequestTimeout") || hasCode(err, "IncompleteBody") ||
		hasCode(err, "BadDigest") || hasCode(err, "XAmzContentChecksumMismatch")
}

// never is the rule of a request whose repetition would change its meaning.
func never(error) bool { return false }

// ofWrite returns r for one write: refusals are repeated a few times, all else
// as then says.
func (r retries) ofWrite(then func(error) bool) retries {
	refused := 0
	r.again = func(err error) bool {
		if hasCode(err, "AccessDenied") || hasCode(err, "ExistingObjectIsDirectory") {
			refused++
			return refused <= refusedRepeats
		}
		return then(err)
	}
	return r
}

func throttled(status int) bool {
	return status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests
}

func rawResponse(out middleware.DeserializeOutput) (*smithyhttp.Response, bool) {
	r, ok := out.RawResponse.(*smithyhttp.Response)
	return r, ok && r != nil && r.Response != nil
}
