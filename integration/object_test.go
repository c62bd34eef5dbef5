//go:build integration

package integration

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// bucket is the client of a store in a bucket, which is there, and the prefix of
// its keys; nil for a directory.
func (s store) bucket() (cl *s3.Client, bucket, prefix string) {
	rest, isS3 := strings.CutPrefix(s.url, "s3://")
	if !isS3 {
		return nil, "", ""
	}
	bucket, prefix, _ = strings.Cut(rest, "/")
	env := map[string]string{}
	for _, v := range s.env {
		name, value, _ := strings.Cut(v, "=")
		env[name] = value
	}
	return s3.New(s3.Options{
		BaseEndpoint: aws.String(env["AWS_ENDPOINT_URL"]), Region: env["AWS_REGION"], UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"], ""),
	}), bucket, prefix + "/"
}

// object is an object of the store, read past the broker.
func (s store) object(t *testing.T, key string) ([]byte, bool) {
	t.Helper()
	cl, bucket, prefix := s.bucket()
	if cl == nil {
		text, err := os.ReadFile(filepath.Join(s.url, filepath.FromSlash(key)))
		return text, err == nil
	}
	got, err := cl.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: aws.String(prefix + key)})
	if err != nil {
		return nil, false
	}
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	if err != nil {
		t.Fatal(err)
	}
	return text, true
}

// list are the keys of the store that begin with a folder, ascending.
func (s store) list(t *testing.T, folder string) (keys []string) {
	t.Helper()
	cl, bucket, prefix := s.bucket()
	if cl == nil {
		err := filepath.WalkDir(filepath.Join(s.url, filepath.FromSlash(folder)), func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				key, _ := filepath.Rel(s.url, path)
				keys = append(keys, filepath.ToSlash(key))
			}
			if errors.Is(err, fs.ErrNotExist) {
				return nil // a broker deletes meanwhile
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(keys)
		return keys
	}
	pages := s3.NewListObjectsV2Paginator(cl, &s3.ListObjectsV2Input{Bucket: &bucket, Prefix: aws.String(prefix + folder)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range page.Contents {
			keys = append(keys, strings.TrimPrefix(aws.ToString(o.Key), prefix))
		}
	}
	return keys
}
