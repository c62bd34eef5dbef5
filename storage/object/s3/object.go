package s3

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"sluice/storage/object"
)

// Create implements object.Store: a PUT with If-None-Match: *, once.
func (s *Store) Create(ctx context.Context, key string, body []byte, _ ...string) (time.Time, error) {
	if err := check(object.KindCreate, key); err != nil {
		return time.Time{}, err
	}
	in := s.put(key, body)
	in.IfNoneMatch = aws.String("*")
	a, err := s.retries.ofWrite(never).run(ctx, len(body), func(ctx context.Context) error {
		in.Body = bytes.NewReader(body) // an attempt may have read part of it
		_, err := s.client.PutObject(ctx, in)
		return err
	})
	return a.now, translate(object.KindCreate, key, err)
}

// Put implements object.Store.
func (s *Store) Put(ctx context.Context, key string, body []byte) (time.Time, error) {
	if err := check(object.KindPut, key); err != nil {
		return time.Time{}, err
	}
	in := s.put(key, body)
	a, err := s.retries.ofWrite(retriable).run(ctx, len(body), func(ctx context.Context) error {
		in.Body = bytes.NewReader(body)
		_, err := s.client.PutObject(ctx, in)
		return err
	})
	return a.now, translate(object.KindPut, key, err)
}

// Stage implements object.Store: what is answered is durable.
func (s *Store) Stage(ctx context.Context, key string, body []byte) (time.Time, <-chan struct{}, error) {
	now, err := s.Put(ctx, key, body)
	return now, nil, err
}

func (s *Store) put(key string, body []byte) *s3.PutObjectInput {
	// The server compares the CRC, which costs next to nothing (30 GB/s), and so
	// notices what TCP's checksum misses. Those that do not know it ignore it.
	crc := binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(body))
	return &s3.PutObjectInput{
		Bucket: &s.bucket, Key: s.key(key),
		ContentLength: aws.Int64(int64(len(body))),
		ChecksumCRC32: aws.String(base64.StdEncoding.EncodeToString(crc)),
	}
}

// Get implements object.Store.
func (s *Store) Get(ctx context.Context, key string, r object.Range) (object.Object, error) {
	if err := check(object.KindGet, key); err != nil {
		return object.Object{}, err
	}
	o, a, err := s.get(ctx, key, r)
	if statusOf(err) == http.StatusRequestedRangeNotSatisfiable {
		o, a, err = s.getOutside(ctx, key, r)
	}
	if err != nil {
		o = object.Object{}
	}
	o.Now = a.now
	return o, translate(object.KindGet, key, err)
}

func (s *Store) get(ctx context.Context, key string, r object.Range) (o object.Object, a answer, err error) {
	in := &s3.GetObjectInput{Bucket: &s.bucket, Key: s.key(key), Range: header(r)}
	a, err = s.retries.run(ctx, int(min(max(r.Length, 0), math.MaxInt32)), func(ctx context.Context) error {
		out, err := s.client.GetObject(ctx, in)
		if err != nil {
			return err
		}
		defer out.Body.Close()
		o, err = read(ctx, key, r, out)
		return err
	})
	return o, a, err
}

// getOutside answers a range that the server calls unsatisfiable: past the end,
// which is no error here, or at some servers a suffix longer than the object.
func (s *Store) getOutside(ctx context.Context, key string, r object.Range) (object.Object, answer, error) {
	var o object.Object
	a, err := s.retries.run(ctx, 0, func(ctx context.Context) error {
		out, err := s.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &s.bucket, Key: s.key(key)})
		if err != nil {
			return err
		}
		o = object.Object{
			Info: object.Info{Key: key, Size: aws.ToInt64(out.ContentLength), Modified: aws.ToTime(out.LastModified)},
			Body: []byte{},
		}
		return nil
	})
	if from, to := r.Of(o.Size); err == nil && from < to {
		return s.get(ctx, key, object.Range{Offset: from, Length: to - from})
	}
	return o, a, err
}

// header returns the Range header for r, nil for the whole object. Of a range
// that has both a distance from the end and a length it asks for all up to the end.
func header(r object.Range) *string {
	switch {
	case r.Offset == 0 && r.Length <= 0:
		return nil
	case r.Offset < 0:
		return aws.String("bytes=" + strconv.FormatInt(max(r.Offset, -math.MaxInt64), 10))
	case r.Length <= 0 || r.Length > math.MaxInt64-r.Offset:
		return aws.String(fmt.Sprintf("bytes=%d-", r.Offset))
	}
	return aws.String(fmt.Sprintf("bytes=%d-%d", r.Offset, r.Offset+r.Length-1))
}

var errBadRange = errors.New("the server answered another range than asked for")

// read takes the body of an answer, and from it the range: a server may know
// less of ranges than Amazon's.
func read(ctx context.Context, key string, r object.Range, out *s3.GetObjectOutput) (object.Object, error) {
	length := aws.ToInt64(out.ContentLength)
	extend(ctx, length)
	// Grown as bytes arrive beyond what is plausible: the header is only a claim.
	const plausible = 64 << 20
	into := r.Into
	if room := min(max(length, 0), plausible) + bytes.MinRead; int64(cap(into)) < room {
		into = make([]byte, 0, room)
	}
	b := bytes.NewBuffer(into[:0])
	if _, err := b.ReadFrom(out.Body); err != nil {
		return object.Object{}, fmt.Errorf("body: %w", err)
	}
	body := b.Bytes()
	if out.ContentLength != nil && int64(len(body)) != length {
		return object.Object{}, fmt.Errorf("body of %d bytes, announced %d: %w", len(body), length, io.ErrUnexpectedEOF)
	}
	start, size := int64(0), int64(len(body)) // without Content-Range it is the whole object
	if out.ContentRange != nil {
		var err error
		if start, size, err = contentRange(*out.ContentRange, len(body)); err != nil {
			return object.Object{}, err
		}
	}
	from, to := r.Of(size)
	if from < start || to > start+int64(len(body)) {
		return object.Object{}, fmt.Errorf("%w: bytes %d to %d of %d", errBadRange, start, start+int64(len(body)), size)
	}
	return object.Object{
		Info: object.Info{Key: key, Size: size, Modified: aws.ToTime(out.LastModified)},
		Body: body[from-start : to-start : to-start],
	}, nil
}

// contentRange parses "bytes 3-6/10", which comes with a body of that length,
// into the first byte and the object's size.
func contentRange(h string, length int) (start, size int64, err error) {
	span, total, _ := strings.Cut(strings.TrimPrefix(h, "bytes "), "/")
	first, last, _ := strings.Cut(span, "-")
	start, err1 := strconv.ParseInt(first, 10, 64)
	end, err2 := strconv.ParseInt(last, 10, 64)
	size, err3 := strconv.ParseInt(total, 10, 64)
	// Of an empty object MinIO answers "bytes 0--1/0" to a suffix range.
	if err1 != nil || err2 != nil || err3 != nil || start < 0 || size <= end || end-start != int64(length)-1 {
		return 0, 0, fmt.Errorf("%w: Content-Range %q with %d bytes", errBadRange, h, length)
	}
	return start, size, nil
}
