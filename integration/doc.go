// Package integration tests the built binary from outside: Kafka clients of four
// languages write and read, Delta engines read the same tables, the broker is
// killed and stopped, on a local directory and on an S3-compatible store.
//
// Its tests are behind the build tag integration, since they install what they
// need (README.md) and take minutes:
//
//	go test -tags integration ./integration -v
package integration
