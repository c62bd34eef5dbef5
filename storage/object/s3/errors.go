package s3

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"sluice/storage/object"
)

// Errors of Open, each a different thing to put right.
var (
	// ErrNoBucket: the bucket does not exist and was not made.
	ErrNoBucket = errors.New("no such bucket")
	// ErrCredentials: there are none, or the server does not accept them.
	ErrCredentials = errors.New("AWS credentials")
	// ErrEndpoint: no S3 server answers there.
	ErrEndpoint = errors.New("endpoint")
	// ErrDown: the server cannot be reached, or says that it is not ready. It may be
	// starting: this alone is worth waiting for.
	ErrDown = errors.New("server down")
	// ErrRegion: the bucket lies in another region than configured.
	ErrRegion = errors.New("wrong region")
)

// explain turns an error of the first request into one that says what to do.
func (s *Store) explain(err error) error {
	explained := s.advise(err)
	if down(err) {
		return &downError{explained}
	}
	return explained
}

// downError is ErrDown with the text of what it wraps.
type downError struct{ error }

func (e *downError) Unwrap() error        { return e.error }
func (e *downError) Is(target error) bool { return target == ErrDown }

// down reports whether nobody answers there yet, or with an error of the server's own.
func down(err error) bool {
	var op *net.OpError
	var dns *net.DNSError
	return errors.As(err, &op) && op.Op == "dial" || errors.As(err, &dns) ||
		errors.Is(err, errAttemptTimeout) || statusOf(err) >= http.StatusInternalServerError
}

func (s *Store) advise(err error) error {
	at := "s3://" + s.bucket
	switch {
	case isNoBucket(err):
		return fmt.Errorf("%s: %w at %s: create it, or correct its name: %w", at, ErrNoBucket, s.endpoint, err)
	case isCredentials(err):
		return fmt.Errorf("%s: %w: %s does not accept them: check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY "+
			"(or the profile or role), and that the endpoint is the one they are for: %w: %w", at, ErrCredentials, s.endpoint, object.ErrDenied, err)
	case isRegion(err):
		where := ""
		if r := regionOf(err); r != "" {
			where = " (it lies in " + r + ")"
		}
		return fmt.Errorf("%s: %w %s%s: set AWS_REGION to the bucket's region: %w", at, ErrRegion, s.region, where, err)
	case hasCode(err, "RequestTimeTooSkewed"):
		return fmt.Errorf("%s: this machine's clock is too far from the server's: set it right: %w: %w", at, object.ErrDenied, err)
	case isDenied(err):
		return fmt.Errorf("%s: %w: grant s3:ListBucket on the bucket, and s3:GetObject, s3:PutObject and s3:DeleteObject below %s: %w",
			at, object.ErrDenied, s.URL(), err)
	case unreachable(err), errors.Is(err, errAttemptTimeout):
		return fmt.Errorf("%s: %w %s cannot be reached: start the server, or correct AWS_ENDPOINT_URL: %w", at, ErrEndpoint, s.endpoint, err)
	case statusOf(err) == http.StatusNotFound, statusOf(err) > 0 && statusOf(err) < 400:
		return fmt.Errorf("%s: %w %s does not answer as an S3 server: correct AWS_ENDPOINT_URL: %w", at, ErrEndpoint, s.endpoint, err)
	}
	return fmt.Errorf("%s at %s: %w", at, s.endpoint, err)
}

// translate wraps the error of a request to an object in what its caller
// decides by. The SDK's own text stays out of answers that are part of normal work.
func translate(kind object.Kind, key string, err error) error {
	switch {
	case err == nil:
		return nil
	case kind == object.KindCreate && statusOf(err) == http.StatusPreconditionFailed:
		return fmt.Errorf("%s %s: %w", kind, key, object.ErrExists)
	case isNoBucket(err):
		return fmt.Errorf("%s %s: %w: %w", kind, key, ErrNoBucket, err)
	case kind == object.KindGet && statusOf(err) == http.StatusNotFound:
		return fmt.Errorf("%s %s: %w", kind, key, object.ErrNotFound)
	case isDenied(err):
		return fmt.Errorf("%s %s: %w: %w", kind, key, object.ErrDenied, err)
	}
	return fmt.Errorf("%s %s: %w", kind, key, err)
}

// statusOf returns the HTTP status of the answer that err tells of, or 0.
func statusOf(err error) int {
	var r *smithyhttp.ResponseError
	if errors.As(err, &r) && r.Response != nil {
		return r.HTTPStatusCode()
	}
	return 0
}

// hasCode reports whether err carries that S3 error code. A HEAD has none.
func hasCode(err error, code string) bool {
	var e smithy.APIError
	return errors.As(err, &e) && e.ErrorCode() == code
}

func isNoBucket(err error) bool { return hasCode(err, "NoSuchBucket") }

func isCredentials(err error) bool {
	for _, code := range []string{"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "TokenRefreshRequired"} {
		if hasCode(err, code) {
			return true
		}
	}
	return statusOf(err) == http.StatusUnauthorized
}

func isDenied(err error) bool {
	return statusOf(err) == http.StatusForbidden || isCredentials(err)
}

func isRegion(err error) bool {
	return statusOf(err) == http.StatusMovedPermanently || statusOf(err) == http.StatusTemporaryRedirect ||
		hasCode(err, "AuthorizationHeaderMalformed") || hasCode(err, "IllegalLocationConstraintException")
}

func regionOf(err error) string {
	var r *smithyhttp.ResponseError
	if errors.As(err, &r) && r.Response != nil {
		return r.Response.Header.Get("X-Amz-Bucket-Region")
	}
	return ""
}

// unreachable reports whether no connection came about.
func unreachable(err error) bool {
	var op *net.OpError
	var dns *net.DNSError
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var verify *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	return errors.As(err, &op) && op.Op == "dial" || errors.As(err, &dns) ||
		errors.As(err, &unknown) || errors.As(err, &host) || errors.As(err, &verify) || errors.As(err, &record)
}
