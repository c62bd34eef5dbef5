package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"sluice/storage/object"
)

const (
	// deleteChunk is the most keys that DeleteObjects takes.
	deleteChunk = 1000
	// deletesAtOnce bounds the requests that one Delete has in flight.
	deletesAtOnce = 8
)

// Delete implements object.Store by DeleteObjects, 1,000 keys a request, or key
// by key where the server does not implement that.
func (s *Store) Delete(ctx context.Context, keys ...string) (time.Time, error) {
	for _, key := range keys {
		if err := check(object.KindDelete, key); err != nil {
			return time.Time{}, err
		}
	}
	var mu sync.Mutex
	var now time.Time
	note := func(t time.Time) {
		mu.Lock()
		defer mu.Unlock()
		now = latest(now, t)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(deletesAtOnce)
	for chunk := range slices.Chunk(keys, deleteChunk) {
		g.Go(func() error {
			if !s.singly.Load() {
				t, err := s.deleteChunk(ctx, chunk)
				note(t)
				if !notImplemented(err) {
					return err
				}
				s.singly.Store(true)
			}
			return s.deleteSingly(ctx, chunk, note)
		})
	}
	err := g.Wait()
	return now, err
}

// notDeleted are the keys of a DeleteObjects that the server answered with an
// error, for each key, that may pass.
type notDeleted struct {
	keys  []types.ObjectIdentifier
	first types.Error
}

func (e *notDeleted) Error() string {
	return fmt.Sprintf("%d keys not deleted, the first of them %s: %s: %s",
		len(e.keys), aws.ToString(e.first.Key), aws.ToString(e.first.Code), aws.ToString(e.first.Message))
}

func (s *Store) deleteChunk(ctx context.Context, keys []string) (time.Time, error) {
	left := make([]types.ObjectIdentifier, len(keys))
	for i, key := range keys {
		left[i] = types.ObjectIdentifier{Key: s.key(key)}
	}
	a, err := s.retries.run(ctx, 0, func(ctx context.Context) error {
		out, err := s.client.DeleteObjects(ctx, &s3.DeleteObjectsInput{
			Bucket: &s.bucket, Delete: &types.Delete{Objects: left, Quiet: aws.Bool(true)},
		})
		if err != nil {
			return err
		}
		failed := notDeleted{}
		for _, e := range out.Errors {
			switch aws.ToString(e.Code) {
			case "NoSuchKey":
				continue
			case "AccessDenied":
				return fmt.Errorf("%s: %w", strings.TrimPrefix(aws.ToString(e.Key), s.prefix), object.ErrDenied)
			}
			if len(failed.keys) == 0 {
				failed.first = e
			}
			failed.keys = append(failed.keys, types.ObjectIdentifier{Key: e.Key})
		}
		if len(failed.keys) == 0 {
			return nil
		}
		left = failed.keys
		return &failed
	})
	what := fmt.Sprintf("%s and others, %d keys", keys[0], len(keys))
	return a.now, translate(object.KindDelete, what, err)
}

func (s *Store) deleteSingly(ctx context.Context, keys []string, note func(time.Time)) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(deletesAtOnce)
	for _, key := range keys {
		g.Go(func() error {
			a, err := s.retries.run(ctx, 0, func(ctx context.Context) error {
				_, err := s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.bucket, Key: s.key(key)})
				if statusOf(err) == http.StatusNotFound && !isNoBucket(err) {
					return nil
				}
				return err
			})
			note(a.now)
			return translate(object.KindDelete, key, err)
		})
	}
	return g.Wait()
}

// notImplemented reports whether a server does not know DeleteObjects. Old ones
// want it with an MD5, which the SDK no longer sends.
func notImplemented(err error) bool {
	status := statusOf(err)
	return err != nil && !errors.Is(err, object.ErrDenied) &&
		(status == http.StatusNotImplemented || status == http.StatusMethodNotAllowed ||
			hasCode(err, "MissingContentMD5") || hasCode(err, "NotImplemented"))
}
