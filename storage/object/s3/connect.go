package s3

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"
)

// defaultRegion is used where neither Options nor the environment name one:
// servers other than Amazon's mostly do not care.
const defaultRegion = "us-east-1"

const (
	// idleConns is how many connections are kept for reuse: above the requests
	// that a busy broker has in flight, so that none pays for a handshake.
	idleConns = 128
	// connBuffer is the size of a connection's read and write buffers. Large ones
	// double the CPU per request where a server closes connections.
	connBuffer = 32 << 10
	// dialTimeout bounds connecting and the TLS handshake, each.
	dialTimeout = 5 * time.Second
	// credentialsTimeout bounds the search for credentials, which may ask the
	// metadata service of a machine that has none.
	credentialsTimeout = 15 * time.Second
)

// Options override the environment. The zero Options take all from there.
type Options struct {
	// Endpoint is the URL of the server, overriding AWS_ENDPOINT_URL_S3,
	// AWS_ENDPOINT_URL and the shared config. Empty with none of those: Amazon S3.
	Endpoint string
	// Region overrides AWS_REGION and the shared config; else us-east-1.
	Region string
	// PathStyle puts the bucket into the path instead of the host name. Nil means
	// AWS_S3_FORCE_PATH_STYLE, or if that is not set: whenever there is an endpoint URL.
	PathStyle *bool
	// Credentials override the SDK's search for them.
	Credentials aws.CredentialsProvider
	// NoCreateBucket makes a missing bucket an error.
	NoCreateBucket bool
	// AttemptTimeout is the time after which a small request is given up and, Create
	// excepted, repeated; big ones get more by size. 0 means 5 s.
	AttemptTimeout time.Duration
}

// connect makes the client, without asking the server anything.
func connect(ctx context.Context, bucket string, o Options) (*Store, error) {
	// A BuildableClient, as only for one does the SDK honour AWS_CA_BUNDLE.
	client := awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
		t.MaxIdleConns, t.MaxIdleConnsPerHost = 2*idleConns, idleConns
		t.ReadBufferSize, t.WriteBufferSize = connBuffer, connBuffer
		t.TLSHandshakeTimeout = dialTimeout
		t.ForceAttemptHTTP2 = false // one connection for all requests would queue them behind big bodies
		t.DisableCompression = true // what is stored compressed must arrive as stored
	}).WithDialerOptions(func(d *net.Dialer) { d.Timeout = dialTimeout })
	opts := []func(*config.LoadOptions) error{
		config.WithHTTPClient(client),
		config.WithRetryer(func() aws.Retryer { return aws.NopRetryer{} }),
		config.WithRequestChecksumCalculation(aws.RequestChecksumCalculationWhenRequired),
		config.WithResponseChecksumValidation(aws.ResponseChecksumValidationWhenRequired),
		config.WithDefaultRegion(defaultRegion),
	}
	if o.Region != "" {
		opts = append(opts, config.WithRegion(o.Region))
	}
	if o.Credentials != nil {
		opts = append(opts, config.WithCredentialsProvider(o.Credentials))
	}
	cfg, err := config.LoadDefaultConfig(ctx, opts...)
	if err != nil {
		return nil, fmt.Errorf("s3://%s: AWS configuration: %w", bucket, err)
	}
	searchCtx, cancel := context.WithTimeout(ctx, credentialsTimeout)
	defer cancel()
	if _, err := cfg.Credentials.Retrieve(searchCtx); err != nil {
		return nil, fmt.Errorf("s3://%s: %w: none found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "+
			"or a profile or role that the AWS SDKs find: %w", bucket, ErrCredentials, err)
	}

	s := &Store{bucket: bucket, region: cfg.Region, endpoint: "Amazon S3 in " + cfg.Region}
	s.retries = newRetries(o.AttemptTimeout)
	var invalid error
	s.client = s3.NewFromConfig(cfg, func(opts *s3.Options) {
		if o.Endpoint != "" {
			opts.BaseEndpoint = &o.Endpoint
		}
		opts.UsePathStyle = opts.BaseEndpoint != nil
		if v, err := strconv.ParseBool(os.Getenv("AWS_S3_FORCE_PATH_STYLE")); err == nil {
			opts.UsePathStyle = v
		}
		if o.PathStyle != nil {
			opts.UsePathStyle = *o.PathStyle
		}
		opts.APIOptions = append(opts.APIOptions, recordAnswer)
		if opts.BaseEndpoint == nil {
			return
		}
		u, err := url.Parse(*opts.BaseEndpoint)
		if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
			invalid = fmt.Errorf("s3://%s: %w: the endpoint must be a URL such as http://localhost:9000", bucket, ErrEndpoint)
			return
		}
		s.endpoint = u.Scheme + "://" + u.Host
		if u.Scheme == "http" {
			// The SDK would hash each body with SHA-256 where no TLS protects it, which
			// costs more than all the rest. Bodies carry a CRC-32 instead.
			opts.APIOptions = append(opts.APIOptions, v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware)
		}
	})
	return s, invalid
}

// answer is what each attempt notes of the server's answer, errors included.
type answer struct {
	status int       // 0: no answer
	now    time.Time // zero: no Date header
}

type answerKey struct{}

// recordAnswer adds the middleware next to the transport that fills the answer
// in the request's context.
func recordAnswer(stack *middleware.Stack) error {
	return stack.Deserialize.Add(middleware.DeserializeMiddlewareFunc("RecordAnswer", func(
		ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler,
	) (middleware.DeserializeOutput, middleware.Metadata, error) {
		out, meta, err := next.HandleDeserialize(ctx, in)
		if a, ok := ctx.Value(answerKey{}).(*answer); ok {
			if r, ok := rawResponse(out); ok {
				a.status = r.StatusCode
				if now, err := http.ParseTime(r.Header.Get("Date")); err == nil {
					a.now = now
				}
			}
		}
		return out, meta, err
	}), middleware.After)
}
