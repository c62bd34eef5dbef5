package s3

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"sluice/storage/object"
)

// pageSize is the most entries that S3 answers at once.
const pageSize = 1000

// List implements object.Store by ListObjectsV2.
func (s *Store) List(ctx context.Context, req object.ListRequest) (object.Listing, error) {
	if !object.ValidPrefix(req.Prefix) {
		return object.Listing{}, fmt.Errorf("list %q: %w", req.Prefix, object.ErrBadKey)
	}
	in := &s3.ListObjectsV2Input{
		Bucket: &s.bucket, Prefix: s.key(req.Prefix),
		// Keys of others may hold characters that XML cannot.
		EncodingType: types.EncodingTypeUrl,
	}
	if req.After != "" {
		in.StartAfter = s.key(req.After)
	}
	if req.Folders {
		in.Delimiter = aws.String("/")
	}
	if req.Limit > 0 {
		in.MaxKeys = aws.Int32(int32(min(req.Limit, pageSize)))
	}
	var l object.Listing
	for {
		var out *s3.ListObjectsV2Output
		a, err := s.retries.run(ctx, 0, func(ctx context.Context) (err error) {
			out, err = s.client.ListObjectsV2(ctx, in)
			return err
		})
		l.Now = latest(l.Now, a.now)
		if err == nil {
			err = s.add(&l, req, out)
		}
		if err != nil {
			return object.Listing{Now: l.Now}, translate(object.KindList, req.Prefix, err)
		}
		l.More = aws.ToBool(out.IsTruncated)
		// A page may hold nothing that counts: the folder that After names or lies
		// in, keys that are not ours. Its successor by token, not by key, moves on.
		if !l.More || len(l.Objects)+len(l.Folders) > 0 {
			return l, nil
		}
		in.ContinuationToken = out.NextContinuationToken
		if in.ContinuationToken == nil {
			return object.Listing{Now: l.Now}, fmt.Errorf("list %s: the server announced more and gave no continuation token", req.Prefix)
		}
	}
}

// add takes one page of the server into l.
func (s *Store) add(l *object.Listing, req object.ListRequest, out *s3.ListObjectsV2Output) error {
	decode := func(p *string) (string, error) {
		key := aws.ToString(p)
		if out.EncodingType == types.EncodingTypeUrl { // a server may ignore the wish
			decoded, err := url.QueryUnescape(key)
			if err != nil {
				return "", fmt.Errorf("key %q in the answer: %w", key, err)
			}
			key = decoded
		}
		return strings.TrimPrefix(key, s.prefix), nil
	}
	for _, o := range out.Contents {
		key, err := decode(o.Key)
		if err != nil {
			return err
		}
		l.Last = max(l.Last, key)
		if key > req.After && object.ValidKey(key) {
			l.Objects = append(l.Objects, object.Info{Key: key, Size: aws.ToInt64(o.Size), Modified: aws.ToTime(o.LastModified)})
		}
	}
	for _, p := range out.CommonPrefixes {
		folder, err := decode(p.Prefix)
		if err != nil {
			return err
		}
		l.Last = max(l.Last, folder)
		if folder > req.After && object.ValidKey(strings.TrimSuffix(folder, "/")) {
			l.Folders = append(l.Folders, folder)
		}
	}
	return nil
}
