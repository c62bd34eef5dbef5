package main

import (
	"context"
	"os"

	"sluice/storage/object"
	"sluice/storage/object/s3"
)

// openS3 opens a bucket, which is made if it is missing. Server and credentials
// come from the environment.
func openS3(ctx context.Context, u storeURL) (object.Store, error) {
	store, err := s3.Open(ctx, u.bucket, u.prefix, s3.Options{})
	if err != nil {
		return nil, err // it says what to do
	}
	return store, nil
}

// s3Endpoint is the address of an S3-compatible store, empty for Amazon's own.
func s3Endpoint() string {
	return orElse(os.Getenv("AWS_ENDPOINT_URL_S3"), os.Getenv("AWS_ENDPOINT_URL"))
}
