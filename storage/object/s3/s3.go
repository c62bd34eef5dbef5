// Package s3 is an object store in a bucket of Amazon S3 or of a server that
// speaks its protocol and implements conditional writes (object.Probe tells).
//
// Configuration follows the AWS SDKs: environment variables, the shared config
// and credentials files, container and instance roles. See Options.
//
// A request is never repeated by the SDK. Put, Get, List and Delete repeat it
// here, with backoff and full jitter, as long as that can help; Create makes a
// single attempt, since the answer "exists" to a second one would no longer say
// whether somebody else's object or one's own is there. A 412 is
// object.ErrExists. A 409 ConditionalRequestConflict (a write or delete of the
// key was under way) is an ordinary unclear error, which the caller repeats.
// Only answers that say that nothing was written are repeated for Create as for
// Put, a 403 before it counts as object.ErrDenied: see refusedRepeats.
//
// The store's clock is the Date header of each answer: whole seconds.
package s3

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"sluice/storage/object"
)

// maxPrefix leaves room for object.MaxKey within the 1,024 bytes of an S3 key.
const maxPrefix = 1024 - object.MaxKey - 1

// Store is a bucket, or what lies below a prefix in it, as an object store.
type Store struct {
	client   *s3.Client
	bucket   string
	prefix   string // empty, or ends in a slash
	region   string
	endpoint string // for error messages; no credentials
	retries  retries
	// singly is set once the server has turned out not to implement DeleteObjects.
	singly atomic.Bool
}

// Open returns the store in bucket, below prefix (empty: the whole bucket). It
// asks the server once, and makes the bucket if it is missing and Options allow
// it. Errors: ErrNoBucket, ErrCredentials, ErrEndpoint, ErrRegion,
// object.ErrDenied, each with a hint at what to do.
func Open(ctx context.Context, bucket, prefix string, o Options) (*Store, error) {
	prefix = strings.Trim(prefix, "/")
	switch {
	case bucket == "":
		return nil, fmt.Errorf("s3://: no bucket given: use s3://bucket/prefix")
	case prefix != "" && !object.ValidKey(prefix):
		return nil, fmt.Errorf("s3://%s/%s: prefix %q: %w", bucket, prefix, prefix, object.ErrBadKey)
	case len(prefix) > maxPrefix:
		return nil, fmt.Errorf("s3://%s/%s: a prefix has at most %d bytes: %w", bucket, prefix, maxPrefix, object.ErrBadKey)
	case strings.HasSuffix(bucket, "--x-s3"):
		// https://docs.aws.amazon.com/AmazonS3/latest/userguide/s3-express-differences.html
		return nil, fmt.Errorf("s3://%s: a directory bucket (S3 Express One Zone) lists keys in no order, "+
			"which Sluice and Delta readers rely on: use a general purpose bucket", bucket)
	}
	s, err := connect(ctx, bucket, o)
	if err != nil {
		return nil, err
	}
	if prefix != "" {
		s.prefix = prefix + "/"
	}
	err = s.look(ctx)
	if isNoBucket(err) && !o.NoCreateBucket {
		if err := s.createBucket(ctx); err != nil {
			return nil, err
		}
		err = s.look(ctx)
	}
	if err != nil {
		return nil, s.explain(err)
	}
	return s, nil
}

// look lists one key, which tells more than a HEAD of the bucket: errors of
// HEAD have no body to name their cause.
func (s *Store) look(ctx context.Context) error {
	r := s.retries
	// Only a server that is there but unwell is worth waiting for.
	r.again = func(err error) bool { return statusOf(err) >= 500 && retriable(err) }
	_, err := r.run(ctx, 0, func(ctx context.Context) error {
		_, err := s.client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{
			Bucket: &s.bucket, Prefix: aws.String(s.prefix), MaxKeys: aws.Int32(1),
		})
		return err
	})
	return err
}

func (s *Store) createBucket(ctx context.Context) error {
	in := &s3.CreateBucketInput{Bucket: &s.bucket}
	// us-east-1 is the one region that S3 does not take as a constraint.
	if s.region != defaultRegion {
		in.CreateBucketConfiguration = &types.CreateBucketConfiguration{
			LocationConstraint: types.BucketLocationConstraint(s.region),
		}
	}
	_, err := s.retries.run(ctx, 0, func(ctx context.Context) error {
		_, err := s.client.CreateBucket(ctx, in)
		return err
	})
	if err == nil || hasCode(err, "BucketAlreadyOwnedByYou") || hasCode(err, "BucketAlreadyExists") {
		return nil // another broker was faster; or somebody else owns it, as the next look shows
	}
	return fmt.Errorf("s3://%s: %w, and it could not be made: create it, or grant s3:CreateBucket: %w", s.bucket, ErrNoBucket, err)
}

// URL returns s3://bucket/prefix.
func (s *Store) URL() string {
	return strings.TrimSuffix("s3://"+s.bucket+"/"+s.prefix, "/")
}

func (s *Store) key(key string) *string { return aws.String(s.prefix + key) }

func check(kind object.Kind, key string) error {
	if !object.ValidKey(key) {
		return fmt.Errorf("%s %q: %w", kind, key, object.ErrBadKey)
	}
	return nil
}

// latest returns the later of two readings of the store's clock.
func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
