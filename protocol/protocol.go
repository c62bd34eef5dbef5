// Package protocol reads and writes the frames and headers of the Kafka wire
// protocol; the bodies are those of kmsg. It holds no state, starts no
// goroutine, and does not panic or spend memory out of proportion on any
// input, so that a connection need not be authenticated to be read from.
package protocol

import "errors"

// The ends of a connection. Kafka answers none of these: it closes (bytes that
// are not a request cannot be answered, since nothing says which request it
// was). Only ErrUnsupportedVersion of ApiVersions has an answer (KIP-511).
var (
	// ErrFrameTooLarge: a frame claims more than the limit.
	ErrFrameTooLarge = errors.New("frame too large")
	// ErrBadFrame: a frame's size is negative or too small for a request.
	ErrBadFrame = errors.New("malformed frame")
	// ErrBadHeader: a frame does not begin with a request header.
	ErrBadHeader = errors.New("malformed request header")
	// ErrUnknownAPI: no such API key.
	ErrUnknownAPI = errors.New("unknown API key")
	// ErrUnsupportedVersion: the API has no such version.
	ErrUnsupportedVersion = errors.New("unsupported API version")
	// ErrBadBody: the body is not that of its API key and version, or claims more
	// than it can hold.
	ErrBadBody = errors.New("malformed request body")
)
